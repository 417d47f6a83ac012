"""Where a checkpoint is weak: its accuracy on slices of the faces, by how they look and where they lie in its space.

Many slices are looked at, and the weakest of many is weak by chance too. So each carries its interval and its number of
faces, its difference from all other faces is tested exactly (Fisher), and the p values are corrected for how many were
looked at (Holm 1979).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fer_core.data.quality import Quality
from fer_core.evaluation import Share
from fer_core.labels import EMOTIONS, UNLABELLED

FEWEST = 20  # faces below which a slice tells nothing
CLUSTERS = 12


@dataclass(frozen=True, eq=False)
class Slice:
    """Some labelled faces that have something in common.

    by    what they were sorted by: "brightness"; name: what they share: "73 to 110", in the unit of `Quality`
    rows  int (n,): which faces; share: how many of them were recognised
    rest  the same of all other labelled faces
    p     of Fisher's exact test of the two, two-sided, after Holm's correction over all slices looked at
    """

    by: str
    name: str
    rows: np.ndarray
    share: Share
    rest: Share
    p: float

    @property
    def difference(self) -> float:
        """Accuracy of the slice minus that of all other faces, -1..1."""
        return self.share.value - self.rest.value


@dataclass(frozen=True)
class Slices:
    """The slices of at least FEWEST faces, the weakest first; `looked_at`: how many those are, `skipped`: the smaller
    ones."""

    slices: list[Slice]
    looked_at: int
    skipped: int

    def to_dict(self, limit: int | None = None) -> dict[str, Any]:
        """Plain values for JSON."""
        rows = [
            {
                "by": each.by,
                "slice": each.name,
                "accuracy": each.share.value,
                "interval_95": list(each.share.interval),
                "n": each.share.n,
                "difference": each.difference,
                "p_holm": each.p,
            }
            for each in self.slices[:limit]
        ]
        return {"looked_at": self.looked_at, "skipped": self.skipped, "slices": rows}


def find_slices(predicted: np.ndarray, emotions: np.ndarray, groupings: Mapping[str, np.ndarray]) -> Slices:
    """Score each value of each grouping.

    predicted int (N,), emotions int8 (N,) with -1 for unlabelled faces, which are left out; groupings: by name, str
    (N,), the slice that each face belongs to, "" for none.
    """
    known, right = emotions != UNLABELLED, predicted == emotions
    found: list[tuple[str, str, np.ndarray]] = []
    skipped = 0
    for by, names in groupings.items():
        for name in np.unique(names[known & (names != "")]):
            rows = np.flatnonzero(known & (names == name))
            if len(rows) >= FEWEST and len(rows) < known.sum():
                found.append((by, str(name), rows))
            else:
                skipped += 1
    hits, n = int(right[known].sum()), int(known.sum())
    shares = [Share(int(right[rows].sum()), len(rows)) for _, _, rows in found]
    rests = [Share(hits - share.hits, n - share.n) for share in shares]
    adjusted = holm([_fisher(share, rest) for share, rest in zip(shares, rests, strict=True)])
    slices = [
        Slice(by, name, rows, share, rest, p)
        for (by, name, rows), share, rest, p in zip(found, shares, rests, adjusted, strict=True)
    ]
    return Slices(sorted(slices, key=lambda each: each.share.value), len(slices), skipped)


def groupings(
    emotions: np.ndarray,
    quality: Quality,
    clusters: np.ndarray | None = None,
    seen: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """What faces are sliced by: label, brightness, contrast, sharpness, the estimate of the turn, cluster, and whether
    a copy or near copy was trained on (`seen`, bool (N,))."""
    names = np.array([*EMOTIONS, ""])
    found = {
        "label": names[emotions],
        "brightness": by_quarter(quality.brightness),
        "contrast": by_quarter(quality.contrast),
        "sharpness": by_quarter(quality.sharpness),
        "turn (estimate)": by_quarter(quality.turn, 1, " px"),
    }
    if clusters is not None:
        found["cluster"] = np.array([f"{number + 1:02d}" for number in clusters], "U3")
    if seen is not None:
        found["copy in train"] = np.where(seen, "yes", "no")
    return found


def by_quarter(values: np.ndarray, digits: int = 0, unit: str = "") -> np.ndarray:
    """The quarter of the faces that each value lies in, in words: str (N,)."""
    if not len(values):
        return np.empty(0, "U1")
    edges = np.quantile(values, (0, 0.25, 0.5, 0.75, 1))
    names = np.array([f"{low:.{digits}f} to {high:.{digits}f}{unit}" for low, high in pairwise(edges)])
    return np.asarray(names[np.clip(np.searchsorted(edges, values, side="right") - 1, 0, 3)])


def cluster_faces(features: np.ndarray, count: int = CLUSTERS, seed: int = 0) -> np.ndarray:
    """Sort penultimate features float32 (N, D) into clusters by k-means: int (N,), the largest cluster first."""
    from sklearn.cluster import KMeans

    count = min(count, len(np.unique(features, axis=0)))
    if count < 2:
        return np.zeros(len(features), int)
    found = KMeans(count, n_init=3, random_state=seed).fit(features).labels_
    order = np.argsort(-np.bincount(found, minlength=count), kind="stable")
    return np.asarray(np.argsort(order)[found])


def holm(p_values: list[float]) -> list[float]:
    """p values corrected for their number (Holm 1979), in the same order."""
    order = np.argsort(p_values)
    adjusted = np.minimum(1, np.maximum.accumulate(np.array(p_values)[order] * np.arange(len(order), 0, -1)))
    result = np.empty(len(order))
    result[order] = adjusted
    return [float(value) for value in result]


def _fisher(share: Share, rest: Share) -> float:
    from scipy.stats import fisher_exact

    table = [[share.hits, share.n - share.hits], [rest.hits, rest.n - rest.hits]]
    return float(fisher_exact(table).pvalue)
