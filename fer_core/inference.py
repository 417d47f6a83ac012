"""`Predictor`: faces in, probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from fer_core.labels import EMOTIONS
from fer_core.preprocess import FACE_SIZE, Preprocess, to_face
from fer_core.runs import CHECKPOINTS, Checkpoint, Run, find_run

BATCH_SIZE = 256


@dataclass(frozen=True)
class Prediction:
    """What one checkpoint says of N faces. `probabilities` is float32 (N, 7), rows sum to 1."""

    run: str
    epoch: int
    probabilities: np.ndarray

    @property
    def emotions(self) -> np.ndarray:
        """The most probable emotion of each face: int (N,)."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def confidence(self) -> np.ndarray:
        """The probability of that emotion: float32 (N,)."""
        return np.asarray(self.probabilities.max(axis=1))


@dataclass(frozen=True)
class Predictor:
    """A checkpoint ready to read faces."""

    checkpoint: Checkpoint
    device: torch.device

    @classmethod
    def load(
        cls, run: Run | str | Path, epoch: int | None = None, device: str = "cpu", root: Path = CHECKPOINTS
    ) -> Predictor:
        """The checkpoint of a run (an object, its name or its path) at an epoch, the best kept one for None.

        Raises RunError or CheckpointError.
        """
        run = run if isinstance(run, Run) else find_run(run, root)
        checkpoint = run.load_checkpoint(epoch)
        checkpoint.model.to(torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(checkpoint, torch.device(device))

    def predict(
        self,
        faces: np.ndarray | Sequence[Image.Image | np.ndarray],
        flip: bool = False,
        report: Callable[[float], object] | None = None,
    ) -> Prediction:
        """Probabilities for uint8 faces (N, 48, 48), or for a sequence of pictures of any size, gray or colour.

        flip: average with the mirrored face (test-time augmentation). report: called with the share done, 0..1.
        """
        stacked = as_faces(faces)
        probabilities = predict_probabilities(
            self.checkpoint.model, self.checkpoint.preprocess, stacked, self.device, flip=flip, report=report
        )
        return Prediction(self.checkpoint.run, self.checkpoint.epoch, probabilities)


def as_faces(pictures: np.ndarray | Sequence[Image.Image | np.ndarray]) -> np.ndarray:
    """uint8 (N, 48, 48) from faces that are so already, or from pictures of any size."""
    if isinstance(pictures, np.ndarray) and pictures.dtype == np.uint8 and pictures.shape[1:] == (FACE_SIZE, FACE_SIZE):
        return pictures
    faces = [to_face(picture) for picture in pictures]
    return np.stack(faces) if faces else np.empty((0, FACE_SIZE, FACE_SIZE), np.uint8)


@torch.inference_mode()
def predict_probabilities(
    model: nn.Module,
    preprocess: Preprocess,
    faces: np.ndarray,
    device: torch.device,
    flip: bool = False,
    report: Callable[[float], object] | None = None,
) -> np.ndarray:
    """uint8 (N, 48, 48) -> float32 (N, 7), batch by batch in full precision. `model` must be in evaluation mode."""
    parts = [np.empty((0, len(EMOTIONS)), np.float32)]
    for start in range(0, len(faces), BATCH_SIZE):
        inputs = preprocess(faces[start : start + BATCH_SIZE]).to(device).contiguous(memory_format=torch.channels_last)
        probabilities = model(inputs).softmax(dim=1)
        if flip:
            probabilities = (probabilities + model(inputs.flip(-1)).softmax(dim=1)) / 2
        parts.append(probabilities.cpu().numpy())
        if report:
            report(min(1.0, (start + BATCH_SIZE) / len(faces)))
    return np.concatenate(parts)
