"""`audit`: what is wrong with a data set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from fer_core.commands.common import (
    DATA_HELP,
    AsJson,
    Device,
    Member,
    Order,
    RunsFolder,
    SkipBadRows,
    data_title,
    find_members,
    labelled_faces,
    load_faces,
)
from fer_core.console import print_json, progress, table
from fer_core.data import FaceDataset, locate_data
from fer_core.data.audit import Audit, audit, imbalance
from fer_core.data.duplicates import THRESHOLD, Groups
from fer_core.data.votes import Votes, check_votes, find_votes, read_votes
from fer_core.dynamics import REGIONS, read_dynamics
from fer_core.errors import ConfigError, DataError
from fer_core.label_errors import FOLDS, LabelErrors, default_config, find_label_errors, out_of_fold
from fer_core.labels import EMOTIONS, UNLABELLED
from fer_core.runs import CHECKPOINTS
from fer_core.slices import Slices, cluster_faces, find_slices, groupings

MOST = 10  # lines of a list that a person is shown; --json has all


def audit_data(
    path: Annotated[Path | None, typer.Argument(help=DATA_HELP)] = None,
    run: Annotated[
        str | None, typer.Option(metavar="RUN[:EPOCH]", help="Also where this run is weak, and what it learned when.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="On which faces RUN is looked at; else on validation.")] = None,
    label_errors: Annotated[
        bool, typer.Option("--label-errors", help="Also train a few quick networks to find wrong training labels.")
    ] = False,
    votes: Annotated[Path | None, typer.Option(help="FER+'s fer2013new.csv; else the one beside the data.")] = None,
    label_order: Order = "auto",
    skip_bad_rows: SkipBadRows = False,
    device: Device = "auto",
    runs: RunsFolder = CHECKPOINTS,
    as_json: AsJson = False,
) -> None:
    """Find what is wrong with a data set: imbalance, blank faces, duplicates, leaks, conflicting and wrong labels."""
    if split and not run:
        raise ConfigError("--split is of a run's faces; name it with --run.")
    if votes and not (run or label_errors):
        raise ConfigError("--votes judge label errors; look for these with --label-errors, or in a run with --run.")
    split = split or "validation"
    member = find_members([run], runs)[0] if run else None
    faces = load_faces(path, label_order, skip_bad_rows)
    faces = member.run.split_as_in_training(faces) if member else faces
    with progress("Auditing") as show:
        found = audit(faces, show)
    table_of_votes = find_audit_votes(votes, path, faces)
    told, lines = found.to_dict(), audit_lines(found)
    if member:
        add_run(told, lines, found, member, labelled_faces(faces, split), split, device, table_of_votes)
    if label_errors:
        add_out_of_fold(told, lines, found, device, table_of_votes)
    if as_json:
        print_json(told)
    else:
        typer.echo("\n".join(lines))


def audit_lines(found: Audit) -> list[str]:
    """The whole audit as a person reads it."""
    return [
        f"{data_title(found.dataset)}: {len(found.dataset):,} faces, {found.distinct:,} of them distinct",
        "",
        *counts_lines(found),
        "",
        *quality_lines(found),
        "",
        *duplicate_lines(found, found.exact, "Exact duplicates (all pixels equal)"),
        "",
        *duplicate_lines(
            found, found.near, f"Near duplicates (correlation of at least {THRESHOLD}, exact copies of them too)"
        ),
    ]


def counts_lines(found: Audit) -> list[str]:
    ratios = imbalance(found.dataset)
    rows = []
    for split, row in found.dataset.counts().iterrows():
        cells = {str(name): f"{count:,}" for name, count in row.items() if name in EMOTIONS or count}
        rows.append({"Split": str(split), **cells, "Most : least": f"{ratios.get(str(split), 0):.1f}"})
    names = dict.fromkeys(name for row in rows for name in row)
    return [table([{name: row.get(name, "0") for name in names} for row in rows])] if rows else []


def quality_lines(found: Audit) -> list[str]:
    summary = found.quality_summary()
    rows = [{"": str(name), **{k: f"{v:.1f}" for k, v in row.items()}} for name, row in summary.iterrows()]
    constant, blank = found.quality.constant, found.quality.blank
    return [
        *([f"Gray levels of the faces:\n{table(rows)}"] if rows else []),
        f"Constant (one gray level): {listed(found.dataset, constant.nonzero()[0])}",
        f"Blank beside them (contrast below 5): {listed(found.dataset, (blank & ~constant).nonzero()[0])}",
    ]


def listed(faces: FaceDataset, rows: Any) -> str:
    names = [str(name) for name in faces.ids[rows[:MOST]]]
    return f"{len(rows):,}" + (f" ({', '.join(names)}{', ...' if len(rows) > MOST else ''})" if names else "")


def duplicate_lines(found: Audit, groups: Groups, title: str) -> list[str]:
    faces, conflicts = found.dataset, found.conflicts(groups)
    lines = [f"{title}: {len(groups):,} groups of {int((groups.of >= 0).sum()):,} faces"]
    if not len(groups):
        return lines
    leaks = found.leaks(groups)
    table_rows = [
        {"Faces of": str(split), **{f"also in {name}": f"{n:,}" for name, n in row.items()}}
        for split, row in leaks.iterrows()
    ]
    lines += [
        table(table_rows),
        f"Conflicting labels: {len(conflicts):,} groups, {sum(map(len, conflicts)):,} labelled faces",
    ]
    for rows in conflicts[:MOST]:
        labels = Counter(EMOTIONS[emotion] for emotion in faces.emotions[rows]).most_common()
        lines.append(f"  {', '.join(f'{n} {name}' for name, n in labels)}: {', '.join(faces.ids[rows[:3]])}"
                     f"{', ...' if len(rows) > 3 else ''}")  # fmt: skip
    if len(conflicts) > MOST:
        lines.append(f"  ... and {len(conflicts) - MOST:,} more; --json lists all")
    return lines


# -- what networks say of the data ------------------------------------------------------------------------------------


def find_audit_votes(votes: Path | None, path: Path | None, faces: FaceDataset) -> Votes | None:
    """The votes that were named, or that lie beside the data."""
    found = votes or ((data := locate_data(path)) and find_votes(data))
    try:
        return read_votes(found, faces) if found else None
    except DataError as error:
        if votes:
            raise
        typer.echo(f"Warning: {error}", err=True)  # nobody asked for what happens to lie there
        return None


def add_run(
    told: dict[str, Any],
    lines: list[str],
    found: Audit,
    member: Member,
    part: FaceDataset,
    split: str,
    device: str,
    votes: Votes | None,
) -> None:
    """Slices and label errors of a split, and the learning dynamics, of one checkpoint."""
    from fer_core.explain.embedding import split_features

    said = member.predict(part, "none", device)
    rows = np.flatnonzero(np.isin(found.dataset.ids, part.ids))
    in_train = found.copies.with_a_face_in(found.dataset.splits == 0)
    with progress("Slicing") as show:
        clusters = cluster_faces(split_features(member.run, member.epoch, part, show))
    by = groupings(part.emotions, found.quality.of(rows), clusters, in_train[rows] if split != "train" else None)
    slices = find_slices(said.argmax(axis=1), part.emotions, by)
    told["run"] = {"run": member.run.name, "epoch": member.epoch, "split": split, **slices.to_dict()}
    title = f"{member} on the {split} split of {data_title(part)}, n = {len(part):,}"
    lines += ["", f"{title}: the weakest of {slices.looked_at} slices", *slice_lines(slices)]
    if split != "train":
        errors = find_label_errors(said, part.emotions, f"{member} on {split}")
        add_label_errors(told, lines, f"label_errors_{split}", errors, part, rows, votes)
    dynamics = read_dynamics(member.run.path)
    if dynamics:
        regions = {name: int((dynamics.regions == name).sum()) for name in REGIONS}
        never, forgotten = int(dynamics.never_learned.sum()), int((dynamics.times_forgotten > 0).sum())
        unseen = int(dynamics.never_seen.sum())
        told["dynamics"] = {"epochs": dynamics.epochs, "n": len(dynamics.keys), "regions": regions}
        told["dynamics"] |= {"never_learned": never, "forgotten_at_least_once": forgotten, "never_seen": unseen}
        lines += [
            "",
            f"Learning of {len(dynamics.keys):,} training faces over {dynamics.epochs} epochs of {member.run.name}: "
            f"{', '.join(f'{n:,} {name}' for name, n in regions.items())}; {never:,} never learned, "
            f"{forgotten:,} forgotten at least once"
            + (f"; {unseen:,} never seen but mixed with others" if unseen else ""),
        ]


def slice_lines(slices: Slices) -> list[str]:
    rows = [
        {
            "By": each.by,
            "Slice": each.name,
            "Recognised": str(each.share),
            "To the rest": f"{100 * each.difference:+.1f} points",
            "p (Holm)": f"{each.p:.2g}",
        }
        for each in slices.slices[:MOST]
    ]
    return [table(rows)] if rows else ["No slice has enough faces."]


def add_out_of_fold(told: dict[str, Any], lines: list[str], found: Audit, device: str, votes: Votes | None) -> None:
    """Label errors of the training faces; a bar tells the time left, and after Ctrl-C it goes on from there."""
    rows = np.flatnonzero((found.dataset.splits == 0) & (found.dataset.emotions != UNLABELLED))
    train = found.dataset.subset(rows)
    config = default_config(len(train))
    with progress(f"Training {FOLDS} networks ({config.recipe})") as show:
        probabilities = out_of_fold(train, config, device=device, groups=found.copies.among(rows), report=show)
    source = f"{FOLDS} networks of the recipe {config.recipe}, each asked about the quarter it was not trained on"
    errors = find_label_errors(probabilities, train.emotions, source)
    add_label_errors(told, lines, "label_errors_train", errors, train, rows, votes)


def add_label_errors(
    told: dict[str, Any],
    lines: list[str],
    key: str,
    errors: LabelErrors,
    part: FaceDataset,
    rows: np.ndarray,
    votes: Votes | None,
) -> None:
    """One list of probable label errors of `part`, the `rows` of the whole data, and how the votes see it."""
    told[key] = errors.to_dict(part)
    lines += ["", f"Probable label errors ({errors.source}): {len(errors.rows):,} of {errors.n:,} faces"]
    ranked = [
        {"Face": str(part.ids[row]), "Label": EMOTIONS[given], "Proposed": EMOTIONS[proposed], "Doubt": f"{doubt:.3f}"}
        for row, given, proposed, doubt in zip(errors.rows, errors.given, errors.proposed, errors.doubt, strict=True)
    ]
    lines += [table(ranked[:MOST])] if ranked else []
    if votes is not None:
        check = check_votes(votes.of(rows), part.emotions, errors.rows, errors.proposed)
        told[key]["votes"] = check.to_dict()
        lines += [
            f"By the votes of FER+: {check.precision} of the flagged labels are wrong, of all {check.base}; "
            f"{check.recall} of the wrong ones are flagged; the proposed label is the votes' for {check.agreement}"
        ]
