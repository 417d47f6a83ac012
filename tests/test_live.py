"""Live reading: the newest frame only, smoothed over time, whatever a frame brings."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_core.errors import CheckpointError
from fer_core.explain.pictures import Look
from fer_core.faces import Face, crop_faces
from fer_core.labels import COLORS
from fer_core.live import MOST_FACES, SPAN, LiveReader, LiveWorker, face_patches
from fer_core.marks import paint

PORTRAITS = Path(__file__).parent.parent / "fer_core" / "data" / "demo" / "portraits"
HAPPY, SAD = np.eye(7, dtype=np.float32)[3], np.eye(7, dtype=np.float32)[4]
FRAME = np.full((240, 320, 3), 90, np.uint8)


def face(left: float, top: float, width: float = 60.0, height: float = 80.0) -> Face:
    return Face((left, top, left + width, top + height), 0.9, np.zeros((5, 2), np.float32))


class Fixed:
    """A detector that finds what it was told, and counts."""

    def __init__(self, *faces: Face) -> None:
        self.faces, self.calls = list(faces), 0

    def detect(self, rgb: np.ndarray) -> list[Face]:  # noqa: ARG002
        self.calls += 1
        return list(self.faces)


def always(row: np.ndarray) -> object:
    return lambda crops: np.repeat(row[None], len(crops), axis=0)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_frame_is_found_cropped_classified_and_followed() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, FRAME.shape, dtype=np.uint8)
    seen = []

    def predict(crops: np.ndarray) -> np.ndarray:
        seen.append(crops)
        return np.stack([HAPPY, SAD])

    reader = LiveReader(predict, detector=Fixed(face(200, 50), face(20, 40)))
    left, right = reader.read(frame, 0.0)
    assert (left.face.box[0], right.face.box[0]) == (20, 200)
    assert (left.track.probabilities == HAPPY).all()
    assert (right.track.probabilities == SAD).all()
    np.testing.assert_array_equal(seen[0], crop_faces(frame, [left.face, right.face]))
    np.testing.assert_array_equal(left.crop, seen[0][0])
    assert [one.track.number for one in reader.read(frame, 0.03)] == [1, 2]


def test_probabilities_are_smoothed_over_the_frames() -> None:
    reader = LiveReader(always(HAPPY), detector=Fixed(face(20, 40)))
    reader.tracks.smoothing = 1.0
    reader.read(FRAME, 0.0)
    reader.predict = always(SAD)
    (found,) = reader.read(FRAME, float(np.log(4)))
    np.testing.assert_allclose(found.track.probabilities, 0.25 * HAPPY + 0.75 * SAD, atol=1e-6)


def test_a_frame_without_a_face_asks_nothing_of_the_network() -> None:
    def never(crops: np.ndarray) -> np.ndarray:
        raise AssertionError(f"asked of {len(crops)} faces")

    assert LiveReader(never, never, Fixed()).read(FRAME, 0.0) == ()


def test_of_a_crowd_only_the_largest_are_read() -> None:
    crowd = [face(3 * i, 10, height=20 + i) for i in range(40)]
    found = LiveReader(always(HAPPY), detector=Fixed(*crowd)).read(FRAME, 0.0)
    assert sorted(one.face.height for one in found) == [20 + i for i in range(40 - MOST_FACES, 40)]


def test_maps_are_made_only_on_request_and_laid_on_the_squares() -> None:
    reader = LiveReader(always(HAPPY), detector=Fixed(face(120, 80)))
    (plain,) = reader.read(FRAME, 0.0)
    assert plain.map is None
    reader.explain = lambda crops: np.ones((len(crops), 48, 48), np.float32)
    (explained,) = reader.read(FRAME, 0.1)
    patches = face_patches([explained], 320, 240, Look("positive", opacity=1.0))
    shown = paint(FRAME.copy(), patches[:1])
    left, top, side = explained.square
    changed = np.argwhere((shown != FRAME).any(axis=2))
    np.testing.assert_allclose(changed.min(axis=0), [top, left], atol=1)
    np.testing.assert_allclose(changed.max(axis=0) + 1, [top + side, left + side], atol=1)


def test_boxes_labels_and_bars_are_painted_in_the_emotions_colour() -> None:
    reader = LiveReader(always(HAPPY), detector=Fixed(face(30, 60)))
    shown = paint(FRAME.copy(), face_patches(reader.read(FRAME, 0.0), 320, 240))
    happy = np.array([int(COLORS["Happy"][i : i + 2], 16) for i in (1, 3, 5)])
    is_happy = (np.abs(shown.astype(int) - happy).sum(axis=2) < 6).astype(bool)
    assert is_happy[60:140, 30].all()  # the box's left side
    assert is_happy[140 - 1, 30:90].all()
    assert is_happy[40:60, 30:90].mean() > 0.4  # the label above it
    assert is_happy[60:190, 95:].sum() > 100  # the bar beside it


def test_a_mirrored_frame_is_marked_where_the_face_is_then() -> None:
    (found,) = LiveReader(always(SAD), lambda crops: crops.astype(np.float32), Fixed(face(30, 60))).read(FRAME, 0.0)
    left_half = np.zeros((48, 48), np.float32)
    left_half[:, :24] = 1
    plain = face_patches([type(found)(found.track, found.face, found.crop, left_half)], 320, 240, Look("positive"))
    other = face_patches(
        [type(found)(found.track, found.face, found.crop, left_half)], 320, 240, Look("positive"), True
    )
    shown, mirrored = paint(FRAME.copy(), plain[:1]), paint(FRAME.copy(), other[:1])
    np.testing.assert_array_equal(shown[:, ::-1], mirrored)


# -- the worker ------------------------------------------------------------------------------------


def until(condition: object, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.005)


def test_frames_that_come_while_one_is_read_are_dropped_and_the_newest_is_next() -> None:
    busy, go = threading.Event(), threading.Event()
    seen: list[int] = []

    class Slow:
        def detect(self, rgb: np.ndarray) -> list[Face]:
            seen.append(int(rgb[0, 0, 0]))
            busy.set()
            assert go.wait(120)
            return []

    worker = LiveWorker(LiveReader(always(HAPPY), detector=Slow()))
    worker.offer(np.full((8, 8, 3), 0, np.uint8))
    assert busy.wait(120)
    for i in range(1, 200):  # `offer` waits for nothing: the reader is held all this time
        worker.offer(np.full((8, 8, 3), i, np.uint8))
    go.set()
    until(lambda: len(worker.results) == 2)
    worker.close()
    assert seen == [0, 199]
    assert len(worker.arrivals) == 200


def test_rates_latency_and_what_was_dropped() -> None:
    clock = Clock()

    class Takes60ms(Fixed):
        def detect(self, rgb: np.ndarray) -> list[Face]:
            clock.now += 0.06
            return super().detect(rgb)

    worker = LiveWorker(LiveReader(always(HAPPY), detector=Takes60ms(face(20, 40))), clock=clock)
    for _ in range(20):  # a frame every 50 ms, of which every other is read
        worker.arrivals += [clock.now, clock.now + 0.05]
        arrived = clock.now
        worker.step(FRAME, arrived)
        clock.now = arrived + 0.1
    rates = worker.rates()
    assert rates.read == pytest.approx(10)
    assert rates.arriving == pytest.approx(20, rel=0.01)
    assert rates.dropped == pytest.approx(0.5, abs=0.01)
    assert rates.latency == pytest.approx(0.06)


def test_only_the_last_half_minute_is_remembered() -> None:
    clock = Clock()
    worker = LiveWorker(LiveReader(always(HAPPY), detector=Fixed(face(20, 40))), clock=clock)
    for _ in range(80):
        worker.step(FRAME, clock.now)
        clock.now += 1
    assert len(worker.results) <= SPAN + 1
    assert worker.recent()[0].done >= clock.now - SPAN
    clock.now += 100
    assert worker.recent() == []
    assert worker.rates().read == 0


def test_a_failure_is_told_and_the_next_frame_is_read_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    worker = LiveWorker(LiveReader(always(HAPPY), detector=Fixed(face(20, 40))))

    def refuses(_: np.ndarray) -> np.ndarray:
        raise CheckpointError("epoch-003.safetensors is not whole; train it again.")

    def breaks(_: np.ndarray) -> np.ndarray:
        raise RuntimeError("out of memory")

    good = worker.reader.predict
    worker.step(FRAME, 0.0)
    assert worker.patches
    for predict, told in ((refuses, "epoch-003.safetensors is not whole"), (breaks, "out of memory")):
        worker.reader.predict = predict
        worker.step(FRAME, 0.1)
        assert told in worker.problem
        assert not worker.patches
    assert "A frame could not be read" in caplog.text
    worker.reader.predict = good
    worker.step(FRAME, 0.2)
    assert worker.problem == ""
    assert worker.patches


def test_the_thread_ends_when_frames_end_and_comes_back_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_core.live._IDLE", 0.05)
    worker = LiveWorker(LiveReader(always(HAPPY), detector=Fixed(face(20, 40))))
    for expected in (1, 2):
        worker.offer(FRAME)
        until(lambda: len(worker.results) == expected)  # noqa: B023
        until(lambda: not [each for each in threading.enumerate() if each.name == "live reader"])
    worker.close()
    worker.offer(FRAME)
    assert not [each for each in threading.enumerate() if each.name == "live reader"]


def test_silence_is_the_time_since_the_last_frame() -> None:
    clock = Clock()
    worker = LiveWorker(LiveReader(always(HAPPY), detector=Fixed()), clock=clock)
    assert worker.silence() == float("inf")
    worker.offer(FRAME)
    clock.now += 3
    assert worker.silence() == 3
    worker.close()


def test_a_rendered_portrait_is_read_by_the_real_detector() -> None:
    frame = np.asarray(Image.open(PORTRAITS / "two.jpg").convert("RGB"))
    found = LiveReader(always(SAD)).read(frame, 0.0)
    assert len(found) == 2
    assert found[0].face.centre[0] == pytest.approx(109.3 + 141.4 / 2, abs=15)  # portraits.json
