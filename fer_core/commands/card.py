"""`card`: a model card in the format of the Hugging Face Hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from fer_core.commands.common import Data, Order, RunEpoch, RunsFolder, SkipBadRows, TestTime, load_faces
from fer_core.data import locate_data
from fer_core.errors import CheckpointError, ConfigError
from fer_core.predictions import computed_probabilities
from fer_core.report.commands import Commands, data_name, data_options
from fer_core.report.target import check_target, write_text
from fer_core.runs import CHECKPOINTS, find_checkpoint

SPLIT = "validation"


def write_card(
    checkpoint: RunEpoch,
    out: Annotated[Path | None, typer.Option(help="The file to write, such as README.md; else it is printed.")] = None,
    epoch: Annotated[int | None, typer.Option(help="Instead of RUN:EPOCH.")] = None,
    data: Data = None,
    tta: TestTime = "none",
    license_id: Annotated[str, typer.Option("--license", help="Of the weights, as the Hub names it.")] = "mit",
    label_order: Order = "auto",
    skip_bad_rows: SkipBadRows = False,
    runs: RunsFolder = CHECKPOINTS,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
) -> None:
    """Write a checkpoint's model card: data, scores by label, calibration, limits, licence, with metadata for the
    Hugging Face Hub. Without the faces that the run was scored on, it tells the scores that the run recorded."""
    if out is not None:
        check_target(out, overwrite=force)
    run, named = find_checkpoint(checkpoint, runs)
    epoch = named if epoch is None else epoch
    if epoch is None:
        raise CheckpointError(f"{run.path} holds no checkpoint yet; train it for at least one epoch.")
    faces = load_faces(data, label_order, skip_bad_rows)
    from fer_core.card import Scored, model_card, recorded_evaluation
    from fer_core.report.collect import collect

    name = data_name(locate_data(data))
    if data is not None or run.began_with(run.split_as_in_training(faces)):
        found = collect(run, epoch, faces, SPLIT, only=("calibration",))
        averaged = None
        if tta != "none":
            said = computed_probabilities(run, epoch, found.faces, tta)
            averaged = replace(replace(found, probabilities=said).evaluation, tta=tta)
        scored = Scored(run, found.checkpoint, found.evaluation, found, averaged)
    elif tta != "none":
        raise ConfigError(
            f"The scores that {run.name} recorded are without test-time augmentation; for --tta {tta} give --data the "
            "faces that it was scored on."
        )
    else:
        scored, name = Scored(run, run.load_checkpoint(epoch), recorded_evaluation(run, epoch)), "PATH"
    text = model_card(scored, Commands(run, epoch, SPLIT, name, data_options(label_order, skip_bad_rows)), license_id)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text, overwrite=force)
        typer.echo(f"Wrote {out}: {run.name}, epoch {epoch}, {scored.evaluation.accuracy} on {scored.evaluation.data}")
