"""A cascade: the second network is asked about the faces of which the first is unsure, and about no others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fer_core.calibration import scaled
from fer_core.cascade import Cascade, cascaded
from fer_core.data import FaceDataset
from fer_core.errors import ConfigError
from fer_core.inference import Predictor
from fer_core.runs import Run


def rows(*largest: float) -> np.ndarray:
    """Probabilities (N, 7) with the largest one given, and the rest shared by the others."""
    return np.array([[one, *[(1 - one) / 6] * 6] for one in largest], np.float32)


def test_only_unsure_faces_are_asked_about_by_hand() -> None:
    first, asked = rows(0.9, 0.4, 0.6, 0.5), []

    def ask(positions: np.ndarray) -> np.ndarray:
        asked.extend(positions.tolist())
        return rows(0.7, 0.8)

    np.testing.assert_array_equal(cascaded(first, 0.5, ask), rows(0.9, 0.7, 0.6, 0.8))  # 0.5 is not above 0.5
    assert asked == [1, 3]
    np.testing.assert_array_equal(first, rows(0.9, 0.4, 0.6, 0.5))


@pytest.mark.parametrize(
    ("first", "sure"), [(rows(0.9, 0.4), 0.39), (rows(0.3), 0.0), (np.empty((0, 7), np.float32), 1.0)]
)
def test_nobody_is_asked_where_all_are_sure(first: np.ndarray, sure: float) -> None:
    assert cascaded(first, sure, lambda _: pytest.fail("asked")) is first


@pytest.mark.parametrize("tta", ["none", "flip"])
def test_a_cascade_of_two_checkpoints(finished: Run, faces: FaceDataset, tta: str) -> None:
    first, second = Predictor.load(finished, 1), Predictor.load(finished, 3)
    fast = replace(first, temperatures={"none": 0.8, "flip": 5.0})
    accurate = replace(second, temperatures={"flip": 1.5})
    sure = float(np.median(fast.predict(faces.images).believed.max(axis=1)))
    prediction = Cascade(fast, accurate, sure).predict(faces.images, tta)
    easy = scaled(first.predict(faces.images).probabilities, 0.8)
    hard = scaled(second.predict(faces.images, tta).probabilities, 1.5 if tta == "flip" else None)
    unsure = easy.max(axis=1) <= sure
    assert 50 < unsure.sum() < 70
    np.testing.assert_array_equal(prediction.believed[~unsure], easy[~unsure])
    np.testing.assert_allclose(prediction.believed[unsure], hard[unsure], atol=1e-6)
    assert (prediction.run, prediction.epoch, prediction.tta) == ("run:1, then run:3", None, tta)
    assert Cascade(fast, accurate).is_calibrated(tta) == (tta == "flip")
    assert not Cascade(first, accurate).is_calibrated(tta)


def test_views_that_there_are_not_are_refused_even_where_nobody_is_asked(finished: Run, faces: FaceDataset) -> None:
    one = Predictor.load(finished, 1)
    with pytest.raises(ConfigError, match="no test-time augmentation 'tilt'"):
        Cascade(one, one, 0.0).predict(faces.images, "tilt")


def test_the_ends_are_the_two_networks(finished: Run, faces: FaceDataset) -> None:
    first, second = Predictor.load(finished, 1), Predictor.load(finished, 3)
    for sure, alone in ((0.0, first), (1.0, second)):
        both = Cascade(first, second, sure).predict(faces.images).probabilities
        np.testing.assert_allclose(both, alone.predict(faces.images).probabilities, atol=1e-6)


def test_pictures_and_progress_as_with_one_network(
    finished: Run, faces: FaceDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures of any size; no faces at all; the second network sees no more than it has to."""
    asked: list[int] = []
    predict: Callable[..., Any] = Predictor.predict

    def counted(self: Predictor, some: np.ndarray, *more: Any, **named: Any) -> Any:
        asked.append(len(some))
        return predict(self, some, *more, **named)

    cascade = Cascade(Predictor.load(finished, 1), Predictor.load(finished, 3), 0.5)
    unsure = int((cascade.first.predict(faces.images).confidence <= 0.5).sum())
    monkeypatch.setattr(Predictor, "predict", counted)
    shares: list[float] = []
    cascade.predict(list(faces.images), report=shares.append)
    assert asked == [126, unsure]
    assert shares == [1.0]
    assert cascade.predict([]).probabilities.shape == (0, 7)
