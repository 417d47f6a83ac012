"""`submit`: a CSV for Kaggle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fer_core.commands.common import (
    Data,
    Device,
    Order,
    RunEpochs,
    RunsFolder,
    SkipBadRows,
    TestTime,
    data_title,
    find_members,
    load_faces,
    members_title,
)
from fer_core.errors import DataError
from fer_core.export import check_target, write_submission
from fer_core.report.target import check_target as check_file
from fer_core.runs import CHECKPOINTS


def submit_test(
    checkpoints: RunEpochs,
    out: Annotated[Path, typer.Option(help="The CSV to write.")],
    data: Data = None,
    label_order: Order = "auto",
    skip_bad_rows: SkipBadRows = False,
    columns: Annotated[str, typer.Option(help="id,emotion; or emotion for the form without ids.")] = "id,emotion",
    tta: TestTime = "none",
    device: Device = "auto",
    runs: RunsFolder = CHECKPOINTS,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
) -> None:
    """Write the predictions of a checkpoint, or of an ensemble of several, on the test faces as a CSV for Kaggle."""
    names = tuple(columns.split(","))
    check_file(out, overwrite=force)
    check_target(out, names, overwrite=force)
    members = find_members(checkpoints, runs)
    faces = load_faces(data, label_order, skip_bad_rows).split("test")
    if not len(faces):
        raise DataError(f"{faces.name} has no test split; give --data a file that has one, such as test.csv.")
    said = np.mean([member.predict(faces, tta, device) for member in members], axis=0)
    submission = write_submission(out, said.argmax(axis=1), names, overwrite=force)
    counts = ", ".join(f"{emotion} {count:,}" for emotion, count in submission.counts.items())
    typer.echo(f"{members_title(members, tta)}, on the test split of {data_title(faces)}")
    typer.echo(f"Wrote and checked {out}: {len(submission.emotions):,} rows ({counts})")
