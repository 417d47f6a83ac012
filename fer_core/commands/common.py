"""What the commands share: options, the steps from a checkpoint and a path to predictions, and titles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer

from fer_core.cascade import SURE, Cascade
from fer_core.console import progress
from fer_core.data import SPLITS, FaceDataset, LoadOptions, open_data
from fer_core.data.label_order import LabelOrder
from fer_core.errors import ConfigError, DataError
from fer_core.predictions import computed_probabilities
from fer_core.runs import Run, find_checkpoint
from fer_core.tta import TITLES, Tta

if TYPE_CHECKING:
    from fer_core.inference import Prediction, Predictor
    from fer_core.onnx_predictor import OnnxPredictor

    Reader = Predictor | OnnxPredictor | Cascade  # what `load_reader` gives

DEFAULT_RUN = "report-resnet"  # ships with the project
DEMO = "rendered demo faces"

EPOCH_HELP = "A run's name or path; epoch: a number, last, or best (also if none is given)."
DATA_HELP = "Faces as CSV, Parquet or folder; else $FER_DATA, data/, demo faces."
RunEpoch = Annotated[str, typer.Argument(metavar="RUN[:EPOCH]", help=EPOCH_HELP)]
RunEpochs = Annotated[
    list[str], typer.Argument(metavar="RUN[:EPOCH]...", help=f"{EPOCH_HELP} Several are averaged: an ensemble.")
]
Data = Annotated[Path | None, typer.Option(help=DATA_HELP)]
Order = Annotated[LabelOrder, typer.Option(help="Of labels that are numbers.")]
SkipBadRows = Annotated[bool, typer.Option("--skip-bad-rows", help="Leave out and list rows that cannot be read.")]
TestTime = Annotated[Tta, typer.Option("--tta", help="Average over mirror images, ten crops, or crops at five zooms.")]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Where networks are run.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Run the networks even where their answers are cached.")]
RunsFolder = Annotated[Path, typer.Option("--runs", help="Where runs are kept.")]
CascadeTo = Annotated[
    str | None,
    typer.Option(
        "--cascade",
        metavar="RUN[:EPOCH]",
        help="An accurate checkpoint, or ONNX file, behind a fast one: asked, over the views of --tta, only about "
        "faces to whose emotion the first gives no more than --sure.",
    ),
]
Sure = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, metavar="P", help=f"With --cascade: above this probability the first is sure; else {SURE}."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def load_predictor(checkpoint: str, runs: Path, device: str) -> tuple[Run, Predictor]:
    """The run that RUN[:EPOCH] names, and its checkpoint ready to predict."""
    run, epoch = find_checkpoint(checkpoint, runs)
    from fer_core.inference import Predictor
    from fer_core.training import pick_device

    return run, Predictor.load(run, epoch, str(pick_device(device)))


def load_reader(checkpoint: str, cascade: str | None, sure: float | None, runs: Path, device: str) -> Reader:
    """What reads faces: the checkpoint, or a cascade of it and another; each may be a file of `export onnx`. Raises
    ConfigError for `sure` without a second one."""
    if cascade is None and sure is not None:
        raise ConfigError("--sure is of a cascade; name its second checkpoint with --cascade.")

    def load(name: str) -> Predictor | OnnxPredictor:
        from fer_core.onnx_predictor import SUFFIX, OnnxPredictor

        if name.endswith(SUFFIX) and Path(name).is_file():
            return OnnxPredictor.load(Path(name))
        return load_predictor(name, runs, device)[1]

    first = load(checkpoint)
    return first if cascade is None else Cascade(first, load(cascade), SURE if sure is None else sure)


def load_faces(path: Path | None, label_order: LabelOrder, skip_bad_rows: bool) -> FaceDataset:
    """The faces, read under a progress bar; what the reader had to assume or leave out goes to stderr."""
    with progress("Reading") as show:
        dataset = open_data(path, LoadOptions(label_order=label_order, skip_bad_rows=skip_bad_rows), show)
    for note in dataset.summary.notes:
        typer.echo(note, err=True)
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


def predict_faces(predictor: Reader, images: np.ndarray, tta: str) -> Prediction:
    with progress("Predicting") as show:
        return predictor.predict(images, tta, report=show)


@dataclass(frozen=True)
class Member:
    """A checkpoint that was named; of an ensemble one among others."""

    run: Run
    epoch: int

    def __str__(self) -> str:
        return f"{self.run.name}:{self.epoch}"

    def predict(self, faces: FaceDataset, tta: str, device: str, fresh: bool = False) -> np.ndarray:
        """Probabilities float32 (N, 7), from the cache where they are known. Raises CheckpointError, ConfigError."""
        with progress(str(self)) as show:
            return computed_probabilities(self.run, self.epoch, faces, tta, device, show, fresh)


def find_members(checkpoints: Sequence[str], runs: Path) -> list[Member]:
    """The checkpoints that RUN[:EPOCH]... name. Raises RunError, CheckpointError, ConfigError for one named twice."""
    members: dict[Path, Member] = {}
    for text in checkpoints:
        run, epoch = find_checkpoint(text, runs)
        member = Member(run, run.require_epoch(epoch))
        file = run.checkpoint_path(member.epoch).resolve()
        if file in members:
            raise ConfigError(f"{member} is named twice; name each checkpoint once.")
        members[file] = member
    return list(members.values())


def note_other_faces(run: Run, faces: FaceDataset, consequence: str) -> None:
    """Says so where these are not the faces that a run was trained on."""
    if run.training_faces(faces) is None:
        typer.echo(f"Note: {run.name} was not trained on {data_title(faces)} as it is here: {consequence}.", err=True)


def members_title(members: Sequence[Member], tta: str) -> str:
    """Which checkpoints a number is of, and how they were asked."""
    many = f"Ensemble of {len(members)} checkpoints with equal weights ({', '.join(map(str, members))})"
    return _with_tta(many if len(members) > 1 else f"{members[0].run.name}, epoch {members[0].epoch}", tta)


def checkpoint_title(prediction: Prediction) -> str:
    epoch = "" if prediction.epoch is None else f", epoch {prediction.epoch}"
    return _with_tta(f"{prediction.run}{epoch}", prediction.tta)


def _with_tta(title: str, tta: str) -> str:
    return f"{title}, {TITLES[tta]}" if TITLES[tta] else title


def data_title(faces: FaceDataset) -> str:
    return f"{faces.name} ({DEMO})" if faces.is_demo else faces.name
