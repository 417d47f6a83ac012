"""Any picture -> 48x48 gray -> the network's input, against numbers by hand and other implementations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from fer_core.data import load_dataset
from fer_core.errors import DataError
from fer_core.preprocess import FER2013_MEAN, FER2013_STD, Preprocess, equalize, to_face


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)


def test_a_face_is_passed_on_as_it_is() -> None:
    face = noise(48, 48)
    np.testing.assert_array_equal(to_face(face), face)
    np.testing.assert_array_equal(to_face(Image.fromarray(face)), face)


@pytest.mark.parametrize(
    ("colour", "luma"),
    [
        ((255, 0, 0), 76),  # 0.299 * 255 = 76.2
        ((0, 255, 0), 150),  # 0.587 * 255 = 149.7
        ((0, 0, 255), 29),  # 0.114 * 255 = 29.1
        ((10, 200, 30), 124),  # 2.99 + 117.4 + 3.42 = 123.8
        ((90, 90, 90), 90),
    ],
)
def test_colour_becomes_luma(colour: tuple[int, int, int], luma: int) -> None:
    assert np.unique(to_face(np.full((48, 48, 3), colour, np.uint8))).tolist() == [luma]


@pytest.mark.parametrize("factor", [(2, 2), (3, 2), (1, 4)])
def test_shrinking_takes_the_mean_of_each_area(factor: tuple[int, int]) -> None:
    down, across = factor
    picture = noise(48 * down, 48 * across)
    means = picture.reshape(48, down, 48, across).mean(axis=(1, 3))
    np.testing.assert_allclose(to_face(picture), means, atol=1.01)  # rounded after each of the two directions


def test_shrinking_leaves_no_moire() -> None:
    """A fine checkerboard becomes even gray; without antialiasing it would become black or white."""
    board = (np.indices((96, 96)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert set(to_face(board).ravel()) <= {127, 128}


@pytest.mark.parametrize("shape", [(24, 24), (30, 17), (100, 20)])
def test_growing_is_bicubic(shape: tuple[int, int]) -> None:
    picture = noise(*shape) // 2 + 64  # Pillow cuts off what overshoots after each direction: here nothing does
    grown = F.interpolate(
        torch.from_numpy(picture)[None, None].float(), (48, 48), mode="bicubic", antialias=True, align_corners=False
    )
    np.testing.assert_allclose(to_face(picture), grown[0, 0], atol=1.5)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "F"])
def test_every_kind_of_picture_will_do(mode: str) -> None:
    face = to_face(Image.fromarray(noise(60, 50, 3)).convert(mode))
    assert face.shape == (48, 48)
    assert face.dtype == np.uint8
    assert face.std() > 10


def test_sixteen_bits_keep_their_gray_levels() -> None:
    face = noise(48, 48)
    deep = face.astype(np.uint16) * 256 + 77
    np.testing.assert_array_equal(to_face(Image.fromarray(deep)), face)
    np.testing.assert_array_equal(to_face(Image.fromarray(deep.astype(np.int32))), face)


@pytest.mark.parametrize("array", [noise(48), noise(48, 48, 1), noise(48, 48, 2), noise(0, 48), np.zeros((48, 48))])
def test_an_array_that_is_no_picture_is_refused(array: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"must be uint8 \(H, W\) or \(H, W, 3\), not (uint8|float64) \("):
        to_face(array)


def test_normalisation() -> None:
    faces = np.zeros((2, 48, 48), np.uint8)
    faces[1, 3, 4] = 255
    tensor = Preprocess(mean=0.5, std=0.25)(faces)
    assert (tensor.shape, tensor.dtype) == ((2, 1, 48, 48), torch.float32)
    assert (tensor[0] == -2.0).all()  # (0 - 0.5) / 0.25
    assert tensor[1, 0, 3, 4] == 2.0
    assert faces.max() == 255  # the faces themselves stay as they are


def test_the_usual_constants_are_those_of_fer2013(fer2013_path: Path) -> None:
    train = load_dataset(fer2013_path).split("train")
    inputs = Preprocess()(train.images)
    assert inputs.mean().item() == pytest.approx(0, abs=1e-3)
    assert inputs.std().item() == pytest.approx(1, abs=1e-3)
    assert (Preprocess().mean, Preprocess().std) == (FER2013_MEAN, FER2013_STD)


def equalized_by_hand(face: np.ndarray) -> np.ndarray:
    """Level v -> the share of pixels darker than v, on 0..255 of all pixels but those of the brightest level."""
    counts = np.bincount(face.ravel(), minlength=256)
    step = (face.size - counts[np.flatnonzero(counts)[-1]]) // 255
    darker = np.cumsum(counts) - counts
    levels = ((darker + step // 2) // step).clip(0, 255).astype(np.uint8)
    return np.asarray(levels[face])


def test_equalisation_spreads_the_gray_levels_of_each_face_by_itself() -> None:
    rng = np.random.default_rng(0)
    dim = rng.normal([[[60]], [[180]]], 12, (2, 48, 48)).clip(0, 255).astype(np.uint8)
    spread = equalize(dim)
    for face, result in zip(dim, spread, strict=True):
        np.testing.assert_array_equal(result, equalized_by_hand(face))
        assert result.std() > 65  # even gray levels from 0 to 255 have 73.6
    flat = np.full((1, 48, 48), 90, np.uint8)
    np.testing.assert_array_equal(equalize(flat), flat)
    assert equalize(dim[:0]).shape == (0, 48, 48)


def test_equalisation_is_part_of_the_networks_input() -> None:
    faces = noise(3, 48, 48) // 4
    plain, equalized = Preprocess(), Preprocess(equalize=True)
    torch.testing.assert_close(equalized(faces), plain(equalize(faces)))
    assert not torch.equal(equalized(faces), plain(faces))
    assert Preprocess(**equalized.to_dict()) == equalized
