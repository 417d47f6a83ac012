"""Where a network looks on average: over all faces of an emotion, or of a cell of the confusion matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fer_core.explain.attribution import METHODS, Target, attribute
from fer_core.preprocess import FACE_SIZE
from fer_core.runs import Checkpoint

FACES = 64  # of each group


@dataclass(frozen=True)
class Averages:
    """The mean map of each group of faces.

    names   of the groups
    maps    float32 (groups, 48, 48): means of maps each of which was divided by the sum of its absolute values, so that
            every face counts alike; a value is a share of the whole map, in percent
    faces   float32 (groups, 48, 48), gray levels: the mean face of each group
    counts  how many faces of each group were asked, of how many there are: int (groups, 2)
    """

    run: str
    epoch: int
    method: str
    layer: str
    names: tuple[str, ...]
    maps: np.ndarray
    faces: np.ndarray
    counts: np.ndarray

    @property
    def title(self) -> str:
        return METHODS[self.method].title + (f" at {self.layer}" if self.layer else "")


def average_maps(
    checkpoint: Checkpoint,
    faces: np.ndarray,
    groups: Mapping[str, np.ndarray],
    method: str,
    target: Target = "predicted",
    layer: str | None = None,
    *,
    emotions: np.ndarray | None = None,
    most: int = FACES,
    seed: int = 0,
    report: Callable[[float], object] = lambda _: None,
) -> Averages:
    """The mean map of each group, rows of `faces` uint8 (N, 48, 48); empty groups are left out.

    most: of a larger group so many faces are drawn at random. method, target, layer, emotions, seed: as `attribute`
    takes them. report: called with the share done, 0..1. Raises what `attribute` raises.
    """
    rng = np.random.default_rng(seed)
    drawn = {name: np.sort(rng.permutation(rows)[:most]) for name, rows in groups.items() if len(rows)}
    rows = np.concatenate([*drawn.values(), np.empty(0, int)]).astype(int)
    truth = emotions[rows] if emotions is not None else None
    result = attribute(checkpoint, faces[rows], method, target, layer, emotions=truth, seed=seed, report=report)
    sums = np.abs(result.maps).sum(axis=(1, 2), keepdims=True)
    shares = np.divide(100 * result.maps, sums, out=np.zeros_like(result.maps), where=np.isfinite(sums) & (sums > 0))
    ends = np.cumsum([len(each) for each in drawn.values()])[:-1]
    empty = np.empty((0, FACE_SIZE, FACE_SIZE), np.float32)
    return Averages(
        checkpoint.run,
        checkpoint.epoch,
        method,
        result.layer,
        tuple(drawn),
        np.stack([part.mean(axis=0) for part in np.split(shares, ends)]) if drawn else empty,
        np.stack([part.mean(axis=0, dtype=np.float32) for part in np.split(faces[rows], ends)]) if drawn else empty,
        np.array([[len(each), len(groups[name])] for name, each in drawn.items()]).reshape(-1, 2),
    )
