"""A file of `python -m fer_core export onnx` that reads faces as a `Predictor` does: in 8-bit integers the fastest way
on a processor (`python -m benchmarks.inference_speed`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from fer_core.errors import CheckpointError, ConfigError, FerError
from fer_core.inference import Prediction, as_faces
from fer_core.labels import EMOTIONS
from fer_core.onnx_backend import run_in_slices
from fer_core.onnx_export import open_session
from fer_core.tta import views_of

SUFFIX = ".onnx"


@dataclass(frozen=True)
class OnnxPredictor:
    """An ONNX file ready to read faces.

    run, epoch    of the checkpoint that was exported, as the file says
    temperatures  those that were fitted for it, by `tta`
    """

    file: Path
    session: Any
    run: str
    epoch: int
    temperatures: Mapping[str, float]

    @classmethod
    def load(cls, file: Path) -> OnnxPredictor:
        """Raises CheckpointError for a file that is none of `export onnx`, FerError without onnxruntime."""
        try:
            session = open_session(file.read_bytes())
            about = session.get_modelmeta().custom_metadata_map
            labels, fitted = json.loads(about["labels"]), json.loads(about.get("temperatures", "{}"))
            found = cls(file, session, str(about["run"]), int(about["epoch"]), fitted)
        except FerError:
            raise
        except Exception as error:  # ONNX Runtime's own kinds share no base
            raise CheckpointError(
                f"{file} is no file of `python -m fer_core export onnx` ({type(error).__name__}); export it again."
            ) from error
        if tuple(labels) != EMOTIONS:
            raise CheckpointError(f"{file} has the labels {', '.join(map(str, labels))}, not {', '.join(EMOTIONS)}.")
        return found

    def predict(
        self,
        faces: np.ndarray | Sequence[Image.Image | np.ndarray],
        tta: str = "none",
        report: Callable[[float], object] | None = None,
    ) -> Prediction:
        """As `Predictor.predict`; raises ConfigError for a `tta` other than none and flip, too."""
        views_of(tta)  # raises for an unknown one
        if tta not in ("none", "flip"):
            raise ConfigError(f"{self.file} looks at a face and its mirror image alone; choose --tta none or flip.")
        stacked = as_faces(faces)
        probabilities = np.empty((0, len(EMOTIONS)), np.float32)
        if len(stacked):
            threads = torch.get_num_threads()
            probabilities = run_in_slices(self.session, stacked, threads, report, mirrored=tta == "flip")
        return Prediction(self.run, self.epoch, probabilities, tta, temperature=self.temperatures.get(tta))

    def is_calibrated(self, tta: str) -> bool:
        """Was a temperature fitted for these views?"""
        return tta in self.temperatures

    def __str__(self) -> str:
        return f"{self.run}:{self.epoch} ({self.file.name})"
