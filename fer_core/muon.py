"""Muon: momentum whose update of each kernel is orthogonalised (Jordan et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from fer_core.precision import has_fast_bf16


class Muon(torch.optim.Optimizer):
    """Convolution kernels, each as a matrix (out, in * height * width), move by an orthogonal matrix times `lr`; all
    other parameters by stochastic gradient descent with Nesterov momentum.

    `torch.optim.Muon` takes matrices only: given the kernels as such it moves them as this one does.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0):
        """weight_decay: decoupled, of the kernels only."""
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        state["momentum_buffer"].mul_(group["momentum"]).add_(parameter.grad)
        update = parameter.grad.add(state["momentum_buffer"], alpha=group["momentum"])  # type: ignore[union-attr]
        if parameter.dim() != 4:
            parameter.sub_(update, alpha=group["lr"])
            return
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        rows, columns = len(update), update[0].numel()
        direction = orthogonalised(update.flatten(1)).view_as(update)
        parameter.sub_(direction, alpha=group["lr"] * max(1, rows / columns) ** 0.5)


def orthogonalised(matrix: Tensor) -> Tensor:
    """About U V^T of the matrix's singular value decomposition U S V^T, by five Newton-Schulz steps: in bfloat16, whose
    rounding does no harm here, where that is fast."""
    x = matrix.bfloat16() if has_fast_bf16(matrix.device) else matrix
    if x.shape[0] > x.shape[1]:
        x = x.T
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    result: Tensor = x if x.shape == matrix.shape else x.T
    return result.to(matrix.dtype)
