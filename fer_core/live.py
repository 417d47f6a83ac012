"""Live video: frame -> faces with numbers and smoothed probabilities, always of the newest frame. Knows no webcam, no
browser and no page: whoever has frames offers them.

    worker = LiveWorker(LiveReader(predict=probabilities_of_crops))
    worker.offer(frame)               # returns at once; a newer frame replaces one that still waits
    paint(frame, worker.patches)      # the last answer
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fer_core.errors import FerError
from fer_core.explain.pictures import Look, part_of, scale_of
from fer_core.faces import Detector, Face, crop_faces, face_square, find_faces
from fer_core.labels import COLORS, EMOTIONS
from fer_core.marks import (
    Patch,
    Square,
    bars_patch,
    bars_size,
    box_patches,
    label_patch,
    map_patch,
    place_beside,
)
from fer_core.tracks import Track, Tracks

MOST_FACES = 12  # of more, the largest: a crowd must not stop the video
SPAN = 30.0  # seconds that are remembered
RECENT = 2.0  # seconds over which rates and latency are measured
_IDLE = 5.0  # seconds without a frame after which the thread ends; the next frame starts another

ToProbabilities = Callable[[np.ndarray], np.ndarray]  # uint8 (N, 48, 48) -> float32 (N, 7)
ToMaps = Callable[[np.ndarray], np.ndarray]  # uint8 (N, 48, 48) -> float32 (N, 48, 48)


@dataclass(frozen=True, eq=False)
class LiveFace:
    """A face of one frame: its past, where it was found, what the network saw, uint8 (48, 48), and where a map was
    asked for that, float32 (48, 48)."""

    track: Track
    face: Face
    crop: np.ndarray
    map: np.ndarray | None = None

    @property
    def square(self) -> Square:
        return face_square(self.face)


class LiveReader:
    """What is done with one frame: find, crop, classify, follow, explain.

    predict  probabilities of crops. explain: maps of crops, None for none. Both may be exchanged between two frames
    detector as in `find_faces`
    """

    def __init__(
        self, predict: ToProbabilities, explain: ToMaps | None = None, detector: Detector | None = None
    ) -> None:
        self.predict, self.explain, self.detector = predict, explain, detector
        self.tracks = Tracks()

    def read(self, rgb: np.ndarray, now: float) -> tuple[LiveFace, ...]:
        """The faces of a frame uint8 (H, W, 3) that came at the time `now` in seconds, from left to right."""
        found = find_faces(rgb, self.detector, MOST_FACES)
        crops = crop_faces(rgb, found)
        said = self.predict(crops) if found else np.empty((0, len(EMOTIONS)), np.float32)
        tracks = self.tracks.update([face.box for face in found], said, now)
        maps: Sequence[np.ndarray | None] = list(self.explain(crops)) if found and self.explain else [None] * len(found)
        return tuple(
            LiveFace(track, face, crop, values)
            for track, face, crop, values in zip(tracks, found, crops, maps, strict=True)
        )


def face_patches(
    faces: Sequence[LiveFace], width: int, height: int, look: Look | None = None, mirrored: bool = False
) -> list[Patch]:
    """What to paint on a frame: maps, boxes, labels, and where there is room beside a face all its probabilities.

    look: how maps are drawn. mirrored: for a frame that is shown mirrored, as people see themselves.
    """
    size, patches = max(12, width // 40), list[Patch]()
    shown = [_mirrored(face, width) for face in faces] if mirrored else list(faces)
    if look is not None and any(face.map is not None for face in shown):
        parts = [(face.square, part_of(face.map, look.sign)) for face in shown if face.map is not None]
        scale = scale_of(np.stack([values for _, values in parts]))
        patches += [map_patch(square, values, look, scale) for square, values in parts]
    panel, taken = bars_size(size - 3), [face.face.box for face in shown]
    for face in sorted(shown, key=lambda face: -face.face.height):
        if (at := place_beside(face.face.box, panel, (width, height), taken)) is not None:
            patches.append(bars_patch(face.track.probabilities, at, size - 3))
            taken.append((*at, at[0] + panel[0], at[1] + panel[1]))
    for face in shown:
        best = int(face.track.probabilities.argmax())
        color = COLORS[EMOTIONS[best]]
        text = f"{face.track.number} {EMOTIONS[best]} {100 * face.track.probabilities[best]:.0f}%"
        patches += box_patches(face.face.box, color, max(2, width // 250))
        patches.append(label_patch(text, color, face.face.box[:2], size, (width, height)))
    return patches


def _mirrored(face: LiveFace, width: int) -> LiveFace:
    left, top, right, bottom = face.face.box
    mirrored = replace(face.face, box=(width - right, top, width - left, bottom))
    return replace(face, face=mirrored, map=None if face.map is None else face.map[:, ::-1])


@dataclass(frozen=True)
class LiveResult:
    """What was found in one frame: when it came and when it was read, in seconds of the worker's clock."""

    arrived: float
    done: float
    faces: tuple[LiveFace, ...]

    @property
    def largest(self) -> LiveFace | None:
        return max(self.faces, key=lambda face: face.face.height, default=None)


@dataclass(frozen=True)
class LiveRates:
    """Over the last two seconds: frames that came and that were read, a second; seconds from a frame's arrival to its
    result, the median; 0 where there was none."""

    arriving: float
    read: float
    latency: float

    @property
    def dropped(self) -> float:
        """The share of the frames that were never read, since a newer one had come, 0..1."""
        return max(0.0, 1 - self.read / self.arriving) if self.arriving else 0.0


@dataclass
class LiveWorker:
    """Reads the newest frame, again and again, in a thread of its own, which ends when no frame comes any more.

    look, mirrored  as in `face_patches`; may be changed at any time
    patches         what to paint on the next frame
    results         of the last 30 s, the newest last
    problem         why the last frame could not be read, "" where it could
    """

    reader: LiveReader
    look: Look = field(default_factory=Look)
    mirrored: bool = False
    clock: Callable[[], float] = time.monotonic
    patches: Sequence[Patch] = ()
    results: deque[LiveResult] = field(default_factory=deque)
    arrivals: deque[float] = field(default_factory=deque)
    problem: str = ""

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: tuple[np.ndarray, float] | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def offer(self, rgb: np.ndarray) -> None:
        """Have a frame uint8 (H, W, 3) read as soon as the one before is done. It must not be changed afterwards."""
        with self._changed:
            if self._closed:
                return
            now = self.clock()
            self._waiting = rgb, now
            self.arrivals.append(now)
            while self.arrivals[0] < now - SPAN:
                self.arrivals.popleft()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="live reader", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """End the thread after the frame that it reads; later frames are ignored."""
        with self._changed:
            self._closed, self._waiting = True, None
            self._changed.notify()

    def _run(self) -> None:
        while (taken := self._next()) is not None:
            self.step(*taken)

    def _next(self) -> tuple[np.ndarray, float] | None:
        """The newest frame with its arrival, None once none comes any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._closed, _IDLE)
            taken, self._waiting = self._waiting, None
            if taken is None:
                self._thread = None
            return taken

    def step(self, rgb: np.ndarray, arrived: float) -> None:
        """Read one frame; a failure is told in `problem`, and the next frame is read all the same."""
        try:
            faces = self.reader.read(rgb, arrived)
            self.patches = face_patches(faces, rgb.shape[1], rgb.shape[0], self.look, self.mirrored)
            self.problem = ""
        except Exception as error:  # the thread must outlive any frame; what is not ours goes to the log as well
            if not isinstance(error, FerError):
                logging.getLogger(__name__).exception("A frame could not be read")
            self.patches, self.problem = (), str(error) or type(error).__name__
            return
        done = self.clock()
        with self._changed:
            self.results.append(LiveResult(arrived, done, faces))
            while self.results[0].done < done - SPAN:
                self.results.popleft()

    def recent(self) -> list[LiveResult]:
        """The results of the last 30 s, the newest last."""
        with self._changed:
            return [result for result in self.results if result.done >= self.clock() - SPAN]

    def rates(self) -> LiveRates:
        with self._changed:
            since = self.clock() - RECENT
            arrivals = [each for each in self.arrivals if each >= since]
            results = [each for each in self.results if each.done >= since]
        latency = float(np.median([each.done - each.arrived for each in results])) if results else 0.0
        return LiveRates(_rate(arrivals), _rate([each.done for each in results]), latency)

    def silence(self) -> float:
        """Seconds since the last frame came; infinite before the first."""
        with self._changed:
            return self.clock() - self.arrivals[-1] if self.arrivals else float("inf")


def _rate(times: Sequence[float]) -> float:
    """Events a second, from the distance of the first to the last."""
    span = times[-1] - times[0] if len(times) > 1 else 0.0
    return (len(times) - 1) / span if span > 0 else 0.0
