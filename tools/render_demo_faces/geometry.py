"""Plain geometry: rotations, smooth steps, noise, and the Catmull-Clark rule that rounds the mesh off."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy import sparse


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Degrees -> (3, 3): turn to the head's left, then nod down, then tilt counter-clockwise in the picture."""
    y, p, r = np.radians([yaw, pitch, roll])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    tilt = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return np.asarray(tilt @ nod @ turn)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) of length 1."""
    return np.asarray(vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-9))


def ramp(start: float, end: float, x: np.ndarray) -> np.ndarray:
    """0 at `start`, 1 at `end`, smooth between; `start` may be the greater of the two."""
    t = np.clip((x - start) / (end - start), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def bump(x: np.ndarray, centre: float, width: float) -> np.ndarray:
    """A bell of height 1."""
    return np.asarray(np.exp(-(((x - centre) / width) ** 2)))


def near_line(x: np.ndarray, y: np.ndarray, points: list[tuple[float, float]], width: float) -> np.ndarray:
    """1 on a polyline, falling off like a bell with the distance from it."""
    nearest = np.full(x.shape, 9.0)
    for (x0, y0), (x1, y1) in pairwise(points):
        dx, dy = x1 - x0, y1 - y0
        t = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - x0 - t * dx, y - y0 - t * dy))
    return bump(nearest, 0, width)


def subdivided(quads: np.ndarray, vertices: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    """One step of Catmull and Clark (1978) for quads (Q, 4): new vertices = matrix @ old ones, and new quads (4Q, 4).

    New vertices are the old ones, moved, then one an edge, then one a face. Edges that bound the mesh keep their line.
    """
    q = len(quads)
    sides = np.sort(np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    edges, edge_of, faces_at = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    e, edge_of = len(edges), edge_of.reshape(q, 4)
    inner = faces_at == 2

    corners = _incidence(np.repeat(np.arange(q), 4), quads.ravel(), (q, vertices))  # a face's vertices
    ends = _incidence(np.repeat(np.arange(e), 2), edges.ravel(), (e, vertices))  # an edge's vertices
    beside = _incidence(edge_of.ravel(), np.repeat(np.arange(q), 4), (e, q))  # an edge's faces
    face_points, middles = corners / 4, ends / 2
    edge_points = _scaled(1 - inner / 2, middles) + _scaled(inner / 4, beside @ face_points)

    n = np.bincount(quads.ravel(), minlength=vertices)  # faces around a vertex, and as many edges
    border_edges = np.bincount(edges[~inner].ravel(), minlength=vertices)
    smooth, along = (border_edges == 0) & (n > 0), border_edges == 2
    share = np.where(smooth, 1 / np.maximum(n, 1), 0)
    old_points = (
        sparse.diags(np.where(smooth, 1 - 3 * share, np.where(along, 0.5, 1.0)))
        + _scaled(2 * share**2, ends.T @ middles)
        + _scaled(share**2, corners.T @ face_points)
        + _scaled(along / 4, ends.T @ _scaled(~inner * 1.0, middles))
    )
    edge_id, face_id = vertices + edge_of, vertices + e + np.arange(q)
    finer = [np.stack([quads[:, k], edge_id[:, k], face_id, edge_id[:, k - 1]], axis=1) for k in range(4)]
    return sparse.vstack([old_points, edge_points, face_points]).tocsr(), np.concatenate(finer)


def _incidence(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape)


def _scaled(factors: np.ndarray, matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Each row times its factor."""
    return sparse.diags(factors) @ matrix


def triangles(quads: np.ndarray) -> np.ndarray:
    """Quads (Q, 4) -> triangles int32 (2Q, 3)."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
