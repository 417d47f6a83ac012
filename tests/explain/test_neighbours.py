"""Neighbours against brute force and scikit-learn's, and how often they share a label by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from fer_core.explain.neighbours import Agreement, agreement, cosine_distances, nearest, normalised


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return np.random.default_rng(0).gamma(1.0, 2.0, (400, 30)).astype(np.float32)


def brute_force(features: np.ndarray, row: int) -> np.ndarray:
    """Distances to all rows, one by one in float64."""
    asked = features[row].astype(np.float64)
    return np.array(
        [
            1 - float(asked @ other) / math.sqrt(float(asked @ asked) * float(other @ other))
            for other in features.astype(np.float64)
        ]
    )


@pytest.mark.parametrize("row", [0, 57, 399])
@pytest.mark.parametrize("count", [1, 10, 399, 1000])
def test_equal_brute_force(features: np.ndarray, row: int, count: int) -> None:
    rows, distances = nearest(features, row, count)
    expected = brute_force(features, row)
    closest = np.sort(np.delete(expected, row))[:count]
    assert len(set(rows) - {row}) == len(rows) == len(closest)
    np.testing.assert_allclose(expected[rows], closest, atol=1e-6)  # what is closer together may change places
    np.testing.assert_allclose(distances, closest, atol=1e-6)
    known = nearest(features, row, count, np.linalg.norm(features, axis=1))
    np.testing.assert_array_equal(known[0], rows)


def test_equal_scikit_learn(features: np.ndarray) -> None:
    oracle = NearestNeighbors(n_neighbors=8, metric="cosine").fit(features)
    distances, rows = oracle.kneighbors()  # of each row but itself
    for row in range(0, 400, 37):
        found = nearest(features, row, 8)
        expected = brute_force(features, row)
        assert len(set(found[0]) - {row}) == 8
        np.testing.assert_allclose(expected[found[0]], expected[rows[row]], atol=1e-6)
        np.testing.assert_allclose(found[1], distances[row], atol=1e-6)


def test_length_does_not_count_and_the_first_of_equals_stands_first() -> None:
    given = np.array([[1, 0], [0, 3], [5, 0], [2, 2], [0.1, 0], [0, 0], [-4, 0]], np.float32)
    rows, distances = nearest(given, 0, 6)
    assert rows.tolist() == [2, 4, 3, 1, 5, 6]  # a row of zeros has no direction: a right angle from all
    np.testing.assert_allclose(distances, [0, 0, 1 - 1 / math.sqrt(2), 1, 1, 2], atol=1e-6)
    assert nearest(given, 0, 1)[0].tolist() == [2]
    np.testing.assert_array_equal(cosine_distances(given, 5), np.ones(7))


def test_alone() -> None:
    rows, distances = nearest(np.ones((1, 4), np.float32), 0)
    assert (len(rows), len(distances)) == (0, 0)


def test_normalised() -> None:
    np.testing.assert_allclose(normalised(np.array([[3, 4], [0, 0]], np.float32)), [[0.6, 0.8], [0, 0]])


# -- shared labels ---------------------------------------------------------------------------------


def test_agreement_by_hand() -> None:
    """Angles 0, 10, 20 (Happy, Happy, Sad) and 90, 95 (Sad, Sad): two neighbours each, the unlabelled at 5 left out."""
    angles = np.deg2rad([0, 10, 20, 90, 95, 5])
    given = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = agreement(given, np.array([3, 3, 4, 4, 4, -1], np.int8), count=2)
    assert found.shares.tolist() == [0.5, 0.5, 0.0, 1.0, 1.0]
    assert found.value == pytest.approx(0.6)
    # Standard deviation 0.41833 of five faces, and 2.77645 in Student's table.
    half = 2.77645 * 0.41833 / math.sqrt(5)
    assert found.interval == pytest.approx((0.6 - half, min(1, 0.6 + half)), abs=1e-4)
    # Blindly: for the 2 Happy 1 of 4 others, for the 3 Sad 2 of 4.
    assert found.chance == pytest.approx((2 * 1 / 4 + 3 * 2 / 4) / 5)
    assert {name: part.value for name, part in found.by_label.items()} == {"Happy": 0.5, "Sad": pytest.approx(2 / 3)}
    assert found.by_label["Sad"].n == 3


def test_agreement_equals_the_neighbours(features: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_core.explain.neighbours._BATCH", 64)
    emotions = np.random.default_rng(1).integers(0, 7, 400).astype(np.int8)
    shares: list[float] = []
    found = agreement(features, emotions, asked=1000, report=shares.append)
    expected = [(emotions[nearest(features, row)[0]] == emotions[row]).mean() for row in range(400)]
    np.testing.assert_allclose(found.shares, expected)
    assert shares[-1] == 1
    some = agreement(features, emotions, asked=100)
    assert some.n == 100
    assert set(np.round(some.shares, 1)) <= {i / 10 for i in range(11)}
    assert found.interval[0] - 0.05 < some.value < found.interval[1] + 0.05


def test_planted_clusters_agree_and_noise_does_not() -> None:
    rng = np.random.default_rng(2)
    emotions = (np.arange(350) % 7).astype(np.int8)
    planted = np.eye(7, 20)[emotions] * 5 + rng.normal(size=(350, 20)) * 0.3
    assert agreement(planted.astype(np.float32), emotions).value == 1
    noise = agreement(rng.normal(size=(350, 20)).astype(np.float32), emotions)
    assert noise.chance == pytest.approx(49 / 349)
    assert noise.interval[0] - 0.01 < noise.chance < noise.interval[1] + 0.01


@pytest.mark.parametrize("emotions", [[-1, -1, -1], [2, -1, -1]])
def test_no_labels_to_share(emotions: list[int]) -> None:
    found = agreement(np.eye(3, dtype=np.float32), np.array(emotions, np.int8))
    assert found.n == 0
    assert math.isnan(found.value)
    assert found.interval == (0.0, 1.0)
    assert found.by_label == {}


def test_one_face_has_no_interval() -> None:
    assert Agreement(np.array([0.4]), np.array([3], np.int8), 10, 0.1).interval == (0.0, 1.0)
