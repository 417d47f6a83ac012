"""Which faces a network takes for alike: nearest neighbours by cosine distance, and how often they share a label."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fer_core.explain.intervals import half_interval
from fer_core.labels import EMOTIONS, UNLABELLED

NEAREST = 10
_ASKED = 1000  # faces whose neighbours are counted, drawn at random where there are more
_BATCH = 128


def normalised(features: np.ndarray) -> np.ndarray:
    """Each row (N, D) scaled to length 1; a row of zeros stays so."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.where(lengths > 0, lengths, 1))


def cosine_distances(features: np.ndarray, row: int, lengths: np.ndarray | None = None) -> np.ndarray:
    """1 - the cosine of the angle between one row of features (N, D) and each: float32 (N,), 0..2; 1 from or to a row
    of zeros. lengths: the rows' lengths (N,) where they are known."""
    lengths = np.linalg.norm(features, axis=1) if lengths is None else lengths
    scale = lengths * lengths[row]
    similar = np.divide(features @ features[row], scale, out=np.zeros_like(scale), where=scale > 0)
    return np.asarray(np.clip(1 - similar, 0, 2))


def nearest(
    features: np.ndarray, row: int, count: int = NEAREST, lengths: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The rows nearest to one row of features (N, D), and their cosine distances: int (k,) and float32 (k,), the
    nearest first, itself left out, the earlier row first among equals. All rows are looked at."""
    distances = cosine_distances(features, row, lengths)
    distances[row] = np.inf
    count = min(count, len(features) - 1)
    if not count:
        return np.empty(0, int), np.empty(0, np.float32)
    within = np.flatnonzero(distances <= np.partition(distances, count - 1)[count - 1])
    rows = within[np.argsort(distances[within], kind="stable")][:count]
    return rows, distances[rows]


@dataclass(frozen=True, eq=False)
class Agreement:
    """Of a labelled face's nearest labelled neighbours, the share that has its label.

    shares    float64 (n,): of each face that was asked
    emotions  int8 (n,): the emotion of each
    chance    what the mean would be if neighbours were drawn blindly
    """

    shares: np.ndarray
    emotions: np.ndarray
    neighbours: int
    chance: float

    @property
    def n(self) -> int:
        return len(self.shares)

    @property
    def value(self) -> float:
        """The mean; NaN without faces."""
        return float(self.shares.mean()) if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean over faces, by Student's t; (0, 1) below two faces."""
        if self.n < 2:
            return 0.0, 1.0
        half = float(half_interval(self.shares))
        return max(0.0, self.value - half), min(1.0, self.value + half)

    @property
    def by_label(self) -> dict[str, Agreement]:
        """The same for the faces of each emotion that occurs."""
        parts = {name: self.emotions == i for i, name in enumerate(EMOTIONS) if (self.emotions == i).any()}
        return {
            name: Agreement(self.shares[here], self.emotions[here], self.neighbours, math.nan)
            for name, here in parts.items()
        }


def agreement(
    features: np.ndarray,
    emotions: np.ndarray,
    count: int = NEAREST,
    asked: int = _ASKED,
    report: Callable[[float], object] | None = None,
) -> Agreement:
    """How often neighbours share a label, over features (N, D) and emotions (N,); faces without a label (-1) are left
    out, as face and as neighbour. Where there are more than `asked`, so many are drawn (seeded) and asked."""
    known = np.flatnonzero(emotions != UNLABELLED)
    labels, count = emotions[known], min(count, len(known) - 1)
    if count < 1:
        return Agreement(np.empty(0), np.empty(0, np.int8), 0, math.nan)
    directions = normalised(features if len(known) == len(features) else features[known])
    rows = np.arange(len(known))
    if len(rows) > asked:
        rows = np.sort(np.random.default_rng(0).choice(rows, asked, replace=False))
    shares = np.empty(len(rows))
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        similar = directions[batch] @ directions.T  # (B, N)
        similar[np.arange(len(batch)), batch] = -np.inf
        found = np.argpartition(-similar, count - 1, axis=1)[:, :count]
        shares[start : start + _BATCH] = (labels[found] == labels[batch, None]).mean(axis=1)
        if report:
            report(min(1.0, (start + _BATCH) / len(rows)))
    counts = np.bincount(labels[rows], minlength=len(EMOTIONS)) / len(rows)
    others = (np.bincount(labels, minlength=len(EMOTIONS)) - 1) / (len(labels) - 1)
    return Agreement(shares, labels[rows], count, float(counts @ others))
