"""Faces that stand in a data set more than once: exactly, pixel by pixel, or nearly (another crop, size, brightness or
compression of the same photograph, a mirror image, a watermark).

Near duplicates are found in two steps. A descriptor of 56 numbers, the magnitudes of the lowest spatial frequencies
under a window, hardly changes with a shift and not at all with mirroring: pairs that lie close in it are candidates.
Each candidate is checked on its pixels: their correlation, after a band-pass that takes away lighting and noise, must
reach `THRESHOLD` at the best shift of up to 2 pixels, mirrored or not. Blank faces are left out of this search.

The threshold was set on FER2013: of 14 pairs looked at in each step of similarity, all were the same photograph down to
0.80; below 0.77 other people begin. `tests/data/test_duplicates.py` measures recall and precision on planted ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fer_core.data.keys import face_keys
from fer_core.data.quality import BLANK_BELOW
from fer_core.labels import UNLABELLED
from fer_core.preprocess import FACE_SIZE

THRESHOLD = 0.85  # of the correlation of two near duplicates
RADIUS = 1.8  # in the descriptor's space; two different faces of FER2013 lie 2.2 to 4 apart
_CYCLES = 6  # highest spatial frequency of the descriptor, in cycles a face
_SHIFT = 2  # pixels that two near duplicates may be shifted against one another, on each axis
_TILE = 4096  # descriptors compared with as many others at a time: 64 MB of distances
_ONE_CELL = 60_000  # up to so many faces all are compared with all
_CELL = 8192  # beyond, each with those of the 3 nearest of many cells, of about so many faces
_PROBES = 3

Report = Callable[[float], object]


@dataclass(frozen=True, eq=False)
class Groups:
    """Which faces belong together. `of` int (N,): the number of each face's group, -1 where it stands alone.

    links  float32 (G,): the correlation of the weakest link that holds each group together; 1 for exact copies
    """

    of: np.ndarray
    links: np.ndarray

    def __len__(self) -> int:
        return len(self.links)

    @cached_property
    def members(self) -> list[np.ndarray]:
        """The rows of each group, int, ascending."""
        order = np.argsort(self.of, kind="stable")
        order = order[np.searchsorted(self.of[order], 0) :]
        return np.split(order, np.cumsum(np.bincount(self.of[order], minlength=len(self)))[:-1]) if len(self) else []

    @property
    def extra_copies(self) -> int:
        """How many faces could go so that one of each group stays."""
        return int((self.of >= 0).sum()) - len(self)

    def conflicting(self, emotions: np.ndarray) -> np.ndarray:
        """int: the groups whose labelled faces do not all have one label. `emotions` int8 (N,)."""
        known = (self.of >= 0) & (emotions != UNLABELLED)
        low = np.full(len(self), 127, np.int8)
        high = np.full(len(self), -1, np.int8)
        np.minimum.at(low, self.of[known], emotions[known])
        np.maximum.at(high, self.of[known], emotions[known])
        return np.flatnonzero(low < high)

    def with_a_face_in(self, wanted: np.ndarray) -> np.ndarray:
        """bool (N,): the faces whose group also has a face among `wanted`, bool (N,)."""
        there = np.zeros(len(self) + 1, bool)  # the last for those that stand alone
        there[self.of[wanted & (self.of >= 0)]] = True
        return np.asarray(there[self.of])

    def among(self, rows: np.ndarray) -> Groups:
        """The groups within some rows int (n,), ascending: those that keep at least two faces."""
        kept, inverse, counts = np.unique(self.of[rows], return_inverse=True, return_counts=True)
        stays = (kept >= 0) & (counts > 1)
        number = np.where(stays, np.cumsum(stays) - 1, -1).astype(np.int32)
        return Groups(number[inverse], self.links[kept[stays]])

    def leaks(self, splits: np.ndarray, n_splits: int) -> np.ndarray:
        """int (n_splits, n_splits): [a, b] is how many faces of split a belong to a group with a face in split b;
        [a, a]: that have another one in their own split. `splits` int8 (N,)."""
        rows = np.flatnonzero(self.of >= 0)
        cells = self.of[rows].astype(np.int64) * n_splits + splits[rows]
        counts = np.bincount(cells, minlength=len(self) * n_splits).reshape(-1, n_splits)
        there = counts > 0
        leaks = counts.T @ there
        np.fill_diagonal(leaks, (counts * (counts > 1)).sum(axis=0))
        return np.asarray(leaks)


def exact_duplicates(keys: np.ndarray) -> Groups:
    """Groups of faces with the same pixels, from their `face_keys` uint64 (N,)."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    number = np.where(counts > 1, np.cumsum(counts > 1) - 1, -1)
    return Groups(number[inverse].astype(np.int32), np.ones(int((counts > 1).sum()), np.float32))


def copies(exact: Groups, near: Groups) -> Groups:
    """Groups of faces that are copies of one another in either way. Exact copies share their near duplicates, so a
    group of `exact` lies within one of `near` or outside of all."""
    alone = near.of < 0
    rows = np.flatnonzero(alone)
    rest = exact.among(rows)
    of = near.of.copy()
    of[rows] = np.where(rest.of >= 0, rest.of + len(near), -1)
    return Groups(of, np.concatenate([near.links, rest.links]))


def near_duplicates(
    images: np.ndarray, keys: np.ndarray | None = None, threshold: float = THRESHOLD, report: Report | None = None
) -> Groups:
    """Groups of faces that are linked by near-duplicate pairs, exact copies of them included: at least two different
    pictures in each group.

    images uint8 (N, 48, 48), may be memory-mapped; keys: their `face_keys` where they are known already. A group is
    what can be reached from pair to pair, so its two most different faces may be less alike than `threshold`.
    """
    keys = face_keys(images) if keys is None else keys
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    descriptors, visible = _described(images, first, report)
    forest = _Forest(len(first))
    for share, left, right in _close_pairs(descriptors):
        left, right = visible[left], visible[right]
        apart = forest.roots(left) != forest.roots(right)
        left, right = left[apart], right[apart]
        for start in range(0, len(left), 1024):
            a, b = left[start : start + 1024], right[start : start + 1024]
            alike = correlation(images[first[a]], images[first[b]])
            for i in np.flatnonzero(alike >= threshold):
                forest.join(int(a[i]), int(b[i]), float(alike[i]))
        if report:
            report(0.2 + 0.8 * share)
    return _groups(forest, inverse)


def describe_faces(images: np.ndarray) -> np.ndarray:
    """uint8 (B, 48, 48) -> float32 (B, 56): roots of the magnitudes of the frequencies of up to 6 cycles a face, under
    a Hann window, relative to the face's contrast. Of each pair (u, v), (-u, v), which mirroring swaps, first the lower
    value, then the higher.
    """
    n, k = len(images), _CYCLES + 1
    x = images.reshape(n, FACE_SIZE**2).astype(np.float32)
    x -= (x @ _WINDOW.ravel() / _WINDOW.sum())[:, None]
    energy = np.square(x) @ np.square(_WINDOW).ravel()
    rows = (x.reshape(-1, FACE_SIZE) @ _WAVES).reshape(n, FACE_SIZE, 2 * k)
    both = np.matmul(_WAVES.T, rows)  # (B, 2k, 2k): cosine and sine along y, then along x
    cc, cs, sc, ss = both[:, :k, :k], both[:, :k, k:], both[:, k:, :k], both[:, k:, k:]
    one, other = np.hypot(cc - ss, cs + sc)[:, _U, _V], np.hypot(cc + ss, cs - sc)[:, _U, _V]
    low, high = np.minimum(one, other), np.maximum(one, other)
    scale = np.sqrt(np.sqrt(energy) + 1e-3)[:, None]
    return np.asarray(np.concatenate([np.sqrt(low[:, (_U > 0) & (_V > 0)]), np.sqrt(high)], axis=1) / scale)


def correlation(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """How alike two pictures are, pair by pair: the highest Pearson correlation, over shifts of up to 2 pixels and both
    ways round, of the band-passed pixels (Gaussians of 1 and 5 pixels). uint8 (B, 48, 48) twice -> float32 (B,)."""
    a, b = _band_passed(left), _band_passed(right)
    inner = slice(_SHIFT, FACE_SIZE - _SHIFT)
    middle = a[:, inner, inner]
    middle = middle - middle.mean(axis=(1, 2), keepdims=True)
    size = np.sqrt(np.square(middle).sum(axis=(1, 2)))
    spectrum = np.fft.rfft2(middle, (FACE_SIZE, FACE_SIZE)).conj()
    best = np.full(len(a), -1.0, np.float32)
    for seen in (b, b[:, :, ::-1]):
        overlap = np.fft.irfft2(np.fft.rfft2(seen) * spectrum, (FACE_SIZE, FACE_SIZE))
        overlap = overlap[:, : 2 * _SHIFT + 1, : 2 * _SHIFT + 1]
        spread = _window_sums(np.square(seen)) - np.square(_window_sums(seen)) / middle[0].size
        values = overlap / (np.sqrt(np.maximum(spread, 1e-6)) * np.maximum(size, 1e-3)[:, None, None])
        best = np.maximum(best, values.max(axis=(1, 2)))
    return np.asarray(best, np.float32)


# -- the descriptor's waves and the band-pass as matrices ----------------------------------------------------------

_HANN = np.hanning(FACE_SIZE + 2)[1:-1]
_WINDOW = np.outer(_HANN, _HANN).astype(np.float32)
_PHASES = 2 * np.pi * np.outer(np.arange(FACE_SIZE), np.arange(_CYCLES + 1)) / FACE_SIZE
_WAVES = (np.concatenate([np.cos(_PHASES), np.sin(_PHASES)], axis=1) * _HANN[:, None]).astype(np.float32)
_U, _V = (
    axis.ravel()[[0 < u * u + v * v <= _CYCLES**2 for u in range(_CYCLES + 1) for v in range(_CYCLES + 1)]]
    for axis in np.mgrid[: _CYCLES + 1, : _CYCLES + 1]
)


def _blur(sigma: float) -> np.ndarray:
    """A Gaussian along one axis, mirrored at the ends: float32 (48, 48)."""
    at, far = np.arange(FACE_SIZE), np.arange(-FACE_SIZE, 2 * FACE_SIZE)
    weights = np.exp(-((at[:, None] - far) ** 2) / (2 * sigma**2))
    weights /= weights.sum(axis=1, keepdims=True)
    before, here, after = np.split(weights, 3, axis=1)
    return np.asarray(here + before[:, ::-1] + after[:, ::-1], np.float32)


_FINE, _COARSE = _blur(1.0), _blur(5.0)


def _band_passed(images: np.ndarray) -> np.ndarray:
    x = images.astype(np.float32)
    return np.asarray(_FINE @ x @ _FINE.T - _COARSE @ x @ _COARSE.T)


def _window_sums(x: np.ndarray) -> np.ndarray:
    """Sums over the 44x44 windows at each shift: (B, 48, 48) -> (B, 5, 5)."""
    sums = np.pad(x, ((0, 0), (1, 0), (1, 0))).cumsum(axis=1, dtype=np.float64).cumsum(axis=2)
    width, ends = FACE_SIZE - 2 * _SHIFT, 2 * _SHIFT + 1
    far, near = sums[:, width : width + ends], sums[:, :ends]
    return np.asarray((far - near)[:, :, width : width + ends] - (far - near)[:, :, :ends])


# -- candidates -------------------------------------------------------------------------------------------------------


def _described(images: np.ndarray, first: np.ndarray, report: Report | None) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors of the different pictures that are not blank, and which of `first` those are."""
    found = np.empty((len(first), describe_faces(images[:0]).shape[1]), np.float32)
    visible, count = np.empty(len(first), np.int64), 0
    for start in range(0, len(first), _TILE):
        block = images[first[start : start + _TILE]]
        seen = np.flatnonzero(block.std(axis=(1, 2), dtype=np.float32) >= BLANK_BELOW)
        found[count : count + len(seen)] = describe_faces(block[seen])
        visible[count : count + len(seen)] = start + seen
        count += len(seen)
        if report:
            report(0.2 * (start + len(block)) / len(first))
    return found[:count], visible[:count]


def _close_pairs(descriptors: np.ndarray) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
    """Pairs within RADIUS, tile by tile: the share done, and the rows of both. Beyond `_ONE_CELL` faces a pair is seen
    where the nearest cell of one is among the three nearest of the other."""
    n = len(descriptors)
    if n <= _ONE_CELL:
        yield from _within(descriptors, np.arange(n), np.arange(0), 0.0, 1.0)
        return
    cells = -(-n // _CELL)
    pivots = descriptors[np.random.default_rng(0).choice(n, cells, replace=False)]
    nearest = np.empty((n, _PROBES), np.int32)  # the nearest cell first
    for start in range(0, n, _TILE):
        square = _squares(descriptors[start : start + _TILE], pivots)
        some = np.argpartition(square, _PROBES, axis=1)[:, :_PROBES]
        order = np.take_along_axis(square, some, axis=1).argsort(axis=1)
        nearest[start : start + _TILE] = np.take_along_axis(some, order, axis=1)
    for cell in range(cells):
        at_home = np.flatnonzero(nearest[:, 0] == cell)
        visitors = np.flatnonzero((nearest[:, 1:] == cell).any(axis=1))
        yield from _within(descriptors, at_home, visitors, cell / cells, 1 / cells)


def _within(
    descriptors: np.ndarray, rows: np.ndarray, others: np.ndarray, begun: float, share: float
) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
    """Pairs among `rows`, and between `rows` and `others`."""
    everyone = np.concatenate([rows, others])
    for i in range(0, len(rows), _TILE):
        mine = rows[i : i + _TILE]
        for j in range(i, len(everyone), _TILE):
            theirs = everyone[j : j + _TILE]
            square = _squares(descriptors[mine], descriptors[theirs])
            a, b = np.divmod(np.flatnonzero(square < RADIUS**2), len(theirs))
            once = j + b > i + a
            yield begun + share * min(1.0, (i + _TILE) / len(rows)), mine[a[once]], theirs[b[once]]


def _squares(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared distances of descriptors (A, D) and (B, D): float32 (A, B), in one matrix product."""
    left = np.concatenate([-2 * some, np.square(some).sum(axis=1, keepdims=True), np.ones((len(some), 1))], axis=1)
    right = np.concatenate([others, np.ones((len(others), 1)), np.square(others).sum(axis=1, keepdims=True)], axis=1)
    return np.asarray(left.astype(np.float32) @ right.astype(np.float32).T)


# -- groups -----------------------------------------------------------------------------------------------------------


class _Forest:
    """Union-find over n faces that remembers the links which joined two groups."""

    def __init__(self, n: int) -> None:
        self.parent = np.arange(n)
        self.links: list[tuple[int, float]] = []

    def roots(self, faces: np.ndarray) -> np.ndarray:
        """The group of each face, int; halves the paths on the way."""
        while True:
            above = self.parent[self.parent[faces]]
            if (above == self.parent[faces]).all():
                return np.asarray(above)
            self.parent[faces] = above

    def join(self, a: int, b: int, alike: float) -> None:
        a, b = (int(self.roots(np.array([face]))[0]) for face in (a, b))
        if a != b:
            self.parent[max(a, b)] = min(a, b)
            self.links.append((min(a, b), alike))


def _groups(forest: _Forest, inverse: np.ndarray) -> Groups:
    roots = forest.roots(np.arange(len(forest.parent)))
    linked = np.unique(roots[[face for face, _ in forest.links]]) if forest.links else np.empty(0, np.int64)
    number = np.full(len(roots), -1, np.int32)
    number[linked] = np.arange(len(linked), dtype=np.int32)
    links = np.ones(len(linked), np.float32)
    for face, alike in forest.links:
        group = number[roots[face]]
        links[group] = min(links[group], alike)
    return Groups(number[roots][inverse], links)
