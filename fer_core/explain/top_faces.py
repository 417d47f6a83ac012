"""Which faces of a data set excite a filter most, where on them, and which emotion it prefers.

All layers are read in one pass over the faces, batch by batch; what is kept of it is a few faces for each filter and
emotion, and sums. It is stored in the user's cache, named after the content of the checkpoint and of the faces.

A filter's *activation* on a face is the positive part of its response (see `layers`): its highest value over the map
ranks the faces, its mean over the map is what selectivity compares.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_core.data import FaceDataset
from fer_core.data.cache import cache_dir, moved_into_place
from fer_core.errors import CheckpointError
from fer_core.explain.features import network_input
from fer_core.explain.layers import ConvLayer, captured, conv_layers, evaluating
from fer_core.inference import Predictor
from fer_core.labels import EMOTIONS
from fer_core.runs import Checkpoint, Run

KEPT_FACES = 24  # for each filter and emotion
WHOLE_LAYER = -1  # in place of a channel: the mean over all channels
_GROUPS = len(EMOTIONS) + 1  # the emotions, then the faces without a label
_BATCH = 256
_FORMAT = 1  # part of every name in the cache: raise it when the same would be computed otherwise
_KEPT_FILES = 100  # of 0.4 MB each for the report's network


@dataclass(frozen=True)
class TopFace:
    """A face that excites a filter. `row` counts within the faces that were looked at; (y, x) is the unit that was
    most active, and `box` what that unit sees: top, left, bottom, right."""

    row: int
    activation: float
    unit: tuple[int, int]
    box: tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class LayerActivity:
    """One layer over a data set, filter by filter; the last entry C of each array is the whole layer.

    checkpoint, data  RUN:EPOCH, and the name of the faces
    rows              int32 (C + 1, 8, K): the faces with the highest activation of each emotion, then of the faces
                      without a label, the highest first; -1 where there are no more in which the filter is active
    activations       float32 (C + 1, 8, K): their activation
    units             int32 (C + 1, 8, K): the most active unit, y * width + x
    sums, squares     float64 (C + 1, 8): over the faces of each emotion, of their mean activation and of its square
    counts            int64 (8,): faces of each emotion, then without a label
    """

    checkpoint: str
    data: str
    layer: ConvLayer
    rows: np.ndarray
    activations: np.ndarray
    units: np.ndarray
    sums: np.ndarray
    squares: np.ndarray
    counts: np.ndarray

    def top(self, channel: int = WHOLE_LAYER, emotion: int | None = None, most: int = KEPT_FACES) -> list[TopFace]:
        """The faces that excite a filter most, of all or of one emotion, the highest activation first; at most
        `KEPT_FACES`. Faces on which it is silent are left out."""
        groups = slice(None) if emotion is None else slice(emotion, emotion + 1)
        rows, values, units = (each[channel, groups].ravel() for each in (self.rows, self.activations, self.units))
        order = [i for i in np.lexsort((rows, -values)) if rows[i] >= 0][: min(most, KEPT_FACES)]
        return [self._face(int(rows[i]), float(values[i]), int(units[i])) for i in order]

    def _face(self, row: int, activation: float, unit: int) -> TopFace:
        y, x = divmod(unit, self.layer.shape[2])
        return TopFace(row, activation, (y, x), self.layer.response.box(y, x))

    @cached_property
    def means(self) -> np.ndarray:
        """The mean activation by emotion: float64 (C + 1, 7), NaN for an emotion without faces."""
        counts = self.counts[: len(EMOTIONS)]
        return np.where(counts > 0, self.sums[:, : len(EMOTIONS)] / np.maximum(counts, 1), np.nan)

    @cached_property
    def errors(self) -> np.ndarray:
        """The standard error of `means`: float64 (C + 1, 7), NaN where there are fewer than two faces."""
        counts = self.counts[: len(EMOTIONS)]
        n = np.maximum(counts, 2)
        spread = self.squares[:, : len(EMOTIONS)] / n - np.square(self.sums[:, : len(EMOTIONS)] / n)
        return np.where(counts > 1, np.sqrt(np.maximum(spread, 0) / (n - 1)), np.nan)

    @cached_property
    def preferred(self) -> np.ndarray:
        """The emotion with the highest mean activation: int (C + 1,), -1 for a filter that is silent on all."""
        highest = np.nan_to_num(self.means)
        return np.where(highest.max(axis=1) > 0, highest.argmax(axis=1), -1)

    @cached_property
    def selectivity(self) -> np.ndarray:
        """(a - b) / (a + b): float64 (C + 1,), 0..1. See `selectivity`."""
        return selectivity(self.means)


def selectivity(means: np.ndarray) -> np.ndarray:
    """The class selectivity index of Morcos et al. 2018 from mean activations by emotion, float (C, 7) -> (C,).

    (a - b) / (a + b), where a is the mean activation for the preferred emotion, b its mean over the others: 0 for a
    filter that answers to all alike, 1 for one that answers to one emotion only. NaN where fewer than two emotions have
    faces (NaN in `means`); 0 for a silent filter.
    """
    present = ~np.isnan(means)
    known = np.where(present, means, 0)
    highest = known.max(axis=1)
    others = (known.sum(axis=1) - highest) / np.maximum(present.sum(axis=1) - 1, 1)
    total = highest + others
    index = np.where(total > 0, (highest - others) / np.where(total > 0, total, 1), 0)
    return np.where(present.sum(axis=1) > 1, index, np.nan)


def top_faces(
    run: Run, epoch: int, faces: FaceDataset, report: Callable[[float], object] | None = None
) -> dict[str, LayerActivity]:
    """All layers of a kept epoch over `faces` (one split of a data set): read from the cache, else computed and kept.

    report: called with the share done, 0..1, while the network runs. Raises CheckpointError.
    """
    file = _cache_file(run, epoch, faces)
    checkpoint = Predictor.load(run, epoch).checkpoint  # the network of its own: nobody waits while this one runs
    known = _read(file, checkpoint, faces)
    if known is not None:
        return known
    computed = measure(checkpoint, faces, report)
    with suppress(OSError):  # a full or read-only disk: the answer is there all the same
        with moved_into_place(file) as stream:
            np.savez(stream, allow_pickle=False, **_arrays(computed))
        _remove_old(file.parent)
    return computed


@torch.inference_mode()
def measure(
    checkpoint: Checkpoint, faces: FaceDataset, report: Callable[[float], object] | None = None
) -> dict[str, LayerActivity]:
    """The same, always computed."""
    model, layers = checkpoint.model, conv_layers(checkpoint.model)
    tallies = {name: _Tally(layer) for name, layer in layers.items()}
    with evaluating(model), captured(model, layers, "response") as responses:
        for start in range(0, len(faces), _BATCH):
            batch = slice(start, start + _BATCH)
            model(network_input(checkpoint, faces.images[batch]))
            groups = torch.from_numpy(np.array(faces.emotions[batch], np.int64) % _GROUPS)  # -1, no label, is the last
            for name, tally in tallies.items():
                tally.add(responses[name], groups, start)
            if report:
                report(min(1.0, (start + _BATCH) / len(faces)))
    name = f"{checkpoint.run}:{checkpoint.epoch}"
    return {layer: tally.result(name, faces.name) for layer, tally in tallies.items()}


class _Tally:
    """What is kept of one layer while the faces go by."""

    def __init__(self, layer: ConvLayer) -> None:
        self.layer = layer
        filters = layer.channels + 1
        # Of each group up to K faces, the best first: activation, row and unit, each (K, C + 1).
        self.best = [
            (torch.zeros(0, filters), torch.zeros(0, filters).int(), torch.zeros(0, filters).int())
            for _ in range(_GROUPS)
        ]
        self.sums, self.squares = torch.zeros(2, _GROUPS, filters, dtype=torch.float64)
        self.counts = torch.zeros(_GROUPS, dtype=torch.int64)

    def add(self, responses: Tensor, groups: Tensor, start: int) -> None:
        """A batch of responses (B, C, H, W); its faces' groups (B,); the row of its first face."""
        active = responses.relu().permute(0, 2, 3, 1).flatten(1, 2)  # (B, H * W, C), as it lies in memory
        whole = active.mean(dim=2, keepdim=True)
        highest, units = (torch.cat(pair, dim=1) for pair in zip(active.max(dim=1), whole.max(dim=1), strict=True))
        means = torch.cat([active.mean(dim=1), whole.mean(dim=1)], dim=1).double()
        highest, units, means = highest.cpu(), units.cpu().int(), means.cpu()
        self.sums.index_add_(0, groups, means)
        self.squares.index_add_(0, groups, means.square())
        self.counts += groups.bincount(minlength=_GROUPS)
        for group in np.unique(groups.numpy()).tolist():
            here = (groups == group).nonzero()[:, 0]
            rows = (start + here).int()[:, None].expand(-1, highest.shape[1])
            self._merge(group, highest[here], rows, units[here])

    def _merge(self, group: int, *found: Tensor) -> None:
        """Stable: of faces that excite a filter alike, as copies of one do, the first stays first."""
        values, rows, units = (torch.cat(pair) for pair in zip(self.best[group], found, strict=True))
        values, order = values.sort(dim=0, descending=True, stable=True)
        order = order[:KEPT_FACES]
        self.best[group] = values[:KEPT_FACES], rows.gather(0, order), units.gather(0, order)

    def result(self, checkpoint: str, data: str) -> LayerActivity:
        values, rows, units = (
            torch.stack([F.pad(each, (0, 0, 0, KEPT_FACES - len(each))) for each in kind]).permute(2, 0, 1).numpy()
            for kind in zip(*self.best, strict=True)
        )
        rows = np.where(values > 0, rows, -1)
        sums, squares = self.sums.T.numpy(), self.squares.T.numpy()
        return LayerActivity(checkpoint, data, self.layer, rows, values, units, sums, squares, self.counts.numpy())


# -- the cache -------------------------------------------------------------------------------------

_STORED = ("rows", "activations", "units", "sums", "squares", "counts")


def _cache_file(run: Run, epoch: int, faces: FaceDataset) -> Path:
    """Named after the content of the checkpoint and of the faces: a run trained anew under its old name is another."""
    try:
        digest = hashlib.blake2b(run.checkpoint_path(epoch).read_bytes(), digest_size=16)
    except OSError as error:
        raise CheckpointError(f"{run.name} has no readable checkpoint of epoch {epoch} ({error.strerror}).") from error
    digest.update(f"{_FORMAT} {faces.fingerprint}".encode())
    return cache_dir() / "top-faces" / f"{digest.hexdigest()}.npz"


def _arrays(activities: dict[str, LayerActivity]) -> dict[str, np.ndarray]:
    return {f"{name} {field}": getattr(each, field) for name, each in activities.items() for field in _STORED}


def _read(file: Path, checkpoint: Checkpoint, faces: FaceDataset) -> dict[str, LayerActivity] | None:
    """What is stored; None where there is nothing, or only something damaged: it is computed again."""
    name = f"{checkpoint.run}:{checkpoint.epoch}"
    try:
        with np.load(file, allow_pickle=False) as stored:
            found = {
                layer: LayerActivity(name, faces.name, about, *(stored[f"{layer} {field}"] for field in _STORED))
                for layer, about in conv_layers(checkpoint.model).items()
            }
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    with suppress(OSError):  # a cache that may only be read
        os.utime(file)  # "last opened", for the removal of old ones
    return found


def _remove_old(folder: Path) -> None:
    newest_first = sorted(folder.glob("*.npz"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in newest_first[_KEPT_FILES:]:
        file.unlink(missing_ok=True)
