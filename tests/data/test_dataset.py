"""`FaceDataset`: consistent by construction, its parts, its counts and its fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fer_core.data import FaceDataset
from fer_core.data import dataset as dataset_module
from fer_core.data.dataset import spread
from fer_core.errors import DataError


@pytest.fixture
def dataset(sample: Any) -> FaceDataset:
    ids = np.array([f"face-{i:02d}" for i in range(42)])
    return FaceDataset(
        sample.images, sample.emotions, sample.splits, ids, "Noise", extra=pd.DataFrame({"yaw": np.arange(42.0)})
    )


def assert_rows(part: FaceDataset, whole: FaceDataset, rows: list[int]) -> None:
    for column in ("images", "emotions", "splits", "ids"):
        np.testing.assert_array_equal(getattr(part, column), getattr(whole, column)[rows])
    assert part.extra["yaw"].tolist() == [float(row) for row in rows]
    assert part.extra.index.tolist() == list(range(len(rows)))
    assert (part.name, part.is_demo, part.summary) == (whole.name, whole.is_demo, whole.summary)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"images": np.zeros((42, 48, 47), np.uint8)},
            r"Noise: images must be uint8 \(N, 48, 48\), not uint8 \(42, 48, 47\)",
        ),
        ({"images": np.zeros((42, 48, 48), np.float32)}, r"not float32 \(42, 48, 48\)"),
        ({"images": np.zeros((42, 48, 48, 3), np.uint8)}, r"not uint8 \(42, 48, 48, 3\)"),
        ({"emotions": np.zeros(41, np.int8)}, "Noise: 42 images but 41 emotions"),
        ({"splits": np.zeros(43, np.int8)}, "Noise: 42 images but 43 splits"),
        ({"ids": np.array(["a"])}, "Noise: 42 images but 1 ids"),
        ({"extra": pd.DataFrame({"yaw": [1.0]})}, "Noise: 42 images but 1 rows of further columns"),
    ],
)
def test_parts_that_do_not_fit_are_refused(dataset: FaceDataset, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        replace(dataset, **change)


def test_subset_by_mask(dataset: FaceDataset) -> None:
    mask = dataset.emotions == 3
    assert_rows(dataset.subset(mask), dataset, np.flatnonzero(mask).tolist())
    assert_rows(dataset.subset(np.ones(42, bool)), dataset, list(range(42)))
    assert_rows(dataset.subset(np.zeros(42, bool)), dataset, [])


def test_subset_by_positions_keeps_their_order(dataset: FaceDataset) -> None:
    for rows in ([5, 3, 3, 40], [7, 8, 9], [41, 40], [0], [-1, 0], [-2, -1], []):
        assert_rows(dataset.subset(np.array(rows, int)), dataset, [row % 42 for row in rows])


def test_neighbouring_rows_are_no_copy(dataset: FaceDataset) -> None:
    assert np.shares_memory(dataset.subset(np.arange(42) >= 20).images, dataset.images)
    assert not np.shares_memory(dataset.subset(np.arange(42) % 2 == 0).images, dataset.images)


def test_too_many_rows_for_the_memory_are_copied_to_a_file(
    dataset: FaceDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(dataset_module, "LARGEST_COPY", 5 * 48 * 48)
    monkeypatch.setattr(dataset_module, "_BLOCK", 4)
    rows = [41, 3, 7, 0, 12, 30, 31, 2, 9]
    part = dataset.subset(np.array(rows))
    assert_rows(part, dataset, rows)
    assert isinstance(part.images, np.memmap)
    assert list((tmp_path / "cache").iterdir()) == []  # the file has no name any more
    assert not isinstance(dataset.subset(np.array(rows[:5])).images, np.memmap)


def test_rows_spread_over_all() -> None:
    assert spread(10, 4).tolist() == [0, 3, 6, 9]
    assert spread(3, 4).tolist() == [0, 1, 2]
    assert spread(28_709, 512).max() == 28_708
    assert len(set(spread(513, 512).tolist())) == 512


def test_splits_and_labelled_faces(dataset: FaceDataset) -> None:
    emotions = dataset.emotions.copy()
    emotions[dataset.splits == 2] = -1
    unlabelled = replace(dataset, emotions=emotions)
    assert [len(unlabelled.split(name)) for name in ("train", "validation", "test")] == [14, 14, 14]
    assert set(unlabelled.split("validation").splits) == {1}
    assert len(unlabelled.labelled()) == 28
    assert len(unlabelled.split("test").labelled()) == 0
    with pytest.raises(DataError, match="There is no split 'Training'; choose one of train, validation, test"):
        dataset.split("Training")


def test_counts_by_split_and_emotion(dataset: FaceDataset) -> None:
    table = dataset.counts()
    assert list(table.index) == ["train", "validation", "test"]
    assert list(table.columns) == ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral", "Unlabelled"]
    assert (table.to_numpy() == [[2] * 7 + [0]] * 3).all()
    emotions = dataset.emotions.copy()
    emotions[dataset.splits == 2] = -1
    table = replace(dataset, emotions=emotions).subset(dataset.splits != 1).counts()
    assert list(table.index) == ["train", "test"]
    assert table.loc["test"].tolist() == [0] * 7 + [14]
    assert dataset.subset(np.zeros(42, bool)).counts().empty


def test_the_fingerprint_is_that_of_the_bytes(dataset: FaceDataset) -> None:
    digest = hashlib.sha256(dataset.images.tobytes() + dataset.emotions.tobytes() + dataset.splits.tobytes())
    assert dataset.fingerprint == digest.hexdigest()[:16]


def test_the_fingerprint_tells_every_change_of_faces_labels_and_splits(dataset: FaceDataset) -> None:
    seen = {dataset.fingerprint}
    for column in ("images", "emotions", "splits"):
        changed = getattr(dataset, column).copy()
        changed.flat[17] += 1
        seen.add(replace(dataset, **{column: changed}).fingerprint)
    seen.add(dataset.subset(np.arange(42)[::-1]).fingerprint)
    seen.add(dataset.subset(np.arange(41)).fingerprint)
    assert len(seen) == 6


def test_the_fingerprint_does_not_hang_on_names_or_memory(dataset: FaceDataset) -> None:
    renamed = replace(dataset, name="Other", ids=dataset.ids[::-1])
    strided = replace(dataset, images=np.asfortranarray(dataset.images))
    assert renamed.fingerprint == strided.fingerprint == dataset.fingerprint
