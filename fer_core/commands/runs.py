"""`runs`: the runs that there are."""

from __future__ import annotations

from typing import Any

import typer

from fer_core.commands.common import DEFAULT_RUN, DEMO, AsJson, RunsFolder
from fer_core.console import print_json, table
from fer_core.errors import FerError
from fer_core.evaluation import Share
from fer_core.runs import CHECKPOINTS, Run, list_runs


def show_runs(runs: RunsFolder = CHECKPOINTS, as_json: AsJson = False) -> None:
    """List the runs: state, checkpoints kept, and the validation accuracy of the best one."""
    rows = [run_row(run) for run in list_runs(runs)]
    if as_json:
        print_json(rows)
    elif rows:
        typer.echo(table([run_cells(row) for row in rows]))
    else:
        typer.echo(f"There are no runs in {runs}; train one with: python train.py {DEFAULT_RUN} --data PATH")


RUN_KEYS = ("run", "state", "epochs", "best_epoch", "split", "n", "accuracy", "interval_95", "data", "is_demo", "error")


def run_row(run: Run) -> dict[str, Any]:
    """A run in plain values, its accuracy with its protocol; of a damaged one the name and the error."""
    row: dict[str, Any] = dict.fromkeys(RUN_KEYS) | {"run": run.name}
    try:
        data, status, best = run.info.get("data", {}), run.status(), run.best_epoch()
        row |= {"state": status.state, "error": status.error or None, "epochs": run.epochs(), "best_epoch": best}
        row |= {"data": data.get("name"), "is_demo": data.get("is_demo", False)}
        scores = run.metrics()
        scores = scores[(scores["split"] == "validation") & (scores["epoch"] == best)]
        for accuracy, n in scores[["accuracy", "n"]].dropna().tail(1).itertuples(index=False):
            share = Share.of(accuracy, n)
            row |= {"split": "validation", "n": share.n, "accuracy": share.value, "interval_95": share.interval}
    except FerError as error:
        row |= {"state": "damaged", "error": str(error)}
    return row


def run_cells(row: dict[str, Any]) -> dict[str, str]:
    """The row of a run as text for a person."""
    epochs, n = row["epochs"] or [], row["n"]
    return {
        "Run": row["run"],
        "State": row["state"],
        "Epochs kept": f"{len(epochs)} ({epochs[0]} to {epochs[-1]})" if epochs else "none",
        "Best": str(row["best_epoch"] or "-"),
        "Accuracy of the best (95 % interval)": str(Share.of(row["accuracy"], n)) if n else "not known",
        "Split": row["split"] or "-",
        "Data": DEMO if row["is_demo"] else row["data"] or "-",
        "Error": row["error"] or "",
    }
