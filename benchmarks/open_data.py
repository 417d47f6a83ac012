"""How long FER2013's train.csv (240 MB of digits) takes to open: the first time, from then on, and the plain way.

    python -m benchmarks.open_data [--data fer2013.parquet]

The CSV is written to a temporary folder from the training faces of --data, or from as many random faces. Each time is
the median over --repeats; the file was just written, so the disk plays no part. That all ways give the same faces is
checked.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch

from fer_core.data import FaceDataset, load_dataset
from fer_core.provenance import describe_machine

FER2013_TRAIN = 28_709


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="FER2013 in any form; random faces without it")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FER_CACHE"] = f"{folder}/cache"
        faces = load_dataset(arguments.data).split("train") if arguments.data else random_faces(FER2013_TRAIN)
        csv = Path(folder, "train.csv")
        write_csv(csv, faces)
        ways: dict[str, Callable[[int], FaceDataset]] = {
            "pandas.read_csv, split per row": lambda _: plain(csv),
            "load_dataset, first time": lambda number: first_time(csv, f"{folder}/cache-{number}"),
            "load_dataset, from then on": lambda _: load_dataset(csv),
        }
        print(machine_line())
        print(f"train.csv: {len(faces):,} faces, {csv.stat().st_size / 1e6:.0f} MB; median of {arguments.repeats}\n")
        print(f"{'way':32}{'seconds':>9}{'faster by':>11}")
        reference = 0.0
        for name, way in ways.items():
            seconds = median(measure(way, number, faces) for number in range(arguments.repeats))
            reference = reference or seconds
            print(f"{name:32}{seconds:9.3f}{reference / seconds:10.1f}x")


def measure(way: Callable[[int], FaceDataset], number: int, expected: FaceDataset) -> float:
    """Seconds of one opening, which must give the faces that were written."""
    began = time.perf_counter()
    opened = way(number)
    seconds = time.perf_counter() - began
    if not (np.array_equal(opened.images, expected.images) and np.array_equal(opened.emotions, expected.emotions)):
        raise SystemExit("The faces read are not those that were written.")
    return seconds


def plain(csv: Path) -> FaceDataset:
    """As tutorials do it."""
    table = pd.read_csv(csv)
    images = np.stack([np.array(text.split(), dtype=np.uint8).reshape(48, 48) for text in table["pixels"]])
    n = len(images)
    return FaceDataset(
        images, table["emotion"].to_numpy(np.int8), np.zeros(n, np.int8), np.arange(n).astype(str), "plain"
    )


def first_time(csv: Path, cache: str) -> FaceDataset:
    """Opened with an empty cache, which is filled on the way."""
    os.environ["FER_CACHE"] = cache
    return load_dataset(csv)


def write_csv(path: Path, faces: FaceDataset) -> None:
    """Kaggle's form: emotion,pixels."""
    with path.open("w") as stream:
        stream.write("emotion,pixels\n")
        for image, emotion in zip(faces.images, faces.emotions, strict=True):
            stream.write(f"{emotion},{' '.join(map(str, image.ravel().tolist()))}\n")


def random_faces(n: int) -> FaceDataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 48, 48), np.uint8)
    emotions = rng.integers(0, 7, n).astype(np.int8)
    return FaceDataset(images, emotions, np.zeros(n, np.int8), np.arange(n).astype(str), "Random faces")


def machine_line() -> str:
    machine = describe_machine(torch.device("cpu"))
    return f"{machine['device']}, {machine['cores']} cores, Python {machine['python']}, NumPy {machine['numpy']}"


if __name__ == "__main__":
    main()
