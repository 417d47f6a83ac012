"""Submissions of several checkpoints at once, what they score where labels are known, and two of them compared.

In numpy, since the dashboard draws this without waiting for torch; the tests hold the numbers to scikit-learn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fer_core.data import SPLITS, FaceDataset
from fer_core.errors import CheckpointError, DataError
from fer_core.evaluation import Changes, Share, compare, confusion_matrix
from fer_core.export import COLUMN_FORMS, Submission, check_target, write_submission
from fer_core.labels import EMOTIONS, UNLABELLED
from fer_core.predictions import split_probabilities
from fer_core.runs import CHECKPOINTS, Run, find_checkpoint, find_run

Named = tuple[Run, int]  # a checkpoint


# -- several at once -------------------------------------------------------------------------------


def find_checkpoints(names: Sequence[str], epochs: str | None = None, root: Path = CHECKPOINTS) -> list[Named]:
    """The checkpoints that a person named, each once: RUN[:EPOCH], or RUN where `epochs` says which of each run:
    "all", or numbers, best and last with commas between.

    Raises RunError for an unknown run, CheckpointError for an epoch that was not kept.
    """
    found: dict[tuple[Path, int], Named] = {}
    for name in names:
        if epochs == "all":
            run = find_run(name, root)
            wanted: list[tuple[Run, int | None]] = [(run, epoch) for epoch in run.epochs()] or [(run, None)]
        else:
            parts = [f"{name}:{epoch.strip()}" for epoch in epochs.split(",")] if epochs else [name]
            wanted = [find_checkpoint(part, root) for part in parts]
        for run, epoch in wanted:
            if epoch is None or epoch not in run.epochs():
                kept = ", ".join(map(str, run.epochs())) or "none"
                raise CheckpointError(f"{run.name} kept no checkpoint of epoch {epoch}; the epochs kept are: {kept}.")
            found[run.path, epoch] = run, epoch
    return list(found.values())


def submission_name(run: str, epoch: int) -> str:
    """What a checkpoint's submission is called."""
    return f"{run}-epoch-{epoch:03d}.csv"


def write_submissions(
    checkpoints: Sequence[Named],
    faces: FaceDataset,
    folder: Path,
    columns: tuple[str, ...] = COLUMN_FORMS[0],
    overwrite: bool = False,
    report: Callable[[float], object] | None = None,
) -> list[Submission]:
    """What each checkpoint says of `faces`, as a file each in `folder`; each is read back and checked.

    report: called with the share done, 0..1. Nothing is written where one of the files is there already (DataError,
    unless `overwrite`). Raises DataError where the folder cannot be made or two runs of one name would share a file.
    """
    paths = [folder / submission_name(run.name, epoch) for run, epoch in checkpoints]
    for path in paths:
        check_target(path, columns, overwrite)
        if paths.count(path) > 1:
            raise DataError(f"Two runs are named alike and would both be written to {path}; write them one by one.")
    said = []
    for i, (run, epoch) in enumerate(checkpoints):

        def show(share: float, done: int = i) -> None:
            if report:
                report((done + share) / len(checkpoints))

        said.append(split_probabilities(run, epoch, faces, show).argmax(axis=1))
        show(1.0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be made ({error.strerror}); choose another place.") from error
    return [write_submission(path, one, columns, overwrite) for path, one in zip(paths, said, strict=True)]


# -- what they score -------------------------------------------------------------------------------


def submitted_faces(dataset: FaceDataset, rows: int, split: str | None = None) -> FaceDataset:
    """The faces that a submission of so many rows is about: those of `split`; else the test split, or validation and
    test one after the other (the two halves of Kaggle's test.csv, PublicTest and PrivateTest, in the order of
    icml_face_data.csv), or the validation split, the first that has as many. Raises DataError where none has."""
    validation, test = dataset.split("validation"), dataset.split("test")
    if split:
        part = dataset.split(split)
        if rows == len(part):
            return part
        has = f"{len(part):,} {split}"
    elif rows == len(test):
        return test
    elif rows == len(validation) + len(test):
        return dataset.subset(
            np.concatenate([np.flatnonzero(dataset.splits == SPLITS.index(name)) for name in ("validation", "test")])
        )
    elif rows == len(validation):
        return validation
    else:
        has = f"{len(test):,} test and {len(validation):,} validation"
    raise DataError(
        f"The submission has {rows:,} rows, but {dataset.name} has {has} faces; give --data the faces it was made for."
    )


def score(emotions: np.ndarray, faces: FaceDataset) -> Share:
    """Accuracy of submitted emotions (N,) on the labelled ones among the faces: what Kaggle scores."""
    known = faces.emotions != UNLABELLED
    return Share(int((emotions == faces.emotions)[known].sum()), int(known.sum()))


def scores_by_split(emotions: np.ndarray, faces: FaceDataset) -> dict[str, Share]:
    """The same for each split that the faces come from: of Kaggle's test.csv the public score (validation) and the
    private one (test)."""
    parts = {name: faces.splits == SPLITS.index(name) for name in ("validation", "test", "train")}
    return {name: score(emotions[part], faces.subset(part)) for name, part in parts.items() if part.any()}


# -- two beside one another ------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """Two submissions about the same faces: emotions int (N,), row by row."""

    first: np.ndarray
    second: np.ndarray

    @cached_property
    def table(self) -> np.ndarray:
        """int (7, 7): how many faces the first gave the row's emotion and the second the column's."""
        return confusion_matrix(self.first, self.second)

    @cached_property
    def differ(self) -> np.ndarray:
        """int (k,): the rows in which they differ."""
        return np.flatnonzero(self.first != self.second)

    @property
    def agreement(self) -> Share:
        """The share of faces to which both gave the same emotion."""
        return Share(int(np.trace(self.table)), len(self.first))

    @property
    def kappa(self) -> float:
        """Cohen's kappa (1960), -1..1: agreement beyond what their label counts alone would give. NaN where that is
        certain already: no rows, or one emotion only."""
        n = len(self.first)
        chance = float(self.table.sum(axis=1) @ self.table.sum(axis=0)) / n**2 if n else 1.0
        return (self.agreement.value - chance) / (1 - chance) if chance < 1 else math.nan

    def changes(self, faces: FaceDataset) -> Changes:
        """Which labelled faces the second got right and the first did not, and the other way round."""
        one_hot = np.eye(len(EMOTIONS))
        return compare(one_hot[self.first], one_hot[self.second], faces.emotions)


def compare_submissions(first: Submission, second: Submission) -> Comparison:
    """Raises DataError where they have different numbers of rows."""
    if len(first.emotions) != len(second.emotions):
        raise DataError(
            f"{first.path} has {len(first.emotions):,} rows and {second.path} has {len(second.emotions):,}; "
            "compare submissions about the same faces."
        )
    return Comparison(first.emotions, second.emotions)
