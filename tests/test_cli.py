"""python -m fer_core: each command against numbers computed another way, and each error as one line."""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from PIL import Image

from fer_core.__main__ import app, main
from fer_core.calibration import (
    calibrate,
    fit_temperature,
    halves,
    load_calibration,
    load_calibrations,
    scaled,
    store_calibration,
)
from fer_core.config import make_config
from fer_core.console import progress
from fer_core.data import FaceDataset, LoadOptions, load_dataset, split_validation
from fer_core.errors import RunError
from fer_core.evaluation import evaluate
from fer_core.inference import Predictor
from fer_core.labels import EMOTIONS
from fer_core.models import create_model
from fer_core.preprocess import Preprocess
from fer_core.runs import Run, create_run, find_checkpoint, halved, read_tensors, write_tensors
from fer_core.soft_labels import read_soft_labels
from fer_core.training import fit, run_info
from tests.conftest import PATIENCE

ROOT = Path(__file__).parent.parent
USAGES = ("Training", "PublicTest", "PrivateTest")
TINY: dict[str, Any] = {"model_args": {"widths": [4, 8]}, "epochs": 2, "batch_size": 32, "keep_epochs": "all"}


@dataclass(frozen=True)
class World:
    """Faces in files and runs over them.

    official   a CSV with all three splits in mixed order; `tiny` was trained on it
    unsplit    a CSV of training faces alone; `drawn` was trained on it, with a validation split drawn from it
    unlabelled a CSV of pixels alone
    """

    runs: Path
    official: Path
    unsplit: Path
    unlabelled: Path

    def lines(self, run: str, split: str = "validation") -> dict[int, dict[str, Any]]:
        """A run's own epoch lines of a split, by epoch."""
        records = Run(self.runs / run).records()
        return {r["epoch"]: r for r in records if r["kind"] == "epoch" and r["split"] == split}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(3)
    emotions = np.arange(175) % 7
    usage = rng.permutation(np.repeat(USAGES, (105, 42, 28)))
    pixels = [" ".join(map(str, face.ravel())) for face in patterns(emotions, rng)]
    table = pd.DataFrame({"emotion": emotions, "pixels": pixels, "Usage": usage})
    table.to_csv(folder / "fer2013.csv", index=False)
    table[["emotion", "pixels"]].to_csv(folder / "train.csv", index=False)
    table[["pixels"]].to_csv(folder / "test.csv", index=False)
    made = World(folder / "runs", folder / "fer2013.csv", folder / "train.csv", folder / "test.csv")
    trained(made.runs, "tiny", load_dataset(made.official, LoadOptions(use_cache=False)))
    trained(made.runs, "drawn", load_dataset(made.unsplit, LoadOptions(use_cache=False)))
    return made


def patterns(emotions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8 (N, 48, 48): noise with a bright bar whose place tells the emotion, for most."""
    faces = rng.integers(0, 200, (len(emotions), 48, 48))
    for face, emotion in zip(faces, emotions, strict=True):
        face[6 * emotion : 6 * emotion + 6, :20] += rng.integers(0, 56)
    return faces.astype(np.uint8)


def trained(runs: Path, name: str, faces: FaceDataset) -> Run:
    config = make_config(TINY)
    faces = split_validation(faces, config.validation_fraction, config.seed)
    run = create_run(runs, name, run_info(config, faces, "cpu"))
    fit(config, faces, run, "cpu")
    return run


@pytest.fixture
def constant(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder with one run, "constant", whose network gives every face the probabilities of `logits`."""

    def make(logits: list[float], is_demo: bool = False) -> Path:
        info = {"config": make_config(TINY).to_dict(), "data": {"name": "Few faces", "is_demo": is_demo}}
        run = create_run(tmp_path / "runs", "constant", info)
        model = create_model("EmotionResNet", TINY["model_args"])
        weights = model.state_dict() | {"linear.bias": torch.tensor(logits)}
        weights["linear.weight"] = torch.zeros_like(weights["linear.weight"])
        run.save_checkpoint(5, weights, Preprocess(), {})
        return run.path.parent

    return make


@pytest.fixture
def ten_faces(tmp_path: Path) -> Path:
    """Ten validation faces: three happy, two sad, five angry."""
    faces = np.random.default_rng(0).integers(0, 256, (10, 48 * 48))
    rows = [
        f"{e},{' '.join(map(str, face))},PublicTest" for e, face in zip([3] * 3 + [4] * 2 + [0] * 5, faces, strict=True)
    ]
    (tmp_path / "ten.csv").write_text("\n".join(["emotion,pixels,Usage", *rows, ""]))
    return tmp_path / "ten.csv"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command in this process; returns what it printed on stdout. A failure fails the test with its message."""

    def run(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        assert stop.value.code in (0, None), stop.value.code or capsys.readouterr().err
        return capsys.readouterr().out

    return run


@pytest.fixture
def error_of(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must fail: nothing on stdout; returns the one line of its error."""

    def run(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        assert isinstance(stop.value.code, str), capsys.readouterr()  # Python prints it to stderr and exits with 1
        assert capsys.readouterr().out == ""
        assert stop.value.code.startswith("Error: ")
        assert "\n" not in stop.value.code
        return stop.value.code.removeprefix("Error: ")

    return run


def python_m(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fer_core", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=PATIENCE)


def strict_json(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


# -- evaluate ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("run", "data"), [("tiny", "official"), ("drawn", "unsplit")])
@pytest.mark.parametrize("epoch", [1, 2])
def test_evaluate_gives_the_runs_own_numbers(
    world: World, call: Callable[..., str], run: str, data: str, epoch: int
) -> None:
    printed = call("evaluate", f"{run}:{epoch}", "--data", getattr(world, data), "--runs", world.runs, "--json")
    result, line = strict_json(printed), world.lines(run)[epoch]
    assert (result["run"], result["epoch"], result["split"]) == (run, epoch, "validation")
    assert result["accuracy"] == line["accuracy"]
    assert result["confusion"] == line["confusion"]
    assert result["loss"] == pytest.approx(line["loss"], rel=1e-3)  # probabilities are kept in 16 bits
    assert result["n"] == line["n"] == {"tiny": 42, "drawn": 35}[run]


def test_evaluate_another_split_as_plain_torch_scores_it(world: World, call: Callable[..., str]) -> None:
    printed = call("evaluate", "tiny:2", "--data", world.official, "--split", "test", "--runs", world.runs, "--json")
    table = pd.read_csv(world.official)
    table = table[table["Usage"] == "PrivateTest"]
    faces = np.stack([np.array(text.split(), np.float32).reshape(48, 48) for text in table["pixels"]])
    model = Run(world.runs / "tiny").load_checkpoint(2).model
    with torch.no_grad():
        logits = model(torch.from_numpy((faces / 255 - 0.5077) / 0.2551)[:, None])
    right = (logits.argmax(1).numpy() == table["emotion"].to_numpy()).sum()
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(table["emotion"].to_numpy())).item()
    result = strict_json(printed)
    assert (result["accuracy"], result["n"]) == (right / 28, 28)
    assert result["loss"] == pytest.approx(loss, abs=2**-11)  # as far as float16, in which answers are kept, may round


def test_evaluate_by_hand(constant: Callable[..., Path], ten_faces: Path, call: Callable[..., str]) -> None:
    runs = constant([0, 0, 0, math.log(2), 0, 0, 0])  # Happy at 2/8, each other emotion at 1/8
    result = strict_json(call("evaluate", "constant", "--data", ten_faces, "--runs", runs, "--json"))
    assert (result["run"], result["epoch"], result["data"], result["split"]) == ("constant", 5, "ten.csv", "validation")
    assert result["accuracy"] == 0.3
    assert result["interval_95"] == pytest.approx([0.10779, 0.60322], abs=1e-5)  # Wilson's interval of 3 in 10
    assert result["loss"] == pytest.approx((3 * math.log(4) + 7 * math.log(8)) / 10, rel=1e-4)
    assert result["macro_f1"] == pytest.approx((2 * 3 / (2 * 3 + 7)) / 3)  # of Angry, Happy and Sad
    assert [row[3] for row in result["confusion"]] == [5, 0, 0, 3, 2, 0, 0]
    assert result["by_label"]["Happy"]["accuracy"] == 1
    assert result["by_label"]["Fear"] == {"accuracy": None, "interval_95": [0, 1], "n": 0}
    assert result["is_demo"] is False


def test_evaluate_reads_labels_as_told(
    constant: Callable[..., Path],
    ten_faces: Path,
    call: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # the list of skipped rows is written here
    ten_faces.write_text(ten_faces.read_text() + "0,1 2 3,PublicTest\n")
    arguments = ("--label-order", "alphabetical", "--skip-bad-rows", "--runs", constant([0.0] * 7), "--json")
    result = strict_json(call("evaluate", "constant", "--data", ten_faces, *arguments))
    assert [sum(row) for row in result["confusion"]] == [5, 0, 0, 3, 0, 0, 2]  # 4 is Neutral in the alphabet


def test_evaluate_says_what_the_numbers_belong_to(
    constant: Callable[..., Path], ten_faces: Path, call: Callable[..., str]
) -> None:
    text = call(
        "evaluate", "constant:5", "--data", ten_faces, "--runs", constant([0, 0, 0, 1, 0, 0, 0]), "--tta", "flip"
    )
    lines = text.splitlines()
    assert lines[0] == "constant, epoch 5, averaged with mirror images, on the validation split of ten.csv"
    assert lines[1].startswith("Accuracy 30.0% (10.8% to 60.3%, n = 10), macro F1 0.154, loss ")
    assert [" ".join(line.split()) for line in lines if line.startswith("Angry")] == [
        "Angry 0.0% (0.0% to 43.4%, n = 5)",
        "Angry 0 0 0 5 0 0 0",
    ]
    assert "Fear      no faces" in lines


def test_evaluate_labels_rendered_faces(
    constant: Callable[..., Path], ten_faces: Path, call: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_core.data.load.DEMO_FACES", ten_faces)
    arguments = ["evaluate", "constant", "--data", ten_faces, "--runs", constant([0.0] * 7)]
    assert call(*arguments).splitlines()[0].endswith("(rendered demo faces)")
    assert strict_json(call(*arguments, "--json"))["is_demo"] is True


def test_evaluate_prints_null_for_what_is_no_number(
    constant: Callable[..., Path], ten_faces: Path, call: Callable[..., str]
) -> None:
    runs = constant([math.nan] * 7)
    assert strict_json(call("evaluate", "constant", "--data", ten_faces, "--runs", runs, "--json"))["loss"] is None


def test_flip_averages_with_the_mirror_image(world: World, call: Callable[..., str]) -> None:
    arguments = ("evaluate", "tiny:2", "--data", world.official, "--runs", world.runs, "--json")
    faces = load_dataset(world.official).split("validation")
    predictor = Predictor.load("tiny", 2, root=world.runs)
    both = [predictor.predict(images).probabilities for images in (faces.images, faces.images[:, :, ::-1])]
    truth = np.mean(both, axis=0)[np.arange(len(faces)), faces.emotions]
    flipped = strict_json(call(*arguments, "--tta", "flip"))
    assert flipped["loss"] == pytest.approx(-np.log(truth).mean(), rel=1e-3)
    assert flipped["tta"] == "flip"
    assert flipped["loss"] != strict_json(call(*arguments))["loss"]


# -- ensembles ---------------------------------------------------------------------------------------------------------


def official_split(world: World, usage: str) -> tuple[np.ndarray, np.ndarray]:
    """Faces and emotions of a split, read by none of the project's own ways."""
    table = pd.read_csv(world.official)
    table = table[table["Usage"] == usage]
    faces = np.stack([np.array(text.split(), np.uint8).reshape(48, 48) for text in table["pixels"]])
    return faces, table["emotion"].to_numpy()


@pytest.mark.parametrize(
    ("tta", "split", "usage"), [("none", "validation", "PublicTest"), ("flip", "test", "PrivateTest")]
)
def test_an_ensemble_is_the_mean_of_its_members(
    world: World, call: Callable[..., str], tta: str, split: str, usage: str
) -> None:
    arguments = ("--data", world.official, "--runs", world.runs, "--split", split, "--tta", tta, "--json")
    result = strict_json(call("evaluate", "tiny:1", "tiny:2", *arguments))
    faces, emotions = official_split(world, usage)
    each = [Predictor.load("tiny", e, root=world.runs).predict(faces, tta).probabilities for e in (1, 2)]
    mean = (each[0] + each[1]) / 2
    assert result["accuracy"] == (mean.argmax(1) == emotions).mean()
    assert result["loss"] == pytest.approx(-np.log(mean[np.arange(len(faces)), emotions]).mean(), rel=1e-3)
    assert (result["run"], result["epoch"], result["n"], result["tta"]) == ("tiny:1 + tiny:2", None, len(faces), tta)
    assert np.trace(result["confusion"]) == result["accuracy"] * len(faces)
    for epoch, member in enumerate(result["members"], start=1):
        alone = strict_json(call("evaluate", f"tiny:{epoch}", *arguments))
        assert "members" not in alone
        assert member == {key: value for key, value in alone.items() if key != "is_demo"}


def test_each_member_keeps_its_own_preprocess(world: World, call: Callable[..., str], tmp_path: Path) -> None:
    root = tmp_path / "runs"
    shutil.copytree(world.runs / "tiny", root / "tiny")
    run, tiny = Run(root / "tiny"), Run(root / "tiny").load_checkpoint(2)
    other = create_run(root, "equalized", {"config": run.config.to_dict(), "data": run.info["data"]})
    other.save_checkpoint(1, tiny.model.state_dict(), Preprocess(equalize=True), {})
    arguments = ("--data", world.official, "--runs", root, "--json")
    result = strict_json(call("evaluate", "tiny:2", "equalized", *arguments))
    faces, emotions = official_split(world, "PublicTest")
    equal = Preprocess().pixels(Preprocess(equalize=True).pixels(faces))
    predictor = Predictor.load(run, 2)
    mean = (predictor.predict(faces).probabilities + predictor.predict(equal).probabilities) / 2
    assert result["loss"] == pytest.approx(-np.log(mean[np.arange(42), emotions]).mean(), rel=1e-3)
    assert result["members"][0]["loss"] != result["members"][1]["loss"]


def test_an_ensemble_for_a_person(world: World, call: Callable[..., str]) -> None:
    arguments = ("--data", world.official, "--runs", world.runs, "--tta", "crops")
    lines = call("evaluate", "tiny:1", "tiny:2", *arguments).splitlines()
    assert lines[0] == (
        "Ensemble of 2 checkpoints with equal weights (tiny:1, tiny:2), averaged over 10 crops, "
        "on the validation split of fer2013.csv"
    )
    assert lines[1].startswith("Accuracy ")
    assert lines[2] == "None of these faces also stands in training."
    members = {line.split()[0]: line for line in lines if line.startswith("tiny:")}
    for epoch in (1, 2):
        score = strict_json(call("evaluate", f"tiny:{epoch}", *arguments, "--json"))["accuracy"]
        assert members[f"tiny:{epoch}"].split()[1] == f"{score:.1%}"
    assert "n = 42)" in members["tiny:1"]


def test_members_that_hold_out_different_faces_are_not_averaged(
    world: World, call: Callable[..., str], error_of: Callable[..., str], tmp_path: Path
) -> None:
    root = tmp_path / "runs"
    for name in ("drawn", "again"):
        shutil.copytree(world.runs / "drawn", root / name)
    arguments = ("--data", world.unsplit, "--runs", root)
    assert "2 checkpoints" in call("evaluate", "drawn", "again", *arguments)
    faces = split_validation(load_dataset(world.unsplit), seed=7)
    info = Run(root / "again").info
    info["config"]["seed"], info["data"]["fingerprint"] = 7, faces.fingerprint
    (root / "again" / "run.json").write_text(json.dumps(info))
    error = error_of("evaluate", "drawn:1", "again:2", *arguments)
    assert error.startswith("drawn:1 and again:2 hold out different faces of train.csv as validation, so they share no")
    call("evaluate", "again", *arguments)


def test_a_member_of_other_labels_is_refused(world: World, error_of: Callable[..., str], tmp_path: Path) -> None:
    root = tmp_path / "runs"
    shutil.copytree(world.runs / "tiny", root / "tiny")
    tensors, header = read_tensors(root / "tiny" / "epoch-002.safetensors")
    write_tensors(root / "tiny" / "epoch-002.safetensors", tensors, {**header, "labels": ["Glad", "Grim"]})
    error = error_of("evaluate", "tiny:1", "tiny:2", "--data", world.official, "--runs", root)
    assert "epoch-002.safetensors was trained for other labels: ['Glad', 'Grim']" in error


# -- faces seen in training --------------------------------------------------------------------------------------------


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    """fer2013.csv of 70 faces whose first 3 validation faces, all happy, stand among the 42 training faces too."""
    emotions = np.concatenate([np.arange(42) % 7, [3] * 6, [0] * 8, np.arange(14) % 7])
    faces = patterns(emotions, np.random.default_rng(9)).reshape(70, -1)
    faces[42:45] = faces[[3, 10, 3]]
    usage = np.repeat(USAGES, (42, 14, 14))
    rows = [f"{e},{' '.join(map(str, face))},{u}" for e, face, u in zip(emotions, faces, usage, strict=True)]
    (tmp_path / "leaky.csv").write_text("\n".join(["emotion,pixels,Usage", *rows, ""]))
    return tmp_path / "leaky.csv"


def as_trained_on(run: Run, data: Path) -> None:
    info = {**run.info, "data": {"name": data.name, "fingerprint": load_dataset(data).fingerprint_without_test}}
    (run.path / "run.json").write_text(json.dumps(info))


def test_accuracy_without_what_was_seen_in_training(
    constant: Callable[..., Path], leaky: Path, call: Callable[..., str]
) -> None:
    runs = constant([0, 0, 0, 1, 0, 0, 0])  # always Happy: right on 6 of 14 faces, on 3 of the 11 that were not seen
    arguments = ("evaluate", "constant", "--data", leaky, "--runs", runs)
    assert strict_json(call(*arguments, "--json"))["without_seen_in_training"] is None  # trained on who knows what
    as_trained_on(Run(runs / "constant"), leaky)
    result = strict_json(call(*arguments, "--json"))
    assert (result["accuracy"], result["n"]) == (6 / 14, 14)
    assert (result["without_seen_in_training"]["accuracy"], result["without_seen_in_training"]["n"]) == (3 / 11, 11)
    line = "Without the 3 faces that also stand in training: 27.3% (9.7% to 56.6%, n = 11)"  # Wilson's of 3 in 11
    assert call(*arguments).splitlines()[2] == line
    assert strict_json(call(*arguments, "--split", "train", "--json"))["without_seen_in_training"] is None
    assert call(*arguments, "--split", "test").splitlines()[2] == "None of these faces also stands in training."


def test_an_ensemble_has_seen_what_a_member_has(
    constant: Callable[..., Path], leaky: Path, call: Callable[..., str]
) -> None:
    runs = constant([0, 0, 0, 1, 0, 0, 0])
    as_trained_on(Run(runs / "constant"), leaky)
    shutil.copytree(runs / "constant", runs / "twin")
    arguments = ("evaluate", "constant", "twin", "--data", leaky, "--runs", runs)
    result = strict_json(call(*arguments, "--json"))
    assert [score["without_seen_in_training"]["n"] for score in (result, *result["members"])] == [11, 11, 11]
    info = {**Run(runs / "twin").info, "data": {"name": "unknown"}}
    (runs / "twin" / "run.json").write_text(json.dumps(info))
    result = strict_json(call(*arguments, "--json"))
    assert result["without_seen_in_training"] is None
    assert [bool(member["without_seen_in_training"]) for member in result["members"]] == [True, False]
    assert "11)" in call(*arguments)


# -- calibrate ---------------------------------------------------------------------------------------------------------


def test_calibrate_fits_checks_and_stores(world: World, call: Callable[..., str], tmp_path: Path) -> None:
    root = tmp_path / "runs"
    shutil.copytree(world.runs / "tiny", root / "tiny")
    arguments = ("calibrate", "tiny:2", "--data", world.official, "--runs", root)
    faces, emotions = official_split(world, "PublicTest")
    predictor = Predictor.load("tiny", 2, root=root)
    for tta in ("none", "flip"):
        said = predictor.predict(faces, tta).probabilities
        result = strict_json(call(*arguments, "--tta", tta, "--json"))
        fit, check = halves(emotions)
        assert (result["run"], result["epoch"], result["tta"], result["split"]) == ("tiny", 2, tta, "validation")
        assert result["temperature"] == pytest.approx(fit_temperature(said[fit], emotions[fit]), rel=1e-2)
        after = evaluate(
            scaled(said[check], result["temperature"]), emotions[check], run="", epoch=0, data="", split=""
        )
        assert result["after"]["nll"] == pytest.approx(after.loss, rel=1e-3)
        assert (result["fitted_on"], sum(result["before"]["n"])) == (len(fit), len(check))
        stored = load_calibration(Run(root / "tiny"), 2, tta)
        assert stored is not None
        assert stored.temperature == result["temperature"]
        assert stored.fingerprint == load_dataset(world.official).split("validation").fingerprint
    assert {one.tta for one in load_calibrations(Run(root / "tiny"))} == {"none", "flip"}


def test_calibrate_for_a_person(world: World, call: Callable[..., str], tmp_path: Path) -> None:
    shutil.copytree(world.runs / "tiny", tmp_path / "tiny")
    lines = call("calibrate", "tiny:2", "--data", world.official, "--runs", tmp_path, "--tta", "flip").splitlines()
    stored = load_calibration(Run(tmp_path / "tiny"), 2, "flip")
    assert stored is not None
    n, before, after = stored.fitted_on, stored.before, stored.after
    assert n + before.faces == 42
    assert lines[0] == "tiny, epoch 2, averaged with mirror images, on the validation split of fer2013.csv"
    assert lines[1] == f"Temperature {stored.temperature:.3f}, fitted on {n} faces; on the other {42 - n}:"
    assert [line.split() for line in lines[2:5]] == [
        ["Before", "After"],
        ["ECE", "(15", "bins)", f"{before.ece:.2%}", f"{after.ece:.2%}"],
        ["NLL,", "nats", f"{before.nll:.3f}", f"{after.nll:.3f}"],
    ]
    assert lines[5:] == [f"Stored in {tmp_path / 'tiny' / 'calibration.json'}"]


def test_a_run_on_real_faces_is_not_calibrated_on_rendered_ones(
    constant: Callable[..., Path], ten_faces: Path, error_of: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_core.data.load.DEMO_FACES", ten_faces)
    runs = constant([0.0] * 7)
    error = error_of("calibrate", "constant", "--data", ten_faces, "--runs", runs)
    assert error.startswith("constant:5 was trained on real faces, and ")
    assert not (runs / "constant" / "calibration.json").exists()


def test_no_faces_are_drawn_from_data_that_the_run_was_not_trained_on(
    world: World, error_of: Callable[..., str], call: Callable[..., str]
) -> None:
    arguments = ("evaluate", "tiny", "--data", world.unsplit, "--runs", world.runs, "--json")
    assert error_of(*arguments) == "train.csv has no labelled faces in its validation split; choose --split train."
    assert strict_json(call(*arguments, "--split", "train"))["n"] == 175


# -- RUN[:EPOCH] -------------------------------------------------------------------------------------------------------


def test_a_checkpoint_by_name_or_path(world: World) -> None:
    scores = {epoch: line["accuracy"] for epoch, line in world.lines("tiny").items()}
    best = max(scores, key=lambda epoch: (scores[epoch], -epoch))
    for text in ("tiny", "tiny:best", str(world.runs / "tiny"), f"{world.runs / 'tiny'}:best"):
        run, epoch = find_checkpoint(text, world.runs)
        assert (run.name, epoch) == ("tiny", best)
    assert find_checkpoint("tiny:last", world.runs)[1] == 2
    assert find_checkpoint("tiny:1", world.runs)[1] == 1


def test_a_colon_within_a_path_is_part_of_it(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.runs / "tiny", tmp_path / "at:noon" / "tiny")
    assert find_checkpoint(str(tmp_path / "at:noon" / "tiny"), world.runs)[0].path == tmp_path / "at:noon" / "tiny"


def test_a_run_without_checkpoints(tmp_path: Path) -> None:
    create_run(tmp_path, "new", {"config": make_config(TINY).to_dict()})
    assert find_checkpoint("new", tmp_path)[1] is None
    assert find_checkpoint("new:last", tmp_path)[1] is None


@pytest.mark.parametrize("epoch", ["", "first", "1.5", "-1", "BEST"])
def test_an_epoch_that_is_none(world: World, epoch: str) -> None:
    with pytest.raises(RunError, match=f"'{epoch}' in 'tiny:{epoch}' is no epoch; write a number, best or last"):
        find_checkpoint(f"tiny:{epoch}", world.runs)


# -- cascades ----------------------------------------------------------------------------------------------------------


def test_a_cascade_at_every_threshold(world: World, call: Callable[..., str], tmp_path: Path) -> None:
    """From one network to the other; in between, accuracy and loss of rows picked by another way."""
    root = tmp_path / "runs"
    shutil.copytree(world.runs / "tiny", root / "tiny")
    arguments = ("--data", world.official, "--runs", root)
    call("calibrate", "tiny:1", *arguments)
    run = Run(root / "tiny")
    store_calibration(run, replace(load_calibrations(run)[0], temperature=0.1))  # sure of some faces, not of others
    result = strict_json(call("cascade", "tiny:1", "tiny:2", *arguments, "--tta", "flip", "--json"))
    faces, emotions = official_split(world, "PublicTest")
    fast = scaled(halved(Predictor.load(run, 1).predict(faces).probabilities).astype(np.float32), 0.1)  # as kept
    accurate = halved(Predictor.load(run, 2).predict(faces, "flip").probabilities).astype(np.float32)
    for row in result:
        unsure = fast.max(axis=1, keepdims=True) <= row["sure"]
        said = np.where(unsure, accurate, fast)
        assert row["asked"] == unsure.sum()
        assert row["accuracy"] == (said.argmax(1) == emotions).mean()
        assert row["loss"] == pytest.approx(-np.log(said[np.arange(42), emotions]).mean(), rel=1e-2)
        assert (row["run"], row["epoch"], row["tta"]) == ("tiny:1, then tiny:2", None, "flip")
    asked = [row["asked"] for row in result]
    assert asked == sorted(asked)
    assert (asked[0], asked[-1]) == (0, 42)
    assert len(set(asked)) > 4
    assert result[0]["accuracy"] == strict_json(call("evaluate", "tiny:1", *arguments, "--json"))["accuracy"]
    alone = strict_json(call("evaluate", "tiny:2", *arguments, "--tta", "flip", "--json"))
    assert (result[-1]["confusion"], result[-1]["loss"]) == (alone["confusion"], alone["loss"])


def test_a_cascade_for_a_person(world: World, call: Callable[..., str]) -> None:
    arguments = ("tiny:1", "tiny:2", "--data", world.official, "--runs", world.runs)
    lines = call("cascade", *arguments, "--tta", "flip").splitlines()
    assert lines[0] == "tiny:1, then tiny:2 averaged with mirror images, on the validation split of fer2013.csv"
    row = strict_json(call("cascade", *arguments, "--tta", "flip", "--json"))[-1]
    assert lines[-3].split()[:3] == ["100%", "42", "(100.0%)"]
    assert f"{row['accuracy']:.1%} (" in lines[-3]
    assert lines[-1] == "In brackets: 95 % Wilson intervals."
    assert "tiny:1, then tiny:2, on the" in call("cascade", *arguments)


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_any_name_can_be_written_into_a_file(world: World, tmp_path: Path, encoding: str) -> None:
    """What Windows gives a redirected stdout."""
    face = tmp_path / "笑脸.png"
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(face)
    command = [sys.executable, "-m", "fer_core", "predict", face, "--run", "tiny", "--runs", world.runs, "--csv"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    printed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=PATIENCE)
    assert printed.returncode == 0, printed.stderr
    assert "笑脸.png" in printed.stdout.decode("utf-8")


def test_a_run_may_be_the_folder_one_is_in(
    world: World, call: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.runs / "tiny")
    assert call("evaluate", ".", "--data", world.official).startswith("tiny, epoch ")


# -- predict -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """A gray face of the right size, a large one in colour, and one with transparency."""
    rng = np.random.default_rng(5)
    made = {"gray.png": (48, 48), "large.jpg": (96, 120, 3), "clear.webp": (60, 60, 4)}
    for name, shape in made.items():
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / name)
    return [tmp_path / name for name in made]


def test_predict_as_the_predictor(world: World, pictures: list[Path], call: Callable[..., str]) -> None:
    expected = Predictor.load("tiny", 1, root=world.runs).predict([Image.open(path) for path in pictures])
    arguments = ("predict", *pictures, "--run", "tiny:1", "--runs", world.runs)
    table = pd.read_csv(io.StringIO(call(*arguments, "--csv")))
    assert list(table.columns) == ["image", "emotion", *EMOTIONS]
    assert table["image"].tolist() == [str(path) for path in pictures]
    assert table["emotion"].tolist() == [EMOTIONS[i] for i in expected.emotions]
    np.testing.assert_allclose(table[list(EMOTIONS)], expected.probabilities, rtol=1e-6)

    result = strict_json(call(*arguments, "--json"))
    assert (result["run"], result["epoch"]) == ("tiny", 1)
    assert [face["emotion"] for face in result["faces"]] == table["emotion"].tolist()
    assert result["faces"][1]["Sad"] == pytest.approx(expected.probabilities[1, EMOTIONS.index("Sad")])

    title, _, *rows = call(*arguments).splitlines()
    assert title == "tiny, epoch 1"
    assert [row.split()[:2] for row in rows] == table[["image", "emotion"]].to_numpy().tolist()
    assert rows[0].split()[2:] == [f"{p:.1%}" for p in expected.probabilities[0]]


def test_predict_by_a_cascade(world: World, pictures: list[Path], call: Callable[..., str]) -> None:
    first, second = (Predictor.load("tiny", epoch, root=world.runs) for epoch in (1, 2))
    images = [Image.open(path) for path in pictures]
    sure = float(np.median(first.predict(images).confidence)) + 1e-4
    unsure = first.predict(images).confidence <= sure
    assert 0 < unsure.sum() < len(images)
    expected = np.where(
        unsure[:, None], second.predict(images, "flip").probabilities, first.predict(images).probabilities
    )
    arguments = ("--run", "tiny:1", "--cascade", "tiny:2", "--sure", sure, "--tta", "flip", "--runs", world.runs)
    result = strict_json(call("predict", *pictures, *arguments, "--json"))
    assert (result["run"], result["epoch"], result["tta"]) == ("tiny:1, then tiny:2", None, "flip")
    for row, shares in zip(result["faces"], expected, strict=True):
        assert [row[name] for name in EMOTIONS] == pytest.approx(shares.tolist(), abs=1e-5)
    title = call("predict", *pictures, *arguments).splitlines()[0]
    assert title == "tiny:1, then tiny:2, averaged with mirror images"


def test_predict_by_onnx_files(
    world: World, pictures: list[Path], call: Callable[..., str], error_of: Callable[..., str], tmp_path: Path
) -> None:
    shutil.copytree(world.runs / "tiny", tmp_path / "runs" / "tiny")
    run = Run(tmp_path / "runs" / "tiny")
    said = np.random.default_rng(0).dirichlet(np.ones(7), 70)
    about: dict[str, Any] = {"tta": "flip", "data": "Faces", "split": "validation", "fingerprint": ""}
    fitted = calibrate(said.astype(np.float32), np.arange(70) % 7, epoch=2, **about)
    store_calibration(run, fitted)
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    told = call("export", "onnx", "tiny:1", "--runs", run.path.parent, "--out", first)
    assert f"predict FILE... --run {first}" in told
    call("export", "onnx", "tiny:2", "--runs", run.path.parent, "--out", second)

    by_run = ["--runs", run.path.parent, "--tta", "flip", "--json"]
    for cascade in ([], ["--cascade", "tiny:2", "--sure", "0.5"]):
        expected = strict_json(call("predict", *pictures, "--run", "tiny:1", *cascade, *by_run))
        files = [str(second) if word == "tiny:2" else word for word in cascade]
        result = strict_json(call("predict", *pictures, "--run", first, *files, *by_run))
        assert result["calibrated"] == expected["calibrated"]
        for row, shares in zip(result["faces"], expected["faces"], strict=True):
            assert [row[name] for name in EMOTIONS] == pytest.approx([shares[name] for name in EMOTIONS], abs=1e-5)
    alone = strict_json(call("predict", *pictures, "--run", second, *by_run))
    assert alone == strict_json(call("predict", *pictures, "--run", "tiny:2", *by_run)) | {"faces": alone["faces"]}
    assert alone["calibrated"]
    assert call("predict", pictures[0], "--run", second).splitlines()[0] == "tiny, epoch 2"
    assert "choose --tta none or flip" in error_of("predict", pictures[0], "--run", first, "--tta", "crops")
    first.write_bytes(b"nothing of the kind")
    assert "is no file of `python -m fer_core export onnx`" in error_of("predict", pictures[0], "--run", first)


def test_predict_flipped(world: World, pictures: list[Path], call: Callable[..., str]) -> None:
    expected = Predictor.load("tiny", 2, root=world.runs).predict([Image.open(pictures[0])], tta="flip")
    text = call("predict", pictures[0], "--run", "tiny:last", "--runs", world.runs, "--tta", "flip", "--json")
    face = strict_json(text)["faces"][0]
    np.testing.assert_allclose([face[emotion] for emotion in EMOTIONS], expected.probabilities[0], rtol=1e-6)


# -- submit ------------------------------------------------------------------------------------------------------------


def test_submit_in_the_order_of_the_file(world: World, call: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "sub.csv"
    text = call("submit", "tiny:2", "--data", world.official, "--out", out, "--runs", world.runs)
    assert text.startswith("tiny, epoch 2, on the test split of fer2013.csv\n")
    assert "28 rows" in text

    table = pd.read_csv(world.official)
    table = table[table["Usage"] == "PrivateTest"]
    faces = np.stack([np.array(pixels.split(), np.uint8).reshape(48, 48) for pixels in table["pixels"]])
    expected = Predictor.load("tiny", 2, root=world.runs).predict(faces).emotions
    assert len(set(expected.tolist())) > 1  # an order can be told
    written = pd.read_csv(out)
    assert list(written.columns) == ["id", "emotion"]
    assert written["id"].tolist() == list(range(28))
    assert written["emotion"].tolist() == expected.tolist()


def test_submit_of_kaggles_test_csv_without_ids(world: World, call: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "sub.csv"
    arguments = ("submit", "tiny:2", "--data", world.unlabelled, "--out", out, "--columns", "emotion", "--tta", "flip")
    call(*arguments, "--runs", world.runs)
    faces = load_dataset(world.unlabelled)
    expected = Predictor.load("tiny", 2, root=world.runs).predict(faces.images, tta="flip").emotions
    assert out.read_text().split() == ["emotion", *map(str, expected)]


def test_submit_an_ensemble(world: World, call: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "sub.csv"
    text = call("submit", "tiny:1", "tiny:2", "--data", world.official, "--out", out, "--runs", world.runs)
    assert text.startswith("Ensemble of 2 checkpoints with equal weights (tiny:1, tiny:2), on the test split of ")
    faces, _ = official_split(world, "PrivateTest")
    each = [Predictor.load("tiny", epoch, root=world.runs).predict(faces).probabilities for epoch in (1, 2)]
    expected = np.mean(each, axis=0).argmax(axis=1)
    assert any((one.argmax(axis=1) != expected).any() for one in each)
    assert pd.read_csv(out)["emotion"].tolist() == expected.tolist()


def test_submit_overwrites_only_with_force(
    world: World, call: Callable[..., str], error_of: Callable[..., str], tmp_path: Path
) -> None:
    out = tmp_path / "sub.csv"
    out.write_text("my notes")
    assert "is there already" in error_of("submit", "nosuch", "--out", out)  # before any work is done
    arguments = ("submit", "tiny", "--data", world.unlabelled, "--out", out, "--runs", world.runs)
    assert "is there already" in error_of(*arguments)
    assert out.read_text() == "my notes"
    call(*arguments, "--force")
    assert out.read_text().startswith("id,emotion\n0,")


# -- runs and data -----------------------------------------------------------------------------------------------------


@pytest.fixture
def mixed_runs(world: World, tmp_path: Path) -> Path:
    """The tiny run, one on rendered faces, one without a checkpoint, one that failed, and two that are damaged."""
    root = tmp_path / "mixed"
    shutil.copytree(world.runs / "tiny", root / "tiny")
    config = make_config(TINY).to_dict()
    rendered = create_run(root, "rendered", {"config": config, "data": {"name": "Demo faces", "is_demo": True}})
    rendered.checkpoint_path(3).touch()
    rendered.append_metrics(kind="epoch", epoch=3, split="validation", accuracy=0.75, n=400, loss=math.nan)
    rendered.append_metrics(kind="epoch", epoch=4, split="validation", accuracy=0.8, n=400)  # it was not kept
    create_run(root, "new", {"config": config})
    create_run(root, "failed", {"config": config}).write_status("failed", "The loss became nan.")
    create_run(root, "torn", {"config": config})
    (root / "torn" / "run.json").write_text('{"format_version": 1, "conf')
    create_run(root, "newer", {"config": config, "format_version": 99})
    return root


def test_runs_as_json(world: World, mixed_runs: Path, call: Callable[..., str]) -> None:
    rows = {row["run"]: row for row in strict_json(call("runs", "--runs", mixed_runs, "--json"))}
    assert list(rows) == ["failed", "new", "newer", "rendered", "tiny", "torn"]
    tiny, lines = rows["tiny"], world.lines("tiny")
    assert (tiny["state"], tiny["epochs"], tiny["split"], tiny["n"]) == ("finished", [1, 2], "validation", 42)
    assert tiny["accuracy"] == lines[tiny["best_epoch"]]["accuracy"] == max(line["accuracy"] for line in lines.values())
    assert tiny["interval_95"][0] < tiny["accuracy"] < tiny["interval_95"][1]
    assert (rows["rendered"]["accuracy"], rows["rendered"]["is_demo"]) == (0.75, True)
    assert (rows["new"]["epochs"], rows["new"]["accuracy"], rows["new"]["error"]) == ([], None, None)
    assert (rows["failed"]["state"], rows["failed"]["error"]) == ("failed", "The loss became nan.")
    assert (rows["torn"]["state"], rows["newer"]["state"]) == ("damaged", "damaged")
    assert "torn/run.json cannot be read" in rows["torn"]["error"].replace(os.sep, "/")
    assert "format 99" in rows["newer"]["error"]


def test_runs_for_a_person(mixed_runs: Path, call: Callable[..., str]) -> None:
    header, *lines = call("runs", "--runs", mixed_runs).splitlines()
    rows = {line.split()[0]: line for line in lines}
    assert "Accuracy of the best (95 % interval)" in header
    assert "75.0% (70.5% to 79.0%, n = 400)" in rows["rendered"]  # Wilson's interval of 300 in 400
    assert "rendered demo faces" in rows["rendered"]
    assert "rendered" not in rows["tiny"]
    assert "2 (1 to 2)" in rows["tiny"]
    assert rows["failed"].endswith("The loss became nan.")
    assert "damaged" in rows["torn"]


def test_no_runs(tmp_path: Path, call: Callable[..., str]) -> None:
    assert "train one with: python train.py" in call("runs", "--runs", tmp_path / "none")
    assert strict_json(call("runs", "--runs", tmp_path / "none", "--json")) == []


def test_data(world: World, call: Callable[..., str]) -> None:
    text = call("data", world.official)
    assert "fer2013.csv: 175 faces" in text
    assert [line.split() for line in text.splitlines() if line.startswith("All")] == [["All", "105", "42", "28", "175"]]


def test_data_in_alphabetical_order(world: World, call: Callable[..., str]) -> None:
    table = pd.read_csv(world.official)
    sad = ((table["emotion"] == 5) & (table["Usage"] == "Training")).sum()  # the sixth name of the alphabet
    text = call("data", world.official, "--label-order", "alphabetical")
    assert next(line.split()[1] for line in text.splitlines() if line.startswith("Sad")) == str(sad)


def test_data_with_bad_rows(
    world: World,
    tmp_path: Path,
    call: Callable[..., str],
    error_of: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # the list of skipped rows is written here
    lines = world.unsplit.read_text().splitlines()
    (tmp_path / "bad.csv").write_text("\n".join([*lines[:4], lines[4].replace(" ", " x", 1), *lines[5:], ""]))
    assert "bad.csv, line 5" in error_of("data", "bad.csv")
    assert "Rows skipped: 1" in call("data", "bad.csv", "--skip-bad-rows")
    assert (tmp_path / "skipped-rows.csv").exists()


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "nosuch"], "There is no run 'nosuch' in RUNS; the runs are: drawn, tiny."),
        (["evaluate", "tiny:7"], "tiny kept no checkpoint of epoch 7; the epochs kept are: 1, 2."),
        (["evaluate", "tiny:first"], "'first' in 'tiny:first' is no epoch; write a number, best or last"),
        (["evaluate", "tiny", "--data", "nowhere.csv"], "nowhere.csv does not exist"),
        (["evaluate", "tiny", "--split", "exam"], "There is no split 'exam'"),
        (["evaluate", "tiny", "--data", "UNLABELLED", "--split", "test"], "test.csv has no labelled faces in its test"),
        (["evaluate", "tiny:1", "tiny:1"], "tiny:1 is named twice; name each checkpoint once"),
        (["evaluate", "tiny:1", "tiny:7"], "tiny kept no checkpoint of epoch 7; the epochs kept are: 1, 2."),
        (["cascade", "tiny", "nosuch"], "There is no run 'nosuch' in RUNS; the runs are: drawn, tiny."),
        (["evaluate", "tiny", "nosuch"], "There is no run 'nosuch' in RUNS; the runs are: drawn, tiny."),
        (["calibrate", "nosuch"], "There is no run 'nosuch' in RUNS; the runs are: drawn, tiny."),
        (["calibrate", "tiny", "--data", "UNLABELLED"], "test.csv has no labelled faces in its validation split"),
        (["predict", "nowhere.png", "--run", "tiny"], "nowhere.png is not a file"),
        (["predict", "BROKEN", "--run", "tiny"], "broken.png: not a picture that can be read"),
        (["predict", "OFFICIAL", "--run", "tiny"], "fer2013.csv: not a picture that can be read (unknown format)"),
        (["submit", "tiny", "--data", "UNSPLIT", "--out", "OUT"], "train.csv has no test split"),
        (["submit", "tiny", "--out", "OUT", "--columns", "label"], "A submission cannot have the columns 'label'"),
        (["submit", "tiny", "--out", "nowhere/sub.csv"], "nowhere/sub.csv cannot be written"),
        (["data", "nowhere"], "nowhere does not exist"),
    ],
)
def test_errors_are_one_line(
    world: World,
    tmp_path: Path,
    error_of: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FER_DATA", str(world.official))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    paths = {
        "UNLABELLED": world.unlabelled,
        "OFFICIAL": world.official,
        "UNSPLIT": world.unsplit,
        "BROKEN": Path("broken.png"),
        "OUT": tmp_path / "sub.csv",
    }
    arguments = [str(paths.get(argument, argument)) for argument in arguments]
    runs = [] if arguments[0] == "data" else ["--runs", str(world.runs)]
    error = error_of(*arguments, *runs)
    assert message.replace("RUNS", str(world.runs)) in error.replace(os.sep, "/")
    assert not (tmp_path / "sub.csv").exists()


def test_a_broken_checkpoint(world: World, tmp_path: Path, error_of: Callable[..., str]) -> None:
    shutil.copytree(world.runs / "tiny", tmp_path / "tiny")
    weights = tmp_path / "tiny" / "epoch-002.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    error = error_of("evaluate", "tiny:2", "--data", world.official, "--runs", tmp_path)
    assert "epoch-002.safetensors is not a whole safetensors file" in error


def test_a_run_that_kept_nothing(world: World, tmp_path: Path, error_of: Callable[..., str]) -> None:
    create_run(tmp_path, "new", {"config": make_config(TINY).to_dict()})
    assert "holds no checkpoint yet" in error_of("evaluate", "new", "--data", world.official, "--runs", tmp_path)


# -- as a program ------------------------------------------------------------------------------------------------------


def test_an_error_ends_the_program_with_one_line_on_stderr(tmp_path: Path) -> None:
    done = python_m("evaluate", "nosuch", "--runs", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: There is no run 'nosuch' in {tmp_path}; the runs are: none.\n"


def test_json_alone_on_stdout_of_the_program(world: World) -> None:
    done = python_m("evaluate", "tiny:1", "--data", world.official, "--runs", world.runs, "--json")
    assert done.returncode == 0, done.stderr
    assert strict_json(done.stdout)["accuracy"] == world.lines("tiny")[1]["accuracy"]


@pytest.mark.parametrize(
    "arguments", [["--help"], ["evaluate", "--help"], ["runs", "--runs", "RUNS"], ["data", "DATA"]]
)
def test_torch_is_not_imported_without_need(world: World, arguments: list[str]) -> None:
    names = {"RUNS": str(world.runs), "DATA": str(world.official)}
    arguments = [names.get(argument, argument) for argument in arguments]
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['fer_core', *{arguments!r}]\n"
        "try:\n    runpy.run_module('fer_core', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as stop:\n    print('exit', stop.code)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE)
    assert done.stdout.splitlines()[-2:] == ["exit 0", "False"], done.stderr


def test_what_was_evaluated_before_needs_no_torch(world: World, call: Callable[..., str]) -> None:
    arguments = ["evaluate", "tiny:1", "tiny:2", "--data", world.official, "--runs", world.runs, "--json"]
    before = call(*arguments)
    code = (
        "import sys\nfrom fer_core.__main__ import main\n"
        f"try:\n    main({[str(argument) for argument in arguments]!r})\n"
        "except SystemExit:\n    print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE)
    assert done.stdout == f"{before}False\n", done.stderr


def test_a_bar_only_for_a_person_who_waits(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("tqdm.std.time", lambda: now)

    def shown(terminal: bool, seconds: float) -> str:
        nonlocal now
        monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
        with progress("Predicting") as show:
            show(0.25, "a message")
            now += seconds
            show(0.5)
        out, err = capsys.readouterr()
        assert out == ""
        return err

    assert "Predicting  50%" in shown(terminal=True, seconds=0.6)
    assert shown(terminal=True, seconds=0) == ""
    assert shown(terminal=False, seconds=0.6) == ""


# -- the real thing ----------------------------------------------------------------------------------------------------


@pytest.fixture
def report_resnet() -> Run:
    run = Run(ROOT / "checkpoints" / "report-resnet")
    if not run.epochs():
        pytest.skip("checkpoints/report-resnet is not here")
    return run


def test_evaluate_the_shipped_run_on_fer2013(fer2013_path: Path, report_resnet: Run, call: Callable[..., str]) -> None:
    epoch = report_resnet.epochs()[-1]
    arguments = ("--data", fer2013_path, "--split", "validation", "--json")
    result = strict_json(call("evaluate", f"{report_resnet.path}:{epoch}", *arguments))
    line = next(
        r for r in report_resnet.records() if (r["kind"], r["epoch"], r["split"]) == ("epoch", epoch, "validation")
    )
    assert result["n"] == line["n"] == 3589
    assert result["accuracy"] == pytest.approx(line["accuracy"], abs=0.001)
    assert result["loss"] == pytest.approx(line["loss"], abs=0.001)


def test_submit_the_shipped_run_on_fer2013(
    fer2013_path: Path, report_resnet: Run, call: Callable[..., str], tmp_path: Path
) -> None:
    call("submit", report_resnet.path, "--data", fer2013_path, "--out", tmp_path / "sub.csv")
    written = pd.read_csv(tmp_path / "sub.csv")
    assert written["id"].tolist() == list(range(3589))
    assert set(written["emotion"]) == set(range(7))


def test_soft_labels_replace_nothing_unasked(
    world: World, call: Callable[..., str], error_of: Callable[..., str], tmp_path: Path
) -> None:
    precious = tmp_path / "precious.npz"
    precious.write_text("mine")
    arguments = ("soften", "tiny:1", "--data", world.official, "--runs", world.runs, "--out")
    assert "precious.npz is there already; choose another name" in error_of(*arguments, precious)
    assert precious.read_text() == "mine"
    assert "is a folder; name a file in it" in error_of(*arguments, tmp_path)
    call(*arguments, precious, "--force")
    faces = load_dataset(world.official).split("train")
    assert read_soft_labels(precious, faces).shape == (105, 7)


def test_soft_labels_are_the_average_of_what_runs_say_of_the_training_faces(
    world: World, tmp_path: Path, call: Any, error_of: Any
) -> None:
    out = tmp_path / "soft.npz"
    options = ["--runs", world.runs, "--out", out, "--tta", "none"]
    call("soften", "tiny:1", "tiny:2", "--data", world.official, *options)
    train = load_dataset(world.official).split("train")
    said = [Predictor.load("tiny", e, root=world.runs).predict(train.images).probabilities for e in (1, 2)]
    np.testing.assert_allclose(read_soft_labels(out, train), np.mean(said, axis=0), atol=1e-3)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(read_soft_labels(out, train), said[0], atol=1e-3)
    reason = error_of("soften", "tiny", "drawn", "--data", world.unsplit, *options, "--force")
    assert "average runs that share them" in reason


def test_wherever_faces_are_read_their_labels_and_bad_rows_can_be_told() -> None:
    """What the reader proposes in its warnings and errors, each command that reads takes."""

    def commands(group: Any) -> Iterator[Any]:
        for command in group.commands.values():
            yield from commands(command) if hasattr(command, "commands") else [command]

    reading = 0
    for command in commands(typer.main.get_command(app)):
        options = {option for parameter in command.params for option in parameter.opts}
        if "--data" in options:
            reading += 1
            assert {"--label-order", "--skip-bad-rows"} <= options, command.name
    assert reading == 13


def test_calibrate_reads_labels_as_told(world: World, call: Callable[..., str], tmp_path: Path) -> None:
    shutil.copytree(world.runs / "tiny", tmp_path / "tiny")
    arguments = ["calibrate", "tiny", "--runs", tmp_path, "--data", world.official, "--json"]
    as_csv = json.loads(call(*arguments))
    as_sorted = json.loads(call(*arguments, "--label-order", "alphabetical"))
    assert as_sorted["before"]["nll"] != as_csv["before"]["nll"]


REFUSED = {
    "sure alone": (["predict", "x.png", "--sure", "0.5"], "--sure is of a cascade"),
    "every alone": (["predict", "x.png", "--every", "3"], "add --faces"),
    "two forms": (["predict", "x.png", "--csv", "--json"], "choose one"),
    "split alone": (["audit", "--split", "train"], "name it with --run"),
    "votes alone": (["audit", "--votes", "v.csv"], "--label-errors"),
    "no folder": (["submit", "tiny", "--out", "none/x.csv"], "there is no folder none"),
}


@pytest.mark.parametrize(("arguments", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_options_that_would_do_nothing_are_refused(
    error_of: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("L", (48, 48), 90).save("x.png")
    assert reason in error_of(*arguments)
