"""`data`: what a file or folder of faces holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_core.commands.common import DATA_HELP, Order, SkipBadRows
from fer_core.console import progress
from fer_core.data import LoadOptions, describe, open_data


def show_data(
    path: Annotated[Path | None, typer.Argument(help=DATA_HELP)] = None,
    label_order: Order = "auto",
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """Say what a file or folder holds: its form, the faces by split and emotion, what was converted or left out."""
    with progress("Reading") as show:
        dataset = open_data(path, LoadOptions(label_order=label_order, skip_bad_rows=skip_bad_rows), show)
    typer.echo(describe(dataset))
