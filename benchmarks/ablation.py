"""What each ingredient of a recipe gives: the same budget and the same seeds with one thing changed at a time.

    python -m benchmarks.ablation --data fer2013.parquet [--recipe fast] [--epochs 6] [--seeds 3] [--set key=value ...]
                                  [--soft-labels FILE] [--only NAME ...]

--soft-labels, a file of `python -m fer_core soften`, adds a network that learns from others. Accuracies are those of
the last epoch on the validation split, without test-time augmentation. Differences are taken seed by seed: their
standard deviation says how much of one is chance.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from fer_core.config import TrainConfig, load_recipe, make_config
from fer_core.data import FaceDataset, load_dataset
from fer_core.provenance import describe_machine
from fer_core.runs import create_run
from fer_core.training import fit, pick_device, run_info
from train import parse_settings

CHANGES: dict[str, dict[str, Any]] = {
    "SGD with Nesterov momentum, lr 0.2, instead of Muon": {"optimizer": "sgd", "lr": 0.2, "weight_decay": 5e-4},
    "AdamW, lr 0.003, instead of Muon": {"optimizer": "adamw", "lr": 3e-3, "weight_decay": 0.05},
    "cosine to zero instead of linear": {"schedule": "cosine"},
    "last weights instead of averaged ones": {"average": 0.0},
    "no label smoothing": {"label_smoothing": 0.0},
    "no mirror images": {"flip": False},
    "no shift": {"crop": 0.0},
    "rotation 12, zoom 0.15": {"rotation": 12.0, "zoom": 0.15},
    "brightness and contrast 0.3": {"brightness": 0.3, "contrast": 0.3},
    "random erasing, 0.3 of the faces": {"erase": 0.3},
    "mixup, 0.3 of the batches": {"mixup": 0.3},
    "cutmix, 0.3 of the batches": {"cutmix": 0.3},
    "no duplicates and conflicting labels": {"drop_duplicates": True},
    "squeeze-and-excitation": {"model_args.squeeze": 8},
    "twice as deep": {"model_args.depths": [2, 2, 2]},
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
    options = parser.parse_args()
    faces = load_dataset(options.data)
    base = load_recipe(options.recipe, parse_settings(options.settings) | {"epochs": options.epochs})
    changes = dict(CHANGES)
    if options.soft_labels:
        changes["0.7 of the target from other networks"] = {"soft_labels": str(options.soft_labels)}
    if options.only:
        changes = {name: change for name, change in changes.items() if any(word in name for word in options.only)}

    machine = describe_machine(pick_device(options.device))
    n = len(faces.split("validation").labelled())
    print(f"{machine['device']}, {machine['threads']} threads, PyTorch {machine['torch']}; {faces.name}, n = {n:,}")
    print(f"{options.recipe} {' '.join(options.settings)}, {options.epochs} epochs, seeds 0 to {options.seeds - 1}\n")
    print("| changed | accuracy | points more | standard deviation |\n| --- | ---: | ---: | ---: |", flush=True)
    expected = [accuracy(replace(base, seed=seed), faces, options.device) for seed in range(options.seeds)]
    print(f"| nothing | {mean(expected):.2%} | | |", flush=True)
    for name, change in changes.items():
        config = make_config(base.to_dict(), change)
        found = [accuracy(replace(config, seed=seed), faces, options.device) for seed in range(options.seeds)]
        points = [100 * (one - other) for one, other in zip(found, expected, strict=True)]
        spread = f"{stdev(points):.2f}" if len(points) > 1 else ""
        print(f"| {name} | {mean(found):.2%} | {mean(points):+.2f} | {spread} |", flush=True)


def accuracy(config: TrainConfig, faces: FaceDataset, device: str) -> float:
    """Train in a folder that goes away again; the last epoch's accuracy on the validation split, 0..1."""
    with tempfile.TemporaryDirectory() as folder:
        run = create_run(Path(folder), "run", run_info(config, faces, device))
        fit(config, faces, run, device)
        return float(run.metrics().query("split == 'validation'").iloc[-1]["accuracy"])


if __name__ == "__main__":
    main()
