"""Layers: receptive fields against gradients, and hooks that leave no trace."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fer_core import models
from fer_core.errors import ConfigError
from fer_core.explain.layers import (
    ConvLayer,
    Grid,
    captured,
    conv_layers,
    evaluating,
    find_layer,
    hooked,
    run_to,
    tap_module,
)
from fer_core.models import MODELS, create_model
from fer_core.models.blocks import ConvBlock

ROOT = Path(__file__).parent.parent.parent
SMALL = {
    "EmotionCNN": {"widths": [3, 4, 5]},
    "EmotionResNet": {"widths": [3, 4]},
    "EmotionNet": {"widths": [4, 6], "depths": [1, 1], "filters": 4},
}


class Sequential(nn.Module):
    """A user's own network, with what the report's lack: no blocks, ReLUs that work in place, dilation, a kernel
    that is not square, stride, a convolution in the skip, average pooling, and a convolution that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 3, (3, 5), stride=2, padding=(0, 2)),
            nn.BatchNorm2d(3),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(2),
            nn.Conv2d(3, 4, 3, dilation=2),
            nn.ReLU(inplace=True),
        )
        self.body = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.skip = nn.Conv2d(4, 6, 1, stride=2)
        self.unused = nn.Conv2d(1, 1, 1)
        self.head = nn.Linear(6, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = torch.relu(self.body(x) + self.skip(x))
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


@pytest.fixture(params=[*MODELS, "own"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(5)
    if request.param == "own":
        return Sequential().eval()
    return create_model(request.param, SMALL.get(request.param)).eval()


# -- what a unit sees ------------------------------------------------------------------------------


def made_linear(model: nn.Module) -> nn.Module:
    """The same wiring with positive weights and nothing that picks or cuts: whatever a unit sees has a gradient."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
            elif isinstance(child, nn.ReLU):
                setattr(module, name, nn.Identity())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_().add_(0.1)
    return model.double()


@pytest.mark.parametrize("tap", ["output", "response"])
def test_a_unit_sees_the_pixels_that_have_a_gradient(model: nn.Module, tap: Any) -> None:
    layers = conv_layers(model)
    modules = {name: tap_module(model, name, tap) for name in layers}
    made_linear(model)
    face = torch.ones(1, 1, 48, 48, dtype=torch.float64, requires_grad=True)
    values: dict[str, Tensor] = {}
    hooks = {
        module: lambda _m, _i, output, name=name: values.update({name: output}) for name, module in modules.items()
    }
    with hooked(model, hooks):
        model(face)
    for name, layer in layers.items():
        grid: Grid = getattr(layer, tap)
        _, height, width = grid.shape
        assert values[name].shape[1:] == grid.shape
        for y, x in {(0, 0), (height // 2, width // 3), (height - 1, width - 1), (1 % height, width - 2)}:
            (gradient,) = torch.autograd.grad(values[name][0, :, y, x].sum(), face, retain_graph=True)
            seen = gradient[0, 0].abs() > 0
            rows, columns = (np.flatnonzero(seen.any(dim=dim).numpy()) for dim in (1, 0))
            assert grid.box(y, x) == (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1), (name, y, x)


def test_receptive_fields_by_hand() -> None:
    """conv1: kernel 5, then 2x2 pooling: 6 pixels, 2 apart. Each 3x3 on it adds 2 units of 2 pixels. conv2: kernel 5
    adds 4 such units and pooling one: 14 + 8 + 2 = 24 pixels, 4 apart. Each 3x3 then adds 8 pixels, 4 on each side."""
    found = {name: layer.response for name, layer in conv_layers(create_model("EmotionResNet")).items()}
    assert {name: grid.size[0] for name, grid in found.items()} == {
        "conv1": 6,
        "res1.0": 10,
        "res1.1": 14,
        "conv2": 24,
        "res2.0": 32,
        "res2.1": 40,
    }
    assert [grid.jump[0] for grid in found.values()] == [2, 2, 2, 4, 4, 4]
    assert [grid.offset[0] for grid in found.values()] == [0, -2, -4, -4, -8, -12]
    assert found["conv1"].box(3, 21) == (6, 42, 12, 48)
    assert found["res2.1"].box(0, 4) == (0, 4, 28, 44)


def test_a_kernel_that_is_not_square() -> None:
    first = conv_layers(Sequential())["features.0"]
    assert (first.kernel, first.stride) == ((3, 5), (2, 2))
    assert first.response.size == (3, 5)
    assert first.response.jump == (2, 2)
    assert first.response.offset == (0, -2)


class Gated(nn.Module):
    """Each unit of `second` depends on the whole face through a mean over it, as with squeeze-and-excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        logits: Tensor = self.second(x * x.mean(dim=(2, 3), keepdim=True).sigmoid()).mean(dim=(2, 3))
        return logits


def test_a_unit_that_sees_the_whole_face() -> None:
    layers = conv_layers(Gated())
    assert layers["first"].response.box(0, 0) == (0, 0, 3, 3)
    assert layers["second"].response.box(10, 20) == (0, 0, 48, 48)
    assert layers["second"].response.size == (48, 48)
    assert layers["second"].response.jump == (0, 0)


def test_hints_grow_with_what_is_seen() -> None:
    layers = list(conv_layers(create_model("EmotionResNet")).values())
    hints = list(OrderedDict.fromkeys(layer.hint.split(":")[0] for layer in layers))
    assert hints == ["edges, spots and lines", "corners, curves and textures", "parts of a face", "most of the face"]


# -- names -----------------------------------------------------------------------------------------


def test_layers_go_by_the_names_that_menus_show(model: nn.Module) -> None:
    layers = conv_layers(model)
    called = [name for name in models.conv_layers(model) if name != "unused"]
    assert list(layers) == called
    for name, layer in layers.items():
        module = model.get_submodule(layer.module)
        assert module is models.conv_layers(model)[name]
        assert layer.name == name
        assert layer.kernel == module.kernel_size
        assert layer.shape == layer.response.shape
        assert layer.channels == module.out_channels


def test_a_name_that_is_none_tells_those_there_are(model: nn.Module) -> None:
    face = torch.zeros(1, 1, 48, 48)

    def capture() -> None:
        with captured(model, ["conv9"]):
            pytest.fail("the block must not run")

    for call in (lambda: find_layer(model, "conv9"), lambda: run_to(model, face, "conv9"), capture):
        with pytest.raises(ConfigError) as refused:
            call()
        assert str(refused.value) == (
            f"{type(model).__name__} has no layer 'conv9'; its layers are {', '.join(conv_layers(model))}."
        )


def test_networks_built_otherwise_are_not_taken_for_one_another() -> None:
    assert conv_layers(create_model("EmotionCNN", {"widths": [3, 4, 5]}))["conv3"].channels == 5
    assert conv_layers(create_model("EmotionCNN", {"widths": [3, 4, 6]}))["conv3"].channels == 6

    class Switched(nn.Module):
        def __init__(self, pooled: bool) -> None:
            super().__init__()
            self.pooled, self.first, self.second = pooled, nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return self.second(torch.max_pool2d(x, 2) if self.pooled else x).flatten(1)

    assert conv_layers(Switched(True))["second"].response.size == (8, 8)
    assert conv_layers(Switched(False))["second"].response.size == (5, 5)


# -- taps ------------------------------------------------------------------------------------------


def test_taps_of_a_residual_block() -> None:
    """The output is x + ReLU(response), with the block's own norm in the response."""
    torch.manual_seed(0)
    model = create_model("EmotionResNet", {"widths": [3, 4]}).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
    face = torch.randn(2, 1, 48, 48)
    with torch.no_grad():
        first = model.conv1(face)
        block = model.res1[0]
        by_hand = block.norm(block.conv(first))
        with captured(model, ["conv1", "res1.0"]) as outputs:
            model(face)
        with captured(model, ["res1.0", "conv1"], "response") as responses:
            model(face)
        torch.testing.assert_close(outputs["conv1"], first)
        torch.testing.assert_close(responses["res1.0"], by_hand)
        torch.testing.assert_close(outputs["res1.0"], first + by_hand.relu())
        torch.testing.assert_close(responses["conv1"], model.conv1.pool(model.conv1.norm(model.conv1.conv(face))))
        torch.testing.assert_close(run_to(model, face, "res1.0"), by_hand)
        torch.testing.assert_close(run_to(model, face, "res1.0", "output"), outputs["res1.0"])


def test_a_relu_that_works_in_place_changes_nothing() -> None:
    torch.manual_seed(0)
    model = Sequential().eval()
    face = torch.randn(1, 1, 48, 48)
    with torch.no_grad():
        expected = model(face)
        with captured(model, ["features.0"], "response") as responses:
            result = model(face)
        by_hand = model.features[1](model.features[0](face))
    assert responses["features.0"].min() < 0
    torch.testing.assert_close(responses["features.0"], by_hand, rtol=0, atol=0)
    torch.testing.assert_close(result, expected, rtol=0, atol=0)


def test_values_are_part_of_the_graph(model: nn.Module) -> None:
    name = next(iter(conv_layers(model)))
    with captured(model, [name]) as values:
        score = model(torch.randn(1, 1, 48, 48))[0, 3]
    (gradient,) = torch.autograd.grad(score, values[name])
    assert gradient.shape == values[name].shape
    assert gradient.abs().sum() > 0


def test_what_comes_after_the_layer_is_not_run() -> None:
    model = create_model("EmotionCNN", SMALL["EmotionCNN"]).eval()
    ran = []
    watch = {"conv2": lambda *_: ran.append("conv2"), "conv1.conv": lambda *_: ran.append("conv1")}
    with hooked(model, watch), torch.no_grad():
        run_to(model, torch.zeros(1, 1, 48, 48), "conv1")
    assert ran == ["conv1"]


# -- no trace --------------------------------------------------------------------------------------


def hooks_of(model: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


def test_hooks_are_gone_afterwards(model: nn.Module) -> None:
    layers = list(conv_layers(model))
    face = torch.zeros(1, 1, 48, 48)
    with captured(model, layers) as values:
        assert hooks_of(model) == len(layers)
        model(face)
    assert hooks_of(model) == 0
    assert list(values) == layers
    run_to(model, face, layers[-1])
    assert hooks_of(model) == 0


def test_hooks_are_gone_after_an_exception(model: nn.Module) -> None:
    name = list(conv_layers(model))[-1]
    with pytest.raises(RuntimeError), captured(model, [name]):
        model(torch.zeros(1, 2, 48, 48))  # two channels: the first convolution refuses them
    assert hooks_of(model) == 0
    with pytest.raises(RuntimeError):
        run_to(model, torch.zeros(1, 2, 48, 48), name)
    assert hooks_of(model) == 0

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), hooked(model, {conv_layers(model)[name].module: broken}):
        model(torch.zeros(1, 1, 48, 48))
    with pytest.raises(AttributeError), hooked(model, {"": broken, "no such module": broken}):
        pytest.fail("the block must not run")
    assert hooks_of(model) == 0


def test_another_thread_is_not_seen() -> None:
    """Two sessions share a network: each gets the values of its own forward pass, also while both have hooks on it."""
    model = create_model("EmotionCNN", SMALL["EmotionCNN"]).eval()
    conv_layers(model)
    meeting = threading.Barrier(2, timeout=120)
    results: dict[int, tuple[Tensor, Tensor]] = {}

    def session(number: int) -> None:
        face = torch.full((number + 1, 1, 48, 48), float(number))
        with torch.no_grad(), captured(model, ["conv1", "conv3"]) as values:
            meeting.wait()  # both have their hooks on
            model(face)
            meeting.wait()  # both have run
            results[number] = values["conv1"], values["conv3"]

    threads = [threading.Thread(target=session, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hooks_of(model) == 0
    with torch.no_grad():
        for number in range(2):
            expected = model.conv1(torch.full((number + 1, 1, 48, 48), float(number)))
            torch.testing.assert_close(results[number][0], expected)
            assert len(results[number][1]) == number + 1


def test_run_to_stops_its_own_thread_only() -> None:
    model = create_model("EmotionCNN", SMALL["EmotionCNN"]).eval()
    conv_layers(model)
    shapes: list[torch.Size] = []

    def stop(*_: Any) -> None:
        other = threading.Thread(target=lambda: shapes.append(model(torch.zeros(2, 1, 48, 48)).shape))
        other.start()
        other.join(timeout=120)

    with torch.no_grad(), hooked(model, {"conv1.conv": stop}):
        run_to(model, torch.zeros(1, 1, 48, 48), "conv1")
    assert shapes == [(2, 7)]


def test_finding_layers_leaves_the_network_as_it_was(model: nn.Module) -> None:
    model.train()
    model.requires_grad_(True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    conv_layers(model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
        assert value.dtype == before[name].dtype
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert hooks_of(model) == 0


def test_each_module_gets_its_own_mode_back() -> None:
    model = create_model("EmotionResNet", SMALL["EmotionResNet"]).train()
    model.conv1.norm.eval()
    modes = [module.training for module in model.modules()]

    def fail() -> None:
        assert not any(module.training for module in model.modules())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), evaluating(model):
        fail()
    assert [module.training for module in model.modules()] == modes


def test_a_network_registered_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "Own", Sequential)
    layer = conv_layers(create_model("Own"))["body"]
    assert isinstance(layer, ConvLayer)
    assert layer.shape == (6, 4, 4)


def test_blocks_keep_their_names() -> None:
    """A block of the project's inside a user's network goes by the block's name."""
    model = nn.Sequential(OrderedDict(stem=ConvBlock(1, 2), head=nn.Flatten()))
    assert conv_layers(model)["stem"].module == "stem.conv"


def test_the_page_about_own_models(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """docs/own-model.md: its network, registered in one line, has the layers that the page says."""
    text = (ROOT / "docs" / "own-model.md").read_text(encoding="utf-8")
    network, _, listing = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(network, names)
    monkeypatch.setitem(MODELS, "MyNet", names["MyNet"])
    exec(listing, {})
    told = [line.removeprefix("# ") for line in listing.splitlines() if line.startswith("# ")]
    assert capsys.readouterr().out.splitlines() == told
    assert create_model("MyNet")(torch.zeros(2, 1, 48, 48)).shape == (2, 7)
