"""What networks say of the training faces, kept in a file for another network to learn from (Hinton et al. 2015,
"Distilling the Knowledge in a Neural Network")."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from fer_core.data import FaceDataset
from fer_core.data.cache import moved_into_place
from fer_core.errors import DataError


def write_soft_labels(path: Path, probabilities: np.ndarray, faces: FaceDataset) -> None:
    """Keep probabilities float (N, 7) of these very faces, in float16, with their fingerprint. Raises DataError where
    that cannot be written."""
    try:
        with moved_into_place(path) as stream:
            np.savez_compressed(
                stream, probabilities=probabilities.astype(np.float16), fingerprint=np.array(faces.fingerprint)
            )
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); choose another place.") from error


def read_soft_labels(path: Path, faces: FaceDataset) -> np.ndarray:
    """float32 (N, 7), rows of sum 1. Raises DataError for a file that is none, or of other faces."""
    try:
        with np.load(path, allow_pickle=False) as file:
            probabilities, fingerprint = file["probabilities"].astype(np.float32), str(file["fingerprint"])
    except FileNotFoundError:
        raise DataError(f"There is no {path}; make it with: python -m fer_core soften RUN... --out {path}") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path} holds no soft labels ({error}); make it anew with: python -m fer_core soften"
        ) from error
    if fingerprint != faces.fingerprint:
        raise DataError(
            f"{path} was made of other faces (fingerprint {fingerprint}, not {faces.fingerprint}); "
            "make it of the training faces with: python -m fer_core soften"
        )
    return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))
