"""The report's first network (item 2): three plain convolution blocks and one linear layer."""

from __future__ import annotations

from torch import Tensor, nn

from fer_core.labels import EMOTIONS
from fer_core.models.blocks import ConvBlock, Flatten


class EmotionCNN(nn.Module):
    """`MyEmotionCNN` of the report: it underfits.

    The report gives the blocks but not their widths; `widths` are ours.
    """

    def __init__(self, widths: tuple[int, int, int] = (24, 48, 96)) -> None:
        super().__init__()
        first, second, third = widths
        self.conv1 = ConvBlock(1, first, pool=True)
        self.conv2 = ConvBlock(first, second, pool=True)
        self.conv3 = ConvBlock(second, third)
        self.flatten = Flatten()
        self.linear = nn.Linear(third * 5 * 5, len(EMOTIONS))

    def forward(self, x: Tensor) -> Tensor:  # (B, 1, 48, 48)
        x = self.conv1(x)  # (B, 24, 22, 22)
        x = self.conv2(x)  # (B, 48, 9, 9)
        x = self.conv3(x)  # (B, 96, 5, 5)
        logits: Tensor = self.linear(self.flatten(x))  # (B, 7)
        return logits
