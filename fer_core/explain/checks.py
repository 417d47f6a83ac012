"""What the trust checks measure: each a function of a question, a map and a seed. `trust` judges what they find.

docs/trust.md says what each means and where it comes from.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fer_core.explain.attribution import Method, maps_of
from fer_core.preprocess import FACE_SIZE

if TYPE_CHECKING:  # torch is imported when a network runs
    import torch
    from torch import Tensor, nn

    from fer_core.explain.score import Question

CELL = 4  # pixels a side: faces are covered cell by cell, since scattered single pixels are noise to any network
STEPS = 24  # of a deletion or insertion curve
RANDOM_ORDERS = 19  # a map without meaning beats all of them once in 20 times
BLUR = 3.0  # pixels: the face from which insertion starts
SHUFFLES = 3  # of all weights
SQUARES = 100  # covered squares that infidelity is measured on
NOISE = 2.0  # gray levels, which nobody sees
NOISY_COPIES = 8
_AT_ONCE = 256


@dataclass(frozen=True)
class Curve:
    """The target's probability while the face is covered (deletion) or uncovered (insertion), cell by cell.

    shares   float (STEPS + 1,), of the cells that were changed
    values   float (STEPS + 1,), in the order of the map
    random   float (RANDOM_ORDERS, STEPS + 1), in random orders
    """

    shares: np.ndarray
    values: np.ndarray
    random: np.ndarray

    @property
    def area(self) -> float:
        """Under the curve, 0..1."""
        return float(np.trapezoid(self.values, self.shares))

    @property
    def random_areas(self) -> np.ndarray:
        return np.asarray(np.trapezoid(self.random, self.shares, axis=1))


@dataclass(frozen=True)
class Randomisation:
    """How like itself the map stays while layer after layer, from the last one on, has its weights shuffled.

    layers       as they were shuffled, the last layer of the network first
    correlation  float (layers,): rank correlation of the absolute maps, mean over `SHUFFLES`
    ssim         float (layers,): structural similarity of the absolute maps, mean over `SHUFFLES`
    """

    layers: tuple[str, ...]
    correlation: np.ndarray
    ssim: np.ndarray


# -- deletion and insertion (Petsiuk, Das & Saenko 2018) -------------------------------------------


def deletion_curve(ask: Question, order: np.ndarray, seed: int = 0) -> Curve:
    """The face is covered with mean gray, where `order` (48, 48) is highest first."""
    import torch

    return _curve(ask, ask.inputs.detach(), torch.zeros_like(ask.inputs), order, seed)


def insertion_curve(ask: Question, order: np.ndarray, seed: int = 0) -> Curve:
    """The face is blurred and comes into focus, where `order` (48, 48) is highest first."""
    from torchvision.transforms.v2.functional import gaussian_blur

    face = ask.inputs.detach()
    return _curve(ask, gaussian_blur(face, kernel_size=[4 * int(BLUR) + 1] * 2, sigma=[BLUR] * 2), face, order, seed)


def _curve(ask: Question, before: Tensor, after: Tensor, order: np.ndarray, seed: int) -> Curve:
    import torch

    rng, cells = np.random.default_rng(seed), cell_means(order)
    orders = np.stack([np.argsort(-cells, kind="stable"), *(rng.permutation(len(cells)) for _ in range(RANDOM_ORDERS))])
    place = orders.argsort(axis=1)  # (orders, cells): when each cell's turn comes
    shares = np.linspace(0, 1, STEPS + 1)
    done = place[:, None] < shares[:, None] * len(cells)  # (orders, STEPS + 1, cells)
    masks = torch.from_numpy(_over_cells(done.reshape(-1, len(cells)))).to(before.device)
    values = [
        _probability(ask, torch.where(part[:, None], after, before)).cpu().numpy()
        for part in _parts(masks)  # (part, 1, 48, 48)
    ]
    curves = np.concatenate(values).reshape(len(orders), -1)
    return Curve(shares, curves[0], curves[1:])


def _probability(ask: Question, inputs: Tensor) -> Tensor:
    """Of the target among all emotions, or among the two that are compared: float32 (B,)."""
    import torch

    with torch.no_grad():
        logits: Tensor = ask.model(inputs)
    weights = ask.weights[0]
    return (logits @ weights).sigmoid() if (weights < 0).any() else logits.softmax(dim=1) @ weights


def cell_means(values: np.ndarray) -> np.ndarray:
    """(48, 48) -> the mean of each cell of `CELL` x `CELL` pixels, row by row: (144,)."""
    side = FACE_SIZE // CELL
    return np.asarray(values.reshape(side, CELL, side, CELL).mean(axis=(1, 3)).ravel())


def _over_cells(cells: np.ndarray) -> np.ndarray:
    """(N, 144) -> (N, 48, 48): each cell's value on all of its pixels."""
    side = FACE_SIZE // CELL
    return cells.reshape(-1, side, side).repeat(CELL, axis=1).repeat(CELL, axis=2)


def _parts(tensor: Tensor) -> Iterator[Tensor]:
    for start in range(0, len(tensor), _AT_ONCE):
        yield tensor[start : start + _AT_ONCE]


# -- cascading randomisation (Adebayo et al. 2018) -------------------------------------------------


def randomise(
    ask: Question,
    method: Method,
    values: np.ndarray,
    seed: int = 0,
    report: Callable[[float], object] = lambda _: None,
) -> Randomisation:
    """Compares the map `values` (48, 48) with those of copies of the network with shuffled weights."""
    import torch

    layers = _weighted_layers(ask.model)
    likeness = np.zeros((SHUFFLES, len(layers), 2))
    for repeat in range(SHUFFLES):
        twin, generator = copy.deepcopy(ask.model), torch.Generator().manual_seed(seed + repeat)
        modules = dict(twin.named_modules())
        for i, names in enumerate(layers.values()):
            for name in names:
                shuffle(modules[name], generator)
            other = maps_of(method, replace(ask, model=twin)).mean(axis=0)[0]
            likeness[repeat, i] = rank_correlation(np.abs(values), np.abs(other)), ssim(np.abs(values), np.abs(other))
            report((repeat * len(layers) + i + 1) / (SHUFFLES * len(layers)))
    correlation, similarity = likeness.mean(axis=0).T
    return Randomisation(tuple(layers), correlation, similarity)


def _weighted_layers(model: nn.Module) -> dict[str, list[str]]:
    """The layers by the names that menus show, from the last one defined to the first: each the modules whose weights
    are shuffled together, a convolution or matrix and what norms follow it."""
    layers: dict[str, list[str]] = {}
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if any(parameter.dim() > 1 for parameter in own) or (own and not layers):
            layers[name.removesuffix(".conv")] = [name]
        elif own:
            layers[next(reversed(layers))].append(name)
    return dict(reversed(layers.items()))


def shuffle(module: nn.Module, generator: torch.Generator) -> None:
    """Brings the numbers of each of a module's own weights and statistics into random order; they stay as large."""
    import torch

    for tensor in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
        order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
        tensor.data = tensor.data.flatten()[order].view(tensor.shape)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, with mean ranks for ties; 0 where one of the two is constant or not finite."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()) or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(pd.Series(a.ravel()).rank(), pd.Series(b.ravel()).rank())[0, 1])


def ssim(a: np.ndarray, b: np.ndarray, window: int = 7) -> float:
    """Structural similarity (Wang et al. 2004) of two maps (H, W), each divided by its maximum, over square windows."""
    if not (a.max() > 0 and b.max() > 0 and np.isfinite(a).all() and np.isfinite(b).all()):
        return 0.0
    x, y = a / a.max(), b / b.max()

    def mean(values: np.ndarray) -> np.ndarray:
        views = np.lib.stride_tricks.sliding_window_view(values, (window, window))
        return np.asarray(views.mean(axis=(2, 3)))

    mx, my = mean(x), mean(y)
    vx, vy, covariance = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    local = (2 * mx * my + c1) * (2 * covariance + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return float(local.mean())


# -- infidelity and sensitivity (Yeh et al. 2019) --------------------------------------------------


def infidelity(ask: Question, method: Method, values: np.ndarray, seed: int = 0) -> tuple[float, np.ndarray]:
    """Of the map `values` (48, 48), and of the same with its cells in random order, (RANDOM_ORDERS,): the mean squared
    error with which the map foretells how the score changes when a random square is covered, the map scaled as suits
    it best, as a share of the mean square of those changes.

    Captum's measure with `normalize=True`, but that the scale is never negative: a map that foretells the opposite of
    what happens accounts for nothing.
    """
    import torch

    rng, face = np.random.default_rng(seed), ask.inputs.detach()
    maps = np.stack([values, *(_shuffled_cells(values, rng) for _ in range(RANDOM_ORDERS))])
    squares = torch.from_numpy(random_squares(SQUARES, rng)).to(face)[:, None]  # each map sees the same
    scores = ask.scores(torch.cat([face, face * (1 - squares)])[:, None])[:, 0]
    lost = (scores[0] - scores[1:]).double().cpu().numpy()  # (SQUARES,)
    weights = (face * squares if method.per_gray else squares).flatten(1).double().cpu().numpy()
    told = weights @ maps.reshape(len(maps), -1).T  # (SQUARES, maps)
    size = (told**2).sum(axis=0)
    scale = np.divide(lost @ told, size, out=np.zeros(len(maps)), where=size > 0).clip(min=0)
    errors, all_lost = ((scale * told - lost[:, None]) ** 2).sum(axis=0), (lost**2).sum()
    shares = errors / all_lost if all_lost > 0 else np.ones(len(maps))
    return float(shares[0]), shares[1:]


def random_squares(count: int, rng: np.random.Generator) -> np.ndarray:
    """Masks float32 (count, 48, 48): 1 on a square of 8 to 20 pixels a side somewhere on the face."""
    sides = rng.integers(8, 21, count)
    tops, lefts = rng.integers(0, FACE_SIZE + 1 - sides), rng.integers(0, FACE_SIZE + 1 - sides)
    at = np.arange(FACE_SIZE)
    rows = (at >= tops[:, None]) & (at < (tops + sides)[:, None])
    columns = (at >= lefts[:, None]) & (at < (lefts + sides)[:, None])
    return (rows[:, :, None] & columns[:, None]).astype(np.float32)


def _shuffled_cells(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The map with its cells of `CELL` x `CELL` pixels in random order."""
    side = FACE_SIZE // CELL
    cells = values.reshape(side, CELL, side, CELL).swapaxes(1, 2).reshape(-1, CELL, CELL)
    mixed = cells[rng.permutation(len(cells))].reshape(side, side, CELL, CELL)
    return mixed.swapaxes(1, 2).reshape(FACE_SIZE, FACE_SIZE)


def sensitivity_of(ask: Question, method: Method, seed: int = 0) -> float:
    """The largest change of the map (Frobenius norm, as a share of the map's) over `NOISY_COPIES` of the face, by
    Captum."""
    import torch
    from captum.metrics import sensitivity_max

    generator = torch.Generator().manual_seed(seed)

    def noisy(inputs: Tensor, radius: float) -> Tensor:
        noise = torch.rand(inputs.shape, generator=generator).to(inputs)
        return inputs + (2 * noise - 1) * radius

    def explain(inputs: Tensor | tuple[Tensor]) -> Tensor:
        inputs = inputs[0] if isinstance(inputs, tuple) else inputs  # Captum passes the face itself in a tuple
        with torch.enable_grad():
            again = inputs.detach().requires_grad_()
            maps = method.function(replace(ask, inputs=again, weights=ask.weights.expand(len(inputs), -1)))
        return maps.detach()[:, None]

    change = sensitivity_max(explain, ask.inputs.detach(), noisy, NOISE / ask.gray, NOISY_COPIES)
    return float(change.max())
