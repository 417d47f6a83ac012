"""Intervals of means over few values: SciPy's, and how often they hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from fer_core.explain.intervals import half_interval, student


@pytest.mark.parametrize("n", [2, 3, 4, 7, 20, 160, 1000, 100_000])
@pytest.mark.parametrize("share", [0.5, 0.95, 1 - 0.05 / 7])
def test_student_is_scipys(n: int, share: float) -> None:
    assert student(n, share) == pytest.approx(stats.t.ppf((1 + share) / 2, n - 1), rel=1e-5)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_interval_holds_in_95_of_100_studies_however_few_the_faces(n: int) -> None:
    drawn = np.random.default_rng(n).normal(0.3, 2, (n, 20_000))
    assert (np.abs(drawn.mean(axis=0) - 0.3) < half_interval(drawn)).mean() == pytest.approx(0.95, abs=0.006)


def test_of_one_face_it_is_unknown() -> None:
    assert math.isnan(student(1))
    assert np.isnan(half_interval(np.ones((1, 7)))).tolist() == [True] * 7
