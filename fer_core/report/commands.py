"""The commands that reproduce a run and its report, as a person would type them."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, fields
from pathlib import Path

from fer_core.config import TrainConfig, load_recipe
from fer_core.errors import ConfigError
from fer_core.runs import Run

DEMO_PATH = "fer_core/data/demo/demo_faces.parquet"


@dataclass(frozen=True)
class Commands:
    """The commands for one checkpoint.

    data     the file or folder by its name alone: where it lies on this machine is nobody's business
    options  of reading it, as typed: "--label-order alphabetical" (`data_options`)
    """

    run: Run
    epoch: int
    split: str
    data: str
    options: str = ""

    def report(self, part: str = "", language: str = "en", show_faces: bool = True) -> str:
        """The whole report, or one part of it alone."""
        only, out = (f" --only {part}", f"{part}.html") if part else ("", "report.html")
        spoken, hidden = "" if language == "en" else f" --lang {language}", "" if show_faces else " --no-faces"
        return f"{self._on('report')}{only}{spoken}{hidden} --out {out}"

    def evaluate(self, tta: str = "none") -> str:
        return self._on("evaluate") + (f" --tta {tta}" if tta != "none" else "")

    def calibrate(self) -> str:
        return f"python -m fer_core calibrate {shlex.quote(f'{self.run.name}:{self.epoch}')} {self._data()}"

    def show_data(self) -> str:
        return f"python -m fer_core data {shlex.quote(self.data)}{self._options()}"

    def train(self, own_data: bool = True) -> str:
        """`train.py` with all that the run's config changes of its recipe.

        own_data: was the run trained on `data`? Else PATH stands for what it was trained on, which is not at hand.
        """
        config = self.run.config
        try:
            recipe, base = config.recipe, load_recipe(config.recipe)
        except ConfigError:
            recipe, base = f"{config.recipe}.toml", config
        own = {"epochs": "--epochs", "seed": "--seed", "keep_epochs": "--keep-epochs"}
        changed = [f.name for f in fields(TrainConfig) if getattr(config, f.name) != getattr(base, f.name)]
        parts = [
            f"{own[name]} {shlex.quote(str(getattr(config, name)))}"
            if name in own
            else f"--set {shlex.quote(f'{name}={_toml(getattr(config, name))}')}"
            for name in dict.fromkeys([*changed, "seed"])
            if name != "model_args"
        ]
        if "model_args" in changed:
            parts += [
                f"--set {shlex.quote(f'model_args.{key}={_toml(value)}')}" for key, value in config.model_args.items()
            ]
        curation = self.run.info.get("curation", {})
        parts += [f"--{what} {shlex.quote(file['file'])}" for what, file in curation.items()]
        data = self._data() if own_data else "--data PATH"
        return " ".join([f"python train.py {shlex.quote(recipe)}", data, *parts])

    def _on(self, command: str) -> str:
        checkpoint = shlex.quote(f"{self.run.name}:{self.epoch}")
        return f"python -m fer_core {command} {checkpoint} {self._data()} --split {self.split}"

    def _data(self) -> str:
        return f"--data {shlex.quote(self.data)}{self._options()}"

    def _options(self) -> str:
        return f" {self.options}" if self.options else ""


def data_name(path: Path | None) -> str:
    """What a command calls the data at `path`, where `None` stands for the demo faces."""
    return DEMO_PATH if path is None else path.resolve().name


def data_options(label_order: str, skip_bad_rows: bool) -> str:
    """The options of reading faces that are not the usual ones, as typed."""
    order = [f"--label-order {label_order}"] if label_order != "auto" else []
    return " ".join([*order, *["--skip-bad-rows"] * skip_bad_rows])


def _toml(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
