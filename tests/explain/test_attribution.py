"""Attributions against finite differences, hand computations, plain loops and Captum; and a network left as it was."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import GuidedBackprop, LayerGradCam
from torch import Tensor, nn

from fer_core.errors import ConfigError, DataError
from fer_core.explain import attribution, perturbation
from fer_core.explain.attribution import BATCH_SIZE, METHODS, attribute, make_question
from fer_core.explain.gradients import laid_over
from fer_core.explain.layers import Grid
from fer_core.labels import EMOTIONS
from fer_core.models import MODELS, create_model
from fer_core.preprocess import Preprocess
from fer_core.runs import Checkpoint

ROOT = Path(__file__).parent.parent.parent
SMALL = {
    "EmotionCNN": {"widths": [3, 4, 5]},
    "EmotionResNet": {"widths": [3, 4]},
    "EmotionNet": {"widths": [4, 6], "depths": [1, 1], "filters": 4, "squeeze": 2},
}
MEAN, STD = 0.5, 0.25  # so that one unit of the input is 63.75 gray levels


class Own(nn.Module):
    """A user's own network: no blocks of ours, a ReLU in place, and an average over places before the linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 5, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(4, 6, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(6, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.first(x)))
        x = self.relu(self.second(x))
        logits: Tensor = self.head(self.drop(x.mean(dim=(2, 3))))
        return logits


def checkpoint_of(model: nn.Module) -> Checkpoint:
    return Checkpoint("run", 3, model.eval(), Preprocess(MEAN, STD), {})


@pytest.fixture(params=[*MODELS, "own"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    torch.manual_seed(5)
    model = Own() if request.param == "own" else create_model(request.param, SMALL[request.param])
    for module in model.modules():  # statistics as after some training, so that evaluation mode matters
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn_like(module.running_mean) * 0.1
            module.running_var = torch.rand_like(module.running_var) + 0.5
    return checkpoint_of(model)


@pytest.fixture(scope="module")
def some_faces() -> np.ndarray:
    return np.random.default_rng(8).integers(0, 256, (5, 48, 48)).astype(np.uint8)


def logits_of(checkpoint: Checkpoint, inputs: Tensor) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(checkpoint.model(inputs).double().numpy())


# -- every method on every network -----------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_method_explains_every_network(checkpoint: Checkpoint, some_faces: np.ndarray, method: str) -> None:
    result = attribute(checkpoint, some_faces, method, "Fear")
    assert (result.maps.shape, result.maps.dtype) == ((5, 48, 48), np.float32)
    assert (result.run, result.epoch, result.method) == ("run", 3, method)
    assert result.targets == ("Fear",) * 5
    assert result.problems == ("",) * 5
    expected = torch.from_numpy(logits_of(checkpoint, checkpoint.preprocess(some_faces))).softmax(dim=1)
    np.testing.assert_allclose(result.probabilities, expected, atol=1e-5)
    assert (result.spread is not None) == method.startswith("lime")
    assert bool(result.layer) == (method == "grad-cam")


@pytest.mark.parametrize("method", METHODS)
def test_a_face_has_the_same_map_in_every_batch(
    checkpoint: Checkpoint, some_faces: np.ndarray, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = attribute(checkpoint, some_faces, method).maps
    monkeypatch.setattr(attribution, "BATCH_SIZE", 2)
    shares: list[float] = []
    apart = attribute(checkpoint, some_faces, method, report=shares.append).maps
    tolerance = 2e-3 * np.abs(together).max()  # LIME's fit magnifies what float32 rounds
    np.testing.assert_allclose(apart, together, atol=tolerance)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_progress_is_told_within_a_batch_too(
    checkpoint: Checkpoint, some_faces: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attribution, "BATCH_SIZE", 4)
    shares: list[float] = []
    attribute(checkpoint, some_faces, "lime", report=shares.append)
    assert shares == pytest.approx([4 / 15, 8 / 15, 0.8, 0.8, 0.8 + 1 / 15, 0.8 + 2 / 15, 1, 1])


def test_no_faces_no_maps(checkpoint: Checkpoint) -> None:
    result = attribute(checkpoint, np.empty((0, 48, 48), np.uint8), "saliency")
    assert (result.maps.shape, result.probabilities.shape, len(result)) == ((0, 48, 48), (0, 7), 0)
    assert BATCH_SIZE > 1


# -- oracles ---------------------------------------------------------------------------------------


def test_saliency_is_what_finite_differences_measure(checkpoint: Checkpoint, some_faces: np.ndarray) -> None:
    result = attribute(checkpoint, some_faces[:1], "saliency", "Happy")
    twin = replace(checkpoint, model=checkpoint.model.double())
    inputs, step = checkpoint.preprocess(some_faces[:1]).double(), 1e-6
    for row, column in [(0, 0), (10, 20), (24, 24), (30, 11), (47, 46)]:
        moved = inputs.clone()
        moved[0, 0, row, column] += step / (255 * STD)  # a step in gray levels
        slope = (logits_of(twin, moved) - logits_of(twin, inputs))[0, EMOTIONS.index("Happy")] / step
        assert result.maps[0, row, column] == pytest.approx(slope, rel=1e-3, abs=1e-7)
    checkpoint.model.float()


def test_the_difference_of_two_emotions_is_the_difference_of_their_maps(
    checkpoint: Checkpoint, some_faces: np.ndarray
) -> None:
    fear, surprise = (attribute(checkpoint, some_faces, "saliency", name).maps for name in ("Fear", "Surprise"))
    both = attribute(checkpoint, some_faces, "saliency", ("Fear", "Surprise"))
    np.testing.assert_allclose(both.maps, fear - surprise, atol=1e-6)
    assert both.targets == ("Fear minus Surprise",) * 5


def test_predicted_and_true_are_asked_face_by_face(checkpoint: Checkpoint, some_faces: np.ndarray) -> None:
    emotions = np.array([3, 0, 6, 2, 5])
    by_name = {name: attribute(checkpoint, some_faces, "saliency", name) for name in EMOTIONS}
    true = attribute(checkpoint, some_faces, "saliency", "true", emotions=emotions)
    predicted = attribute(checkpoint, some_faces, "saliency")
    for i in range(5):
        np.testing.assert_allclose(true.maps[i], by_name[EMOTIONS[emotions[i]]].maps[i], atol=1e-7)
        said = EMOTIONS[predicted.probabilities[i].argmax()]
        np.testing.assert_allclose(predicted.maps[i], by_name[said].maps[i], atol=1e-7)
        assert (true.targets[i], predicted.targets[i]) == (EMOTIONS[emotions[i]], said)


def test_input_x_gradient_is_what_its_name_says(checkpoint: Checkpoint, some_faces: np.ndarray) -> None:
    slopes = attribute(checkpoint, some_faces, "saliency", "Sad").maps
    result = attribute(checkpoint, some_faces, "input-x-gradient", "Sad").maps
    np.testing.assert_allclose(result, slopes * (some_faces - 255 * MEAN), atol=1e-5)


def test_integrated_gradients_add_up_to_the_difference_from_the_mean_gray(
    checkpoint: Checkpoint, some_faces: np.ndarray
) -> None:
    result = attribute(checkpoint, some_faces, "integrated-gradients", ("Happy", "Angry"))
    inputs = checkpoint.preprocess(some_faces)
    change = logits_of(checkpoint, inputs) - logits_of(checkpoint, torch.zeros_like(inputs))
    expected = change[:, EMOTIONS.index("Happy")] - change[:, EMOTIONS.index("Angry")]
    np.testing.assert_allclose(result.maps.sum(axis=(1, 2)), expected, rtol=0.03, atol=0.01)


def test_smoothgrad_is_the_mean_gradient_over_seeded_noise(checkpoint: Checkpoint, some_faces: np.ndarray) -> None:
    once, again, other = (attribute(checkpoint, some_faces, "smoothgrad", "Fear", seed=s).maps for s in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert np.abs(once - other).max() > 0
    flat = checkpoint_of(nn.Sequential(nn.Conv2d(1, 1, 48), nn.Flatten(), nn.Linear(1, 7)))  # a slope that is the same
    smooth, plain = (attribute(flat, some_faces, method, "Fear").maps for method in ("smoothgrad", "saliency"))
    np.testing.assert_allclose(smooth, plain, atol=1e-7)


def test_smoothgrad_leaves_the_global_generator_alone(checkpoint: Checkpoint, some_faces: np.ndarray) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    for method in METHODS:
        attribute(checkpoint, some_faces[:1], method)
    torch.testing.assert_close(torch.rand(3), expected)


class Fixed(nn.Module):
    """Two filters of one pixel, ReLU, and a head that reads each place: all by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.relu = nn.ReLU()
        self.head = nn.Linear(2 * 48 * 48, 7, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([2.0, -3.0]).view(2, 1, 1, 1))
            self.head.weight.zero_()
            self.head.weight[0] = torch.cat([torch.full((2304,), 0.5), torch.full((2304,), -1.0)])

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.relu(self.conv(x)).flatten(1))
        return logits


def test_guided_backprop_by_hand(some_faces: np.ndarray) -> None:
    result = attribute(checkpoint_of(Fixed()), some_faces, "guided-backprop", "Angry")
    x = (some_faces - 255 * MEAN) / (255 * STD)
    # The first filter fires where x > 0 and hands back 0.5 * 2; what comes back to the second, -1, is dropped.
    expected = np.where(x > 0, 1.0, 0.0) / (255 * STD)
    np.testing.assert_allclose(result.maps, expected, atol=1e-7)
    plain = attribute(checkpoint_of(Fixed()), some_faces, "saliency", "Angry").maps
    np.testing.assert_allclose(plain, np.where(x > 0, 1.0, 3.0) / (255 * STD), atol=1e-7)


def test_guided_backprop_agrees_with_captum(checkpoint: Checkpoint, some_faces: np.ndarray) -> None:
    if any(isinstance(module, nn.GELU) for module in checkpoint.model.modules()):
        pytest.skip("Captum's guides ReLUs alone")
    result = attribute(checkpoint, some_faces, "guided-backprop", "Fear").maps
    inputs = checkpoint.preprocess(some_faces).requires_grad_()
    with pytest.warns(UserWarning, match="backward hooks"):
        expected = GuidedBackprop(checkpoint.model).attribute(inputs, target=2)[:, 0] / (255 * STD)
    np.testing.assert_allclose(result, expected.detach(), atol=1e-6)


def test_guided_backprop_through_a_gelu(some_faces: np.ndarray) -> None:
    """As through the ReLU above, with the slope of the GELU in place of a step."""
    model = Fixed()
    model.relu = nn.GELU()
    result = attribute(checkpoint_of(model), some_faces, "guided-backprop", "Angry")
    x = torch.tensor((some_faces - 255 * MEAN) / (255 * STD))
    slope = torch.distributions.Normal(0, 1).cdf(2 * x) + 2 * x * torch.exp(-2 * x**2) / math.sqrt(2 * math.pi)
    np.testing.assert_allclose(result.maps, slope / (255 * STD), atol=1e-5)


def test_guided_backprop_refuses_a_network_without_relus(some_faces: np.ndarray) -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 48), nn.Tanh(), nn.Flatten(), nn.Linear(1, 7))
    with pytest.raises(ConfigError, match=r"Sequential has no nn\.ReLU or nn\.GELU for guided backprop"):
        attribute(checkpoint_of(model), some_faces, "guided-backprop")


class FixedCam(nn.Module):
    """One layer of two channels with 2x2 units of 24x24 pixels, read by fixed weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 24, stride=24, bias=False)
        self.head = nn.Linear(8, 7, bias=False)
        with torch.no_grad():
            self.conv.weight[0], self.conv.weight[1] = 1 / 576, -2 / 576  # the mean of a quarter, and -2 times that
            self.head.weight.zero_()
            self.head.weight[3] = torch.tensor([1.0, 2.0, 3.0, 6.0, 0.0, 4.0, -1.0, 1.0])

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.conv(x).flatten(1))
        return logits


def test_grad_cam_by_hand() -> None:
    """Quarter means 1, 2, -1 and 0 (normalised); the weights' means are 3 and 1, so the map is 3 m + 1 (-2 m) = m."""
    face = np.kron(np.array([[191.25, 255], [63.75, 127.5]]), np.ones((24, 24)))
    checkpoint = checkpoint_of(FixedCam())
    exact = replace(checkpoint, preprocess=_Exact(face))  # type: ignore[arg-type]
    result = attribute(exact, np.zeros((1, 48, 48), np.uint8), "grad-cam", "Happy", "conv")
    assert result.title == "Grad-CAM at conv"
    # Units stand in the middle of what they see, at 11.5 and 35.5; outside of that their values hold for 12 pixels.
    assert result.maps[0, 0, 0] == pytest.approx(1, abs=1e-5)
    assert result.maps[0, 5, 47] == pytest.approx(2, abs=1e-5)
    assert result.maps[0, 40, 3] == pytest.approx(-1, abs=1e-5)
    assert result.maps[0, 11, 23] == pytest.approx(1 + 11.5 / 24, abs=1e-5)
    assert result.maps[0, 23, 11] == pytest.approx(1 - 2 * 11.5 / 24, abs=1e-5)


class _Exact(Preprocess):
    """Hands the network a face whose gray levels are no whole numbers."""

    def __init__(self, face: np.ndarray) -> None:
        super().__init__(MEAN, STD)
        object.__setattr__(self, "face", face)

    def __call__(self, faces: np.ndarray) -> Tensor:
        face: np.ndarray = vars(self)["face"]
        return torch.from_numpy((face - 255 * MEAN) / (255 * STD)).float().expand(len(faces), 1, 48, 48).clone()


def test_grad_cam_agrees_with_captum(checkpoint: Checkpoint, some_faces: np.ndarray) -> None:
    from fer_core.explain.layers import conv_layers

    for name, layer in conv_layers(checkpoint.model).items():
        result = attribute(checkpoint, some_faces, "grad-cam", "Fear", name)
        assert result.layer == name
        method = LayerGradCam(checkpoint.model, checkpoint.model.get_submodule(name))
        cam = method.attribute(checkpoint.preprocess(some_faces), target=2).detach()[:, 0]
        np.testing.assert_allclose(result.maps, laid_over(cam, layer.output), atol=1e-6)


def test_a_units_value_stands_in_the_middle_of_what_it_sees() -> None:
    ends = tuple((4 * i + 2, 4 * i + 5) for i in range(11))  # middles 3.5, 7.5, ..., 43.5
    grid = Grid((1, 11, 11), ends, ends)
    cam = torch.zeros(1, 11, 11)
    cam[0, 2, 7] = 1.0
    laid = laid_over(cam, grid)[0]
    rows, columns = np.mgrid[:48, :48]
    centre = np.array([(laid.numpy() * rows).sum(), (laid.numpy() * columns).sum()]) / float(laid.sum())
    np.testing.assert_allclose(centre, [11.5, 31.5], atol=1e-5)
    ramp = torch.arange(11.0).expand(1, 11, 11)
    np.testing.assert_allclose(laid_over(ramp, grid)[0, 24, 4:44], (np.arange(4, 44) - 3.5) / 4, atol=1e-5)


def test_occlusion_agrees_with_a_plain_loop(checkpoint: Checkpoint, some_faces: np.ndarray) -> None:
    faces, size, stride = some_faces[:2], perturbation.OCCLUSION_WINDOW, perturbation.OCCLUSION_STRIDE
    inputs = checkpoint.preprocess(faces)
    whole, total, windows = logits_of(checkpoint, inputs)[:, 4], np.zeros((2, 48, 48)), np.zeros((48, 48))
    for top, left in itertools.product(range(0, 48 - size + 1, stride), repeat=2):
        covered = inputs.clone()
        covered[:, :, top : top + size, left : left + size] = 0
        total[:, top : top + size, left : left + size] += (whole - logits_of(checkpoint, covered)[:, 4])[:, None, None]
        windows[top : top + size, left : left + size] += 1
    result = attribute(checkpoint, faces, "occlusion", EMOTIONS[4])
    np.testing.assert_allclose(result.maps, total / windows, atol=1e-5)


class Planted(nn.Module):
    """Fear is the mean of patch (1, 4) times 5, less that of patch (3, 2) times 3; nothing else matters."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        fear = 5 * x[:, 0, 8:16, 32:40].mean(dim=(1, 2)) - 3 * x[:, 0, 24:32, 16:24].mean(dim=(1, 2))
        return nn.functional.one_hot(torch.tensor(2), 7) * fear[:, None]


def test_lime_recovers_a_planted_region() -> None:
    faces = np.full((2, 48, 48), 191, np.uint8)
    faces[1] = 255
    result = attribute(checkpoint_of(Planted()), faces, "lime", "Fear", seed=3)
    values = (faces[:, 0, 0] - 127.5) / 63.75
    for i, value in enumerate(values):
        patches = result.maps[i, 4::8, 4::8]
        expected = np.zeros((6, 6))
        expected[1, 4], expected[3, 2] = 5 * value, -3 * value
        # Ridge pulls weights about 6 percent towards zero.
        np.testing.assert_allclose(patches, expected, atol=0.08 * 5 * value)
        assert patches.argmax() == 1 * 6 + 4
        assert patches.argmin() == 3 * 6 + 2
    assert result.spread is not None
    assert result.spread[0].max() < 0.1 * result.maps[0].max()


def test_superpixels_follow_an_edge_and_start_from_squares() -> None:
    np.testing.assert_array_equal(perturbation.superpixels(np.full((48, 48), 90.0)), perturbation.patches())
    face = np.full((48, 48), 40.0)
    face[:, 20:] = 220  # not where squares meet
    pieces = perturbation.superpixels(face)
    assert not set(pieces[:, :20].ravel()) & set(pieces[:, 20:].ravel())
    assert len(np.unique(pieces)) > 24
    places = np.argwhere(pieces == pieces[4, 4])
    assert np.ptp(places, axis=0).max() < 16  # near its square all the same


def test_lime_over_superpixels_recovers_a_planted_region() -> None:
    """A bright square on a darker face is a piece of its own, and what it adds is known."""
    faces = np.full((2, 48, 48), 128, np.uint8)
    faces[0, 8:16, 32:40] = 255
    faces[1, 24:32, 16:24] = 255
    result = attribute(checkpoint_of(Planted()), faces, "lime-superpixels", "Fear", seed=3)
    value = (255 - 127.5) / 63.75
    inside = np.s_[8:16, 32:40], np.s_[24:32, 16:24]
    for i, expected in enumerate((5 * value, -3 * value)):
        assert np.ptp(result.maps[i][inside[i]]) == 0
        np.testing.assert_allclose(result.maps[i][inside[i]], expected, atol=0.08 * abs(expected))
        outside = np.ones((48, 48), bool)
        outside[inside[i]] = False
        assert np.abs(result.maps[i][outside]).max() < 0.1 * abs(expected)


def test_limes_fit_is_weighted_ridge_regression() -> None:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(2)
    kept, scores = rng.random((200, 9)) < 0.5, rng.normal(0, 1, (200, 3))
    near = np.exp(-((1 - np.sqrt(kept.mean(axis=1))) ** 2) / perturbation.LIME_WIDTH**2)
    expected = Ridge(alpha=perturbation.LIME_RIDGE).fit(kept, scores, sample_weight=near).coef_
    found = perturbation.fit(torch.from_numpy(kept), torch.from_numpy(scores)).T
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_lime_draws_the_same_lots_for_the_same_seed(checkpoint: Checkpoint, some_faces: np.ndarray) -> None:
    once, again, other = (attribute(checkpoint, some_faces[:1], "lime", seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(once.maps, again.maps)
    assert np.abs(once.maps - other.maps).max() > 0


# -- what cannot be explained ----------------------------------------------------------------------


def test_unknown_words_are_refused_with_those_there_are(checkpoint: Checkpoint, some_faces: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="There is no method 'gradcam'; the methods are saliency, smoothgrad"):
        attribute(checkpoint, some_faces, "gradcam")
    with pytest.raises(ConfigError, match="'Joy' is no target; choose predicted, true or one of Angry"):
        attribute(checkpoint, some_faces, "saliency", "Joy")
    with pytest.raises(ConfigError, match="has no layer 'conv9'; its layers are"):
        attribute(checkpoint, some_faces, "grad-cam", layer="conv9")
    for emotions in (None, np.array([0, 1, -1, 2, 3])):
        with pytest.raises(DataError, match="A face without label has no true emotion to explain"):
            attribute(checkpoint, some_faces, "saliency", "true", emotions=emotions)


def test_why_a_map_is_all_zero_is_told(checkpoint: Checkpoint, some_faces: np.ndarray) -> None:
    same = attribute(checkpoint, some_faces, "saliency", ("Fear", "Fear"))
    assert not same.maps.any()
    assert all("an emotion is compared with itself" in problem for problem in same.problems)
    assert same.targets == ("nothing",) * 5
    dead = Fixed()
    with torch.no_grad():
        dead.conv.weight.zero_()
    silent = attribute(checkpoint_of(dead), some_faces, "saliency", "Angry")
    assert all("no change of a pixel reaches the score" in problem for problem in silent.problems)


def test_why_a_map_is_not_finite_is_told(checkpoint: Checkpoint, some_faces: np.ndarray) -> None:
    name, weights = next((n, p) for n, p in checkpoint.model.named_parameters() if p.dim() > 1)
    with torch.no_grad():
        weights[0, 0] = torch.nan
    result = attribute(checkpoint, some_faces, "input-x-gradient", "Fear")
    assert not np.isfinite(result.maps).all()
    assert result.problems == (
        f"The map is not finite, since weights of the network are not: {name} holds NaN or infinity.",
    ) * len(some_faces)


# -- a network left as it was ----------------------------------------------------------------------


def state_of(model: nn.Module) -> dict[str, Any]:
    """All that an attribution could leave behind."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "values": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "modes": [module.training for module in model.modules()],
        "hooks": [len(getattr(module, kind)) for module in model.modules() for kind in hooks],
        "grads": [parameter.grad for parameter in model.parameters()],
        "requires": [parameter.requires_grad for parameter in model.parameters()],
    }


def assert_unchanged(model: nn.Module, before: dict[str, Any]) -> None:
    after = state_of(model)
    torch.testing.assert_close(after.pop("values"), before["values"], rtol=0, atol=0, equal_nan=True)
    assert after == {key: value for key, value in before.items() if key != "values"}


@pytest.fixture
def in_training(checkpoint: Checkpoint) -> Checkpoint:
    """A network as training has it, but for one part that is frozen."""
    checkpoint.model.train()
    next(checkpoint.model.children()).eval()
    next(checkpoint.model.parameters()).requires_grad_(False)
    return checkpoint


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_network_is_left_as_it_was(
    in_training: Checkpoint, some_faces: np.ndarray, method: str, around: Callable[[], Any]
) -> None:
    expected = attribute(replace(in_training, model=in_training.model), some_faces[:1], method, "Fear").maps
    before = state_of(in_training.model)
    with around():
        result = attribute(in_training, some_faces[:1], method, "Fear")
    assert_unchanged(in_training.model, before)
    np.testing.assert_array_equal(result.maps, expected)  # in evaluation mode: no dropout, no batch statistics


@pytest.mark.parametrize("method", METHODS)
def test_also_when_the_network_fails(
    in_training: Checkpoint, some_faces: np.ndarray, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if METHODS[method].takes_layer:  # what is known of the architecture is known already
        attribute(in_training, some_faces, method)
    before, head, calls = state_of(in_training.model), list(in_training.model.children())[-1], 0
    forward = head.forward

    def fails_the_second_time(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise RuntimeError("out of memory")
        return forward(x)  # type: ignore[no-any-return]

    monkeypatch.setattr(head, "forward", fails_the_second_time)
    with pytest.raises(RuntimeError, match="out of memory"):
        attribute(in_training, some_faces, method)
    monkeypatch.undo()
    assert_unchanged(in_training.model, before)


def test_sessions_that_share_a_network_do_not_disturb_one_another(
    checkpoint: Checkpoint, some_faces: np.ndarray
) -> None:
    methods = ["guided-backprop", "saliency", "grad-cam", "input-x-gradient"] * 4
    expected = {method: attribute(checkpoint, some_faces, method, "Fear").maps for method in methods}
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda method: attribute(checkpoint, some_faces, method, "Fear").maps, methods))
    for method, maps in zip(methods, found, strict=True):
        np.testing.assert_allclose(maps, expected[method], atol=1e-7)
    assert not any(module._forward_hooks for module in checkpoint.model.modules())


def test_the_list_of_methods_is_there_without_torch() -> None:
    """A page with its controls must not wait seconds for a network."""
    modules = ["attribution", "averages", "checks", "film", "pictures", "regions", "trust"]
    imports = "; ".join(f"import fer_core.explain.{module}" for module in modules)
    code = f"import sys; {imports}; print(sorted({{'torch', 'captum'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_faces_are_not_written_to(checkpoint: Checkpoint, some_faces: np.ndarray) -> None:
    given = some_faces.copy()
    given.flags.writeable = False
    for method in METHODS:
        attribute(checkpoint, given, method)
    np.testing.assert_array_equal(given, some_faces)


def test_a_new_method_is_one_line(
    checkpoint: Checkpoint, some_faces: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    lightness = attribution.Method("Lightness", "How light a pixel is.", "none", lambda ask: ask.inputs[:, 0])
    monkeypatch.setitem(METHODS, "lightness", lightness)
    result = attribute(checkpoint, some_faces, "lightness")
    np.testing.assert_allclose(result.maps, (some_faces - 127.5) / 63.75, atol=1e-6)
    assert result.title == "Lightness"
    assert make_question(checkpoint, some_faces, result.weights).gray == 255 * STD
