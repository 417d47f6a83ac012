"""`FaceDataset`: faces and their labels as plain arrays in memory (or memory-mapped from the cache)."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from fer_core.data.cache import cache_dir
from fer_core.data.summary import LoadSummary
from fer_core.errors import DataError
from fer_core.labels import EMOTIONS, UNLABELLED
from fer_core.preprocess import FACE_SIZE

SPLITS: tuple[str, ...] = ("train", "validation", "test")
LARGEST_COPY = 1 << 30  # bytes of faces that are copied to memory, or to the GPU's
_BLOCK = 4096  # faces


@dataclass(frozen=True, eq=False)
class FaceDataset:
    """Faces, labels and splits, row by row.

    images    uint8 (N, 48, 48), gray levels 0..255
    emotions  int8 (N,), index into `labels.EMOTIONS`, -1 where unlabelled
    splits    int8 (N,), index into `SPLITS`
    ids       str (N,), unique within the data set: "train-00012" for row 12 (from 0) of the train split, or the path of
              an image file below the folder that was opened
    name      what a person calls it: "FER2013", "Demo faces", a file's name
    is_demo   True for the rendered faces that ship: every number from them must be labelled as such
    extra     further columns, one row a face (identity, intensity, pose of the demo faces); may have no columns
    summary   where the faces came from, and what was done to them on the way
    """

    images: np.ndarray
    emotions: np.ndarray
    splits: np.ndarray
    ids: np.ndarray
    name: str
    is_demo: bool = False
    extra: pd.DataFrame = field(default_factory=pd.DataFrame)
    summary: LoadSummary = field(default_factory=LoadSummary)

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.shape != (n, FACE_SIZE, FACE_SIZE) or self.images.dtype != np.uint8:
            given = f"{self.images.dtype} {self.images.shape}"
            raise DataError(f"{self.name}: images must be uint8 (N, 48, 48), not {given}.")
        for column in ("emotions", "splits", "ids"):
            if len(getattr(self, column)) != n:
                raise DataError(f"{self.name}: {n} images but {len(getattr(self, column))} {column}.")
        if len(self.extra.columns) and len(self.extra) != n:
            raise DataError(f"{self.name}: {n} images but {len(self.extra)} rows of further columns.")

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, mask: np.ndarray) -> FaceDataset:
        """The rows where `mask` (bool (N,) or integer positions) says so, in that order; neighbours without a copy.
        Raises OSError where they are so many that their copy belongs on the disk, and there is no room for it."""
        rows = np.flatnonzero(mask) if mask.dtype == bool else mask
        adjoining = len(rows) > 0 and rows[0] >= 0 and bool((np.diff(rows) == 1).all())
        chosen = slice(rows[0], rows[-1] + 1) if adjoining else rows
        return replace(
            self,
            images=_taken(self.images, chosen),
            emotions=self.emotions[chosen],
            splits=self.splits[chosen],
            ids=self.ids[chosen],
            extra=self.extra.iloc[chosen].reset_index(drop=True) if len(self.extra) else self.extra,
        )

    def split(self, name: str) -> FaceDataset:
        """The rows of one split: "train", "validation" or "test". Raises DataError for another name."""
        if name not in SPLITS:
            raise DataError(f"There is no split '{name}'; choose one of {', '.join(SPLITS)}.")
        return self.subset(self.splits == SPLITS.index(name))

    def labelled(self) -> FaceDataset:
        """The rows that have a label."""
        return self.subset(self.emotions != UNLABELLED)

    def counts(self) -> pd.DataFrame:
        """Faces by split (rows, only those there are) and emotion (columns, then "Unlabelled")."""
        split = pd.Categorical.from_codes(self.splits, categories=list(SPLITS))
        emotion = pd.Categorical.from_codes(
            np.where(self.emotions == UNLABELLED, len(EMOTIONS), self.emotions), categories=[*EMOTIONS, "Unlabelled"]
        )
        table = pd.crosstab(split, emotion, dropna=False)
        table.index.name, table.columns.name = "split", "emotion"
        return table.loc[table.sum(axis=1) > 0]

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of the SHA-256 over images, emotions and splits: equal exactly when those are equal."""
        digest = hashlib.sha256()
        for array in (self.images, self.emotions, self.splits):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    @cached_property
    def fingerprint_without_test(self) -> str:
        """The same over the train and validation rows alone, on which a network is trained and chosen: FER2013's test
        rows come with and without labels."""
        kept = self.splits != SPLITS.index("test")
        return self.fingerprint if kept.all() else self.subset(kept).fingerprint


def spread(n: int, most: int) -> np.ndarray:
    """Rows spread evenly over `n`, int64 (min(n, most),): the first ones may all be of one emotion, as in folders."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(np.int64)


def _taken(images: np.ndarray, rows: slice | np.ndarray) -> np.ndarray:
    """`images[rows]`; a copy that is too large for the memory lies in a mapped file, which goes with the process."""
    if isinstance(rows, slice) or len(rows) * FACE_SIZE**2 <= LARGEST_COPY:
        return images[rows]
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        copy = np.memmap(file, np.uint8, "w+", shape=(len(rows), FACE_SIZE, FACE_SIZE))
    for start in range(0, len(rows), _BLOCK):
        copy[start : start + _BLOCK] = images[rows[start : start + _BLOCK]]
    return copy
