"""Held-out faces: stratified, seeded, and only where a data set has none of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer_core.data import FaceDataset, load_dataset, split_validation
from fer_core.data.splits import split_in_file_name, split_index
from fer_core.errors import ConfigError

TRAIN, VALIDATION, TEST = 0, 1, 2


def of_train_faces(counts: list[int], unlabelled: int = 0, test: int = 0) -> FaceDataset:
    """Faces in mixed order, `counts` of each emotion for training, the first pixel numbering them."""
    emotions = np.concatenate([np.repeat(np.arange(7), counts), [-1] * unlabelled, np.arange(test) % 7]).astype(np.int8)
    splits = np.repeat([TRAIN, TEST], [sum(counts) + unlabelled, test]).astype(np.int8)
    order = np.random.default_rng(1).permutation(len(emotions))
    images = np.zeros((len(emotions), 48, 48), np.uint8)
    images[:, 0, :2] = np.stack(np.divmod(np.arange(len(emotions)), 256), axis=1)
    ids = np.array([f"face-{i}" for i in range(len(emotions))])
    return FaceDataset(images, emotions[order], splits[order], ids, "Counted")


def test_a_fifth_of_each_emotion_is_held_out() -> None:
    faces = of_train_faces([100, 7, 53, 200, 10, 1, 2])
    held_out = split_validation(faces, 0.2).split("validation")
    assert np.bincount(held_out.emotions, minlength=7).tolist() == [20, 1, 11, 40, 2, 0, 0]  # 20 %, rounded


def test_as_in_the_report_a_fifth_of_train_csv() -> None:
    """The emotions of the real train.csv."""
    counts = [3995, 436, 4097, 7215, 4830, 3171, 4965]
    emotions = np.repeat(np.arange(7, dtype=np.int8), counts)
    faces = FaceDataset(
        np.zeros((28709, 48, 48), np.uint8),
        emotions,
        np.zeros(28709, np.int8),
        np.arange(28709).astype(str),
        "train.csv",
    )
    table = split_validation(faces).counts()
    assert table.loc["validation"].tolist()[:7] == [799, 87, 819, 1443, 966, 634, 993]
    assert table.loc["train"].sum() + table.loc["validation"].sum() == 28709


def test_the_draw_hangs_on_the_seed_alone() -> None:
    faces = of_train_faces([50] * 7)
    np.testing.assert_array_equal(split_validation(faces, seed=3).splits, split_validation(faces, seed=3).splits)
    assert (split_validation(faces, seed=3).splits != split_validation(faces, seed=4).splits).any()


def test_the_draw_stays_where_faces_move_or_are_left_out() -> None:
    faces = of_train_faces([50] * 7)
    held_out = set(split_validation(faces, seed=3).split("validation").ids)
    moved = faces.subset(np.random.default_rng(5).permutation(len(faces)))
    assert set(split_validation(moved, seed=3).split("validation").ids) == held_out
    cleaned = faces.subset(np.delete(np.arange(len(faces)), [0, 100, 200]))
    left = held_out & set(cleaned.ids)
    now = set(split_validation(cleaned, seed=3).split("validation").ids)
    assert len(now ^ left) <= 3  # of each emotion that lost one, at most one comes in its place, or goes


def test_every_face_has_the_same_chance() -> None:
    faces = of_train_faces([10, 30, 0, 0, 0, 0, 0])
    drawn = np.mean([split_validation(faces, 0.3, seed).splits == VALIDATION for seed in range(600)], axis=0)
    assert np.abs(drawn - 0.3).max() < 0.09  # almost 5 standard deviations


def test_nothing_but_the_splits_of_training_faces_changes() -> None:
    faces = of_train_faces([20] * 7, unlabelled=10, test=14)
    before = faces.splits.copy()
    held_out = split_validation(faces)
    np.testing.assert_array_equal(faces.splits, before)
    for column in ("images", "emotions", "ids"):
        assert getattr(held_out, column) is getattr(faces, column)
    changed = held_out.splits != before
    assert set(before[changed]) == {TRAIN}
    assert (held_out.emotions[changed] >= 0).all()
    assert (held_out.name, held_out.summary) == (faces.name, faces.summary)
    assert held_out.fingerprint != faces.fingerprint


def test_official_splits_stay(faces: FaceDataset) -> None:
    assert split_validation(faces, 0.5) is faces


def test_those_of_fer2013_stay(fer2013_path: Path) -> None:
    official = load_dataset(fer2013_path)
    assert split_validation(official, 0.5) is official


@pytest.mark.parametrize("fraction", [0, 1, -0.2, 20, float("nan")])
def test_a_fraction_outside_of_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(ConfigError, match=f"between 0 and 1, not {fraction}"):
        split_validation(of_train_faces([5] * 7), fraction)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("Training", TRAIN),
        (" train ", TRAIN),
        ("PublicTest", VALIDATION),
        ("public_test", VALIDATION),
        ("val", VALIDATION),
        ("dev", VALIDATION),
        ("PrivateTest", TEST),
        ("testing", TEST),
        ("happy", None),
        ("", None),
    ],
)
def test_names_of_splits(name: str, split: int | None) -> None:
    assert split_index(name) == split


@pytest.mark.parametrize(
    ("stem", "split"),
    [("train-00000-of-00002", TRAIN), ("my_val2", VALIDATION), ("fer.test", TEST), ("data", None), ("contest", None)],
)
def test_splits_in_file_names(stem: str, split: int | None) -> None:
    assert split_in_file_name(stem) == split
