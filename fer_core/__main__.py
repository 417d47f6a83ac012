"""What can be done without the dashboard: python -m fer_core evaluate, predict, submit, runs, data

torch is imported by the commands that run a network; the others answer at once.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from fer_core.console import print_json, progress, table
from fer_core.data import SPLITS, FaceDataset, LoadOptions, describe, open_data
from fer_core.data.label_order import LabelOrder
from fer_core.errors import DataError, FerError
from fer_core.evaluation import Evaluation, Share, evaluate
from fer_core.export import check_target, write_submission
from fer_core.labels import EMOTIONS
from fer_core.runs import CHECKPOINTS, Run, find_checkpoint, list_runs

if TYPE_CHECKING:
    from fer_core.inference import Prediction, Predictor

DEFAULT_RUN = "report-resnet"  # ships with the project
DEMO = "rendered demo faces"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

EPOCH_HELP = "A run's name or path; epoch: a number, last, or best (also if none is given)."
DATA_HELP = "Faces as CSV, Parquet or folder; else $FER_DATA, data/, demo faces."
RunEpoch = Annotated[str, typer.Argument(metavar="RUN[:EPOCH]", help=EPOCH_HELP)]
Data = Annotated[Path | None, typer.Option(help=DATA_HELP)]
Order = Annotated[LabelOrder, typer.Option(help="Of labels that are numbers.")]
SkipBadRows = Annotated[bool, typer.Option("--skip-bad-rows", help="Leave out and list rows that cannot be read.")]
Flip = Annotated[bool, typer.Option("--flip", help="Average each face with its mirror image.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
RunsFolder = Annotated[Path, typer.Option("--runs", help="Where runs are kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def main(arguments: list[str] | None = None) -> None:
    """Run a command; an error that is meant for the user ends it with one line and exit code 1."""
    try:
        app(arguments)
    except FerError as error:
        raise SystemExit(f"Error: {error}") from None


@app.callback()
def about() -> None:
    """Score and use the runs of train.py; see them with: streamlit run dashboard/Home.py"""


@app.command("evaluate")
def evaluate_checkpoint(
    checkpoint: RunEpoch,
    data: Data = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    flip: Flip = False,
    label_order: Order = "auto",
    skip_bad_rows: SkipBadRows = False,
    device: Device = "auto",
    runs: RunsFolder = CHECKPOINTS,
    as_json: AsJson = False,
) -> None:
    """Score a checkpoint on labelled faces: accuracy with its 95 % interval, by label, F1, loss, confusion matrix."""
    run, predictor = load_predictor(checkpoint, runs, device)
    options = LoadOptions(label_order=label_order, skip_bad_rows=skip_bad_rows)
    faces = labelled_faces(run.split_as_in_training(load_faces(data, options)), split)
    prediction = predict_faces(predictor, faces.images, flip)
    result = evaluate(
        prediction.probabilities,
        faces.emotions,
        run=prediction.run,
        epoch=prediction.epoch,
        data=faces.name,
        split=split,
    )
    if as_json:
        print_json({**result.to_dict(), "flip": flip, "is_demo": faces.is_demo})
    else:
        typer.echo(f"{checkpoint_title(prediction, flip)}, on the {split} split of {data_title(faces)}")
        typer.echo(scores_text(result))


@app.command("predict")
def predict_pictures(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures of one cropped face each.")],
    checkpoint: Annotated[str, typer.Option("--run", metavar="RUN[:EPOCH]", help=EPOCH_HELP)] = DEFAULT_RUN,
    flip: Flip = False,
    device: Device = "auto",
    runs: RunsFolder = CHECKPOINTS,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV and nothing else.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say which emotion a checkpoint sees in pictures of faces that are cropped already."""
    faces = read_pictures(images)
    _, predictor = load_predictor(checkpoint, runs, device)
    prediction = predict_faces(predictor, faces, flip)
    rows = prediction_rows(images, prediction)
    if as_json:
        print_json({"run": prediction.run, "epoch": prediction.epoch, "flip": flip, "faces": rows})
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        typer.echo(checkpoint_title(prediction, flip))
        typer.echo(table([{key: f"{v:.1%}" if isinstance(v, float) else v for key, v in row.items()} for row in rows]))


@app.command("submit")
def submit_test(
    checkpoint: RunEpoch,
    out: Annotated[Path, typer.Option(help="The CSV to write.")],
    data: Data = None,
    columns: Annotated[str, typer.Option(help="id,emotion; or emotion for the form without ids.")] = "id,emotion",
    flip: Flip = False,
    device: Device = "auto",
    runs: RunsFolder = CHECKPOINTS,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
) -> None:
    """Write a checkpoint's predictions on the test faces as a CSV for Kaggle, and check it."""
    names = tuple(columns.split(","))
    check_target(out, names, overwrite=force)
    _, predictor = load_predictor(checkpoint, runs, device)
    faces = load_faces(data, LoadOptions()).split("test")
    if not len(faces):
        raise DataError(f"{faces.name} has no test split; give --data a file that has one, such as test.csv.")
    prediction = predict_faces(predictor, faces.images, flip)
    submission = write_submission(out, prediction.emotions, names, overwrite=force)
    counts = ", ".join(f"{emotion} {count:,}" for emotion, count in submission.counts.items())
    typer.echo(f"{checkpoint_title(prediction, flip)}, on the test split of {data_title(faces)}")
    typer.echo(f"Wrote and checked {out}: {len(submission.emotions):,} rows ({counts})")


@app.command("runs")
def show_runs(runs: RunsFolder = CHECKPOINTS, as_json: AsJson = False) -> None:
    """List the runs: state, checkpoints kept, and the validation accuracy of the best one."""
    rows = [run_row(run) for run in list_runs(runs)]
    if as_json:
        print_json(rows)
    elif rows:
        typer.echo(table([run_cells(row) for row in rows]))
    else:
        typer.echo(f"There are no runs in {runs}; train one with: python train.py {DEFAULT_RUN} --data PATH")


@app.command("data")
def show_data(
    path: Annotated[Path | None, typer.Argument(help=DATA_HELP)] = None,
    label_order: Order = "auto",
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """Say what a file or folder holds: its form, the faces by split and emotion, what was converted or left out."""
    with progress("Reading") as show:
        dataset = open_data(path, LoadOptions(label_order=label_order, skip_bad_rows=skip_bad_rows), show)
    typer.echo(describe(dataset))


# -- steps of the commands ---------------------------------------------------------------------------------------------


def load_predictor(checkpoint: str, runs: Path, device: str) -> tuple[Run, Predictor]:
    """The run that RUN[:EPOCH] names, and its checkpoint ready to predict."""
    run, epoch = find_checkpoint(checkpoint, runs)
    from fer_core.inference import Predictor
    from fer_core.training import pick_device

    return run, Predictor.load(run, epoch, str(pick_device(device)))


def load_faces(path: Path | None, options: LoadOptions) -> FaceDataset:
    """The faces, read under a progress bar; what the reader had to assume goes to stderr."""
    with progress("Reading") as show:
        dataset = open_data(path, options, show)
    for warning in dataset.summary.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    return dataset


def labelled_faces(dataset: FaceDataset, split: str) -> FaceDataset:
    """The labelled faces of a split. Raises DataError, naming the splits that have some, where there are none."""
    faces = dataset.split(split).labelled()
    if not len(faces):
        others = [name for name in SPLITS if len(dataset.split(name).labelled())]
        hint = f"choose --split {' or '.join(others)}" if others else "predict and submit need no labels"
        raise DataError(f"{dataset.name} has no labelled faces in its {split} split; {hint}.")
    return faces


def read_pictures(paths: list[Path]) -> np.ndarray:
    """Picture files -> uint8 (N, 48, 48). Raises DataError naming the first that is none."""
    from fer_core.data.pictures import decode_all

    for path in paths:
        if not path.is_file():
            raise DataError(f"{path} is not a file; name pictures of one cropped face each.")
    faces = decode_all(paths)
    for position, reason in faces.broken.items():
        raise DataError(f"{paths[position]}: {reason}.")
    return faces.images


def predict_faces(predictor: Predictor, images: np.ndarray, flip: bool) -> Prediction:
    with progress("Predicting") as show:
        return predictor.predict(images, flip=flip, report=show)


# -- what is printed ---------------------------------------------------------------------------------------------------


def checkpoint_title(prediction: Prediction, flip: bool) -> str:
    return f"{prediction.run}, epoch {prediction.epoch}{', averaged with mirror images' if flip else ''}"


def data_title(faces: FaceDataset) -> str:
    return f"{faces.name} ({DEMO})" if faces.is_demo else faces.name


def scores_text(result: Evaluation) -> str:
    """Accuracy, F1 and loss; then the accuracy of each emotion; then the confusion matrix."""
    scores = f"Accuracy {result.accuracy}, macro F1 {result.macro_f1:.3f}, loss {result.loss:.3f}"
    shares = [{"Emotion": emotion, "Recognised": str(share)} for emotion, share in result.by_label.items()]
    matrix = [
        {"True \\ predicted": emotion} | {name: f"{n:,}" for name, n in zip(EMOTIONS, row, strict=True)}
        for emotion, row in zip(EMOTIONS, result.confusion.tolist(), strict=True)
    ]
    return "\n".join([scores, "", table(shares), "", table(matrix), "", "In brackets: 95 % Wilson intervals."])


def prediction_rows(images: list[Path], prediction: Prediction) -> list[dict[str, Any]]:
    """A row a picture: its path, the most probable emotion, and the probability of each."""
    emotions, probabilities = prediction.emotions.tolist(), prediction.probabilities.tolist()
    return [
        {"image": str(path), "emotion": EMOTIONS[emotion]} | dict(zip(EMOTIONS, row, strict=True))
        for path, emotion, row in zip(images, emotions, probabilities, strict=True)
    ]


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
            share = Share(round(accuracy * n), int(n))
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
        "Accuracy of the best (95 % interval)": str(Share(round(row["accuracy"] * n), n)) if n else "not known",
        "Split": row["split"] or "-",
        "Data": DEMO if row["is_demo"] else row["data"] or "-",
        "Error": row["error"] or "",
    }


if __name__ == "__main__":
    main()
