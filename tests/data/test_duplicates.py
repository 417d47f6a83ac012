"""Exact and near duplicates: planted ones are found, different faces are not, and FER2013's are counted."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_core.data import demo_faces, load_dataset
from fer_core.data import duplicates as module
from fer_core.data.duplicates import (
    THRESHOLD,
    Groups,
    copies,
    correlation,
    describe_faces,
    exact_duplicates,
    near_duplicates,
)
from fer_core.data.keys import face_keys

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@pytest.fixture(scope="module")
def people() -> np.ndarray:
    """600 rendered faces, two of each person with another expression and pose: alike, and not the same picture."""
    faces = demo_faces()
    rows = np.concatenate([np.flatnonzero(faces.extra["identity"] == identity)[:2] for identity in range(300)])
    return np.array(faces.images[rows])


def jpeg(face: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(face).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def shifted(face: np.ndarray, x: int, y: int) -> np.ndarray:
    return np.pad(face, 2, mode="edge")[2 + y : 50 + y, 2 + x : 50 + x]


def zoomed(face: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(face).crop((1, 1, 47, 47)).resize((48, 48), Image.Resampling.BICUBIC))


def clipped(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


CHANGES: dict[str, tuple[Change, float]] = {  # and the recall that it must reach
    "noise of 5 gray levels": (lambda f, rng: clipped(f + rng.normal(0, 5, f.shape)), 0.99),
    "JPEG quality 50": (lambda f, _: jpeg(f, 50), 0.99),
    "JPEG quality 20": (lambda f, _: jpeg(f, 20), 0.97),
    "brighter by 20 % and 10": (lambda f, _: clipped(1.2 * f + 10), 0.95),
    "darker, gamma 1.4": (lambda f, _: clipped(255 * (f / 255) ** 1.4), 0.97),
    "shifted by 1 pixel": (lambda f, rng: shifted(f, *rng.choice([-1, 1], 2)), 0.99),
    "shifted by 2 pixels": (lambda f, rng: shifted(f, *rng.choice([-2, 2], 2)), 0.93),
    "mirrored": (lambda f, _: f[:, ::-1], 1.0),
    "mirrored, shifted, JPEG": (lambda f, rng: jpeg(shifted(f[:, ::-1], *rng.choice([-1, 1], 2)), 60), 0.97),
    "cropped by a pixel": (lambda f, _: zoomed(f), 0.95),
}


def test_planted_near_duplicates(people: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    """Of every sixth face a changed copy is planted among 600 others; precision over all groups that are found."""
    rng = np.random.default_rng(4)
    already = near_duplicates(people)
    n, planted_rows = len(people), np.arange(0, len(people), 6)
    lines = []
    for name, (change, floor) in CHANGES.items():
        planted = np.stack([change(people[row], rng) for row in planted_rows])
        groups = near_duplicates(np.concatenate([people, planted]))
        both = groups.of[n:]
        recall = float(((both >= 0) & (both == groups.of[planted_rows])).mean())
        linked = [group for group in groups.members if len(set(group[group < n])) > 1]
        wrong = len(linked) - len(already)
        precision = 1 - max(wrong, 0) / max(len(groups), 1)
        lines.append(
            f"{name:26} recall {recall:6.1%} (at least {floor:.0%}), precision {precision:6.1%} (at least 99%)"
        )
        assert recall >= floor, lines[-1]
        assert precision >= 0.99, lines[-1]
    with capsys.disabled():
        print("", *lines, sep="\n")


def test_different_faces_are_not_linked(people: np.ndarray) -> None:
    assert (near_duplicates(people).of >= 0).mean() <= 0.005


def test_a_leak_is_counted_in_both_directions(people: np.ndarray) -> None:
    """Ten training faces stand in validation again, five of them twice; two stand in training twice."""
    images = np.concatenate([people[:100], people[:10], people[:5], people[20:22]])
    splits = np.repeat([0, 1, 1, 0], [100, 10, 5, 2])
    exact = exact_duplicates(face_keys(images))
    assert exact.leaks(splits, 3).tolist() == [[4, 10, 0], [15, 10, 0], [0, 0, 0]]
    assert (len(exact), exact.extra_copies) == (12, 17)
    assert sorted(map(len, exact.members)) == [2] * 7 + [3] * 5
    assert exact.members[int(exact.of[0])].tolist() == [0, 100, 110]


def test_near_groups_hold_exact_copies_too(people: np.ndarray) -> None:
    images = np.concatenate([people[:50], people[:1], people[:1, :, ::-1], people[4:5]])
    groups = near_duplicates(images)
    assert groups.members[int(groups.of[0])].tolist() == [0, 50, 51]
    assert groups.of[4] == groups.of[52] == -1  # two copies and nothing near: an exact group only
    assert THRESHOLD <= groups.links[int(groups.of[0])] <= 1.0


def test_copies_in_either_way_and_parts_of_groups() -> None:
    exact = Groups(np.array([0, 0, 1, 1, -1, -1, 2, 2]), np.ones(3, np.float32))
    near = Groups(np.array([0, 0, -1, -1, 0, -1, -1, -1]), np.array([0.9], np.float32))
    both = copies(exact, near)
    assert [rows.tolist() for rows in both.members] == [[0, 1, 4], [2, 3], [6, 7]]
    assert both.links.tolist() == pytest.approx([0.9, 1, 1])
    part = both.among(np.array([1, 2, 4, 6, 7]))
    assert [rows.tolist() for rows in part.members] == [[0, 2], [3, 4]]
    assert part.links.tolist() == pytest.approx([0.9, 1])
    train = np.array([True, False, False, True, False, True, False, False])
    assert np.flatnonzero(both.with_a_face_in(train)).tolist() == [0, 1, 2, 3, 4]


def test_conflicting_labels() -> None:
    groups = Groups(np.array([0, 0, 1, 1, 1, -1, 2, 2, -1]), np.ones(3, np.float32))
    emotions = np.array([3, 3, 2, -1, 4, 0, -1, 1, 5], np.int8)
    assert groups.conflicting(emotions).tolist() == [1]
    assert [rows.tolist() for rows in groups.members] == [[0, 1], [2, 3, 4], [6, 7]]


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_faces(count: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, 48, 48)).astype(np.uint8)
    for groups in (near_duplicates(images), exact_duplicates(face_keys(images))):
        assert (len(groups), groups.extra_copies, groups.members) == (0, 0, [])
        assert groups.leaks(np.zeros(count, np.int8), 3).tolist() == [[0] * 3] * 3


def test_blank_faces_are_not_near_duplicates_of_one_another() -> None:
    rng = np.random.default_rng(0)
    nearly = (128 + rng.integers(0, 2, (20, 48, 48))).astype(np.uint8)
    assert len(near_duplicates(np.concatenate([nearly, np.zeros((5, 48, 48), np.uint8)]))) == 0


def test_mirroring_and_brightness_leave_the_descriptor_alone(people: np.ndarray) -> None:
    described = describe_faces(people)
    np.testing.assert_allclose(describe_faces(np.ascontiguousarray(people[:, :, ::-1])), described, atol=2e-3)
    np.testing.assert_allclose(describe_faces(people // 2 + 60), described, atol=0.15)


def test_the_descriptor_is_that_of_a_plain_fourier_transform(people: np.ndarray) -> None:
    window = np.hanning(50)[1:-1]
    face = people[0].astype(float)
    weights = np.outer(window, window)
    lit = (face - (face * weights).sum() / weights.sum()) * weights
    magnitudes = np.abs(np.fft.fft2(lit)) / np.sqrt((lit**2).sum())
    pairs = [(u, v) for u in range(7) for v in range(7) if 0 < u * u + v * v <= 36]
    high = [max(magnitudes[u, v], magnitudes[-u, v]) for u, v in pairs]
    low = [min(magnitudes[u, v], magnitudes[-u, v]) for u, v in pairs if u and v]
    np.testing.assert_allclose(describe_faces(people[:1])[0], np.sqrt(low + high), rtol=2e-3, atol=1e-3)


def test_correlation_against_the_plain_way(people: np.ndarray) -> None:
    from scipy.ndimage import gaussian_filter

    def plain(a: np.ndarray, b: np.ndarray) -> float:
        a, b = (gaussian_filter(x.astype(float), 1) - gaussian_filter(x.astype(float), 5) for x in (a, b))
        middle = a[2:46, 2:46].ravel()
        windows = [s[y : y + 44, x : x + 44].ravel() for s in (b, b[:, ::-1]) for y in range(5) for x in range(5)]
        return max(float(np.corrcoef(middle, window)[0, 1]) for window in windows)

    expected = [plain(people[i], people[i + 1]) for i in range(20)]
    np.testing.assert_allclose(correlation(people[:20], people[1:21]), expected, atol=0.01)
    np.testing.assert_allclose(correlation(people[:20], people[:20, :, ::-1]), 1, atol=1e-4)


def test_many_cells_find_what_one_finds(people: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond 60,000 faces only near cells are compared: hardly anything is lost."""
    rng = np.random.default_rng(1)
    planted = np.stack([shifted(face, *rng.choice([-1, 1], 2)) for face in people])
    images = np.concatenate([people, planted])
    whole = near_duplicates(images)
    monkeypatch.setattr(module, "_ONE_CELL", 100)
    monkeypatch.setattr(module, "_CELL", 100)
    monkeypatch.setattr(module, "_TILE", 64)
    parts = near_duplicates(images)
    assert (parts.of >= 0).sum() >= 0.98 * (whole.of >= 0).sum()
    assert all(len(set(whole.of[group])) == 1 for group in parts.members)


def test_progress_reaches_the_end(people: np.ndarray) -> None:
    shares: list[float] = []
    near_duplicates(people, report=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)


def test_fer2013(fer2013_path: Path) -> None:
    """The counts of the data as supplied: PrivateTest without labels."""
    faces = load_dataset(fer2013_path)
    unlabelled = faces.splits == 2
    faces = replace(faces, emotions=np.where(unlabelled, -1, faces.emotions).astype(np.int8))
    keys = face_keys(faces.images)
    exact = exact_duplicates(keys)
    assert len(faces) - exact.extra_copies == 34_034
    leaks = exact.leaks(faces.splits, 3)
    assert (leaks[1, 0], leaks[2, 0]) == (280, 288)
    conflicts = exact.conflicting(faces.emotions)
    rows = np.concatenate([exact.members[group] for group in conflicts])
    assert (len(conflicts), int((faces.emotions[rows] >= 0).sum())) == (47, 129)
    near = near_duplicates(faces.images, keys)
    copied = exact.of >= 0
    blank = faces.images.std(axis=(1, 2)) < 5
    assert len(near) > 1_900
    assert (near.leaks(faces.splits, 3)[1:, 0] > [500, 500]).all()
    linked_twice = [len(set(near.of[group])) for group in exact.members]
    assert set(linked_twice) == {1}  # copies share their near duplicates
    assert not (near.of[blank] >= 0).any()
    assert copied.sum() == 3_369
