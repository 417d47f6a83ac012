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
    data_title,
    find_members,
    labelled_faces,
    load_faces,
    members_title,
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
    members = find_members(checkpoints, runs)
    splits = [labelled_faces(member.run.split_as_in_training(faces), "train") for member in members]
    for member, split in zip(members, splits, strict=True):
        if split.fingerprint != splits[0].fingerprint:
            raise DataError(f"{member} learned from other faces than {members[0]}; average runs that share them.")
    said = [member.predict(splits[0], tta, device) for member in members]
    write_soft_labels(out, np.mean(said, axis=0), splits[0])
    typer.echo(f"The {len(splits[0]):,} training faces of {data_title(faces)}, as these say of them:")
    typer.echo(members_title(members, tta))
    typer.echo(f"Wrote {out}. Train on it with: python train.py RECIPE --set soft_labels={out}")
