"""Muon: momentum whose update of each kernel is orthogonalised (Jordan et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

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
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not moved:
                continue
            for parameter in moved:
                if not self.state[parameter]:
                    self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            gradients = [parameter.grad for parameter in moved]
            moments = [self.state[parameter]["momentum_buffer"] for parameter in moved]
            torch._foreach_mul_(moments, group["momentum"])
            torch._foreach_add_(moments, gradients)
            updates = torch._foreach_add(gradients, moments, alpha=group["momentum"])
            for parameter, update in zip(moved, updates, strict=True):
                length = group["lr"]
                if parameter.dim() == 4:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    length *= max(1, len(update) / update[0].numel()) ** 0.5
                    update = orthogonalised(update.flatten(1)).view_as(update)
                parameter.sub_(update, alpha=length)


def orthogonalised(matrix: Tensor) -> Tensor:
    """About U V^T of the matrix's singular value decomposition U S V^T, by five Newton-Schulz steps: in bfloat16, whose
    rounding does no harm here, where that is fast."""
    x = matrix.bfloat16() if has_fast_bf16(matrix.device) else matrix
    if x.shape[0] > x.shape[1]:
        x = x.T
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    result: Tensor = x if x.shape == matrix.shape else x.T
    return result.to(matrix.dtype)
