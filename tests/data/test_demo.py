"""The demo faces that ship: what the README and the data card promise of the file."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fer_core.data import SPLITS, FaceDataset, demo_faces
from fer_core.data.load import DEMO_FACES
from fer_core.labels import EMOTIONS

PORTRAITS = DEMO_FACES.parent / "portraits"


@pytest.fixture(scope="module")
def demo() -> FaceDataset:
    return demo_faces()


def by_identity(demo: FaceDataset) -> Iterator[tuple[int, FaceDataset]]:
    for identity in sorted(set(demo.extra["identity"])):
        yield identity, demo.subset((demo.extra["identity"] == identity).to_numpy())


def test_at_least_300_people_show_every_emotion_once(demo: FaceDataset) -> None:
    people = dict(by_identity(demo))
    assert len(people) >= 300
    assert len(demo) == len(people) * len(EMOTIONS) >= 2100
    for faces in people.values():
        assert sorted(faces.emotions) == list(range(len(EMOTIONS)))


def test_nobody_is_in_two_splits(demo: FaceDataset) -> None:
    for identity, faces in by_identity(demo):
        assert len(set(faces.splits)) == 1, f"identity {identity} is in several splits"


def test_splits_are_70_15_15_and_hold_every_emotion(demo: FaceDataset) -> None:
    counts = demo.counts()
    assert list(counts.index) == list(SPLITS)
    assert (counts[list(EMOTIONS)] > 0).all(axis=None)
    shares = counts.sum(axis=1) / len(demo)
    assert shares.to_numpy() == pytest.approx([0.7, 0.15, 0.15], abs=0.01)


def test_is_read_as_it_is_without_a_warning(demo: FaceDataset) -> None:
    """48x48, gray, and the file names its classes: nothing to convert and nothing to assume."""
    assert demo.is_demo
    assert demo.name == "Demo faces"
    assert (demo.summary.resized, demo.summary.recoloured, demo.summary.skipped) == (0, 0, 0)
    assert demo.summary.warnings == ()


def test_pictures_are_lossless_gray_png() -> None:
    for row in pq.read_table(DEMO_FACES, columns=["image"]).slice(0, 50).to_pylist():
        with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "L", (48, 48))


def test_columns_stay_in_their_ranges(demo: FaceDataset) -> None:
    extra = demo.extra
    assert list(extra.columns) == ["identity", "intensity", "yaw", "pitch", "roll"]
    assert not extra.isna().any(axis=None)
    neutral = demo.emotions == EMOTIONS.index("Neutral")
    assert (extra["intensity"][neutral] == 0).all()
    assert extra["intensity"][~neutral].between(0.5, 1).all()
    assert extra["intensity"][~neutral].std() > 0.1, "half-strength expressions are missing"
    assert extra["yaw"].abs().max() <= 50
    assert extra["pitch"].abs().max() <= 24
    assert extra["roll"].std() == pytest.approx(12, abs=1), "FER2013's faces are tilted by 12 degrees (sd)"


def test_images_are_faces_of_many_kinds_of_light(demo: FaceDataset) -> None:
    """No blank or repeated picture, and mean and spread of the gray levels near FER2013's (0.508 and 0.255)."""
    assert len({face.tobytes() for face in demo.images}) == len(demo), "a picture is there twice"
    assert demo.images.std(axis=(1, 2)).min() > 10
    assert demo.images.mean() / 255 == pytest.approx(0.508, abs=0.06)
    assert demo.images.std() / 255 == pytest.approx(0.255, abs=0.04)


def test_size_that_ships() -> None:
    assert DEMO_FACES.stat().st_size <= 4 * 2**20
    assert sum(file.stat().st_size for file in PORTRAITS.iterdir()) < 400_000


def test_portraits_are_large_enough_and_their_faces_lie_inside() -> None:
    listed = json.loads((PORTRAITS / "portraits.json").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(file.name for file in PORTRAITS.glob("*.jpg"))
    assert {1, 2} <= {len(faces) for faces in listed.values()}
    for name, faces in listed.items():
        with Image.open(PORTRAITS / name) as image:
            width, height = image.size
        assert min(width, height) >= 256
        for face in faces:
            assert face["emotion"] in EMOTIONS
            assert face["left"] >= 0
            assert face["left"] + face["width"] <= width
            assert face["top"] >= 0
            assert face["top"] + face["height"] <= height


def test_faces_differ_between_people(demo: FaceDataset) -> None:
    """The mean face of an emotion is no picture of one head: neighbours in the file are as unlike as any two."""
    happy = demo.subset(demo.emotions == EMOTIONS.index("Happy")).images.astype(float)
    differences = np.abs(happy[1:] - happy[:-1]).mean(axis=(1, 2))
    assert differences.min() > 8
