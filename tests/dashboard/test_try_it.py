"""The Try it page: photos in every state, what is said of their faces, and that nothing of them is kept."""

from __future__ import annotations

import io
import itertools
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dashboard import state_try
from fer_core.calibration import calibrate, store_calibration
from fer_core.errors import ConfigError
from fer_core.explain.attribution import attribute
from fer_core.explain.pictures import Look, part_of, scale_of
from fer_core.faces import Face
from fer_core.inference import Predictor
from fer_core.labels import EMOTIONS
from fer_core.photo_reading import face_table, find_in_photo, marked_photo
from fer_core.runs import Run
from tests.conftest import PATIENCE

PORTRAITS = state_try._FOLDER


@pytest.fixture
def open_try(open_page: Any, own_runs: Path) -> Callable[..., Any]:
    def opened(**query: Any) -> Any:
        page = open_page("try_it", own_runs, **query)
        assert page.title == "Try it"
        return page

    return opened


def upload(page: Any, *files: tuple[str, bytes]) -> Any:
    for name, content in files:
        page.app.file_uploader(key="photos").upload(name, content, "image/jpeg")
    return page.run()


def galleries(page: Any) -> dict[str, dict[str, Any]]:
    """What each strip was given: the photos, and the faces of the one that is shown."""
    import json

    found = [json.loads(each.proto.json) for each in page.app.get("bidi_component") if each.proto.json]
    return {"photos": found[0], "faces": found[1] if len(found) > 1 else {"tiles": []}}


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def portrait(name: str = "happy") -> bytes:
    return (PORTRAITS / f"{name}.jpg").read_bytes()


def shown_table(page: Any) -> Any:
    return page.app.dataframe[0].value


# -- the photo way ---------------------------------------------------------------------------------


def test_the_first_screen_reads_a_portrait_and_offers_the_others(open_try: Any, own_runs: Path) -> None:
    page = open_try()
    assert page.says("error") == page.says("warning") == []
    assert [tile["id"] for tile in galleries(page)["photos"]["tiles"]] == [f"{n}.jpg" for n in state_try.PORTRAITS]
    assert galleries(page)["photos"]["chosen"] == "group.jpg"
    assert any("Nothing is stored or sent" in text for text in page.texts)
    predictor = Predictor.load(Run(own_runs / "own"))
    found = find_in_photo(state_try.read_photo(PORTRAITS / "group.jpg"), "group.jpg")
    said = predictor.predict(found.crops).probabilities
    assert [tile["text"] for tile in galleries(page)["faces"]["tiles"]] == [
        f"{i} {EMOTIONS[row.argmax()]}" for i, row in enumerate(said, 1)
    ]
    _, bars = page.chart("emotion", "probability")
    np.testing.assert_allclose(bars["probability"], said[0], atol=1e-4)
    np.testing.assert_allclose(shown_table(page)[list(EMOTIONS)].to_numpy(), said, atol=1e-3)
    expected = face_table(found, said)
    assert shown_table(page)[["left", "right"]].equals(expected[["left", "right"]])


def test_the_photo_on_the_page_is_the_cores_with_its_maps(
    open_try: Any, own_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def watched(*arguments: Any) -> np.ndarray:
        drawn.append(marked_photo(*arguments))
        return drawn[-1]

    monkeypatch.setattr("dashboard.photo.marked_photo", watched)
    open_try(photo="two.jpg", method="Occlusion", number="2")
    predictor = Predictor.load(Run(own_runs / "own"))
    found = find_in_photo(state_try.read_photo(PORTRAITS / "two.jpg"), "two.jpg")
    result = attribute(predictor.checkpoint, found.crops, "occlusion")
    maps = part_of(result.maps, "both")
    expected = marked_photo(found, result.probabilities, 1, maps, Look("both"), scale_of(maps))
    assert np.abs(drawn[-1].astype(int) - expected).max() <= 3  # sums in another order


def test_a_link_opens_photo_face_and_method(open_try: Any) -> None:
    page = open_try(photo="two.jpg", number="2", method="Saliency", target="Fear")
    assert galleries(page)["photos"]["chosen"] == "two.jpg"
    assert galleries(page)["faces"]["chosen"] == "2"
    assert any(text.startswith("**Face 2 of 2, as own:") for text in page.texts)
    assert any("Over them Saliency" in text for text in page.texts)


@pytest.mark.parametrize("number", ["0", "3", "-1", "x", "²"])
def test_a_face_that_is_not_there_gives_way_to_the_first(open_try: Any, number: str) -> None:
    page = open_try(photo="two.jpg", number=number, method="Nothing")
    assert galleries(page)["faces"]["chosen"] == "1"


def test_an_upload_is_opened_and_all_uploads_are_in_the_table(open_try: Any) -> None:
    page = open_try(method="Nothing")
    upload(page, ("me.jpg", portrait("happy")), ("both.jpg", portrait("two")))
    assert page.query["photo"] == "me.jpg"
    assert [tile["id"] for tile in galleries(page)["photos"]["tiles"]][:3] == ["me.jpg", "both.jpg", "group.jpg"]
    assert shown_table(page)["file"].tolist() == ["me.jpg", "both.jpg", "both.jpg"]
    assert shown_table(page)["face"].tolist() == [1, 1, 2]
    upload(page, ("late.jpg", portrait("angry")))
    assert page.query["photo"] == "late.jpg"


def test_two_files_of_one_name_are_told_apart(open_try: Any) -> None:
    page = upload(open_try(method="Nothing"), ("two.jpg", portrait("happy")), ("two.jpg", portrait("angry")))
    assert [tile["id"] for tile in galleries(page)["photos"]["tiles"]][:2] == ["two.jpg (2)", "two.jpg (3)"]
    assert len(shown_table(page)) == 2


def test_a_photo_from_the_camera_is_opened(open_try: Any) -> None:
    page = open_try(method="Nothing")
    assert not page.app.camera_input  # the camera stays off until it is asked for
    page.app.toggle(key="camera").set_value(True)
    page.run()
    page.app.camera_input(key="shot").set_value(("shot.jpg", portrait("surprise"), "image/jpeg"))
    page.run()
    assert page.query["photo"] == "camera.jpg"
    assert shown_table(page)["file"].tolist() == ["camera.jpg"]


def test_a_photo_that_is_gone_is_said_to_be(open_try: Any) -> None:
    page = open_try(photo="holiday.jpg", method="Nothing")
    assert page.says("warning") == ["There is no photo 'holiday.jpg' here any more; group.jpg is shown."]


def test_another_checkpoint_says_something_else_of_the_same_faces(open_try: Any) -> None:
    page = open_try(photo="two.jpg", method="Nothing", checkpoint="own:1")
    first = shown_table(page)[list(EMOTIONS)].to_numpy()
    page.app.selectbox(key="checkpoint").set_value("own:3")
    page.run()
    assert np.abs(shown_table(page)[list(EMOTIONS)].to_numpy() - first).max() > 0.01
    assert set(shown_table(page)["checkpoint"]) == {"own:3"}


def test_calibrated_probabilities_are_shown_where_there_is_a_temperature(
    open_page: Any, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = SimpleNamespace(epoch=3, tta="none", temperature=2.0)
    monkeypatch.setattr("fer_core.calibration.load_calibrations", lambda run: [fitted] if run.name == "own" else [])
    page = open_page("try_it", runs, photo="happy.jpg", method="Nothing", checkpoint="own:3")
    own = Predictor.load(Run(runs / "other"), 3)
    crops = find_in_photo(state_try.read_photo(PORTRAITS / "happy.jpg"), "").crops
    root = np.sqrt(own.predict(crops).probabilities[0])
    _, bars = page.chart("emotion", "probability")
    np.testing.assert_allclose(bars["probability"], root / root.sum(), atol=1e-4)
    assert "Probabilities of own:3, calibrated at temperature 2." in page.texts
    assert shown_table(page)["calibrated"].tolist() == [True]


def test_a_calibration_made_meanwhile_holds_at_once(open_page: Any, runs: Path) -> None:
    page = open_page("try_it", runs, photo="happy.jpg", method="Nothing", checkpoint="own:3")
    assert shown_table(page)["calibrated"].tolist() == [False]
    rng = np.random.default_rng(0)
    fitted = calibrate(
        rng.dirichlet(np.ones(7), 70).astype(np.float32), np.arange(70) % 7, epoch=3, tta="none", data="", split="",
        fingerprint="",
    )  # fmt: skip
    store_calibration(Run(runs / "own"), fitted)
    assert shown_table(page.run())["calibrated"].tolist() == [True]


def test_each_of_many_photos_is_looked_at_once(open_try: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def look(photo: Any, name: str) -> Any:
        looked.append(name)
        return find_in_photo(photo, name)

    monkeypatch.setattr(state_try, "find_in_photo", look)
    page = open_try(method="Nothing")
    image = Image.open(io.BytesIO(portrait())).resize((80, 80))
    photos = []
    for i in range(60):
        image.putpixel((0, 0), (i, 0, 0))
        photos.append((f"{i}.png", encoded(image, "PNG")))
    upload(page, *photos)
    page.run()
    assert sum(name != "group.jpg" for name in looked) == 60


def test_without_a_reference_it_is_said_how_to_get_one(open_try: Any) -> None:
    page = open_try(photo="happy.jpg", method="Nothing")
    assert "**Why always neutral?**" in page.texts
    assert any("python -m fer_core reference own:" in text for text in page.texts)


def test_what_differs_from_the_training_faces_is_told_beside_the_prediction(
    open_page: Any, runs: Path, own_faces: Any
) -> None:
    from fer_core.drift import compare
    from fer_core.reference import make_reference, store_reference

    run = Run(runs / "own")
    reference = make_reference(run.load_checkpoint(3), own_faces)
    store_reference(run, 3, reference)
    page = open_page("try_it", runs, photo="angry.jpg", method="Nothing", checkpoint="own:3")
    found = find_in_photo(state_try.read_photo(PORTRAITS / "angry.jpg"), "")
    (drift,) = compare(found.crops, reference, run.load_checkpoint(3), found.faces)
    assert drift.unusual  # a face is unlike noise
    for reading in drift.unusual:
        assert any(reading.sentence in text for text in page.texts)
    _, table = page.chart("trait", "percentile")
    np.testing.assert_allclose(table["percentile"], [each.percentile for each in drift.readings], atol=1e-3)


# -- bad input -------------------------------------------------------------------------------------


def bomb() -> bytes:
    """A PNG of a few hundred bytes that says of itself that it has 3.6 thousand million pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    )


def huge() -> bytes:
    return encoded(Image.new("L", (12_000, 9_000), 128), "PNG", compress_level=1)


REFUSED = {
    "text.jpg": (lambda: b"This is no picture at all.", "is no picture that can be read"),
    "cut.jpg": (lambda: portrait()[:9000], "cannot be read"),
    "bomb.png": (bomb, "too many pixels"),
    "huge.png": (huge, "12,000 x 9,000 pixels"),
    "empty.jpg": (lambda: b"", "empty.jpg"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_one_sentence_and_the_rest_goes_on(open_try: Any, name: str) -> None:
    content, reason = REFUSED[name]
    page = upload(open_try(method="Nothing"), (name, content()), ("good.jpg", portrait("angry")))
    (error,) = page.says("error")
    assert name in error
    assert reason in error
    assert error.endswith(".")
    assert shown_table(page)["file"].tolist() == ["good.jpg"]
    assert page.query["photo"] == "good.jpg"


def test_a_photo_without_a_face_is_shown_and_said_to_have_none(open_try: Any) -> None:
    page = upload(open_try(), ("wall.png", encoded(Image.new("RGB", (300, 200), (120, 130, 90)), "PNG")))
    (info,) = page.says("info")
    assert info.startswith("No face was found in wall.png.")
    assert not page.app.dataframe
    assert page.says("error") == []


def test_a_single_pixel(open_try: Any) -> None:
    page = upload(open_try(), ("dot.png", encoded(Image.new("RGB", (1, 1)), "PNG")))
    assert page.says("info")[0].startswith("No face was found in dot.png.")


def test_unusual_kinds_of_pictures_are_read(open_try: Any) -> None:
    face = Image.open(io.BytesIO(portrait("happy")))
    files = {
        "cmyk.jpg": encoded(face.convert("CMYK"), "JPEG"),
        "moving.gif": encoded(face, "GIF", save_all=True, append_images=[Image.new("RGB", face.size)]),
        "clear.webp": encoded(face.convert("RGBA"), "WEBP"),
        "large.jpg": encoded(face.resize((2300, 2600)), "JPEG", quality=70),
    }
    page = upload(open_try(method="Nothing"), *files.items())
    assert page.says("error") == []
    assert shown_table(page)["file"].tolist() == list(files)
    page = open_try(method="Nothing")
    upload(page, ("moving.gif", files["moving.gif"]))
    assert any("moving.gif holds 2 pictures; this is the first." in text for text in page.texts)


def test_a_photo_that_lies_on_its_side_is_turned(open_try: Any) -> None:
    face = Image.open(io.BytesIO(portrait("happy")))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    lying = encoded(face.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)
    page = upload(open_try(method="Nothing"), ("phone.jpg", lying), ("upright.jpg", portrait("happy")))
    table = shown_table(page)
    assert table["file"].tolist() == ["phone.jpg", "upright.jpg"]
    np.testing.assert_allclose(table["left"][0], table["left"][1], atol=4)


def test_two_hundred_faces(open_try: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = [(20.0 + 60 * x, 30.0 + 70 * y, 42.0 + 60 * x, 58.0 + 70 * y) for y in range(10) for x in range(20)]
    crowd = [Face(box, 0.9, np.tile(np.float32([[0, 0], [9, 0], [4, 5], [1, 9], [8, 9]]), 1)) for box in boxes]
    page = open_try()
    monkeypatch.setattr("fer_core.photo_reading.find_faces", lambda *_: crowd)
    noise = np.random.default_rng(0).integers(0, 256, (760, 1240, 3), dtype=np.uint8)
    upload(page, ("crowd.png", encoded(Image.fromarray(noise), "PNG")))
    assert page.says("error") == []
    assert len(shown_table(page)) == 200
    assert len(galleries(page)["faces"]["tiles"]) == 200
    assert any("200 faces" in text for text in page.texts)


# -- nothing is stored -----------------------------------------------------------------------------

_written: list[str] = []
_watching = [False]


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching[0] and event == "open":
        path, mode, flags = arguments
        writes = any(c in str(mode or "") for c in "wax+") or (isinstance(flags, int) and flags & 0b11)
        if writes and not isinstance(path, int):
            _written.append(str(path))


def test_no_file_is_written(open_try: Any, tmp_path: Path) -> None:
    """Every opening of a file for writing, by Python code of whatever package, while a photo is read and explained."""
    page = open_try(photo="two.jpg", method="Grad-CAM")  # what is loaded once is loaded
    before = sorted(tmp_path.rglob("*"))
    sys.addaudithook(_audit)  # stays for ever, so it looks at a switch
    _watching[0] = True
    try:
        with (tmp_path / "probe").open("w"):
            pass
        upload(page, ("me.jpg", portrait("happy")), ("both.jpg", portrait("two")))
        assert shown_table(page)["file"].tolist() == ["me.jpg", "both.jpg", "both.jpg"]
    finally:
        _watching[0] = False
    assert _written.pop(0) == str(tmp_path / "probe")  # the watch works
    assert [path for path in _written if path != "/dev/null" and "__pycache__" not in path] == []
    (tmp_path / "probe").unlink()
    assert sorted(tmp_path.rglob("*")) == before


def test_photos_are_remembered_for_their_session_only(open_try: Any) -> None:
    from dashboard.state import _memory

    page = upload(open_try(method="Nothing"), ("me.jpg", portrait("happy") + b"mine"))
    key = state_try.Source("me.jpg", portrait("happy") + b"mine").key
    assert key in str(list(page.app.session_state["own photos"].values))
    assert key not in str(list(_memory().values))


# -- live ------------------------------------------------------------------------------------------


def test_the_live_way_tells_what_will_be_there(open_try: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dashboard import live

    asked: dict[str, Any] = {}

    def streamer(_: str, **options: Any) -> Any:  # the real one needs a real server: see tests/browser
        asked.update(options)
        return SimpleNamespace(state=SimpleNamespace(playing=False, signalling=False))

    monkeypatch.setattr(live, "webrtc_streamer", streamer)
    page = open_try(way="Live webcam")
    assert page.says("error") == []
    (info,) = page.says("info")
    assert info.startswith("Press Start and allow the camera")
    assert asked["rtc_configuration"] == {"iceServers": []}
    assert asked["media_stream_constraints"]["audio"] is False
    page.click("Use a photo instead")
    assert page.app.segmented_control(key="way").value == "Photo"
    assert galleries(page)["photos"]["chosen"] == "group.jpg"


@pytest.mark.parametrize("problem", ["insecure", "no WebRTC", "no camera", "denied"])
def test_without_a_camera_a_photo_is_offered(open_try: Any, monkeypatch: pytest.MonkeyPatch, problem: str) -> None:
    from dashboard import camera

    answer = type("Answer", (), {"problem": problem})()
    monkeypatch.setattr(camera, "_component", lambda **_: answer)
    page = open_try(way="Live webcam")
    assert page.says("warning") == [camera.PROBLEMS[problem]]
    assert "photo" in camera.PROBLEMS[problem]
    page.click("Use a photo")
    assert page.says("warning") == []
    assert galleries(page)["photos"]["chosen"] == "group.jpg"


@pytest.fixture
def panel(open_page: Any, own_runs: Path) -> Callable[..., Any]:
    """What stands beside the video, for a worker in some state."""
    from streamlit.testing.v1 import AppTest

    open_page("home", own_runs)  # sets where the runs are

    def run(prepare: Callable[[Any], None], playing: bool = True, connecting: bool = False, waited: float = 0.0) -> Any:
        def script(prepare, playing, connecting, waited):  # type: ignore[no-untyped-def]  # its source is run elsewhere
            import time

            import streamlit as st

            from dashboard import live, state, state_try

            if waited:
                st.session_state["connecting since"] = time.monotonic() - waited
            chosen = state.choice()
            worker = state_try.live_worker(chosen, None)
            prepare(worker)
            live._panel(chosen, worker, playing, connecting)

        app = AppTest.from_function(script, default_timeout=PATIENCE, args=(prepare, playing, connecting, waited)).run()
        assert not app.exception
        return app

    return run


def let_time_pass(worker: Any) -> None:
    """50 ms from one look at the clock to the next, however busy this machine is."""
    looks = itertools.count()
    worker.clock = lambda: 0.05 * next(looks)


def seen(worker: Any) -> None:
    """A worker to which the camera has shown two people for a while."""
    let_time_pass(worker)
    frame = np.asarray(Image.open(PORTRAITS / "two.jpg").convert("RGB"))
    for _ in range(3):
        worker.arrivals.append(worker.clock())
        worker.step(frame, worker.clock())


def test_the_panel_shows_rates_and_the_largest_face(panel: Any) -> None:
    app = panel(seen)
    assert [metric.label for metric in app.metric] == ["Frames/s", "Latency, ms", "Dropped"]
    assert [metric.value for metric in app.metric[:2]] == ["6.7", "50"]  # three looks at the clock a frame
    assert any("the largest of 2, as own:" in each.value for each in app.markdown)
    assert len(app.get("vega_lite_chart")) == 2


def test_the_panel_says_that_nobody_is_there(panel: Any) -> None:
    def empty(worker: Any) -> None:
        let_time_pass(worker)
        worker.arrivals.append(worker.clock())
        worker.step(np.zeros((120, 160, 3), np.uint8), worker.clock())

    assert [each.value for each in panel(empty).info] == ["No face in sight."]


def test_a_camera_that_stops_is_said_to_have_stopped(panel: Any) -> None:
    def stopped(worker: Any) -> None:
        worker.arrivals.append(worker.clock() - 60)

    app = panel(stopped)
    assert [each.value.partition(":")[0] for each in app.warning] == ["No pictures come from the camera any more"]
    assert [button.label for button in app.button] == ["Use a photo"]


def test_a_frame_that_cannot_be_read_is_told(panel: Any) -> None:
    def failing(worker: Any) -> None:
        seen(worker)
        worker.problem = "epoch-003.safetensors is gone."

    assert [each.value for each in panel(failing).error] == ["epoch-003.safetensors is gone."]


def test_a_connection_that_does_not_come_about_is_told_after_a_while(panel: Any) -> None:
    def nothing(worker: Any) -> None:
        del worker

    app = panel(nothing, playing=False, connecting=True)
    assert [each.value for each in app.caption] == ["Connecting to the camera ..."]
    app = panel(nothing, playing=False, connecting=True, waited=11)
    (warning,) = app.warning
    assert warning.value.startswith("No connection came about")
    assert "--ice stun:HOST:PORT" in warning.value


def test_a_frame_comes_back_at_once_with_the_last_answer(own_runs: Path) -> None:
    import av

    from dashboard.live import LONGEST, answered
    from fer_core.live import LiveReader, LiveWorker

    net = Predictor.load(Run(own_runs / "own"))
    worker = LiveWorker(LiveReader(lambda crops: net.predict(crops).probabilities))
    picture = Image.open(PORTRAITS / "two.jpg").convert("RGB").resize((1280, 960))
    frame = av.VideoFrame.from_image(picture)
    worker.offer = lambda rgb: offered.append(rgb)  # type: ignore[method-assign]
    offered: list[np.ndarray] = []
    plain = answered(worker, frame).to_ndarray(format="rgb24")
    assert plain.shape == (480, LONGEST, 3)
    np.testing.assert_array_equal(plain, offered[0])
    worker.step(offered[0], 0.0)
    marked = answered(worker, frame).to_ndarray(format="rgb24")
    assert (marked != plain).any(axis=2).mean() > 0.005
    np.testing.assert_array_equal(offered[1], plain)  # marks are not painted on what is read
    worker.mirrored, worker.patches = True, ()
    np.testing.assert_array_equal(answered(worker, frame).to_ndarray(format="rgb24"), plain[:, ::-1])


def test_ice_servers_are_named_by_flag_or_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["Home.py"])
    monkeypatch.delenv("FER_ICE_SERVERS", raising=False)
    assert state_try.ice_servers() == []  # on one machine nobody else's server is asked
    monkeypatch.setenv("FER_ICE_SERVERS", "stun:a.example:3478, turn:me:se:cret@b.example:3478?transport=tcp")
    assert state_try.ice_servers() == [
        {"urls": "stun:a.example:3478"},
        {"urls": "turn:b.example:3478?transport=tcp", "username": "me", "credential": "se:cret"},
    ]
    monkeypatch.setattr(sys, "argv", ["Home.py", "--ice", "stun:c.example", "--data", "x", "--ice", "stun:d.example"])
    assert [each["urls"] for each in state_try.ice_servers()] == ["stun:c.example", "stun:d.example"]


@pytest.mark.parametrize("wrong", ["stun.example:3478", "turn:host:1", "turn:user@host", "http://host", "stun:"])
def test_what_is_no_ice_server_is_refused(open_try: Any, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("FER_ICE_SERVERS", wrong)
    with pytest.raises(ConfigError, match="is no STUN or TURN server; write --ice stun:HOST:PORT"):
        state_try.ice_servers()
    if wrong == "stun:":
        assert "'stun:' is no STUN or TURN server" in open_try(way="Live webcam").says("error")[0]
