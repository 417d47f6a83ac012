"""The reference of a checkpoint (see `fer_core.drift`): made once from its training faces, kept beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from fer_core.data import FaceDataset
from fer_core.drift import Reference, face_traits, feature_directions, feature_distances, pixel_traits
from fer_core.errors import CheckpointError, DataError
from fer_core.explain.embedding import penultimate
from fer_core.faces import Detector, Face, find_faces
from fer_core.preprocess import FACE_SIZE
from fer_core.runs import Checkpoint, Run, read_tensors, write_tensors

STEM = "reference-"  # reference-071.safetensors, in the run directory
SAMPLE = 1000  # faces of which features and landmarks are taken
ZOOM, BORDER = 4, 16  # a crop is enlarged so many times for the detector, with so many pixels of its border around it

Report = Callable[[float], object]


def make_reference(
    checkpoint: Checkpoint, dataset: FaceDataset, detector: Detector | None = None, report: Report | None = None
) -> Reference:
    """The distributions over the training split of `dataset` (split as the run's training split it).

    Distances of features are those of faces that the network never saw, from its validation split: its training faces
    lie closer together than any others. Without one, those of training faces. report: called with the share done.
    Raises DataError where there are too few training faces.
    """
    training = dataset.split("train")
    if len(training) < 2:
        raise DataError(f"{dataset.name} has no training faces to compare with; name the data that it learned from.")
    rng = np.random.default_rng(0)
    order = rng.permutation(len(training))
    held_out = dataset.split("validation").images
    others = held_out[rng.permutation(len(held_out))[:SAMPLE]] if len(held_out) else training.images[order[-SAMPLE:]]
    told = report or (lambda _share: None)
    kept = feature_directions(penultimate(checkpoint, training.images[np.sort(order[:SAMPLE])], lambda s: told(s / 4)))
    distances = feature_distances(penultimate(checkpoint, others, lambda s: told(0.25 + s / 4)), kept)
    values: dict[str, Any] = {
        **_columns([pixel_traits(face) for face in training.images]),
        **_columns([face_traits(face) for face in _found(training.images[order[:SAMPLE]], detector, told)]),
        "features": distances,
    }
    levels = np.linspace(0, 100, 101)
    quantiles = {name: np.asarray(np.percentile(each, levels), np.float32) for name, each in values.items()}
    return Reference(dataset.name, len(training), quantiles, kept, len(held_out) > 0)


def _found(crops: np.ndarray, detector: Detector | None, told: Report) -> list[Face]:
    found = []
    for i, crop in enumerate(crops):
        found.append(find_in_crop(crop, detector))
        told(0.5 + (i + 1) / len(crops) / 2)
    return [face for face in found if face is not None]


def find_in_crop(crop: np.ndarray, detector: Detector | None = None) -> Face | None:
    """The largest face in a face uint8 (48, 48), in its own pixels, where the detector finds one: it looks at the crop
    enlarged, with its border repeated around it."""
    size = FACE_SIZE * ZOOM
    large = np.pad(np.asarray(Image.fromarray(crop).resize((size, size))), BORDER * ZOOM, mode="edge")
    for face in find_faces(np.repeat(large[..., None], 3, axis=2), detector, most=1):
        left, top, right, bottom = (edge / ZOOM - BORDER for edge in face.box)
        return Face((left, top, right, bottom), face.score, face.landmarks / ZOOM - BORDER)
    return None


def _columns(rows: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


# -- in the run directory ------------------------------------------------------------------------------------------


def store_reference(run: Run, epoch: int, reference: Reference) -> None:
    """Write the reference of a kept epoch beside it."""
    assert reference.neighbours is not None
    arrays = {**reference.quantiles, "neighbours": reference.neighbours}
    header = {
        "data": reference.data,
        "faces": reference.faces,
        "held_out": reference.held_out,
        "checkpoint": _digest(run, epoch),
    }
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    write_tensors(run.path / f"{STEM}{epoch:03d}.safetensors", tensors, header)


def load_reference(run: Run, epoch: int) -> Reference | None:
    """The reference of a kept epoch; that of another epoch without the neighbours where it has none; None where the run
    has none at all. A reference of other weights under the same epoch counts as another's.

    Raises CheckpointError where the file is damaged or there is no such epoch.
    """
    own = run.path / f"{STEM}{epoch:03d}.safetensors"
    for path in (own, *sorted(run.path.glob(f"{STEM}*.safetensors"))):
        if path.exists():
            tensors, header = read_tensors(path)
            arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
            try:
                neighbours = arrays.pop("neighbours")
                fits = path == own and header["checkpoint"] == _digest(run, epoch)
                return Reference(
                    header["data"], header["faces"], arrays, neighbours if fits else None, header["held_out"]
                )
            except KeyError as error:
                raise CheckpointError(f"{path} lacks {error}; delete it and make it again.") from error
    return None


def _digest(run: Run, epoch: int) -> str:
    """Of a checkpoint's file: a run trained anew under its old name is another."""
    try:
        return hashlib.blake2b(run.checkpoint_path(epoch).read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise CheckpointError(f"{run.name} has no readable checkpoint of epoch {epoch} ({error.strerror}).") from error
