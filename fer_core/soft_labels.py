"""What networks say of the training faces, kept in a file for another network to learn from (Hinton et al. 2015,
"Distilling the Knowledge in a Neural Network")."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from fer_core.data import FaceDataset
from fer_core.data.cache import moved_into_place
from fer_core.data.keys import face_keys, matching_rows
from fer_core.errors import DataError


def write_soft_labels(path: Path, probabilities: np.ndarray, faces: FaceDataset) -> None:
    """Keep probabilities float (N, 7) of these faces, in float16, with the faces' keys. Raises DataError where that
    cannot be written."""
    try:
        with moved_into_place(path) as stream:
            np.savez_compressed(stream, probabilities=probabilities.astype(np.float16), keys=face_keys(faces.images))
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); choose another place.") from error


def read_soft_labels(path: Path, faces: FaceDataset) -> np.ndarray:
    """float32 (N, 7), rows of sum 1: what is kept of these faces, whatever their order and labels. Raises DataError for
    a file that is none, or does not know all of them."""
    try:
        with np.load(path, allow_pickle=False) as file:
            probabilities, keys = file["probabilities"].astype(np.float32), file["keys"]
    except FileNotFoundError:
        raise DataError(f"There is no {path}; make it with: python -m fer_core soften RUN... --out {path}") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path} holds no soft labels ({error}); make it anew with: python -m fer_core soften"
        ) from error
    rows = matching_rows(face_keys(faces.images), keys)
    if unknown := int((rows < 0).sum()):
        raise DataError(
            f"{path} was made of other faces: it does not know {unknown:,} of these {len(faces):,} ("
            f"{faces.ids[rows.argmin()]} is one); make it of the training faces with: python -m fer_core soften"
        )
    return np.asarray(probabilities[rows] / probabilities[rows].sum(axis=1, keepdims=True))
