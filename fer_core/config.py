"""`TrainConfig`: every choice of a training as plain values, read from a recipe and overridden one by one."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from fer_core.errors import ConfigError

RECIPES = Path(__file__).parent / "recipes"
DEFAULT_KEEP = "every:10,best,last"


@dataclass(frozen=True)
class TrainConfig:
    """All that decides the weights, beside the data. Raises ConfigError naming the field that is out of range."""

    recipe: str = "custom"
    """Name of the recipe that these values started from."""
    model: str = "EmotionResNet"
    """A key of `fer_core.models.MODELS`."""
    model_args: dict[str, Any] = field(default_factory=dict)
    """Arguments of the model, e.g. widths or dropout."""
    start_from: str = ""
    """Checkpoint whose weights the training begins with, RUN:EPOCH (a path where the run is not in checkpoints/)."""
    epochs: int = 100
    """Passes over the training faces."""
    batch_size: int = 256
    """Faces a step."""
    optimizer: str = "adam"
    """adam, adamw, sgd (with Nesterov momentum) or muon."""
    lr: float = 1e-3
    """Learning rate at the start."""
    weight_decay: float = 0.0
    """L2 penalty (decoupled for adamw and muon)."""
    momentum: float = 0.9
    """Of sgd and muon."""
    schedule: str = "constant"
    """constant, step (times `gamma` every `step_size` epochs), or to zero step by step: cosine or linear."""
    warmup: float = 0.0
    """Share of the training in which the learning rate rises from next to nothing."""
    step_size: int = 25
    """Epochs between two drops of the step schedule."""
    gamma: float = 0.1
    """Factor of each drop of the step schedule."""
    label_smoothing: float = 0.0
    """Share of the target spread evenly over all seven emotions."""
    average: float = 0.0
    """Weights scored and saved are a moving average over the steps, with this decay a step; 0: the last ones."""
    soft_labels: str = ""
    """A file of `python -m fer_core soften`: learn what other networks say of the faces (Hinton et al. 2015)."""
    teachers: str = ""
    """Checkpoints, RUN:EPOCH and spaces between: learn what they say of each face as it is shown, augmented and mixed
    (Beyer et al. 2022). It takes their arithmetic too; `soft_labels` are asked once."""
    soft_weight: float = 0.7
    """Share of soft labels or of the teachers' answers in the target; the rest is the label."""
    drop_duplicates: bool = False
    """Train on each face once, and on none with conflicting labels or of a single gray level."""
    rotation: float = 0.0
    """Largest random rotation, degrees."""
    crop: float = 0.0
    """Largest random shift on each axis, pixels."""
    flip: bool = False
    """Mirror half of the faces."""
    zoom: float = 0.0
    """Larger or smaller by a factor of up to 1 + zoom."""
    sharp: float = 0.0
    """Share of the faces that rotation and zoom leave alone, and with them the blur of interpolation."""
    brightness: float = 0.0
    """Largest change of all gray levels, in standard deviations."""
    contrast: float = 0.0
    """Largest change of the contrast, as a share."""
    erase: float = 0.0
    """Share of the faces that lose a random rectangle."""
    mixup: float = 0.0
    """Share of the batches whose faces are blended in pairs."""
    cutmix: float = 0.0
    """Share of the batches whose faces get a square of another."""
    equalize: bool = False
    """Histogram equalisation of each face."""
    seed: int = 0
    """Of the initial weights, the order of faces, augmentation and dropout."""
    validation_fraction: float = 0.2
    """Share of the training faces held out where the data has no validation split."""
    precision: str = "auto"
    """auto, bf16 (autocast) or fp32; auto takes bf16 where the processor computes in it."""
    keep_epochs: str = DEFAULT_KEEP
    """Which checkpoints stay: "all", or any of "every:K" (the first and each K-th epoch), "best" and "last"."""

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} = {getattr(self, name)!r} is not one of {', '.join(allowed)}.")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} = {value} is outside {low:g} to {high:g}.")
        if self.lr <= 0:
            raise ConfigError(f"lr = {self.lr} must be greater than 0.")
        if self.mixup + self.cutmix > 1:
            raise ConfigError(f"mixup + cutmix = {self.mixup + self.cutmix:g} is more than all batches; at most 1.")
        if self.teachers and self.soft_labels:
            raise ConfigError("Both teachers and soft_labels are given; learn from one of them.")
        parse_keep(self.keep_epochs)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


_CHOICES = {
    "optimizer": ("adam", "adamw", "sgd", "muon"),
    "schedule": ("constant", "step", "cosine", "linear"),
    "precision": ("auto", "bf16", "fp32"),
}
_RANGES: dict[str, tuple[float, float]] = {
    "epochs": (1, 10_000),
    "batch_size": (1, 65_536),
    "lr": (0, 100),
    "weight_decay": (0, 10),
    "momentum": (0, 1),
    "step_size": (1, 10_000),
    "gamma": (0, 1),
    "warmup": (0, 1),
    "label_smoothing": (0, 1),
    "average": (0, 0.99999),
    "soft_weight": (0, 1),
    "rotation": (0, 180),
    "crop": (0, 24),
    "zoom": (0, 1),
    "sharp": (0, 1),
    "brightness": (0, 4),
    "contrast": (0, 1),
    "erase": (0, 1),
    "mixup": (0, 1),
    "cutmix": (0, 1),
    "seed": (0, 2**31 - 1),
    "validation_fraction": (0.01, 0.9),
}


def recipe_names() -> list[str]:
    """The recipes that ship, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def recipe_result(name: str) -> dict[str, Any]:
    """What a recipe that ships gave when it was measured: right of n faces, on, time, size; empty before that."""
    measured = tomllib.loads((RECIPES / f"{name}.toml").read_text(encoding="utf-8")).get("measured", {})
    return dict(measured)


def load_recipe(name: str, overrides: dict[str, Any] | None = None) -> TrainConfig:
    """A recipe by name, or a TOML file by its path, with `overrides` (values, or text as typed) laid over it.

    Raises ConfigError naming an unknown recipe, key or value.
    """
    path = RECIPES / f"{name}.toml" if name in recipe_names() else Path(name)
    if path.suffix != ".toml" or not path.is_file():
        raise ConfigError(
            f"There is no recipe '{name}'; the recipes are {', '.join(recipe_names())}, or name a .toml file."
        )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error
    values.pop("measured", None)
    return make_config({"recipe": path.stem, **values}, overrides)


def make_config(values: dict[str, Any], overrides: dict[str, Any] | None = None) -> TrainConfig:
    """A TrainConfig from plain values; `overrides` may hold text. `model_args` are merged key by key."""
    merged = dict(values)
    for key, value in (overrides or {}).items():
        if key.startswith("model_args."):
            arguments = _convert("model_args", merged.get("model_args", {}))
            merged["model_args"] = {**arguments, key.removeprefix("model_args."): _parse(value)}
        else:
            merged[key] = value
    return TrainConfig(**{key: _convert(key, value) for key, value in merged.items()})


def parse_keep(text: str) -> tuple[int, bool, bool]:
    """`keep_epochs` as (every, best, last); every is 0 for "not by count" and 1 for "all"."""
    every, best, last = 0, False, False
    for part in (part.strip() for part in text.split(",")):
        kind, _, count = part.partition(":")
        if kind == "every" and count.isdigit() and int(count) > 0:
            every = int(count)
        elif part == "all":
            every = 1
        elif part in ("best", "last"):
            best, last = best or part == "best", last or part == "last"
        else:
            raise ConfigError(f"keep_epochs = '{text}': '{part}' is not one of all, every:K, best, last.")
    return every, best, last


def _parse(value: Any) -> Any:
    """Text as a TOML value where it is one ("0.1", "[8, 16]", "true"), else as it stands."""
    if not isinstance(value, str):
        return value
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _convert(key: str, value: Any) -> Any:
    """`value` in the type of the field `key`; refuses an unknown key and a value of another type by name."""
    kinds = {f.name: f.type for f in fields(TrainConfig)}
    if key not in kinds:
        close = difflib.get_close_matches(key, kinds, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else f" The settings are {', '.join(kinds)}."
        raise ConfigError(f"There is no setting '{key}'.{hint}")
    kind = str(kinds[key])
    if kind == "str":
        return str(value)
    value = _parse(value)
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    wanted = {"int": int, "float": float, "bool": bool}.get(kind, dict)
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise ConfigError(f"{key} = {value!r} must be {_ARTICLES.get(kind, 'a table')}.")
    return value


_ARTICLES = {"int": "a whole number", "float": "a number", "bool": "true or false"}
