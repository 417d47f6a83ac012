"""What a checkpoint says of a whole split, computed at most once: from the run's own file where it scored these very
faces, else from the user's cache, else by running the network. Imports torch only for the last.

Nothing ties the run's own file to its weights: who is to vouch for a number asks `computed_probabilities`, whose cache
is named after the content of the checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from fer_core import __version__
from fer_core.data import FaceDataset
from fer_core.data.cache import cache_dir, moved_into_place
from fer_core.errors import CheckpointError
from fer_core.runs import Run, halved
from fer_core.tta import views_of

_KEPT = 400  # files in the cache; one of FER2013's training faces takes 0.4 MB


def known_probabilities(run: Run, epoch: int, faces: FaceDataset) -> np.ndarray | None:
    """Probabilities float32 (N, 7) of `faces` under a kept epoch where they are on disk already, else None.

    Raises CheckpointError where the run kept no such epoch.
    """
    for path in sorted(run.path.glob("predictions-*.npz")):
        saved = run.predictions(path.stem.removeprefix("predictions-"))
        if saved and saved.fingerprint == faces.fingerprint and epoch in saved.epochs:
            return np.asarray(saved.probabilities[saved.epochs.index(epoch)], np.float32)
    return _cached(_cache_file(run, epoch, faces, "none"), len(faces))


def split_probabilities(
    run: Run, epoch: int, faces: FaceDataset, report: Callable[[float], object] | None = None
) -> np.ndarray:
    """Probabilities float32 (N, 7) of `faces` (one split of a data set) under a kept epoch; computed once, then cached.

    report: called with the share done, 0..1, while the network runs. Raises CheckpointError.
    """
    known = known_probabilities(run, epoch, faces)
    return computed_probabilities(run, epoch, faces, report=report) if known is None else known


def computed_probabilities(
    run: Run,
    epoch: int,
    faces: FaceDataset,
    tta: str = "none",
    device: str = "cpu",
    report: Callable[[float], object] | None = None,
    fresh: bool = False,
) -> np.ndarray:
    """What the network itself says of `faces` under a kept epoch: float32 (N, 7), computed once, then cached.

    tta: averaged over the views of `fer_core.tta.TTA`. device: where the network is run. report: called with the share
    done, 0..1. fresh: run the network even where its answer is cached. Raises CheckpointError, and ConfigError for an
    unknown `tta` or a device that is not there.
    """
    file = _cache_file(run, epoch, faces, tta)
    cached = None if fresh else _cached(file, len(faces))
    if cached is not None:
        return cached
    from fer_core.inference import Predictor
    from fer_core.training import pick_device

    computed = Predictor.load(run, epoch, str(pick_device(device))).predict(faces.images, tta, report).probabilities
    probabilities = halved(computed)  # as it is stored: the same answer the first time and ever after
    with suppress(OSError):  # a full or read-only disk: the answer is there all the same
        with moved_into_place(file) as stream:
            np.save(stream, probabilities)
        _remove_old(file.parent)
    return probabilities.astype(np.float32)


def _cached(file: Path, n: int) -> np.ndarray | None:
    try:
        cached: np.ndarray = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there, or damaged: it is computed again
        return None
    return np.asarray(cached, np.float32) if cached.shape == (n, 7) else None


def _cache_file(run: Run, epoch: int, faces: FaceDataset, tta: str) -> Path:
    """Named after the content of the checkpoint and of the faces: a run trained anew under its old name is another."""
    try:
        digest = hashlib.blake2b(run.checkpoint_path(run.require_epoch(epoch)).read_bytes(), digest_size=16)
    except OSError as error:
        raise CheckpointError(f"{run.name} has no readable checkpoint of epoch {epoch} ({error.strerror}).") from error
    digest.update(f"{faces.fingerprint} {views_of(tta)} {__version__}".encode())
    return cache_dir() / "predictions" / f"{digest.hexdigest()}.npy"


def _remove_old(folder: Path) -> None:
    newest_first = sorted(folder.glob("*.npy"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in newest_first[_KEPT:]:
        file.unlink(missing_ok=True)
