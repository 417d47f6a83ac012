"""Starting, stopping and resuming `train.py` as the dashboard does, with real processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_core import launch
from fer_core.data import LoadOptions, load_dataset
from fer_core.errors import ConfigError, RunError
from fer_core.launch import is_alive, log_path, read_log, resume_training, start_training
from fer_core.runs import Run
from tests.conftest import PATIENCE

RECIPE = """
model = "EmotionResNet"
model_args = { widths = [4, 8] }
epochs = 2
batch_size = 32
lr = 3e-3
"""


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    (tmp_path / "small.toml").write_text(RECIPE)
    return str(tmp_path / "small.toml")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 faces of noise, 49 for training."""
    rng = np.random.default_rng(5)
    rows = [
        f"{i % 7},{' '.join(map(str, rng.integers(0, 256, 2304)))},{'Training' if i < 49 else 'PublicTest'}"
        for i in range(70)
    ]
    path = tmp_path_factory.mktemp("launch") / "faces.csv"
    path.write_text("\n".join(["emotion,pixels,Usage", *rows, ""]))
    return path


@pytest.fixture
def runs(tmp_path: Path) -> Any:
    """An empty folder of runs; what was started in it and still goes on is ended with the test."""
    folder = tmp_path / "runs"
    yield folder
    for path, process in launch._processes.items():
        if path.parent == folder.resolve() and process.poll() is None:
            process.kill()
            process.wait()


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def ended(runs: Path, name: str) -> Run:
    wait_for(lambda: not is_alive(runs, name))
    return Run(runs / name)


def test_a_training_from_start_to_end(recipe: str, data: Path, runs: Path) -> None:
    name = start_training(recipe, data, runs, epochs=3, seed=7, keep_epochs="all")
    assert name == "small"
    assert is_alive(runs, name) or Run(runs / name).status().state == "finished"  # where this process had to wait
    run = ended(runs, name)
    assert run.status().state == "finished", read_log(runs, name)
    assert (run.config.epochs, run.config.seed, run.config.keep_epochs) == (3, 7, "all")
    assert run.epochs() == [1, 2, 3]
    assert run.info["data"]["fingerprint"] == load_dataset(data, LoadOptions(use_cache=False)).fingerprint
    log = read_log(runs, name)
    assert log[0].startswith("small: faces.csv, 49 training faces.")
    assert f"small finished; it is in {run.path}." in log
    assert sum("100%" in line for line in log) == 3  # each bar once, in its last state
    assert start_training(recipe, data, runs, epochs=1, seed=0) == "small-2"


def test_stop_and_resume(recipe: str, data: Path, runs: Path) -> None:
    name = start_training(recipe, data, runs, epochs=10_000, seed=0, name=" mine ", keep_epochs="last")
    assert name == "mine"
    run = Run(runs / name)
    wait_for(lambda: len(run.metrics()) >= 4)
    with pytest.raises(RunError, match="mine is being trained already"):
        resume_training(name, data, runs)
    run.request_stop()
    ended(runs, name)
    assert run.status().state == "stopped"
    stopped_at = len(run.metrics()) // 2
    assert 2 <= stopped_at < 10_000

    run.set_config(run.extended({"epochs": stopped_at + 2}))
    resume_training(name, "where the page looks", runs)  # but it was begun on other faces, and goes on on these
    assert is_alive(runs, name) or run.status().state == "finished"
    ended(runs, name)
    assert Run(run.path).status().state == "finished", read_log(runs, name)
    validation = run.metrics()[run.metrics()["split"] == "validation"]
    assert validation["epoch"].tolist() == list(range(1, stopped_at + 3))
    log = read_log(runs, name, lines=10_000)
    assert any(line.startswith("Go on with: python train.py --resume mine") for line in log)  # of before the stop
    assert log[-2] == f"mine finished; it is in {run.path}."


def test_a_process_that_was_killed_counts_as_interrupted(recipe: str, data: Path, runs: Path) -> None:
    name = start_training(recipe, data, runs, epochs=10_000, seed=0)
    run = Run(runs / name)
    wait_for(lambda: len(run.metrics()) >= 1)
    launch._processes[run.path.resolve()].kill()
    wait_for(lambda: not is_alive(runs, name))
    assert run.status().state == "interrupted"


def test_unreadable_data_leaves_the_reason_in_the_log(recipe: str, runs: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("emotion,pixels\n7,1 2\n")
    for _ in range(2):  # the name is still free, and the log is of the last start alone
        name = start_training(recipe, bad, runs, epochs=1, seed=0, name="bad")
        wait_for(lambda: not is_alive(runs, "bad"))
        assert not (runs / name).exists()
        (line,) = read_log(runs, name)
        assert line.startswith("Error: ")
        assert str(bad) in line


def test_names_that_are_taken_or_cannot_be(recipe: str, data: Path, runs: Path) -> None:
    (runs / "there").mkdir(parents=True)
    with pytest.raises(ConfigError, match="There is already a run 'there'; choose another name or resume it"):
        start_training(recipe, data, runs, epochs=1, seed=0, name="there")
    for name in ("../up", "a/b", ".hidden", "..", ".", "exp:1", "笑" * 100):
        with pytest.raises(ConfigError, match="cannot be a run's name"):
            start_training(recipe, data, runs, epochs=1, seed=0, name=name)
    assert [path.name for path in runs.iterdir()] == ["there"]


def test_a_name_is_taken_before_its_directory_is_there(recipe: str, data: Path, runs: Path) -> None:
    names = [start_training(recipe, data, runs, epochs=1, seed=seed) for seed in (0, 1)]
    assert names == ["small", "small-2"]
    with pytest.raises(ConfigError, match="There is already a run 'small'"):
        start_training(recipe, data, runs, epochs=1, seed=0, name="small")
    assert [ended(runs, name).config.seed for name in names] == [0, 1]


def test_what_train_py_would_refuse_is_refused_before_it_starts(recipe: str, data: Path, runs: Path) -> None:
    with pytest.raises(ConfigError, match="There is no recipe 'report-vgg'"):
        start_training("report-vgg", data, runs, epochs=1, seed=0)
    with pytest.raises(ConfigError, match="epochs = 0"):
        start_training(recipe, data, runs, epochs=0, seed=0)
    with pytest.raises(ConfigError, match="seed = -1"):
        start_training(recipe, data, runs, epochs=1, seed=-1)
    with pytest.raises(ConfigError, match="keep_epochs = 'some'"):
        start_training(recipe, data, runs, epochs=1, seed=0, keep_epochs="some")
    assert not runs.exists()


def test_resuming_what_is_not_there(data: Path, runs: Path) -> None:
    with pytest.raises(RunError, match="There is no run 'nobody'"):
        resume_training("nobody", data, runs)


def test_without_train_py(recipe: str, data: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "TRAIN", tmp_path / "train.py")
    with pytest.raises(ConfigError, match="start the dashboard from a checkout"):
        start_training(recipe, data, runs, epochs=1, seed=0)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"", []),
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b"Epoch 1   0%\rEpoch 1  50%\rEpoch 1 100%\nEpoch 2  10%\rEpoch 2  20%", ["Epoch 1 100%", "Epoch 2  20%"]),
        (b"\rEpoch 1  50%\r", ["Epoch 1  50%"]),
        (b"a\n\n  \nb\n", ["a", "b"]),
        (b"caf\xe9\n", ["caf\N{REPLACEMENT CHARACTER}"]),
    ],
)
def test_reading_a_log(tmp_path: Path, written: bytes, shown: list[str]) -> None:
    log = log_path(tmp_path, "run")
    log.parent.mkdir()
    log.write_bytes(written)
    assert read_log(tmp_path, "run") == shown


def test_the_end_of_a_long_log(tmp_path: Path) -> None:
    assert read_log(tmp_path, "run") == []
    log = log_path(tmp_path, "run")
    log.parent.mkdir()
    log.write_text("".join(f"line {i}\n" for i in range(100)))
    assert read_log(tmp_path, "run", lines=3) == ["line 97", "line 98", "line 99"]
