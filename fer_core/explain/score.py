"""The number that a map explains. Imports torch; `attribution` is where to start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


class Score(nn.Module):
    """Logits times `weights`, summed: a class score for a one-hot row, the difference of two for +1 and -1."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, weights: Tensor) -> Tensor:  # (B, 1, 48, 48), (B, 7)
        score: Tensor = (self.model(inputs) * weights).sum(dim=1)  # (B,)
        return score


@dataclass(frozen=True)
class Question:
    """What a method is asked: which pixels of `inputs` carry the score?

    model    in evaluation mode
    inputs   float32 (N, 1, 48, 48), normalised: 0 is the mean gray of the training faces
    weights  float32 (N, 7), see `Score`
    gray     how many gray levels (of 255) are 1 in `inputs`
    layer    the name of a layer, for methods that take one
    report   called with the share done, 0..1
    """

    model: nn.Module
    inputs: Tensor
    weights: Tensor
    gray: float
    layer: str = ""
    seed: int = 0
    report: Callable[[float], object] = lambda _: None

    def scores(self, variants: Tensor) -> Tensor:
        """The score of k variants of each face, float32 (k, N, 1, 48, 48) -> (k, N), without gradients."""
        with torch.no_grad():
            logits: Tensor = self.model(variants.flatten(0, 1)).view(*variants.shape[:2], -1)  # (k, N, 7)
        return (logits * self.weights).sum(dim=2)
