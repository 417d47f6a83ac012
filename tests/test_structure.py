"""Structure: parameters, MACs and receptive fields against other ways to count them, and the wiring of the graph."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fer_core.errors import ConfigError
from fer_core.explain.layers import conv_layers
from fer_core.models import MODELS, count_parameters, create_model
from fer_core.structure import INPUT, Step, Structure, boxes, structure


class Gate(nn.Module):
    """Squeeze-and-excitation (Hu et al. 2018), written with functions where others use modules."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, 2)
        self.excite = nn.Linear(2, channels)
        self.strength = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.relu(self.squeeze(x.mean(dim=(2, 3))))
        gate = self.excite(gate).sigmoid()[:, :, None, None]
        return x * gate * self.strength


class Own(nn.Module):
    """A user's own network: functions, one module used twice, a kernel that is not square, dilation, stride, groups, a
    convolution in the skip, one that is never called, and a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Conv2d(1, 4, (3, 5), stride=2, padding=(0, 2)).requires_grad_(False)
        self.act = nn.ReLU()
        self.wide = nn.Conv2d(4, 6, 3, dilation=2, groups=2)
        self.skip = nn.Conv2d(4, 6, 5)
        self.nothing = nn.Identity()
        self.gate = Gate(6)
        self.unused = nn.Conv2d(1, 1, 1)
        self.head = nn.Linear(6, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.frozen(x))
        x = self.act(self.nothing(self.wide(x)) + self.skip(x))
        logits: Tensor = self.head(self.gate(x).mean(dim=(2, 3)))
        return logits


@pytest.fixture(params=[*MODELS, "own"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(5)
    return Own() if request.param == "own" else create_model(request.param)


@pytest.fixture
def found(model: nn.Module) -> Structure:
    return structure(model)


def by_name(found: Structure) -> dict[str, Step]:
    return {step.name: step for step in found.steps}


# -- by hand -------------------------------------------------------------------------------------------


def test_the_reports_network_by_hand() -> None:
    found = structure(create_model("EmotionResNet"))
    convolutions = [
        # name, output, parameters (k k in + 1) out, MACs k k in out H W, receptive field r + (k - 1) j
        ("conv1.conv", (24, 44, 44), (25 + 1) * 24, 25 * 24 * 44 * 44, 5),
        ("res1.0.conv", (24, 22, 22), (9 * 24 + 1) * 24, 9 * 24 * 24 * 22 * 22, 5 + 1 + 2 * 2),
        ("res1.1.conv", (24, 22, 22), (9 * 24 + 1) * 24, 9 * 24 * 24 * 22 * 22, 10 + 2 * 2),
        ("conv2.conv", (96, 18, 18), (25 * 24 + 1) * 96, 25 * 24 * 96 * 18 * 18, 14 + 4 * 2),
        ("res2.0.conv", (96, 9, 9), (9 * 96 + 1) * 96, 9 * 96 * 96 * 9 * 9, 22 + 2 + 2 * 4),
        ("res2.1.conv", (96, 9, 9), (9 * 96 + 1) * 96, 9 * 96 * 96 * 9 * 9, 32 + 2 * 4),
    ]
    shown = [
        (step.name, step.shape, step.parameters, step.macs, step.field[0])
        for step in found.steps
        if step.kind == "Conv2d"
    ]
    assert shown == convolutions
    linear = by_name(found)["linear"]
    assert (linear.shape, linear.parameters, linear.macs) == ((7,), 7 * 7776 + 7, 7 * 7776)
    assert linear.field == (48, 48)
    assert by_name(found)["conv1.norm"].parameters == 2 * 24
    assert [step.macs for step in found.steps if step.kind in ("BatchNorm2d", "ReLU", "MaxPool2d", "add")] == [0] * 18
    assert found.parameters == found.trained == 289_975  # the number in the README


def test_the_users_own_network_by_hand() -> None:
    found = by_name(structure(Own()))
    assert found["frozen"].shape == (4, 23, 24)
    assert found["frozen"].macs == 15 * 4 * 23 * 24
    assert found["wide"].shape == found["skip"].shape == (6, 19, 20)
    assert found["wide"].macs == 9 * 2 * 6 * 19 * 20  # of 4 channels each group sees 2
    assert found["frozen"].field == (3, 5)
    assert found["wide"].field == found["skip"].field == (3 + 4 * 2, 5 + 4 * 2)  # 4 rows further, 2 pixels each
    assert found["gate.mean"].field == (47, 48)  # the last row is in no unit: 23 rows of stride 2 and kernel 3
    assert "unused" not in found
    assert "nothing" not in found
    assert found["gate.mul (2)"].parameters == 6
    assert found["gate.squeeze"].macs == 6 * 2


# -- another way to count ------------------------------------------------------------------------------


def test_parameters_are_the_models(model: nn.Module, found: Structure) -> None:
    unused = 2 if isinstance(model, Own) else 0
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters()) - unused
    assert found.trained == count_parameters(model)


def test_macs_of_the_whole_as_pytorch_counts_them(model: nn.Module, found: Structure) -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(3, 1, 48, 48))
    assert found.macs == counter.get_total_flops() / 2 / 3
    assert found.macs > 100_000


def test_macs_of_each_layer_by_formula(model: nn.Module, found: Structure) -> None:
    for step in found.steps:
        module = dict(model.named_modules()).get(step.name)
        if isinstance(module, nn.Conv2d):
            kernel = math.prod(module.kernel_size) * module.in_channels // module.groups
            assert step.macs == kernel * math.prod(step.shape)
        elif isinstance(module, nn.Linear):
            assert step.macs == module.in_features * module.out_features
        else:
            assert step.macs == 0


def note(into: dict[str, Any], name: str) -> Any:
    """A hook that keeps what a module gave the first time."""
    return lambda _module, _inputs, output: into.update({name: into.get(name, output)})


def test_shapes_are_what_comes_out(model: nn.Module, found: Structure) -> None:
    values: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if name in by_name(found):
            module.register_forward_hook(note(values, name))
    model.eval()(torch.zeros(1, 1, 48, 48))
    assert len(values) >= 7
    for name, value in values.items():
        assert by_name(found)[name].shape == tuple(value.shape[1:])


class Linear(nn.Module):
    """Stands where something picks or cuts: hands on everything."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def made_linear(model: nn.Module) -> nn.Module:
    """The same wiring in float64 with positive weights and nothing that picks or cuts: whatever a unit sees has a
    gradient that is greater than 0."""
    twin = copy.deepcopy(model).double().eval()
    for module in list(twin.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
            elif isinstance(child, nn.AdaptiveMaxPool2d):
                setattr(module, name, nn.AdaptiveAvgPool2d(child.output_size))
            elif isinstance(child, nn.ReLU | nn.GELU | nn.SiLU):
                setattr(module, name, Linear())
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.copy_(parameter.abs() + 0.1)
    return twin


def extent(touched: np.ndarray) -> tuple[int, int]:
    """Height and width of the box around what is True in (48, 48)."""
    rows, columns = np.flatnonzero(touched.any(axis=1)), np.flatnonzero(touched.any(axis=0))
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def test_receptive_fields_are_the_support_of_a_gradient(model: nn.Module, found: Structure) -> None:
    """Araujo et al. 2019, by the oracle: no pixel outside has a gradient, and the largest box is the one shown."""
    twin, values = made_linear(model), dict[str, Tensor]()
    wanted = {step.name for step in found.steps if step.layer or step.kind == "Linear"}
    for name, module in twin.named_modules():
        if name in wanted:
            module.register_forward_hook(note(values, name))
    face = torch.rand(1, 1, 48, 48, dtype=torch.float64, requires_grad=True)
    twin(face)
    for name, value in values.items():
        if value.dim() == 4:
            _, _, height, width = value.shape
            near = range(-3, 4)  # about the middle, where neither edge of the face cuts if it can be helped
            units = {
                (min(max(height // 2 + y, 0), height - 1), min(max(width // 2 + x, 0), width - 1))
                for y in near for x in (near if height < 10 else (0,))
            }  # fmt: skip
            sums = [value[0, :, y, x].sum() for y, x in units]
        else:
            sums = [value[0, 0]]
        fields = [
            extent(torch.autograd.grad(one, face, retain_graph=True)[0][0, 0].numpy() != 0) for one in sums
        ]  # fmt: skip
        largest = tuple(max(field[axis] for field in fields) for axis in (0, 1))
        assert by_name(found)[name].field == largest, name
    assert len(values) == len(wanted) >= 4


def test_layers_are_called_as_the_layers_page_calls_them(model: nn.Module, found: Structure) -> None:
    layers = conv_layers(model)
    assert [step.layer for step in found.steps if step.layer] == list(layers)
    for step in found.steps:
        if step.layer:
            assert step.name == layers[step.layer].module


# -- the graph -----------------------------------------------------------------------------------------


def test_every_step_takes_from_steps_before_it(found: Structure) -> None:
    seen = {INPUT}
    for step in found.steps:
        assert step.inputs
        assert set(step.inputs) <= seen
        assert step.name not in seen
        seen.add(step.name)
    assert found.steps[-1].shape == (7,)


def test_residual_blocks_join_what_they_split() -> None:
    found = by_name(structure(create_model("EmotionResNet")))
    assert found["res1.0.add"].inputs == ("conv1.relu", "res1.0.relu")
    assert found["res2.1.add"].inputs == ("res2.0.add", "res2.1.relu")
    assert found["drop1"].inputs == ("res1.1.add",)


def test_a_gate_joins_its_input() -> None:
    found = by_name(structure(Own()))
    assert set(found["gate.mul"].inputs) == {"act (2)", "gate.getitem"}
    assert set(found["add"].inputs) == {"wide", "skip"}  # nn.Identity is no step


def test_boxes_hold_each_step_once_in_order(found: Structure) -> None:
    made = boxes(found.steps)
    assert sorted(step.name for box in made for step in box.steps) == sorted(step.name for step in found.steps)
    names = {INPUT, *(box.name for box in made)}
    for box in made:
        assert set(box.inputs) <= names
        assert len({step.block for step in box.steps}) == 1
        for before, after in zip(box.steps, box.steps[1:], strict=False):
            assert after.inputs == (before.name,)
            assert sum(before.name in step.inputs for step in found.steps) == 1


def test_the_boxes_of_the_reports_network() -> None:
    made = boxes(structure(create_model("EmotionResNet")).steps)
    assert [(box.layer or "+".join(step.kind for step in box.steps), len(box.inputs)) for box in made] == [
        ("conv1", 1), ("res1.0", 1), ("add", 2), ("res1.1", 1), ("add", 2), ("Dropout2d", 1),
        ("conv2", 1), ("res2.0", 1), ("add", 2), ("res2.1", 1), ("add", 2), ("Dropout2d+Flatten+Dropout+Linear", 1),
    ]  # fmt: skip


# -- manners -------------------------------------------------------------------------------------------


def test_the_network_is_left_as_it_was(model: nn.Module) -> None:
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.random.get_rng_state()
    structure(model)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(random, torch.random.get_rng_state())


def test_a_network_whose_way_depends_on_the_face() -> None:
    class Fickle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x: Tensor) -> Any:
            x = self.conv(x)
            return x if x.sum() > 0 else -x

    with pytest.raises(ConfigError, match="Fickle has no fixed graph that could be drawn"):
        structure(Fickle())
