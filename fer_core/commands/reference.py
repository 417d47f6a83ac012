"""`reference`: what a checkpoint's training faces are like, kept beside it."""

from __future__ import annotations

import typer

from fer_core.commands.common import (
    Data,
    Device,
    Order,
    RunEpoch,
    RunsFolder,
    SkipBadRows,
    data_title,
    load_faces,
    load_predictor,
    note_other_faces,
)
from fer_core.console import progress, table
from fer_core.errors import DataError
from fer_core.runs import CHECKPOINTS


def make_run_reference(
    checkpoint: RunEpoch,
    data: Data = None,
    label_order: Order = "auto",
    skip_bad_rows: SkipBadRows = False,
    device: Device = "auto",
    runs: RunsFolder = CHECKPOINTS,
) -> None:
    """Measure the faces that a checkpoint learned from (light, sharpness, pose, its features), so that "Why always
    neutral?" can tell what sets a person's face apart. Only numbers are kept, beside the checkpoint."""
    from fer_core.reference import make_reference, store_reference

    run, predictor = load_predictor(checkpoint, runs, device)
    opened = load_faces(data, label_order, skip_bad_rows)
    faces = run.split_as_in_training(opened)
    if faces.is_demo != bool(run.info.get("data", {}).get("is_demo")):
        raise DataError(
            f"{run.name} was not trained on {data_title(faces)}; give --data the faces that it learned from."
        )
    note_other_faces(run, opened, "the reference is of faces that it may not have learned from")
    with progress("Measuring") as show:
        reference = make_reference(predictor.checkpoint, faces, report=show)
    store_reference(run, predictor.checkpoint.epoch, reference)
    typer.echo(
        f"{run.name}, epoch {predictor.checkpoint.epoch}: {reference.faces:,} training faces of {data_title(faces)}"
    )
    rows = [
        {"": name} | {f"{p} %": f"{levels[p]:.3g}" for p in (0, 5, 50, 95, 100)}
        for name, levels in reference.quantiles.items()
    ]
    typer.echo(table(rows))
