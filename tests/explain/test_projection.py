"""Maps against scikit-learn's PCA, planted clusters, SciPy's Procrustes and rotations known beforehand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from fer_core.data import FaceDataset
from fer_core.errors import ConfigError
from fer_core.explain import projection as module
from fer_core.explain.projection import aligned, known_umap, principal_components, umap_map, umap_of
from fer_core.runs import Run


def features(n: int, width: int, seed: int = 0) -> np.ndarray:
    """Like a network's: not negative, not centred, a few strong directions above noise."""
    rng = np.random.default_rng(seed)
    strong = rng.normal(size=(n, 5)) * [9, 7, 4, 3, 2] @ rng.normal(size=(5, width))
    made: np.ndarray = np.maximum(strong + rng.normal(size=(n, width)) + 3, 0).astype(np.float32)
    return made


@pytest.mark.parametrize(("n", "width"), [(300, 40), (60, 900), (500, 500), (9, 9), (12, 3), (3, 200)])
@pytest.mark.parametrize("count", [2, 3])
def test_equals_scikit_learn(n: int, width: int, count: int) -> None:
    given = features(n, width)
    oracle = PCA(min(count, n, width), svd_solver="full").fit(given.astype(np.float64))
    found = principal_components(given, count)
    known = len(oracle.components_)
    if n == 3:
        known = 2  # the third direction of three points is rounding
    np.testing.assert_allclose(found.shares[:known], oracle.explained_variance_ratio_[:known], rtol=1e-4)
    np.testing.assert_allclose(np.abs(found.axes[:known]), np.abs(oracle.components_[:known]), atol=2e-3)
    expected = oracle.transform(given)[:, :known]
    signs = np.sign((expected * found.coordinates[:, :known]).sum(axis=0))
    np.testing.assert_allclose(found.coordinates[:, :known] * signs, expected, atol=2e-3 * np.abs(expected).max())
    largest = found.axes[np.arange(known), np.abs(found.axes[:known]).argmax(axis=1)]
    assert (largest > 0).all()
    again = principal_components(given.copy(), count)
    np.testing.assert_array_equal(found.coordinates, again.coordinates)


def test_by_hand() -> None:
    """Four points on two axes: variances 18 and 2 of 20."""
    found = principal_components(np.array([[4, 1], [-2, 1], [1, 2], [1, 0]], np.float32))
    np.testing.assert_allclose(found.shares, [0.9, 0.1], atol=1e-6)
    np.testing.assert_allclose(found.axes, [[1, 0], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(found.coordinates, [[3, 0], [-3, 0], [0, 1], [0, -1]], atol=1e-6)


@pytest.mark.parametrize("given", [np.zeros((5, 4)), np.full((6, 3), 7.5), np.ones((1, 9)), np.eye(2, 8)])
def test_too_little_for_two_directions(given: np.ndarray) -> None:
    found = principal_components(given.astype(np.float32))
    assert found.coordinates.shape == (len(given), 2)
    assert np.isfinite(found.coordinates).all()
    np.testing.assert_allclose(found.coordinates[:, 1], 0, atol=1e-6)
    assert np.isfinite(found.shares).all()


def test_few_directions_among_many_features() -> None:
    """Rank two: what is left after them is nothing but rounding."""
    rng = np.random.default_rng(1)
    planted = rng.normal(size=(80, 2)).astype(np.float32)
    found = principal_components(planted @ rng.normal(size=(2, 700)).astype(np.float32))
    assert found.shares.sum() == pytest.approx(1, abs=1e-5)


# -- one map over another --------------------------------------------------------------------------


@pytest.mark.parametrize("mirror", [1, -1])
def test_a_known_rotation_is_taken_back(mirror: int) -> None:
    rng = np.random.default_rng(2)
    onto = rng.normal(size=(50, 2)) * [3, 1] + [10, -4]
    turn = np.array([[np.cos(2.1), -np.sin(2.1)], [np.sin(2.1), np.cos(2.1)]]) * [1, mirror]
    found = aligned(0.03 * onto @ turn + [100, 7], onto)
    np.testing.assert_allclose(found.coordinates, onto, atol=1e-4)
    assert found.likeness == pytest.approx(1)


def test_a_quarter_turn_by_hand() -> None:
    """A square's corner points, turned by 90 degrees, doubled, and one moved: the spread becomes the other's."""
    onto = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], float)
    found = aligned(np.array([[0, 2], [-2, 0], [0, -2], [2, 0]], float), onto)
    np.testing.assert_allclose(found.coordinates, onto, atol=1e-6)
    # Two points changed places: cross products 1 + 1 = 2 of at most 4 on the axis that is left, 0 on the other.
    found = aligned(onto[[0, 3, 2, 1]] * [1, -1] @ [[0, 1], [1, 0]], onto)
    assert found.likeness == pytest.approx(1)


def test_against_scipy() -> None:
    rng = np.random.default_rng(3)
    onto = rng.normal(size=(40, 2)) * [4, 2] + [1, 2]
    moved = onto[:, ::-1] + rng.normal(size=(40, 2)) * 2 - 9
    found = aligned(moved, onto)
    turn, _ = scipy.linalg.orthogonal_procrustes(moved - moved.mean(0), onto - onto.mean(0))
    spread = np.sqrt(np.square(onto - onto.mean(0)).sum() / np.square(moved - moved.mean(0)).sum())
    np.testing.assert_allclose(found.coordinates, (moved - moved.mean(0)) @ turn * spread + onto.mean(0), rtol=1e-4)
    _, _, disparity = scipy.spatial.procrustes(onto, moved)
    assert found.likeness == pytest.approx(1 - disparity)
    assert 0.3 < found.likeness < 0.9


def test_maps_of_one_point() -> None:
    found = aligned(np.zeros((4, 2)), np.arange(8.0).reshape(4, 2))
    assert np.isfinite(found.coordinates).all()
    assert found.likeness == 0
    assert aligned(np.arange(8.0).reshape(4, 2), np.zeros((4, 2))).likeness == 0


# -- UMAP ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clusters() -> tuple[np.ndarray, np.ndarray]:
    """Three directions, thirty faces around each, of very different lengths: only the cosine tells them apart."""
    rng = np.random.default_rng(4)
    labels = np.arange(90) % 3
    directions = np.eye(3, 60)[labels] * 4 + rng.normal(size=(90, 60)) * 0.4
    return (directions * rng.uniform(0.1, 10, (90, 1))).astype(np.float32), labels


def test_umap_keeps_planted_clusters_and_is_seeded(clusters: tuple[np.ndarray, np.ndarray]) -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed (requirements-dev.txt)")
    given, labels = clusters
    shares: list[float] = []
    found = umap_map(given, report=shares.append)
    assert (found.shape, found.dtype) == ((90, 2), np.float32)
    assert silhouette_score(found, labels) > 0.6
    assert shares[-1] == 1
    assert shares == sorted(shares)
    np.testing.assert_array_equal(umap_map(given), found)


def test_umap_is_made_once(finished: Run, faces: FaceDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FER_CACHE", str(tmp_path))
    made = np.arange(252, dtype=np.float32).reshape(126, 2)
    monkeypatch.setattr(module, "umap_map", lambda _features, report=None: made)  # noqa: ARG005
    assert known_umap(finished, 3, faces) is None
    np.testing.assert_array_equal(umap_of(finished, 3, faces, np.ones((126, 4), np.float32)), made)
    monkeypatch.setattr(module, "umap_map", None)
    np.testing.assert_array_equal(umap_of(finished, 3, faces, np.ones((126, 4), np.float32)), made)
    assert known_umap(finished, 2, faces) is None
    assert known_umap(finished, 3, faces.split("test")) is None


def test_without_umap_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ConfigError, match=r'pip install -e "\.\[umap\]" installs it'):
        umap_map(np.ones((9, 4), np.float32))


def test_too_few_faces_for_umap() -> None:
    with pytest.raises(ConfigError, match="at least 3 faces, not 2"):
        umap_map(np.ones((2, 4), np.float32))
