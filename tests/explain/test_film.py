"""Films over epochs and average maps: each frame is what the epoch alone says, each mean what numpy makes of it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_core.data import FaceDataset
from fer_core.errors import CheckpointError, ConfigError
from fer_core.explain.attribution import METHODS, attribute
from fer_core.explain.averages import average_maps
from fer_core.explain.film import FORMS, Film, animation, frame, make_film
from fer_core.explain.pictures import Look, enlarged, overlay, part_of, scale_of
from fer_core.labels import EMOTIONS
from fer_core.runs import Checkpoint, Run


@pytest.fixture(scope="module")
def film(finished: Run, faces: FaceDataset) -> Film:
    return make_film(finished, faces.images[3], "saliency", "true", emotion=int(faces.emotions[3]))


# -- films -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_each_frame_is_what_that_epoch_says(finished: Run, faces: FaceDataset, method: str) -> None:
    shares: list[float] = []
    film = make_film(finished, faces.images[0], method, report=shares.append)
    assert film.epochs == (1, 2, 3)
    assert film.skipped == ()
    assert shares == pytest.approx([1 / 3, 2 / 3, 1])
    for i, epoch in enumerate(film.epochs):
        alone = attribute(finished.load_checkpoint(epoch), faces.images[:1], method)
        np.testing.assert_allclose(film.maps[i], alone.maps[0], atol=1e-5)
        np.testing.assert_allclose(film.probabilities[i], alone.probabilities[0], atol=1e-6)
        assert (film.targets[i], film.layer, film.title) == (alone.targets[0], alone.layer, alone.title)


def test_checkpoints_at_hand_are_not_loaded_again(finished: Run, faces: FaceDataset) -> None:
    loaded: list[int] = []

    def load(epoch: int) -> Checkpoint:
        loaded.append(epoch)
        return finished.load_checkpoint(epoch)

    make_film(finished, faces.images[0], "saliency", load=load)
    assert loaded == [1, 2, 3]


def test_a_damaged_epoch_is_left_out_and_named(copied: Run, faces: FaceDataset) -> None:
    path = copied.checkpoint_path(2)
    path.write_bytes(path.read_bytes()[:-100])
    film = make_film(copied, faces.images[0], "saliency")
    assert film.epochs == (1, 3)
    (sentence,) = film.skipped
    assert str(path) in sentence
    for epoch in (1, 3):
        copied.checkpoint_path(epoch).write_bytes(b"")
    with pytest.raises(CheckpointError, match="holds no checkpoint that can be loaded"):
        make_film(copied, faces.images[0], "saliency")


def test_a_wrong_word_is_not_taken_for_a_damaged_epoch(finished: Run, faces: FaceDataset) -> None:
    with pytest.raises(ConfigError, match="There is no method"):
        make_film(finished, faces.images[0], "xray")


def test_a_frame_holds_the_face_and_its_map_to_the_pixel(film: Film) -> None:
    look = Look("absolute", opacity=0.7)
    picture = np.asarray(frame(film, 1, look))
    face = np.asarray(enlarged(film.face, 5).convert("RGB"))
    shown = part_of(film.maps, "absolute")
    over = np.asarray(overlay(film.face, shown[1], look, scale_of(shown), 5))
    top = 14 + 2 * 20 + 6
    np.testing.assert_array_equal(picture[top : top + 240, 14 : 14 + 240], face)
    np.testing.assert_array_equal(picture[top : top + 240, 28 + 240 : 28 + 480], over)


@pytest.mark.parametrize("form", FORMS)
def test_an_animation_has_a_frame_an_epoch(film: Film, form: str) -> None:
    with Image.open(io.BytesIO(animation(film, Look("both"), form))) as picture:
        assert picture.format == {"GIF": "GIF", "WebP": "WEBP"}[form]
        assert picture.n_frames == len(film.epochs)
        for i in range(picture.n_frames):
            picture.seek(i)
            expected = np.asarray(frame(film, i, Look("both")), np.int16)
            shown = np.asarray(picture.convert("RGB"), np.int16)
            assert np.abs(shown - expected).mean() < 4  # GIF has 256 colours, WebP is compressed


# -- averages --------------------------------------------------------------------------------------


def test_averages_are_means_of_maps_that_count_alike(finished: Run, faces: FaceDataset) -> None:
    checkpoint, part = finished.load_checkpoint(), faces.split("train")
    groups = {name: np.flatnonzero(part.emotions == i) for i, name in enumerate(EMOTIONS[:3])}
    groups["Nobody"] = np.empty(0, int)
    found = average_maps(checkpoint, part.images, groups, "occlusion", "true", emotions=part.emotions, most=100)
    assert found.names == EMOTIONS[:3]
    assert found.counts.tolist() == [[12, 12]] * 3
    for i, name in enumerate(found.names):
        maps = attribute(checkpoint, part.images[groups[name]], "occlusion", name).maps
        expected = np.mean([100 * each / np.abs(each).sum() for each in maps], axis=0)
        np.testing.assert_allclose(found.maps[i], expected, atol=1e-5)
        np.testing.assert_allclose(found.faces[i], part.images[groups[name]].mean(axis=0), rtol=1e-5)


def test_of_large_groups_some_faces_are_drawn_and_counted(finished: Run, faces: FaceDataset) -> None:
    checkpoint, part = finished.load_checkpoint(), faces.split("train")
    groups = {"All": np.arange(len(part))}
    once, again, other = (
        average_maps(checkpoint, part.images, groups, "saliency", most=9, seed=seed) for seed in (0, 0, 1)
    )
    assert once.counts.tolist() == [[9, len(part)]]
    np.testing.assert_array_equal(once.maps, again.maps)
    assert np.abs(once.maps - other.maps).max() > 0


def test_an_empty_map_does_not_spoil_the_mean(finished: Run, faces: FaceDataset) -> None:
    checkpoint = finished.load_checkpoint()
    found = average_maps(checkpoint, faces.images, {"Some": np.arange(4)}, "saliency", ("Fear", "Fear"))
    np.testing.assert_array_equal(found.maps, 0)
    assert average_maps(checkpoint, faces.images, {}, "saliency").maps.shape == (0, 48, 48)


def test_nothing_is_written(finished: Run, faces: FaceDataset) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(finished.path).iterdir()}
    make_film(finished, faces.images[0], "grad-cam", layer="conv1")
    assert {path: path.stat().st_mtime_ns for path in Path(finished.path).iterdir()} == before
