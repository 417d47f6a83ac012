"""Faces followed from frame to frame, and what is said of them smoothed over time. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fer_core.marks import Box

MIN_OVERLAP = 0.3  # intersection over union from which two boxes are taken for one face
FORGOTTEN = 0.7  # seconds after which a face that was not found again gets a new number


@dataclass(frozen=True)
class Track:
    """One face over time.

    number         from 1, in the order in which faces first came
    probabilities  float32 (7,), smoothed
    seen           the time of the last frame in which it was found, in seconds
    """

    number: int
    box: Box
    probabilities: np.ndarray
    seen: float


class Tracks:
    """Gives each face of a frame the number and the past of the face before that it overlaps most.

    smoothing: seconds in which the weight of the past falls to 1/e; 0 for none.
    """

    def __init__(self, smoothing: float = 0.5) -> None:
        self.smoothing = smoothing
        self._tracks: list[Track] = []
        self._last_number, self._last_time = 0, 0.0

    def update(self, boxes: Sequence[Box], probabilities: np.ndarray, now: float) -> list[Track]:
        """The tracks of the faces found at the time `now` in seconds, in their order.

        probabilities: float32 (N, 7). A frame of the past than the last one counts as of the same moment.
        """
        since = min(now - FORGOTTEN, self._last_time)  # what was in the last frame is known, however long that took
        known = [track for track in self._tracks if track.seen >= since]
        before = _matched(boxes, known)
        found = [
            self._continued(known[before[i]], box, probabilities[i], now) if i in before else self._new(box, p, now)
            for i, (box, p) in enumerate(zip(boxes, probabilities, strict=True))
        ]
        missing = [track for j, track in enumerate(known) if j not in before.values()]
        self._tracks, self._last_time = found + missing, now
        return found

    def _continued(self, track: Track, box: Box, probabilities: np.ndarray, now: float) -> Track:
        past = float(np.exp(-max(now - track.seen, 0) / self.smoothing)) if self.smoothing > 0 else 0.0
        mixed = past * track.probabilities + (1 - past) * probabilities
        return Track(track.number, box, mixed.astype(np.float32), now)

    def _new(self, box: Box, probabilities: np.ndarray, now: float) -> Track:
        self._last_number += 1
        return Track(self._last_number, box, probabilities, now)


def overlaps(boxes: Sequence[Box], others: Sequence[Box]) -> np.ndarray:
    """Intersection over union of each box with each other one, 0..1: float (N, M)."""
    a = np.asarray(boxes, float).reshape(-1, 1, 4)
    b = np.asarray(others, float).reshape(1, -1, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = sides.clip(0).prod(axis=-1)
    whole = (a[..., 2:] - a[..., :2]).prod(axis=-1) + (b[..., 2:] - b[..., :2]).prod(axis=-1) - shared
    return np.asarray(shared / np.maximum(whole, 1e-9))


def _matched(boxes: Sequence[Box], known: Sequence[Track]) -> dict[int, int]:
    """The best pairs first, each box and each track once: {box: track}."""
    shares = overlaps(boxes, [track.box for track in known])
    pairs: dict[int, int] = {}
    for flat in np.argsort(-shares, axis=None, kind="stable"):
        i, j = divmod(int(flat), shares.shape[1])
        if shares[i, j] < MIN_OVERLAP:
            break
        if i not in pairs and j not in pairs.values():
            pairs[i] = j
    return pairs
