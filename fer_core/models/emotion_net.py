"""The network of the `fast` and `strong` recipes: much accuracy for little arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_core.labels import EMOTIONS


class EmotionNet(nn.Module):
    """Fixed whitening filters, as a rule at half resolution, then stages that each halve the picture and widen it.

    The form is that of Jordan's CIFAR-10 speed runs (2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU"), one
    gray channel instead of three colours and one more residual form.

    widths    channels of each stage
    depths    residual blocks of each stage
    filters   whitening filters: eigenfilters of the training faces' patches and their negatives
    stride    of those; 1 keeps the full resolution, for about four times the arithmetic
    squeeze   squeeze-and-excitation in the residual blocks (Hu et al. 2018) with this reduction; 0 for none
    dropout   probability before the linear layer
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 96),
        depths: Sequence[int] = (1, 1, 1),
        filters: int = 32,
        squeeze: int = 0,
        dropout: float = 0.0,
        stride: int = 2,
    ) -> None:
        super().__init__()
        if len(widths) != len(depths) or not widths:
            raise ValueError("widths and depths must be of one length")
        self.whiten = Whitening(filters, stride)
        channels = [filters, *widths]
        for number, depth in enumerate(depths, start=1):
            self.add_module(f"stage{number}", Stage(channels[number - 1], channels[number], depth, squeeze))
        self.stages = [f"stage{number}" for number in range(1, len(depths) + 1)]
        self.pool = MaxMeanPool()
        self.drop = nn.Dropout(dropout)
        self.linear = nn.Linear(channels[-1], len(EMOTIONS))

    def forward(self, x: Tensor) -> Tensor:  # (B, 1, 48, 48)
        x = self.whiten(x)  # (B, 32, 24, 24)
        for stage in self.stages:
            x = self.get_submodule(stage)(x)  # (B, 32, 12, 12), (B, 64, 6, 6), (B, 96, 3, 3)
        logits: Tensor = self.linear(self.drop(self.pool(x)))  # (B, 7)
        return logits

    def initialise(self, faces: Tensor) -> None:
        """Take the whitening filters from faces, float32 (N, 1, H, W); called once, before the first step."""
        self.whiten.initialise(faces)


class Whitening(nn.Module):
    """Filters 4x4 whose answers to the training faces are uncorrelated and of one variance; not trained.

    (B, 1, H, W) -> (B, filters, H / 2, W / 2) at stride 2, (B, filters, H - 1, W - 1) at stride 1
    """

    def __init__(self, filters: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, filters, 4, stride=stride, padding=1, bias=False)
        if filters % 2 or filters // 2 > self.conv.weight[0].numel():
            raise ValueError(f"filters = {filters} must be an even number up to 32")
        self.conv.weight.requires_grad_(False)
        self.gelu = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        activations: Tensor = self.gelu(self.conv(x))
        return activations

    def initialise(self, faces: Tensor) -> None:
        filters, _, size, _ = self.conv.weight.shape
        patches = F.unfold(faces.cpu(), size, stride=size).transpose(1, 2).reshape(-1, size * size).double()
        variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
        # Directions with next to no variance are noise: the floor keeps them from being blown up.
        eigenfilters = (directions / (variances + 1e-2).sqrt()).T.flip(0)[: filters // 2].float()
        both_signs = torch.cat([eigenfilters, -eigenfilters])  # a GELU passes one sign only
        self.conv.weight.data.copy_(both_signs.view(filters, 1, size, size))


class Stage(nn.Module):
    """A convolution with max-pooling, then residual blocks. (B, C, H, W) -> (B, C', H / 2, W / 2)"""

    def __init__(self, channels_in: int, channels_out: int, depth: int, squeeze: int) -> None:
        super().__init__()
        self.down = GeluBlock(channels_in, channels_out, pool=True)
        self.res = nn.Sequential(*(GeluResidual(channels_out, squeeze) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.res(self.down(x))
        return features


class GeluBlock(nn.Module):
    """Conv2d 3x3, MaxPool2d(2) if `pool`, BatchNorm2d, squeeze-and-excitation if `squeeze`, GELU."""

    def __init__(self, channels_in: int, channels_out: int, squeeze: int = 0, pool: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.norm = nn.BatchNorm2d(channels_out)
        self.squeeze = SqueezeExcite(channels_out, squeeze) if squeeze else nn.Identity()
        self.gelu = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        activations: Tensor = self.gelu(self.squeeze(self.norm(self.pool(self.conv(x)))))
        return activations


class GeluResidual(GeluBlock):
    """x + GELU(...(x)): size and channels kept."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__(channels, channels, squeeze)

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class MaxMeanPool(nn.Module):
    """Of each channel the mean of its largest and its mean value. (B, C, H, W) -> (B, C)"""

    def forward(self, x: Tensor) -> Tensor:
        whole = x.shape[-2:]  # as pooling over all of the picture: amax and mean hand back gradients channels first
        return (F.max_pool2d(x, whole) + F.avg_pool2d(x, whole)).flatten(1) / 2


class SqueezeExcite(nn.Module):
    """Each channel times a number in 0..1 that depends on the means of all channels (Hu et al. 2018)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, max(1, channels // reduction))
        self.relu = nn.ReLU()
        self.expand = nn.Linear(self.reduce.out_features, channels)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        gates: Tensor = self.expand(self.relu(self.reduce(x.mean(dim=(2, 3))))).sigmoid()
        return x * gates[:, :, None, None]
