"""What is wrong with a data set, told from the pixels and labels alone: `audit(dataset)`.

Counts and their imbalance, blank faces, exact and near duplicates within and across splits, conflicting labels. Label
errors, which need networks, are in `fer_core/label_errors.py`; accuracy by slice in `fer_core/slices.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from fer_core.data.dataset import SPLITS, FaceDataset
from fer_core.data.duplicates import THRESHOLD, Groups, copies, exact_duplicates, near_duplicates
from fer_core.data.keys import face_keys
from fer_core.data.quality import Quality, measure_quality
from fer_core.labels import EMOTIONS, UNLABELLED


@dataclass(frozen=True, eq=False)
class Audit:
    """What was found in a data set of N faces.

    keys     uint64 (N,): `face_keys`
    quality  brightness, contrast, sharpness of each face
    exact    groups of faces with the same pixels
    near     groups of nearly equal faces, exact copies of them included
    """

    dataset: FaceDataset
    keys: np.ndarray
    quality: Quality
    exact: Groups
    near: Groups

    @property
    def distinct(self) -> int:
        """How many different pictures there are."""
        return len(self.keys) - self.exact.extra_copies

    @cached_property
    def copies(self) -> Groups:
        """Groups of faces that are exact or near copies of one another."""
        return copies(self.exact, self.near)

    def quality_summary(self) -> pd.DataFrame:
        """5th, 50th and 95th percentile (columns) of brightness, contrast and sharpness (rows)."""
        names = [field.name for field in fields(Quality) if field.name != "turn"]
        values = [np.percentile(getattr(self.quality, name), (5, 50, 95)) for name in names] if len(self.keys) else []
        return pd.DataFrame(values, index=names[: len(values)], columns=["5 %", "median", "95 %"])

    def leaks(self, groups: Groups) -> pd.DataFrame:
        """Faces of a split (rows) that stand in another split too (columns); on the diagonal those that stand in their
        own split more than once. Only the splits that there are."""
        there = [split for split in range(len(SPLITS)) if (self.dataset.splits == split).any()]
        names = [SPLITS[split] for split in there]
        table = groups.leaks(self.dataset.splits, len(SPLITS))[np.ix_(there, there)]
        return pd.DataFrame(table, pd.Index(names, name="split"), pd.Index(names, name="also in"))

    def conflicts(self, groups: Groups) -> list[np.ndarray]:
        """The labelled rows of each group whose labels differ, the largest group first."""
        found = [groups.members[group] for group in groups.conflicting(self.dataset.emotions)]
        labelled = [rows[self.dataset.emotions[rows] != UNLABELLED] for rows in found]
        return sorted(labelled, key=len, reverse=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; faces by their ids."""
        counts = {
            str(split): {str(k): int(v) for k, v in row.items()} for split, row in self.dataset.counts().iterrows()
        }
        return {
            "data": self.dataset.name,
            "is_demo": self.dataset.is_demo,
            "fingerprint": self.dataset.fingerprint,
            "n": len(self.keys),
            "counts": counts,
            "imbalance": imbalance(self.dataset),
            "quality_percentiles": {
                name: dict(zip(("5", "50", "95"), row, strict=True))
                for name, row in zip(
                    self.quality_summary().index, self.quality_summary().to_numpy().tolist(), strict=True
                )
            },
            "constant": self._ids(np.flatnonzero(self.quality.constant)),
            "blank": self._ids(np.flatnonzero(self.quality.blank)),
            "distinct": self.distinct,
            "exact_duplicates": self._groups_dict(self.exact),
            "near_duplicates": {"threshold": THRESHOLD, **self._groups_dict(self.near)},
        }

    def _groups_dict(self, groups: Groups) -> dict[str, Any]:
        conflicts = self.conflicts(groups)
        return {
            "groups": len(groups),
            "faces": int((groups.of >= 0).sum()),
            "extra_copies": groups.extra_copies,
            "also_in": {str(split): row for split, row in self.leaks(groups).to_dict("index").items()},
            "conflicting_groups": len(conflicts),
            "conflicting_faces": sum(map(len, conflicts)),
            "conflicts": [dict(zip(self._ids(rows), self._labels(rows), strict=True)) for rows in conflicts],
            "members": [self._ids(rows) for rows in groups.members],
        }

    def _ids(self, rows: np.ndarray) -> list[str]:
        return [str(name) for name in self.dataset.ids[rows]]

    def _labels(self, rows: np.ndarray) -> list[str]:
        return [EMOTIONS[emotion] for emotion in self.dataset.emotions[rows]]


def imbalance(dataset: FaceDataset) -> dict[str, float]:
    """By split: how many faces the most frequent emotion has for each of the rarest one that occurs."""
    counts = dataset.counts()[list(EMOTIONS)]
    return {str(split): float(row.max() / row[row > 0].min()) for split, row in counts.iterrows() if row.any()}


def audit(dataset: FaceDataset, report: Callable[[float], object] | None = None) -> Audit:
    """Look through a data set; `report` is called with the share done, 0..1. FER2013 takes a few seconds."""
    show = report or (lambda _: None)
    keys = face_keys(dataset.images)
    show(0.1)
    quality = measure_quality(dataset.images, lambda share: show(0.1 + 0.1 * share))
    near = near_duplicates(dataset.images, keys, report=lambda share: show(0.2 + 0.8 * share))
    return Audit(dataset, keys, quality, exact_duplicates(keys), near)
