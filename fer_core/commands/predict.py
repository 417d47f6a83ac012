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
    CascadeTo,
    Device,
    RunsFolder,
    Sure,
    TestTime,
    checkpoint_title,
    load_reader,
    predict_faces,
    read_pictures,
)
from fer_core.commands.predict_faces import predict_found_faces
from fer_core.console import print_json, table
from fer_core.errors import ConfigError
from fer_core.labels import EMOTIONS
from fer_core.runs import CHECKPOINTS

if TYPE_CHECKING:
    from fer_core.inference import Prediction


def predict_pictures(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Pictures of one cropped face each; with --faces anything with faces."),
    ],
    checkpoint: Annotated[
        str,
        typer.Option("--run", metavar="RUN[:EPOCH]", help=f"{EPOCH_HELP} Or an ONNX file of export onnx."),
    ] = DEFAULT_RUN,
    tta: TestTime = "none",
    cascade: CascadeTo = None,
    sure: Sure = None,
    device: Device = "auto",
    runs: RunsFolder = CHECKPOINTS,
    find: Annotated[
        bool, typer.Option("--faces", help="Find faces in photos, folders and videos; prints CSV or JSON lines.")
    ] = False,
    every: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="With --faces, look at every N-th frame only.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV and nothing else.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say which emotion a checkpoint sees in faces that are cropped already, or with --faces in all it finds."""
    if as_csv and as_json:
        raise ConfigError("--csv and --json are two forms of the same; choose one.")
    if find:
        from fer_core.scanning import list_files

        files = list_files(images)
        predict_found_faces(files, load_reader(checkpoint, cascade, sure, runs, device), tta, every or 1, as_json)
        return
    if every is not None:
        raise ConfigError("--every is of videos; add --faces.")
    faces = read_pictures(images)
    reader = load_reader(checkpoint, cascade, sure, runs, device)
    prediction, calibrated = predict_faces(reader, faces, tta), reader.is_calibrated(tta)
    rows = prediction_rows(images, prediction)
    if as_json:
        about = {"run": prediction.run, "epoch": prediction.epoch, "tta": tta, "calibrated": calibrated}
        print_json({**about, "faces": rows})
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        typer.echo(checkpoint_title(prediction) + (", calibrated" if calibrated else ""))
        typer.echo(table([{key: f"{v:.1%}" if isinstance(v, float) else v for key, v in row.items()} for row in rows]))


def prediction_rows(images: list[Path], prediction: Prediction) -> list[dict[str, Any]]:
    """A row a picture: its path, the most probable emotion, and the probability of each, calibrated where it can be."""
    emotions, probabilities = prediction.emotions.tolist(), prediction.believed.tolist()
    return [
        {"image": str(path), "emotion": EMOTIONS[emotion]} | dict(zip(EMOTIONS, row, strict=True))
        for path, emotion, row in zip(images, emotions, probabilities, strict=True)
    ]
