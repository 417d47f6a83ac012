"""Faces as image files: train/<emotion>/*.jpg, <emotion>/*.jpg, <number>/*.jpg, or a folder of unlabelled pictures."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import ClassVar

import numpy as np

from fer_core.data.label_order import ASSUMED_ORDER, BAD_LABEL, known_emotion, labels_from_numbers, order_names
from fer_core.data.pictures import Faces, decode_all, in_threads
from fer_core.data.reading import BadRow, Reading, Rows
from fer_core.data.splits import TEST, TRAIN, split_index
from fer_core.labels import UNLABELLED
from fer_core.preprocess import FACE_SIZE

_BATCH = 256  # files


@dataclass(frozen=True, eq=False)
class ImageSource:
    """Image files below `root`: the innermost folder named after an emotion gives the label, and so for the split.

    `names` are the files' paths below `root`; emotions and splits_by_file int8, one a file. `numbered`: the folders are
    named 0 to 6 instead, and `emotions` are these numbers.
    """

    counts_in: ClassVar[str] = ""

    root: Path
    files: tuple[Path, ...]
    names: tuple[str, ...]
    emotions: np.ndarray
    splits_by_file: np.ndarray
    warnings: tuple[str, ...]
    numbered: bool

    @classmethod
    def open(cls, root: Path, files: list[Path]) -> ImageSource:
        """Labels and splits from the folders' names; no file is opened."""
        parents = [file.parent for file in files]
        told = {folder: _told_by(PurePath(root.resolve().name) / folder.relative_to(root)) for folder in set(parents)}
        numbered = len(told) > 1 and {folder.name for folder in told} <= set("0123456")
        if numbered:
            told = {folder: (int(folder.name), _split_told_by(folder.relative_to(root), TRAIN)) for folder in told}
        unlabelled = {folder for folder, (emotion, _) in told.items() if emotion == UNLABELLED}
        strange = {folder for folder in unlabelled if len(unlabelled) < len(told) and split_index(folder.name) is None}
        kept = [(file, *told[folder]) for file, folder in zip(files, parents, strict=True) if folder not in strange]
        names = tuple(file.as_posix().removeprefix(f"{root.as_posix()}/") for file, _, _ in kept)
        emotions = np.array([emotion for _, emotion, _ in kept], np.int8)
        splits = np.array([split for _, _, split in kept], np.int8)
        warnings = tuple(
            f"{count:,} pictures in {folder} were left out: the folder is not named after one of the seven emotions."
            for folder, count in sorted(Counter(parents).items())
            if folder in strange
        )
        return cls(root, tuple(file for file, _, _ in kept), names, emotions, splits, warnings, numbered)

    @property
    def form(self) -> str:
        return "Image files in a folder for each emotion" if self.labelled else "Image files without labels"

    @property
    def title(self) -> Path:
        return self.root if len(self.files) > 1 else self.files[0]

    @property
    def labelled(self) -> bool:
        return bool((self.emotions != UNLABELLED).any())

    @property
    def splits(self) -> frozenset[int]:
        return frozenset(self.splits_by_file.tolist())

    def key(self) -> str:
        """From each file's path below the folder, size and time of change: reading 36,000 files to see whether one has
        changed would take as long as loading them."""
        digest = hashlib.blake2b(repr(self.warnings).encode())
        for name, file in zip(self.names, self.files, strict=True):
            stat = file.stat()
            digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
        digest.update(self.emotions.tobytes() + self.splits_by_file.tobytes())
        return f"images {digest.hexdigest()}"

    def read(self, reading: Reading) -> Rows:
        """All pictures, sorted by path. Raises DataError naming a file that cannot be read."""
        images = np.empty((len(self.files), FACE_SIZE, FACE_SIZE), np.uint8)
        good = np.ones(len(self.files), bool)
        resized = recoloured = 0
        for start, faces in in_threads(_decode_files, self._batches()):
            images[start : start + len(faces.images)] = faces.images
            for i, reason in faces.broken.items():
                reading.bad(BadRow(start + i, 0, reason))
                good[start + i] = False
            resized, recoloured = resized + faces.resized, recoloured + faces.recoloured
            reading.progress((start + len(faces.images)) / len(self.files))
        # A name of bytes that are no UTF-8, as on old disks, can be neither printed nor kept as it is.
        ids = np.array([os.fsencode(name).decode("utf-8", "backslashreplace") for name in self.names])
        emotions, warnings = self.emotions, self.warnings
        if self.numbered:
            emotions = labels_from_numbers(emotions, order_names(reading.label_order))
            warnings += (ASSUMED_ORDER,) if reading.label_order == "auto" else ()
        rows = Rows(images, emotions, self.splits_by_file, ids, warnings=warnings)
        return replace(rows.where(good), resized=resized, recoloured=recoloured)

    def _batches(self) -> Iterator[tuple[int, tuple[Path, ...]]]:
        for start in range(0, len(self.files), _BATCH):
            yield start, self.files[start : start + _BATCH]


def _told_by(folder: PurePath) -> tuple[int, int]:
    """(emotion, split) that a folder's path tells, the innermost name first."""
    names = folder.parts[::-1]
    emotion = next((label for label in map(known_emotion, names) if label != BAD_LABEL), UNLABELLED)
    return emotion, _split_told_by(folder, TEST if emotion == UNLABELLED else TRAIN)


def _split_told_by(folder: PurePath, otherwise: int) -> int:
    return next((index for index in map(split_index, folder.parts[::-1]) if index is not None), otherwise)


def _decode_files(job: tuple[int, tuple[Path, ...]]) -> tuple[int, Faces]:
    start, files = job
    return start, decode_all(files)
