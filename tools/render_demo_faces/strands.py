"""Strands, of which all hair is made, and the places on the skin where they are rooted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.render_demo_faces.geometry import unit
from tools.render_demo_faces.model import Model


@dataclass(frozen=True)
class Strands:
    """points (S, K, 3) in the head's coordinates, widths (S, K) in decimetres, colours (S, 3) linear RGB."""

    points: np.ndarray
    widths: np.ndarray
    colours: np.ndarray


@dataclass(frozen=True)
class Roots:
    """Places on the skin: a triangle (N, 3 vertices), weights of its corners (N, 3), the point at rest (N, 3)."""

    corners: np.ndarray
    weights: np.ndarray
    at: np.ndarray

    def where(self, keep: np.ndarray) -> Roots:
        return Roots(self.corners[keep], self.weights[keep], self.at[keep])

    def on(self, vertices: np.ndarray) -> np.ndarray:
        """The places on a head whose vertices lie elsewhere (V, 3) -> (N, 3)."""
        return np.asarray(np.einsum("nk,nkc->nc", self.weights, vertices[self.corners]))


class Skin:
    """Picks random places on the unmodified head's skin."""

    def __init__(self, model: Model) -> None:
        self.triangles = model.body_triangles
        self.base = model.head.base
        corners = self.base[self.triangles]
        self.area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        self.centre = corners.mean(1)  # (T, 3)
        self.lips = model.head.masks["lips"][self.triangles].mean(1)  # (T,)

    def roots(self, rng: np.random.Generator, count: int, among: np.ndarray) -> Roots:
        """`count` places, evenly spread over the triangles chosen (T,)."""
        share = self.area * among
        chosen = rng.choice(len(share), count, p=share / share.sum())
        u, v = rng.random((2, count))
        u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
        roots = Roots(self.triangles[chosen], np.stack([1 - u - v, u, v], axis=1), np.zeros((count, 3)))
        return Roots(roots.corners, roots.weights, roots.on(self.base))


def frames(corners: np.ndarray) -> np.ndarray:
    """Triangles (N, 3, 3) -> (N, 3, 3), columns: two sides and the normal of length 1."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return np.stack([a, b, unit(np.cross(a, b))], axis=-1)
