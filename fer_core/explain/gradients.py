"""Methods that follow the gradient from the score back to the pixels or to a layer.

Each takes a `Question` and returns a map a face, float32 (N, 48, 48), in logits or in logits per unit of the input.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fer_core.errors import ConfigError

if TYPE_CHECKING:  # captum and torch take seconds to import, and the list of methods does not need them
    from torch import Tensor

    from fer_core.explain.layers import Grid
    from fer_core.explain.score import Question

SMOOTHGRAD_SAMPLES = 32
SMOOTHGRAD_NOISE = 25.0  # standard deviation in gray levels: a tenth of the range, as in the paper's examples
INTEGRATION_STEPS = 50
_AT_ONCE = 256  # images that go through the network together


def saliency(ask: Question) -> Tensor:
    """The gradient of the score with respect to each pixel, with its sign."""
    from captum.attr import Saliency

    from fer_core.explain.score import Score

    method = Saliency(Score(ask.model))
    return _map(method.attribute(ask.inputs, abs=False, additional_forward_args=ask.weights))


def smoothgrad(ask: Question) -> Tensor:
    """The mean gradient over noisy copies. The faces share the noise, so a face has the same map in every batch."""
    import torch

    generator = torch.Generator().manual_seed(ask.seed)
    total = torch.zeros_like(ask.inputs[:, 0])
    for i in range(SMOOTHGRAD_SAMPLES):
        noise = torch.randn(ask.inputs.shape[1:], generator=generator).to(ask.inputs) * SMOOTHGRAD_NOISE / ask.gray
        total += saliency(replace(ask, inputs=(ask.inputs + noise).detach().requires_grad_()))
        ask.report((i + 1) / SMOOTHGRAD_SAMPLES)
    return total / SMOOTHGRAD_SAMPLES


def input_x_gradient(ask: Question) -> Tensor:
    """How far each pixel is from the mean gray, times its gradient."""
    from captum.attr import InputXGradient

    from fer_core.explain.score import Score

    return _map(InputXGradient(Score(ask.model)).attribute(ask.inputs, additional_forward_args=ask.weights))


def integrated_gradients(ask: Question) -> Tensor:
    """The gradient summed along the straight way from an all-gray face (the training mean) to this one."""
    from captum.attr import IntegratedGradients

    from fer_core.explain.score import Score

    method = IntegratedGradients(Score(ask.model))
    return _map(
        method.attribute(
            ask.inputs,
            baselines=0.0,
            additional_forward_args=ask.weights,
            n_steps=INTEGRATION_STEPS,
            internal_batch_size=max(_AT_ONCE, len(ask.inputs)),
        )
    )


def guided_backprop(ask: Question) -> Tensor:
    """The gradient, with what speaks against the score dropped at each nn.ReLU on the way back (and each nn.GELU, its
    smooth successor, of which the paper could not know).

    Ours and not Captum's, so that its hooks are those of `layers`: seen by no other thread that runs the network.
    """
    from torch import nn

    from fer_core.explain.layers import hooked

    def guide(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(lambda gradient: gradient.clamp(min=0))  # type: ignore[no-untyped-call]

    rectifiers = {name: guide for name, module in ask.model.named_modules() if isinstance(module, nn.ReLU | nn.GELU)}
    if not rectifiers:
        name = type(ask.model).__name__
        raise ConfigError(f"{name} has no nn.ReLU or nn.GELU for guided backprop to guide; choose another method.")
    with hooked(ask.model, rectifiers):
        return saliency(ask)


def grad_cam(ask: Question) -> Tensor:
    """A layer's channels, each weighted by its mean gradient, summed and laid over the face.

    Not rectified: what speaks against the score is negative. The positive part is Grad-CAM as published.
    """
    import torch

    from fer_core.explain.layers import captured, find_layer
    from fer_core.explain.score import Score

    grid = find_layer(ask.model, ask.layer).output
    with captured(ask.model, [ask.layer]) as values:
        score = Score(ask.model)(ask.inputs, ask.weights)
    channels = values[ask.layer]  # (N, C, H, W)
    (gradient,) = torch.autograd.grad(score.sum(), channels)
    cam = (gradient.mean(dim=(2, 3), keepdim=True) * channels).sum(dim=1)  # (N, H, W)
    return laid_over(cam.detach(), grid)


def laid_over(cam: Tensor, grid: Grid) -> Tensor:
    """Values (N, H, W) of a layer's units -> (N, 48, 48): each stands where the middle of what its unit sees is, with
    straight lines between. Stretching, as is usual, would move them by up to 5 pixels in a network without padding.
    """
    return _between(grid.rows, grid.jump[0]).to(cam) @ cam @ _between(grid.columns, grid.jump[1]).to(cam).T


def _between(ends: tuple[tuple[int, int], ...], jump: int) -> Tensor:
    """Weights (48, units) of linear interpolation. The outermost units' values hold for half a step beyond them and
    are down to zero after one more: no unit looks mainly there."""
    import torch

    from fer_core.preprocess import FACE_SIZE

    units = len(ends)
    middle = sum(first + last for first, last in ends) / (2 * units)  # the face's edges cut both sides alike
    step = jump or FACE_SIZE / units  # where every unit sees the whole face, the face is shared out among them
    position = (torch.arange(FACE_SIZE) - middle) / step + (units - 1) / 2
    inside = position.clamp(0, units - 1)
    fading = (1.5 - (position - inside).abs()).clamp(0, 1)
    return fading[:, None] * (1 - (inside[:, None] - torch.arange(units)).abs()).clamp(min=0)


def _map(attributions: Tensor) -> Tensor:
    return attributions.detach().sum(dim=1)  # (N, 1, 48, 48) -> (N, 48, 48)
