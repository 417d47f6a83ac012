"""Training: curves, what each state of a run shows and offers, and how a start is refused."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_core import launch
from fer_core.launch import is_alive, log_path, read_log
from fer_core.runs import Run
from tests.conftest import PATIENCE

PROGRESS = {
    "epoch": 4,
    "epochs": 8,
    "step": 1,
    "steps": 4,
    "loss": 1.0,
    "accuracy": 0.5,
    "validation_accuracy": 0.4,
    "images_per_second": 1234.5,
    "eta_seconds": 75.2,
}


@pytest.fixture
def training(open_page: Any, runs: Path, own_data: Path) -> Callable[..., Any]:
    return lambda **query: open_page("training", runs, own_data, **{"checkpoint": "own:1"} | query)


def wait_until_ended(runs: Path, name: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while is_alive(runs, name):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def end_new(runs: Path) -> Iterator[None]:
    """A test that fails leaves no training "new" behind."""
    yield
    if process := launch._processes.get((runs / "new").resolve()):
        process.kill()
        process.wait()


def buttons(page: Any) -> set[str]:
    return {button.label for button in page.app.button}


@pytest.mark.parametrize("measure", ["accuracy", "loss"])
def test_the_curves_are_the_metrics(open_page: Any, shipped: Path, measure: str) -> None:
    page = open_page("training", shipped)
    page.app.button_group(key="runs").set_value(["report-resnet", "report-cnn"])
    lines = page.run().curves(measure)
    assert set(lines) == {
        f"{run}, {part}" for run in ("report-resnet", "report-cnn") for part in ("training", "validation")
    }
    for name, (x, y) in lines.items():
        run, part = name.split(", ")
        split = {"training": "train"}.get(part, part)
        records = [r for r in Run(shipped / run).records() if r["kind"] == "epoch" and r["split"] == split]
        np.testing.assert_array_equal(x, [record["epoch"] for record in records])
        np.testing.assert_allclose(y, [record[measure] for record in records])
    assert buttons(page) == {"Start"}


def test_the_chosen_checkpoints_run_is_shown_at_first(training: Any) -> None:
    page = training(checkpoint="other:2")
    assert page.app.button_group(key="runs").value == ["other"]
    assert set(page.curves("loss")) == {"other, training", "other, validation"}
    page.app.button_group(key="runs").set_value([])
    assert page.run().says("info") == ["Choose a run above, or start one below."]


def test_every_epoch_as_a_table(training: Any, runs: Path) -> None:
    table = training().app.dataframe[0].value
    records = [record for record in Run(runs / "own").records() if record["kind"] == "epoch"]
    assert table.index.tolist() == ["own"] * 6
    np.testing.assert_allclose(table["loss"], [record["loss"] for record in records])


def test_a_run_that_is_going_on(training: Any, runs: Path, set_status: Callable[..., None]) -> None:
    """Its bar, its time left, the part of the epoch that has not ended, and Stop."""
    set_status(runs / "other", "running", progress=PROGRESS)
    steps = [
        {"kind": "step", "epoch": 4, "step": 12 + i, "split": "train", "loss": 1 / i, "accuracy": i / 10}
        for i in (1, 2)
    ]
    with (runs / "other" / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(step) + "\n" for step in steps)
    page = training()
    assert "**other**: running" in page.texts
    (bar,) = page.app.get("progress")
    assert bar.proto.value == int(100 * (3 + 1 / 4) / 8)
    assert bar.proto.text == "Epoch 4 of 8, 1 min 15 s left, 1,234 faces/s"
    assert buttons(page) >= {"Stop", "Start"}
    x, y = page.curves("accuracy")["other, training"]
    np.testing.assert_allclose(x, [1, 2, 3, 13 / 4, 14 / 4])
    np.testing.assert_allclose(y[3:], [0.1, 0.2])
    np.testing.assert_allclose(page.curves("loss")["other, training"][1][3:], [1, 0.5])
    page.click("Stop")
    assert (runs / "other" / "stop").exists()
    set_status(runs / "other", "stopped")  # as its process would
    page.run()
    assert page.says("error") == []


def test_a_run_that_has_only_begun(training: Any, runs: Path, set_status: Callable[..., None]) -> None:
    """Running, but without a first second of progress, an epoch or a checkpoint."""
    begun = runs / "begun"
    begun.mkdir()
    (begun / "run.json").write_text((runs / "own" / "run.json").read_text())
    set_status(begun, "running")
    page = training()
    assert "**begun**: running" in page.texts
    assert page.says("error") == []
    assert set(page.curves("loss")) == {"own, training", "own, validation"}


@pytest.mark.parametrize("state", ["failed", "stopped", "interrupted"])
def test_a_run_that_ended_early(training: Any, runs: Path, set_status: Callable[..., None], state: str) -> None:
    """A failed run says why; all can be resumed."""
    reason = "The loss is not a finite number after step 3 of epoch 4." if state == "failed" else ""
    if state == "interrupted":
        set_status(runs / "own", "running", age=120, progress=PROGRESS)
    else:
        set_status(runs / "own", state, error=reason)
    log = log_path(runs, "own")
    log.parent.mkdir(exist_ok=True)
    log.write_text("own: fer2013.csv, 126 training faces.\nEpoch 1/3   0%\rEpoch 1/3 100%\n")
    page = training()
    assert f"**own**: {state}" in page.texts
    assert page.says("error") == ([reason] if reason else [])
    assert "Resume" in buttons(page)
    assert "Stop" not in buttons(page)
    assert page.app.code[0].value == "own: fer2013.csv, 126 training faces.\nEpoch 1/3 100%"


def test_a_status_that_cannot_be_read(training: Any, runs: Path) -> None:
    (runs / "own" / "status.json").write_text("{")
    page = training()
    assert "**own**: interrupted" in page.texts
    assert page.says("error")[0].startswith("status.json cannot be read")


def test_a_finished_run_offers_neither_stop_nor_resume(training: Any) -> None:
    assert buttons(training()) == {"Start"}


def test_the_form_follows_the_recipe(training: Any) -> None:
    page = training()
    page.app.selectbox(key="recipe").set_value("report-cnn")
    page.run()
    assert page.app.number_input(key="epochs report-cnn").value == 50
    page.app.selectbox(key="recipe").set_value("report-resnet")
    assert page.run().app.number_input(key="epochs report-resnet").value == 100
    assert page.app.selectbox(key="train data").options[-1] == "Demo faces"


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("own", "There is already a run 'own'; choose another name or resume it."),
        ("../x", "'../x' cannot be a run's name"),
    ],
)
def test_a_name_that_cannot_be(training: Any, runs: Path, name: str, refusal: str) -> None:
    page = training()
    page.app.text_input(key="run name").set_value(name)
    page.click("Start")
    (error,) = page.says("error")
    assert error.startswith(refusal)
    assert not (runs / ".logs").exists()


def test_a_start_on_faces_that_cannot_be_read_says_why(open_page: Any, runs: Path, tmp_path: Path) -> None:
    """A real process of train.py: it ends, and its last words stand on the page."""
    bad = tmp_path / "faces.csv"
    bad.write_text("emotion,pixels\n9,1 2 3\n")
    page = open_page("training", runs, bad)
    assert page.app.selectbox(key="train data").value == str(bad)
    page.app.text_input(key="run name").set_value("new")
    page.click("Start")
    wait_until_ended(runs, "new")
    page.run()
    why = read_log(runs, "new")[-1].removeprefix("Error: ")
    assert str(bad) in why
    assert why in page.says("error")
    assert "**new**: failed" in page.texts
    assert not (runs / "new").exists()


def test_a_resume_that_cannot_be_says_why(open_page: Any, runs: Path, set_status: Callable[..., None]) -> None:
    """The run was begun on other faces than those that are here now: a real process refuses it."""
    set_status(runs / "own", "stopped")
    page = open_page("training", runs, checkpoint="own:1")
    page.click("Resume")
    assert "Resume" not in buttons(page) or not is_alive(runs, "own")  # not twice
    wait_until_ended(runs, "own")
    (error,) = page.run().says("error")
    assert error.startswith("own was begun on other data")
    assert "Resume" in buttons(page)


def test_a_stop_that_cannot_be_says_why(open_page: Any, runs: Path, set_status: Callable[..., None]) -> None:
    set_status(runs / "own", "running")
    page = open_page("training", runs, checkpoint="other:1")
    shutil.rmtree(runs / "own")
    page.click("Stop")
    (error,) = page.says("error")
    assert "own" in error
    assert page.title == "Training"


def test_a_start_shows_at_once(open_page: Any, runs: Path, own_data: Path, end_new: None) -> None:  # noqa: ARG001
    """Before its process has written anything, and with what it wrote before the training itself begins."""
    page = open_page("training", runs, own_data)
    page.app.text_input(key="run name").set_value("new")
    page.app.number_input(key="epochs fast").set_value(5000)  # more than it will have time for
    page.click("Start")
    begun = "**new**: running" in page.texts  # already, where this process had to wait
    assert begun or "**new**: starting" in page.texts
    assert {"Resume", "Stop"} & buttons(page) == ({"Stop"} if begun else set())
    deadline = time.monotonic() + PATIENCE
    while "**new**: running" not in page.texts:
        assert time.monotonic() < deadline
        assert "Resume" not in buttons(page.run())
        time.sleep(0.1)
    page.click("Stop")
    wait_until_ended(runs, "new")
    assert "**new**: stopped" in page.run().texts
    assert Run(runs / "new").config.epochs == 5000
