"""`soften`: what networks say of the training faces, for another to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fer_core.commands.common import (
    Data,
    Device,
    Order,
    RunsFolder,
    SkipBadRows,
    TestTime,
    checkpoint_title,
    data_title,
    labelled_faces,
    load_faces,
    load_predictor,
    predict_faces,
)
from fer_core.errors import DataError
from fer_core.report.target import check_target
from fer_core.runs import CHECKPOINTS
from fer_core.soft_labels import write_soft_labels


def soften_labels(
    checkpoints: Annotated[list[str], typer.Argument(metavar="RUN[:EPOCH]...", help="Averaged with equal weights.")],
    out: Annotated[Path, typer.Option(help="The .npz file to write.")],
    data: Data = None,
    label_order: Order = "auto",
    skip_bad_rows: SkipBadRows = False,
    tta: TestTime = "flip",
    device: Device = "auto",
    runs: RunsFolder = CHECKPOINTS,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
) -> None:
    """Write what checkpoints say of the training faces; train on it with: train.py --set soft_labels=FILE"""
    check_target(out, force)
    faces = load_faces(data, label_order, skip_bad_rows)
    loaded = [load_predictor(checkpoint, runs, device) for checkpoint in checkpoints]
    splits = [labelled_faces(run.split_as_in_training(faces), "train") for run, _ in loaded]
    for checkpoint, split in zip(checkpoints, splits, strict=True):
        if split.fingerprint != splits[0].fingerprint:
            raise DataError(
                f"{checkpoint} learned from other faces than {checkpoints[0]}; average runs that share them."
            )
    said = [predict_faces(predictor, splits[0].images, tta) for _, predictor in loaded]
    write_soft_labels(out, np.mean([prediction.probabilities for prediction in said], axis=0), splits[0])
    typer.echo(f"The {len(splits[0]):,} training faces of {data_title(faces)}, averaged with equal weights over:")
    typer.echo("\n".join(checkpoint_title(prediction) for prediction in said))
    typer.echo(f"Wrote {out}. Train on it with: python train.py RECIPE --set soft_labels={out}")
