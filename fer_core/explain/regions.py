"""Which parts of the face carry each emotion: LIME by label over many faces (the report's item 12 and future work).

FER2013's faces were all cropped alike, so one map of regions fits them on average; a single turned head it fits badly,
which is why only means over many faces are told, with their intervals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from fer_core.errors import DataError
from fer_core.explain.attribution import make_question, running
from fer_core.explain.intervals import half_interval, student
from fer_core.explain.perturbation import covered_scores, fit
from fer_core.labels import EMOTIONS, UNLABELLED
from fer_core.preprocess import FACE_SIZE
from fer_core.runs import Checkpoint

REGIONS = ("Brows", "Eyes", "Nose", "Mouth", "Cheeks", "Forehead", "Outside")
FACES = 40  # of each emotion
_AT_ONCE = 8


def region_map() -> np.ndarray:
    """Which region each pixel belongs to, int64 (48, 48), positions in `REGIONS`; columns c and 47 - c are alike.

    Measured on the mean of FER2013's training faces: the pupils lie in row 17 at columns 14 and 33, the tip of the nose
    in row 28, the line of the mouth in row 38. Brows hold the skin between them, where frowns show; the nose is a wedge
    from 6 to 12 pixels wide; the face is an ellipse, and what is left of it are the cheeks, with the jaw.
    """
    row, column = np.mgrid[:FACE_SIZE, :FACE_SIZE]
    side = np.abs(column - 23.5)  # from the middle of the face
    is_face = (side / 17.5) ** 2 + ((row - 22) / 30) ** 2 <= 1
    layout = np.where(is_face, REGIONS.index("Cheeks"), REGIONS.index("Outside"))
    painted = {
        "Forehead": is_face & (row < 11),
        "Brows": (row >= 11) & (row < 15) & (side < 15),
        "Eyes": (row >= 15) & (row < 22) & (side < 15),
        "Nose": (row >= 15) & (row < 32) & (side < 3 + 3 * (row - 15) / 16),
        "Mouth": (row >= 33) & (row < 43) & (side < 10),
    }
    for name, where in painted.items():
        layout[where] = REGIONS.index(name)
    return layout


@dataclass(frozen=True)
class RegionStudy:
    """What each region adds to an emotion, over faces of that emotion.

    emotions  those of which there were faces
    mean      float (emotions, regions): logits that a region adds to its faces' true emotion, above the mean of all
              seven logits, against a region covered with mean gray
    half      float (emotions, regions): half of the mean's 95 % interval; NaN, unknown, of one face
    n         int (emotions,): faces
    faces     float (emotions, 48, 48), gray levels: the mean of the faces that were asked
    """

    run: str
    epoch: int
    emotions: tuple[str, ...]
    mean: np.ndarray
    half: np.ndarray
    n: np.ndarray
    faces: np.ndarray

    def table(self) -> pd.DataFrame:
        """A line for each emotion and region: weight with its interval, faces, and the region's share of the pixels."""
        areas = np.bincount(region_map().ravel(), minlength=len(REGIONS)) / FACE_SIZE**2
        return pd.DataFrame(
            [
                {
                    "emotion": emotion,
                    "region": region,
                    "weight": self.mean[i, j],
                    "low": self.mean[i, j] - self.half[i, j],
                    "high": self.mean[i, j] + self.half[i, j],
                    "faces": int(self.n[i]),
                    "area": areas[j],
                }
                for i, emotion in enumerate(self.emotions)
                for j, region in enumerate(REGIONS)
            ]
        )

    @property
    def sure(self) -> np.ndarray:
        """bool (emotions, regions): what adds to its emotion beyond doubt, by intervals so wide that those of all seven
        regions hold together in 95 % of such studies (Bonferroni)."""
        wider = [student(int(n), 1 - 0.05 / len(REGIONS)) / student(int(n)) for n in self.n]
        return np.asarray(self.mean > self.half * np.array(wider)[:, None])

    def told(self, emotion: str) -> str:
        """One sentence: all that the face says for an emotion, and the regions that say it beyond doubt."""
        i = self.emotions.index(emotion)
        sure = [j for j in np.argsort(-self.mean[i]) if self.sure[i, j]]
        parts = [f"{REGIONS[j]} {self.mean[i, j]:+.2f} (\u00b1{self.half[i, j]:.2f})" for j in sure[:3]]
        total = f"{emotion}: {self.mean[i].sum():+.2f} logits in all"
        return f"{total}; {', '.join(parts)}." if parts else f"{total}; no region for certain."

    def maps(self) -> np.ndarray:
        """Each emotion's weights painted on the regions: float32 (emotions, 48, 48)."""
        return self.mean[:, region_map()].astype(np.float32)


def study_regions(
    checkpoint: Checkpoint,
    faces: np.ndarray,
    emotions: np.ndarray,
    *,
    most: int = FACES,
    seed: int = 0,
    report: Callable[[float], object] = lambda _: None,
) -> RegionStudy:
    """LIME by label: `most` faces of each emotion, drawn at random from uint8 (N, 48, 48) and their labels int (N,).

    report: called with the share done, 0..1. Raises DataError where no emotion has two labelled faces.
    """
    rng = np.random.default_rng(seed)
    by_emotion = {e: np.flatnonzero(emotions == e) for e in range(len(EMOTIONS))}
    drawn = {e: np.sort(rng.permutation(rows)[:most]) for e, rows in by_emotion.items() if len(rows) > 1}
    if not drawn:
        raise DataError("Regions are studied by emotion, and no emotion has two labelled faces here; open others.")
    rows = np.concatenate(list(drawn.values()))
    weights = region_weights(checkpoint, faces[rows], emotions[rows], report)
    parts = np.split(weights, np.cumsum([len(each) for each in drawn.values()])[:-1])
    n = np.array([len(part) for part in parts])
    return RegionStudy(
        checkpoint.run,
        checkpoint.epoch,
        tuple(EMOTIONS[e] for e in drawn),
        np.stack([part.mean(axis=0) for part in parts]),
        np.stack([half_interval(part) for part in parts]),
        n,
        np.stack([faces[each].mean(axis=0) for each in drawn.values()]),
    )


def region_weights(
    checkpoint: Checkpoint,
    faces: np.ndarray,
    emotions: np.ndarray,
    report: Callable[[float], object] = lambda _: None,
) -> np.ndarray:
    """What each region adds to each face's own emotion, above the mean of all logits: float32 (N, regions).

    With so few regions every way to cover some of them is tried: no lots are drawn, and no ridge is needed.
    Raises DataError for a face without label.
    """
    import torch

    if (emotions == UNLABELLED).any():
        raise DataError("Regions are weighed for the true emotion, and some of these faces have no label.")
    kept = torch.tensor(list(product([True, False], repeat=len(REGIONS))))  # (128, regions)
    segments = torch.from_numpy(region_map())
    targets = (np.eye(len(EMOTIONS)) - 1 / len(EMOTIONS)).astype(np.float32)[emotions]
    parts = [np.empty((0, len(REGIONS)), np.float32)]
    with running(checkpoint):
        for start in range(0, len(faces), _AT_ONCE):
            batch = slice(start, start + _AT_ONCE)
            ask = make_question(checkpoint, faces[batch], targets[batch])
            scores = covered_scores(ask, segments.to(ask.inputs.device), kept.to(ask.inputs.device))
            parts.append(fit(kept.to(scores.device), scores, ridge=0).T.cpu().numpy())
            report(min(1.0, (start + _AT_ONCE) / len(faces)))
    return np.concatenate(parts)
