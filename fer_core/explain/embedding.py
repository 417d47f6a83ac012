"""Where faces lie in the network's own space: its penultimate features, computed once for a checkpoint and a split.

A face's penultimate features are what enters the last linear layer: all that the network knows of the face when it
answers. Faces that it takes for alike lie close together there, whatever their labels are.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from fer_core.data import FaceDataset
from fer_core.data.cache import cache_dir, moved_into_place
from fer_core.errors import CheckpointError
from fer_core.explain.features import network_input
from fer_core.explain.layers import evaluating, run_to_head
from fer_core.inference import Predictor
from fer_core.runs import Checkpoint, Run

_BATCH = 256
_FORMAT = 1  # part of every name in the cache: raise it when the same would be computed otherwise
_MOST_BYTES = 2 * 1024**3  # in the cache; FER2013's training faces take 0.45 GB under the report's network


@torch.inference_mode()
def penultimate(
    checkpoint: Checkpoint, faces: np.ndarray, report: Callable[[float], object] | None = None
) -> np.ndarray:
    """What enters the last linear layer for uint8 faces (N, 48, 48): float32 (N, D).

    report: called with the share done, 0..1. Raises ConfigError where the network has no linear layer at its end.
    """
    model, features = checkpoint.model, np.empty((0, 0), np.float32)
    with evaluating(model):
        for start in range(0, len(faces), _BATCH):
            batch = run_to_head(model, network_input(checkpoint, faces[start : start + _BATCH])).float().cpu().numpy()
            if not start:
                features = np.empty((len(faces), batch.shape[1]), np.float32)
            features[start : start + _BATCH] = batch
            if report:
                report(min(1.0, (start + _BATCH) / len(faces)))
    return features


def known_features(run: Run, epoch: int, faces: FaceDataset) -> np.ndarray | None:
    """The features float32 (N, D) of `faces` under a kept epoch where the user's cache has them, else None.

    Raises CheckpointError where the run kept no such epoch.
    """
    file = cache_file(run, epoch, faces)
    try:
        stored = np.load(file, mmap_mode="r", allow_pickle=False)
        if stored.ndim != 2 or len(stored) != len(faces):
            return None
        features: np.ndarray = stored.astype(np.float32)
    except (OSError, ValueError, EOFError):  # not there, or damaged: it is computed again
        return None
    with suppress(OSError):  # a cache that may only be read
        os.utime(file)  # "last opened", for the removal of old ones
    return features


def split_features(
    run: Run, epoch: int, faces: FaceDataset, report: Callable[[float], object] | None = None
) -> np.ndarray:
    """The features float32 (N, D) of `faces` (one split of a data set) under a kept epoch; computed once, then cached
    as float16.

    report: called with the share done, 0..1, while the network runs. Raises CheckpointError, also where features are
    not finite, as after a training that diverged, and ConfigError where the network has no linear layer at its end.
    """
    known = known_features(run, epoch, faces)
    if known is not None:
        return known
    features = penultimate(Predictor.load(run, epoch).checkpoint, faces.images, report)
    if not np.isfinite(features).all():
        raise CheckpointError(f"{run.name}:{epoch} gives features that are not numbers; choose another epoch.")
    halves = np.clip(features, -65504, 65504).astype(np.float16)
    features[...] = halves  # as it is stored: the same answer the first time and ever after
    file = cache_file(run, epoch, faces)
    with suppress(OSError):  # a full or read-only disk: the answer is there all the same
        with moved_into_place(file) as stream:
            np.save(stream, halves)
        _remove_old(file)
    return features


def cache_file(run: Run, epoch: int, faces: FaceDataset, what: str = "") -> Path:
    """Where the features of `faces` under a kept epoch are cached, or `what` was made of them.

    Named after the content of the checkpoint and of the faces: a run trained anew under its old name is another.
    """
    try:
        digest = hashlib.blake2b(run.checkpoint_path(epoch).read_bytes(), digest_size=16)
    except OSError as error:
        raise CheckpointError(f"{run.name} has no readable checkpoint of epoch {epoch} ({error.strerror}).") from error
    digest.update(f"{_FORMAT} {faces.fingerprint} {what}".encode())
    return cache_dir() / "features" / f"{digest.hexdigest()}.npy"


def _remove_old(newest: Path) -> None:
    """All but the newest, the ones opened least recently first, until the rest takes at most `_MOST_BYTES`."""
    left = _MOST_BYTES - newest.stat().st_size
    others = [file for file in newest.parent.glob("*.npy") if file != newest]
    for file in sorted(others, key=lambda file: file.stat().st_mtime, reverse=True):
        left -= file.stat().st_size
        if left < 0:
            file.unlink(missing_ok=True)
