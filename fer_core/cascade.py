"""Two networks in a cascade: a fast one answers, and an accurate one is asked about the faces of which it is unsure.

Where the first is sure, the second is right no more often. Viola & Jones 2001 find faces so; Wang et al. 2022 (Wisdom
of Committees) show that for classifiers a threshold on the first network's confidence is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fer_core.tta import views_of

if TYPE_CHECKING:
    from PIL import Image

    from fer_core.inference import Prediction, Predictor
    from fer_core.onnx_predictor import OnnxPredictor

SURE = 0.6  # chosen on PublicTest for `student` before `best`: docs/recipes.md


def cascaded(first: np.ndarray, sure: float, ask: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Probabilities (N, 7), those of faces whose largest one is not above `sure` replaced by what `ask` says of them:
    of none at 0, of all at 1.

    ask: from the positions of k such faces, int (k,), to probabilities (k, 7); not called where there are none.
    """
    unsure = np.flatnonzero(first.max(axis=1) <= sure)
    if not len(unsure):
        return first
    said = first.copy()
    said[unsure] = ask(unsure)
    return said


@dataclass(frozen=True)
class Cascade:
    """Two checkpoints that read faces as one `Predictor` does.

    first   asked about every face
    second  asked about those to whose emotion the first gives a probability not above `sure`, 0..1

    Each probability is calibrated where the checkpoint that gave it is.
    """

    first: Predictor | OnnxPredictor
    second: Predictor | OnnxPredictor
    sure: float = SURE

    def predict(
        self,
        faces: np.ndarray | Sequence[Image.Image | np.ndarray],
        tta: str = "none",
        report: Callable[[float], object] | None = None,
    ) -> Prediction:
        """As `Predictor.predict`. tta: the views over which the second network averages; the first looks once. report:
        called with the share that the first has done, 0..1."""
        from fer_core.inference import Prediction, as_faces

        views_of(tta)  # raises where nobody would be asked, too
        stacked = as_faces(faces)
        said = cascaded(
            self.first.predict(stacked, report=report).believed,
            self.sure,
            lambda rows: self.second.predict(stacked[rows], tta).believed,
        )
        return Prediction(str(self), None, said, tta)

    def __str__(self) -> str:
        return f"{self.first}, then {self.second}"

    def is_calibrated(self, tta: str) -> bool:
        """Do the probabilities of both networks fit how often they are right?"""
        return self.first.is_calibrated("none") and self.second.is_calibrated(tta)
