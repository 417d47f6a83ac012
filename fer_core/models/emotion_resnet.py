"""The report's residual network (item 3), with its dropout: little near the input, more near the output."""

from __future__ import annotations

from torch import Tensor, nn

from fer_core.labels import EMOTIONS
from fer_core.models.blocks import ConvBlock, Flatten, ResidualBlock


class EmotionResNet(nn.Module):
    """`MyResNet` of the report.

    widths   channels of the two stages; the report's are 24 and 96
    dropout  probabilities after stage one, after stage two and before the linear layer. The first two drop whole
             channels (Tompson et al. 2015), since neighbouring pixels of a feature map say nearly the same.
    """

    def __init__(
        self, widths: tuple[int, int] = (24, 96), dropout: tuple[float, float, float] = (0.05, 0.15, 0.5)
    ) -> None:
        super().__init__()
        first, second = widths
        self.conv1 = ConvBlock(1, first, pool=True)
        self.res1 = nn.Sequential(ResidualBlock(first), ResidualBlock(first))
        self.drop1 = nn.Dropout2d(dropout[0])
        self.conv2 = ConvBlock(first, second, pool=True)
        self.res2 = nn.Sequential(ResidualBlock(second), ResidualBlock(second))
        self.drop2 = nn.Dropout2d(dropout[1])
        self.flatten = Flatten()
        self.drop3 = nn.Dropout(dropout[2])
        self.linear = nn.Linear(second * 9 * 9, len(EMOTIONS))

    def forward(self, x: Tensor) -> Tensor:  # (B, 1, 48, 48)
        x = self.drop1(self.res1(self.conv1(x)))  # (B, 24, 22, 22)
        x = self.drop2(self.res2(self.conv2(x)))  # (B, 96, 9, 9)
        logits: Tensor = self.linear(self.drop3(self.flatten(x)))  # (B, 7)
        return logits
