"""`python train.py`: from its flags to a run, and every way in which it says no."""

from __future__ import annotations

import importlib.util
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from fer_core.config import recipe_names
from fer_core.data import FaceDataset, LoadOptions, open_data
from fer_core.data.keys import face_keys, key_text
from fer_core.runs import Run
from tests.conftest import PATIENCE

ROOT = Path(__file__).parent.parent
SMALL = ["--set", "model_args.widths=[4, 8]", "--set", "batch_size=32", "--device", "cpu"]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_script", ROOT / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def csv(tmp_path: Path, faces: FaceDataset) -> Path:
    """The faces as Kaggle's train.csv."""
    rows = [
        f"{emotion},{' '.join(map(str, image.ravel()))}"
        for image, emotion in zip(faces.images, faces.emotions, strict=True)
        if emotion >= 0
    ]
    path = tmp_path / "train.csv"
    path.write_text("\n".join(["emotion,pixels", *rows, ""]))
    return path


@pytest.fixture
def call(script: ModuleType, csv: Path, tmp_path: Path) -> Iterator[Callable[..., Result]]:
    """Calls the command with these arguments, on the CSV and into a folder of its own unless they say otherwise."""
    terminate = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str) -> Result:
        usual = {"--data": str(csv), "--runs": str(tmp_path / "runs")}
        added = [text for option, value in usual.items() if option not in arguments for text in (option, value)]
        return CliRunner().invoke(script.app, [*arguments, *added])

    yield run
    signal.signal(signal.SIGTERM, terminate)


def error(result: Result) -> str:
    """The one sentence that a refused command ends with."""
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 1
    text = str(result.exception.code) if isinstance(result.exception.code, str) else result.output
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("Error: ")
    assert lines[0].endswith((".", "?"))
    return lines[0]


def test_the_recipes_are_listed(call: Any) -> None:
    result = call("--list")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert [line.split()[0] for line in lines[1:]] == recipe_names()
    report = next(line for line in lines if line.startswith("report-resnet"))
    assert "64.1% (62.5% to 65.6%, n = 3,589)" in report  # 2,300 right
    assert "62 min" in report


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["report-vgg"], "There is no recipe 'report-vgg'; the recipes are "),
        (["--set", "learning_rate=1"], "There is no setting 'learning_rate'"),
        (["--set", "lr"], "--set lr has no '='; write it as key=value"),
        (["--set", "lr=fast"], "lr = 'fast' must be a number"),
        (["--set", "model=VGG"], "There is no model 'VGG'; the models are EmotionCNN, EmotionResNet"),
        (["--set", "model_args.depth=3"], "EmotionResNet cannot be built with {'depth': 3}"),
        (["--set", "model_args.widths=[-8, 16]"], "EmotionResNet cannot be built with {'widths': [-8, 16]}"),
        (["fast", "--set", "model_args.stride=0"], "'stride': 0} cannot read a face: non-positive stride"),
        (["--epochs", "0"], "epochs = 0 is outside 1 to 10000"),
        (["--seed", "-1"], "seed = -1 is outside"),
        (["--keep-epochs", "some"], "keep_epochs = 'some': 'some' is not one of all, every:K, best, last"),
        (["--device", "tpu"], "There is no device 'tpu' on this machine; use --device auto or one of cpu"),
        (["--data", "no/such.csv"], "no/such.csv does not exist, nor does its folder no; check the path"),
        (["--name", "a/b"], "'a/b' cannot be a run's name"),
        (["--resume", "mine", "--name", "other"], "--resume goes on under the run's own name; leave out --name"),
        (["--resume", "nothing"], "There is no run 'nothing' in"),
        (["--runs", str(ROOT / "LICENSE" / "runs")], "LICENSE"),
    ],
)
def test_what_is_wrong_is_refused_in_one_sentence(call: Any, tmp_path: Path, arguments: list[str], reason: str) -> None:
    assert reason in error(call(*arguments))
    assert not (tmp_path / "runs").exists()  # no run is begun in vain


def test_faces_without_labels_are_refused(call: Any, tmp_path: Path, csv: Path) -> None:
    unlabelled = tmp_path / "test.csv"
    unlabelled.write_text("".join(line.split(",")[1] for line in csv.read_text().splitlines(keepends=True)))
    text = error(call("--data", str(unlabelled)))
    assert "test.csv has 0 labelled faces in its train split" in text
    assert not (tmp_path / "runs").exists()


def test_a_training_says_where_the_run_is_and_how_to_open_it(call: Any, tmp_path: Path) -> None:
    result = call("report-resnet", "--epochs", "2", "--seed", "5", "--keep-epochs", "last", *SMALL)
    assert result.exit_code == 0
    run = Run(tmp_path / "runs" / "report-resnet")
    assert "report-resnet: train.csv, 91 training faces." in result.output  # 112 less 3 (of 16) of each emotion
    assert f"report-resnet finished; it is in {run.path}." in result.output
    assert "Open it with: streamlit run dashboard/Home.py" in result.output
    hits = sum(run.records()[-1]["confusion"][i][i] for i in range(7))
    assert f"Accuracy after epoch 2 on train.csv, validation: {hits / 21:.1%} (" in result.output
    assert "None of these faces also stands in training." in result.output
    assert (run.config.epochs, run.config.seed, run.config.model_args) == (2, 5, {"widths": [4, 8]})
    assert run.info["data"]["counts"] == {"train": 91, "validation": 21}
    assert run.epochs() == [2]
    assert run.metrics()["epoch"].nunique() == 2
    assert call("report-resnet", "--epochs", "1", *SMALL).exit_code == 0
    assert Run(tmp_path / "runs" / "report-resnet-2").epochs() == [1]


def test_faces_that_a_person_decided_on_are_left_out_or_labelled_anew(
    call: Any, tmp_path: Path, faces: FaceDataset
) -> None:
    """The CSV is that of the labelled faces in order, so row i of it is face i."""
    keys = [key_text(key) for key in face_keys(faces.images[:8])]
    drop, anew = tmp_path / "drop.csv", tmp_path / "anew.csv"
    drop.write_text("face\n" + "\n".join(keys[:5]) + "\n")
    anew.write_text("face,emotion\n" + "".join(f"{key},Happy\n" for key in keys[5:8]))
    curated = ["--exclude", str(drop), "--relabel", str(anew)]
    assert call("report-resnet", "--epochs", "1", "--name", "mine", *curated, *SMALL).exit_code == 0
    run = Run(tmp_path / "runs" / "mine")
    assert sum(run.info["data"]["counts"].values()) == 112 - 5
    assert run.info["curation"]["exclude"]["n"] == 5
    assert run.info["curation"]["relabel"]["n"] == 3
    assert run.info["curation"]["relabel"]["file"] == "anew.csv"
    assert call("--resume", "mine", "--epochs", "2").exit_code == 0  # it kept both lists
    assert "mine was begun on other data" in error(call("--resume", "mine", "--epochs", "3", *curated[:2]))
    whole = open_data(tmp_path / "train.csv", LoadOptions(use_cache=False))
    learned, held_out = run.training_faces(whole), run.split_as_in_training(whole).split("validation")
    assert learned is not None
    assert len(learned) + len(held_out) == 112 - 5
    assert not set(keys[:5]) & {key_text(key) for key in face_keys(learned.images)}
    assert len(run.split_as_in_training(whole).split("train")) == len(learned)
    own_validation = replace(whole, splits=np.where(np.arange(112) < 20, 1, 0).astype(np.int8))
    assert run.split_as_in_training(own_validation) is own_validation
    drop.write_text("face\n0123456789abcdefg\n")
    assert "drop.csv, line 2" in error(call("--exclude", str(drop)))


def test_what_was_assumed_is_told(call: Any, tmp_path: Path, faces: FaceDataset) -> None:
    known = np.flatnonzero(faces.emotions >= 0)
    images = []
    for face in faces.images[known]:
        Image.fromarray(face).save(stream := io.BytesIO(), "PNG")
        images.append(stream.getvalue())
    table = pd.DataFrame({"image": images, "label": faces.emotions[known]})
    table.to_parquet(tmp_path / "numbers.parquet", index=False)
    told = call("--epochs", "1", "--data", str(tmp_path / "numbers.parquet"), *SMALL).output
    assert "Warning: " in told
    assert "--label-order" in told
    named = call("--epochs", "1", "--data", str(tmp_path / "numbers.parquet"), "--label-order", "csv", *SMALL).output
    assert "Warning: " not in named


def test_a_run_is_resumed_with_more_epochs_and_nothing_else(call: Any, tmp_path: Path) -> None:
    assert call("--epochs", "1", "--name", "mine", *SMALL).exit_code == 0
    run = tmp_path / "runs" / "mine"
    assert "choose another --name, or --resume mine" in error(call("--name", "mine", *SMALL))
    assert "A resumed run keeps its lr" in error(call("--resume", "mine", "--set", "lr=1"))
    result = call("--resume", "mine", "--epochs", "3", "--keep-epochs", "all")
    assert result.exit_code == 0
    assert f"mine finished; it is in {run}." in result.output
    assert Run(run).config.epochs == 3
    assert Run(run).metrics()["epoch"].unique().tolist() == [1, 2, 3]


def test_a_resumed_run_keeps_name_and_recipe(call: Any) -> None:
    assert "leave out --name" in error(call("--resume", "mine", "--name", "yours"))
    assert "leave out fast" in error(call("fast", "--resume", "mine"))


def test_resuming_on_other_faces_is_refused(call: Any, tmp_path: Path, csv: Path) -> None:
    assert call("--epochs", "1", "--name", "mine", *SMALL).exit_code == 0
    other = tmp_path / "other.csv"
    other.write_text("".join(csv.read_text().splitlines(keepends=True)[:-1]))
    assert "mine was begun on other data" in error(call("--resume", "mine", "--epochs", "2", "--data", str(other)))
    assert Run(tmp_path / "runs" / "mine").config.epochs == 1


def test_a_failed_training_says_why(call: Any, tmp_path: Path) -> None:
    divergent = ["--set", "optimizer=sgd", "--set", "lr=100", "--set", "weight_decay=10", "--epochs", "20"]
    result = call(*divergent, *SMALL)
    assert result.exit_code == 1
    assert "try a smaller lr" in str(result.exception.code if isinstance(result.exception, SystemExit) else "")
    assert Run(tmp_path / "runs" / "report-resnet").status().state == "failed"


def test_a_network_that_knows_the_held_out_faces_already_is_named(call: Callable[..., Result], tmp_path: Path) -> None:
    """Its own 0.2 of the faces were held out by seed 0; another seed holds out others, which it has learned from."""
    assert call("report-resnet", *SMALL, "--epochs", "1", "--name", "first").exit_code == 0
    first = str(tmp_path / "runs" / "first")
    start = [*SMALL, "--epochs", "1", "--set", f"start_from={first}:1"]
    same, other = (call("report-resnet", *start, "--seed", seed, "--name", f"by-{seed}").stderr for seed in ("0", "1"))
    assert "has learned from" not in same
    drawn = [Run(tmp_path / "runs" / name) for name in ("first", "by-1")]
    data = open_data(tmp_path / "train.csv", LoadOptions())
    held_out = [set(data.ids) - set(run.training_faces(data).ids) for run in drawn]  # type: ignore[union-attr]
    known = len(held_out[1] - held_out[0])
    assert known > 0
    assert f"first:1 has learned from {known} of the {len(held_out[1])} validation faces" in other


@pytest.mark.skipif(os.name != "posix", reason="sends signals as POSIX does")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_as_stopped_and_says_how_to_go_on(csv: Path, tmp_path: Path, sent: signal.Signals) -> None:
    """In the middle of the first epoch, which is long: there is no checkpoint yet."""
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        "report-cnn",
        "--data",
        str(csv),
        "--runs",
        f"{tmp_path}/my runs",
    ]
    options = [
        "--device",
        "cpu",
        "--set",
        "batch_size=2",
        "--set",
        "model_args.widths=[192, 384, 768]",
        "--epochs",
        "1000",
        "--label-order",
        "csv",
        "--skip-bad-rows",
    ]
    # A shell has its background jobs ignore Ctrl-C, and so would this process where the tests are one.
    heeds: dict[str, Any] = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **heeds
    ) as process:
        run = Run(tmp_path / "my runs" / "report-cnn")
        try:
            deadline = time.monotonic() + PATIENCE
            while run.status().state != "running" and time.monotonic() < deadline:
                time.sleep(0.02)
            assert run.status().pid == process.pid
            process.send_signal(sent)
            output, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert f"report-cnn stopped; it is in {run.path}." in output
    options_again = f"--data {csv} --runs '{tmp_path}/my runs' --label-order csv --skip-bad-rows"
    assert f"Go on with: python train.py --resume report-cnn {options_again}\n" in output
    assert run.status().state == "stopped"
    assert run.epochs() == []
