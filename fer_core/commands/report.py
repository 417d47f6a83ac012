"""`report`: the whole experiment report as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_core.commands.common import Data, Order, RunEpoch, RunsFolder, SkipBadRows, data_title, load_faces
from fer_core.console import progress
from fer_core.data import locate_data
from fer_core.report import chosen_parts
from fer_core.report.commands import Commands, data_name, data_options
from fer_core.report.target import check_target, write_text
from fer_core.report.words import check_language
from fer_core.runs import CHECKPOINTS, find_checkpoint


def write_report(
    checkpoint: RunEpoch,
    out: Annotated[Path, typer.Option(help="The HTML file to write.")],
    data: Data = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    lang: Annotated[str, typer.Option(help="en or zh.")] = "en",
    no_faces: Annotated[
        bool, typer.Option("--no-faces", help="Leave out every picture of the data set, so that it may be shared.")
    ] = False,
    only: Annotated[list[str] | None, typer.Option(help="One part of it, such as saliency. Repeatable.")] = None,
    label_order: Order = "auto",
    skip_bad_rows: SkipBadRows = False,
    runs: RunsFolder = CHECKPOINTS,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
) -> None:
    """Write the experiment report of a checkpoint: one HTML file that needs nothing else and prints well."""
    chosen_parts(only or ())
    check_language(lang)
    check_target(out, overwrite=force)
    run, epoch = find_checkpoint(checkpoint, runs)
    faces = load_faces(data, label_order, skip_bad_rows)
    from fer_core.report.collect import collect
    from fer_core.report.page import render

    with progress("Report") as show:
        found = collect(run, epoch, faces, split, only or (), show)
    options = data_options(label_order, skip_bad_rows)
    commands = Commands(run, found.epoch, split, data_name(locate_data(data)), options)
    write_text(out, render(found, commands, lang, show_faces=not no_faces), overwrite=force)
    typer.echo(f"Wrote {out}: {run.name}, epoch {found.epoch}, on the {split} split of {data_title(found.faces)}")
    if not no_faces and not faces.is_demo:
        typer.echo("It shows faces of the data set; with --no-faces it may be shared.")
