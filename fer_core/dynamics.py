"""What was learned when: each training face's probability of its own label, epoch by epoch, from the training itself.

`DynamicsRecorder` takes the very answers that the loss was computed from (of the augmented face, dropout active, before
the step), so that recording costs no forward pass; both sources below measure it so. The file in the run directory,

    dynamics.bin    64 bytes of JSON (format, n), uint64 (n,) keys of the faces, then float16 (n,) an epoch

only grows: a kill leaves at most one torn epoch at its end, which is not read and is cut off on resuming. A number is
the probability of the given label, negative (-0.0 included) where another emotion was more probable, NaN where the face
was not seen in that epoch. The keys find the faces again in any order or form of the data, whatever was left out.

Sources: confidence, variability and the map: Swayamdipta et al. 2020, "Dataset Cartography"; forgetting events: Toneva
et al. 2019, "An Empirical Study of Example Forgetting during Deep Neural Network Learning". Imports no torch.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fer_core.data.keys import face_keys, matching_rows
from fer_core.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
REGIONS = ("easy", "ambiguous", "hard")
_HEADER = 64  # bytes
_FILE = "dynamics.bin"


class DynamicsRecorder:
    """Writes `dynamics.bin` of a run while it is trained.

    folder  the run directory
    images  uint8 (n, 48, 48): the training faces, in the order that the rows given to `add` count in
    done    epochs that were trained before: what the file holds of later ones is cut off; those it lacks are NaN
    """

    def __init__(self, folder: Path, images: np.ndarray, done: int = 0) -> None:
        self.path, self.n = folder / _FILE, len(images)
        self._batches: list[tuple[Tensor, Tensor]] = []
        keys = face_keys(images)
        if not _belongs_to(self.path, keys):
            aside = folder / f".{_FILE}.{os.getpid()}.tmp"  # so named, `Run.rewind` removes it after a kill
            aside.write_bytes(json.dumps({"format": FORMAT, "n": self.n}).encode().ljust(_HEADER) + keys.tobytes())
            aside.replace(self.path)
        with self.path.open("rb+") as file:
            there = (self.path.stat().st_size - _start(self.n)) // (2 * self.n) if self.n else 0
            file.truncate(_start(self.n) + 2 * self.n * min(there, done))
        for _ in range(there, done):
            self._append(np.full(self.n, np.nan, np.float16))

    def add(self, rows: Tensor, logits: Tensor, emotions: Tensor) -> None:
        """One batch: int64 (B,) rows of the faces, float (B, 7) logits, int64 (B,) labels, on any device.

        Waits for no device: the numbers are fetched at the end of the epoch.
        """
        logits = logits.detach()
        true = logits.softmax(dim=1).gather(1, emotions[:, None])[:, 0]
        self._batches.append((rows, true.copysign((logits.argmax(dim=1) == emotions).float() - 0.5)))

    def end_epoch(self) -> None:
        """Adds the epoch's line to the file, on the disk when this returns; call it before the epoch counts as done."""
        line = np.full(self.n, np.nan, np.float16)
        for rows, signed in self._batches:
            line[rows.cpu().numpy()] = signed.float().cpu().numpy()
        self._batches.clear()
        self._append(line)

    def _append(self, line: np.ndarray) -> None:
        with self.path.open("ab") as file:
            file.write(line.tobytes())
            file.flush()
            os.fsync(file.fileno())


@dataclass(frozen=True, eq=False)
class Dynamics:
    """What a run recorded of its n training faces over its epochs.

    keys    uint64 (n,): `face_keys` of the faces
    signed  float16 (epochs, n): probability of the label, negative where the answer was wrong, NaN where not seen
    """

    keys: np.ndarray
    signed: np.ndarray

    @property
    def epochs(self) -> int:
        return len(self.signed)

    @cached_property
    def right(self) -> np.ndarray:
        """bool (epochs, n): was the label the most probable emotion? False where the face was not seen."""
        return np.asarray(~np.signbit(self.signed) & ~np.isnan(self.signed))

    @cached_property
    def confidence(self) -> np.ndarray:
        """float32 (n,), 0..1: mean over the epochs of the label's probability; NaN for a face never seen."""
        return _over_epochs(np.nanmean, self.signed)

    @cached_property
    def variability(self) -> np.ndarray:
        """float32 (n,), 0..0.5: standard deviation over the epochs of the label's probability."""
        return _over_epochs(np.nanstd, self.signed)

    @cached_property
    def correctness(self) -> np.ndarray:
        """float32 (n,), 0..1: the share of the epochs that showed the face in which the answer was right."""
        seen = (~np.isnan(self.signed)).sum(axis=0)
        return np.asarray(self.right.sum(axis=0) / np.maximum(seen, 1), np.float32)

    @cached_property
    def first_learned(self) -> np.ndarray:
        """int (n,): the first epoch (from 1) with the right answer, 0 where there was none."""
        return np.where(self.right.any(axis=0), self.right.argmax(axis=0) + 1, 0)

    @cached_property
    def never_seen(self) -> np.ndarray:
        """bool (n,): shown only mixed with other faces, in every epoch, so that nothing is known of them."""
        return np.asarray(np.isnan(self.confidence))

    @cached_property
    def never_learned(self) -> np.ndarray:
        """bool (n,): seen, and never with the right answer."""
        return np.asarray((self.first_learned == 0) & ~self.never_seen)

    @cached_property
    def times_forgotten(self) -> np.ndarray:
        """int (n,): how often the answer was wrong and had been right when the face was last seen (forgetting events);
        epochs that did not show the face do not count."""
        seen, epoch = ~np.isnan(self.signed), np.arange(self.epochs, dtype=np.int32)[:, None]
        last = np.maximum.accumulate(np.where(seen, epoch, 0), axis=0)  # (epochs, n): when each face was last seen
        was_right = np.take_along_axis(self.right, last, axis=0)
        return np.asarray((was_right[:-1] & (seen & ~self.right)[1:]).sum(axis=0))

    @cached_property
    def ambiguous_from(self) -> float:
        """The variability from which on a face counts as ambiguous: two thirds of the faces vary less."""
        return float(np.nanquantile(self.variability, 2 / 3)) if self.epochs and len(self.keys) else 0.0

    @cached_property
    def regions(self) -> np.ndarray:
        """str (n,), of REGIONS: "ambiguous" is the third of the faces that varies most, as in the paper, and of it what
        varies at all; of the others those with a confidence of 0.5 or more are "easy", the rest "hard"; "" for a face
        never seen."""
        steady = np.where(self.confidence >= 0.5, "easy", "hard")
        varies = (self.variability >= self.ambiguous_from) & (self.variability > 0)
        regions = np.where(varies, "ambiguous", steady)
        return np.where(np.isnan(self.confidence), "", regions)

    def rows_of(self, images: np.ndarray) -> np.ndarray:
        """For faces uint8 (M, 48, 48) where each stands in this record: int (M,), -1 where it does not."""
        return matching_rows(face_keys(images), self.keys)


def read_dynamics(folder: Path) -> Dynamics | None:
    """What a run recorded so far; None where it recorded nothing, or not one whole epoch.

    Safe while the run goes on: read into memory, since a mapped file that is cut off on resuming kills its reader.
    Raises RunError for a file that is damaged or from another version.
    """
    path = folder / _FILE
    try:
        n = _faces_in(path)
        if n is None:
            return None
        body = np.fromfile(path, np.uint8, offset=_HEADER)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read ({error}); delete it to go on without the learning dynamics.") from error
    epochs = (len(body) - 8 * n) // (2 * n)
    if epochs < 1:
        return None
    signed = body[8 * n : 8 * n + 2 * n * epochs].view(np.float16).reshape(epochs, n)
    return Dynamics(body[: 8 * n].view(np.uint64), signed)


def _over_epochs(statistic: object, signed: np.ndarray) -> np.ndarray:
    """`np.nanmean` or `np.nanstd` over the epochs, block by block: not all in float32 at once."""
    result = np.full(signed.shape[1], np.nan, np.float32)
    for start in range(0, len(result), 65536):
        block = np.abs(signed[:, start : start + 65536].astype(np.float32))
        seen = ~np.isnan(block).all(axis=0)
        result[start : start + 65536][seen] = statistic(block[:, seen], axis=0)  # type: ignore[operator]
    return result


def _start(n: int) -> int:
    """Where the first epoch begins, in bytes."""
    return _HEADER + 8 * n


def _faces_in(path: Path) -> int | None:
    """The number of faces in a file, None where there is none. Raises ValueError or KeyError for another file."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(_HEADER))
    except FileNotFoundError:
        return None
    n, version = int(header["n"]), header["format"]
    if version != FORMAT:
        raise ValueError(f"format {version}, this version reads {FORMAT}")
    if n < 1 or path.stat().st_size < _start(n):
        raise ValueError("cut off")
    return n


def _belongs_to(path: Path, keys: np.ndarray) -> bool:
    """Is the file there, whole up to its keys, and of these very faces?"""
    try:
        if _faces_in(path) != len(keys):
            return False
        return np.array_equal(np.fromfile(path, np.uint64, len(keys), offset=_HEADER), keys)
    except (OSError, ValueError, KeyError, TypeError):
        return False
