"""Light: a key light that casts shadows, a fill light, light from all around, and the film that records them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from tools.render_demo_faces.geometry import unit
from tools.render_demo_faces.raster import FAR, draw_strands, draw_triangles, lit_fraction

_BLEED = np.array([0.42, 0.24, 0.18])  # how far red, green and blue light creep around an edge of skin
_UPWARDS = np.array([0.0, 1.0, 0.0])
_TO_CAMERA = np.array([0.0, 0.0, 1.0])
_MAP = 320  # pixels of the shadow map
_SPAN = 4.6  # decimetres that it covers


@dataclass(frozen=True)
class Light:
    """Ways point to the lights, in the camera's coordinates. Powers are relative; `brightness` sets the exposure."""

    key_way: np.ndarray
    key: np.ndarray
    fill_way: np.ndarray
    fill: float
    around: float
    gloss: float
    brightness: float


def draw_light(rng: np.random.Generator) -> Light:
    """From soft studio light to a lamp at the side."""
    azimuth, height = np.radians([np.clip(rng.normal(0, 38), -85, 85), rng.uniform(2, 60)])
    key_way = np.array([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)])
    warmth = rng.normal(0, 0.06)
    return Light(
        key_way=key_way,
        key=rng.uniform(0.7, 1.3) * np.array([1 + warmth, 1.0, 1 - warmth]),
        fill_way=unit(np.array([-np.sign(azimuth) * rng.uniform(0.3, 1.0), rng.uniform(-0.2, 0.3), 0.7])),
        fill=float(rng.uniform(0.05, 0.4)),
        around=float(rng.uniform(0.15, 0.4)),
        gloss=float(rng.uniform(0.04, 0.16)),
        brightness=float(rng.uniform(0.1, 0.5)),
    )


@dataclass(frozen=True)
class Seen:
    """What the pixels see, all in the camera's coordinates.

    position, normal  (N, 3); for hair, `normal` is the strand's direction
    albedo            (N, 3)
    gloss             (N,)
    hair, skin        bool (N,)
    open              (N,), how little is in the way of light from all around
    reached           (N,), the part of the key light that gets there in any case, scattered: into eyes and mouth
    """

    position: np.ndarray
    normal: np.ndarray
    albedo: np.ndarray
    gloss: np.ndarray
    hair: np.ndarray
    skin: np.ndarray
    open: np.ndarray
    reached: np.ndarray


def shadow_map(way: np.ndarray, vertices: np.ndarray, triangles: np.ndarray, strands: np.ndarray) -> np.ndarray:
    """The depths that the key light, a distant one, sees of vertices (V, 3) and strands (S, K, 3), all turned."""
    depth = np.full((_MAP, _MAP), FAR)
    ids, weights = np.zeros((_MAP, _MAP), np.int32), np.zeros((_MAP, _MAP, 3), np.float32)
    draw_triangles(_on_map(way, vertices), triangles, depth, ids, weights)
    if len(strands):
        draw_strands(_on_map(way, strands), np.full(strands.shape[:2], 1.0), depth, ids)
    return depth


def _on_map(way: np.ndarray, points: np.ndarray) -> np.ndarray:
    right = unit(np.cross(_UPWARDS if abs(way[1]) < 0.9 else np.array([1.0, 0, 0]), way))
    axes = np.stack([right * _MAP / _SPAN, np.cross(way, right) * _MAP / _SPAN, way])
    return np.asarray(points @ axes.T + [_MAP / 2, _MAP / 2, 0])


def shade(seen: Seen, light: Light, shadows: np.ndarray) -> np.ndarray:
    """Light that each pixel sends to the camera, linear RGB (N, 3)."""
    raised = seen.position + np.where(
        seen.hair[:, None], 0, 0.03 * seen.normal
    )  # off the surface: no shadow of its own
    column, row, depth = _on_map(light.key_way, raised).T
    lit = lit_fraction(column, row, depth, shadows, 1.1, np.float32(0.06))
    lit = np.maximum(lit, seen.reached)
    return np.where(seen.hair[:, None], _hair(seen, light, lit), _surface(seen, light, lit))


def _surface(seen: Seen, light: Light, lit: np.ndarray) -> np.ndarray:
    bleed = np.where(seen.skin[:, None], _BLEED, 0.1)
    key = np.clip((seen.normal @ light.key_way)[:, None] + bleed, 0, None) / (1 + bleed)
    softened = lit[:, None] ** np.where(seen.skin[:, None], [0.75, 1.0, 1.1], 1.0)  # red light seeps into shadows
    fill = np.clip(seen.normal @ light.fill_way + 0.5, 0, None) / 1.5 * light.fill
    around = light.around * (0.7 + 0.3 * seen.normal[:, 1])
    sum_of_light = key * softened * light.key + ((fill + around) * seen.open)[:, None]
    half = unit(light.key_way + _TO_CAMERA)
    facing = np.clip(seen.normal @ half, 0, 1)
    grazing = 1 + 2 * (1 - np.clip(seen.normal[:, 2], 0, 1)) ** 3
    shine = light.gloss * seen.gloss * grazing * (facing**12 + 0.8 * facing**48) * lit
    return np.asarray(seen.albedo * sum_of_light + shine[:, None] * light.key)


def _hair(seen: Seen, light: Light, lit: np.ndarray) -> np.ndarray:
    """Kajiya and Kay (1989): a strand lit as a thin cylinder."""
    along_key = seen.normal @ light.key_way
    along_half = seen.normal @ unit(light.key_way + _TO_CAMERA)
    across = np.sqrt(np.clip(1 - along_key**2, 0, 1))
    shine = np.sqrt(np.clip(1 - along_half**2, 0, 1))
    dull = (0.75 * across * (0.25 + 0.75 * lit))[:, None] * light.key + ((0.6 * light.fill + light.around) * seen.open)[
        :, None
    ]
    bright = lit * (0.035 * shine**90 + 0.05 * shine**18)
    return np.asarray(seen.albedo * dull + bright[:, None] * (0.3 + 2.2 * seen.albedo) * light.key)


def openness(depth: np.ndarray, covered: np.ndarray, unit_pixels: float) -> np.ndarray:
    """Ambient occlusion from a depth buffer (H, W): 1 in the open, lower where the blurred surroundings lie nearer."""
    known = np.where(covered, depth, 0.0)
    out = np.ones_like(depth)
    for reach, strength, most in ((0.02, 4.0, 0.27), (0.06, 2.4, 0.42), (0.14, 1.1, 0.5)):
        spread = reach * unit_pixels
        around = gaussian_filter(known, spread) / (gaussian_filter(covered * 1.0, spread) + 1e-6)
        out *= 1 - np.clip((around - depth) * strength, 0, most)
    return np.asarray(np.clip(out, 0.2, 1))


def developed(linear: np.ndarray, exposure: float) -> np.ndarray:
    """Linear light (..., 3) -> a picture's values 0..1, with a soft shoulder."""
    exposed = 1 - np.exp(-1.35 * np.clip(linear, 0, None) * exposure)
    return np.asarray(np.clip(exposed / (1 - np.exp(-2.2)), 0, 1) ** (1 / 2.1))
