"""A run as a TensorBoard log (report item 13): graph, scalars, confusion matrices and penultimate features.

Scalars    accuracy/<split>, loss/<split>, lr, seconds: every epoch that the run recorded
Images     confusion/<split>: the matrix of every kept epoch that recorded one; confusion/<split> of DATA for the
           checkpoint on the faces that were given
Graphs     the network
Text       what the log is of
Projector  penultimate features of the faces, with id, true and predicted emotion, and the faces themselves where asked
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageDraw

from fer_core.data import FaceDataset
from fer_core.errors import DataError
from fer_core.evaluation import Evaluation, evaluate
from fer_core.explain.embedding import split_features
from fer_core.explain.pictures import font_of
from fer_core.explain.projection import principal_components
from fer_core.labels import EMOTIONS, UNLABELLED
from fer_core.predictions import split_probabilities
from fer_core.preprocess import FACE_SIZE
from fer_core.runs import Checkpoint, Run

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

MOST_FACES = 10_000  # in the Projector, which draws no more fluently
MOST_DIMENSIONS = 100  # of the features, as text: more would make hundreds of MB, and the Projector keeps 200 at most
_INK, _PAPER, _FULL = (49, 51, 63), (255, 255, 255), np.array([0, 114, 178])


@dataclass(frozen=True)
class TensorBoardLog:
    """A log that was written. `faces` of the split stand in the Projector, with `dimensions` numbers each that hold
    the share `kept` of the features' variance."""

    path: Path
    run: str
    epoch: int
    epochs: int
    faces: int
    dimensions: int
    kept: float
    shows_faces: bool


def write_tensorboard(
    run: Run,
    epoch: int,
    faces: FaceDataset,
    split: str,
    out: Path,
    shows_faces: bool = True,
    report: Callable[[float], object] | None = None,
) -> TensorBoardLog:
    """Write a run, and its checkpoint of `epoch` on `faces` (one split of a data set), as a log in a new folder `out`.

    shows_faces: put the faces into the Projector; without, the log holds no picture of anyone and may be shared.
    report: called with the share done, 0..1. The folder is there as a whole or not at all. Raises DataError where it
    is there already or cannot be written or there are no faces, CheckpointError, ConfigError for a network without a
    linear layer at its end.
    """
    check_log_target(out)
    if not len(faces):
        raise DataError(f"{faces.name} has no {split} split; choose another --split.")
    tell = report or (lambda _share: None)
    checkpoint = run.load_checkpoint(epoch)
    said = split_probabilities(run, epoch, faces, lambda share: tell(0.4 * share))
    rows = np.linspace(0, len(faces) - 1, min(len(faces), MOST_FACES)).round().astype(int)
    features = split_features(run, epoch, faces, lambda share: tell(0.4 + 0.4 * share))[rows]
    found = principal_components(features, min(MOST_DIMENSIONS, *features.shape))
    result = evaluate(said, faces.emotions, run=run.name, epoch=epoch, data=faces.name, split=split)
    tell(0.85)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise DataError(f"{out} cannot be written ({error.strerror}); choose another place.") from error
    try:
        with _writer(aside) as writer:
            recorded = _add_history(writer, run)
            _add_graph(writer, checkpoint)
            if result.n:
                writer.add_image(
                    f"confusion/{split} of {faces.name}", confusion_picture(result), epoch, dataformats="HWC"
                )
            _add_embedding(writer, found.coordinates, faces.subset(rows), said[rows], epoch, split, shows_faces)
            log = TensorBoardLog(
                out, run.name, epoch, recorded, len(rows), found.axes.shape[0], float(found.shares.sum()), shows_faces
            )
            writer.add_text("about", about(log, faces, split), epoch)
        tell(0.98)
        aside.chmod(0o755)  # a temporary folder is its owner's only
        if out.exists():
            out.rmdir()  # empty, as checked above; Windows replaces no folder
        aside.rename(out)
    except OSError as error:
        raise DataError(f"{out} cannot be written ({error.strerror}); choose another place.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    tell(1.0)
    return log


def check_log_target(out: Path) -> None:
    """Refuse what `write_tensorboard` would refuse, before it has worked for seconds. An empty folder may be there."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is there already; choose another folder with --out, or remove it.")


def about(log: TensorBoardLog, faces: FaceDataset, split: str) -> str:
    """What the log is of, in Markdown."""
    which = f"the {split} split of {faces.name}{' (rendered demo faces)' if faces.is_demo else ''}"
    return (
        f"**{log.run}, epoch {log.epoch}.** Scalars: {log.epochs} epochs, as recorded. Projector: penultimate features "
        f"of {log.faces:,} of the {len(faces):,} faces of {which}, as their first {log.dimensions} principal "
        f"components, which hold {log.kept:.1%} of the variance."
    )


def _writer(folder: Path) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))


def _add_history(writer: SummaryWriter, run: Run) -> int:
    """Every recorded epoch's numbers, and the matrices of the kept ones; returns how many epochs there are."""
    table, kept = run.metrics(), set(run.epochs())
    for line in table.to_dict("records"):
        epoch, split = int(line["epoch"]), line["split"]
        for measure in ("accuracy", "loss"):
            _add_number(writer, f"{measure}/{split}", line[measure], epoch)
        for measure in ("lr", "seconds"):
            _add_number(writer, measure, line[measure], epoch)
        if epoch in kept and isinstance(line["confusion"], list):
            data = str(run.info.get("data", {}).get("name", "the run's own faces"))
            result = Evaluation(run.name, epoch, data, split, np.array(line["confusion"]))
            writer.add_image(f"confusion/{split}", confusion_picture(result), epoch, dataformats="HWC")
    return int(table["epoch"].nunique())


def _add_number(writer: SummaryWriter, tag: str, value: Any, epoch: int) -> None:
    if not pd.isna(value):
        writer.add_scalar(tag, float(value), epoch)


def _add_graph(writer: SummaryWriter, checkpoint: Checkpoint) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about torch.jit, by which SummaryWriter finds the graph
        writer.add_graph(checkpoint.model, torch.zeros(1, 1, FACE_SIZE, FACE_SIZE))


def _add_embedding(
    writer: SummaryWriter,
    features: np.ndarray,
    faces: FaceDataset,
    said: np.ndarray,
    epoch: int,
    split: str,
    shows_faces: bool,
) -> None:
    """Features (N, D) with what each face is and is taken for; faces that are shown stand on one sprite."""
    predicted = said.argmax(axis=1)
    metadata = [
        [
            str(faces.ids[row]) if shows_faces else str(row),  # an id may be the name of somebody's picture
            EMOTIONS[truth] if truth != UNLABELLED else "no label",
            EMOTIONS[predicted[row]],
            "" if truth == UNLABELLED else "right" if truth == predicted[row] else "wrong",
            f"{said[row].max():.3f}",
        ]
        for row, truth in enumerate(faces.emotions.tolist())
    ]
    writer.add_embedding(
        features,
        metadata,
        torch.from_numpy(faces.images[:, None] / np.float32(255)) if shows_faces else None,
        global_step=epoch,
        tag=split,
        metadata_header=["id", "true", "predicted", "outcome", "confidence"],
    )


def confusion_picture(result: Evaluation, cell: int = 52) -> np.ndarray:
    """The matrix as a picture uint8 (H, W, 3): rows true, columns predicted, the counts on the shares of their row."""
    left, top, text = 84, 92, font_of(13)
    page = Image.new("RGB", (left + 7 * cell + 12, top + 7 * cell + 12), _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((12, 10), f"{result.run}, epoch {result.epoch}, {result.data}, {result.split}", _INK, text)
    draw.text((12, 30), f"accuracy {result.accuracy}", _INK, text)
    draw.text((12, 50), "rows: true emotion; columns: predicted", _INK, text)
    for i, emotion in enumerate(EMOTIONS):
        draw.text((12, top + i * cell + cell // 2), emotion, _INK, text, anchor="lm")
        draw.text((left + i * cell + cell // 2, top - 10), emotion, _INK, font_of(11), anchor="mm")
        for j in range(len(EMOTIONS)):
            share, x, y = result.row_shares[i, j], left + j * cell, top + i * cell
            color = tuple((255 + share * (_FULL - 255)).round().astype(int).tolist())
            draw.rectangle((x, y, x + cell - 2, y + cell - 2), color)
            ink = _PAPER if share > 0.6 else _INK
            draw.text((x + cell // 2, y + cell // 2), f"{result.confusion[i, j]:,}", ink, text, anchor="mm")
    return np.asarray(page)
