"""The caching and session state of the Try it page; `state` does that of all others.

What comes from a person's own photos or camera is kept for their session only, in memory, and is shared with nobody.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from dashboard.progress import progress
from dashboard.state import (
    Choice,
    _checkpoint_key,
    _loaded,
    _Memory,
    _memory,
    _stamp,
    model_lock,
    predictor,
    predictor_key,
)
from dashboard.state_explain import network_for
from fer_core.data.photos import read_photo
from fer_core.errors import ConfigError, DataError
from fer_core.photo_reading import FoundFaces, find_in_photo

if TYPE_CHECKING:
    from fer_core.drift import Drift
    from fer_core.explain.attribution import Attribution, Target
    from fer_core.faces import Face
    from fer_core.inference import Prediction
    from fer_core.live import LiveWorker, ToMaps
    from fer_core.runs import Checkpoint

PORTRAITS = ("group", "two", "happy", "surprise", "angry")  # the first one is shown to whoever has no photo here
_FOLDER = Path(__file__).parent.parent / "fer_core" / "data" / "demo" / "portraits"
_PHOTOS = 24  # whose faces are remembered in a session, or as many as there are, with up to 5 MB a photo


@dataclass(frozen=True)
class Source:
    """A photo to look at: `name` stands in the URL and in the table."""

    name: str
    content: bytes
    is_portrait: bool = False

    @property
    def key(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def portraits() -> list[Source]:
    """The rendered portraits that ship."""

    def read() -> list[Source]:
        return [Source(f"{name}.jpg", (_FOLDER / f"{name}.jpg").read_bytes(), True) for name in PORTRAITS]

    return _memory().get("portraits", read)


def newcomers(sources: list[Source]) -> list[Source]:
    """Those of a person's photos that were not there when the page was drawn last."""
    _own().size = 4 * max(_PHOTOS, len(sources))  # each click looks at all of them: none may push out another
    known = st.session_state.get("known photos", set())
    st.session_state["known photos"] = {source.key for source in sources}
    return [source for source in sources if source.key not in known]


def _own() -> _Memory:
    """What is remembered of this session's photos; gone when the session ends."""
    if "own photos" not in st.session_state:
        st.session_state["own photos"] = _Memory(4 * _PHOTOS)
    memory: _Memory = st.session_state["own photos"]
    return memory


def found(source: Source) -> FoundFaces:
    """The faces of a photo. Raises DataError where it cannot be read."""

    def find() -> FoundFaces | str:
        try:
            return find_in_photo(read_photo(source.content, source.name), source.name)
        except DataError as error:
            return str(error)  # remembered too: a broken file is not read again on every click

    memory = _memory() if source.is_portrait else _own()
    result = memory.get(("faces", source.key, source.name), find)
    if isinstance(result, str):
        raise DataError(result)
    return result


def said(chosen: Choice, faces: FoundFaces) -> Prediction:
    """What a checkpoint says of a photo's faces. Raises CheckpointError."""
    key = ("said", *predictor_key(chosen), _digest(faces.crops))
    return _own().get(key, lambda: predictor(chosen).predict(faces.crops))


def explained(chosen: Choice, faces: FoundFaces, method: str, target: Target, layer: str) -> Attribution:
    """One method's maps of a photo's faces. Shows progress. Raises ConfigError or CheckpointError."""
    from fer_core.explain.attribution import METHODS, attribute

    layer = layer if METHODS[method].takes_layer else ""
    _loaded("captum.attr")

    def compute() -> Attribution:
        title = f"{METHODS[method].title} by {chosen}"
        with progress(title) as report, network_for(chosen, method, len(faces.crops)) as net:
            return attribute(net, faces.crops, method, target, layer or None, report=report)

    key = ("maps", *_checkpoint_key(chosen), _digest(faces.crops), method, target, layer)
    return _own().get(key, compute)


def drift(chosen: Choice, crops: np.ndarray, faces: Sequence[Face]) -> list[Drift] | None:
    """What sets each face apart from those that the checkpoint learned from; None where nothing is known of these.
    Raises CheckpointError."""
    _loaded("torch")
    from fer_core.drift import compare
    from fer_core.reference import STEM, load_reference

    stamps = {path.name: _stamp(path) for path in chosen.run.path.glob(f"{STEM}*")}  # the folder's changes with status
    key = _checkpoint_key(chosen)
    reference = _memory().get(("reference", *key), lambda: load_reference(chosen.run, chosen.epoch), stamps)
    if reference is None:
        return None

    def compute() -> list[Drift]:
        with model_lock():
            return compare(crops, reference, predictor(chosen).checkpoint, faces)

    return _own().get(("drift", *key, _digest(crops)), compute, stamps)


def _digest(faces: np.ndarray) -> str:
    return hashlib.sha256(faces.tobytes()).hexdigest()


# -- live ------------------------------------------------------------------------------------------


def live_worker(chosen: Choice, method: str | None) -> LiveWorker:
    """This session's reader of video frames, with the chosen checkpoint and method (None: no maps)."""
    net = predictor(chosen)
    from fer_core.live import LiveReader, LiveWorker

    def predict(crops: np.ndarray) -> np.ndarray:
        return net.predict(crops).believed

    explain = None if method is None else _live_maps(net.checkpoint, method)
    if "live worker" not in st.session_state:
        st.session_state["live worker"] = LiveWorker(LiveReader(predict))
    worker: LiveWorker = st.session_state["live worker"]
    worker.reader.predict, worker.reader.explain = predict, explain
    return worker


def _live_maps(checkpoint: Checkpoint, method: str) -> ToMaps:
    from fer_core.explain.attribution import attribute

    lock = model_lock()  # taken here: the worker's thread has no session to ask

    def explain(crops: np.ndarray) -> np.ndarray:
        with lock:
            return attribute(checkpoint, crops, method).maps

    return explain


def connecting_for(is_connecting: bool) -> float:
    """Seconds since the browser began to connect; 0 while it does not."""
    if not is_connecting:
        st.session_state.pop("connecting since", None)
        return 0.0
    return time.monotonic() - float(st.session_state.setdefault("connecting since", time.monotonic()))


def ice_servers() -> list[dict[str, str]]:
    """STUN and TURN servers for a browser on another machine: `-- --ice URL`, several times, or FER_ICE_SERVERS with
    commas between them. None by default: on this machine no server is needed. Raises ConfigError."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--ice", action="append", default=[])
    given = parser.parse_known_args(sys.argv[1:])[0].ice or os.environ.get("FER_ICE_SERVERS", "").split(",")
    return [_ice_server(text.strip()) for text in given if text.strip()]


def _ice_server(text: str) -> dict[str, str]:
    """turn:USER:PASSWORD@HOST:PORT -> what WebRTC calls an RTCIceServer."""
    scheme, _, rest = text.partition(":")
    account, _, address = rest.rpartition("@")
    user, _, password = account.partition(":")
    needs_account = scheme in ("turn", "turns")
    if scheme not in ("stun", "stuns", "turn", "turns") or not address or needs_account != bool(user and password):
        raise ConfigError(
            f"'{text}' is no STUN or TURN server; write --ice stun:HOST:PORT or --ice turn:USER:PASSWORD@HOST:PORT."
        )
    server = {"urls": f"{scheme}:{address}"}
    return server | {"username": user, "credential": password} if needs_account else server
