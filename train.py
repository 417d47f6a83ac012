"""Train a recipe on your faces: python train.py report-resnet --data PATH

Flags -> TrainConfig -> fit(). The run lands in checkpoints/ and can be watched while it grows:
streamlit run dashboard/Home.py
"""

from __future__ import annotations

import math
import os
import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from tqdm import tqdm

from fer_core.config import TrainConfig, load_recipe, recipe_names, recipe_result
from fer_core.console import print_any_name, table
from fer_core.data import FaceDataset, LoadOptions, open_data, split_validation
from fer_core.data.curation import apply_curation
from fer_core.data.keys import face_keys
from fer_core.data.label_order import LabelOrder
from fer_core.data.leaks import seen_in_training
from fer_core.dynamics import read_dynamics
from fer_core.errors import ConfigError, FerError
from fer_core.evaluation import Share, evaluate
from fer_core.memory import keep_freed_memory
from fer_core.predictions import known_probabilities
from fer_core.runs import CHECKPOINTS, Run, create_run, find_checkpoint, find_run, free_name

if TYPE_CHECKING:  # torch is imported when the training begins, so that a wrong flag is refused at once
    from fer_core.training import Progress

DEFAULT_RECIPE = "report-resnet"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    recipe: Annotated[
        str | None, typer.Argument(help=f"A recipe's name (see --list) or a TOML file; else {DEFAULT_RECIPE}.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Faces as CSV, Parquet or folder; else $FER_DATA, data/, demo faces.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training faces.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order, augmentation and dropout.")] = None,
    name: Annotated[str | None, typer.Option(help="The run's name; by default the recipe's, numbered.")] = None,
    keep_epochs: Annotated[
        str | None, typer.Option(help='Checkpoints that stay: "all" or "every:K,best,last".')
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any value of the recipe: key=value. Repeatable.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    resume: Annotated[str | None, typer.Option(help="Go on with this run after its last whole epoch.")] = None,
    runs: Annotated[Path, typer.Option(help="Where runs are kept.")] = CHECKPOINTS,
    label_order: Annotated[LabelOrder, typer.Option(help="What labels that are mere numbers mean.")] = "auto",
    skip_bad_rows: Annotated[bool, typer.Option(help="Leave out rows that cannot be read, and list them.")] = False,
    exclude: Annotated[Path | None, typer.Option(help="CSV of faces to leave out, from the Data page.")] = None,
    relabel: Annotated[Path | None, typer.Option(help="CSV of faces to label anew, from the Data page.")] = None,
    show_recipes: Annotated[bool, typer.Option("--list", help="List the recipes, what they gave, and stop.")] = False,
) -> None:
    """Train a facial-expression classifier; its checkpoints and curves are kept as a run."""
    print_any_name()
    if show_recipes:
        typer.echo(table([recipe_row(name) for name in recipe_names()]))
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill ends like Ctrl-C: as "stopped"
    try:
        overrides = parse_settings(settings or []) | given(epochs=epochs, seed=seed, keep_epochs=keep_epochs)
        if resume and name:
            raise ConfigError("--resume goes on under the run's own name; leave out --name.")
        if resume and recipe:
            raise ConfigError(f"--resume goes on with the run's own recipe; leave out {recipe}.")
        run = find_run(resume, runs) if resume else None
        config = run.extended(overrides) if run else load_recipe(recipe or DEFAULT_RECIPE, overrides)
        faces = open_data(data, LoadOptions(label_order=label_order, skip_bad_rows=skip_bad_rows))
        curation = given(exclude=exclude, relabel=relabel) or (run.curation_files if run else {})
        faces, curated = apply_curation(faces, **curation)
        faces = split_validation(faces, config.validation_fraction, config.seed)
        run, stopped = train(config, faces, run, runs, name, device, curation, curated)
    except FerError as error:
        raise SystemExit(f"Error: {error}") from None
    except OSError as error:  # a full disk, a folder that may not be written
        raise SystemExit(f"Error: {error.filename or runs}: {error.strerror}.") from None
    if run is None:  # a process that follows another
        os._exit(0)  # a thread of Gloo's may still let go of what was sent last: in an ending interpreter that aborts
    for line in score_lines(run, faces):
        typer.echo(line)
    typer.echo(f"{run.name} {run.status().state}; it is in {run.path}.")
    typer.echo("Open it with: streamlit run dashboard/Home.py")
    if run.status().state == "stopped":
        where = given(
            data=data,
            runs=None if runs == CHECKPOINTS else runs,
            label_order=None if label_order == "auto" else label_order,
        )
        options = "".join(f" --{key.replace('_', '-')} {shlex.quote(str(value))}" for key, value in where.items())
        options += " --skip-bad-rows" if skip_bad_rows else ""
        typer.echo(f"Go on with: python train.py --resume {shlex.quote(resume or run.name)}{options}")
    if stopped:
        raise SystemExit(130)  # as a shell reports Ctrl-C, so that `train.py ... && next` ends here


def score_lines(run: Run, faces: FaceDataset) -> list[str]:
    """How the last epoch did, also without the faces that stand in training; nothing before it has been scored."""
    held_out, epochs = faces.split("validation").labelled(), run.epochs()
    said = known_probabilities(run, epochs[-1], held_out) if epochs and len(held_out) else None
    if said is None:
        return []
    seen = seen_in_training(faces.split("train").labelled().images, held_out.images)
    result = evaluate(
        said, held_out.emotions, run=run.name, epoch=epochs[-1], data=faces.name, split="validation", seen=seen
    )
    where = f"{faces.name}{' (rendered)' if faces.is_demo else ''}, validation"
    return [f"Accuracy after epoch {epochs[-1]} on {where}: {result.accuracy}.", result.leak_note]


def given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {key: value for key, value in options.items() if value is not None}


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """["lr=0.01", ...] as a dictionary of text. Raises ConfigError for one without "="."""
    for setting in settings:
        if "=" not in setting:
            raise ConfigError(f"--set {setting} has no '='; write it as key=value.")
    return {key.strip().replace("-", "_"): value.strip() for key, value in (text.split("=", 1) for text in settings)}


def train(
    config: TrainConfig,
    faces: FaceDataset,
    resumed: Run | None,
    runs: Path,
    name: str | None,
    device: str,
    curation: dict[str, Path],
    curated: dict[str, Any],
) -> tuple[Run | None, bool]:
    """fit() under a progress bar; Ctrl-C stops after the current step. Returns the run, None in a process that follows
    the leading one under torchrun, and whether Ctrl-C stopped it."""
    from fer_core.team import team_of_torchrun
    from fer_core.training import fit, run_info

    keep_freed_memory()
    with team_of_torchrun(device) as team:
        run = resumed
        if run is None and team.leads:
            info = run_info(config, faces, device) | ({"curation": curated} if curated else {})
            run = create_run(runs, name or free_name(runs, config.recipe), info)
            for what, file in curation.items():
                run.write_text(f"{what}.csv", file.read_text(encoding="utf-8-sig"))
        run = Run(Path(team.told(str(run.path) if run else "")))
        if not team.leads:
            fit(config, faces, run, device, resume=resumed is not None, team=team)
            return None, False
        for note in [*faces.summary.notes, *learned_before(config, faces)]:
            typer.echo(note, err=True)
        count = len(faces.split("train"))
        typer.echo(f"{run.name}: {faces.name}, {count:,} training faces. Watch it: streamlit run dashboard/Home.py")
        try:
            with Bar() as bar:
                fit(config, faces, run, device, report=bar.show, resume=resumed is not None, team=team)
        except KeyboardInterrupt:
            return run, True
    return run, False


def learned_before(config: TrainConfig, faces: FaceDataset) -> list[str]:
    """A line for each network that this one begins with, or learns from, and that learned from validation faces."""
    networks = [name for name in (config.start_from, *config.teachers.split()) if name]
    if not networks:
        return []
    held_out = face_keys(faces.split("validation").labelled().images)
    # Those that also stand in this run's own training are told at its end.
    fresh = held_out[~np.isin(held_out, face_keys(faces.split("train").labelled().images))]
    lines = []
    for name in networks:
        dynamics = read_dynamics(find_checkpoint(name)[0].path)
        if dynamics and (known := int(np.isin(fresh, dynamics.keys).sum())):
            lines.append(
                f"{name} has learned from {known:,} of the {len(held_out):,} validation faces, so they flatter what is "
                "trained now; give both runs the same --seed and validation_fraction."
            )
    return lines


def recipe_row(name: str) -> dict[str, str]:
    """A recipe as --list shows it."""
    config, measured = load_recipe(name), recipe_result(name)
    share = Share(measured["right"], measured["n"]) if measured else None
    return {
        "Recipe": name,
        "Model": config.model,
        "Epochs": str(config.epochs),
        "Accuracy (95 % interval)": str(share or "not measured"),
        "On": measured.get("on", ""),
        "Time": measured.get("time", ""),
        "Size": measured.get("size", ""),
    }


class Bar:
    """One tqdm bar an epoch: step, images/s, time left of the whole training, last accuracies."""

    def __init__(self) -> None:
        self.bar: tqdm[Any] | None = None
        self.epoch = 0

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def show(self, progress: Progress) -> None:
        if progress.epoch != self.epoch:
            if self.bar is not None:
                self.bar.close()
            layout = "{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} steps{postfix}"
            self.bar = tqdm(total=progress.steps, desc=f"Epoch {progress.epoch}/{progress.epochs}", bar_format=layout)
            self.epoch = progress.epoch
        assert self.bar is not None
        minutes, seconds = divmod(round(progress.eta_seconds), 60)
        validation = "not yet" if math.isnan(progress.validation_accuracy) else f"{progress.validation_accuracy:.1%}"
        self.bar.set_postfix_str(
            f"loss {progress.loss:.3f}, train {progress.accuracy:.1%}, validation {validation}, "
            f"{progress.images_per_second:,.0f} images/s, {minutes}:{seconds:02d} left",
            refresh=False,
        )
        self.bar.update(progress.step - self.bar.n)


if __name__ == "__main__":
    app()
