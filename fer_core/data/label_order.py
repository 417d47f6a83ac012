"""Numbers and names -> emotions. Two orders of the seven labels are in use, and a number alone does not tell which:

FER2013's CSV files              0 Angry 1 Disgust 2 Fear 3 Happy 4 Sad     5 Surprise 6 Neutral
sorted folder names, some copies 0 Angry 1 Disgust 2 Fear 3 Happy 4 Neutral 5 Sad      6 Surprise
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from fer_core.errors import DataError
from fer_core.labels import EMOTIONS, UNLABELLED, emotion_index

LabelOrder = Literal["auto", "csv", "alphabetical"]
BAD_LABEL = -2  # in an array of labels: this one cannot be read

ASSUMED_ORDER = (
    "The labels are numbers without names: read in the order of the FER2013 CSV (4 Sad, 5 Surprise, 6 Neutral); "
    "if they are sorted by name (4 Neutral, 5 Sad, 6 Surprise), load again with --label-order alphabetical."
)
NAMES_SET_ASIDE = "The file names its classes, but --label-order {order} was asked for and decides."


def order_names(order: LabelOrder) -> tuple[str, ...]:
    """The emotion that each number 0..6 stands for; "auto" is the CSV's order."""
    return tuple(sorted(EMOTIONS)) if order == "alphabetical" else EMOTIONS


def class_names(metadata: Mapping[bytes, bytes] | None, column: str) -> tuple[str, ...] | None:
    """The class names that Hugging Face's `datasets` wrote into a Parquet schema, or None where it wrote none.

    Names that are only digits ("0", "1", ...) tell nothing and count as none.
    """
    try:
        features: Any = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, TypeError, ValueError):  # no such entry, or one of another shape: not an error, it tells nothing
        return None
    if not isinstance(names, list) or not names or all(str(name).strip().isdigit() for name in names):
        return None
    return tuple(str(name) for name in names)


def known_emotion(name: str) -> int:
    """The emotion's index, or BAD_LABEL where the name is none of the seven."""
    try:
        return emotion_index(name)
    except DataError:
        return BAD_LABEL


def labels_from_numbers(numbers: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Integers (N,), where `names[k]` says what k stands for -> int8 (N,) indices into EMOTIONS.

    -1 stays unlabelled; a number without a name, or whose name is no emotion, becomes BAD_LABEL.
    """
    table = np.array([*(known_emotion(name) for name in names), UNLABELLED, BAD_LABEL], np.int8)
    inside = (numbers >= -1) & (numbers < len(names))
    return table[np.where(inside, np.where(numbers == -1, len(names), numbers), len(names) + 1)]
