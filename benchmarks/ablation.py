"""What each ingredient of a recipe gives: the same budget and the same seeds with one thing changed at a time.

    python -m benchmarks.ablation --data fer2013.parquet [--recipe fast] [--epochs 6] [--seeds 3] [--set key=value ...]
                                  [--soft-labels FILE] [--only NAME ...] [--device cuda] [--at-once N]

--soft-labels, a file of `python -m fer_core soften`, adds a network that learns from others. The row of the
schedule-free optimiser needs `pip install schedulefree`. Accuracies are those of the last epoch on the validation
split, without test-time augmentation where the row does not say so. Differences are taken seed by seed: their standard
deviation says how much of one is chance. Seconds are those of one training, its validation included, beside the others
that run at once: one small network leaves most of a GPU idle. Rows that change nothing of the recipe are left out.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_core import training
from fer_core.batches import Batches
from fer_core.config import TrainConfig, load_recipe, make_config
from fer_core.data import FaceDataset, load_dataset
from fer_core.inference import Predictor
from fer_core.learner import ALONE, Learner
from fer_core.provenance import describe_machine
from fer_core.runs import create_run
from fer_core.team import Team
from fer_core.training import fit, pick_device, run_info
from train import parse_settings


class GrowingFaces(Learner):
    """Progressive resizing: faces of 36x36 in the first half of the steps."""

    def initialise(self, batches: Batches) -> None:
        super().initialise(batches)
        self.small = self.config.epochs * batches.steps // 2

    def step(self, faces: Tensor, targets: Tensor, lr: float) -> tuple[Tensor, Tensor]:
        self.small -= 1
        if self.small >= 0:
            faces = F.interpolate(faces, (36, 36), mode="bilinear", antialias=True)
        return super().step(faces, targets, lr)


class SharpnessAware(Learner):
    """SAM (Foret et al. 2021): the gradient is taken where the loss is highest within `RADIUS`; two passes a step."""

    RADIUS = 0.05

    def step(self, faces: Tensor, targets: Tensor, lr: float) -> tuple[Tensor, Tensor]:
        weights: list[Tensor] = [weight for weight in self.model.parameters() if weight.requires_grad]
        upwards = torch.autograd.grad(F.cross_entropy(self.model(faces), targets), weights)
        length = torch.nn.utils.get_total_norm(upwards)
        climb = [slope * (self.RADIUS / (length + 1e-12)) for slope in upwards]
        before = [weight.detach().clone() for weight in weights]

        @torch.no_grad()
        def return_to_start(*_: object) -> None:
            torch._foreach_copy_(weights, before)

        with torch.no_grad():
            torch._foreach_add_(weights, climb)
        back = self.optimizer.register_step_pre_hook(return_to_start)
        try:
            return super().step(faces, targets, lr)
        finally:
            back.remove()


class ScheduleFree(Learner):
    """AdamW whose weights are averaged instead of its learning rate lowered (Defazio et al. 2024)."""

    WARMUP_STEPS, FACES_FOR_MEANS = 100, 8  # these are batches

    def __init__(self, config: TrainConfig, device: torch.device, team: Team = ALONE) -> None:
        from schedulefree import AdamWScheduleFree

        super().__init__(config, device, team)
        self.optimizer: Any = AdamWScheduleFree(
            self.model.parameters(), lr=config.lr, weight_decay=config.weight_decay, warmup_steps=self.WARMUP_STEPS
        )
        self.optimizer.train()
        self.recent: list[Tensor] = []

    def step(self, faces: Tensor, targets: Tensor, lr: float) -> tuple[Tensor, Tensor]:
        self.recent = [*self.recent[1 - self.FACES_FOR_MEANS :], faces]
        return super().step(faces, targets, lr)

    @torch.no_grad()
    def weights(self) -> dict[str, Tensor]:
        """The averaged weights, with the means and variances that batch norm finds under them."""
        before = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.optimizer.eval()
        norms = [module for module in self.model.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
        for faces in self.recent:
            self.model(faces)
        averaged = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.optimizer.train()
        self.model.load_state_dict(before)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        return averaged


@dataclass(frozen=True)
class Change:
    """What a row has other than the base: settings, a way to learn, or the views whose answers are averaged."""

    settings: dict[str, Any] = field(default_factory=dict)
    learner: type[Learner] = Learner
    tta: str = "none"


CHANGES: dict[str, Change] = {
    "mirror image at test time": Change(tta="flip"),
    "10 crops at test time": Change(tta="crops"),
    "10 crops at 5 zooms at test time": Change(tta="zooms"),
    "SGD with Nesterov momentum, lr 0.2": Change({"optimizer": "sgd", "lr": 0.2, "weight_decay": 5e-4}),
    "AdamW, lr 0.003": Change({"optimizer": "adamw", "lr": 3e-3, "weight_decay": 0.05}),
    "schedule-free AdamW, lr 0.01": Change(
        {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.05, "schedule": "constant", "warmup": 0.0, "average": 0.0},
        ScheduleFree,
    ),
    "sharpness-aware minimisation, two passes a step": Change(learner=SharpnessAware),
    "cosine to zero": Change({"schedule": "cosine"}),
    "last weights, not averaged": Change({"average": 0.0}),
    "no label smoothing": Change({"label_smoothing": 0.0}),
    "no mirror images": Change({"flip": False}),
    "no shift": Change({"crop": 0.0}),
    "shift by fractions of a pixel": Change({"rotation": 1e-6}),  # any turn interpolates
    "rotation 12, zoom 0.15": Change({"rotation": 12.0, "zoom": 0.15}),
    "brightness and contrast 0.3": Change({"brightness": 0.3, "contrast": 0.3}),
    "random erasing, 0.3 of the faces": Change({"erase": 0.3}),
    "mixup, 0.3 of the batches": Change({"mixup": 0.3}),
    "cutmix, 0.3 of the batches": Change({"cutmix": 0.3}),
    "progressive resizing, 36 pixels for half the steps": Change(learner=GrowingFaces),
    "no duplicates and conflicting labels": Change({"drop_duplicates": True}),
    "squeeze-and-excitation": Change({"model_args.squeeze": 8}),
    "twice as deep": Change({"model_args.depths": [2, 2, 2]}),
    "neither rotation nor zoom": Change({"rotation": 0.0, "zoom": 0.0}),
    "half of the faces neither turned nor zoomed": Change({"sharp": 0.5}),
    "brightness and contrast as they are": Change({"brightness": 0.0, "contrast": 0.0}),
    "no random erasing": Change({"erase": 0.0}),
    "no mixup": Change({"mixup": 0.0}),
    "no cutmix": Change({"cutmix": 0.0}),
    "neither mixup nor cutmix": Change({"mixup": 0.0, "cutmix": 0.0}),
    "all faces, whatever their duplicates say": Change({"drop_duplicates": False}),
    "no squeeze-and-excitation": Change({"model_args.squeeze": 0}),
    "half as deep": Change({"model_args.depths": [1, 1, 1]}),
    "full resolution": Change({"model_args.stride": 1}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--soft-labels", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="those whose name holds one of these")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="trainings side by side")
    options = parser.parse_args()
    faces = load_dataset(options.data)
    base = load_recipe(options.recipe, parse_settings(options.settings) | {"epochs": options.epochs})

    machine = describe_machine(pick_device(options.device))
    n = len(faces.split("validation").labelled())
    print(f"{machine['device']}, {machine['threads']} threads, PyTorch {machine['torch']}; {faces.name}, n = {n:,}")
    print(f"{options.recipe} {' '.join(options.settings)}, {options.epochs} epochs, seeds 0 to {options.seeds - 1}\n")
    print("| changed | accuracy | points more | standard deviation | seconds |\n| --- | ---: | ---: | ---: | ---: |")
    changes = {"nothing": Change()} | chosen(options, base)
    views = [change.tta for change in changes.values()]
    context = get_context("spawn")  # CUDA does not survive a fork
    with ProcessPoolExecutor(options.at_once, context, initializer=_read, initargs=(options.data,)) as pool:

        def begin(name: str, change: Change) -> list[Future[dict[str, float]]]:
            config = make_config(base.to_dict(), change.settings)
            asked = views if name == "nothing" else ()
            seeds = range(options.seeds)
            return [
                pool.submit(accuracies, replace(config, seed=seed), options.device, change.learner, asked)
                for seed in seeds
            ]

        trainings = {name: begin(name, change) for name, change in changes.items() if change.tta == "none"}
        for name, change in changes.items():
            found = [training.result() for training in trainings.get(name, trainings["nothing"])]
            expected = [training.result()["none"] for training in trainings["nothing"]]
            points = [100 * (one[change.tta] - other) for one, other in zip(found, expected, strict=True)]
            more = f"{mean(points):+.2f}" if name != "nothing" else ""
            spread = f"{stdev(points):.2f}" if more and len(points) > 1 else ""
            seconds = f"{mean(one['seconds'] for one in found):.0f}" if name in trainings else ""
            accuracy = f"{mean(one[change.tta] for one in found):.2%}"
            print(f"| {name} | {accuracy} | {more} | {spread} | {seconds} |", flush=True)


def chosen(options: argparse.Namespace, base: TrainConfig) -> dict[str, Change]:
    """The rows that are asked for and can be had, and that change something."""
    twice = [2 * width for width in base.model_args["widths"]]
    changes = {**CHANGES, "twice as wide": Change({"model_args.widths": twice})}
    is_turned = base.rotation or base.zoom
    del changes["shift by fractions of a pixel" if is_turned else "half of the faces neither turned nor zoomed"]
    if not base.model_args.get("squeeze"):
        del changes["no squeeze-and-excitation"]
    if options.soft_labels:
        changes["0.7 of the target from other networks"] = Change({"soft_labels": str(options.soft_labels)})
    if options.only:
        changes = {name: change for name, change in changes.items() if any(word in name for word in options.only)}
    if find_spec("schedulefree") is None:
        changes = {name: change for name, change in changes.items() if change.learner is not ScheduleFree}

    def changes_something(change: Change) -> bool:
        return replace(change, settings={}) != Change() or make_config(base.to_dict(), change.settings) != base

    return {name: change for name, change in changes.items() if changes_something(change)}


_faces: FaceDataset  # of this process


def _read(path: Path) -> None:
    global _faces
    _faces = load_dataset(path)


def accuracies(
    config: TrainConfig, device: str, learner: type[Learner] = Learner, views: Sequence[str] = ()
) -> dict[str, float]:
    """Train in a folder that goes away again; the last epoch's accuracy on the validation split, 0..1, by the key of
    `TTA`: "none" and those in `views`; and the seconds that the training took."""
    faces = _faces
    began = time.perf_counter()
    validation = faces.split("validation").labelled()
    with tempfile.TemporaryDirectory() as folder, patch.object(training, "Learner", learner):
        run = create_run(Path(folder), "run", run_info(config, faces, device))
        fit(config, faces, run, device)
        found = {"seconds": time.perf_counter() - began}
        found["none"] = float(run.metrics().query("split == 'validation'").iloc[-1]["accuracy"])
        for tta in set(views) - {"none"}:
            emotions = Predictor.load(run, config.epochs, device).predict(validation.images, tta=tta).emotions
            found[tta] = float((emotions == validation.emotions).mean())
        return found


if __name__ == "__main__":
    main()
