"""`seen_in_training` against plain comparison of every face with every other, and on FER2013."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fer_core.data import FaceDataset, load_dataset
from fer_core.data.leaks import seen_in_training


def plainly(train_images: np.ndarray, images: np.ndarray) -> np.ndarray:
    return np.array([bool((train_images == face).all(axis=(1, 2)).any()) for face in images], bool)


def some_faces(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 48, 48)).astype(np.uint8)


def one_pixel_brighter(face: np.ndarray) -> np.ndarray:
    changed = face.copy()
    changed[47, 47] += 1
    return changed


def words_swapped(face: np.ndarray) -> np.ndarray:
    """Another face with the same sum of 64-bit words: the first two of them change places."""
    changed = face.ravel().copy()
    changed[:16] = np.concatenate([changed[8:16], changed[:8]])
    return changed.reshape(48, 48)


def moved_between_words(face: np.ndarray) -> np.ndarray:
    """The same sum again, with other gray levels: one more here is one less there."""
    changed = face.copy()
    changed[0, 0], changed[0, 8] = 101, 99
    return changed


@pytest.mark.parametrize("change", [one_pixel_brighter, words_swapped, moved_between_words, np.fliplr])
def test_a_face_counts_only_where_every_pixel_is_equal(change: Callable[[np.ndarray], np.ndarray]) -> None:
    train = some_faces(20, 0)
    train[7, 0, [0, 8]] = 100
    images = np.stack([train[7], change(train[7]), train[19], some_faces(1, 1)[0], train[7]])
    assert seen_in_training(train, images).tolist() == [True, False, True, False, True]


def test_as_comparing_each_with_each() -> None:
    rng = np.random.default_rng(2)
    pool = some_faces(60, 3) // 128  # black and white, with many equal sums
    pool[::3] = 0
    train, images = pool[rng.integers(0, 60, 40)], pool[rng.integers(0, 60, 50)]
    expected = plainly(train, images)
    assert 0 < expected.sum() < 50
    np.testing.assert_array_equal(seen_in_training(train, images), expected)
    np.testing.assert_array_equal(seen_in_training(train[::2], images[::-1]), plainly(train[::2], images[::-1]))


@pytest.mark.parametrize(("train", "images"), [(0, 3), (3, 0), (0, 0)])
def test_without_faces(train: int, images: int) -> None:
    found = seen_in_training(some_faces(train, 0), some_faces(images, 0))
    assert found.dtype == bool
    assert found.tolist() == [False] * images


def test_fer2013_has_280_validation_faces_in_training(fer2013_path: Path) -> None:
    faces: FaceDataset = load_dataset(fer2013_path)
    train, validation = faces.split("train").images, faces.split("validation").images
    seen = seen_in_training(train, validation)
    assert (seen.sum(), len(seen)) == (280, 3589)
    known = {face.tobytes() for face in train}
    np.testing.assert_array_equal(seen, [face.tobytes() in known for face in validation])
