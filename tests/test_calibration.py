"""Temperature scaling against closed forms, torch's optimiser, scipy's and torchmetrics' ECE."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torchmetrics.classification import MulticlassCalibrationError

from fer_core.calibration import (
    BINS,
    FILE,
    Calibration,
    calibrate,
    fit_temperature,
    halves,
    load_calibration,
    load_calibrations,
    reliability,
    scaled,
    store_calibration,
)
from fer_core.data import FaceDataset
from fer_core.errors import DataError, RunError
from fer_core.evaluation import evaluate
from fer_core.inference import Prediction, Predictor
from fer_core.runs import Run

ROOT = Path(__file__).parent.parent
NAMED = {"epoch": 3, "data": "Patterns", "split": "validation", "fingerprint": "abc"}


def too_sure(n: int = 3000, factor: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, their softmax and labels drawn from the softmax of logits / factor: the true temperature is `factor`."""
    rng = np.random.default_rng(seed)
    logits = factor * rng.normal(0, 1.5, (n, 7))
    true = torch.from_numpy(logits / factor).softmax(1)
    labels = torch.multinomial(true, 1, generator=torch.Generator().manual_seed(seed))[:, 0].numpy()
    return logits, torch.from_numpy(logits).softmax(1).numpy(), labels.astype(np.int8)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5, 20.0])
def test_scaling_probabilities_is_scaling_logits(temperature: float) -> None:
    logits, probabilities, _ = too_sure(200)
    expected = (torch.from_numpy(logits) / temperature).softmax(1)
    found = scaled(probabilities.astype(np.float32), temperature)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-7)
    np.testing.assert_array_equal(found.argmax(1), probabilities.argmax(1))


def test_scaling_what_was_rounded_to_zero_and_nothing_at_all() -> None:
    certain = np.eye(7, dtype=np.float16)[[2]]
    np.testing.assert_allclose(scaled(certain, 2.0)[0, 2], 1 / (1 + 6e-6), rtol=1e-6)  # the zeros count as 1e-12
    assert np.isfinite(scaled(certain, 0.05)).all()
    assert scaled(np.empty((0, 7), np.float32), 2.0).shape == (0, 7)


@pytest.mark.parametrize(("sure", "right"), [(0.9, 0.6), (0.5, 0.8), (0.7, 0.7)])
def test_a_temperature_in_closed_form(sure: float, right: float) -> None:
    """Where all answers are alike, the best confidence is the share of right ones: p^(1/T) must come out as `right`."""
    n = 100
    probabilities = np.full((n, 7), (1 - sure) / 6)
    probabilities[:, 3] = sure
    emotions = np.full(n, 3)
    emotions[round(right * n) :] = 5
    expected = math.log(6 * sure / (1 - sure)) / math.log(6 * right / (1 - right))
    temperature = fit_temperature(probabilities, emotions)
    assert temperature == pytest.approx(expected, rel=1e-9)
    assert scaled(probabilities, temperature)[0, 3] == pytest.approx(right, rel=1e-6)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_the_temperature_is_that_of_scipy_and_of_torch(factor: float) -> None:
    logits, probabilities, emotions = too_sure(factor=factor)
    found = fit_temperature(probabilities, emotions)
    z, y = torch.from_numpy(logits), torch.from_numpy(emotions.astype(np.int64))

    def nll(temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(z / temperature, y))

    theirs = minimize_scalar(nll, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9}).x
    assert found == pytest.approx(theirs, rel=1e-5)
    parameter = torch.zeros((), dtype=torch.float64, requires_grad=True)  # the log of the temperature
    optimizer = torch.optim.LBFGS([parameter], max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(z / parameter.exp(), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert found == pytest.approx(parameter.exp().item(), rel=1e-5)
    assert found == pytest.approx(factor, rel=0.1)  # and near the one that the labels were drawn with


def test_a_temperature_stays_within_its_bounds() -> None:
    _, probabilities, _ = too_sure(50)
    assert fit_temperature(probabilities, probabilities.argmax(1)) == pytest.approx(0.05)
    assert fit_temperature(probabilities, probabilities.argmin(1)) == pytest.approx(20)


def test_the_ece_is_that_of_torchmetrics() -> None:
    _, probabilities, emotions = too_sure()
    found = reliability(probabilities, emotions)
    metric = MulticlassCalibrationError(num_classes=7, n_bins=BINS, norm="l1")
    theirs = metric(torch.from_numpy(probabilities), torch.from_numpy(emotions.astype(np.int64)))
    assert found.ece == pytest.approx(theirs.item(), rel=1e-5)
    assert found.ece > 0.05
    named = {"run": "run", "epoch": 1, "data": "data", "split": "test"}
    assert found.nll == evaluate(probabilities, emotions, **named).loss  # type: ignore[arg-type]
    assert found.faces == 3000
    assert sum(found.hits) == (probabilities.argmax(1) == emotions).sum()


def test_reliability_by_hand() -> None:
    sure = [1 / 5, 1.0, 0.95, 0.55, 0.54, 0.5]  # 1/5 is the upper end of the third bin, which has it
    probabilities = np.array([[p, *[(1 - p) / 6] * 6] for p in sure])
    emotions = np.array([0, 0, 1, 0, 2, 0])
    found = reliability(probabilities, emotions)
    assert found.n == (0, 0, 1, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 2)
    assert found.hits == (0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1)
    assert found.confidence[14] == pytest.approx(0.975)
    assert found.confidence[0] == 0
    expected = (0.8 + 0.5 + abs(1 - 1.09) + abs(1 - 1.95)) / 6
    assert found.ece == pytest.approx(expected)


def test_halves_are_stratified_and_always_the_same() -> None:
    emotions = np.repeat(np.arange(7, dtype=np.int8), [10, 1, 3, 20, 0, 8, 2])
    first, second = halves(emotions)
    assert sorted([*first, *second]) == list(range(44))
    assert np.bincount(emotions[first], minlength=7).tolist() == [5, 0, 1, 10, 0, 4, 1]
    assert [rows.tolist() for rows in halves(emotions)] == [first.tolist(), second.tolist()]
    assert not np.array_equal(first[:5], np.arange(5))  # drawn, not cut


def test_fitted_on_one_half_and_checked_on_the_other() -> None:
    _, probabilities, emotions = too_sure()
    result = calibrate(probabilities, emotions, **NAMED)  # type: ignore[arg-type]
    fit, check = halves(emotions)
    assert (result.fitted_on, result.before.faces, result.after.faces) == (len(fit), len(check), len(check))
    assert result.temperature == fit_temperature(probabilities[fit], emotions[fit])
    changed = emotions.copy()
    changed[check] = (changed[check] + 1) % 7
    order = np.argsort(changed[fit], kind="stable")
    assert fit_temperature(probabilities[fit][order], changed[fit][order]) == pytest.approx(result.temperature)
    assert result.before == reliability(probabilities[check], emotions[check])
    assert result.after == reliability(scaled(probabilities[check], result.temperature), emotions[check])
    assert result.after.ece < result.before.ece / 2
    assert result.after.nll < result.before.nll
    assert sum(result.after.hits) == sum(result.before.hits)


def test_too_few_faces_to_halve() -> None:
    with pytest.raises(
        DataError, match="validation split of Patterns has 3 labelled faces, too few to fit on half of them"
    ):
        calibrate(np.full((3, 7), 1 / 7), np.array([0, 1, 2]), **NAMED)  # type: ignore[arg-type]


# -- in a run ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def calibration() -> Calibration:
    _, probabilities, emotions = too_sure(300)
    return calibrate(probabilities, emotions, **NAMED)  # type: ignore[arg-type]


def test_stored_and_loaded(copied: Run, calibration: Calibration) -> None:
    assert load_calibrations(copied) == []
    flipped = replace(calibration, tta="flip", temperature=1.25)
    earlier = replace(calibration, epoch=1)
    for one in (calibration, flipped, earlier):
        store_calibration(copied, one)
    assert load_calibrations(copied) == [earlier, flipped, calibration]
    assert load_calibration(copied, 3) == calibration
    assert load_calibration(copied, 3, "flip") == flipped
    assert load_calibration(copied, 3, "crops") is None
    assert load_calibration(copied, 2) is None
    again = replace(calibration, temperature=3.0)
    store_calibration(copied, again)  # in the place of the older one
    assert load_calibrations(copied) == [earlier, flipped, again]
    written = json.loads((copied.path / FILE).read_text())
    assert written["format_version"] == 1
    assert written["calibrations"][1]["before"]["ece"] == flipped.before.ece
    assert list(copied.path.glob(".*")) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-30],
        lambda text: text[:0],
        lambda text: f"[{text}]",
        lambda text: text.replace('"temperature"', '"degrees"'),
        lambda text: text.replace('"hits"', '"hots"'),
        lambda text: text.replace('"format_version": 1', '"format_version": 9'),
        lambda text: text.replace('"temperature": 2.0', '"temperature": -2.0'),
    ],
    ids=["cut off", "empty", "list", "no temperature", "no hits", "newer", "negative"],
)
def test_a_damaged_file_is_named_and_kept(copied: Run, calibration: Calibration, damage: Callable[[str], str]) -> None:
    store_calibration(copied, replace(calibration, temperature=2.0))
    file = copied.path / FILE
    damaged = damage(file.read_text())
    assert damaged != file.read_text()
    file.write_text(damaged)
    message = r"calibration\.json cannot be read .*; delete it and calibrate again: python -m fer_core calibrate run$"
    with pytest.raises(RunError, match=message):
        load_calibration(copied, 3)
    with pytest.raises(RunError, match=message):
        store_calibration(copied, calibration)
    assert file.read_text() == damaged


def test_calibrated_probabilities_go_before_the_networks_own() -> None:
    own = np.array([[0.8, 0.2, 0, 0, 0, 0, 0]], np.float32)
    assert Prediction("run", 1, own).believed is own
    cooled = Prediction("run", 1, own, temperature=2.0).believed
    # p ** (1 / 2): 0.894 and 0.447, of which the shares are 2 / 3 and 1 / 3
    np.testing.assert_allclose(cooled[0, :2], [2 / 3, 1 / 3], atol=1e-3)


def test_a_prediction_knows_its_temperature(copied: Run, faces: FaceDataset, calibration: Calibration) -> None:
    bare = Predictor.load(copied, 3).predict(faces.images)
    assert bare.temperature is None
    assert bare.believed is bare.probabilities
    store_calibration(copied, calibration)
    store_calibration(copied, replace(calibration, tta="flip", temperature=3.0))
    store_calibration(copied, replace(calibration, epoch=1, temperature=4.0))
    predictor = Predictor.load(copied, 3)
    plain, flipped, crops = (predictor.predict(faces.images, tta) for tta in ("none", "flip", "crops"))
    np.testing.assert_array_equal(plain.probabilities, bare.probabilities)
    assert (plain.temperature, flipped.temperature, crops.temperature) == (calibration.temperature, 3.0, None)
    with torch.no_grad():
        logits = predictor.checkpoint.model(predictor.checkpoint.preprocess(faces.images))
    expected = (logits / calibration.temperature).softmax(1)
    np.testing.assert_allclose(plain.believed, expected, atol=1e-5)
    np.testing.assert_array_equal(flipped.believed, scaled(flipped.probabilities, 3.0))


def test_it_needs_no_torch() -> None:
    code = "import sys, fer_core.calibration, fer_core.tta, fer_core.data.leaks; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
