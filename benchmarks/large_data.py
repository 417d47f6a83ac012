"""One epoch on faces that are more than the memory given: from a memory-mapped file, batch by batch.

    python -m benchmarks.large_data [--faces 1000000] [--recipe fast] [--folder DIR]

Generates the faces (2,304 bytes each) as a file in --folder, trains one epoch on them in a process of its own and
prints how much memory that took at its peak: its own pages, and those of the mapped file, which the system takes back
whenever it needs them. To see it hold under a limit, have the system enforce one:

    systemd-run --scope -p MemoryMax=2G python -m benchmarks.large_data
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from fer_core.config import load_recipe
from fer_core.data import FaceDataset

MiB = 2**20
BLOCK = 20_000  # faces generated at once
VALIDATION = 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--folder", type=Path, help="where the file of faces goes for as long as this takes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "faces.bin"
        generate(path, arguments.faces + VALIDATION)
        print(
            f"{arguments.faces:,} faces, {path.stat().st_size / MiB:,.0f} MiB; {arguments.recipe}, one epoch",
            flush=True,
        )
        context = multiprocessing.get_context("spawn")
        child = context.Process(target=train, args=(path, arguments.faces, arguments.recipe, Path(folder)))
        child.start()
        child.join()
        if child.exitcode:
            raise SystemExit(f"The training ended with exit code {child.exitcode}.")


def generate(path: Path, n: int) -> None:
    """Faces of noise over the pattern of their emotion, row i of emotion i % 7."""
    rng = np.random.default_rng(0)
    patterns = np.kron(rng.uniform(90, 160, (7, 6, 6)), np.ones((8, 8))).astype(np.uint8)
    with path.open("wb") as file:
        for start in range(0, n, BLOCK):
            rows = np.arange(start, min(start + BLOCK, n))
            noise = rng.integers(0, 90, (len(rows), 48, 48), np.uint8)
            file.write((patterns[rows % 7] + noise).tobytes())


def train(path: Path, n: int, recipe: str, folder: Path) -> None:
    """One epoch, and what it took; meant for a process of its own."""
    from fer_core.memory import keep_freed_memory
    from fer_core.runs import create_run
    from fer_core.training import fit, run_info

    keep_freed_memory()  # as train.py does
    total = n + VALIDATION
    images = np.memmap(path, np.uint8, "r").reshape(total, 48, 48)
    splits = np.r_[np.zeros(n, np.int8), np.ones(VALIDATION, np.int8)]
    ids = np.char.add("face-", np.arange(total).astype(str))
    faces = FaceDataset(images, (np.arange(total) % 7).astype(np.int8), splits, ids, "Generated faces")
    config = replace(load_recipe(recipe), epochs=1)
    run = create_run(folder, "run", run_info(config, faces, "cpu"))
    peaks = dict.fromkeys(("RssAnon", "RssFile"), 0.0)
    done = threading.Event()
    watcher = threading.Thread(target=watch, args=(peaks, done))
    watcher.start()
    began = time.perf_counter()
    fit(config, faces, run, "cpu")
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    scores = run.metrics().query("split == 'validation'").iloc[-1]
    print(f"{seconds:,.0f} s, {n / seconds:,.0f} images/s; validation {scores['accuracy']:.1%} of {VALIDATION:,}")
    print(
        f"Peak of its own memory {peaks['RssAnon']:,.0f} MiB; of the file mapped in at once {peaks['RssFile']:,.0f} MiB"
    )


def watch(peaks: dict[str, float], done: threading.Event) -> None:
    """Keep the highest of each kind of memory, MiB, as Linux tells it."""
    while not done.wait(0.2):
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        for kind in peaks:
            peaks[kind] = max(peaks[kind], int(lines[kind].split()[0]) / 1024)


if __name__ == "__main__":
    main()
