"""Figure 8: activations by emotion and gradients against hand-computed ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fer_core.data import FaceDataset
from fer_core.errors import ConfigError
from fer_core.explain import pixel_weights as module
from fer_core.explain.features import feature_maps
from fer_core.explain.pictures import DARK_PAPER, PAPER
from fer_core.explain.pixel_weights import pixel_weights
from fer_core.preprocess import Preprocess
from fer_core.runs import Checkpoint, Run


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASCENT", replace(module.ASCENT, steps=2))


def test_activations_equal_those_of_the_feature_maps(finished: Run, faces: FaceDataset) -> None:
    checkpoint, told = finished.load_checkpoint(3), list[float]()
    result = pixel_weights(checkpoint, "conv2", faces, told.append)
    assert result.counts.tolist() == [int((faces.emotions == i).sum()) for i in range(7)] == [16] * 7
    for emotion in range(7):
        images = faces.images[faces.emotions == emotion]
        means = feature_maps(checkpoint, images, "conv2").maps.mean(axis=(1, 2, 3), dtype=np.float64)
        np.testing.assert_allclose(result.activations[emotion], means.mean(), rtol=1e-5)
        np.testing.assert_allclose(result.errors[emotion], means.std(ddof=1) / 4, rtol=1e-4)
        np.testing.assert_allclose(result.faces[emotion], images.mean(axis=0), rtol=1e-5)
    assert result.order == np.argsort(-result.activations).tolist()
    assert told[-1] == 1 - 1 / 8
    assert all(parameter.grad is None for parameter in checkpoint.model.parameters())


def test_weights_by_hand(faces: FaceDataset) -> None:
    """One kernel over the whole face, always active: the gradient is the kernel, whatever the face."""
    model = nn.Sequential(nn.Conv2d(1, 1, 48), nn.Flatten(), nn.Linear(1, 7)).eval()
    with torch.no_grad():
        model[0].bias.fill_(1e4)
    kernel = model[0].weight[0, 0].detach().numpy()
    result = pixel_weights(Checkpoint("run", 1, model, Preprocess(std=0.2), {}), "0", faces)
    for emotion in range(7):
        np.testing.assert_allclose(result.weights[emotion], np.abs(kernel) / (255 * 0.2), rtol=1e-5)


def test_weights_against_finite_differences(finished: Run, faces: FaceDataset) -> None:
    """Of a single face, pixel by pixel; where a ReLU or a maximum switches, the slope is none of the two."""
    one = faces.subset(np.flatnonzero(faces.emotions == 3)[:1])
    checkpoint = finished.load_checkpoint(3)
    weights = pixel_weights(checkpoint, "res1.0", one).weights[3]
    agree = 0
    for y, x in np.random.default_rng(0).integers(0, 48, (40, 2)):
        up, down = (one.images.astype(int) for _ in range(2))
        up[0, y, x], down[0, y, x] = up[0, y, x] + 1, down[0, y, x] - 1
        high, low = (
            feature_maps(checkpoint, each.astype(np.uint8), "res1.0").maps.mean(dtype=np.float64) for each in (up, down)
        )
        agree += bool(np.isclose(abs(high - low) / 2, weights[y, x], rtol=0.1, atol=1e-7))
    assert agree >= 30


def test_a_large_emotion_is_sampled_evenly(finished: Run, faces: FaceDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 4)
    result = pixel_weights(finished.load_checkpoint(3), "conv1", faces)
    assert result.counts.tolist() == [4] * 7
    rows = np.flatnonzero(faces.emotions == 2)[[0, 5, 10, 15]]
    np.testing.assert_allclose(result.faces[2], faces.images[rows].mean(axis=0), rtol=1e-5)


def test_an_emotion_without_faces(finished: Run, faces: FaceDataset) -> None:
    some = faces.subset((faces.emotions == 0) | (faces.emotions == 4))
    result = pixel_weights(finished.load_checkpoint(3), "conv1", some)
    assert sorted(result.order) == [0, 4]
    assert np.isnan(result.activations[[1, 2, 3, 5, 6]]).all()
    assert np.isnan(result.weights[1]).all()
    picture = np.asarray(result.picture())
    none = pixel_weights(finished.load_checkpoint(3), "conv1", faces.subset(faces.emotions == -1))
    assert none.order == []
    assert picture.shape == np.asarray(none.picture()).shape
    assert np.unique(picture).size > np.unique(np.asarray(none.picture())).size


def test_the_picture_shows_faces_weights_and_ascent(finished: Run, faces: FaceDataset) -> None:
    result = pixel_weights(finished.load_checkpoint(3), "conv1", faces)
    picture = np.asarray(result.picture())
    side, gap = 48 * module._FACE, module._GAP
    left = gap + 3 * (side + gap)
    top = picture.shape[0] - 3 * (side + gap)
    for row, expected in ((0, result.faces[3]), (2, result.ascended[3])):
        y = top + row * (side + gap)
        shown = picture[y : y + side : module._FACE, left : left + side : module._FACE]
        np.testing.assert_array_equal(shown, np.repeat(np.rint(expected).astype(np.uint8)[..., None], 3, axis=2))
    weights = picture[top + side + gap : top + 2 * side + gap : module._FACE, left : left + side : module._FACE]
    brightness, strength = weights.sum(axis=2).ravel().astype(int), result.weights[3].ravel()
    assert brightness[strength.argmax()] == brightness.max()
    assert brightness[strength.argmin()] == brightness.min()


def test_the_picture_in_the_dark(finished: Run, faces: FaceDataset) -> None:
    result = pixel_weights(finished.load_checkpoint(3), "conv1", faces)
    light, dark = result.picture(), result.picture("Faces (rendered)", dark=True)
    assert light.getpixel((0, 0)) == PAPER
    assert dark.getpixel((0, 0)) == DARK_PAPER
    side = 48 * module._FACE
    top = light.height - 3 * (side + module._GAP)
    faces_of_angry = [each.crop((module._GAP, top, module._GAP + side, top + side)) for each in (light, dark)]
    np.testing.assert_array_equal(*faces_of_angry)  # faces are as they are on either ground


def test_an_unknown_layer(finished: Run, faces: FaceDataset) -> None:
    with pytest.raises(ConfigError, match="no layer 'conv8'"):
        pixel_weights(finished.load_checkpoint(3), "conv8", faces)
