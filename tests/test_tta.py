"""Test-time augmentation: each view by hand, by padding and cropping, and against torchvision's ten crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as vision

from fer_core.data import FaceDataset
from fer_core.errors import ConfigError
from fer_core.inference import Predictor
from fer_core.runs import Run
from fer_core.tta import SHIFT, TITLES, TTA, ZOOMS, View, views


def seen(faces: np.ndarray, down: int, right: int, mirrored: bool) -> np.ndarray:
    """One view of faces (N, 48, 48), as padding and cropping give it."""
    padded = np.pad(faces, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)), mode="edge")
    view = padded[:, SHIFT - down : SHIFT - down + 48, SHIFT - right : SHIFT - right + 48]
    return np.ascontiguousarray(view[:, :, ::-1] if mirrored else view)


@pytest.fixture
def inputs() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(3, 1, 48, 48)).astype(np.float32))


def test_what_each_key_stands_for() -> None:
    assert TTA["none"] == (View(0, 0, False, 1.0),)
    assert TTA["flip"] == (View(0, 0, False, 1.0), View(0, 0, True, 1.0))
    corners = {(down, right) for down in (-3, 3) for right in (-3, 3)}
    assert len(TTA["crops"]) == 10
    crops = {View(*shift, mirrored) for shift in corners | {(0, 0)} for mirrored in (False, True)}
    assert set(TTA["crops"]) == crops
    assert set(TTA["zooms"]) == {crop._replace(zoom=zoom) for crop in crops for zoom in ZOOMS}
    assert len(TTA["zooms"]) == 50
    assert TITLES.keys() == TTA.keys()
    assert TITLES["crops"] == "averaged over 10 crops"


def test_the_views_of_a_row_by_hand() -> None:
    wide = torch.arange(6)[None, None, None].expand(1, 1, 2, 6)
    found = [view[0, 0, 0].tolist() for view in views(wide, "crops")]
    left, right = [3, 4, 5, 5, 5, 5], [0, 0, 0, 0, 1, 2]
    assert found[:5] == [[0, 1, 2, 3, 4, 5], left, right, left, right]
    assert found[5:] == [row[::-1] for row in found[:5]]
    tall = wide.transpose(-1, -2)
    found = [view[0, 0, :, 0].tolist() for view in views(tall, "crops")]
    assert found == [[0, 1, 2, 3, 4, 5], left, left, right, right] * 2


@pytest.mark.parametrize("tta", ["none", "flip", "crops"])
def test_views_are_padded_and_cropped(inputs: torch.Tensor, tta: str) -> None:
    before = inputs.clone()
    found = list(views(inputs, tta))
    assert len(found) == len(TTA[tta])
    for view, (down, right, mirrored, _) in zip(found, TTA[tta], strict=True):
        assert view.shape == inputs.shape
        np.testing.assert_array_equal(view[:, 0], seen(inputs[:, 0].numpy(), down, right, mirrored))
    assert torch.equal(inputs, before)


def test_crops_are_those_of_torchvision(inputs: torch.Tensor) -> None:
    padded = torch.nn.functional.pad(inputs, [SHIFT] * 4, mode="replicate")
    theirs = torch.stack(vision.ten_crop(padded, [48, 48]))
    ours = torch.stack(list(views(inputs, "crops")))
    for view in theirs:
        assert (ours == view).flatten(1).all(1).sum() == 1


def test_zooms_are_torchvisions_affine_maps_of_the_crops(inputs: torch.Tensor) -> None:
    by_view = dict(zip(TTA["zooms"], views(inputs, "zooms"), strict=True))
    for view, zoomed in by_view.items():
        moved = by_view[view._replace(mirrored=False, zoom=1.0)]
        expected = vision.affine(
            moved, 0.0, [0, 0], scale=view.zoom, shear=[0.0], interpolation=vision.InterpolationMode.BILINEAR
        )
        expected = expected.flip(-1) if view.mirrored else expected
        margin = 2 if view.zoom < 1 else 0  # outside the face torchvision sees zeros
        inside = (..., slice(margin, 48 - margin), slice(margin, 48 - margin))
        torch.testing.assert_close(zoomed[inside], expected[inside], atol=1e-4, rtol=0)
        assert view.zoom == 1 or not torch.equal(zoomed, moved)


def test_what_a_smaller_view_shows_around_the_face_is_its_border() -> None:
    flat = torch.full((1, 1, 48, 48), 0.7)
    assert all(torch.allclose(view, flat) for view in views(flat, "zooms"))


@pytest.mark.parametrize("tta", ["none", "flip", "crops"])
def test_the_answer_is_the_mean_over_the_views(finished: Run, faces: FaceDataset, tta: str) -> None:
    predictor = Predictor.load(finished)
    images = np.tile(faces.images, (3, 1, 1))[:300]  # more than one batch
    single = [predictor.predict(seen(faces.images, *view[:3])).probabilities for view in TTA[tta]]
    prediction = predictor.predict(images, tta)
    assert prediction.tta == tta
    assert prediction.probabilities.dtype == np.float32
    np.testing.assert_allclose(prediction.probabilities[:126], np.mean(single, axis=0), atol=1e-6)
    np.testing.assert_allclose(prediction.probabilities[252:], np.mean(single, axis=0)[:48], atol=1e-6)


def test_another_name_is_refused(finished: Run, faces: FaceDataset) -> None:
    with pytest.raises(ConfigError, match="no test-time augmentation 'zoom'; choose one of none, flip, crops"):
        Predictor.load(finished).predict(faces.images, "zoom")
