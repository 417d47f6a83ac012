"""Feature maps against a forward pass by hand, and what is drawn of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fer_core.errors import ConfigError
from fer_core.explain.features import FeatureMaps, feature_maps, kernel_tiles, kernels, marked, sheet
from fer_core.explain.layers import conv_layers
from fer_core.models import create_model
from fer_core.preprocess import Preprocess
from fer_core.runs import Checkpoint


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(2)
    model = create_model("EmotionResNet", {"widths": [5, 6]}).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.bias)
            torch.nn.init.normal_(module.running_mean)
    return Checkpoint("run", 3, model, Preprocess(mean=0.4, std=0.3), {})


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, 48, 48), np.uint8)


def test_maps_equal_a_forward_pass_by_hand(checkpoint: Checkpoint, images: np.ndarray) -> None:
    """conv2 is Conv2d + BatchNorm2d + MaxPool2d + ReLU; of the residual block the part before the skip."""
    model = checkpoint.model
    with torch.no_grad():
        x = model.res1(model.conv1(torch.from_numpy((images[:, None] / 255 - 0.4) / 0.3).float()))
        conv2 = model.conv2.relu(torch.max_pool2d(model.conv2.norm(model.conv2.conv(x)), 2))
        res2 = model.res2[0].norm(model.res2[0].conv(conv2)).relu()
    for name, expected in (("conv2", conv2), ("res2.0", res2)):
        result = feature_maps(checkpoint, images, name)
        assert result.checkpoint == "run:3"
        assert result.layer.name == name
        assert result.maps.dtype == np.float32
        assert result.maps.shape == (3, *result.layer.shape)
        np.testing.assert_allclose(result.maps, expected.numpy(), atol=2e-5)


def test_the_network_is_left_as_it_was(checkpoint: Checkpoint, images: np.ndarray) -> None:
    model = checkpoint.model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    in_training = feature_maps(checkpoint, images, "res1.0").maps
    assert all(module.training for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    model.eval()
    np.testing.assert_array_equal(in_training, feature_maps(checkpoint, images, "res1.0").maps)


def test_an_unknown_layer(checkpoint: Checkpoint, images: np.ndarray) -> None:
    with pytest.raises(ConfigError, match=r"no layer 'conv7'; its layers are conv1, res1\.0"):
        feature_maps(checkpoint, images, "conv7")
    with pytest.raises(ConfigError, match="no layer 'conv7'"):
        kernels(checkpoint.model, "conv7")


@pytest.fixture
def by_hand(checkpoint: Checkpoint) -> FeatureMaps:
    """One face, three channels of 2 x 2: channel 1 is silent, channel 2 the most active on average."""
    maps = np.array([[[[8, 0], [0, 0]], [[0, 0], [0, 0]], [[2, 3], [4, 1]]]], np.float32)
    return FeatureMaps("run:3", conv_layers(checkpoint.model)["conv2"], maps)


def test_channels_are_sorted_by_mean_activation(by_hand: FeatureMaps) -> None:
    np.testing.assert_array_equal(by_hand.means, [[2, 0, 2.5]])
    np.testing.assert_array_equal(by_hand.order, [[2, 0, 1]])
    assert by_hand.strongest(0, 0) == (0, 0)
    assert by_hand.strongest(0, 2) == (1, 0)


def test_tiles_are_on_their_own_scale_or_on_one(by_hand: FeatureMaps) -> None:
    own, one = by_hand.tiles(0), by_hand.tiles(0, common_scale=True)
    assert own.shape == (3, 2, 2, 3)
    assert own.dtype == np.uint8
    black, brightest = own[2, 0, 0], own[1, 0, 0]  # of the silent channel, and the 8
    assert black.sum() < 10
    assert brightest.sum() > 400
    np.testing.assert_array_equal(own[0, 1, 0], brightest)  # the 4 is the highest of its own map
    np.testing.assert_array_equal(one[1, 0, 0], brightest)
    assert not np.array_equal(one[0, 1, 0], brightest)  # but half of the layer's
    assert black.sum() < one[0, 1, 0].sum() < brightest.sum()
    assert (one[2] == black).all()


def test_the_picture_is_the_tiles_in_order(by_hand: FeatureMaps) -> None:
    picture, tiles = by_hand.picture(0, times=4), by_hand.tiles(0)
    assert picture.shape == (2 * 8 + 2, 2 * 8 + 2, 3)
    np.testing.assert_array_equal(picture[:8:4, :8:4], tiles[0])
    np.testing.assert_array_equal(picture[:8:4, 10::4], tiles[1])
    np.testing.assert_array_equal(picture[10::4, :8:4], tiles[2])
    assert len(np.unique(picture[:4, :4].reshape(-1, 3), axis=0)) == 1  # a value is a square


def test_a_sheet_by_hand() -> None:
    tiles = np.arange(6, dtype=np.uint8).reshape(3, 1, 2) + 10
    g = 128
    expected = [
        [10, 10, 11, 11, g, g, 12, 12, 13, 13],
        [10, 10, 11, 11, g, g, 12, 12, 13, 13],
        [g] * 10,
        [g] * 10,
        [14, 14, 15, 15, g, g, g, g, g, g],
        [14, 14, 15, 15, g, g, g, g, g, g],
    ]
    np.testing.assert_array_equal(sheet(tiles, 2, 2), expected)
    assert sheet(tiles, 1, 3).shape == (1, 10)
    assert sheet(tiles[:1], 5).shape == (5, 10)


def test_kernels_of_the_first_layer_only(checkpoint: Checkpoint) -> None:
    weights = kernels(checkpoint.model, "conv1")
    assert weights is not None
    np.testing.assert_array_equal(weights, checkpoint.model.conv1.conv.weight.detach().numpy()[:, 0])
    assert kernels(checkpoint.model, "res1.0") is None


def test_colours_of_kernels() -> None:
    """Zero is gray, the largest weight of a kernel full red or blue by its sign; a kernel of zeros is gray."""
    tiles = kernel_tiles(np.array([[[0, 2], [-2, 1]], [[0, 0], [0, 0]]], np.float32)).astype(int)
    gray, red, blue, half = tiles[0].reshape(4, 3)
    assert np.ptp(gray) < 12
    assert red[0] > 150 > 60 > red[2]
    assert blue[2] > 150 > 80 > blue[0]
    assert half[0] > half[2]
    assert (tiles[1] == gray).all()


@pytest.mark.parametrize("box", [(10, 20, 16, 26), (0, 0, 6, 6), (40, 3, 48, 48), (0, 0, 48, 48)])
def test_a_mark_frames_the_box_and_hides_little_of_it(box: tuple[int, int, int, int]) -> None:
    face = np.full((48, 48), 100, np.uint8)
    picture = marked(face, box, 4)
    assert picture.shape == (192, 192, 3)
    assert picture.dtype == np.uint8
    top, left, bottom, right = (4 * edge for edge in box)
    changed = (picture != 100).any(axis=2)
    rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
    assert (rows[0], columns[0]) == (max(top - 3, 0), max(left - 3, 0))
    assert (rows[-1], columns[-1]) == (min(bottom + 3, 192) - 1, min(right + 3, 192) - 1)
    assert not changed[max(top, 3) : min(bottom, 189), max(left, 3) : min(right, 189)].any()
    assert (face == 100).all()
