"""Where hair grows on the head, and the styles that it is worn in. Points are those of the unmodified head at rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.render_demo_faces.geometry import bump, ramp
from tools.render_demo_faces.identity import Looks

STUBBLE = 0.45  # a beard up to here is a shadow on the skin; above it, strands grow


@dataclass(frozen=True)
class Style:
    """length: decimetres, shortest and longest. lift: how far strands stand off; weight: how soon they hang.

    comb: "crown" outwards from the crown, "sides" away from the parting, "swept" across, "back" to the knot, "out".
    wave, turns: how far a strand swings from its line, and how often. higher, temples: a receding hairline, decimetres.
    """

    length: tuple[float, float]
    lift: float
    weight: float
    comb: str
    wave: float = 0.01
    turns: float = 1.0
    higher: float = 0.0
    temples: float = 0.0
    fringe: float = 0.0  # the length of strands combed over the forehead
    clumping: float = 0.5


STYLES = {
    "short": Style((0.28, 0.45), 0.5, 0.25, "crown", wave=0.02),
    "swept": Style((0.5, 0.85), 0.55, 0.3, "swept", wave=0.02, higher=0.04),
    "fringe": Style((0.4, 0.6), 0.35, 0.4, "crown", wave=0.02, fringe=0.55),
    "buzz": Style((0.035, 0.06), 1.5, 0.0, "crown", wave=0.0, clumping=0.0),
    "receding": Style((0.25, 0.4), 0.35, 0.25, "crown", higher=0.2, temples=0.3),
    "bald": Style((0.05, 0.09), 0.6, 0.2, "crown", higher=0.9, temples=0.4, clumping=0.0),
    "afro": Style((0.3, 0.75), 2.5, 0.0, "out", wave=0.05, turns=5, clumping=0.25),
    "curls": Style((0.55, 1.0), 1.1, 0.35, "sides", wave=0.055, turns=3.5, clumping=0.75),
    "long": Style((1.7, 2.8), 0.25, 1.1, "sides", wave=0.02),
    "wavy": Style((1.6, 2.6), 0.4, 0.9, "sides", wave=0.05, turns=2.5, clumping=0.7),
    "bob": Style((1.15, 1.5), 0.3, 0.9, "sides", wave=0.015),
    "bangs": Style((1.5, 2.4), 0.25, 1.1, "sides", wave=0.015, fringe=0.75),
    "tied": Style((1.2, 1.6), 0.12, 0.0, "back", wave=0.008, clumping=0.4),
}


def hairline(points: np.ndarray, looks: Looks) -> np.ndarray:
    """How far points at rest (N, 3) lie above the hairline, decimetres."""
    style = STYLES[looks.hair_style]
    x, y, z = np.asarray(points, float).T
    up, temples = looks.hairline + style.higher, style.temples
    angle = np.degrees(np.arctan2(np.abs(x), z - 0.35))  # from the front
    turning = [0, 20, 35, 50, 62, 74, 84, 95, 110, 130, 180]
    heights = np.array([8.0, 8.0, 7.96, 7.80, 7.56, 7.3, 7.02, 7.38, 7.0, 6.75, 6.65])
    heights[:5] += [up, up + 0.6 * temples, 0.9 * up + temples, 0.6 * (up + temples), 0.2 * up]
    return np.asarray(y - np.interp(angle, turning, heights))


def on_ear(points: np.ndarray) -> np.ndarray:
    """Which points at rest lie on an ear."""
    x, y, z = points.T
    return np.asarray((np.abs(x) > 0.70) & (y > 6.7) & (y < 7.44) & (z > 0))


def brow_cover(points: np.ndarray, looks: Looks) -> np.ndarray:
    """0..1: how thickly brows grow at points at rest (N, 3)."""
    x, y, z = points.T
    along = (np.abs(x) - 0.09) / 0.42
    arch = 0.022 * np.sin(np.clip(along, 0, 1) * 2.5) + looks.brow_arch * bump(along, 0.62, 0.28)
    middle = 7.465 + looks.brow_height + arch - 0.07 * np.clip(along - 0.65, 0, 1)
    width = looks.brow_width * np.interp(along, [0, 0.1, 0.6, 1], [0.75, 1.1, 1.0, 0.35])
    ends = ramp(-0.05, 0.06, along) * ramp(1.04, 0.92, along) * ramp(0.6, 0.9, z)
    return np.asarray(np.exp(-((np.abs(y - middle) / width) ** 3)) * ends)


def beard_cover(points: np.ndarray, lips: np.ndarray) -> np.ndarray:
    """0..1: how thickly a full beard grows at points at rest (N, 3)."""
    x, y, z = points.T
    upper = np.interp(np.abs(x), [0, 0.2, 0.34, 0.45, 0.6, 0.75], [6.52, 6.47, 6.62, 6.78, 6.95, 7.15])
    return np.asarray(ramp(0.03, -0.09, y - upper) * ramp(6.02, 6.15, y) * (1 - lips) * ramp(0.45, 0.8, z))


def moustache_cover(points: np.ndarray, lips: np.ndarray) -> np.ndarray:
    x, y, z = points.T
    band = np.exp(-(((y - 6.762 + 0.10 * np.abs(x)) / 0.047) ** 4))
    return np.asarray(band * ramp(0.36, 0.26, np.abs(x)) * (1 - lips) * ramp(0.6, 0.9, z))
