"""Regions of the face: where they lie on FER2013's mean face, and planted ones that LIME by label has to find."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import LinearRegression
from torch import Tensor, nn

from fer_core.data import FaceDataset, load_dataset
from fer_core.errors import DataError
from fer_core.explain import perturbation
from fer_core.explain.regions import REGIONS, RegionStudy, region_map, region_weights, study_regions
from fer_core.labels import EMOTIONS
from fer_core.preprocess import Preprocess
from fer_core.runs import Checkpoint, Run

MEAN, STD = 0.5, 0.25
PLANTED = {"Fear": ("Eyes", 4.0), "Happy": ("Mouth", 9.0)}


def region(name: str) -> np.ndarray:
    return region_map() == REGIONS.index(name)


class Planted(nn.Module):
    """The logit of Fear is the mean gray of the eyes times 4, that of Happy the mouth's times 9; the others are 0."""

    def __init__(self) -> None:
        super().__init__()
        weights = torch.zeros(7, 48 * 48)
        for emotion, (name, size) in PLANTED.items():
            where = torch.from_numpy(region(name)).flatten()
            weights[EMOTIONS.index(emotion)] = where * size / where.sum()
        self.linear = nn.Linear(48 * 48, 7, bias=False)
        self.linear.weight.data = weights

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x.flatten(1))
        return logits


@pytest.fixture
def planted() -> Checkpoint:
    return Checkpoint("run", 4, Planted().eval(), Preprocess(MEAN, STD), {})


@pytest.fixture(scope="module")
def white() -> tuple[np.ndarray, np.ndarray]:
    """Faces of two emotions, lighter than the mean gray by 1.5 to 2 units."""
    rng = np.random.default_rng(0)
    images = rng.integers(224, 256, (24, 48, 48)).astype(np.uint8)
    return images, np.tile([EMOTIONS.index("Fear"), EMOTIONS.index("Happy")], 12)


# -- the layout ------------------------------------------------------------------------------------


def test_regions_part_the_face_and_are_alike_on_both_sides() -> None:
    layout = region_map()
    np.testing.assert_array_equal(layout, layout[:, ::-1])
    assert set(np.unique(layout)) == set(range(len(REGIONS)))
    for name in ("Brows", "Nose", "Mouth", "Forehead"):
        rows, columns = np.nonzero(region(name))
        for row in np.unique(rows):  # no holes
            assert np.ptp(columns[rows == row]) + 1 == (rows == row).sum()
    heights = [np.nonzero(region(name))[0].mean() for name in ("Forehead", "Brows", "Eyes", "Nose", "Mouth")]
    assert heights == sorted(heights)
    assert region("Outside")[0, 0]
    assert not region("Outside")[24, 24]


def test_the_layout_fits_the_mean_of_fer2013(fer2013_path: Path) -> None:
    faces = load_dataset(fer2013_path).split("train").images
    mean = faces[::4].mean(axis=0)
    for left in (8, 28):  # of a window that is larger than an eye: the pupil is its darkest place
        row, column = np.unravel_index(mean[12:24, left : left + 12].argmin(), (12, 12))
        assert region("Eyes")[row + 12, column + left]
    middle = mean[:, 21:27].mean(axis=1)
    line = 33 + int(middle[33:44].argmin())  # of the mouth
    assert region("Mouth")[line].sum() >= 18
    ridge = mean[16:28].argmax(axis=1)
    assert region("Nose")[np.arange(16, 28), ridge].all()  # the brightest place of each row is on the nose
    assert (np.diff(mean[10:16, 12:20].mean(axis=1)) < 0).all()  # it gets darker from the forehead over the brow
    assert mean[region("Forehead")].mean() > mean[region("Brows")].mean() > mean[region("Eyes")].mean()
    assert mean[region("Cheeks")].mean() > mean[region("Outside")].mean()


# -- weights ---------------------------------------------------------------------------------------


def test_lime_by_label_finds_the_planted_regions(planted: Checkpoint, white: tuple[np.ndarray, np.ndarray]) -> None:
    images, emotions = white
    study = study_regions(planted, images, emotions)
    assert study.emotions == ("Fear", "Happy")
    assert study.n.tolist() == [12, 12]
    means = {e: (images[emotions == EMOTIONS.index(e)] - 127.5) / 63.75 for e in study.emotions}
    for i, emotion in enumerate(study.emotions):
        # The other planted emotion's logit counts against this one with a seventh of its weight.
        expected = np.zeros(len(REGIONS))
        for other, (name, size) in PLANTED.items():
            value = means[emotion][:, region(name)].mean() * size
            expected[REGIONS.index(name)] = value * (6 / 7 if other == emotion else -1 / 7)
        np.testing.assert_allclose(study.mean[i], expected, atol=1e-4)
        assert study.told(emotion).startswith(f"{emotion}: +")
        assert f"; {PLANTED[emotion][0]} +" in study.told(emotion)


def test_weights_are_a_regression_over_all_ways_to_cover(finished: Run, faces: FaceDataset) -> None:
    checkpoint, part = finished.load_checkpoint(), faces.split("validation")
    images, emotions = part.images[:3], part.emotions[:3]
    found = region_weights(checkpoint, images, emotions)
    ways = np.array(list(product([True, False], repeat=len(REGIONS))))
    near = np.exp(-((1 - np.sqrt(ways.mean(axis=1))) ** 2) / perturbation.LIME_WIDTH**2)
    for i in range(3):
        covered = checkpoint.preprocess(images[i : i + 1]).repeat(len(ways), 1, 1, 1)
        covered *= torch.from_numpy(ways[:, region_map()])[:, None]
        with torch.no_grad():
            logits = checkpoint.model(covered).numpy()
        score = logits[:, emotions[i]] - logits.mean(axis=1)
        expected = LinearRegression().fit(ways, score, sample_weight=near).coef_
        np.testing.assert_allclose(found[i], expected, atol=1e-4)


def test_a_studys_table_holds_means_and_intervals(finished: Run, faces: FaceDataset) -> None:
    checkpoint, part = finished.load_checkpoint(), faces.split("train")
    shares: list[float] = []
    study = study_regions(checkpoint, part.images, part.emotions, most=5, seed=1, report=shares.append)
    assert study.n.tolist() == [5] * 7
    assert shares[-1] == 1.0
    rng, rows = np.random.default_rng(1), None
    for emotion in range(3):  # lots are drawn emotion by emotion
        rows = np.sort(rng.permutation(np.flatnonzero(part.emotions == emotion))[:5])
    weights = region_weights(checkpoint, part.images[rows], part.emotions[rows])
    table = study.table()
    line = table[(table["emotion"] == EMOTIONS[2]) & (table["region"] == "Nose")].iloc[0]
    nose = weights[:, REGIONS.index("Nose")]
    assert line["weight"] == pytest.approx(nose.mean(), abs=1e-4)
    assert line["high"] - line["low"] == pytest.approx(
        2 * 2.77645 * nose.std(ddof=1) / np.sqrt(5), rel=1e-3
    )  # Student's
    assert table.groupby("emotion")["area"].sum().to_numpy() == pytest.approx(1)
    assert study.maps().shape == (7, 48, 48)
    assert study.maps()[2][region("Nose")] == pytest.approx(line["weight"], abs=1e-5)
    np.testing.assert_allclose(study.faces[2], part.images[rows].mean(axis=0))


@pytest.mark.parametrize("n", [2, 5, 40])
def test_what_is_told_as_sure_allows_for_seven_regions(n: int) -> None:
    """By SciPy's t-test of each region, at a seventh of 5 %: where no region adds anything, one is told in 2.5 % of the
    studies and not in a sixth of them."""
    weights = np.random.default_rng(n).normal(0, 1, (2000, n, len(REGIONS)))
    mean = weights.mean(axis=1)
    half = stats.t.ppf(0.975, n - 1) * weights.std(axis=1, ddof=1) / np.sqrt(n)
    names = tuple(map(str, range(2000)))
    study = RegionStudy("run", 1, names, mean, half, np.full(2000, n), np.zeros((2000, 48, 48)))
    p = stats.ttest_1samp(weights, 0, axis=1).pvalue
    np.testing.assert_array_equal(study.sure, (p < 0.05 / len(REGIONS)) & (mean > 0))
    assert study.sure.any(axis=1).mean() == pytest.approx(0.025, abs=0.01)
    i = int(study.sure.any(axis=1).argmax())
    assert REGIONS[int(study.sure[i].argmax())] in study.told(names[i])
    unsure = int(((mean > half).any(axis=1) & ~study.sure.any(axis=1)).argmax())
    assert study.told(names[unsure]).endswith("; no region for certain.")


@pytest.mark.filterwarnings("error")
def test_one_face_is_no_evidence(planted: Checkpoint, white: tuple[np.ndarray, np.ndarray]) -> None:
    study = study_regions(planted, *white, most=1)
    assert study.n.tolist() == [1, 1]
    assert study.told("Happy").endswith("; no region for certain.")
    assert study.table()[["low", "high"]].isna().to_numpy().all()
    assert study.table()["weight"].notna().all()


def test_faces_without_label_cannot_be_studied(planted: Checkpoint, white: tuple[np.ndarray, np.ndarray]) -> None:
    images, _ = white
    with pytest.raises(DataError, match="no emotion has two labelled faces"):
        study_regions(planted, images, np.full(len(images), -1))
    with pytest.raises(DataError, match="some of these faces have no label"):
        region_weights(planted, images[:2], np.array([1, -1]))
