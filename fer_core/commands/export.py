"""`export`: a checkpoint in a form that other tools read."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from fer_core.calibration import temperatures
from fer_core.commands.common import Data, Order, RunEpoch, RunsFolder, SkipBadRows, data_title, load_faces
from fer_core.console import progress
from fer_core.data import demo_faces
from fer_core.data.dataset import spread
from fer_core.runs import CHECKPOINTS, find_checkpoint

CHECKED_FACES = 256
CALIBRATION_FACES = 512  # for the ranges of 8-bit integers

app = typer.Typer(no_args_is_help=True, help="Write a run for other tools.")


@app.command("onnx")
def write_onnx(
    checkpoint: RunEpoch,
    out: Annotated[Path | None, typer.Option(help="The file to write; else RUN-epoch-NNN.onnx in this folder.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="8-bit integers: faster, the answers move a little.")] = False,
    data: Annotated[Path | None, typer.Option(help="Faces to check on, and for --int8; else demo faces.")] = None,
    label_order: Order = "auto",
    skip_bad_rows: SkipBadRows = False,
    runs: RunsFolder = CHECKPOINTS,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
) -> None:
    """Write a checkpoint as ONNX (gray levels in, probabilities out) and check it against PyTorch on 256 faces."""
    run, epoch = find_checkpoint(checkpoint, runs)
    from fer_core.onnx_export import check_onnx_target, export_onnx

    loaded = run.load_checkpoint(epoch)
    path = out or Path(f"{run.name}-epoch-{loaded.epoch:03d}.onnx")
    check_onnx_target(path, overwrite=force)
    faces = load_faces(data, label_order, skip_bad_rows) if data else demo_faces()
    held_out = faces.split("validation") if len(faces.split("validation")) else faces
    training = faces.split("train") if len(faces.split("train")) else faces
    checked = held_out.images[spread(len(held_out), CHECKED_FACES)]
    calibration = training.images[spread(len(training), CALIBRATION_FACES)] if int8 else None
    exported = export_onnx(loaded, path, checked, force, calibration, temperatures(run, loaded.epoch))
    typer.echo(
        f"Wrote and checked {path}: {exported.size / 2**20:.2f} MiB; on {exported.faces} faces of {data_title(faces)} "
        f"ONNX Runtime and PyTorch differ by at most {exported.max_difference:.1g} in a probability"
        + (f" and see the same emotion in {exported.agreement:.1%} of them." if int8 else ".")
    )
    typer.echo(f"Read faces with it: python -m fer_core predict FILE... --run {shlex.quote(str(path))}")
    typer.echo("Input faces: uint8 (N, 48, 48), gray levels 0..255; outputs probabilities and logits: float32 (N, 7).")


@app.command("tensorboard")
def write_tensorboard_log(
    checkpoint: RunEpoch,
    data: Data = None,
    label_order: Order = "auto",
    skip_bad_rows: SkipBadRows = False,
    split: Annotated[str, typer.Option(help="Whose features to show: train, validation or test.")] = "validation",
    out: Annotated[Path | None, typer.Option(help="A new folder; else tensorboard/RUN-epoch-NNN.")] = None,
    no_faces: Annotated[bool, typer.Option("--no-faces", help="Put no face into the log: it may be shared.")] = False,
    runs: RunsFolder = CHECKPOINTS,
) -> None:
    """Write a run as a TensorBoard log: graph, curves, confusion matrices, and the Projector's map of a split."""
    run, epoch = find_checkpoint(checkpoint, runs)
    epoch = run.load_checkpoint(epoch).epoch  # raises where there is none
    folder = out or Path("tensorboard") / f"{run.name}-epoch-{epoch:03d}"
    from fer_core.tensorboard_log import check_log_target, write_tensorboard

    check_log_target(folder)
    faces = run.split_as_in_training(load_faces(data, label_order, skip_bad_rows)).split(split)
    with progress("Writing") as show:
        log = write_tensorboard(run, epoch, faces, split, folder, not no_faces, show)
    told = "without the faces" if no_faces else "with the faces"
    typer.echo(
        f"Wrote {folder}: curves of {log.epochs} epochs, the graph, and the features of {log.faces:,} faces of "
        f"{data_title(faces)}, {split}, {told}."
    )
    typer.echo(f"See it with: tensorboard --logdir {folder}")
