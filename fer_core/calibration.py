"""Temperature scaling (Guo et al. 2017, On Calibration of Modern Neural Networks): how sure a checkpoint may be.

A network's probabilities p become p^(1/T), each row divided by its sum: exactly what dividing its logits by T gives,
and possible where only probabilities were kept or averaged. T is fitted on one half of the validation faces and checked
on the other. In numpy, so that the dashboard need not wait for torch.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_core.errors import DataError, RunError
from fer_core.evaluation import LEAST

if TYPE_CHECKING:
    from fer_core.runs import Run

FILE = "calibration.json"  # in the run directory
FORMAT_VERSION = 1
BINS = 15  # of confidence, equally wide (Guo et al.)
SMALLEST, LARGEST = 0.05, 20.0  # temperatures looked at


@dataclass(frozen=True)
class Reliability:
    """How sure against how right, over the faces of each bin of confidence ((b / BINS, (b + 1) / BINS], b from 0).

    n           faces in each bin
    hits        how many of these were recognised
    confidence  their mean confidence (the largest probability), 0..1; 0 in an empty bin
    nll         over all faces: mean negative log of the true emotion's probability, in nats
    """

    n: tuple[int, ...]
    hits: tuple[int, ...]
    confidence: tuple[float, ...]
    nll: float

    @property
    def faces(self) -> int:
        return sum(self.n)

    @property
    def ece(self) -> float:
        """Expected calibration error, 0..1: the mean over the faces of |accuracy - confidence| of their bin."""
        gaps = (abs(hits - n * sure) for n, hits, sure in zip(self.n, self.hits, self.confidence, strict=True))
        return sum(gaps) / self.faces if self.faces else math.nan


@dataclass(frozen=True)
class Calibration:
    """The temperature of one checkpoint under one test-time augmentation, and what it changed.

    tta            key of `fer_core.tta.TTA` over which the probabilities were averaged before they were scaled
    temperature    above 1 where the network was too sure
    data, split, fingerprint   the faces, half of which it was fitted on
    fitted_on      how many these were
    before, after  the other half, as the network says and at the temperature
    """

    epoch: int
    tta: str
    temperature: float
    data: str
    split: str
    fingerprint: str
    fitted_on: int
    before: Reliability
    after: Reliability


def scaled(probabilities: np.ndarray, temperature: float | None) -> np.ndarray:
    """Probabilities (N, 7) at a temperature: float32 (N, 7), rows sum to 1; as they are for None. The order within a
    row stays."""
    if temperature is None:
        return probabilities
    logs = _logs(probabilities) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True, initial=-math.inf))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def fit_temperature(probabilities: np.ndarray, emotions: np.ndarray) -> float:
    """The temperature, SMALLEST to LARGEST, at which probabilities (N, 7) have the least mean negative log-likelihood
    of the labels (N,), none of which may be missing.

    That is convex in 1/T, with the slope E[log p] under the scaled probabilities less the log p of the truth: bisected.
    """
    logs = _logs(probabilities)
    truth = logs[np.arange(len(logs)), emotions].mean()
    low, high = 1 / LARGEST, 1 / SMALLEST
    for _ in range(50):
        middle = (low + high) / 2
        powers = np.exp(middle * (logs - logs.max(axis=1, keepdims=True)))
        expected = ((powers * logs).sum(axis=1) / powers.sum(axis=1)).mean()
        low, high = (low, middle) if expected > truth else (middle, high)
    return float(2 / (low + high))


def reliability(probabilities: np.ndarray, emotions: np.ndarray) -> Reliability:
    """How sure against how right probabilities (N, 7) are, by bins; no label (N,) may be missing."""
    sure = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == emotions
    bins = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)
    n, hits, total = (np.bincount(bins, weights, BINS) for weights in (None, right, sure))
    truth = probabilities[np.arange(len(emotions)), emotions]
    return Reliability(
        tuple(n.tolist()),
        tuple(hits.astype(int).tolist()),
        tuple((total / np.maximum(n, 1)).tolist()),
        float(-_logs(truth).mean()) if len(truth) else math.nan,
    )


def _logs(probabilities: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.maximum(probabilities.astype(np.float64), LEAST)))  # float16 has no number this small


def halves(emotions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of two halves of faces with labels (N,), each emotion cut in half at random: always the same way."""
    generator = np.random.default_rng(0)
    first = np.zeros(len(emotions), bool)
    for emotion in np.unique(emotions):
        rows = np.flatnonzero(emotions == emotion)
        first[generator.permutation(rows)[: len(rows) // 2]] = True
    return np.flatnonzero(first), np.flatnonzero(~first)


def calibrate(
    probabilities: np.ndarray,
    emotions: np.ndarray,
    *,
    epoch: int,
    data: str,
    split: str,
    fingerprint: str,
    tta: str = "none",
) -> Calibration:
    """Fit a temperature to probabilities (N, 7) of labelled faces on half of them, and check it on the other half.

    Raises DataError where no emotion has two faces, so that there are no halves.
    """
    fit, check = halves(emotions)
    if not len(fit):
        raise DataError(
            f"The {split} split of {data} has {len(emotions)} labelled faces, too few to fit on half of them."
        )
    temperature = fit_temperature(probabilities[fit], emotions[fit])
    before = reliability(probabilities[check], emotions[check])
    after = reliability(scaled(probabilities[check], temperature), emotions[check])
    return Calibration(epoch, tta, temperature, data, split, fingerprint, len(fit), before, after)


# -- in the run directory ------------------------------------------------------------------------------------------


def load_calibrations(run: Run) -> list[Calibration]:
    """What is stored of all checkpoints of a run. Raises RunError where calibration.json is damaged or newer."""
    path = run.path / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format_version"] != FORMAT_VERSION:
            raise ValueError(f"it has format {content['format_version']}, this version reads format {FORMAT_VERSION}")
        return [_from_dict(entry) for entry in content["calibrations"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        again = f"python -m fer_core calibrate {run.name}"
        raise RunError(f"{path} cannot be read ({error}); delete it and calibrate again: {again}") from error


def load_calibration(run: Run, epoch: int, tta: str = "none") -> Calibration | None:
    """The stored calibration of a checkpoint, None where it has none for this `tta`. Raises RunError as above."""
    return next((one for one in load_calibrations(run) if (one.epoch, one.tta) == (epoch, tta)), None)


def temperatures(run: Run, epoch: int) -> dict[str, float]:
    """The stored temperatures of a checkpoint, by `tta`. Raises RunError as above."""
    return {one.tta: one.temperature for one in load_calibrations(run) if one.epoch == epoch}


def store_calibration(run: Run, calibration: Calibration) -> None:
    """Add a calibration to the run's own, in place of one of the same epoch and `tta`. Raises RunError."""
    key = (calibration.epoch, calibration.tta)
    others = [one for one in load_calibrations(run) if (one.epoch, one.tta) != key]
    entries = sorted([*others, calibration], key=lambda one: (one.epoch, one.tta))
    content = {"format_version": FORMAT_VERSION, "calibrations": [to_dict(one) for one in entries]}
    try:
        run.write_text(FILE, json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise RunError(f"{run.path / FILE} cannot be written ({error.strerror}); copy the run elsewhere.") from error


def to_dict(calibration: Calibration) -> dict[str, Any]:
    """Plain values for JSON, with the ECE that the bins give."""
    sides = {"before": calibration.before, "after": calibration.after}
    return asdict(calibration) | {name: {"ece": side.ece, **asdict(side)} for name, side in sides.items()}


def _from_dict(entry: dict[str, Any]) -> Calibration:
    sides = {
        name: Reliability(
            n=tuple(entry[name]["n"]),
            hits=tuple(entry[name]["hits"]),
            confidence=tuple(entry[name]["confidence"]),
            nll=float(entry[name]["nll"]),
        )
        for name in ("before", "after")
    }
    calibration = Calibration(**{**entry, **sides})
    if not SMALLEST <= calibration.temperature <= LARGEST:
        raise ValueError(f"the temperature {calibration.temperature} is outside {SMALLEST} to {LARGEST}")
    return calibration
