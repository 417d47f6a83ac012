"""Muon: momentum whose update of each kernel is orthogonalised (Jordan et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


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
    """About U V^T of the matrix's singular value decomposition U S V^T, by five Newton-Schulz steps. Each multiplies
    the matrix X by a polynomial of X X^T; these, which are smaller than X, are multiplied first."""
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=1e-7)
    gram = x @ x.T
    product = torch.eye(len(x), dtype=x.dtype, device=x.device)
    for _ in range(5):
        factor = torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        factor.diagonal().add_(3.4445)
        product = factor @ product
        gram = factor @ gram @ factor
    result: Tensor = product @ x
    return result if result.shape == matrix.shape else result.T
