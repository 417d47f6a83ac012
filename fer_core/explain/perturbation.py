"""Methods that cover parts of the face and watch the score. Covered means the mean gray of the training faces.

Each takes a `Question` and returns a map a face, float32 (N, 48, 48), in logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fer_core.preprocess import FACE_SIZE

if TYPE_CHECKING:  # captum and torch take seconds to import, and the list of methods does not need them
    from torch import Tensor

    from fer_core.explain.score import Question

OCCLUSION_WINDOW = 8  # pixels a side
OCCLUSION_STRIDE = 4
LIME_PATCHES = 6  # a side: 36 a face, of 8x8 pixels
SUPERPIXEL_GRAY = 20.0  # gray levels that part two pixels as much as the width of a patch does
SUPERPIXEL_ROUNDS = 10
LIME_SAMPLES = 256  # covered faces that one fit learns from
LIME_REPEATS = 3  # fits with other samples; their mean is the map
LIME_WIDTH = 0.25  # of the kernel that weighs samples by how little is covered; as in LIME for images
LIME_RIDGE = 1.0
_AT_ONCE = 512  # images that go through the network together


def occlusion(ask: Question) -> Tensor:
    """How much the score falls when a window over the pixel is covered, averaged over the windows that hold it."""
    from captum.attr import Occlusion

    from fer_core.explain.score import Score

    maps: Tensor = Occlusion(Score(ask.model)).attribute(
        ask.inputs,
        sliding_window_shapes=(1, OCCLUSION_WINDOW, OCCLUSION_WINDOW),
        strides=(1, OCCLUSION_STRIDE, OCCLUSION_STRIDE),
        baselines=0.0,
        additional_forward_args=ask.weights,
        perturbations_per_eval=max(1, _AT_ONCE // len(ask.inputs)),
    )
    return maps.detach().sum(dim=1)


def lime(ask: Question) -> Tensor:
    """What each patch adds to the score, by a linear model of the face with patches covered at random."""
    return lime_fits(ask).mean(dim=0)


def lime_superpixels(ask: Question) -> Tensor:
    """The same over superpixels, whose borders follow each face's own edges."""
    return lime_superpixel_fits(ask).mean(dim=0)


def lime_fits(ask: Question) -> Tensor:
    """The maps of `LIME_REPEATS` fits, each to other samples: float32 (repeats, N, 48, 48)."""
    return _fits(ask, np.broadcast_to(patches(), (len(ask.inputs), FACE_SIZE, FACE_SIZE)))


def lime_superpixel_fits(ask: Question) -> Tensor:
    """As `lime_fits`, over superpixels."""
    gray = ask.inputs.detach()[:, 0].cpu().numpy() * ask.gray
    return _fits(ask, np.stack([superpixels(face) for face in gray]))


def _fits(ask: Question, pieces: np.ndarray) -> Tensor:
    """The fits over the pieces of each face, int64 (N, 48, 48): float32 (repeats, N, 48, 48)."""
    import torch

    segments = torch.from_numpy(pieces.copy()).to(ask.inputs.device)
    fits = []
    for repeat in range(LIME_REPEATS):
        samples = np.random.default_rng((ask.seed, repeat)).random((LIME_SAMPLES, LIME_PATCHES**2)) < 0.5
        kept = torch.from_numpy(samples).to(ask.inputs.device)
        weights = fit(kept, covered_scores(ask, segments, kept))  # (patches, N)
        fits.append(weights.T.gather(1, segments.flatten(1)).view(segments.shape))  # (N, 48, 48)
        ask.report((repeat + 1) / LIME_REPEATS)
    return torch.stack(fits)


def covered_scores(ask: Question, segments: Tensor, kept: Tensor) -> Tensor:
    """The score of every face under every sample: segments int64 (48, 48), or (N, 48, 48) with each face cut in its own
    way, kept bool (samples, segments) -> float32 (samples, N)."""
    import torch

    parts, size = [], max(1, _AT_ONCE // len(ask.inputs))
    for start in range(0, len(kept), size):
        shown = kept[start : start + size][:, segments.expand(len(ask.inputs), -1, -1)]  # (size, N, 48, 48)
        parts.append(ask.scores(ask.inputs.detach() * shown[:, :, None]))
    return torch.cat(parts)


def fit(kept: Tensor, scores: Tensor, ridge: float = LIME_RIDGE) -> Tensor:
    """LIME's local model (Ribeiro et al. 2016): ridge regression of the scores (samples, N) on what was kept (samples,
    segments), samples weighted by how near they are to the whole face. Returns the weights (segments, N)."""
    import torch

    x, y = kept.double(), scores.double()
    distance = 1 - x.mean(dim=1).sqrt()  # cosine distance to the whole face: all ones
    near = torch.exp(-(distance**2) / LIME_WIDTH**2)[:, None]
    x, y = x - (near * x).sum(dim=0) / near.sum(), y - (near * y).sum(dim=0) / near.sum()  # in place of an intercept
    penalty = ridge * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weights: Tensor = torch.linalg.solve(x.T @ (near * x) + penalty, x.T @ (near * y))
    return weights.float()


def patches(side: int = LIME_PATCHES) -> np.ndarray:
    """The face cut into side² squares, numbered row by row: int64 (48, 48)."""
    at = np.arange(FACE_SIZE) * side // FACE_SIZE
    return np.asarray(at[:, None] * side + at)


def superpixels(face: np.ndarray, side: int = LIME_PATCHES) -> np.ndarray:
    """A face, gray levels float (48, 48), cut into at most side² pieces of like pixels: int64 (48, 48).

    SLIC (Achanta et al. 2012): k-means over place and gray, from the squares on. Pieces are not made connected.
    """
    row, column = np.mgrid[:FACE_SIZE, :FACE_SIZE] * side / FACE_SIZE
    points = np.stack([row, column, face / SUPERPIXEL_GRAY], axis=-1).reshape(-1, 3)
    of = patches(side).ravel()
    for _ in range(SUPERPIXEL_ROUNDS):
        sizes = np.maximum(np.bincount(of, minlength=side**2), 1)
        centres = np.stack([np.bincount(of, values, side**2) for values in points.T], axis=1) / sizes[:, None]
        centres[np.bincount(of, minlength=side**2) == 0] = np.inf  # a piece that lost all its pixels stays empty
        of = ((points[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    return of.reshape(face.shape)
