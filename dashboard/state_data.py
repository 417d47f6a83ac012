"""The caching of the Data page; `state` does that of all others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from dashboard import state
from dashboard.progress import progress
from dashboard.state import Choice, _checkpoint_key, _loaded, _memory, _size_and_time, _stamp
from fer_core.data import FaceDataset
from fer_core.data.audit import Audit
from fer_core.data.curation import Curation, Mark, Verdict, curation_file, mark_rows
from fer_core.data.duplicates import Groups, copies, exact_duplicates, near_duplicates
from fer_core.data.keys import face_keys
from fer_core.data.quality import Quality, mean_faces, measure_quality
from fer_core.data.votes import VoteCheck, Votes, check_votes, find_votes, read_votes
from fer_core.dynamics import Dynamics, read_dynamics
from fer_core.errors import DataError
from fer_core.label_errors import FOLDS, LabelErrors, default_config, find_label_errors, known_out_of_fold, out_of_fold
from fer_core.labels import UNLABELLED
from fer_core.runs import Run
from fer_core.slices import Slices, cluster_faces, find_slices, groupings

T = TypeVar("T")


def _of_data(what: str, title: str, compute: Callable[[FaceDataset, Callable[[float], object]], T]) -> T:
    """Something that hangs on the chosen faces alone, computed once under a progress bar."""
    whole = state.faces()

    def make() -> T:
        with progress(title) as report:
            return compute(whole, report)

    return _memory().get((what, whole.fingerprint), make, whole)


# -- the pixels ------------------------------------------------------------------------------------


def keys() -> np.ndarray:
    return _of_data("keys", "Reading the pixels", lambda whole, _: face_keys(whole.images))


def quality() -> Quality:
    return _of_data("quality", "Measuring the faces", lambda whole, report: measure_quality(whole.images, report))


def means() -> np.ndarray:
    """The mean face of each emotion, float32 (7, 48, 48)."""
    return _of_data("means", "Averaging the faces", lambda whole, _: mean_faces(whole.images, whole.emotions))


def exact() -> Groups:
    known = keys()
    return _of_data("exact", "Looking for copies", lambda *_: exact_duplicates(known))


def near() -> Groups:
    known = keys()
    title = "Comparing each face with all others"
    return _of_data("near", title, lambda whole, report: near_duplicates(whole.images, known, report=report))


def audit() -> Audit:
    """All that the pixels and labels tell, near duplicates too. Shows progress."""
    return Audit(state.faces(), keys(), quality(), exact(), near())


# -- probable label errors -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Doubts:
    """Probable label errors by their rows in the whole data set, and how FER+'s votes see them (where at hand)."""

    errors: LabelErrors
    check: VoteCheck | None


def training_faces() -> tuple[FaceDataset, np.ndarray]:
    """The labelled training faces and their rows in the whole data set."""
    whole = state.faces()
    rows = np.flatnonzero((whole.splits == 0) & (whole.emotions != UNLABELLED))
    return _memory().get(("training faces", whole.fingerprint), lambda: (whole.subset(rows), rows), whole)


def folds_known() -> bool:
    """Were the networks trained before that `training_doubts` needs?"""
    train, _ = training_faces()
    return known_out_of_fold(train, default_config(len(train))) is not None


def training_doubts() -> Doubts:
    """Of the training faces, by networks each trained without them: minutes the first time, then cached. Leaving the
    page stops it; it goes on where it stopped. Raises DataError where there are too few faces."""
    train, rows = training_faces()

    def compute() -> Doubts:
        config = default_config(len(train))
        said = known_out_of_fold(train, config)
        if said is None:
            groups = copies(exact(), near()).among(rows)
            _loaded("torch")
            with progress(f"Training {FOLDS} networks ({config.recipe})") as report:
                said = out_of_fold(train, config, groups=groups, report=report)
        _loaded("cleanlab.filter")
        source = f"{FOLDS} networks ({config.recipe}), each trained without the faces it was asked about"
        return _doubts(find_label_errors(said, train.emotions, source), rows)

    return _memory().get(("doubts", train.fingerprint, state.faces().fingerprint), compute)


def split_doubts(chosen: Choice, split: str) -> Doubts:
    """Of a split that the run was not trained on, by a checkpoint's predictions. Raises CheckpointError."""
    part, said = state.split(split), state.predictions(chosen, split)
    whole = state.faces()

    def compute() -> Doubts:
        _loaded("cleanlab.filter")
        rows = np.flatnonzero(np.isin(whole.ids, part.ids))
        return _doubts(find_label_errors(said, part.emotions, str(chosen)), rows)

    return _memory().get(("doubts", *_checkpoint_key(chosen), part.fingerprint, whole.fingerprint), compute)


def _doubts(errors: LabelErrors, rows: np.ndarray) -> Doubts:
    """The same by rows of the whole data set, with the votes' verdict."""
    voted, whole = votes(), state.faces()
    found = replace(errors, rows=rows[errors.rows])
    if voted is None:
        return Doubts(found, None)
    return Doubts(found, check_votes(voted.of(rows), whole.emotions[rows], errors.rows, errors.proposed))


def votes() -> Votes | None:
    """FER+'s votes where they lie beside the chosen data and fit it, else None."""
    path, whole = state.data_path(), state.faces()
    found = find_votes(path) if path is not None and not whole.is_demo else None

    def read() -> Votes | None:
        try:
            return read_votes(found, whole) if found else None
        except DataError:
            return None  # another form of the data than its original CSV: there is nothing to compare with

    return _memory().get(("votes", str(found), _stamp(found) if found else 0, whole.fingerprint), read)


# -- learning dynamics -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Learning:
    """What a run recorded, and where its faces are: rows int (n,) in the whole data set, -1 where they are not."""

    dynamics: Dynamics
    rows: np.ndarray


def learning(run: Run) -> Learning | None:
    """None where the run recorded nothing, or nothing of the chosen faces. Raises RunError for a damaged record."""
    train, rows = training_faces()

    def compute() -> Learning | None:
        found = read_dynamics(run.path)
        if found is None:
            return None
        at = found.rows_of(train.images)
        back = np.full(len(found.keys), -1)
        back[at[at >= 0]] = rows[at >= 0]
        return Learning(found, back) if (at >= 0).any() else None

    key = ("learning", str(run.path), _stamp(run.path / "dynamics.bin"), train.fingerprint, state.faces().fingerprint)
    return _memory().get(key, compute)


# -- slices ----------------------------------------------------------------------------------------


def slices(chosen: Choice, split: str, by_cluster: bool) -> Slices:
    """Accuracy by slice of a split; its rows count within the split. Shows progress. Raises CheckpointError."""
    part, said, whole = state.split(split), state.predictions(chosen, split), state.faces()

    def compute() -> Slices:
        clusters = None
        if by_cluster:
            from dashboard.state_map import features

            found, _ = features(chosen, split)
            _loaded("sklearn.cluster")
            clusters = cluster_faces(found)
        seen = None
        rows = np.flatnonzero(np.isin(whole.ids, part.ids))
        if split != "train":
            seen = copies(exact(), near()).with_a_face_in(whole.splits == 0)[rows]
        return find_slices(
            said.argmax(axis=1), part.emotions, groupings(part.emotions, quality().of(rows), clusters, seen)
        )

    key = ("slices", *_checkpoint_key(chosen), part.fingerprint, whole.fingerprint, by_cluster)
    return _memory().get(key, compute)


# -- decisions -------------------------------------------------------------------------------------


def curation() -> Curation:
    return Curation(state.faces().name, curation_file())


def decide(row: int, verdict: Verdict, emotion: str = "") -> None:
    """Keep a person's decision about a row of the chosen data. Raises DataError."""
    curation().mark(state.faces(), row, verdict, emotion)


def decisions() -> dict[int, Mark]:
    """What was decided of the chosen data, by row. Raises DataError."""
    file, whole = curation_file(), state.faces()

    def read() -> dict[int, Mark]:
        marks = curation().marks()
        rows = mark_rows(marks, whole, keys()) if marks else np.empty(0, int)
        return {int(row): mark for row, mark in zip(rows, marks, strict=True) if row >= 0}

    return _memory().get(("decisions", str(file), _size_and_time(file), whole.fingerprint), read)
