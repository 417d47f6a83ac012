"""Which split a row belongs to: by the names that data sets use for splits, or by a seeded draw."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from fer_core.data.dataset import SPLITS, FaceDataset
from fer_core.data.keys import face_keys
from fer_core.errors import ConfigError
from fer_core.labels import EMOTIONS

TRAIN, VALIDATION, TEST = range(len(SPLITS))

_NAMES = {
    "train": TRAIN,
    "training": TRAIN,
    "validation": VALIDATION,
    "valid": VALIDATION,
    "val": VALIDATION,
    "dev": VALIDATION,
    "publictest": VALIDATION,  # FER2013's official validation rows
    "test": TEST,
    "testing": TEST,
    "privatetest": TEST,
}


def split_index(name: str) -> int | None:
    """The index into SPLITS of a split's name in any usual spelling ("Training", "PublicTest", "val"), else None."""
    return _NAMES.get(re.sub(r"[\s_-]", "", name).lower())


def split_in_file_name(stem: str) -> int | None:
    """The split that a file's name tells: "train-00000-of-00002" -> 0; None where it names none."""
    words = (split_index(word) for word in re.split(r"[^A-Za-z]+", stem))
    return next((word for word in words if word is not None), None)


def split_validation(dataset: FaceDataset, fraction: float = 0.2, seed: int = 0) -> FaceDataset:
    """The same faces, with a part of the labelled train rows as validation where the data set has none of its own.

    Of each emotion, `fraction` of its train rows (rounded) is drawn: the same seed draws the same faces, in whatever
    order they stand, and nearly the same where some were left out or labelled anew. Ids stay as they are. Raises
    ConfigError where `fraction` is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"The validation fraction must lie between 0 and 1, not {fraction}.")
    if (dataset.splits == VALIDATION).any():
        return dataset
    splits = np.array(dataset.splits)
    factor = np.random.SeedSequence(seed).generate_state(1, np.uint64) | np.uint64(1)
    for emotion in range(len(EMOTIONS)):
        rows = np.flatnonzero((dataset.splits == TRAIN) & (dataset.emotions == emotion))
        lots = face_keys(dataset.images[rows]) * factor  # modulo 2^64: what a face draws hangs on it and the seed alone
        splits[rows[np.argsort(lots, kind="stable")[: round(fraction * len(rows))]]] = VALIDATION
    return replace(dataset, splits=splits)
