"""`soften`: what networks say of the training faces, for another to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fer_core.commands.common import (
    Data,
    Device,
    RunsFolder,
    TestTime,
    checkpoint_title,
    data_title,
    labelled_faces,
    load_faces,
    load_predictor,
    predict_faces,
)
from fer_core.data import FaceDataset, LoadOptions
from fer_core.errors import DataError
from fer_core.runs import CHECKPOINTS
from fer_core.soft_labels import write_soft_labels


def soften_labels(
    checkpoints: Annotated[list[str], typer.Argument(metavar="RUN[:EPOCH]...", help="Averaged with equal weights.")],
    out: Annotated[Path, typer.Option(help="The .npz file to write.")],
    data: Data = None,
    tta: TestTime = "flip",
    device: Device = "auto",
    runs: RunsFolder = CHECKPOINTS,
) -> None:
    """Write what checkpoints say of the training faces; train on it with: train.py --set soft_labels=FILE"""
    faces = load_faces(data, LoadOptions())
    said: list[np.ndarray] = []
    splits: list[FaceDataset] = []
    for checkpoint in checkpoints:
        run, predictor = load_predictor(checkpoint, runs, device)
        splits.append(labelled_faces(run.split_as_in_training(faces), "train"))
        if splits[-1].fingerprint != splits[0].fingerprint:
            raise DataError(f"{run.name} learned from other faces than {checkpoints[0]}; average runs that share them.")
        prediction = predict_faces(predictor, splits[0].images, tta)
        typer.echo(f"{checkpoint_title(prediction)}, on the {len(splits[0]):,} training faces of {data_title(faces)}")
        said.append(prediction.probabilities)
    write_soft_labels(out, np.mean(said, axis=0), splits[0])
    typer.echo(f"Wrote {out}. Train on it with: python train.py RECIPE --set soft_labels={out}")
