"""From rendered heads to pictures: backgrounds, exposure, several heads in a scene, and the film of a 48-pixel crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from fer_core.preprocess import FACE_SIZE
from tools.render_demo_faces.camera import Box, Framing, aim, aim_crop
from tools.render_demo_faces.expressions import Expression
from tools.render_demo_faces.identity import Person
from tools.render_demo_faces.render import Studio
from tools.render_demo_faces.shading import Light, developed

_GRAY = np.array([0.299, 0.587, 0.114])  # of developed red, green and blue, as ITU-R BT.601 and Pillow have it


@dataclass(frozen=True)
class Sitter:
    """One head in a scene: the box that a face detector would draw is `height` high, centred at (column, row)."""

    person: Person
    expression: Expression
    framing: Framing
    height: float
    column: float
    row: float


def crop(
    studio: Studio,
    person: Person,
    expression: Expression,
    framing: Framing,
    light: Light,
    size: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """One face, framed as FER2013 frames them -> float (size, size, 3), 0..1, not yet smoothed."""
    posed = studio.model.pose(person, expression)
    camera, _ = aim_crop(posed.vertices[studio.model.face_vertices], framing, size)
    layer = studio.render(person, expression, posed, camera, light, (size, size))
    behind = backdrop(rng, (size, size), colourful=0.05)
    exposure = (light.brightness / max(layer.brightness, 0.01)) ** 0.8
    return np.asarray(np.where(layer.covered[..., None], developed(layer.linear, exposure), behind))


def scene(
    studio: Studio, sitters: list[Sitter], light: Light, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, list[Box]]:
    """Several heads, the larger ones in front -> float (rows, columns, 3), 0..1, and each sitter's box."""
    picture = backdrop(rng, shape, colourful=0.12)
    boxes: dict[int, Box] = {}
    for sitter in sorted(sitters, key=lambda sitter: sitter.height):
        posed = studio.model.pose(sitter.person, sitter.expression)
        face = posed.vertices[studio.model.face_vertices]
        camera, box = aim(face, sitter.framing, sitter.height, sitter.column, sitter.row)
        layer = studio.render(sitter.person, sitter.expression, posed, camera, light, shape)
        exposure = (light.brightness / max(layer.brightness, 0.01)) ** 0.65
        picture = np.where(layer.covered[..., None], developed(layer.linear, exposure), picture)
        boxes[id(sitter)] = box
    return picture, [boxes[id(sitter)] for sitter in sitters]


def backdrop(rng: np.random.Generator, shape: tuple[int, int], colourful: float) -> np.ndarray:
    """A wall, or something out of focus -> (rows, columns, 3). Some are plain white or black, as in stock photos."""
    rows, columns = shape
    down, right = np.mgrid[0:rows, 0:columns] / max(shape)
    kind = rng.random()
    level = rng.uniform(0.93, 1.0) if kind < 0.2 else rng.uniform(0, 0.08) if kind < 0.32 else rng.uniform(0.1, 0.85)
    blurred = 0.0 if kind < 0.32 else rng.uniform(0.0, 0.16)
    slopes = rng.uniform(-0.3, 0.3, 2) * (kind >= 0.32)
    coarse = zoom(rng.normal(0, 1, (5, 5, 3)) * [1, 0.7, 0.7], (rows / 5, columns / 5, 1), order=3)[:rows, :columns]
    value = level + slopes[0] * (right - 0.5) + slopes[1] * (down - 0.5) + blurred * coarse[..., 0]
    tint = colourful * np.stack([coarse[..., 1], 0 * down, coarse[..., 2]], axis=-1) * (kind >= 0.32)
    return np.asarray(np.clip(value[..., None] * (1 + tint), 0, 1))


def shrunk(picture: np.ndarray, factor: int) -> np.ndarray:
    """Averages blocks of `factor` x `factor` pixels."""
    rows, columns = (n // factor for n in picture.shape[:2])
    return np.asarray(picture.reshape(rows, factor, columns, factor, -1).mean((1, 3)))


def as_fer2013(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A large square crop -> uint8 (48, 48), as soft, contrasty and noisy as pictures from the web."""
    factor = len(picture) // FACE_SIZE
    gray = gaussian_filter(picture @ _GRAY, factor * rng.uniform(0.1, 0.45))
    small = shrunk(gray, factor)[..., 0]
    low, high = np.percentile(small, [1, 99])
    stretch, reach = rng.uniform(0.3, 1.0), rng.uniform(0.85, 1.0)
    small = small * (1 - stretch) + stretch * reach * (small - low) / (high - low + 1e-6)
    small += rng.normal(0, rng.uniform(0.001, 0.009), small.shape)
    return as_bytes(small)


def as_bytes(picture: np.ndarray) -> np.ndarray:
    """0..1 -> uint8."""
    return np.asarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))
