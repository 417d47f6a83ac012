"""Caching and session state of the Structure and Export pages, of the same kind as `dashboard.state`."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import state
from dashboard.progress import progress
from dashboard.servers import NetronServer, TensorBoardServer
from dashboard.state import Choice, _checkpoint_key, _demo, _loaded, _memory
from fer_core.export import Submission, parse_submission, submission_csv
from fer_core.submissions import submission_name

if TYPE_CHECKING:
    from fer_core.structure import Structure
    from fer_core.tensorboard_log import TensorBoardLog

CHECKED_FACES = 256  # on which an ONNX file is compared with PyTorch


@st.cache_resource(show_spinner=False)
def netron_server() -> NetronServer:
    return NetronServer()


@st.cache_resource(show_spinner=False)
def tensorboard_server() -> TensorBoardServer:
    return TensorBoardServer()


@st.cache_resource(show_spinner=False)
def _scratch() -> tempfile.TemporaryDirectory[str]:
    """Where files stand that other tools read; removed when the dashboard ends."""
    return tempfile.TemporaryDirectory(prefix="fer-core-", ignore_cleanup_errors=True)


def scratch(*parts: str) -> Path:
    """A new folder within it."""
    parent = Path(_scratch().name).joinpath(*parts)
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=parent))


def structure(chosen: Choice) -> Structure:
    """The steps of the chosen network. Raises CheckpointError, ConfigError where it has no fixed graph."""
    _loaded("torch")
    from fer_core.structure import structure

    def compute() -> Structure:
        with st.spinner("Running the network once", show_time=True):
            return structure(state.predictor(chosen).checkpoint.model)

    return _memory().get(("structure", *_checkpoint_key(chosen)), compute)


def onnx_file(chosen: Choice) -> tuple[bytes, float]:
    """The chosen checkpoint as ONNX, and the largest difference of a probability from PyTorch on 256 faces.

    Shows progress. Raises CheckpointError, FerError.
    """
    _loaded("torch")
    from fer_core.onnx_export import export_onnx

    def compute() -> tuple[bytes, float]:
        with st.spinner("Writing ONNX and checking it against PyTorch", show_time=True):
            path = scratch("onnx") / onnx_name(chosen)
            faces = _demo().images[:CHECKED_FACES]
            exported = export_onnx(chosen.run.load_checkpoint(chosen.epoch), path, faces)
            return path.read_bytes(), exported.max_difference

    return _memory().get(("onnx", *_checkpoint_key(chosen)), compute)


def onnx_name(chosen: Choice) -> str:
    return f"{chosen.run.name}-epoch-{chosen.epoch:03d}.onnx"


def netron_page(chosen: Choice) -> str:
    """The address of Netron with the chosen network. Shows progress."""
    content, _ = onnx_file(chosen)
    return netron_server().show(str(chosen), onnx_name(chosen), content)


def tensorboard_log(chosen: Choice, split_name: str, shows_faces: bool) -> TensorBoardLog:
    """The chosen run as a TensorBoard log, with the features of a split of the chosen data. Shows progress."""
    _loaded("torch")
    from fer_core.tensorboard_log import write_tensorboard

    part = state.split(split_name)

    def compute() -> TensorBoardLog:
        out = scratch("tensorboard") / f"{chosen.run.name}-epoch-{chosen.epoch:03d}"
        with progress("Writing the log") as report:
            return write_tensorboard(chosen.run, chosen.epoch, part, split_name, out, shows_faces, report)

    history = len(state.metrics(chosen.run))
    key = ("tensorboard", *_checkpoint_key(chosen), history, part.fingerprint, shows_faces)
    return _memory().get(key, compute)


def tensorboard_page(log: TensorBoardLog) -> str:
    """The address of TensorBoard with a log; starts it where it does not run. Shows progress. Raises FerError."""
    with st.spinner("Starting TensorBoard", show_time=True):
        return tensorboard_server().show(log.path.parent)


def log_archive(log: TensorBoardLog) -> bytes:
    """The log's folder as a ZIP file."""
    files = sorted(path for path in log.path.rglob("*") if path.is_file())
    return archive({str(path.relative_to(log.path.parent)): path.read_bytes() for path in files})


def archive(files: dict[str, bytes]) -> bytes:
    """Files by name as a ZIP file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return stream.getvalue()


# -- submissions -----------------------------------------------------------------------------------


def submission(chosen: Choice, split_name: str, columns: tuple[str, ...]) -> tuple[Submission, bytes]:
    """What a checkpoint says of a split as a submission, checked as Kaggle would, and the file. Shows progress."""
    said = state.predictions(chosen, split_name).argmax(axis=1)

    def compute() -> tuple[Submission, bytes]:
        content = submission_csv(said, columns)
        return parse_submission(content, Path(submission_name(chosen.run.name, chosen.epoch)), len(said)), content

    key = ("submission", *_checkpoint_key(chosen), state.split(split_name).fingerprint, columns)
    return _memory().get(key, compute)


# -- the report and the card -----------------------------------------------------------------------


def report(chosen: Choice, split_name: str, language: str, shows_faces: bool) -> bytes:
    """The whole experiment report as HTML. Shows progress. Raises DataError where the split has no labels."""
    _loaded("torch")
    from fer_core.report.collect import Findings, collect
    from fer_core.report.commands import Commands, data_name
    from fer_core.report.page import render

    whole = state.faces()

    def compute() -> Findings:
        with progress(f"Report on {chosen}") as told:
            return collect(chosen.run, chosen.epoch, whole, split_name, report=told)

    history = len(state.metrics(chosen.run))
    key = ("report", *_checkpoint_key(chosen), history, whole.fingerprint, split_name)
    found = _memory().get(key, compute, whole)
    data = data_name(None if whole.is_demo else state.data_path())
    commands = Commands(chosen.run, chosen.epoch, split_name, data)
    return render(found, commands, language, show_faces=shows_faces).encode()


def card(chosen: Choice) -> bytes:
    """The model card as Markdown: scored on the chosen data where the run began with these faces, else with the scores
    that the run recorded. Shows progress. Raises RunError where there are none."""
    _loaded("torch")
    from fer_core.card import Scored, model_card, recorded_evaluation
    from fer_core.report.collect import collect
    from fer_core.report.commands import Commands, data_name

    whole, run, split = state.faces(), chosen.run, "validation"
    if run.began_with(whole):
        with progress(f"{chosen} looks at the validation faces") as told:
            found = collect(run, chosen.epoch, whole, split, only=("calibration",), report=told)
        scored = Scored(run, found.checkpoint, found.evaluation, found)
        name = data_name(None if whole.is_demo else state.data_path())
    else:
        recorded = recorded_evaluation(run, chosen.epoch)
        scored, name = Scored(run, run.load_checkpoint(chosen.epoch), recorded), "PATH"
    return model_card(scored, Commands(run, chosen.epoch, split, name)).encode()
