"""The report's networks: shapes as it gives them, parameter counts by hand, and the names that menus show."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fer_core.errors import ConfigError
from fer_core.models import MODELS, conv_layers, count_parameters, create_model
from fer_core.models.blocks import ConvBlock, Flatten, ResidualBlock
from fer_core.models.emotion_net import EmotionNet, MaxMeanPool, SqueezeExcite


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape that each direct child gives for one face."""
    found = {}
    for name, child in model.named_children():
        child.register_forward_hook(lambda _, __, out, name=name: found.update({name: tuple(out.shape[1:])}))
    model.eval()(torch.randn(1, 1, 48, 48))
    return found


def test_shapes_of_the_residual_network_are_the_reports() -> None:
    assert shapes(create_model("EmotionResNet")) == {
        "conv1": (24, 22, 22),
        "res1": (24, 22, 22),
        "drop1": (24, 22, 22),
        "conv2": (96, 9, 9),
        "res2": (96, 9, 9),
        "drop2": (96, 9, 9),
        "flatten": (7776,),
        "drop3": (7776,),
        "linear": (7,),
    }


def test_shapes_of_the_first_network() -> None:
    assert shapes(create_model("EmotionCNN")) == {
        "conv1": (24, 22, 22),
        "conv2": (48, 9, 9),
        "conv3": (96, 5, 5),
        "flatten": (2400,),
        "linear": (7,),
    }


def conv(channels_in: int, channels_out: int, kernel: int) -> int:
    """Parameters of a block: kernels and biases of the convolution, scale and shift of the norm."""
    return channels_in * channels_out * kernel**2 + channels_out + 2 * channels_out


def test_parameter_counts() -> None:
    resnet = conv(1, 24, 5) + 2 * conv(24, 24, 3) + conv(24, 96, 5) + 2 * conv(96, 96, 3) + 7776 * 7 + 7
    assert count_parameters(create_model("EmotionResNet")) == resnet == 289_975
    cnn = conv(1, 24, 5) + conv(24, 48, 5) + conv(48, 96, 5) + 2400 * 7 + 7
    assert count_parameters(create_model("EmotionCNN")) == cnn == 161_911


def test_convolutions_have_names_for_a_menu() -> None:
    names = ["conv1", "res1.0", "res1.1", "conv2", "res2.0", "res2.1"]
    model = create_model("EmotionResNet")
    assert list(conv_layers(model)) == names
    assert conv_layers(model)["res2.0"] is model.get_submodule("res2.0.conv")
    assert list(conv_layers(create_model("EmotionCNN"))) == ["conv1", "conv2", "conv3"]


def test_dropout_is_light_near_the_input_and_heavier_near_the_output() -> None:
    rates = [
        layer.p for layer in create_model("EmotionResNet").modules() if isinstance(layer, nn.Dropout2d | nn.Dropout)
    ]
    assert rates == sorted(rates)
    assert 0 < rates[0] < rates[-1] <= 0.5


def test_pooling_before_relu_is_the_same_as_after() -> None:
    """The report pools after the ReLU; the block does it before, which is less work."""
    block = ConvBlock(2, 3, pool=True)
    x = torch.randn(4, 2, 12, 12)
    as_in_the_report = block.pool(torch.relu(block.norm(block.conv(x))))
    block.norm.reset_running_stats()
    assert torch.equal(block(x), as_in_the_report)


def test_a_residual_block_adds_to_its_input() -> None:
    block = ResidualBlock(3).eval()
    x = torch.randn(2, 3, 5, 5)
    assert torch.equal(block(x), x + torch.relu(block.norm(block.conv(x))))
    nn.init.zeros_(block.conv.weight)
    nn.init.constant_(block.conv.bias, -1.0)  # nothing passes the ReLU: the block is the identity
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_flattening_hands_the_gradient_back_in_the_inputs_layout(layout: torch.memory_format) -> None:
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=layout).requires_grad_()
    seen: list[Tensor] = []
    inside = x * 1
    flat = Flatten()(inside)
    inside.register_hook(seen.append)  # type: ignore[no-untyped-call]
    weights = torch.randn_like(flat)
    (flat * weights).sum().backward()
    assert torch.equal(flat, x.flatten(1))
    assert torch.equal(seen[0], weights.view(2, 3, 4, 5))
    assert seen[0].is_contiguous(memory_format=layout)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_learns_in_every_parameter_and_tells_faces_apart(name: str) -> None:
    model = create_model(name).train()
    logits: Tensor = model(torch.randn(4, 1, 48, 48))
    assert logits.shape == (4, 7)
    logits.square().sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    answers = model.eval()(torch.randn(4, 1, 48, 48))
    assert answers.std(dim=0).min() > 0


def test_an_unknown_model_or_argument_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="There is no model 'VGG'; the models are EmotionCNN, EmotionResNet"):
        create_model("VGG")
    for arguments in ({"width": 3}, {"widths": [1]}, {"dropout": [2.0, 0, 0]}, {"widths": ["a", "b"]}):
        with pytest.raises(ConfigError, match=r"EmotionResNet cannot be built with \{'(width|widths|dropout)'"):
            create_model("EmotionResNet", arguments)


def test_models_are_built_with_the_widths_asked_for() -> None:
    model = create_model("EmotionResNet", {"widths": [4, 8], "dropout": [0, 0, 0]})
    assert [layer.out_channels for layer in conv_layers(model).values()] == [4, 4, 4, 8, 8, 8]


# -- EmotionNet ------------------------------------------------------------------------------------


def smooth_faces(n: int) -> Tensor:
    """Faces whose neighbouring pixels resemble each other."""
    coarse = torch.randn(n, 1, 12, 12, generator=torch.Generator().manual_seed(3))
    return nn.functional.interpolate(coarse, (48, 48), mode="bicubic")


def test_shapes_of_the_fast_network() -> None:
    assert shapes(EmotionNet()) == {
        "whiten": (32, 24, 24),
        "stage1": (32, 12, 12),
        "stage2": (64, 6, 6),
        "stage3": (96, 3, 3),
        "pool": (96,),
        "drop": (96,),
        "linear": (7,),
    }
    assert list(conv_layers(EmotionNet(depths=[1, 2, 0]))) == [
        "whiten", "stage1.down", "stage1.res.0", "stage2.down", "stage2.res.0", "stage2.res.1", "stage3.down",
    ]  # fmt: skip


def test_parameters_of_the_fast_network_by_hand() -> None:
    def block(channels_in: int, channels_out: int) -> int:
        return 9 * channels_in * channels_out + 2 * channels_out

    stages = sum(block(a, b) + block(b, b) for a, b in ((32, 32), (32, 64), (64, 96)))
    assert count_parameters(EmotionNet()) == stages + 96 * 7 + 7 == 213_415
    excited = (32 * 4 + 4) + (4 * 32 + 32) + (64 * 8 + 8) + (8 * 64 + 64) + (96 * 12 + 12) + (12 * 96 + 96)
    assert count_parameters(EmotionNet(squeeze=8)) == 213_415 + excited


def test_whitening_filters_whiten() -> None:
    """Of the patches that they were made of: no correlation, variance 1 (but where the floor holds noise down)."""
    model, faces = EmotionNet(filters=32), smooth_faces(200)
    model.initialise(faces)
    filters = model.whiten.conv.weight.flatten(1)
    assert torch.equal(filters[:16], -filters[16:])
    patches = nn.functional.unfold(faces, 4, stride=4).transpose(1, 2).reshape(-1, 16)
    answers = patches @ filters[:16].T
    moments = answers.T @ answers / len(answers)
    variances = torch.linalg.eigvalsh(patches.T @ patches / len(patches)).flip(0)
    torch.testing.assert_close(moments, torch.diag(variances / (variances + 1e-2)), atol=2e-3, rtol=0)
    assert not model.whiten.conv.weight.requires_grad


def test_whitening_at_full_resolution_answers_at_every_pixel() -> None:
    faces = smooth_faces(8)
    half, full = EmotionNet(widths=[8, 8], depths=[1, 1]), EmotionNet(widths=[8, 8], depths=[1, 1], stride=1)
    full.load_state_dict(half.state_dict())
    assert half.whiten(faces).shape == (8, 32, 24, 24)
    assert full.whiten(faces).shape == (8, 32, 47, 47)
    torch.testing.assert_close(full.whiten(faces)[:, :, ::2, ::2], half.whiten(faces))
    assert full(faces).shape == (8, 7)


def test_whitening_filters_are_as_many_as_patches_have_dimensions() -> None:
    for filters in (31, 34):
        with pytest.raises(ConfigError, match=f"filters = {filters} must be an even number up to 32"):
            create_model("EmotionNet", {"filters": filters})
    with pytest.raises(ConfigError, match="widths and depths must be of one length"):
        create_model("EmotionNet", {"widths": [8, 8]})


def test_pooling_hands_back_gradients_channels_last() -> None:
    """As the layers before it have them: in another layout they are several times slower."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 5, 3, 3, generator=generator).contiguous(memory_format=torch.channels_last).requires_grad_()
    weights = torch.rand(2, 5, generator=generator)
    (MaxMeanPool()(x) * weights).sum().backward()
    assert x.grad is not None
    assert x.grad.is_contiguous(memory_format=torch.channels_last)
    largest = x == x.amax(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(x.grad, weights[:, :, None, None] * (largest + 1 / 9) / 2)


def test_pool_and_gates_by_hand() -> None:
    x = torch.tensor([[[[0.0, 2.0], [4.0, 10.0]], [[1.0, 1.0], [1.0, 5.0]]]])  # means 4 and 2
    assert torch.equal(MaxMeanPool()(x), torch.tensor([[7.0, 3.5]]))
    gate = SqueezeExcite(2, 2)
    with torch.no_grad():
        gate.reduce.weight.copy_(torch.tensor([[1.0, -1.0]]))
        gate.reduce.bias.zero_()
        gate.expand.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        gate.expand.bias.zero_()
    one, other = torch.sigmoid(torch.tensor([2.0, -2.0]))  # relu(4 - 2) = 2
    torch.testing.assert_close(gate(x), torch.stack([x[0, 0] * one, x[0, 1] * other])[None])
