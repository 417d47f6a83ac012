"""What a training learns from: the faces and their targets, shuffled, augmented and mixed batch by batch."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fer_core.config import TrainConfig
from fer_core.data import FaceDataset
from fer_core.data.augment import Augment, Mix
from fer_core.data.dataset import LARGEST_COPY
from fer_core.data.keys import face_keys
from fer_core.errors import DataError
from fer_core.labels import EMOTIONS
from fer_core.preprocess import Preprocess
from fer_core.soft_labels import read_soft_labels
from fer_core.teachers import Teachers

TRAIN_ON_FEWEST = 2  # a batch-norm layer has no variance over a single face


class Batch(NamedTuple):
    """What one step learns from."""

    faces: Tensor
    """float32 (B, 1, 48, 48), channels last"""
    targets: Tensor
    """float32 (B, 7), rows of sum 1"""
    emotions: Tensor
    """int64 (B,), the labels"""
    rows: Tensor
    """int64 (B,), positions among the training faces"""
    mixed: bool
    """Are the faces mixed with others, so that an answer is to no face alone?"""


class Batches:
    """The training faces as uint8; shuffled, normalised and augmented batch by batch on the device."""

    def __init__(self, config: TrainConfig, faces: FaceDataset, device: torch.device) -> None:
        self.preprocess = Preprocess(equalize=config.equalize)
        self.augment = Augment(
            config.rotation,
            config.crop,
            config.flip,
            config.zoom,
            config.brightness,
            config.contrast,
            config.erase,
            config.sharp,
        )
        self.mix = Mix(config.mixup, config.cutmix)
        self.teachers = Teachers(config, device) if config.teachers else None
        self.config = config
        targets = targets_of(config, faces)
        if config.drop_duplicates:
            rows = rows_worth_learning(faces)
            faces, targets = faces.subset(rows), targets[rows]
        self.faces = faces
        self.device = device
        self.pixels = None  # too many to keep a copy of: each batch is read where the data set has it, be it on a disk
        if faces.images.nbytes <= LARGEST_COPY:
            self.pixels = torch.from_numpy(np.array(self.preprocess.pixels(faces.images))).to(device)
        else:
            expect_random_reads(faces.images)
        self.emotions = torch.from_numpy(faces.emotions.astype(np.int64)).to(device)
        self.targets = torch.from_numpy(targets).to(device)
        # A last batch of a single face would break batch norm: it joins the one before.
        n = len(faces)
        self.edges = [*range(0, n, config.batch_size), n]
        if len(self.edges) > 2 and n - self.edges[-2] < TRAIN_ON_FEWEST:
            del self.edges[-2]

    def inputs(self, rows: Tensor) -> Tensor:
        """The normalised faces of these rows, float32 (B, 1, 48, 48), on the device."""
        if self.pixels is not None:
            return self.preprocess.normalize(self.pixels[rows])
        return self.preprocess(self.faces.images[rows.cpu().numpy()]).to(self.device)

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return len(self.edges) - 1

    def of_epoch(self, epoch: int) -> Iterator[Batch]:
        """All faces once, in the order of this epoch."""
        generator = torch.Generator().manual_seed(epoch_seed(self.config.seed, epoch))
        order = torch.randperm(len(self.faces), generator=generator).to(self.device)
        for start, end in zip(self.edges, self.edges[1:], strict=False):
            rows = order[start:end]
            faces = self.augment(self.inputs(rows), generator)
            mixed, targets = self.mix(faces, self.targets[rows], generator)
            shown = mixed.contiguous(memory_format=torch.channels_last)
            if self.teachers:
                targets = torch.lerp(targets, self.teachers(shown), self.config.soft_weight)
            yield Batch(shown, targets, self.emotions[rows], rows, mixed is not faces)


def expect_random_reads(images: np.ndarray) -> None:
    """Tell the system, where the faces lie in a mapped file, that reading one says nothing of its neighbours: it would
    else read 32 pages for each and drop as many that are still wanted."""
    owner: object = images
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_RANDOM"):
        owner.madvise(mmap.MADV_RANDOM)


def targets_of(config: TrainConfig, faces: FaceDataset) -> np.ndarray:
    """What is to be learnt of each face: its label, smoothed, and what other networks say of it: float32 (N, 7)."""
    smoothing = config.label_smoothing
    targets = np.eye(len(EMOTIONS), dtype=np.float32)[faces.emotions] * (1 - smoothing) + smoothing / len(EMOTIONS)
    if config.soft_labels:
        said = read_soft_labels(Path(config.soft_labels), faces)
        targets = (1 - config.soft_weight) * targets + config.soft_weight * said
    return np.asarray(targets, np.float32)


def rows_worth_learning(faces: FaceDataset) -> np.ndarray:
    """Positions of the faces that stand for all that equal them pixel for pixel, without those whose labels conflict
    and those of a single gray level. Raises DataError where these are too few to train on."""
    _, first, group = np.unique(face_keys(faces.images), return_index=True, return_inverse=True)
    agree = np.ones(len(first), bool)
    agree[group[faces.emotions != faces.emotions[first][group]]] = False
    varied = np.array([face.min() < face.max() for face in map(faces.images.__getitem__, first)], bool)  # none copied
    kept = first[agree & varied]
    if len(kept) < TRAIN_ON_FEWEST:
        raise DataError(
            f"Without duplicates and conflicting labels {len(kept)} of the {len(faces)} training faces of {faces.name} "
            "are left, too few to train on; set drop_duplicates=false, or correct the labels."
        )
    return np.asarray(np.sort(kept))


def epoch_seed(seed: int, epoch: int) -> int:
    """One well-mixed seed for each (seed, epoch)."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
