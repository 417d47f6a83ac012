"""`Predictor`: faces in, probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fer_core.calibration import scaled, temperatures
from fer_core.labels import EMOTIONS
from fer_core.onnx_backend import OnnxBackend, converted
from fer_core.precision import convolve_in_float32
from fer_core.preprocess import FACE_SIZE, Preprocess, to_face
from fer_core.runs import CHECKPOINTS, Checkpoint, Run, find_run
from fer_core.tta import views

BATCH_SIZE = 128  # on a CPU mostly faster than 256: what a layer gives is reused memory, not new from the system


@dataclass(frozen=True)
class Prediction:
    """What one checkpoint says of N faces.

    run, epoch     of the checkpoint; of a cascade both as RUN:EPOCH in one text, and None
    probabilities  float32 (N, 7), rows sum to 1
    tta            the test-time augmentation over which they were averaged, a key of `fer_core.tta.TTA`
    temperature    fitted for this checkpoint and `tta` on held-out faces; None where it was not calibrated
    """

    run: str
    epoch: int | None
    probabilities: np.ndarray
    tta: str = "none"
    temperature: float | None = None

    @property
    def believed(self) -> np.ndarray:
        """The probabilities at the temperature, the network's own where there is none: float32 (N, 7)."""
        return scaled(self.probabilities, self.temperature)

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
    """A checkpoint ready to read faces.

    temperatures  those that were fitted for it, by `tta`
    backend       the faster way on the CPU, once it is ready; None for PyTorch alone
    """

    checkpoint: Checkpoint
    device: torch.device
    temperatures: Mapping[str, float] = field(default_factory=dict)
    backend: OnnxBackend | None = None

    @classmethod
    def load(
        cls, run: Run | str | Path, epoch: int | None = None, device: str = "cpu", root: Path = CHECKPOINTS
    ) -> Predictor:
        """The checkpoint of a run (an object, its name or its path) at an epoch, the best kept one for None.

        Raises RunError or CheckpointError.
        """
        convolve_in_float32()
        run = run if isinstance(run, Run) else find_run(run, root)
        checkpoint = run.load_checkpoint(epoch)
        checkpoint.model.to(torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]
        fitted = temperatures(run, checkpoint.epoch)
        backend = OnnxBackend(partial(converted, run.path, checkpoint.epoch)) if device == "cpu" else None
        return cls(checkpoint, torch.device(device), fitted, backend)

    def predict(
        self,
        faces: np.ndarray | Sequence[Image.Image | np.ndarray],
        tta: str = "none",
        report: Callable[[float], object] | None = None,
    ) -> Prediction:
        """Probabilities for uint8 faces (N, 48, 48), or for a sequence of pictures of any size, gray or colour.

        tta: average over the views of `fer_core.tta.TTA`. report: called with the share done, 0..1.
        A predictor that is asked again and again changes over to ONNX Runtime, which is faster, where `tta` is none or
        flip: the answers agree within 1e-5 (see `fer_core.onnx_backend`).
        Raises ConfigError for an unknown `tta`, DataError for an array that is no picture.
        """
        stacked = as_faces(faces)
        model, preprocess = self.checkpoint.model, self.checkpoint.preprocess
        eager = partial(predict_probabilities, model, preprocess, stacked, self.device, tta=tta, report=report)
        if self.backend and tta in ("none", "flip") and len(stacked):
            probabilities = self.backend(stacked, eager, report, mirrored=tta == "flip")
        else:
            probabilities = eager()
        return Prediction(
            self.checkpoint.run, self.checkpoint.epoch, probabilities, tta, temperature=self.temperatures.get(tta)
        )

    def is_calibrated(self, tta: str) -> bool:
        """Was a temperature fitted for these views?"""
        return tta in self.temperatures

    def __str__(self) -> str:
        return f"{self.checkpoint.run}:{self.checkpoint.epoch}"


def as_faces(pictures: np.ndarray | Sequence[Image.Image | np.ndarray]) -> np.ndarray:
    """uint8 (N, 48, 48) from faces that are so already, or from pictures of any size."""
    if isinstance(pictures, np.ndarray) and pictures.dtype == np.uint8 and pictures.shape[1:] == (FACE_SIZE, FACE_SIZE):
        return pictures
    faces = [to_face(picture) for picture in pictures]
    return np.stack(faces) if faces else np.empty((0, FACE_SIZE, FACE_SIZE), np.uint8)


@torch.inference_mode()
def predict_probabilities(
    model: Callable[[torch.Tensor], torch.Tensor],
    preprocess: Preprocess,
    faces: np.ndarray,
    device: torch.device,
    tta: str = "none",
    report: Callable[[float], object] | None = None,
) -> np.ndarray:
    """uint8 (N, 48, 48) -> float32 (N, 7), batch by batch in full precision: the mean over the views of `tta`. `model`
    must be in evaluation mode."""
    parts = [np.empty((0, len(EMOTIONS)), np.float32)]
    for start in range(0, len(faces), BATCH_SIZE):
        inputs = preprocess(faces[start : start + BATCH_SIZE]).to(device)
        answers = [
            model(view.contiguous(memory_format=torch.channels_last)).softmax(dim=1) for view in views(inputs, tta)
        ]
        parts.append(torch.stack(answers).mean(dim=0).cpu().numpy())
        if report:
            report(min(1.0, (start + BATCH_SIZE) / len(faces)))
    return np.concatenate(parts)
