"""How good a checkpoint is on labelled faces: accuracy with its interval, by label, the confusion matrix, F1 and loss.

In numpy and not with a metrics library, since the dashboard draws all this from saved predictions without waiting for
torch; the tests hold every number to torchmetrics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_core.labels import EMOTIONS, UNLABELLED

Z_95 = 1.959963984540054  # the normal distribution's 97.5 % quantile
LEAST = 1e-12  # a smaller probability counts as this one where its logarithm is taken


@dataclass(frozen=True)
class Share:
    """`hits` out of `n` as a proportion with its 95 % Wilson interval."""

    hits: int
    n: int

    @classmethod
    def of(cls, accuracy: float, n: float) -> Share:
        """The share that a run recorded as an accuracy, 0..1, of n faces."""
        return cls(round(accuracy * n), int(n))

    @property
    def value(self) -> float:
        return self.hits / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end (Wilson 1927); (0, 1) where there is nothing to count."""
        if not self.n:
            return 0.0, 1.0
        z2 = Z_95**2
        centre = (self.hits + z2 / 2) / (self.n + z2)
        half = Z_95 / (self.n + z2) * math.sqrt(self.hits * (self.n - self.hits) / self.n + z2 / 4)
        return max(0.0, centre - half), min(1.0, centre + half)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"accuracy": _or_null(self.value), "interval_95": list(self.interval), "n": self.n}

    def __str__(self) -> str:
        if not self.n:
            return "no faces"
        low, high = self.interval
        return f"{self.value:.1%} ({low:.1%} to {high:.1%}, n = {self.n:,})"


@dataclass(frozen=True)
class Evaluation:
    """One checkpoint, or an ensemble of some, on one split.

    run, epoch  of the checkpoint; of an ensemble its members as RUN:EPOCH in one text, and None
    confusion   int (7, 7): rows are the true emotion, columns the predicted one
    loss        mean negative log of the true emotion's probability, in nats; NaN where only the matrix is known
    tta         the test-time augmentation, a key of `fer_core.tta.TTA`
    unseen      accuracy over the faces that do not stand pixel for pixel among those that the run was trained on; None
                where these are not known
    """

    run: str
    epoch: int | None
    data: str
    split: str
    confusion: np.ndarray
    loss: float = math.nan
    tta: str = "none"
    unseen: Share | None = None

    @property
    def n(self) -> int:
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> Share:
        return Share(int(np.trace(self.confusion)), self.n)

    @property
    def by_label(self) -> dict[str, Share]:
        """Of the faces of each emotion, how many were recognised (recall)."""
        return {
            emotion: Share(int(self.confusion[i, i]), int(self.confusion[i].sum()))
            for i, emotion in enumerate(EMOTIONS)
        }

    @property
    def row_shares(self) -> np.ndarray:
        """The matrix with each row divided by its sum: float (7, 7), zero where a row is empty."""
        totals = self.confusion.sum(axis=1, keepdims=True)
        shares: np.ndarray = np.divide(self.confusion, totals, out=np.zeros((7, 7)), where=totals > 0)
        return shares

    @property
    def macro_f1(self) -> float:
        """Mean over the emotions that occur (as truth or prediction) of 2 TP / (2 TP + FP + FN)."""
        hits = np.diag(self.confusion)
        total = self.confusion.sum(axis=0) + self.confusion.sum(axis=1)
        return float((2 * hits[total > 0] / total[total > 0]).mean()) if self.n else math.nan

    @property
    def leak_note(self) -> str:
        """The accuracy without the faces that the run was trained on, as a sentence; "" where these are not known."""
        if self.unseen is None:
            return ""
        if self.unseen.n == self.n:
            return "None of these faces also stands in training."
        return f"Without the {self.n - self.unseen.n:,} faces that also stand in training: {self.unseen}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; every number with the checkpoint, split and n that it belongs to."""
        return {
            "run": self.run,
            "epoch": self.epoch,
            "data": self.data,
            "split": self.split,
            "tta": self.tta,
            **self.accuracy.to_dict(),
            "without_seen_in_training": self.unseen.to_dict() if self.unseen else None,
            "macro_f1": _or_null(self.macro_f1),
            "loss": _or_null(self.loss),
            "by_label": {emotion: share.to_dict() for emotion, share in self.by_label.items()},
            "confusion": self.confusion.tolist(),
        }


def _or_null(value: float) -> float | None:
    """A number as JSON holds it, which has no NaN."""
    return None if math.isnan(value) else value


def confusion_matrix(emotions: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """int (7, 7), rows true, columns predicted; unlabelled faces are left out."""
    known = emotions != UNLABELLED
    cells = emotions[known].astype(np.int64) * len(EMOTIONS) + predicted[known]
    return np.bincount(cells, minlength=len(EMOTIONS) ** 2).reshape(len(EMOTIONS), len(EMOTIONS))


def evaluate(
    probabilities: np.ndarray,
    emotions: np.ndarray,
    *,
    run: str,
    epoch: int | None,
    data: str,
    split: str,
    tta: str = "none",
    seen: np.ndarray | None = None,
) -> Evaluation:
    """Score probabilities (N, 7) against labels (N,); unlabelled faces are left out.

    seen: which of the faces stand among those that the run was trained on, bool (N,); None where that is not known.
    """
    known = np.flatnonzero(emotions != UNLABELLED)
    truth = probabilities[known, emotions[known]].astype(np.float64)
    loss = float(-np.log(np.maximum(truth, LEAST)).mean()) if len(known) else math.nan
    predicted = probabilities.argmax(axis=1)
    unseen = None
    if seen is not None:
        rows = known[~seen[known]]
        unseen = Share(int((predicted[rows] == emotions[rows]).sum()), len(rows))
    return Evaluation(run, epoch, data, split, confusion_matrix(emotions, predicted), loss, tta, unseen)


@dataclass(frozen=True)
class Changes:
    """What became of the same labelled faces from one checkpoint to another.

    fixed, broken  int (k,): positions of the faces that went from wrong to right, and from right to wrong
    n              labelled faces compared
    """

    fixed: np.ndarray
    broken: np.ndarray
    n: int

    @property
    def difference(self) -> float:
        """Accuracy after minus accuracy before, -1..1; NaN without faces."""
        return (len(self.fixed) - len(self.broken)) / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the difference of two paired proportions (Agresti & Min 2005: half a face is added to each
        of the four cells before Wald's formula)."""
        if not self.n:
            return -1.0, 1.0
        n, fixed, broken = self.n + 2, len(self.fixed) + 0.5, len(self.broken) + 0.5
        centre = (fixed - broken) / n
        half = Z_95 * math.sqrt(fixed + broken - (fixed - broken) ** 2 / n) / n
        return max(-1.0, centre - half), min(1.0, centre + half)


def compare(before: np.ndarray, after: np.ndarray, emotions: np.ndarray) -> Changes:
    """Which faces flipped between two sets of probabilities (N, 7); unlabelled faces (-1) are left out."""
    known = emotions != UNLABELLED
    was_right = (before.argmax(axis=1) == emotions) & known
    is_right = (after.argmax(axis=1) == emotions) & known
    return Changes(np.flatnonzero(~was_right & is_right), np.flatnonzero(was_right & ~is_right), int(known.sum()))
