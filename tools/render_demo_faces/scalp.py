"""The hair of the head: strands are combed, grow, gather in locks and curl, and leave the face open."""

from __future__ import annotations

import numba
import numpy as np
from scipy.spatial import cKDTree

from tools.render_demo_faces.geometry import ramp, unit
from tools.render_demo_faces.hair import STYLES, Style, hairline, on_ear
from tools.render_demo_faces.identity import Looks
from tools.render_demo_faces.model import Model
from tools.render_demo_faces.strands import Roots, Skin, Strands, frames

POINTS = 16  # of a strand
_CENTRE = np.array([0.0, 7.55, 0.2])  # of the skull
_CROWN = np.array([0.0, 8.45, -0.15])
_KNOT = np.array([0.0, 7.75, -1.05])  # where tied hair meets


class ScalpGrower:
    def __init__(self, model: Model, skin: Skin) -> None:
        self.model, self.skin = model, skin
        self.body = model.vertices_of("body")
        self.level = model.head.base[self.body, 1]

    def grow(self, looks: Looks, rest: np.ndarray, count: int) -> Strands:
        """Up to `count` strands on a person at rest (V, 3); fewer where the hairline is high."""
        rng = np.random.default_rng([looks.seed, 1])
        style = STYLES[looks.hair_style]
        roots = self._roots(looks, rng, count)
        start, normals = roots.on(rest), frames(rest[roots.corners])[..., 2]
        comb, length, fringe = _combed(style, looks, roots.at, normals, rng)
        ways, aside = unit(comb + 0.6 * style.lift * normals), (length > 0.5) & ~fringe
        off_skin = (0.05 + 0.16 * rng.random(len(start)) * min(1.0, style.lift + 0.25)) * (style.length[1] > 0.1)
        moved = (rest - self.skin.base)[self.body[self.level > 7]].mean(0)
        face = rest[self.model.face_vertices]
        face_y, face_x = np.array([face[:, 1].min(), face[:, 1].max()]), float(np.abs(face[:, 0]).max())
        radii = _radii(rest[self.body[self.level > 6.25]], _CENTRE + moved)
        knot = (_KNOT + moved)[None] if style.comb == "back" else np.zeros((0, 3))
        points = _grow(start, ways, length, aside, off_skin, style.weight, knot, radii, _CENTRE + moved, face_y, face_x)
        points = _waved(_clumped(points, style.clumping, rng), style, rng)
        _all_beside(points, np.where(ways[:, 0] > 0, 1.0, -1.0), aside, off_skin, face_y, face_x)
        return self._coloured(points, style, looks, rng)

    def _roots(self, looks: Looks, rng: np.random.Generator, count: int) -> Roots:
        near = (hairline(self.skin.centre, looks) > -0.15) & (self.skin.centre[:, 1] > 6.5)
        roots = self.skin.roots(rng, count, near)
        above = hairline(roots.at, looks) > rng.uniform(-0.03, 0.05, count)
        return roots.where(above & ~on_ear(roots.at) & (roots.at[:, 1] > 6.6))

    def _coloured(self, points: np.ndarray, style: Style, looks: Looks, rng: np.random.Generator) -> Strands:
        n = len(points)
        width = (0.9 + 0.3 * min(style.length[1], 1.5)) / np.sqrt(n) * rng.uniform(0.7, 1.3, (n, 1))
        colours = np.clip(looks.hair * rng.lognormal(0, 0.28, (n, 1)), 0.003, 0.9)
        return Strands(points, width * np.linspace(1, 0.5, POINTS), colours)


def _combed(
    style: Style, looks: Looks, at: np.ndarray, normals: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which way each strand sets out along the skin (N, 3), how long it is (N,), whether it is of the fringe (N,)."""
    x, y, z = at.T
    side = np.sign(looks.parting)
    if style.comb == "sides":
        way = np.stack(
            [np.tanh((x - 0.3 * looks.parting) * 14), np.full_like(x, -0.15), -0.25 + 0.3 * ramp(0.0, 0.8, z)], axis=1
        )
    elif style.comb == "swept":
        top = ramp(7.7, 8.1, y)
        way = np.stack(
            [top * side * -0.9 + 0.1 * np.sign(x), top * 0.25 - (1 - top) * 0.7, -0.55 - 0.3 * (1 - top)], axis=1
        )
    elif style.comb == "back":
        way = unit(_KNOT - at)
    else:
        way = unit(at - _CROWN) + 0.25 * np.array([side, 0, 0]) * ramp(7.7, 8.2, y)[:, None]
    way = way - (way * normals).sum(1, keepdims=True) * normals if style.comb != "out" else normals + 0.2 * way
    way = unit(unit(way) + rng.normal(0, 0.1, at.shape))
    shortest, longest = style.length
    length = (shortest + (longest - shortest) * looks.hair_length) * rng.uniform(0.85, 1.08, len(at))
    if style.comb in ("crown", "swept"):  # shorter at the sides and the neck
        length *= 0.45 + 0.55 * ramp(7.3, 8.1, y)
    if style.comb == "back":
        length = np.linalg.norm(_KNOT - at, axis=1) * 1.15
    front = np.zeros(len(at), bool)
    if style.fringe:
        front = (z > 0.62 + 0.08 * rng.normal(size=len(at))) & (np.abs(x) < 0.55) & (y > 7.8)
        forwards = np.stack([0.35 * x + 0.12 * side, np.full_like(x, -0.35), np.full_like(x, 1.0)], axis=1)
        way[front] = unit(forwards[front])
        length[front] = style.fringe * rng.uniform(0.85, 1.15, front.sum()) * (0.75 + 0.25 * looks.hair_length)
    return way, length, front


def _radii(body: np.ndarray, centre: np.ndarray, rows: int = 48, columns: int = 96) -> np.ndarray:
    """How far the skin lies from the centre, by direction: polar angle from the top (rows), azimuth (columns)."""
    away = body - centre
    radius = np.linalg.norm(away, axis=1)
    polar, azimuth = np.meshgrid(
        (np.arange(rows) + 0.5) * np.pi / rows, (np.arange(columns) + 0.5) * 2 * np.pi / columns - np.pi, indexing="ij"
    )
    grid = np.stack([np.sin(polar) * np.sin(azimuth), np.cos(polar), np.sin(polar) * np.cos(azimuth)], axis=-1)
    _, nearest = cKDTree(away / radius[:, None]).query(grid.reshape(-1, 3), k=4)
    return np.asarray(radius[nearest].mean(1).reshape(rows, columns))


@numba.njit(cache=True)
def _beside(point, side, loose, face_y, face_x):  # type: ignore[no-untyped-def]
    """Moves a point in front of the face out to its side; hair hangs there as a curtain, open from the parting down."""
    level = (point[1] - face_y[0]) / (face_y[1] - face_y[0])
    if 0.45 * face_x < point[2] and -0.6 < level < 1.0:
        open_to = face_x * (0.82 + 0.14 * (1 - level) + 1.2 * loose) * min(1.0, (1.0 - level) * 4.5)
        if point[0] * side < open_to:
            point[0] = side * open_to


@numba.njit(cache=True)
def _all_beside(points, sides, aside, loose, face_y, face_x):  # type: ignore[no-untyped-def]
    for n in range(len(points)):
        if aside[n]:
            for k in range(1, points.shape[1]):
                _beside(points[n, k], sides[n], loose[n], face_y, face_x)


@numba.njit(cache=True)
def _grow(roots, ways, lengths, aside, clear, weight, knot, radii, centre, face_y, face_x):  # type: ignore[no-untyped-def]
    """Strands set out their way, bend down by their weight or back to the knot, and stay outside head and face.

    knot: (1, 3) where the hair is tied, (0, 3) where it hangs.
    """
    rows, columns = radii.shape
    out = np.empty((len(roots), POINTS, 3))
    for n in range(len(roots)):
        at, way = roots[n].copy(), ways[n].copy()
        out[n, 0] = at
        side = 1.0 if way[0] > 0 else -1.0
        for k in range(1, POINTS):
            way[1] -= weight * 1.6 * min(lengths[n], 1.2) * k / POINTS
            if len(knot):
                way += (knot[0] - at) / (np.sqrt(((knot[0] - at) ** 2).sum()) + 0.05)
            way /= np.sqrt((way**2).sum())
            new = at + way * lengths[n] / (POINTS - 1)
            if aside[n]:
                _beside(new, side, clear[n], face_y, face_x)
            away = new - centre
            distance = np.sqrt((away**2).sum())
            row = min(int(np.arccos(away[1] / distance) / np.pi * rows), rows - 1)
            column = min(int((np.arctan2(away[0], away[2]) + np.pi) / (2 * np.pi) * columns), columns - 1)
            least = radii[row, column] + clear[n] * min(1.0, k / 3.0)
            if distance < least:
                new = centre + away / distance * least
            way = 0.35 * way + 0.65 * (new - at) / (np.sqrt(((new - at) ** 2).sum()) + 1e-9)
            at = new
            out[n, k] = at
    return out


def _clumped(points: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Strands lean towards a neighbour's tip: locks instead of an even fur."""
    if not strength:
        return points
    guides = points[rng.choice(len(points), max(len(points) // 40, 1), replace=False)]
    far, nearest = cKDTree(guides[:, 0]).query(points[:, 0])
    alike = (far < 0.15) & (np.linalg.norm(points[:, 8] - guides[nearest, 8], axis=1) < 0.3)
    towards_tip = np.linspace(0, 1, POINTS)[:, None] ** 1.2
    pull = strength * alike[:, None, None] * towards_tip * rng.uniform(0.5, 1, (len(points), 1, 1))
    apart = 0.35 * (points[:, :1] - guides[nearest][:, :1])
    return np.asarray(points * (1 - pull) + pull * (guides[nearest] + apart))


def _waved(points: np.ndarray, style: Style, rng: np.random.Generator) -> np.ndarray:
    """Strands swing around their line, neighbours alike."""
    seeds = rng.normal(0, 3.0, (3, 3))
    phase = 2 * np.sin(points[:, 0] @ seeds) + rng.normal(0, 0.25, (len(points), 3))
    t = np.linspace(0, 1, POINTS)
    swing = np.sin(2 * np.pi * style.turns * t[None, :, None] + 2 * phase[:, None, :] + np.array([0, 2.1, 4.2]))
    loose = style.wave * np.minimum(t * 3, 1)[None, :, None]
    return np.asarray(points + loose * swing * np.array([1, 0.6, 1]))
