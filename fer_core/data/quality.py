"""What a face looks like as a picture, without knowing what it shows: brightness, contrast, sharpness, blank or not,
and a rough guess at which way it is turned. All in numpy, in blocks: a million faces need little memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from fer_core.labels import EMOTIONS
from fer_core.preprocess import FACE_SIZE

BLANK_BELOW = 5.0  # gray levels of contrast under which nothing can be seen
_BLOCK = 4096
_MIDDLE = slice(8, 40)  # where a cropped face has its eyes, nose and mouth
_COLUMNS = np.arange(_MIDDLE.start + 1, _MIDDLE.stop, dtype=np.float32) - FACE_SIZE / 2  # between two pixels each


@dataclass(frozen=True, eq=False)
class Quality:
    """Numbers of N faces, float32 (N,) each.

    brightness  mean gray level, 0..255
    contrast    standard deviation of the gray levels (RMS contrast), 0..127.5
    sharpness   standard deviation of the Laplacian (4 neighbours), in gray levels; its square is the focus measure of
                Pech-Pacheco et al. 2000; noise counts as sharp
    turn        horizontal centre of the vertical edges in the middle of the picture, in pixels from its middle: a guess
                at the yaw without a detector. On the rendered demo faces, whose yaw is known, the two correlate by 0.73
    """

    brightness: np.ndarray
    contrast: np.ndarray
    sharpness: np.ndarray
    turn: np.ndarray

    def __len__(self) -> int:
        return len(self.brightness)

    def of(self, rows: np.ndarray) -> Quality:
        """The numbers of some rows, int (n,)."""
        return Quality(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def constant(self) -> np.ndarray:
        """bool (N,): all pixels have one gray level."""
        return np.asarray(self.contrast == 0)

    @property
    def blank(self) -> np.ndarray:
        """bool (N,): constant, or with a contrast below BLANK_BELOW."""
        return np.asarray(self.contrast < BLANK_BELOW)


def measure_quality(images: np.ndarray, report: Callable[[float], object] | None = None) -> Quality:
    """Measure uint8 faces (N, 48, 48); `report` is called with the share done, 0..1."""
    parts = [np.empty((0, len(fields(Quality))), np.float32)]
    for start in range(0, len(images), _BLOCK):
        parts.append(_measure(images[start : start + _BLOCK]))
        if report:
            report(min(1.0, (start + _BLOCK) / len(images)))
    return Quality(*np.concatenate(parts).T.copy())


def _measure(images: np.ndarray) -> np.ndarray:
    """float32 (B, 4), in the order of Quality's fields."""
    x = images.astype(np.float32)
    laplacian = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:] - 4 * x[:, 1:-1, 1:-1]
    edges = np.abs(np.diff(x[:, _MIDDLE, _MIDDLE], axis=2)).sum(axis=1)  # (B, 31)
    turn = edges @ _COLUMNS / np.maximum(edges.sum(axis=1), 1e-6)
    return np.stack([x.mean(axis=(1, 2)), x.std(axis=(1, 2)), laplacian.std(axis=(1, 2)), turn], axis=1)


def mean_faces(images: np.ndarray, emotions: np.ndarray) -> np.ndarray:
    """The mean face of each emotion: float32 (7, 48, 48), gray levels; NaN where an emotion has no face."""
    means = np.full((len(EMOTIONS), FACE_SIZE, FACE_SIZE), np.nan, np.float32)
    for emotion in range(len(EMOTIONS)):
        rows = np.flatnonzero(emotions == emotion)
        if len(rows):
            blocks = (images[rows[i : i + _BLOCK]].sum(axis=0, dtype=np.uint64) for i in range(0, len(rows), _BLOCK))
            means[emotion] = sum(blocks) / len(rows)
    return means
