"""`submissions`: Kaggle files of several checkpoints at once, a file checked, and two files compared."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from fer_core.commands.common import EPOCH_HELP, AsJson, Data, Order, RunsFolder, SkipBadRows, data_title, load_faces
from fer_core.console import print_json, progress, table
from fer_core.data import FaceDataset
from fer_core.data.label_order import LabelOrder
from fer_core.errors import DataError
from fer_core.evaluation import Share
from fer_core.export import Submission, check_submission
from fer_core.labels import EMOTIONS, UNLABELLED
from fer_core.runs import CHECKPOINTS
from fer_core.submissions import (
    Comparison,
    compare_submissions,
    find_checkpoints,
    scores_by_split,
    submitted_faces,
    write_submissions,
)

app = typer.Typer(no_args_is_help=True, help="Write Kaggle files of several checkpoints, check and compare them.")
File = Annotated[Path, typer.Argument(metavar="CSV", help="A submission.")]
Split = Annotated[str | None, typer.Option(help="train, validation or test; else the one that has as many rows.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")]


@app.command("write")
def write_all(
    checkpoints: Annotated[list[str], typer.Argument(metavar="RUN[:EPOCH]...", help=EPOCH_HELP)],
    out: Annotated[Path, typer.Option(help="The folder to write to: RUN-epoch-NNN.csv each.")],
    epochs: Annotated[str | None, typer.Option(help="Of each RUN: all, or epochs with commas between.")] = None,
    data: Data = None,
    label_order: Order = "auto",
    skip_bad_rows: SkipBadRows = False,
    split: Annotated[str, typer.Option(help="test; or validation, whose labels are known, to try it out.")] = "test",
    columns: Annotated[str, typer.Option(help="id,emotion; or emotion for the form without ids.")] = "id,emotion",
    runs: RunsFolder = CHECKPOINTS,
    force: Force = False,
) -> None:
    """Write each checkpoint's predictions on the test faces as a CSV for Kaggle, and check it."""
    chosen = find_checkpoints(checkpoints, epochs, runs)
    faces = load_faces(data, label_order, skip_bad_rows).split(split)
    if not len(faces):
        raise DataError(f"{faces.name} has no {split} split; give --data a file that has one, such as test.csv.")
    with progress("Predicting") as show:
        written = write_submissions(chosen, faces, out, tuple(columns.split(",")), force, show)
    typer.echo(
        f"Wrote and checked {len(written)} files in {out}: {len(faces):,} rows each, {data_title(faces)}, {split}"
    )
    typer.echo(table([{"File": one.path.name} | counts(one) | score_cells(one, faces) for one in written]))


@app.command("check")
def check_file(
    file: File,
    data: Data = None,
    label_order: Order = "auto",
    skip_bad_rows: SkipBadRows = False,
    split: Split = None,
) -> None:
    """Say whether a file is a submission that Kaggle takes, and what it scores where labels are known."""
    submission = check_submission(file)
    faces = submitted_faces(load_faces(data, label_order, skip_bad_rows), len(submission.emotions), split)
    typer.echo(f"{file} is fine: {len(faces):,} rows for {data_title(faces)}, columns {','.join(submission.columns)}")
    typer.echo(table([counts(submission) | score_cells(submission, faces)]))


@app.command("compare")
def compare_files(
    first: File,
    second: File,
    data: Data = None,
    label_order: Order = "auto",
    skip_bad_rows: SkipBadRows = False,
    split: Split = None,
    out: Annotated[Path | None, typer.Option(help="A CSV to write: the rows in which they differ.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compare two submissions: agreement, where they differ label by label, and scores where labels are known."""
    both = check_submission(first), check_submission(second)
    compared = compare_submissions(*both)
    if out and out.exists() and not force:
        raise DataError(f"{out} is there already; choose another name, or overwrite it with --force.")
    faces = scored_faces(data, label_order, skip_bad_rows, len(compared.first), split)
    if as_json:
        print_json(as_values(both, compared, faces))
    else:
        typer.echo(comparison_text(both, compared, faces))
    if out:
        write_differences(out, compared, faces)


def scored_faces(
    data: Path | None, label_order: LabelOrder, skip_bad_rows: bool, rows: int, split: str | None
) -> FaceDataset | None:
    """The faces that the submissions are about; None where none were named and those at hand are others."""
    dataset = load_faces(data, label_order, skip_bad_rows)
    try:
        return submitted_faces(dataset, rows, split)
    except DataError:
        if data or split:
            raise
        return None


def counts(submission: Submission) -> dict[str, str]:
    return {emotion: f"{n:,}" for emotion, n in submission.counts.items()}


def score_cells(submission: Submission, faces: FaceDataset) -> dict[str, str]:
    """Accuracy by split; empty where there are no labels."""
    scores = scores_by_split(submission.emotions, faces)
    return {f"Accuracy, {split}": str(share) if share.n else "" for split, share in scores.items()}


def comparison_text(both: tuple[Submission, Submission], compared: Comparison, faces: FaceDataset | None) -> str:
    """Agreement; then the scores; then the table of disagreements."""
    names = file_names(both)
    lines = [
        f"{names[0]} and {names[1]}: agreement {compared.agreement}, Cohen's kappa {compared.kappa:.3f}; "
        f"they differ on {len(compared.differ):,} faces",
        "",
    ]
    if faces is None:
        lines += ["The faces that they are about are not at hand (--data), so there are no scores.", ""]
    elif not len(faces.labelled()):
        lines += [f"These faces of {data_title(faces)} have no labels, so there are no scores.", ""]
    else:
        changes = compared.changes(faces)
        low, high = changes.interval
        lines += [
            f"Scores on {data_title(faces)}",
            table([{"File": name} | score_cells(one, faces) for name, one in zip(names, both, strict=True)]),
            f"{names[1]} is right on {len(changes.fixed):,} faces that {names[0]} misses and wrong on "
            f"{len(changes.broken):,} that it knows: {100 * changes.difference:+.2f} points (95 % interval "
            f"{100 * low:+.2f} to {100 * high:+.2f}, paired)",
            "",
        ]
    lines += [f"Rows: what {names[0]} says; columns: what {names[1]} says", ""]
    matrix = [
        {"": emotion} | {name: f"{n:,}" for name, n in zip(EMOTIONS, row, strict=True)}
        for emotion, row in zip(EMOTIONS, compared.table.tolist(), strict=True)
    ]
    return "\n".join([*lines, table(matrix), "", "In brackets: 95 % Wilson intervals."])


def file_names(both: tuple[Submission, Submission]) -> tuple[str, str]:
    """What to call two files: their names, or their paths where they are named alike."""
    first, second = (one.path for one in both)
    return (str(first), str(second)) if first.name == second.name else (first.name, second.name)


def as_values(both: tuple[Submission, Submission], compared: Comparison, faces: FaceDataset | None) -> dict[str, Any]:
    """The comparison in plain values, each score with its split and n."""

    def plain(share: Share) -> dict[str, Any]:
        return {"accuracy": share.value, "interval_95": list(share.interval), "n": share.n}

    scores = [
        {split: plain(share) for split, share in scores_by_split(one.emotions, faces).items() if share.n}
        if faces
        else {}
        for one in both
    ]
    return {
        "files": [str(one.path) for one in both],
        "rows": len(compared.first),
        "agreement": compared.agreement.value,
        "agreement_interval_95": list(compared.agreement.interval),
        "kappa": compared.kappa,
        "labels": list(EMOTIONS),
        "table": compared.table.tolist(),
        "differ": compared.differ.tolist(),
        "data": faces.name if faces else None,
        "is_demo": faces.is_demo if faces else None,
        "scores": scores,
    }


def write_differences(path: Path, compared: Comparison, faces: FaceDataset | None) -> None:
    """A line for each row in which they differ: its id, what each says, and the true emotion where it is known."""

    def line(row: int) -> list[Any]:
        truth = int(faces.emotions[row]) if faces else UNLABELLED
        face = str(faces.ids[row]) if faces else ""
        true_name = EMOTIONS[truth] if truth != UNLABELLED else ""
        return [row, face, EMOTIONS[compared.first[row]], EMOTIONS[compared.second[row]], true_name]

    lines = [["id", "face", "first", "second", "true"], *(line(int(row)) for row in compared.differ)]
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator=os.linesep).writerows(lines)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); choose another place.") from error
    typer.echo(f"Wrote {path}: {len(compared.differ):,} rows", err=True)
