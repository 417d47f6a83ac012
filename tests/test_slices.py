"""Accuracy by slice: a planted weakness is found first, and chance does not pass for one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fer_core.data import demo_faces
from fer_core.data.quality import Quality, measure_quality
from fer_core.labels import EMOTIONS
from fer_core.slices import by_quarter, cluster_faces, find_slices, groupings, holm


def a_quality(brightness: np.ndarray) -> Quality:
    return Quality(brightness, *np.random.default_rng(1).uniform(0, 100, (3, len(brightness))))


def test_a_planted_weakness_comes_first() -> None:
    """80 % right everywhere, 40 % where it is dark."""
    rng = np.random.default_rng(0)
    emotions = rng.integers(0, 7, 4000).astype(np.int8)
    brightness = rng.uniform(0, 255, 4000)
    right = rng.uniform(size=4000) < np.where(brightness < np.quantile(brightness, 0.25), 0.4, 0.8)
    predicted = np.where(right, emotions, (emotions + 1) % 7)
    found = find_slices(predicted, emotions, groupings(emotions, a_quality(brightness)))
    weakest = found.slices[0]
    assert weakest.by == "brightness"
    assert brightness[weakest.rows].max() <= np.quantile(brightness, 0.25)
    assert weakest.share.value == pytest.approx(right[weakest.rows].mean())
    assert weakest.rest.n == 3000
    assert weakest.difference == pytest.approx(weakest.share.value - np.delete(right, weakest.rows).mean())
    assert weakest.p < 1e-10
    values = [each.share.value for each in found.slices]
    assert values == sorted(values)
    assert (found.looked_at, found.skipped) == (7 + 4 * 4, 0)


def test_chance_alone_gives_no_weak_slice() -> None:
    """Of 40 data sets without any weakness at most a few have a slice below p = 0.05 after the correction."""
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(40):
        emotions = rng.integers(0, 7, 600).astype(np.int8)
        predicted = np.where(rng.uniform(size=600) < 0.7, emotions, (emotions + 1) % 7)
        found = find_slices(predicted, emotions, groupings(emotions, a_quality(rng.uniform(0, 255, 600))))
        alarms += min(each.p for each in found.slices) < 0.05
    assert alarms <= 5  # 2 are expected at most


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_small_slices_and_unlabelled_faces_are_left_out() -> None:
    emotions = np.array([3] * 50 + [4] * 5 + [-1] * 30, np.int8)
    names = np.array(["a"] * 25 + ["b"] * 25 + ["c"] * 35)
    found = find_slices(np.full(85, 3), emotions, {"x": names, "none": np.full(85, "")})
    assert [(each.name, each.share.n, each.share.hits) for each in found.slices] == [("a", 25, 25), ("b", 25, 25)]
    assert found.skipped == 1
    assert find_slices(np.zeros(3, int), np.full(3, -1, np.int8), {"x": names[:3]}).slices == []
    json.dumps(found.to_dict(), allow_nan=False)


def test_quarters() -> None:
    values = np.arange(100.0)
    names = by_quarter(values)
    assert [len(values[names == name]) for name in dict.fromkeys(names)] == [25] * 4
    assert names[0] == "0 to 25"
    assert set(by_quarter(np.zeros(7), 1, " px")) == {"0.0 to 0.0 px"}
    assert len(by_quarter(np.zeros(0))) == 0


def test_groupings_name_every_face() -> None:
    faces = demo_faces().split("validation")
    quality = measure_quality(faces.images)
    made = groupings(faces.emotions, quality, np.arange(len(faces)) % 3, np.arange(len(faces)) < 10)
    assert [*made] == [
        "label", "brightness", "contrast", "sharpness", "turn (estimate)", "cluster", "copy in train"
    ]  # fmt: skip
    assert all(len(names) == len(faces) and (names != "").all() for names in made.values())
    assert set(made["label"]) == set(EMOTIONS)
    assert set(made["cluster"]) == {"01", "02", "03"}


def test_clusters_are_those_that_were_planted() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [50, 120, 80])
    features = (10 * np.eye(3)[truth] + rng.normal(0, 1, (250, 3))).astype(np.float32)
    found = cluster_faces(features, 3)
    assert np.bincount(found).tolist() == [120, 80, 50]
    assert all(len(set(found[truth == group])) == 1 for group in range(3))
    assert cluster_faces(np.ones((9, 3), np.float32)).tolist() == [0] * 9
    assert len(cluster_faces(features[:5])) == 5
