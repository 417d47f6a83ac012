"""`predict`: emotions in pictures."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_core.commands.common import (
    DEFAULT_RUN,
    EPOCH_HELP,
    AsJson,
    Device,
    Flip,
    RunsFolder,
    checkpoint_title,
    load_predictor,
    predict_faces,
    read_pictures,
)
from fer_core.console import print_json, table
from fer_core.labels import EMOTIONS
from fer_core.runs import CHECKPOINTS

if TYPE_CHECKING:
    from fer_core.inference import Prediction


def predict_pictures(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures of one cropped face each.")],
    checkpoint: Annotated[str, typer.Option("--run", metavar="RUN[:EPOCH]", help=EPOCH_HELP)] = DEFAULT_RUN,
    flip: Flip = False,
    device: Device = "auto",
    runs: RunsFolder = CHECKPOINTS,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV and nothing else.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say which emotion a checkpoint sees in pictures of faces that are cropped already."""
    faces = read_pictures(images)
    _, predictor = load_predictor(checkpoint, runs, device)
    prediction = predict_faces(predictor, faces, flip)
    rows = prediction_rows(images, prediction)
    if as_json:
        print_json({"run": prediction.run, "epoch": prediction.epoch, "flip": flip, "faces": rows})
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        typer.echo(checkpoint_title(prediction, flip))
        typer.echo(table([{key: f"{v:.1%}" if isinstance(v, float) else v for key, v in row.items()} for row in rows]))


def prediction_rows(images: list[Path], prediction: Prediction) -> list[dict[str, Any]]:
    """A row a picture: its path, the most probable emotion, and the probability of each."""
    emotions, probabilities = prediction.emotions.tolist(), prediction.probabilities.tolist()
    return [
        {"image": str(path), "emotion": EMOTIONS[emotion]} | dict(zip(EMOTIONS, row, strict=True))
        for path, emotion, row in zip(images, emotions, probabilities, strict=True)
    ]
