"""What each point of the head is made of: skin with its creases and shadows of growth, lips, mouth, eyes, cloth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.render_demo_faces.expressions import Expression
from tools.render_demo_faces.geometry import bump, near_line, ramp, unit
from tools.render_demo_faces.hair import STUBBLE, STYLES, beard_cover, brow_cover, hairline, moustache_cover, on_ear
from tools.render_demo_faces.identity import Looks
from tools.render_demo_faces.raster import noise


@dataclass(frozen=True)
class Points:
    """Points of the mesh seen by the pixels. at: (N, 3), where each lies on the unmodified head at rest."""

    at: np.ndarray
    lips: np.ndarray
    lids: np.ndarray
    mouth: np.ndarray


@dataclass(frozen=True)
class Material:
    """albedo (N, 3) linear RGB; gloss (N,), the strength of highlights."""

    albedo: np.ndarray
    gloss: np.ndarray


def paint_skin(points: Points, looks: Looks, expression: Expression) -> Material:
    at = points.at
    x, y, z = at.T
    side, front = np.abs(x), ramp(0.3, 0.9, z)
    mottled = (
        0.05 * noise(looks.seed, at, 4.0)
        + 0.03 * noise(looks.seed + 1, at, 14.0)
        + 0.02 * noise(looks.seed + 2, at, 45.0)
    )
    albedo = looks.skin * (1 + mottled)[:, None]
    flushed = 0.5 * bump(side, 0.42, 0.2) * bump(y, 6.98, 0.17) + 0.6 * bump(side, 0.0, 0.12) * bump(y, 6.93, 0.12)
    albedo = _tinted(albedo, flushed * front * 0.5, (1.0, 0.78, 0.76))
    albedo = _tinted(
        albedo, bump(side, 0.32, 0.15) * bump(y, 7.17, 0.06) * (0.25 + 0.3 * looks.wrinkles), (0.72, 0.66, 0.68)
    )
    albedo = _tinted(
        albedo, bump(side, 0.31, 0.16) * bump(y, 7.345, 0.05) * front * (0.3 + 0.6 * looks.makeup), (0.6, 0.52, 0.52)
    )
    spots = ramp(0.2, 0.6, noise(looks.seed + 3, at, 42.0)) * bump(y, 7.05, 0.2) * front
    albedo = _tinted(albedo, spots * looks.freckles, (0.82, 0.7, 0.62))
    albedo *= 1 - np.clip(creases(at, looks, expression), 0, 0.6)[:, None] * front[:, None] * [0.8, 1.0, 1.0]
    albedo = _tinted(albedo, points.lids * looks.makeup * 0.5, (0.5, 0.4, 0.42))
    albedo = _tinted(albedo, points.lips, 1 - np.array([0.16, 0.44, 0.36]) * (0.35 + 0.65 * looks.lips))
    albedo = _grown_over(albedo, points, looks)
    inside = ramp(0.3, 0.7, points.mouth) * (1 - ramp(0.3, 0.6, points.lips))
    albedo = albedo * (1 - inside)[:, None] + inside[:, None] * [0.13, 0.035, 0.03]
    collar = ramp(0.02, -0.02, y - (5.72 + 0.25 * np.clip(side, 0, 1)))
    albedo = (
        albedo * (1 - collar)[:, None]
        + collar[:, None] * looks.cloth * (1 + 0.2 * noise(looks.seed + 4, at, 60.0))[:, None]
    )
    oily = 0.6 + 0.6 * bump(side, 0, 0.25) * front + 0.9 * points.lips
    return Material(np.clip(albedo, 0.002, 0.95), oily * (1 - collar) * (1 + 2.0 * inside))


def creases(at: np.ndarray, looks: Looks, expression: Expression) -> np.ndarray:
    """How dark the folds of age and of this expression are, 0..1, at points at rest."""
    x, y, _ = at.T
    side, old, both = np.abs(x), looks.wrinkles, expression.both
    frown, sneer, smile = both("browDown"), both("noseSneer"), both("mouthSmile")
    inner = expression.units.get("browInnerUp", 0.0)
    sad = expression.units.get("innerUp", 0.0)
    down, squint = both("mouthFrown"), both("eyeSquint")
    dark = (
        0.5
        * (np.clip(frown - 0.25, 0, 1) + 0.3 * old)
        * near_line(side, y, [(0.05, 7.37), (0.062, 7.45), (0.055, 7.5)], 0.018)
    )
    dark += 0.42 * sneer * near_line(side, y, [(0, 7.27), (0.08, 7.31)], 0.013)
    dark += 0.42 * sneer * near_line(side, y, [(0, 7.20), (0.08, 7.24)], 0.012)
    raised = 0.24 * np.clip(0.5 * both("browOuterUp") + 0.3 * inner - 0.15 - 0.15 * sad, 0, 1) + 0.2 * old
    for i, height in enumerate((7.66, 7.75, 7.84)):
        dark += raised * bump(y, height + 0.012 * np.sin(x * 9 + i), 0.012) * np.exp(-((x / 0.38) ** 4))
        middle = 0.22 * np.clip(sad + inner - 1.2, 0, 1) * np.exp(-((x / 0.2) ** 4))
        dark += middle * bump(y, height - 0.05 + 0.25 * side, 0.013)
    folds = np.clip(0.5 * smile + 0.5 * sneer + 0.25 * both("mouthUpperUp") + 0.5 * old + 0.15 * down, 0, 1.2)
    dark += (
        0.33 * folds * near_line(side, y, [(0.18, 6.97), (0.25, 6.86), (0.32, 6.74), (0.36, 6.62), (0.36, 6.55)], 0.022)
    )
    feet = 0.25 * (0.7 * both("cheekSquint") * smile + 0.7 * old)
    for start, end in (((0.53, 7.29), (0.62, 7.34)), ((0.53, 7.25), (0.63, 7.25)), ((0.52, 7.22), (0.61, 7.17))):
        dark += feet * near_line(side, y, [start, end], 0.012)
    dark += 0.25 * (0.8 * squint + 0.7 * old) * near_line(side, y, [(0.19, 7.2), (0.3, 7.155), (0.42, 7.17)], 0.014)
    return np.asarray(
        dark + 0.25 * (0.7 * down + 0.5 * old) * near_line(side, y, [(0.3, 6.58), (0.35, 6.47), (0.36, 6.38)], 0.016)
    )


def _grown_over(albedo: np.ndarray, points: Points, looks: Looks) -> np.ndarray:
    """The skin under brows, stubble and scalp hair takes on their colour."""
    at = points.at
    speckled = 1 + 0.35 * noise(looks.seed + 5, at, 70.0)
    brow = 0.8 * brow_cover(at, looks) * looks.brow_density
    shadow = np.maximum(
        beard_cover(at, points.lips) * looks.beard, moustache_cover(at, points.lips) * looks.moustache
    ) * np.where(max(looks.beard, looks.moustache) > STUBBLE, 0.7, 1.0)
    dense = {"bald": 0.12, "buzz": 0.6}.get(looks.hair_style, 0.9)
    edge = hairline(at, looks) + 0.025 * noise(looks.seed + 6, at, 18.0)
    scalp = (
        dense
        * ramp(-0.02, 0.06 if STYLES[looks.hair_style].length[1] > 0.1 else 0.15, edge)
        * ~on_ear(at)
        * (at[:, 1] > 6.6)
    )
    for cover, colour in (
        (brow, looks.hair * 0.7),
        (shadow * speckled, looks.hair * 0.8 + 0.01),
        (scalp * speckled, looks.hair),
    ):
        share = np.clip(cover, 0, 0.95)[:, None]
        albedo = albedo * (1 - share) + share * colour
    return albedo


def paint_eye(normals: np.ndarray, gaze: np.ndarray, looks: Looks) -> Material:
    """An eyeball, at directions from its centre (N, 3); `gaze` (3,) is where it looks, in the same coordinates."""
    angle = np.degrees(np.arccos(np.clip(normals @ gaze, -1, 1)))
    around = unit(normals - (normals @ gaze)[:, None] * gaze)
    fibres = 1 + 0.3 * noise(looks.seed + 7, around, 6.0)
    white = np.array([0.86, 0.83, 0.80]) * (1 - 0.25 * ramp(32, 62, angle))[:, None] * [1.0, 0.97, 0.96]
    iris = looks.iris * (fibres * (0.75 + 0.8 * ramp(21, 12, angle)) * (1 - 0.65 * ramp(20, 26, angle)))[:, None]
    edge, pupil = ramp(24.5, 27.5, angle)[:, None], ramp(11.5, 9.5, angle)[:, None]
    albedo = (iris * (1 - edge) + white * edge) * (1 - pupil) + 0.004 * pupil
    return Material(albedo, np.full(len(albedo), 0.0))


def paint_teeth(at: np.ndarray, upper: bool) -> Material:
    """Teeth and gums along the two arches, at points at rest."""
    x, y, z = at.T
    tooth = np.arctan2(x / 0.31, (z - 0.97) / 0.54) / (0.27 if upper else 0.2)
    from_gap = np.abs(tooth - np.round(tooth)) * (0.085 if upper else 0.062)
    above_gum = (6.765 - y if upper else y - 6.535) - 0.35 * np.maximum(0.03 - from_gap, 0)
    white = (
        np.array([0.74, 0.70, 0.61])
        * (0.15 + 0.85 * ramp(4.6, 2.0, np.abs(tooth)))[:, None]
        * (1 - 0.5 * bump(from_gap, 0, 0.005))[:, None]
    )
    gum = ramp(0.008, -0.008, above_gum)[:, None]
    return Material(np.clip(white * (1 - gum) + gum * [0.42, 0.16, 0.15], 0.05, 1), np.full(len(at), 2.0))


def paint_tongue(at: np.ndarray) -> Material:
    return Material(np.broadcast_to(np.array([0.36, 0.13, 0.12]), at.shape), np.ones(len(at)))


def _tinted(albedo: np.ndarray, amount: np.ndarray, tint: np.ndarray | tuple[float, float, float]) -> np.ndarray:
    """Multiplied by a tint, as far as `amount` (N,) says."""
    return np.asarray(albedo * (1 - amount[:, None] * (1 - np.asarray(tint))))
