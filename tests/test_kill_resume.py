"""A run killed by SIGKILL in the middle of any of its writes goes on to the very weights of one never killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_core import training
from fer_core.config import TrainConfig
from fer_core.data import FaceDataset
from fer_core.runs import Run, list_runs, read_tensors

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes as POSIX does")

HERE = Path(__file__).parent
WRITES = 19  # of two epochs of three steps, of which the second replaces the first (see killed_training.py)


@pytest.fixture(scope="module")
def config(tiny: Any) -> TrainConfig:
    chosen: TrainConfig = tiny(epochs=2, keep_epochs="last")
    return chosen


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, faces: FaceDataset, config: TrainConfig) -> Path:
    """The folder of runs that were killed, each at another moment."""
    folder = tmp_path_factory.mktemp("killed")
    np.savez(folder / "faces.npz", images=faces.images, emotions=faces.emotions, splits=faces.splits, ids=faces.ids)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    arguments = [HERE / "killed_training.py", folder / "faces.npz", folder / "config.json", folder / "runs"]
    subprocess.run(
        [sys.executable, *map(str, arguments)],
        check=True,
        env=os.environ | {"PYTHONPATH": str(HERE.parent)},
    )
    return folder / "runs"


def weights(run: Run) -> dict[str, Any]:
    """All numbers that a run holds at its end, by file and name."""
    files = [*run.path.glob("*.safetensors")]
    found = {f"{file.name} {name}": t.numpy() for file in files for name, t in read_tensors(file)[0].items()}
    saved = run.predictions("validation")
    assert saved is not None
    return found | {f"predictions {saved.epochs}": saved.probabilities}


def metrics(run: Run) -> list[dict[str, Any]]:
    return [record | {"seconds": 0} for record in run.records()]


def test_it_was_killed_at_every_write(runs: Path) -> None:
    once = [run for run in list_runs(runs) if run.name.count("-") == 1]
    assert len(once) == WRITES + 1
    not_killed = {run.name for run in list_runs(runs) if run.status().state != "interrupted"}
    assert not_killed == {"whole", f"killed-{WRITES}"}
    torn = {path.name.split(".")[1] for run in once for path in run.path.glob(".*.tmp")}
    assert torn == {"state", "epoch-001", "epoch-002", "predictions-validation"}


@pytest.mark.parametrize(
    "name", [*(f"killed-{k}" for k in range(WRITES)), *(f"killed-{k}-twice" for k in range(0, WRITES, 4))]
)
def test_a_killed_run_goes_on_to_the_same_weights(
    runs: Path, name: str, config: TrainConfig, faces: FaceDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SECONDS_BETWEEN_RECORDS", 0.0)
    run, whole = Run(runs / name), Run(runs / "whole")
    training.fit(config, faces, run, "cpu", resume=True)
    assert run.status().state == "finished"
    assert metrics(run) == metrics(whole)
    resumed, expected = weights(run), weights(whole)
    assert resumed.keys() == expected.keys()
    for key in expected:
        np.testing.assert_array_equal(resumed[key], expected[key], err_msg=key)
    assert sorted(path.name for path in run.path.iterdir()) == sorted(path.name for path in whole.path.iterdir())
