"""`data PATH`: what a file or folder of faces holds. `data get`: fetch FER2013."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fer_core.commands.common import DATA_HELP, Order, SkipBadRows
from fer_core.console import progress
from fer_core.data import LoadOptions, describe, open_data
from fer_core.download import fetch, plan_download


class PathOrCommand(TyperGroup):
    """`data PATH` is short for `data show PATH`; a path that is called like a command is written ./get."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "--help"):
            args = ["show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=PathOrCommand, help="Say what a file or folder holds (data PATH), or fetch FER2013 (data get).")


@app.command("show")
def show_data(
    path: Annotated[Path | None, typer.Argument(help=DATA_HELP)] = None,
    label_order: Order = "auto",
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """Say what a file or folder holds: its form, the faces by split and emotion, what was converted or left out."""
    with progress("Reading") as show:
        dataset = open_data(path, LoadOptions(label_order=label_order, skip_bad_rows=skip_bad_rows), show)
    typer.echo(describe(dataset))


@app.command("get")
def get_data(
    source: Annotated[str, typer.Option("--from", help="kaggle or huggingface.")],
    name: Annotated[
        str | None, typer.Option(help="Another copy: a competition or OWNER/DATASET, such as msambare/fer2013.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder to fetch into; empty or not there yet.")] = Path("data"),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before fetching.")] = False,
) -> None:
    """Fetch FER2013 from those who host it, by their own clients, and say what came."""
    plan = plan_download(source, name, out)
    typer.echo(plan.told())
    if not yes:
        typer.confirm("Fetch it?", abort=True)
    folder = fetch(plan)
    show_data(folder)
