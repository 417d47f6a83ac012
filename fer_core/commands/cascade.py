"""`cascade`: what a fast checkpoint and an accurate one give together, at every threshold."""

from __future__ import annotations

from typing import Annotated

import typer

from fer_core.calibration import scaled, temperatures
from fer_core.cascade import cascaded
from fer_core.commands.common import (
    EPOCH_HELP,
    AsJson,
    Data,
    Device,
    Order,
    RunsFolder,
    SkipBadRows,
    TestTime,
    data_title,
    find_members,
    load_faces,
)
from fer_core.commands.evaluate import faces_of_all, seen_by, seen_by_any
from fer_core.console import print_json, table
from fer_core.evaluation import Evaluation, Share, evaluate
from fer_core.runs import CHECKPOINTS
from fer_core.tta import TITLES

THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def score_cascade(
    first: Annotated[str, typer.Argument(metavar="FIRST[:EPOCH]", help=f"Fast; asked about every face. {EPOCH_HELP}")],
    second: Annotated[str, typer.Argument(metavar="SECOND[:EPOCH]", help="Accurate; asked where the first is unsure.")],
    data: Data = None,
    label_order: Order = "auto",
    skip_bad_rows: SkipBadRows = False,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    tta: TestTime = "none",
    device: Device = "auto",
    runs: RunsFolder = CHECKPOINTS,
    as_json: AsJson = False,
) -> None:
    """Score two checkpoints in a cascade on labelled faces: the second is asked, over the views of --tta, about those
    to whose emotion the first gives no more than a threshold. In use: predict --run FIRST --cascade SECOND --sure P"""
    members = [find_members([name], runs)[0] for name in (first, second)]
    dataset = load_faces(data, label_order, skip_bad_rows)
    faces = faces_of_all(members, dataset, split)
    seen = None if split == "train" else seen_by_any(seen_by(members, dataset, faces))
    fast, accurate = (
        scaled(member.predict(faces, views, device), temperatures(member.run, member.epoch).get(views))
        for member, views in zip(members, ("none", tta), strict=True)
    )
    asked = [Share(int((fast.max(axis=1) <= sure).sum()), len(faces)) for sure in THRESHOLDS]
    names = ", then ".join(map(str, members))
    scores = [
        evaluate(
            cascaded(fast, sure, accurate.__getitem__),
            faces.emotions,
            run=names,
            epoch=None,
            data=faces.name,
            split=split,
            tta=tta,
            seen=seen,
        )
        for sure in THRESHOLDS
    ]
    if as_json:
        rows = zip(THRESHOLDS, asked, scores, strict=True)
        print_json([{"sure": sure, "asked": n.hits, **one.to_dict()} for sure, n, one in rows])
        return
    views = f" {TITLES[tta]}" if TITLES[tta] else ""
    typer.echo(f"{names}{views}, on the {split} split of {data_title(faces)}")
    typer.echo(table([row(*one) for one in zip(THRESHOLDS, asked, scores, strict=True)]))
    typer.echo("\nIn brackets: 95 % Wilson intervals.")


def row(sure: float, asked: Share, score: Evaluation) -> dict[str, str]:
    return {
        "First is sure above": f"{sure:.0%}",
        "Faces that the second is asked about": f"{asked.hits:,} ({asked.value:.1%})",
        "Accuracy": str(score.accuracy),
        "Without faces seen in training": str(score.unseen or ""),
    }
