"""How far a mean over few faces can be trusted: by Student's t, since the normal distribution is too sure of few."""

from __future__ import annotations

import math
from functools import cache

import numpy as np


def half_interval(values: np.ndarray) -> np.ndarray:
    """Half of the 95 % interval of the mean over the first axis (n, ...); NaN, unknown, below two values."""
    n = len(values)
    if n < 2:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(student(n) * values.std(axis=0, ddof=1) / math.sqrt(n))


@cache
def student(n: int, share: float = 0.95) -> float:
    """How many standard errors the interval of a mean of n values reaches to each side (Student 1908); NaN for n < 2.

    The angle whose tangent is t / sqrt(n - 1) has the density cos(angle) ** (n - 2), which is summed up here: SciPy,
    which the tests compare with, is no requirement of this project.
    """
    if n < 2:
        return math.nan
    angles = np.linspace(0, np.pi / 2, 100_001)
    density = np.cos(angles) ** (n - 2)
    within = np.append(0, np.cumsum(density[1:] + density[:-1]))
    return math.sqrt(n - 1) * math.tan(np.interp(share, within / within[-1], angles))
