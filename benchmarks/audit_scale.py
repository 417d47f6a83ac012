"""The audit's duplicate search on FER2013 and on a million generated faces, with its peak memory.

    python -m benchmarks.audit_scale [--data fer2013.parquet] [--faces 1000000] [--folder DIR]

--data is timed against the plain way (all pairs by correlation of the pixels of a sample, scaled to all pairs). The
generated faces are cut, shifted and lit anew from the rendered demo faces, so that no two are nearly the same but for
the planted ones: 1 % mirrored, shifted and noisy copies and 1 % exact ones. They lie in a file (2.3 GB for a million)
that is memory-mapped, as the cache's are. Memory is the peak resident size of a process that does nothing else, mapped
pages included.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from fer_core.data import FaceDataset, demo_faces, load_dataset
from fer_core.data.audit import audit

LIMIT = 4.0  # GiB
_BLOCK = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="FER2013 in any form")
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the generated faces are written for the time being")
    arguments = parser.parse_args()
    if arguments.data:
        time_data(arguments.data)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder, "faces.bin")
        planted = generate(path, arguments.faces)
        context = multiprocessing.get_context("spawn")  # a process of its own: its peak is that of the audit
        with context.Pool(1) as pool:
            seconds, gigabytes, exact, near = pool.apply(measure, (str(path), arguments.faces, planted))
    print(f"\n{arguments.faces:,} generated faces, {2 * len(planted):,} planted copies")
    print(f"  audit                {seconds:8.1f} s")
    print(f"  peak resident memory {gigabytes:8.2f} GiB (at most {LIMIT:g})")
    print(f"  planted exact copies found {exact:.1%}, near ones {near:.1%}")
    if gigabytes > LIMIT:
        raise SystemExit(f"The audit took more than {LIMIT:g} GiB.")


def time_data(path: Path) -> None:
    """Seconds of the whole audit, and of the plain comparison of all pairs, measured on a sample."""
    faces = load_dataset(path)
    audit(faces.subset(np.arange(100)))  # the first use of BLAS and FFT
    began = time.perf_counter()
    found = audit(faces)
    seconds = time.perf_counter() - began
    rows = np.random.default_rng(0).choice(len(faces), min(200, len(faces)), replace=False)
    sample = faces.images[rows].astype(np.float64)
    began = time.perf_counter()
    pairs = 0
    for i in range(len(sample)):
        for j in range(i):
            np.corrcoef(sample[i].ravel(), sample[j].ravel())
            pairs += 1
    plain = (time.perf_counter() - began) / pairs * len(faces) * (len(faces) - 1) / 2
    print(f"{faces.name}, {len(faces):,} faces: {len(found.exact):,} exact and {len(found.near):,} near groups")
    print(f"  audit                {seconds:8.1f} s")
    print(f"  np.corrcoef of all pairs (scaled from {pairs:,}; no shifts, no mirror images) {plain:,.0f} s")
    print(f"  faster by            {plain / seconds:8,.0f}x")


def generate(path: Path, n: int) -> np.ndarray:
    """Writes n faces; returns the rows whose exact copy, then whose near copy, stand at the end."""
    rng = np.random.default_rng(0)
    sources = demo_faces().images
    copies = rng.choice(n - 2 * (n // 100), n // 100, replace=False)
    fresh = n - 2 * len(copies)
    stored = np.memmap(path, np.uint8, "w+", shape=(n, 48, 48))
    for start in range(0, fresh, _BLOCK):
        block = stored[start : min(start + _BLOCK, fresh)]
        block[:] = varied(sources, len(block), rng)
    for start in range(0, len(copies), _BLOCK):
        rows = copies[start : start + _BLOCK]
        at, beyond = fresh + start, fresh + len(copies) + start
        stored[at : at + len(rows)] = stored[rows]
        noisy = np.roll(stored[rows, :, ::-1].astype(np.float32), 1, axis=2) + rng.normal(0, 3, (len(rows), 48, 48))
        stored[beyond : beyond + len(rows)] = noisy.clip(0, 255).astype(np.uint8)
    stored.flush()
    return copies


def varied(sources: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Mixtures of two faces under a light and a texture of their own: uint8 (n, 48, 48)."""
    one, other = sources[rng.integers(0, len(sources), (2, n))].astype(np.float32)
    coarse = rng.normal(0, 1, (n, 12, 12)).astype(np.float32)
    texture = np.repeat(np.repeat(coarse, 4, axis=1), 4, axis=2)
    share = rng.uniform(0.3, 0.7, (n, 1, 1)).astype(np.float32)
    return np.asarray((share * one + (1 - share) * other + 25 * texture).clip(0, 255), np.uint8)


def measure(path: str, n: int, planted: np.ndarray) -> tuple[float, float, float, float]:
    """Seconds and peak GiB of the audit, and the shares of the planted copies that it found."""
    images = np.memmap(path, np.uint8, "r", shape=(n, 48, 48))
    faces = FaceDataset(images, np.zeros(n, np.int8), np.zeros(n, np.int8), np.arange(n), "Generated")
    began = time.perf_counter()
    found = audit(faces)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    exact, near = n - 2 * len(planted), n - len(planted)
    exact_found = found.exact.of[planted] == found.exact.of[exact:near]
    near_found = (found.near.of[planted] >= 0) & (found.near.of[planted] == found.near.of[near:])
    return seconds, peak, float(exact_found.mean()), float(near_found.mean())


if __name__ == "__main__":
    main()
