"""What the commands share: options, the steps from a checkpoint and a path to predictions, and titles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from fer_core.console import progress
from fer_core.data import SPLITS, FaceDataset, LoadOptions, open_data
from fer_core.data.label_order import LabelOrder
from fer_core.errors import DataError
from fer_core.runs import Run, find_checkpoint

if TYPE_CHECKING:
    from fer_core.inference import Prediction, Predictor

DEFAULT_RUN = "report-resnet"  # ships with the project
DEMO = "rendered demo faces"

EPOCH_HELP = "A run's name or path; epoch: a number, last, or best (also if none is given)."
DATA_HELP = "Faces as CSV, Parquet or folder; else $FER_DATA, data/, demo faces."
RunEpoch = Annotated[str, typer.Argument(metavar="RUN[:EPOCH]", help=EPOCH_HELP)]
Data = Annotated[Path | None, typer.Option(help=DATA_HELP)]
Order = Annotated[LabelOrder, typer.Option(help="Of labels that are numbers.")]
SkipBadRows = Annotated[bool, typer.Option("--skip-bad-rows", help="Leave out and list rows that cannot be read.")]
Flip = Annotated[bool, typer.Option("--flip", help="Average each face with its mirror image.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
RunsFolder = Annotated[Path, typer.Option("--runs", help="Where runs are kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def load_predictor(checkpoint: str, runs: Path, device: str) -> tuple[Run, Predictor]:
    """The run that RUN[:EPOCH] names, and its checkpoint ready to predict."""
    run, epoch = find_checkpoint(checkpoint, runs)
    from fer_core.inference import Predictor
    from fer_core.training import pick_device

    return run, Predictor.load(run, epoch, str(pick_device(device)))


def load_faces(path: Path | None, options: LoadOptions) -> FaceDataset:
    """The faces, read under a progress bar; what the reader had to assume goes to stderr."""
    with progress("Reading") as show:
        dataset = open_data(path, options, show)
    for warning in dataset.summary.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    return dataset


def labelled_faces(dataset: FaceDataset, split: str) -> FaceDataset:
    """The labelled faces of a split. Raises DataError, naming the splits that have some, where there are none."""
    faces = dataset.split(split).labelled()
    if not len(faces):
        others = [name for name in SPLITS if len(dataset.split(name).labelled())]
        hint = f"choose --split {' or '.join(others)}" if others else "predict and submit need no labels"
        raise DataError(f"{dataset.name} has no labelled faces in its {split} split; {hint}.")
    return faces


def read_pictures(paths: list[Path]) -> np.ndarray:
    """Picture files -> uint8 (N, 48, 48). Raises DataError naming the first that is none."""
    from fer_core.data.pictures import decode_all

    for path in paths:
        if not path.is_file():
            raise DataError(f"{path} is not a file; name pictures of one cropped face each.")
    faces = decode_all(paths)
    for position, reason in faces.broken.items():
        raise DataError(f"{paths[position]}: {reason}.")
    return faces.images


def predict_faces(predictor: Predictor, images: np.ndarray, flip: bool) -> Prediction:
    with progress("Predicting") as show:
        return predictor.predict(images, flip=flip, report=show)


def checkpoint_title(prediction: Prediction, flip: bool) -> str:
    return f"{prediction.run}, epoch {prediction.epoch}{', averaged with mirror images' if flip else ''}"


def data_title(faces: FaceDataset) -> str:
    return f"{faces.name} ({DEMO})" if faces.is_demo else faces.name
