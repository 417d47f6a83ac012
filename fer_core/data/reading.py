"""What the readers of all forms share: the rows they return, and where they report progress and rows that are bad."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import pandas as pd

from fer_core.data.label_order import LabelOrder
from fer_core.errors import DataError
from fer_core.preprocess import FACE_SIZE

Report = Callable[[float, str], None]


@dataclass
class Rows:
    """Faces as a reader found them.

    images uint8 (N, 48, 48); emotions int8 (N,), -1 unlabelled; splits int8 (N,); ids (N,) str, or None where the rows
    have no name of their own; `extra`: further columns, one row a face.
    """

    images: np.ndarray
    emotions: np.ndarray
    splits: np.ndarray
    ids: np.ndarray | None = None
    extra: pd.DataFrame = field(default_factory=pd.DataFrame)
    resized: int = 0
    recoloured: int = 0
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def where(self, mask: np.ndarray) -> Rows:
        """The rows where `mask` (bool (N,)) says so; all of them without a copy."""
        if mask.all():
            return self
        return replace(
            self,
            images=self.images[mask],
            emotions=self.emotions[mask],
            splits=self.splits[mask],
            ids=None if self.ids is None else self.ids[mask],
            extra=self.extra[mask].reset_index(drop=True) if len(self.extra) else self.extra,
        )


def joined(parts: Sequence[Rows]) -> Rows:
    """All parts below one another (none: no rows). Ids stay only where all parts have them; warnings are told once."""
    faces = [np.zeros((0, FACE_SIZE, FACE_SIZE), np.uint8), *(part.images for part in parts)]
    ids = [part.ids for part in parts if part.ids is not None]
    if any(len(part.extra.columns) for part in parts):
        extra = pd.concat([part.extra.reindex(range(len(part))) for part in parts], ignore_index=True)
    else:
        extra = pd.DataFrame()
    return Rows(
        images=np.concatenate(faces),
        emotions=np.concatenate([np.zeros(0, np.int8), *(part.emotions for part in parts)]),
        splits=np.concatenate([np.zeros(0, np.int8), *(part.splits for part in parts)]),
        ids=np.concatenate(ids) if parts and len(ids) == len(parts) else None,
        extra=extra,
        resized=sum(part.resized for part in parts),
        recoloured=sum(part.recoloured for part in parts),
        warnings=tuple(dict.fromkeys(warning for part in parts for warning in part.warnings)),
    )


class BadRow(NamedTuple):
    """A row that cannot be read. `file` is its position in the source's files, `line` 0 for a file that is one face."""

    file: int
    line: int
    reason: str


class Source(Protocol):
    """A file, or a group of files, that holds faces in one form.

    `splits` are the splits that it can hold, None where each row tells its own; `labelled`: it has a label column;
    `counts_in`: what the place of a bad row is called, "line" or "row" (from 0), or "" where a file is one face.
    """

    counts_in: ClassVar[str]

    @property
    def form(self) -> str: ...
    @property
    def files(self) -> Sequence[Path]: ...
    @property
    def splits(self) -> frozenset[int] | None: ...
    @property
    def labelled(self) -> bool: ...
    @property
    def title(self) -> Path:
        """What stands for it in a summary: its file, or its folder."""

    def key(self) -> str:
        """Equal exactly when reading gives the same rows."""

    def read(self, reading: Reading) -> Rows:
        """All its rows. Raises DataError."""


@dataclass
class Reading:
    """One reading of one source: its options, and what it reports while it goes on."""

    source: Source
    label_order: LabelOrder = "auto"
    skip_bad_rows: bool = False
    report: Report | None = None
    skipped: list[BadRow] = field(default_factory=list)

    def progress(self, fraction: float) -> None:
        if self.report is not None:
            self.report(min(fraction, 1.0), f"Reading {self.source.title.name}")

    def bad(self, row: BadRow) -> None:
        """Notes a row to be left out, or raises DataError where bad rows are not to be skipped."""
        if not self.skip_bad_rows:
            place = place_of(self.source, row)
            raise DataError(f"{place}: {row.reason}; mend it, or load the rest with --skip-bad-rows.")
        self.skipped.append(row)


def place_of(source: Source, row: BadRow) -> str:
    """Where a bad row is, in words: "train.csv, line 17"."""
    return f"{source.files[row.file]}" + (f", {source.counts_in} {row.line}" if source.counts_in else "")
