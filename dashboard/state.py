"""The dashboard's caching and session state; beside the state_* modules no other of it touches either.

What is cached here is shared by all sessions and must not be changed by those who get it. Whatever can be chosen lives
in the URL: in widgets with `bind="query-params"` where there is a widget, else through `parameter` and `set_parameter`.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.errors import StreamlitAPIException

from dashboard.progress import progress
from fer_core.calibration import FILE as CALIBRATION
from fer_core.data import FaceDataset, demo_faces, load_dataset, locate_data
from fer_core.data.leaks import seen_in_training
from fer_core.errors import DataError, FerError, RunError
from fer_core.evaluation import Evaluation, evaluate
from fer_core.predictions import known_probabilities, split_probabilities
from fer_core.runs import CHECKPOINTS, Run, find_run, list_runs

if TYPE_CHECKING:  # torch is imported when a network is first run, so that the first page is there at once
    from fer_core.inference import Predictor

DEMO = "Demo faces"
_LOOKED = 5  # seconds between two looks through a folder of faces
T = TypeVar("T")


@dataclass(frozen=True)
class Choice:
    """A checkpoint that was chosen: shown and shared as RUN:EPOCH."""

    run: Run
    epoch: int

    def __str__(self) -> str:
        return f"{self.run.name}:{self.epoch}"


# -- where things are ------------------------------------------------------------------------------


def _options() -> argparse.Namespace:
    """What was given after `--`: streamlit run dashboard/Home.py -- --data PATH --runs DIR."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--data")
    parser.add_argument("--runs", default=os.environ.get("FER_RUNS") or CHECKPOINTS)
    return parser.parse_known_args(sys.argv[1:])[0]


def runs_folder() -> Path:
    return Path(_options().runs)


def data_path() -> Path | None:
    """Where the user's faces are; None where there are only the demo faces."""
    return locate_data(_options().data)


# -- memory ----------------------------------------------------------------------------------------


class _Memory:
    """The values used last, by key. st.cache_data would copy them, and its functions cannot draw a progress bar."""

    def __init__(self, size: float = math.inf) -> None:
        self.size, self.values, self.lock = size, OrderedDict[Any, Any](), Lock()

    def get(self, key: Any, make: Callable[[], T], stamp: Any = None) -> T:
        """The value of a key, made anew, in the place of the old one, where its stamp is another than before."""
        with self.lock:
            before, value = self.values.get(key, (None, None))
            if key in self.values and before == stamp:
                self.values.move_to_end(key)
                return value  # type: ignore[no-any-return]
        value = make()
        with self.lock:
            self.values[key] = stamp, value
            while len(self.values) > self.size:
                self.values.popitem(last=False)
        return value


@st.cache_resource(show_spinner=False)
def _memory() -> _Memory:
    return _Memory(200)


@st.cache_resource(show_spinner=False)
def _run_memory() -> _Memory:
    """What is remembered of each run: a little, but every click looks at all runs, so none may push out another."""
    return _Memory()


def _files_stamp(path: Path) -> int:
    """When a file, or any below a folder, last changed or came or went; a folder is looked through every few seconds:
    of 35,000 pictures that takes a tenth of one."""

    def look() -> int:
        files = [Path(here, name) for here, _, names in os.walk(path) for name in names]
        return hash(tuple((str(file), *_size_and_time(file)) for file in files))

    if not path.is_dir():
        return _stamp(path)
    return _memory().get(("files", str(path)), look, int(time.monotonic() // _LOOKED))


def _size_and_time(path: Path) -> tuple[int, int]:
    """A file's size and when it last changed, in ns; zeros where it is not there."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _stamp(path: Path) -> int:
    """When a file last changed, in ns; 0 where it is not there."""
    return _size_and_time(path)[1]


# -- faces -----------------------------------------------------------------------------------------


def faces() -> FaceDataset:
    """The chosen data set, split as the chosen run split it. Where the user's own cannot be read, the demo faces;
    `data_problem` says why."""
    whole, chosen = _as_opened(), choice()
    if chosen is None:
        return whole
    stamp = whole, _stamp(chosen.run.path / "run.json")  # the same faces from another file may have other ids
    key = ("as split", str(chosen.run.path), whole.fingerprint)
    return _memory().get(key, lambda: chosen.run.split_as_in_training(whole), stamp)


def _as_opened() -> FaceDataset:
    """The chosen data set with the splits that it came with."""
    path = data_path()
    is_demo = path is None or st.session_state.get("data") == DEMO or data_problem()
    return _demo() if is_demo or path is None else _load(path)


def data_problem() -> str:
    """Why the user's data cannot be shown, "" where it can."""
    path = data_path()
    if path is None:
        return ""
    try:
        _load(path)
    except DataError as error:
        return str(error)
    return ""


def _load(path: Path) -> FaceDataset:
    def read() -> FaceDataset | str:
        try:
            with progress(f"Reading {path.name}") as report:
                return load_dataset(path, report=lambda share, _: report(share))
        except DataError as error:
            return str(error)  # remembered too: a broken file is not read again on every click

    result = _memory().get(("data", str(path)), read, _files_stamp(path))
    if isinstance(result, str):
        raise DataError(result)
    return result


def _demo() -> FaceDataset:
    return _memory().get("demo", demo_faces)


def split(name: str) -> FaceDataset:
    """One split of the chosen data; the same object each time, so that its fingerprint is computed once."""
    whole = faces()
    return _memory().get(("split", whole.fingerprint, name), lambda: whole.split(name), whole)


def splits() -> list[str]:
    """The splits that the chosen data has, validation first: the one on which epochs are compared."""
    whole = faces()
    present = _memory().get(("splits", whole.fingerprint), lambda: list(whole.counts().index))
    return sorted(present, key=["validation", "test", "train"].index)


# -- runs and checkpoints --------------------------------------------------------------------------


def runs() -> list[Run]:
    """The runs that can be read: those on real faces before those on demo faces, the most accurate first."""

    def rank(run: Run) -> tuple[bool, float]:
        scores = best_scores(run)
        return is_demo_run(run), -scores["accuracy"] if scores is not None else 0.0

    return sorted((run for run in all_runs() if not run_problem(run)), key=rank)


def all_runs() -> list[Run]:
    """All run directories, damaged ones too."""
    return [_run(run.path) for run in list_runs(runs_folder())]


def _run(path: Path) -> Run:
    return _run_memory().get(("run", str(path)), lambda: Run(path), _stamp(path / "run.json"))


def run_problem(run: Run) -> str:
    """Why a run cannot be read, "" where it can."""
    try:
        _ = run.config
    except RunError as error:
        return str(error)
    return ""


def is_demo_run(run: Run) -> bool:
    return bool(run.info.get("data", {}).get("is_demo"))


def trained_on(run: Run) -> str:
    """The name of the data that a run was trained and scored on."""
    return str(run.info.get("data", {}).get("name", "unknown faces"))


def best_scores(run: Run) -> pd.Series | None:
    """The validation scores (epoch, accuracy, n and more) of the best epoch that was kept; None before the first."""

    def find() -> pd.Series | None:
        table = validation_metrics(run)
        of_best = table[table["epoch"] == best_epoch(run)]
        return of_best.iloc[-1] if len(of_best) else None

    stamp = _stamp(run.path), _stamp(run.path / "metrics.jsonl")
    return _run_memory().get(("best scores", str(run.path)), find, stamp)


def metrics(run: Run, kind: str = "epoch") -> pd.DataFrame:
    key = ("metrics", str(run.path), kind)
    return _run_memory().get(key, lambda: run.metrics(kind), _stamp(run.path / "metrics.jsonl"))


def validation_metrics(run: Run) -> pd.DataFrame:
    table = metrics(run)
    return table[table["split"] == "validation"]


def kept_epochs(run: Run) -> list[int]:
    return _run_memory().get(("epochs", str(run.path)), run.epochs, _stamp(run.path))


def kept_stamps(run: Run) -> dict[int, int]:
    """Of each kept epoch when its checkpoint last changed: unlike the folder's own it stays while the run trains on."""
    return {epoch: _stamp(run.checkpoint_path(epoch)) for epoch in kept_epochs(run)}


def best_epoch(run: Run) -> int | None:
    stamp = _stamp(run.path), _stamp(run.path / "metrics.jsonl")
    return _run_memory().get(("best", str(run.path)), run.best_epoch, stamp)


def choices() -> list[str]:
    """All checkpoints as RUN:EPOCH, run by run, the best epoch of each run first."""
    result = []
    for run in runs():
        best = best_epoch(run)
        result += [
            f"{run.name}:{epoch}" for epoch in sorted(kept_epochs(run), key=lambda epoch: (epoch != best, epoch))
        ]
    return result


def choice() -> Choice | None:
    """The checkpoint chosen in the sidebar, or the first where that is there no more; None where there is none at
    all."""
    text = st.session_state.get("checkpoint")
    if not text or not _is_there(text):
        text = next(iter(choices()), None)
    return parse_choice(text) if text else None


def _is_there(text: str) -> bool:
    """Is RUN:EPOCH one of `choices`? It is asked at every turn, so the runs are not ranked for it."""
    name, _, epoch = text.rpartition(":")
    run = _run(runs_folder() / name)
    return not run_problem(run) and epoch in map(str, kept_epochs(run))


def parse_choice(text: str) -> Choice:
    name, _, epoch = text.rpartition(":")
    return Choice(_run(find_run(name, runs_folder()).path), int(epoch))


def choose(text: str) -> None:
    """Set the sidebar's checkpoint from a page's callback."""
    st.session_state["checkpoint"] = text


# -- what checkpoints say --------------------------------------------------------------------------


def predictions(chosen: Choice, split_name: str) -> np.ndarray:
    """Probabilities float32 (N, 7) of a split of the chosen data. Shows progress. Raises CheckpointError."""
    part = split(split_name)

    def compute() -> np.ndarray:
        known = known_probabilities(chosen.run, chosen.epoch, part)
        if known is not None:
            return known
        _loaded("torch")
        with progress(f"{chosen} looks at {len(part):,} faces") as report:
            return split_probabilities(chosen.run, chosen.epoch, part, report)

    return _memory().get(("said", *_checkpoint_key(chosen), part.fingerprint), compute)


def history(run: Run, split_name: str, row: int) -> tuple[list[int], np.ndarray]:
    """What each kept epoch that can be loaded says of one face: the epochs, and float32 (epochs, 7)."""
    part = split(split_name)
    epochs = kept_epochs(run)

    def compute() -> tuple[list[int], np.ndarray]:
        saved = run.predictions(split_name)
        if saved and saved.fingerprint == part.fingerprint and set(epochs) <= set(saved.epochs):
            return epochs, saved.probabilities[[saved.epochs.index(e) for e in epochs], row].astype(np.float32)
        said = {}
        for epoch in epochs:
            try:
                said[epoch] = predictor(Choice(run, epoch)).predict(part.images[row : row + 1]).probabilities[0]
            except FerError:
                continue  # a damaged checkpoint is named where it is chosen; the others are shown all the same
        return list(said), np.stack(list(said.values())) if said else np.empty((0, 7), np.float32)

    return _memory().get(("history", str(run.path), part.fingerprint, row), compute, kept_stamps(run))


def predictor(chosen: Choice) -> Predictor:
    """The chosen network, ready to run. Raises CheckpointError."""
    _loaded("torch")
    from fer_core.inference import Predictor

    return _memory().get(("net", *predictor_key(chosen)), lambda: Predictor.load(chosen.run, chosen.epoch))


def predictor_key(chosen: Choice) -> tuple[Any, ...]:
    """What changes with what the network says and how sure it is of that."""
    return *_checkpoint_key(chosen), _stamp(chosen.run.path / CALIBRATION)


@st.cache_resource(show_spinner=False)
def model_lock() -> RLock:
    """Held while hooks are on a cached network: all sessions share it."""
    return RLock()


def _loaded(module: str) -> None:
    """Import what takes seconds the first time, and say so meanwhile."""
    if module not in sys.modules:
        with st.spinner(f"Loading {module.partition('.')[0]}, once", show_time=True):
            import_module(module)


def _checkpoint_key(chosen: Choice) -> tuple[str, int, int]:
    return str(chosen.run.path), chosen.epoch, _stamp(chosen.run.checkpoint_path(chosen.epoch))


def evaluation(chosen: Choice, split_name: str) -> Evaluation:
    """The chosen checkpoint scored on a split of the chosen data. Raises CheckpointError."""
    part, whole = split(split_name), _as_opened()
    said = predictions(chosen, split_name)

    def compute() -> Evaluation:
        seen = None if split_name == "train" else seen_by(chosen.run, whole, part)
        return evaluate(
            said,
            part.emotions,
            run=chosen.run.name,
            epoch=chosen.epoch,
            data=part.name,
            split=split_name,
            seen=seen,
        )

    key = ("scored", *_checkpoint_key(chosen), whole.fingerprint, part.name, part.fingerprint)
    return _memory().get(key, compute)


def seen_by(run: Run, whole: FaceDataset, part: FaceDataset) -> np.ndarray | None:
    """Which faces of `part` stand among those of `whole` that a run was trained on, bool (N,); None where unknown."""

    def compute() -> np.ndarray | None:
        learned = run.training_faces(whole)
        return None if learned is None else seen_in_training(learned.images, part.images)

    return _memory().get(("seen", run.data_fingerprint, whole.fingerprint, part.fingerprint), compute)


def recorded_evaluation(chosen: Choice) -> Evaluation | None:
    """How the run itself scored this epoch on its validation faces, which need not be here; None where it did not."""
    table = validation_metrics(chosen.run)
    table = table[table["epoch"] == chosen.epoch]
    if table.empty or not isinstance(table.iloc[-1]["confusion"], list):
        return None
    line = table.iloc[-1]
    matrix = np.array(line["confusion"])
    loss = float(line["loss"])
    return Evaluation(chosen.run.name, chosen.epoch, trained_on(chosen.run), "validation", matrix, loss)


def has_recorded_faces(run: Run) -> bool:
    """Are the faces on which the run scored itself those of the chosen data's validation split?"""
    if "validation" not in splits():
        return False
    saved = _memory().get(
        ("saved for", str(run.path), _stamp(run.path / "predictions-validation.npz")),
        lambda: run.predictions("validation"),
    )
    return saved is not None and saved.fingerprint == split("validation").fingerprint


# -- the URL ---------------------------------------------------------------------------------------

LASTING = {"data", "checkpoint"}  # what holds across pages: the sidebar's


def parameter(name: str) -> str | None:
    """A value in the URL that belongs to no widget."""
    value: str | None = st.query_params.get(name)
    return value


def set_parameter(name: str, value: str | None) -> None:
    if value is None:
        st.query_params.pop(name, None)
    else:
        st.query_params[name] = value


def get(key: str, default: Any = None) -> Any:
    """The value of a widget, or of something that a page remembers within this session."""
    return st.session_state.get(key, default)


def put(key: str, value: Any) -> None:
    st.session_state[key] = value


def forget(key: str) -> None:
    st.session_state.pop(key, None)


@contextmanager
def refusals() -> Iterator[None]:
    """Around what a callback does: what is wrong is kept for `widgets.show_refusal`, as no page is drawn yet."""
    try:
        yield
    except (FerError, OSError) as error:
        put("refused", str(error))


def remember_face(face: str) -> None:
    """Keep a clicked face for `take_face`: a callback itself cannot go to another page."""
    st.session_state["face to open"] = face


def take_face() -> str | None:
    face: str | None = st.session_state.pop("face to open", None)
    return face


def query(**values: str) -> dict[str, str]:
    """The URL's values for a link to another page: what holds across pages, and `values`. Where there are such, the
    page shows them and else its defaults (see `visiting`)."""
    lasting = {key: st.query_params[key] for key in sorted(LASTING) if key in st.query_params}
    return {**lasting, **values}


@contextmanager
def visiting(page: str) -> Iterator[None]:
    """Around the drawing of a page, sidebar and all: whoever comes by a link is to see what the link says."""
    left = get("page shown", page)
    put("page shown", page)
    if page != left:
        _follow_link()
    forget("split goes along")
    try:
        yield
    finally:
        put("keys in URLs", get("keys in URLs", set()) | chosen_here().keys())


def _follow_link() -> None:
    """Streamlit would show again what widgets held before: a page's own when it was last left, as a value in the URL
    that is their default does not count, and the sidebar's in any case, as these come along."""
    named = st.query_params.keys()
    for key in named & LASTING:
        if st.query_params[key] != get(key):  # else the browser's Back would stop here once more
            put(key, st.query_params[key])
    if named - LASTING:  # the menu of pages names none: whoever comes by that finds the page as it was left
        kept = LASTING | ({"split"} - named if get("split goes along") else set())
        for key in get("keys in URLs", set()) - kept:
            forget(key)


def chosen_here() -> dict[str, Any]:
    """What the widgets drawn so far say whose values stand in the URL, by key."""
    return {str(key): value for key, value in st.session_state.items() if _is_bound(str(key))}


def _is_bound(key: str) -> bool:
    """Does a widget keep its value in the URL under this key? Streamlit tells by refusing to touch it there."""
    try:
        if key in st.query_params:
            st.query_params[key] = st.query_params.get_all(key)
        else:
            del st.query_params[key]
    except KeyError:
        return False
    except StreamlitAPIException:
        return True
    return False


def put_all(values: dict[str, Any]) -> None:
    """Set widgets; to forget them instead would bring back what the URL holds."""
    for key, value in values.items():
        put(key, value)
