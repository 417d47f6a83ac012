"""Muon against torch's own, which takes matrices only, and against the definition of what it approximates."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fer_core.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(6, 2, 3, 3), (20, 1, 3, 3), (8, 8, 3, 3)])
def test_kernels_move_as_torchs_muon_moves_them_as_matrices(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    start = torch.randn(shape)
    kernel = nn.Parameter(start.clone().contiguous(memory_format=torch.channels_last))
    matrix = nn.Parameter(start.flatten(1).clone())
    ours = Muon([kernel], lr=0.1, momentum=0.9, weight_decay=0.3)
    torchs = torch.optim.Muon([matrix], lr=0.1, momentum=0.9, weight_decay=0.3, nesterov=True)
    for step in range(4):
        gradient = torch.randn(shape, generator=torch.Generator().manual_seed(step))
        kernel.grad, matrix.grad = gradient.clone(), gradient.flatten(1).clone()
        ours.step()  # type: ignore[no-untyped-call]
        torchs.step()
        # Both round to bfloat16 on the way, after gradients that differ by a factor of 10.
        torch.testing.assert_close(kernel.flatten(1), matrix, atol=0.01, rtol=0)
    assert (kernel - start).abs().mean() > 0.05


def test_all_else_moves_by_sgd_with_nesterov_momentum() -> None:
    torch.manual_seed(1)
    mine, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(mine.state_dict())
    ours = Muon(mine.parameters(), lr=0.1, momentum=0.8, weight_decay=0.5)
    sgd = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.8, nesterov=True)
    for _ in range(3):
        x = torch.randn(4, 3)
        for model, optimizer in ((mine, ours), (theirs, sgd)):
            model.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
        torch.testing.assert_close(mine.weight, theirs.weight)
        torch.testing.assert_close(mine.bias, theirs.bias)


@pytest.mark.parametrize("shape", [(5, 40), (40, 5), (16, 16)])
def test_the_update_is_nearly_orthogonal(shape: tuple[int, int]) -> None:
    """The same singular vectors; singular values near 1, within the range that these coefficients give."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    inside = u.T @ orthogonalised(matrix) @ v.T
    values = inside.diagonal()
    assert ((values > 0.5) & (values < 1.4)).all()
    assert (inside - values.diag()).abs().max() < 1e-4


@pytest.mark.parametrize("shape", [(64, 576), (576, 64), (32, 32)])
def test_five_newton_schulz_steps_one_after_the_other(shape: tuple[int, int]) -> None:
    """As published, in float64; the singular values of the matrix lie five orders of magnitude apart."""
    generator = torch.Generator().manual_seed(3)
    matrix = torch.randn(shape, generator=generator, dtype=torch.float64) * torch.logspace(0, -5, shape[1])
    x = matrix.T if shape[0] > shape[1] else matrix
    x = x / x.norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    expected = x if x.shape == shape else x.T
    torch.testing.assert_close(orthogonalised(matrix), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(orthogonalised(matrix.float()), expected.float(), rtol=0, atol=1e-3)


def test_a_parameter_without_a_gradient_stays() -> None:
    kernel = nn.Parameter(torch.ones(2, 1, 3, 3))
    Muon([kernel], lr=1.0, weight_decay=0.5).step()
    assert torch.equal(kernel, torch.ones(2, 1, 3, 3))
