"""Training under torchrun: two processes over Gloo against one, through `train.py` as a user starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from fer_core.data import FaceDataset
from fer_core.runs import Run, read_tensors
from fer_core.team import Team, team_of_torchrun
from tests.conftest import PATIENCE

ROOT = Path(__file__).parent.parent
WITHOUT_NORM = """
import runpy, sys, torch
from torch import nn
import fer_core.models as models

class Plain(nn.Module):  # no batch norm, whose statistics are of each process's share on a CPU
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 5, stride=3)
        self.linear = nn.Linear(4 * 15 * 15, 7)

    def forward(self, x):
        return self.linear(self.conv1(x).relu().flatten(1))

models.MODELS["Plain"] = Plain
sys.argv[0] = "train.py"
runpy.run_path("train.py", run_name="__main__")
"""


@pytest.fixture
def csv(tmp_path: Path, faces: FaceDataset) -> Path:
    usages = np.array(["Training", "PublicTest", "PrivateTest"])[faces.splits]
    lines = [
        f"{max(emotion, 0)},{' '.join(map(str, image.ravel()))},{usage}"
        for emotion, image, usage in zip(faces.emotions, faces.images, usages, strict=True)
    ]
    path = tmp_path / "fer2013.csv"
    path.write_text("\n".join(["emotion,pixels,Usage", *lines, ""]))
    return path


def start(script: Path, processes: int, *arguments: str) -> subprocess.Popen[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, *launcher, str(script), *arguments],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def wait_for(process: subprocess.Popen[str]) -> None:
    """Until it has ended well; where it does not, it is killed with all that it started."""
    try:
        output, _ = process.communicate(timeout=PATIENCE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output


def trained(script: Path, processes: int, runs: Path, *arguments: str) -> Run:
    process = start(script, processes, *arguments, "--runs", str(runs), "--name", f"by-{processes}", "--device", "cpu")
    wait_for(process)
    return Run(runs / f"by-{processes}")


def test_two_processes_give_the_weights_of_one(tmp_path: Path, csv: Path) -> None:
    """Batches of 84 faces in steps of 25: shares of 13 and 12, and a last batch of 9. Augmented and mixed alike."""
    script = tmp_path / "plain.py"
    script.write_text(WITHOUT_NORM)
    settings = ["model=Plain", "model_args={}", "epochs=3", "batch_size=25", "optimizer=sgd", "lr=0.05"]
    settings += ["average=0.5", "mixup=0.5", "erase=0.5", "precision=fp32", "soft_weight=0.0", "label_smoothing=0.1"]
    options = [part for setting in settings for part in ("--set", setting)]
    one, two = (trained(script, n, tmp_path / "runs", "fast", "--data", str(csv), *options) for n in (1, 2))
    mine, theirs = (read_tensors(run.path / "state.safetensors")[0] for run in (one, two))
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        torch.testing.assert_close(tensor, theirs[name], atol=1e-5, rtol=1e-4)
    columns = ["epoch", "split", "loss", "accuracy", "n"]
    first, second = (run.metrics()[columns] for run in (one, two))
    assert len(first) == 6
    np.testing.assert_allclose(first["loss"], second["loss"], rtol=1e-4)
    np.testing.assert_array_equal(first["n"], second["n"])
    np.testing.assert_allclose(first["accuracy"], second["accuracy"], atol=0.04)  # one face of 28 may tip over
    whole, shared = ((run.path / "dynamics.bin").read_bytes() for run in (one, two))
    assert len(whole) == len(shared)  # the leader records all faces, not its share


def test_two_processes_learn_with_batch_norm_stop_together_and_go_on(tmp_path: Path, csv: Path) -> None:
    settings = ["model_args={widths=[8, 8], depths=[1, 0]}", "batch_size=28", "epochs=1000"]
    options = [part for setting in settings for part in ("--set", setting)]
    runs = tmp_path / "runs"
    script = ROOT / "train.py"
    process = start(
        script, 2, "fast", "--data", str(csv), *options, "--runs", str(runs), "--name", "run", "--device", "cpu",
        "--keep-epochs", "last",
    )  # fmt: skip
    run = Run(runs / "run")
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and not run.epochs() and time.monotonic() < deadline:
        time.sleep(0.05)
    if run.path.exists():
        run.request_stop()
    wait_for(process)
    assert run.status().state == "stopped"
    done = run.epochs()[-1]
    more = start(
        script, 2, "--resume", "run", "--data", str(csv), "--runs", str(runs), "--epochs", str(done + 60),
        "--device", "cpu",
    )  # fmt: skip
    wait_for(more)
    finished = Run(runs / "run")
    assert finished.status().state == "finished"
    assert finished.epochs() == [done + 60]
    assert finished.metrics().query("split == 'validation'")["accuracy"].iloc[-1] > 0.4  # chance is 0.14


@pytest.mark.parametrize(("device", "over"), [("auto", "nccl"), ("cuda", "nccl"), ("cpu", "gloo")])
def test_a_team_speaks_over_what_it_computes_on(monkeypatch: pytest.MonkeyPatch, device: str, over: str) -> None:
    said = []
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", said.append)
    monkeypatch.setattr(dist, "init_process_group", said.append)
    for name, value in (("get_rank", 1), ("get_world_size", 2), ("barrier", None), ("destroy_process_group", None)):
        monkeypatch.setattr(dist, name, lambda value=value: value)
    with team_of_torchrun(device) as team:
        assert (team.rank, team.size) == (1, 2)
    assert said == ([1, over] if over == "nccl" else [over])


def test_one_alone_keeps_all_to_itself() -> None:
    team, answers = Team(), torch.randn(5, 7)
    assert team.leads
    assert team.gathered(answers, 5) is answers
    assert torch.equal(answers[team.share], answers)
    assert torch.equal(answers[Team(1, 2).share], answers[[1, 3]])
    model: Any = torch.nn.Linear(2, 2)
    assert team.wrap(model) is model
