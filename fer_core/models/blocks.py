"""The blocks that both of the report's networks are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvBlock(nn.Module):
    """Conv2d + BatchNorm2d + ReLU, with a MaxPool2d(2) if `pool` (report items 2 and 3).

    (B, channels_in, H, W) -> (B, channels_out, H', W') with H' = H + 2 * padding - kernel + 1, halved by pooling.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int = 5, padding: int = 0, pool: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, padding=padding)
        self.norm = nn.BatchNorm2d(channels_out)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        # ReLU and max-pooling commute (both are monotone); in this order the ReLU has a quarter of the work.
        activations: Tensor = self.relu(self.pool(self.norm(self.conv(x))))
        return activations


class ResidualBlock(ConvBlock):
    """x + ReLU(BatchNorm2d(Conv2d(x))), kernel 3, padding 1: size and channels kept (report item 3)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, kernel=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class Flatten(nn.Flatten):
    """(B, C, H, W) -> (B, C * H * W), with the gradient laid out in memory as the input is.

    Without that, a channels-last network gets a gradient from its linear layer in the other layout, and every layer
    back to the next convolution mixes the two: the same numbers, but a tenth of the training time more.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad and x.is_contiguous(memory_format=torch.channels_last):
            x.register_hook(_channels_last)  # type: ignore[no-untyped-call]
        return super().forward(x)


def _channels_last(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)
