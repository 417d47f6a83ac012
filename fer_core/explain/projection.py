"""Features drawn as a map: two principal components, or UMAP; and one map laid over another.

A map of two dimensions leaves most of the space out: what is near on it need not be near in the space (`neighbours`
tells that), and between UMAP's islands distances mean nothing.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from fer_core.data import FaceDataset
from fer_core.data.cache import moved_into_place
from fer_core.errors import ConfigError
from fer_core.explain.embedding import cache_file
from fer_core.explain.neighbours import normalised
from fer_core.runs import Run

_BLOCK, _STEPS, _SETTLED = 8, 40, 1e-7  # directions a step, at most so many steps, relative change at which to stop
NEIGHBOURS, MIN_DIST = 15, 0.1  # UMAP's defaults
_BEFORE_UMAP = 50  # principal components that UMAP is given, as is usual


@dataclass(frozen=True, eq=False)
class Components:
    """The principal components of features (N, D), the one with the largest variance first.

    coordinates  float32 (N, k), with mean 0
    axes         float32 (k, D), orthonormal; the entry of each that is largest in size is positive
    shares       float64 (k,): of the features' whole variance, how much lies along each
    """

    coordinates: np.ndarray
    axes: np.ndarray
    shares: np.ndarray


def principal_components(features: np.ndarray, count: int = 2) -> Components:
    """The first `count` principal components of features float32 (N, D); zeros where there are fewer.

    By block Lanczos with full reorthogonalisation (Golub & Underwood 1977): a few passes over the features instead of
    a covariance matrix, which for D = 7776 would take a minute.
    """
    n, width = features.shape
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    total = sum(float(np.square(part - mean, dtype=np.float64).sum()) for part in _parts(features))
    size = min(max(_BLOCK, count + 6), n, width)
    basis = np.empty((width, 0), np.float32)  # orthonormal columns
    images = np.empty((n, 0), np.float32)  # the centred features times the basis
    mixed = np.random.default_rng(0).standard_normal((n, size)).astype(np.float32)
    block, before = features.T @ (mixed - mixed.mean(axis=0)), np.zeros(count)
    for _ in range(_STEPS):
        block = _orthonormal(block, basis)[:, : min(n, width) - basis.shape[1]]
        image = features @ block - mean @ block
        basis, images = np.hstack([basis, block]), np.hstack([images, image])
        squares, turn = np.linalg.eigh(images.T.astype(np.float64) @ images)  # ascending
        largest = np.maximum(squares[::-1][:count], 0)
        is_settled = len(before) == len(largest) and bool(np.allclose(largest, before, rtol=_SETTLED, atol=0))
        if is_settled or basis.shape[1] >= min(n, width):
            break
        before = largest
        block = features.T @ image - np.outer(mean, image.sum(axis=0))
    turn = turn[:, ::-1][:, :count].astype(np.float32)
    axes = _padded((basis @ turn).T, count)
    signs = np.sign(axes[np.arange(count), np.abs(axes).argmax(axis=1)])
    coordinates = _padded((images @ turn).T, count).T * np.where(signs == 0, 1, signs)
    shares = _padded(largest[:, None], count)[:, 0] / (total or 1.0)
    return Components(coordinates, axes * signs[:, None], shares)


def _parts(features: np.ndarray, rows: int = 2048) -> list[np.ndarray]:
    return [features[start : start + rows] for start in range(0, len(features), rows)]


def _orthonormal(block: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """An orthonormal basis of what `block` adds to `basis`; twice, since once leaves rounding behind."""
    for _ in range(2):
        block = np.linalg.qr(block - basis @ (basis.T @ block))[0]
    return block


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    return np.pad(rows, ((0, count - len(rows)), (0, 0)))


# -- UMAP ------------------------------------------------------------------------------------------


def known_umap(run: Run, epoch: int, faces: FaceDataset) -> np.ndarray | None:
    """The map float32 (N, 2) that `umap_of` made before; None where the cache has none. Raises CheckpointError."""
    try:
        stored: np.ndarray = np.load(cache_file(run, epoch, faces, "umap"), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return stored if stored.shape == (len(faces), 2) else None


def umap_of(
    run: Run,
    epoch: int,
    faces: FaceDataset,
    features: np.ndarray,
    report: Callable[[float], object] | None = None,
) -> np.ndarray:
    """`umap_map` of the features of `faces` under a kept epoch; computed once, then cached."""
    known = known_umap(run, epoch, faces)
    if known is not None:
        return known
    made = umap_map(features, report=report)
    with suppress(OSError), moved_into_place(cache_file(run, epoch, faces, "umap")) as stream:
        np.save(stream, made)
    return made


def umap_map(features: np.ndarray, seed: int = 0, report: Callable[[float], object] | None = None) -> np.ndarray:
    """UMAP (McInnes et al. 2018) of features (N, D): float32 (N, 2), the same each time on the same machine.

    The features are scaled to length 1, so that distances rank as the cosine's do, then reduced to 50 principal
    components; 15 neighbours, minimum distance 0.1. report: called with the share of the optimisation done, 0..1.
    Raises ConfigError where the package umap-learn is missing, or where there are fewer than three faces.
    """
    if len(features) < 3:
        raise ConfigError(f"UMAP needs at least 3 faces, not {len(features)}; PCA shows fewer too.")
    try:
        from umap import UMAP
    except ImportError as error:
        raise ConfigError('UMAP needs the package umap-learn: pip install -e ".[umap]" installs it.') from error
    reduced = principal_components(normalised(features), min(_BEFORE_UMAP, *features.shape)).coordinates
    method = UMAP(
        n_neighbors=min(NEIGHBOURS, len(features) - 1),
        min_dist=MIN_DIST,
        init="spectral" if len(features) > 50 else "random",  # the spectral one needs more faces than dimensions
        random_state=seed,
        n_jobs=1,  # what a seed needs
        tqdm_kwds={"file": _Bar(report), "disable": report is None, "bar_format": "{n} {total}", "mininterval": 0.2},
    )
    made: np.ndarray = method.fit_transform(reduced)
    return made.astype(np.float32)


class _Bar(io.StringIO):
    """What umap-learn writes its progress to."""

    def __init__(self, report: Callable[[float], object] | None) -> None:
        super().__init__()
        self.report = report

    def write(self, text: str) -> int:
        words = text.split()
        if self.report and len(words) == 2 and all(word.isdigit() for word in words):
            self.report(int(words[0]) / int(words[1]))
        return len(text)


# -- one map over another --------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Alignment:
    """A map turned, mirrored, moved and scaled to the spread of another, so that its points come as near as can be to
    the other's.

    coordinates  float32 (N, 2)
    likeness     the squared Procrustes correlation, 0..1: 1 where the maps are the same but for these changes, 0 where
                 they have nothing in common
    """

    coordinates: np.ndarray
    likeness: float


def aligned(coordinates: np.ndarray, onto: np.ndarray) -> Alignment:
    """Lay a map (N, 2) over another of the same faces by orthogonal Procrustes (Schönemann 1966).

    Its spread (root mean square distance from the middle) becomes the other's: the scale of least squares would shrink
    a map that has little in common with the other to a dot.
    """
    moved, fixed = (each - each.mean(axis=0) for each in (coordinates.astype(np.float64), onto.astype(np.float64)))
    left, sizes, right = np.linalg.svd(moved.T @ fixed)
    own, other = float(np.square(moved).sum()), float(np.square(fixed).sum())
    scale = (other / own) ** 0.5 if own else 1.0
    likeness = float(sizes.sum() ** 2 / (own * other)) if own and other else 0.0
    laid = scale * moved @ (left @ right) + onto.mean(axis=0)
    return Alignment(laid.astype(np.float32), min(likeness, 1.0))
