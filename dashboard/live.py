"""The live way of the Try it page: video from the browser over WebRTC, its faces read by `fer_core.live`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import av
import numpy as np
import streamlit as st
from streamlit_webrtc import WebRtcMode, webrtc_streamer

from dashboard import charts, drift_panel, maps, state, state_try, try_charts
from dashboard.camera import camera_problem
from fer_core.explain.attribution import METHODS
from fer_core.explain.pictures import Look
from fer_core.live import LiveResult, LiveWorker
from fer_core.marks import paint

if TYPE_CHECKING:
    from dashboard.state import Choice

FAST = ("grad-cam", "saliency", "input-x-gradient", "guided-backprop")  # within the time of a frame or two
OFF = "Off"
LONGEST = 640  # pixels of the longer side of a frame: what cameras give is shrunk to it
SILENT = 4.0  # seconds without a frame after which the camera is said to have stopped
SLOW = 10.0  # seconds of connecting after which it is said to have failed
_CAMERA = {
    "video": {"width": {"ideal": 640}, "height": {"ideal": 480}, "frameRate": {"ideal": 20, "max": 24}},
    "audio": False,
}


def show(chosen: Choice) -> None:
    """The video with what is said of its faces, and beside it the last 30 s."""
    problem = camera_problem()
    if problem:
        _offer_photo(problem)
        return
    ice = state_try.ice_servers()
    method, seconds, mirrored = _choose()
    worker = state_try.live_worker(chosen, method)
    worker.reader.tracks.smoothing, worker.mirrored = seconds, mirrored
    worker.look = maps.look_for(method, (maps.AS_PUBLISHED, "inferno", 0.7)) if method else Look()
    left, right = st.columns([0.62, 0.38], gap="medium")
    with left:
        context = webrtc_streamer(
            "live",
            mode=WebRtcMode.SENDRECV,
            video_frame_callback=partial(answered, worker),
            async_processing=False,  # `answered` returns at once; the library's own thread would queue frames
            rtc_configuration={"iceServers": ice},
            media_stream_constraints=_CAMERA,
            video_html_attrs={"autoPlay": True, "controls": False, "muted": True, "style": {"width": "100%"}},
            translations={"start": "Start", "stop": "Stop", "select_device": "Choose a camera"},
            media_toggle_controls=False,
        )
        st.button("Use a photo instead", type="tertiary", icon=":material/image:", on_click=_to_photo)
    with right:
        is_on = context.state.playing or context.state.signalling
        panel = st.fragment(_panel, run_every=1.0 if is_on else None)
        panel(chosen, worker, context.state.playing, context.state.signalling)


def answered(worker: LiveWorker, frame: av.VideoFrame) -> av.VideoFrame:
    """The frame with the last answer painted on it, at once; the worker may read the frame itself later, or never."""
    shrink = min(1.0, LONGEST / max(frame.width, frame.height))
    rgb = frame.to_ndarray(format="rgb24", width=round(frame.width * shrink), height=round(frame.height * shrink))
    worker.offer(rgb)
    shown = np.ascontiguousarray(rgb[:, ::-1]) if worker.mirrored else rgb.copy()
    return av.VideoFrame.from_ndarray(paint(shown, worker.patches), format="rgb24")


def _choose() -> tuple[str | None, float, bool]:
    """The method whose maps are laid over the faces, seconds of smoothing, and whether the video is mirrored."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        titles = {METHODS[key].title: key for key in FAST}
        title = st.selectbox(
            "Where it looks",
            [OFF, *titles],
            key="live method",
            bind="query-params",
            width=180,
            help="Methods that are fast enough for video; photos can be explained by all. "
            + " ".join(f"**{METHODS[key].title}**: {METHODS[key].sentence}" for key in FAST),
        )
        seconds = st.slider(
            "Smoothing, s",
            0.0,
            3.0,
            0.5,
            0.1,
            key="smoothing",
            bind="query-params",
            width=200,
            help="Probabilities are averaged over time: after so many seconds, what was said weighs 1/e. 0: each frame "
            "by itself",
        )
        mirrored = st.toggle("Mirror", True, key="mirror", bind="query-params", help="As people see themselves")
    return titles.get(str(title)), seconds, mirrored


def _to_photo() -> None:
    state.put("way", "Photo")


def _offer_photo(problem: str) -> None:
    st.warning(problem, icon=":material/videocam_off:")
    if st.button("Use a photo", icon=":material/image:", type="primary", key="use photo", on_click=_to_photo):
        st.rerun()  # all of the page: the button may stand in a fragment


# -- beside the video ------------------------------------------------------------------------------


def _panel(chosen: Choice, worker: LiveWorker, playing: bool, connecting: bool) -> None:
    """Rates, what is said of the largest face, and how that changed."""
    waited = state_try.connecting_for(connecting and not playing)
    if connecting and not playing:
        _show_connecting(waited)
        return
    if not playing:
        st.info(
            "Press Start and allow the camera: each face gets a box, the emotion that is found most probable, and all "
            "seven probabilities; here come the last 30 seconds.",
            icon=":material/videocam:",
        )
        return
    silence = worker.silence()
    if silence > SILENT:
        _offer_photo("No pictures come from the camera any more: press Stop, then Start, or use a photo.")
        return
    if worker.problem:
        st.error(worker.problem, icon=":material/error:")
    _show_rates(worker)
    results = worker.recent()
    largest = results[-1].largest if results else None
    if largest is None:
        st.info("No face in sight.", icon=":material/face_retouching_off:")
    else:
        others = len(results[-1].faces) - 1
        more = f", the largest of {others + 1}" if others else ""
        st.markdown(f"**Face {largest.track.number}{more}, as {chosen} sees it**")
        st.altair_chart(charts.probability_bars(largest.track.probabilities), key="live bars")
        drifts = state_try.drift(chosen, largest.crop[None], [largest.face])
        if drifts:
            st.caption(f"Why always neutral? {drift_panel.in_short(drifts[0])}")
        seconds, past = history(results, largest.track.number)
        st.altair_chart(try_charts.live_history(seconds, past), key="past")


def _show_connecting(waited: float) -> None:
    """What is waited for, and after a while what to do instead."""
    if waited < SLOW:
        st.caption("Connecting to the camera ...")
        return
    _offer_photo(
        "No connection came about between this browser and the server. On one machine it needs no network; between "
        "two, name a STUN or TURN server: streamlit run dashboard/Home.py -- --ice stun:HOST:PORT. Or use a photo."
    )


def _show_rates(worker: LiveWorker) -> None:
    rates = worker.rates()
    first, second, third = st.columns(3)
    first.metric(
        "Frames/s", f"{rates.read:.1f}", help=f"That were read; the camera sends {rates.arriving:.1f} a second"
    )
    second.metric(
        "Latency, ms", f"{1000 * rates.latency:.0f}", help="From a frame's arrival here to its result: median"
    )
    third.metric("Dropped", f"{rates.dropped:.0%}", help="Frames that were not read since a newer one had come")


def history(results: list[LiveResult], number: int) -> tuple[np.ndarray, np.ndarray]:
    """When a face was seen, in seconds before the last result, and its probabilities (N, 7): at most four a second."""
    last, kept = results[-1].done, dict[int, tuple[float, np.ndarray]]()
    for result in results:
        for face in result.faces:
            if face.track.number == number:
                kept[int(4 * (result.done - last))] = (result.done - last, face.track.probabilities)
    times = np.array([when for when, _ in kept.values()])
    return times, np.array([values for _, values in kept.values()]).reshape(-1, 7)
