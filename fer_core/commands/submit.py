"""`submit`: a CSV for Kaggle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_core.commands.common import (
    Data,
    Device,
    Flip,
    RunEpoch,
    RunsFolder,
    checkpoint_title,
    data_title,
    load_faces,
    load_predictor,
    predict_faces,
)
from fer_core.data import LoadOptions
from fer_core.errors import DataError
from fer_core.export import check_target, write_submission
from fer_core.runs import CHECKPOINTS


def submit_test(
    checkpoint: RunEpoch,
    out: Annotated[Path, typer.Option(help="The CSV to write.")],
    data: Data = None,
    columns: Annotated[str, typer.Option(help="id,emotion; or emotion for the form without ids.")] = "id,emotion",
    flip: Flip = False,
    device: Device = "auto",
    runs: RunsFolder = CHECKPOINTS,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
) -> None:
    """Write a checkpoint's predictions on the test faces as a CSV for Kaggle, and check it."""
    names = tuple(columns.split(","))
    check_target(out, names, overwrite=force)
    _, predictor = load_predictor(checkpoint, runs, device)
    faces = load_faces(data, LoadOptions()).split("test")
    if not len(faces):
        raise DataError(f"{faces.name} has no test split; give --data a file that has one, such as test.csv.")
    prediction = predict_faces(predictor, faces.images, flip)
    submission = write_submission(out, prediction.emotions, names, overwrite=force)
    counts = ", ".join(f"{emotion} {count:,}" for emotion, count in submission.counts.items())
    typer.echo(f"{checkpoint_title(prediction, flip)}, on the test split of {data_title(faces)}")
    typer.echo(f"Wrote and checked {out}: {len(submission.emotions):,} rows ({counts})")
