"""`evaluate`: scores of a checkpoint, or of an ensemble of several, on labelled faces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import typer

from fer_core.commands.common import (
    AsJson,
    Data,
    Device,
    Fresh,
    Member,
    Order,
    RunEpochs,
    RunsFolder,
    SkipBadRows,
    TestTime,
    data_title,
    find_members,
    labelled_faces,
    load_faces,
    members_title,
)
from fer_core.console import print_json, table
from fer_core.data import FaceDataset
from fer_core.data.leaks import seen_in_training
from fer_core.errors import DataError
from fer_core.evaluation import Evaluation, evaluate
from fer_core.labels import EMOTIONS
from fer_core.runs import CHECKPOINTS


def evaluate_checkpoint(
    checkpoints: RunEpochs,
    data: Data = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    tta: TestTime = "none",
    label_order: Order = "auto",
    skip_bad_rows: SkipBadRows = False,
    device: Device = "auto",
    fresh: Fresh = False,
    runs: RunsFolder = CHECKPOINTS,
    as_json: AsJson = False,
) -> None:
    """Score a checkpoint on labelled faces: accuracy with its 95 % interval, also without the faces that stand in
    training; by label, F1, loss, confusion matrix. Several checkpoints are scored one by one and as an ensemble."""
    members = find_members(checkpoints, runs)
    dataset = load_faces(data, label_order, skip_bad_rows)
    faces = faces_of_all(members, dataset, split)
    seen = [None] * len(members) if split == "train" else seen_by(members, dataset, faces)
    answers = [member.predict(faces, tta, device, fresh) for member in members]

    def score(said: np.ndarray, known: np.ndarray | None, run: str, epoch: int | None) -> Evaluation:
        return evaluate(said, faces.emotions, run=run, epoch=epoch, data=faces.name, split=split, tta=tta, seen=known)

    scores = [
        score(said, known, member.run.name, member.epoch)
        for member, said, known in zip(members, answers, seen, strict=True)
    ]
    each = scores if len(members) > 1 else []
    result = scores[0]
    if each:
        result = score(np.mean(answers, axis=0), seen_by_any(seen), " + ".join(map(str, members)), None)
    if as_json:
        of_members = {"members": [member.to_dict() for member in each]} if each else {}
        print_json({**result.to_dict(), "is_demo": faces.is_demo, **of_members})
        return
    typer.echo(f"{members_title(members, tta)}, on the {split} split of {data_title(faces)}")
    typer.echo(scores_text(result, each))


def faces_of_all(members: Sequence[Member], dataset: FaceDataset, split: str) -> FaceDataset:
    """The labelled faces of a split, as each member's training split the data. Raises DataError where members differ:
    one would be scored on faces that it learned from."""
    parts = [labelled_faces(member.run.split_as_in_training(dataset), split) for member in members]
    for member, part in zip(members, parts, strict=True):
        if part.fingerprint != parts[0].fingerprint:
            raise DataError(
                f"{members[0]} and {member} hold out different faces of {dataset.name} as {split}, so they share no "
                "faces to be scored on; give --data a file that has a validation split of its own, or choose another "
                "--split."
            )
    return parts[0]


def seen_by(members: Sequence[Member], dataset: FaceDataset, faces: FaceDataset) -> list[np.ndarray | None]:
    """For each member which of the faces, bool (N,), it was trained on; None where its training faces are not known."""
    known: dict[str, np.ndarray | None] = {}
    for member in members:
        origin = member.run.data_fingerprint
        if origin not in known:
            learned = member.run.training_faces(dataset)
            known[origin] = None if learned is None else seen_in_training(learned.images, faces.images)
    return [known[member.run.data_fingerprint] for member in members]


def seen_by_any(seen: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Which of the faces one member at least was trained on; None where that is not known of all members."""
    known = [rows for rows in seen if rows is not None]
    return np.any(known, axis=0) if len(known) == len(seen) else None


def scores_text(result: Evaluation, members: Sequence[Evaluation] = ()) -> str:
    """Accuracy, F1 and loss; of an ensemble also each member's; the accuracy of each emotion; the confusion matrix."""
    scores = [f"Accuracy {result.accuracy}, macro F1 {result.macro_f1:.3f}, loss {result.loss:.3f}", result.leak_note]
    each = [
        {
            "Member": f"{member.run}:{member.epoch}",
            "Accuracy": str(member.accuracy),
            "Without faces seen in training": str(member.unseen or ""),
        }
        for member in members
    ]
    shares = [{"Emotion": emotion, "Recognised": str(share)} for emotion, share in result.by_label.items()]
    matrix = [
        {"True \\ predicted": emotion} | {name: f"{n:,}" for name, n in zip(EMOTIONS, row, strict=True)}
        for emotion, row in zip(EMOTIONS, result.confusion.tolist(), strict=True)
    ]
    tables = [table(rows) for rows in (each, shares, matrix) if rows]
    return "\n\n".join(["\n".join(filter(None, scores)), *tables, "In brackets: 95 % Wilson intervals."])
