"""The loops over triangles, strands and pixels, compiled by numba. Depth grows towards the viewer."""

from __future__ import annotations

import numba
import numpy as np

FAR = np.float32(-1e9)


@numba.njit(cache=True)
def draw_triangles(points, triangles, depth, ids, weights):  # type: ignore[no-untyped-def]
    """Fills the depth buffer (H, W), the nearest triangle's number (H, W) and barycentric weights (H, W, 3).

    points: (V, 3) column, row, depth; pixel centres lie at whole numbers.
    """
    height, width = depth.shape
    for t in range(len(triangles)):
        a, b, c = points[triangles[t, 0]], points[triangles[t, 1]], points[triangles[t, 2]]
        left, right = min(a[0], b[0], c[0]), max(a[0], b[0], c[0])
        top, bottom = min(a[1], b[1], c[1]), max(a[1], b[1], c[1])
        area = (b[1] - c[1]) * (a[0] - c[0]) + (c[0] - b[0]) * (a[1] - c[1])
        if abs(area) < 1e-12 or right < 0 or bottom < 0 or left > width - 1 or top > height - 1:
            continue
        for y in range(max(0, int(np.ceil(top))), min(height - 1, int(np.floor(bottom))) + 1):
            for x in range(max(0, int(np.ceil(left))), min(width - 1, int(np.floor(right))) + 1):
                u = ((b[1] - c[1]) * (x - c[0]) + (c[0] - b[0]) * (y - c[1])) / area
                v = ((c[1] - a[1]) * (x - c[0]) + (a[0] - c[0]) * (y - c[1])) / area
                w = 1 - u - v
                if u < -1e-6 or v < -1e-6 or w < -1e-6:
                    continue
                z = u * a[2] + v * b[2] + w * c[2]
                if z > depth[y, x]:
                    depth[y, x] = z
                    ids[y, x] = t
                    weights[y, x, 0], weights[y, x, 1], weights[y, x, 2] = u, v, w


@numba.njit(cache=True)
def draw_strands(points, widths, depth, ids):  # type: ignore[no-untyped-def]
    """Draws polylines (S, K, 3) of `widths` (S, K) pixels into the depth buffer; ids = strand * K + point.

    Strands thinner than a pixel are drawn a pixel wide, but only so many of them that they cover as much.
    """
    height, width = depth.shape
    strands, length = widths.shape
    for s in range(strands):
        if (s * 0.6180339887) % 1.0 > widths[s, 0]:
            continue
        for k in range(length - 1):
            a, b = points[s, k], points[s, k + 1]
            steps = int(max(abs(b[0] - a[0]), abs(b[1] - a[1]), 1.0)) + 1
            for i in range(steps):
                t = i / steps
                x, y, z = a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]), a[2] + t * (b[2] - a[2])
                half = max((widths[s, k] + t * (widths[s, k + 1] - widths[s, k])) / 2, 0.5)
                for row in range(int(np.ceil(y - half)), int(np.ceil(y + half))):
                    for column in range(int(np.ceil(x - half)), int(np.ceil(x + half))):
                        if 0 <= row < height and 0 <= column < width and z > depth[row, column]:
                            depth[row, column] = z
                            ids[row, column] = s * length + k


@numba.njit(cache=True)
def interpolated(ids, weights, triangles, values):  # type: ignore[no-untyped-def]
    """Values (V, C) of the vertices -> (N, C) at N pixels, by their triangles (N,) and barycentric weights (N, 3)."""
    out = np.zeros((len(ids), values.shape[1]), np.float32)
    for n in range(len(ids)):
        for c in range(values.shape[1]):
            for k in range(3):
                out[n, c] += weights[n, k] * values[triangles[ids[n], k], c]
    return out


@numba.njit(cache=True)
def vertex_normals(vertices, triangles):  # type: ignore[no-untyped-def]
    """The mean normal of the triangles at each vertex, by area."""
    normals = np.zeros_like(vertices)
    for t in range(len(triangles)):
        i, j, k = triangles[t]
        normal = np.cross(vertices[j] - vertices[i], vertices[k] - vertices[i])
        normals[i] += normal
        normals[j] += normal
        normals[k] += normal
    for v in range(len(vertices)):
        normals[v] /= np.sqrt((normals[v] ** 2).sum()) + 1e-12
    return normals


@numba.njit(cache=True)
def lit_fraction(columns, rows, depths, shadow_map, reach, bias):  # type: ignore[no-untyped-def]
    """The part of a 5x5 neighbourhood in the light's depth map that lies behind each point: soft shadows."""
    height, width = shadow_map.shape
    out = np.zeros(len(columns), np.float32)
    for n in range(len(columns)):
        for i in range(-2, 3):
            for j in range(-2, 3):
                row, column = int(rows[n] + i * reach + 0.5), int(columns[n] + j * reach + 0.5)
                inside = 0 <= row < height and 0 <= column < width
                out[n] += 0.04 * (not inside or shadow_map[row, column] < depths[n] + bias)
    return out


@numba.njit(cache=True)
def _lattice(seed, x, y, z):  # type: ignore[no-untyped-def]
    """A number from -1 to 1 for each point of the integer lattice."""
    mask = np.int64(0xFFFFFFFF)
    h = (seed * 977 + x * 374761393 + y * 668265263 + z * 1442695041) & mask
    h = ((h ^ (h >> 13)) * 1274126177) & mask
    h = ((h ^ (h >> 15)) * 668265263) & mask
    return np.float32((h >> 8) / 8388608.0 - 1.0)


@numba.njit(cache=True)
def noise(seed, points, frequency):  # type: ignore[no-untyped-def]
    """Smooth value noise from about -1 to 1 at points (N, 3)."""
    out = np.empty(len(points), np.float32)
    for n in range(len(points)):
        x, y, z = points[n, 0] * frequency, points[n, 1] * frequency, points[n, 2] * frequency
        i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        u, v, w = x - i, y - j, z - k
        u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
        total = 0.0
        for a in range(2):
            for b in range(2):
                for c in range(2):
                    share = (u if a else 1 - u) * (v if b else 1 - v) * (w if c else 1 - w)
                    total += share * _lattice(seed, i + a, j + b, k + c)
        out[n] = total
    return out
