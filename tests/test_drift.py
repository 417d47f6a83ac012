""" "Why always neutral?": each trait against numbers by hand, percentiles, and what makes a face unlike the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from fer_core.__main__ import main
from fer_core.data import FaceDataset, demo_faces, load_dataset
from fer_core.drift import (
    DIRECTIONS,
    TRAITS,
    Drift,
    Reading,
    Reference,
    compare,
    face_traits,
    feature_directions,
    feature_distances,
    pixel_traits,
)
from fer_core.errors import CheckpointError, DataError
from fer_core.faces import Face
from fer_core.reference import SAMPLE, load_reference, make_reference, store_reference
from fer_core.runs import CHECKPOINTS, Run, find_run


def face(right: tuple[float, float], left: tuple[float, float], nose: tuple[float, float], height: float = 80) -> Face:
    marks = np.array([right, left, nose, (0, 0), (0, 0)], np.float32)
    return Face((0, 0, 60, height), 0.9, marks)


class AtTheCentre:
    """Finds one face, upright and from the front, of three quarters of the picture's height."""

    def detect(self, rgb: np.ndarray) -> list[Face]:
        side = len(rgb)
        marks = np.array([(0.4, 0.4), (0.6, 0.4), (0.5, 0.55), (0.42, 0.65), (0.58, 0.65)], np.float32) * side
        return [Face((side / 8, side / 8, 7 * side / 8, 7 * side / 8), 0.9, marks)]


def uniform(**traits: tuple[float, float]) -> Reference:
    """Traits spread evenly from a to b."""
    return Reference("Faces", 1000, {name: np.linspace(a, b, 101, dtype=np.float32) for name, (a, b) in traits.items()})


# -- what is measured ----------------------------------------------------------------------------------------------


def test_light_and_sharpness_by_hand() -> None:
    crop = np.full((48, 48), 100, np.uint8)
    assert pixel_traits(crop) == {"brightness": 100, "contrast": 0, "sharpness": 0}
    crop[:, 24:] = 140  # an edge: the Laplacian is 40 and -40 in two of 46 columns
    assert pixel_traits(crop) == pytest.approx({"brightness": 120, "contrast": 20, "sharpness": 2 * 40**2 / 46})


def test_the_laplacian_is_opencvs() -> None:
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    crop = np.random.default_rng(0).integers(0, 256, (48, 48)).astype(np.uint8)
    expected = cv2.Laplacian(crop, cv2.CV_64F)[1:-1, 1:-1].var()
    assert pixel_traits(crop)["sharpness"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("found", "turn", "tilt"),
    [
        (face((10, 20), (30, 20), (20, 35)), 0, 0),
        (face((10, 20), (30, 20), (25, 35)), 0.25, 0),
        (face((10, 20), (30, 20), (15, 35)), 0.25, 0),  # to the other side
        (face((10, 20), (30, 40), (20, 30)), 0, 45),
        (face((10, 20), (30, 40), (10, 40)), 0, 45),  # the nose below the middle of the eyes, along the tilted face
        (face((10, 40), (30, 20), (20, 30)), 0, 45),
        (face((30, 20), (10, 20), (20, 5)), 0, 180),  # upside down
        (face((10, 10), (10, 10), (10, 10)), 0, 0),  # all in one place
    ],
)
def test_pose_by_hand(found: Face, turn: float, tilt: float) -> None:
    assert face_traits(found) == pytest.approx({"size": 80, "turn": turn, "tilt": tilt}, abs=1e-6)


def test_projected_directions_keep_the_angles_between_features() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 50, 3000)).astype(np.float32)
    for share in (0.0, 0.5, 0.9):
        mixed = share * one + np.sqrt(1 - share**2) * other
        a, b = (feature_directions(each).astype(float) for each in (one, 7 * mixed))
        cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert cosines.mean() == pytest.approx(share, abs=0.03)
        assert cosines.std() < 1.5 / np.sqrt(DIRECTIONS)


def test_the_projection_is_the_same_for_ever() -> None:
    """References are kept in files: a library that draws other numbers must not change them."""
    directions = feature_directions(np.eye(4, dtype=np.float32))
    assert np.abs(directions).min() == 127
    assert (directions[:, :12] > 0).astype(int).tolist() == [
        [0, 1, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0],
        [0, 0, 1, 1, 1, 0, 1, 1, 0, 1, 0, 1],
        [1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1],
        [1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1],
    ]


def test_the_distance_is_that_of_the_fifth_nearest() -> None:
    """One feature points where 5 others do, one where only 4 do, one is nothing at all."""
    rng = np.random.default_rng(1)
    a, b, c = rng.normal(size=(3, 500)).astype(np.float32)
    kept = feature_directions(np.stack([a] * 5 + [b] * 4 + [c] * 9))
    near, far, nothing = feature_distances(np.stack([3 * a, b, 0 * a]), kept)
    assert near == pytest.approx(0, abs=1e-3)
    assert far > 0.7
    assert nothing == 1


# -- percentiles and sentences -------------------------------------------------------------------------------------


def test_a_percentile_is_the_share_that_has_less() -> None:
    rng = np.random.default_rng(0)
    values = rng.gamma(2, size=5000)
    reference = Reference("Faces", 5000, {"contrast": np.percentile(values, np.arange(101)).astype(np.float32)})
    for value in (0.1, 0.5, 1.0, 2.0, 5.0):
        assert reference.reading("contrast", value).percentile == pytest.approx(100 * (values < value).mean(), abs=0.5)


def test_only_what_lies_outside_all_is_beyond_all() -> None:
    reference = uniform(brightness=(0, 200))
    readings = [reference.reading("brightness", value) for value in (-1, 0, 100, 200, 201)]
    assert [reading.percentile for reading in readings] == [0, 0.1, 50, 99.9, 100]
    assert readings[0].sentence == "Darker than all training faces."
    assert readings[1].sentence == "Darker than 99 % of the training faces."
    assert readings[4].sentence == "Brighter than all training faces."


def test_among_equal_values_a_face_is_in_the_middle() -> None:
    levels = np.concatenate([np.zeros(41), np.arange(1, 61)]).astype(np.float32)
    assert Reference("Faces", 10, {"tilt": levels}).reading("tilt", 0).percentile == 20


@pytest.mark.parametrize(
    ("name", "percentile", "sentence", "has_hint"),
    [
        ("brightness", 3, "Darker than 97 % of the training faces.", True),
        ("brightness", 97, "Brighter than 97 % of the training faces.", True),
        ("brightness", 60, "Brightness as in the training faces.", False),
        ("sharpness", 1, "More blurred than 99 % of the training faces.", True),
        ("size", 2, "Smaller in the picture than 98 % of the training faces.", True),
        ("size", 100, "Height of the face as in the training faces.", False),  # a large face is shrunk: no harm
        ("turn", 99, "Turned further to a side than 99 % of the training faces.", True),
        ("turn", 1, "Turn of the head as in the training faces.", False),
        ("tilt", 96, "Tilted further than 96 % of the training faces.", True),
    ],
)
def test_sentences(name: str, percentile: float, sentence: str, has_hint: bool) -> None:
    reading = Reading(name, 0.0, percentile)
    assert (reading.sentence, bool(reading.hint), reading.is_unusual) == (sentence, has_hint, has_hint)


def test_the_most_extreme_is_told_first() -> None:
    readings = tuple(Reading(n, 0.0, p) for n, p in [("brightness", 4.0), ("contrast", 50.0), ("sharpness", 1.0)])
    drift = Drift(readings, "Faces", 10)
    assert [reading.name for reading in drift.unusual] == ["sharpness", "brightness"]
    expected = "More blurred than 99 % of the training faces. Darker than 96 % of the training faces."
    assert drift.sentence == expected
    assert "Nothing that is measured here is unusual" in Drift(readings[1:2], "Faces", 10).sentence


def test_what_cannot_be_measured_is_left_out() -> None:
    reference = uniform(brightness=(0, 200), size=(0, 100), turn=(0, 1))
    crops = np.full((2, 48, 48), 100, np.uint8)
    found = [face((10, 20), (30, 20), (20, 35), 25), face((10, 20), (30, 20), (20, 35), 75)]
    assert [[reading.name for reading in drift.readings] for drift in compare(crops, reference)] == [["brightness"]] * 2
    with_faces = compare(crops, reference, faces=found)
    assert [[reading.name for reading in drift.readings] for drift in with_faces] == [
        ["brightness", "size", "turn"]
    ] * 2
    assert [drift.readings[1].percentile for drift in with_faces] == [25, 75]
    assert compare(crops[:0], reference) == []


# -- references ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def reference(finished: Run, faces: FaceDataset) -> Reference:
    return make_reference(finished.load_checkpoint(3), faces, AtTheCentre())


def test_a_reference_holds_the_training_faces_distributions(reference: Reference, faces: FaceDataset) -> None:
    training = faces.split("train").images
    brightness = training.mean(axis=(1, 2))
    assert reference.quantiles["brightness"][[0, 50, 100]] == pytest.approx(np.percentile(brightness, [0, 50, 100]))
    assert reference.quantiles["contrast"][50] == pytest.approx(np.median(training.std(axis=(1, 2))), rel=1e-5)
    assert reference.quantiles["size"] == pytest.approx(np.full(101, 0.75 * 80))  # 48 pixels and 16 around
    assert reference.quantiles["turn"] == pytest.approx(np.zeros(101), abs=1e-5)
    assert set(reference.quantiles) == set(TRAITS)
    assert (reference.data, reference.faces, reference.held_out) == ("Patterns", 84, True)
    assert reference.neighbours is not None
    assert reference.neighbours.shape == (84, DIRECTIONS)


def test_a_reference_comes_back_as_it_was_stored(copied: Run, reference: Reference) -> None:
    store_reference(copied, 3, reference)
    again = load_reference(copied, 3)
    assert again is not None
    assert (again.data, again.faces, again.held_out) == ("Patterns", 84, True)
    np.testing.assert_array_equal(again.neighbours, reference.neighbours)
    for name, levels in reference.quantiles.items():
        np.testing.assert_array_equal(again.quantiles[name], levels)


def test_another_epoch_has_all_but_the_features(copied: Run, reference: Reference, faces: FaceDataset) -> None:
    assert load_reference(copied, 2) is None
    store_reference(copied, 3, reference)
    other = load_reference(copied, 2)
    assert other is not None
    assert other.neighbours is None
    readings = compare(faces.images[:1], other, copied.load_checkpoint(2))[0].readings
    assert [reading.name for reading in readings] == ["brightness", "contrast", "sharpness"]


def test_other_weights_under_the_same_epoch_are_others(copied: Run, reference: Reference) -> None:
    store_reference(copied, 3, reference)
    copied.checkpoint_path(3).write_bytes(copied.checkpoint_path(2).read_bytes())
    found = load_reference(copied, 3)
    assert found is not None
    assert found.neighbours is None


def test_a_damaged_reference_is_named(copied: Run, reference: Reference) -> None:
    store_reference(copied, 3, reference)
    file = copied.path / "reference-003.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"reference-003\.safetensors is not a whole safetensors file"):
        load_reference(copied, 3)


def test_without_training_faces_there_is_no_reference(finished: Run, faces: FaceDataset) -> None:
    with pytest.raises(DataError, match="Patterns has no training faces to compare with"):
        make_reference(finished.load_checkpoint(3), faces.split("test"), AtTheCentre())


def test_held_out_faces_are_spread_over_the_percentiles(
    reference: Reference, finished: Run, faces: FaceDataset
) -> None:
    """By construction half of the held-out faces lie farther than the median."""
    checkpoint = finished.load_checkpoint(3)

    def percentiles(images: np.ndarray) -> np.ndarray:
        return np.array([drift.readings[-1].percentile for drift in compare(images, reference, checkpoint)])

    held_out = percentiles(faces.split("validation").images)
    assert 40 < np.median(held_out) < 60
    assert held_out.max() > 95
    drift = compare(faces.images[:1], reference, checkpoint)[0]
    assert drift.readings[-1].among == "held-out faces"


def test_the_command_keeps_a_reference_beside_the_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, copied: Run, faces: FaceDataset
) -> None:
    import fer_core.commands.reference as command
    import fer_core.reference as making

    monkeypatch.setattr(command, "load_faces", lambda *_: faces)
    monkeypatch.setattr(making, "find_faces", lambda rgb, *_, **__: AtTheCentre().detect(rgb))
    with pytest.raises(SystemExit) as stop:
        main(["reference", "run:2", "--runs", str(copied.path.parent), "--data", str(tmp_path)])
    assert not stop.value.code
    printed = capsys.readouterr()
    assert "Note:" not in printed.err
    lines = printed.out.splitlines()
    assert lines[0] == "run, epoch 2: 84 training faces of Patterns"
    assert [line.split()[0] for line in lines[2:]] == [
        "brightness",
        "contrast",
        "sharpness",
        "size",
        "turn",
        "tilt",
        "features",
    ]
    found = load_reference(copied, 2)
    assert found is not None
    assert found.neighbours is not None
    monkeypatch.setattr(command, "load_faces", lambda *_: faces.subset(np.arange(1, 126)))
    with pytest.raises(SystemExit):
        main(["reference", "run:2", "--runs", str(copied.path.parent), "--data", str(tmp_path)])
    assert "Note: run was not trained on Patterns as it is here" in capsys.readouterr().err


def test_other_faces_than_those_of_the_training_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Rendered faces are not what a network of real faces learned from."""
    with pytest.raises(SystemExit, match="report-resnet was not trained on Demo faces"):
        main(["reference", "report-resnet", "--data", str(Path("fer_core/data/demo/demo_faces.parquet"))])
    assert capsys.readouterr().out == ""


# -- what ships ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["demo", "report-cnn", "report-resnet"])
def test_a_shipped_runs_best_epoch_has_a_reference(name: str) -> None:
    run = find_run(name, CHECKPOINTS)
    epoch = run.best_epoch()
    assert epoch is not None
    found = load_reference(run, epoch)
    assert found is not None
    assert set(found.quantiles) == set(TRAITS)
    assert found.neighbours is not None
    assert found.neighbours.shape == (SAMPLE, DIRECTIONS)
    for levels in found.quantiles.values():
        assert (np.diff(levels) >= 0).all()


def changed(images: np.ndarray, how: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(how(Image.fromarray(image))) for image in images])


@pytest.mark.parametrize(
    ("name", "how", "rises"),
    [
        ("brightness", lambda image: image.point(lambda gray: gray // 3), False),
        ("contrast", lambda image: image.point(lambda gray: 100 + gray // 4), False),
        ("sharpness", lambda image: image.filter(ImageFilter.GaussianBlur(2)), False),
        ("features", lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM), True),
    ],
)
def test_spoilt_faces_are_told_apart(name: str, how: Any, rises: bool) -> None:
    """Held-out demo faces, as they are and spoilt in one way, on what ships."""
    run = find_run("demo")
    checkpoint = run.load_checkpoint()
    reference = load_reference(run, checkpoint.epoch)
    assert reference is not None
    images = demo_faces().split("validation").images[:100]
    before, after = (
        np.array(
            [{r.name: r.percentile for r in drift.readings}[name] for drift in compare(some, reference, checkpoint)]
        )
        for some in (images, changed(images, how))
    )
    assert 35 < np.median(before) < 65
    moved = np.median(after) - np.median(before)
    assert (moved if rises else -moved) > 20


def test_validation_faces_of_fer2013_are_as_its_training_faces(fer2013_path: Path) -> None:
    """Their readings are spread evenly: about a twentieth lies beyond the 95th percentile."""
    run = find_run("report-resnet")
    checkpoint = run.load_checkpoint()
    reference = load_reference(run, checkpoint.epoch)
    assert reference is not None
    images = load_dataset(fer2013_path).split("validation").images[-500:]
    drifts = compare(images, reference, checkpoint)
    for i, name in enumerate(("brightness", "contrast", "sharpness", "features")):
        percentiles = np.array([drift.readings[i].percentile for drift in drifts])
        assert drifts[0].readings[i].name == name
        assert 40 < np.median(percentiles) < 60
        assert 0.01 < (percentiles > 95).mean() < 0.1
