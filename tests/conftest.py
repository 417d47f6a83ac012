"""Fixtures that all tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Batches this small gain nothing from several threads, lose much where other processes want the cores, and round
# otherwise. The second is UMAP's: its OpenMP sets the number for the whole process.
os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}

from fer_core.config import TrainConfig, make_config
from fer_core.data import FaceDataset
from fer_core.runs import Run, create_run

ROOT = Path(__file__).parent.parent
PATIENCE = 300.0  # s: beside other work PyTorch alone takes a minute to be imported; nothing here is a measurement
TINY = {
    "model": "EmotionResNet",
    "model_args": {"widths": [4, 8]},
    "epochs": 3,
    "batch_size": 32,
    "lr": 3e-3,
    "rotation": 10.0,
    "crop": 4.0,
    "keep_epochs": "all",
}


@pytest.fixture(scope="session")
def fer2013_path() -> Path:
    """The real FER2013 as Parquet, beside the repository where a developer has it."""
    path = ROOT.parent / "shared" / "data" / "fer2013.parquet"
    if not path.exists():
        pytest.skip("FER2013 is not beside the repository (../shared/data/fer2013.parquet)")
    return path


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test and no fixture reads or fills the user's own cache; all share one, so FER2013 is decoded once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(scope="session")
def faces() -> FaceDataset:
    """126 "faces" that a small network learns at once: each emotion is a pattern of blocks of its own, under noise.

    Of each emotion 12 are training, 4 validation, and 2 test faces, these without a label.
    """
    rng = np.random.default_rng(0)
    emotions = np.tile(np.arange(7, dtype=np.int8), 18)
    splits = np.repeat(np.array([0, 1, 2], np.int8), [84, 28, 14])
    patterns = np.kron(rng.uniform(40, 216, (7, 6, 6)), np.ones((8, 8)))
    images = (patterns[emotions] + rng.normal(0, 25, (126, 48, 48))).clip(0, 255).astype(np.uint8)
    emotions[splits == 2] = -1
    ids = np.array([f"face-{i:03d}" for i in range(126)])
    return FaceDataset(images, emotions, splits, ids, "Patterns")


@pytest.fixture(scope="session")
def tiny() -> Callable[..., TrainConfig]:
    """Settings for a training of well under a second; some of them other than usual."""
    return lambda **changes: make_config({**TINY, **changes})


@pytest.fixture
def new_run(tmp_path: Path, faces: FaceDataset) -> Callable[..., Run]:
    """A run that is about to be trained with a config on `faces`."""
    from fer_core.training import run_info

    def create(config: TrainConfig, name: str = "run", dataset: FaceDataset = faces) -> Run:
        return create_run(tmp_path / "runs", name, run_info(config, dataset, "cpu"))

    return create


@pytest.fixture
def train(new_run: Any, faces: FaceDataset) -> Callable[..., Run]:
    """Trains a config on `faces` to the end."""
    from fer_core.training import fit

    def run_of(config: TrainConfig, name: str = "run") -> Run:
        run: Run = new_run(config, name)
        fit(config, faces, run, "cpu")
        return run

    return run_of


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, faces: FaceDataset, tiny: Any) -> Run:
    """A run of three epochs, all kept; only to be read."""
    from fer_core.training import fit, run_info

    run = create_run(tmp_path_factory.mktemp("finished"), "run", run_info(tiny(), faces, "cpu"))
    fit(tiny(), faces, run, "cpu")
    return run


@pytest.fixture
def copied(finished: Run, tmp_path: Path) -> Run:
    """The same, to be damaged."""
    return Run(Path(shutil.copytree(finished.path, tmp_path / "runs" / "run")))
