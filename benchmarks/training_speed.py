"""Training speed of a recipe in images/s, beside the plain way with the same network, optimiser and augmentation.

    python -m benchmarks.training_speed [--data fer2013.parquet] [--recipe report-resnet]

The plain way: a Dataset of PIL images, torchvision transforms on each, a DataLoader with 0 and with 2 workers, float32.
All ways train on the same faces (random ones without --data) in turn, --rounds times; the medians are compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.open_data import random_faces
from fer_core.batches import Batches
from fer_core.config import TrainConfig, load_recipe
from fer_core.data import FaceDataset, load_dataset
from fer_core.learner import Learner, make_optimizer
from fer_core.memory import keep_freed_memory
from fer_core.models import create_model
from fer_core.precision import has_fast_bf16
from fer_core.preprocess import Preprocess
from fer_core.provenance import describe_machine

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="FER2013 in any form; random faces without it")
    parser.add_argument("--recipe", default="report-resnet")
    parser.add_argument("--faces", type=int, default=5120, help="faces a round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    keep_freed_memory()  # for all ways, as train.py does
    config = load_recipe(arguments.recipe)
    faces = load_dataset(arguments.data).split("train") if arguments.data else random_faces(arguments.faces)
    faces = faces.subset(np.arange(arguments.faces))
    ways = {
        f"fer_core ({'bf16' if has_fast_bf16(CPU) else 'fp32'}, as the recipe says)": ours(config, faces),
        "fer_core (fp32)": ours(replace(config, precision="fp32"), faces),
        "DataLoader, transforms, 0 workers": plain(config, faces, workers=0),
        "DataLoader, transforms, 2 workers": plain(config, faces, workers=2),
    }
    speeds = in_turn(ways, len(faces), arguments.rounds)
    best_plain = max(speed for name, speed in speeds.items() if name.startswith("DataLoader"))
    machine = describe_machine(CPU)
    print(f"{machine['device']}, {machine['threads']} threads, PyTorch {machine['torch']}")
    print(f"{arguments.recipe}, batches of {config.batch_size}; median of {arguments.rounds} x {len(faces):,} faces\n")
    print(f"{'way':40}{'images/s':>10}{'of the best plain way':>24}")
    for name, speed in speeds.items():
        print(f"{name:40}{speed:10,.0f}{speed / best_plain:23.2f}x")


def in_turn(ways: dict[str, Callable[[], None]], n: int, rounds: int) -> dict[str, float]:
    """Images/s of each way: all once to warm up, then one after the other, so that other load meets all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return {name: n / median(values) for name, values in seconds.items()}


def ours(config: TrainConfig, faces: FaceDataset) -> Callable[[], None]:
    """An epoch as `fer_core.training.fit` does it."""
    learner, batches = Learner(config, CPU), Batches(config, faces, CPU)

    def epoch() -> None:
        for batch in batches.of_epoch(1):
            learner.step(batch.faces, batch.targets, config.lr)

    return epoch


class Faces(Dataset[tuple[Tensor, int]]):
    """As tutorials do it: one image at a time."""

    def __init__(self, config: TrainConfig, faces: FaceDataset) -> None:
        self.faces = faces
        usual = Preprocess()
        self.transform = transforms.Compose(
            [
                transforms.RandomRotation(config.rotation),
                transforms.RandomCrop(48, padding=int(config.crop)),
                transforms.ToTensor(),
                transforms.Normalize([usual.mean], [usual.std]),
            ]
        )

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.faces.images[row])), int(self.faces.emotions[row])


def plain(config: TrainConfig, faces: FaceDataset, workers: int) -> Callable[[], None]:
    """An epoch of the usual loop; the workers stay alive between epochs."""
    model = create_model(config.model, config.model_args).train()
    optimizer = make_optimizer(config, model)
    loader: Iterable[tuple[Tensor, Tensor]] = DataLoader(
        Faces(config, faces), config.batch_size, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )

    def epoch() -> None:
        for images, emotions in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), emotions)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss.item()

    return epoch


if __name__ == "__main__":
    main()
