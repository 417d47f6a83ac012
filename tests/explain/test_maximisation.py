"""Activation maximisation: it climbs, always to the same place, beats what chance finds, and leaves no trace."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fer_core.errors import ConfigError
from fer_core.explain.layers import run_to
from fer_core.explain.maximisation import REGULARISERS, WHOLE_LAYER, Ascent, FilterFilm, film, maximise, to_pixels
from fer_core.explain.pictures import DARK_PAPER
from fer_core.models import create_model
from fer_core.preprocess import Preprocess
from fer_core.runs import Checkpoint, Run

CALM = Ascent(steps=24, jitter=0)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(4)
    model = create_model("EmotionResNet", {"widths": [4, 6]}).eval()
    return Checkpoint("run", 3, model, Preprocess(mean=0.4, std=0.3), {})


def responses(checkpoint: Checkpoint, layer: str, gray: np.ndarray) -> torch.Tensor:
    """By a forward pass of the test's own normalisation."""
    inputs = torch.from_numpy(gray[:, None] / 255).sub(0.4).div(0.3).float()
    with torch.no_grad():
        return run_to(checkpoint.model, inputs, layer)


@pytest.mark.parametrize("regulariser", REGULARISERS)
@pytest.mark.parametrize("layer", ["conv1", "res2.1"])
def test_the_objective_rises_and_beats_random_pictures(checkpoint: Checkpoint, layer: str, regulariser: str) -> None:
    result = maximise(checkpoint, layer, ascent=Ascent(regulariser=regulariser))
    assert result.values.shape == (65, len(result.channels))
    rise = result.values[-1] - result.values[0]
    assert (rise > 0).all()
    assert (result.values[-8:].mean(axis=0) > result.values[8:16].mean(axis=0) - 1e-6).all()
    noise = np.random.default_rng(0).uniform(0, 255, (64, 48, 48))
    by_chance = responses(checkpoint, layer, noise).mean(dim=(2, 3)).amax(dim=0).numpy()
    if regulariser != "blur":  # which gives up some of it to be smooth
        assert (result.values[-1] > by_chance).all()


def test_values_are_the_mean_response(checkpoint: Checkpoint) -> None:
    result = maximise(checkpoint, "conv2", [4, 1], ascent=CALM)
    assert result.checkpoint == "run:3"
    assert result.channels == (4, 1)
    assert result.images.shape == result.starts.shape == (2, 48, 48)
    assert result.images.dtype == result.starts.dtype == np.float32
    assert 0 <= result.images.min() < result.images.max() <= 255
    for pictures, values in ((result.starts, result.values[0]), (result.images, result.values[-1])):
        expected = responses(checkpoint, "conv2", pictures)[[0, 1], [4, 1]].mean(dim=(1, 2))
        np.testing.assert_allclose(values, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_the_objective_of_a_layer_is_its_mean_square(checkpoint: Checkpoint) -> None:
    result = maximise(checkpoint, "res1.0", [WHOLE_LAYER], ascent=CALM)
    expected = responses(checkpoint, "res1.0", result.images).relu().square().mean()
    np.testing.assert_allclose(result.values[-1, 0], expected.numpy(), rtol=1e-4)
    assert result.values[-1, 0] > 2 * result.values[0, 0]


def test_a_linear_filter_is_maximised_by_its_own_pattern() -> None:
    """One kernel as large as the face: white where its weight is positive, black where it is negative."""
    model = nn.Sequential(nn.Conv2d(1, 1, 48, bias=False), nn.Flatten(), nn.Linear(1, 7)).eval()
    pattern = torch.ones(48, 48)
    pattern[:, :24] = -1
    pattern[:20] *= -1
    with torch.no_grad():
        model[0].weight[0, 0] = pattern
    result = maximise(Checkpoint("run", 1, model, Preprocess(), {}), "0", ascent=Ascent(jitter=0, regulariser="none"))
    np.testing.assert_array_equal(np.sign(result.images[0] - 127.5), pattern.numpy())


def test_the_same_seed_gives_the_same_pictures(checkpoint: Checkpoint) -> None:
    first, again, other = (maximise(checkpoint, "res1.1", [2], ascent=Ascent(steps=12, seed=s)) for s in (7, 7, 8))
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.values, again.values)
    assert not np.array_equal(first.starts, other.starts)
    assert not np.array_equal(first.images, other.images)


def test_a_channel_alone_and_in_the_sheet_are_the_same(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """All start from the same noise and are jittered alike, however many climb together."""
    monkeypatch.setattr("fer_core.explain.maximisation._AT_ONCE", 4)
    sheet = maximise(checkpoint, "conv2", ascent=Ascent(steps=8))
    assert sheet.channels == tuple(range(6))
    alone = maximise(checkpoint, "conv2", [5], ascent=Ascent(steps=8))
    np.testing.assert_allclose(sheet.images[5], alone.images[0], atol=0.2)
    np.testing.assert_array_equal(sheet.starts[0], sheet.starts[5])


@pytest.mark.parametrize("regulariser", REGULARISERS)
def test_climbing_from_faces(checkpoint: Checkpoint, regulariser: str) -> None:
    """Each from its own; the start is the face but for its blackest and whitest pixels."""
    faces = np.random.default_rng(3).integers(10, 246, (2, 48, 48), np.uint8)
    before = faces.copy()
    result = maximise(checkpoint, "conv2", [0, 0], faces, Ascent(steps=6, regulariser=regulariser))
    np.testing.assert_allclose(result.starts, faces, atol=0.01)
    np.testing.assert_array_equal(faces, before)
    assert (result.values[-1] > result.values[0]).all() or regulariser == "blur"
    extremes = maximise(checkpoint, "conv2", [0], np.full((1, 48, 48), 255, np.uint8), Ascent(steps=1))
    assert np.isfinite(extremes.images).all()
    assert extremes.starts.min() > 250


def test_a_checkpoint_that_equalizes_starts_from_what_it_sees(checkpoint: Checkpoint) -> None:
    preprocess = Preprocess(equalize=True)
    face = np.linspace(100, 140, 48 * 48).astype(np.uint8).reshape(1, 48, 48)
    result = maximise(Checkpoint("run", 1, checkpoint.model, preprocess, {}), "conv1", [0], face, Ascent(steps=1))
    np.testing.assert_allclose(result.starts[0], preprocess.pixels(face)[0].clip(2.55, 252.45), atol=0.01)


def test_jitter_moves_the_picture_and_not_the_result(checkpoint: Checkpoint) -> None:
    still, shaken = (maximise(checkpoint, "conv1", [1], ascent=Ascent(steps=8, jitter=j)) for j in (0, 5))
    assert not np.array_equal(still.images, shaken.images)
    np.testing.assert_array_equal(still.starts, shaken.starts)
    assert still.values[0, 0] == shaken.values[0, 0]


def test_the_network_is_left_as_it_was(checkpoint: Checkpoint) -> None:
    model = checkpoint.model
    model.train()
    model.conv1.norm.eval()
    model.linear.weight.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    maximise(checkpoint, "res2.0", [0, 1], ascent=Ascent(steps=2))
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(not module._forward_hooks and not module._backward_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    model.eval()
    model.linear.weight.requires_grad_(True)


def test_progress_is_told(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_core.explain.maximisation._AT_ONCE", 4)
    told: list[float] = []
    maximise(checkpoint, "conv2", ascent=Ascent(steps=3), report=told.append)
    np.testing.assert_allclose(told, [4 / 18, 8 / 18, 12 / 18, 14 / 18, 16 / 18, 1])


@pytest.mark.parametrize("channel", [-2, 6, 100])
def test_a_channel_that_is_not_there(checkpoint: Checkpoint, channel: int) -> None:
    with pytest.raises(ConfigError) as refused:
        maximise(checkpoint, "conv2", [0, channel])
    assert str(refused.value) == f"conv2 has no channel {channel}; its channels are 0 to 5."


def test_a_layer_that_is_not_there(checkpoint: Checkpoint) -> None:
    with pytest.raises(ConfigError, match="no layer 'conv3'; its layers are conv1"):
        maximise(checkpoint, "conv3", [0])


@pytest.mark.parametrize(
    ("setting", "value"), [("steps", 0), ("rate", 0.0), ("jitter", -1), ("jitter", 25), ("regulariser", "tv")]
)
def test_settings_out_of_range(setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=str(value)):
        Ascent(**{setting: value})


# -- the film --------------------------------------------------------------------------------------


def test_a_film_climbs_at_each_epoch_from_the_same_noise(finished: Run) -> None:
    told: list[float] = []
    result = film(finished, "res2.0", 3, ascent=Ascent(steps=4), report=told.append)
    assert result.epochs == (1, 2, 3)
    np.testing.assert_allclose(told, [1 / 3, 2 / 3, 1])
    for i, epoch in enumerate(result.epochs):
        alone = maximise(finished.load_checkpoint(epoch), "res2.0", [3], ascent=Ascent(steps=4))
        np.testing.assert_array_equal(result.images[i], alone.images[0])
        assert result.values[i] == alone.values[-1, 0]
    assert not np.array_equal(result.images[0], result.images[2])


def test_a_film_leaves_out_a_damaged_epoch(copied: Run) -> None:
    copied.checkpoint_path(2).write_bytes(b"no weights")
    assert film(copied, "conv1", 0, ascent=Ascent(steps=1)).epochs == (1, 3)
    for epoch in (1, 3):
        copied.checkpoint_path(epoch).write_bytes(b"no weights")
    nothing = film(copied, "conv1", 0, ascent=Ascent(steps=1))
    assert nothing.epochs == ()
    assert nothing.images.shape == (0, 48, 48)


def test_a_film_as_an_animation() -> None:
    images = np.stack([np.full((48, 48), level, np.float32) for level in (20.4, 200)])
    shot = FilterFilm("run", "conv1", 0, Ascent(), (1, 5), images, np.zeros(2, np.float32))
    with Image.open(io.BytesIO(shot.gif(times=2, milliseconds=300))) as animation:
        assert (animation.format, animation.n_frames, animation.info["duration"]) == ("GIF", 2, 300)
        for i, level in enumerate((20, 200)):
            animation.seek(i)
            frame = np.asarray(animation.convert("L"))
            assert frame.shape[1] == 96
            assert (abs(frame[:96].astype(int) - level) <= 1).all()
            assert frame[-1, -1] == 255
    with Image.open(io.BytesIO(shot.gif(dark=True))) as animation:
        assert np.asarray(animation.convert("L"))[-1, -1] == DARK_PAPER[0]


def test_gray_levels_are_rounded() -> None:
    np.testing.assert_array_equal(to_pixels(np.array([0.4, 0.6, 254.6, 255])), [0, 1, 255, 255])
