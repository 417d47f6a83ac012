"""`calibrate`: the temperature at which a checkpoint is as sure as it is right."""

from __future__ import annotations

import typer

from fer_core.calibration import BINS, FILE, Calibration, calibrate, store_calibration, to_dict
from fer_core.commands.common import (
    AsJson,
    Data,
    Device,
    Order,
    RunEpoch,
    RunsFolder,
    SkipBadRows,
    TestTime,
    data_title,
    find_members,
    labelled_faces,
    load_faces,
    members_title,
    note_other_faces,
)
from fer_core.console import print_json, table
from fer_core.errors import DataError
from fer_core.runs import CHECKPOINTS

SPLIT = "validation"


def calibrate_checkpoint(
    checkpoint: RunEpoch,
    data: Data = None,
    label_order: Order = "auto",
    skip_bad_rows: SkipBadRows = False,
    tta: TestTime = "none",
    device: Device = "auto",
    runs: RunsFolder = CHECKPOINTS,
    as_json: AsJson = False,
) -> None:
    """Fit a temperature on half of the validation faces, check it on the other half, and store it in the run."""
    members = find_members([checkpoint], runs)
    (member,) = members
    opened = load_faces(data, label_order, skip_bad_rows)
    faces = labelled_faces(member.run.split_as_in_training(opened), SPLIT)
    if faces.is_demo and not member.run.info.get("data", {}).get("is_demo"):
        raise DataError(
            f"{member} was trained on real faces, and {faces.name} are rendered: a temperature fitted on these would "
            "not hold; give --data labelled real faces."
        )
    note_other_faces(member.run, opened, "where it learned from some of these faces, the temperature is too low")
    result = calibrate(
        member.predict(faces, tta, device),
        faces.emotions,
        epoch=member.epoch,
        tta=tta,
        data=faces.name,
        split=SPLIT,
        fingerprint=faces.fingerprint,
    )
    store_calibration(member.run, result)
    if as_json:
        print_json({"run": member.run.name, **to_dict(result)})
    else:
        typer.echo(f"{members_title(members, tta)}, on the {SPLIT} split of {data_title(faces)}")
        typer.echo(calibration_text(result))
        typer.echo(f"Stored in {member.run.path / FILE}")


def calibration_text(result: Calibration) -> str:
    """The temperature, and what it changed on the faces that it was not fitted on."""
    before, after = result.before, result.after
    rows = [
        {"": f"ECE ({BINS} bins)", "Before": f"{before.ece:.2%}", "After": f"{after.ece:.2%}"},
        {"": "NLL, nats", "Before": f"{before.nll:.3f}", "After": f"{after.nll:.3f}"},
    ]
    fitted = (
        f"Temperature {result.temperature:.3f}, fitted on {result.fitted_on:,} faces; on the other {before.faces:,}:"
    )
    return f"{fitted}\n{table(rows)}"
