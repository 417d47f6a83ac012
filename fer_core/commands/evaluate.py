"""`evaluate`: scores of a checkpoint on labelled faces."""

from __future__ import annotations

from typing import Annotated

import typer

from fer_core.commands.common import (
    AsJson,
    Data,
    Device,
    Flip,
    Order,
    RunEpoch,
    RunsFolder,
    SkipBadRows,
    checkpoint_title,
    data_title,
    labelled_faces,
    load_faces,
    load_predictor,
    predict_faces,
)
from fer_core.console import print_json, table
from fer_core.data import LoadOptions
from fer_core.evaluation import Evaluation, evaluate
from fer_core.labels import EMOTIONS
from fer_core.runs import CHECKPOINTS


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


def scores_text(result: Evaluation) -> str:
    """Accuracy, F1 and loss; then the accuracy of each emotion; then the confusion matrix."""
    scores = f"Accuracy {result.accuracy}, macro F1 {result.macro_f1:.3f}, loss {result.loss:.3f}"
    shares = [{"Emotion": emotion, "Recognised": str(share)} for emotion, share in result.by_label.items()]
    matrix = [
        {"True \\ predicted": emotion} | {name: f"{n:,}" for name, n in zip(EMOTIONS, row, strict=True)}
        for emotion, row in zip(EMOTIONS, result.confusion.tolist(), strict=True)
    ]
    return "\n".join([scores, "", table(shares), "", table(matrix), "", "In brackets: 95 % Wilson intervals."])
