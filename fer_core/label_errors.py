"""Labels that are probably wrong: confident learning (Northcutt et al. 2021, with their package cleanlab) on what
networks say of faces that they were not trained on.

For training faces such probabilities come from `out_of_fold`: k networks, each trained without one part of the faces
and then asked about it. Copies and near copies of a face stay in one part, else a network would answer from memory.
For validation and test faces any run's predictions will do, as long as it was not trained on them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_core.config import TrainConfig, load_recipe
from fer_core.data import FaceDataset
from fer_core.data.cache import cache_dir, moved_into_place
from fer_core.data.duplicates import Groups, copies, exact_duplicates, near_duplicates
from fer_core.data.keys import face_keys
from fer_core.errors import DataError, RunError
from fer_core.evaluation import Share
from fer_core.labels import EMOTIONS, UNLABELLED
from fer_core.runs import HEARTBEAT_TIMEOUT, Run, create_run, halved

if TYPE_CHECKING:
    from fer_core.training import Progress

FOLDS = 4
_MANY = 6_000  # faces from which on the recipe "fast" learns enough in its few epochs
_FORMAT = 1  # part of every key: raise it when the same would be computed otherwise

Report = Callable[[float], object]


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """Faces whose label is probably wrong, the most doubtful first.

    rows      int (k,): positions in the faces that were looked at
    given     int (k,): their labels; proposed: the most probable emotion
    doubt     float32 (k,), 0..1: 1 minus the probability of the given label
    n         labelled faces looked at
    source    whose probabilities these are, in words
    """

    rows: np.ndarray
    given: np.ndarray
    proposed: np.ndarray
    doubt: np.ndarray
    n: int
    source: str

    @property
    def share(self) -> Share:
        return Share(len(self.rows), self.n)

    def to_dict(self, faces: FaceDataset) -> dict[str, Any]:
        """Plain values for JSON."""
        columns = (faces.ids[self.rows], self.given, self.proposed, self.doubt)
        ranked = [
            {"id": str(name), "given": EMOTIONS[given], "proposed": EMOTIONS[proposed], "doubt": round(float(doubt), 4)}
            for name, given, proposed, doubt in zip(*columns, strict=True)
        ]
        return {"source": self.source, "n": self.n, "flagged": len(self.rows), "ranked": ranked}


def find_label_errors(probabilities: np.ndarray, emotions: np.ndarray, source: str) -> LabelErrors:
    """Flag and rank labelled faces: probabilities float (N, 7), emotions int8 (N,), unlabelled ones are left out.

    A face is flagged where both of cleanlab's ways agree (`prune_by_class` and `prune_by_noise_rate`, the most careful
    of its choices) and another emotion is the most probable. Ranked by self-confidence, the lowest first.
    """
    known = np.flatnonzero(emotions != UNLABELLED)
    labels, said = emotions[known].astype(int), probabilities[known].astype(np.float64)
    flagged = _flagged(labels, said / np.maximum(said.sum(axis=1, keepdims=True), 1e-12))
    rows = known[flagged]
    doubt = (1 - probabilities[rows, emotions[rows]]).astype(np.float32)
    order = np.argsort(-doubt, kind="stable")
    rows, doubt = rows[order], doubt[order]
    return LabelErrors(rows, emotions[rows].astype(int), probabilities[rows].argmax(axis=1), doubt, len(known), source)


def _flagged(labels: np.ndarray, said: np.ndarray) -> np.ndarray:
    """bool (N,). cleanlab wants the classes that occur, numbered without a gap."""
    from cleanlab.filter import find_label_issues

    present = np.unique(labels)
    if len(present) < 2:
        return np.zeros(len(labels), bool)
    among = said[:, present] / np.maximum(said[:, present].sum(axis=1, keepdims=True), 1e-12)
    found = find_label_issues(np.searchsorted(present, labels), among, filter_by="both", n_jobs=1)
    return np.asarray(found & (said.argmax(axis=1) != labels))


# -- out-of-fold probabilities ----------------------------------------------------------------------------------------


def default_config(n: int) -> TrainConfig:
    """A quick recipe for n faces: under a minute a network on FER2013; over few faces more epochs of a smaller one."""
    return load_recipe("fast" if n >= _MANY else "demo", {"keep_epochs": "last"})


def known_out_of_fold(train: FaceDataset, config: TrainConfig | None = None, folds: int = FOLDS) -> np.ndarray | None:
    """What `out_of_fold` computed for these very faces before, else None."""
    return _load(_folder(train, config or default_config(len(train)), folds) / "probabilities.npy", len(train))


def out_of_fold(
    train: FaceDataset,
    config: TrainConfig | None = None,
    folds: int = FOLDS,
    device: str = "auto",
    groups: Groups | None = None,
    report: Report | None = None,
) -> np.ndarray:
    """Probabilities float32 (N, 7) of labelled faces, each from a network that was trained without it; cached.

    groups: the copies among them (`duplicates.copies`), where they are known already. report: called with the share
    done, 0..1; an exception it raises stops the work, which goes on after its last whole epoch when it is asked for
    again.
    Raises DataError where there are fewer than 2 faces a fold, or one is unlabelled, RunError where another process is
    at it.
    """
    if len(train) < 2 * folds or (train.emotions == UNLABELLED).any():
        raise DataError(f"{train.name} has {len(train)} labelled training faces; {folds} folds need 2 each.")
    config, show = config or default_config(len(train)), report or (lambda _: None)
    folder = _folder(train, config, folds)
    known = _load(folder / "probabilities.npy", len(train))
    if known is not None:
        return known
    if groups is None:
        keys = face_keys(train.images)
        groups = copies(exact_duplicates(keys), near_duplicates(train.images, keys))
    part_of = assign_folds(train.emotions, groups, folds)
    result = np.empty((len(train), len(EMOTIONS)), np.float32)
    for fold in range(folds):
        asked = part_of == fold
        result[asked] = _ask_fold(train, asked, config, folder, fold, device, lambda s, f=fold: show((f + s) / folds))  # type: ignore[misc]
    with suppress(OSError), moved_into_place(folder / "probabilities.npy") as stream:  # a full disk: not kept
        np.save(stream, halved(result))
    return halved(result).astype(np.float32)


def assign_folds(emotions: np.ndarray, groups: Groups, folds: int, seed: int = 0) -> np.ndarray:
    """A part 0..folds-1 for each face, int (N,): of each emotion about as many faces in each, groups undivided."""
    unit = np.where(groups.of >= 0, groups.of, len(groups) + np.arange(len(emotions)))
    _, first, unit = np.unique(unit, return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(first))
    by_emotion = shuffled[np.argsort(emotions[first[shuffled]], kind="stable")]
    part = np.empty(len(first), np.int64)
    part[by_emotion] = np.arange(len(first)) % folds
    return np.asarray(part[unit])


def _ask_fold(
    train: FaceDataset, asked: np.ndarray, config: TrainConfig, folder: Path, fold: int, device: str, show: Report
) -> np.ndarray:
    """One network's answers for the faces it was not trained on; trained, or trained on, where it is not known yet."""
    from fer_core.training import fit, run_info

    answers = _load(folder / f"fold-{fold}.npy", int(asked.sum()))
    if answers is not None:
        return answers
    faces = replace(train, splits=asked.astype(np.int8))  # the part that is asked about is its validation split
    run, begun = Run(folder / f"fold-{fold}"), (folder / f"fold-{fold}" / "state.safetensors").exists()
    _require_idle(run)
    if not begun:
        shutil.rmtree(run.path, ignore_errors=True)
        run = create_run(folder, run.name, run_info(config, faces, device))

    def told(progress: Progress) -> None:
        show((progress.epoch - 1 + progress.step / progress.steps) / progress.epochs)

    fit(config, faces, run, device, report=told, resume=begun)
    saved = run.predictions("validation")
    if saved is None:
        raise DataError(f"{run.path} lost its predictions; delete that folder and begin again.")
    answers = np.asarray(saved.probabilities[saved.epochs.index(max(saved.epochs))], np.float32)
    with suppress(OSError), moved_into_place(folder / f"fold-{fold}.npy") as stream:
        np.save(stream, answers)
    shutil.rmtree(run.path, ignore_errors=True)
    return answers


def _require_idle(run: Run) -> None:
    """Raises RunError where a process trains the network, or may just have made its folder in order to."""
    status = run.status()
    if status.state == "running":
        raise RunError(f"{run.path} is already being trained by process {status.pid}; stop that one first.")
    with suppress(FileNotFoundError):
        age = time.time() - run.path.stat().st_mtime
        if age < HEARTBEAT_TIMEOUT and not (run.path / "status.json").exists():
            raise RunError(f"{run.path} was begun {age:.0f} seconds ago and may be in use; try again in a minute.")


def _folder(train: FaceDataset, config: TrainConfig, folds: int) -> Path:
    """Named after the faces and all that decides the answers."""
    text = json.dumps([_FORMAT, train.fingerprint, config.to_dict(), folds], sort_keys=True)
    return cache_dir() / "out-of-fold" / hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _load(path: Path, n: int) -> np.ndarray | None:
    try:
        stored: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there, or damaged: computed again
        return None
    return stored.astype(np.float32) if stored.shape == (n, len(EMOTIONS)) else None
