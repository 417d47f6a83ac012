"""Glasses: wires in the head's coordinates, in front of its eyes and back to its ears."""

from __future__ import annotations

import numpy as np

from tools.render_demo_faces.model import EYES, Model
from tools.render_demo_faces.strands import Strands

POINTS = 49  # of a wire
_FRAMES = {"thick": (0.035, (0.012, 0.012, 0.014)), "thin": (0.016, (0.10, 0.09, 0.08))}  # width, colour
_BEND = 0.22  # how far the frame follows the face: z falls by this much of x squared


def frame(model: Model, rest: np.ndarray, kind: str) -> list[Strands]:
    """Two rims, the bridge and two temples for a person at rest (V, 3): they stay in place when the face moves."""
    left, right = (rest[model.vertices_of(eye)].mean(0) for eye in EYES)
    apart = left[0] - right[0]
    body = model.vertices_of("body")
    x, y, z = model.head.base[body].T
    front = rest[body[(np.abs(x) < 0.5) & (np.abs(y - 7.42) < 0.08)], 2].max() + 0.03  # clear of the brows
    ears = np.abs(rest[body[(y > 7.2) & (y < 7.4) & (z > 0.2) & (z < 0.5)], 0]).max() + 0.02
    lines = [_bridge(apart, left[1], front)]
    for eye, side in ((left, 1), (right, -1)):
        lines += [_rim(eye, side, apart, front), _temple(eye, side, apart, front, ears)]
    width, colour = _FRAMES[kind]
    return [Strands(np.array(lines), np.full((len(lines), POINTS), width), np.tile(colour, (len(lines), 1)))]


def _rim(eye: np.ndarray, side: int, apart: float, front: float) -> np.ndarray:
    """A rounded rectangle around an eye."""
    angle = np.linspace(0, 2 * np.pi, POINTS)
    across, up = (np.sign(wave) * np.abs(wave) ** 0.65 for wave in (np.cos(angle), np.sin(angle)))
    x, y = eye[0] + side * 0.03 + 0.37 * apart * across, eye[1] - 0.035 + 0.27 * apart * up
    return np.stack([x, y, front - _BEND * x**2], axis=1)


def _temple(eye: np.ndarray, side: int, apart: float, front: float, ears: float) -> np.ndarray:
    """From a rim's outer end to above the ear."""
    way = np.linspace(0, 1, POINTS)
    hinge = abs(eye[0]) + 0.03 + 0.37 * apart
    x = hinge + (ears - hinge) * np.minimum(way * 2.5, 1)
    start = front - _BEND * hinge**2
    return np.stack([side * x, np.full(POINTS, eye[1] + 0.05), start + way * (0.25 - front)], axis=1)


def _bridge(apart: float, level: float, front: float) -> np.ndarray:
    x = np.linspace(-0.14, 0.14, POINTS) * apart
    return np.stack([x, level + 0.05 + 0.02 * np.cos(9 * x), np.full(POINTS, front)], axis=1)
