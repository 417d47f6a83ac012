"""The seven emotions as weights of expression units, each drawn anew for every face.

Units are those of the MakeHuman "Face Units 01" pack, named as in ARKit; a name that ends in `_` stands for both sides.
`innerUp` is the base mesh's own inner brow raiser: the pack's is too weak for Sad and Fear.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fer_core.labels import EMOTIONS

Units = dict[str, float]
SIDES = ("Left", "Right")
LEAST_INTENSITY = 0.5  # below it a person no longer tells the emotion at a glance


@dataclass(frozen=True)
class Expression:
    """units: unit (with its side) -> weight; gaze: degrees to the head's left and up; intensity: 0 (Neutral) to 1."""

    emotion: str
    intensity: float
    units: Units
    gaze: tuple[float, float]

    def both(self, unit: str) -> float:
        """The mean weight of a unit's two sides."""
        return sum(self.units.get(unit + side, 0.0) for side in SIDES) / 2

    def gaze_way(self) -> np.ndarray:
        """Where the eyes look, as a vector of length 1 in the head's coordinates."""
        left, up = np.radians(self.gaze)
        return np.array([np.sin(left) * np.cos(up), np.sin(up), np.cos(left) * np.cos(up)])

    def target_weights(self) -> dict[str, float]:
        """The weights by the names of `Head.targets`."""
        weights = {f"face/{name}": weight for name, weight in self.units.items() if name != "innerUp"}
        inner = self.units.get("innerUp", 0.0)
        return {**weights, **{f"unit/eyebrows-{side}-inner-up": inner for side in ("left", "right")}}


class _Draw:
    """Uniform numbers, and several units at once."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def units(self, **ranges: tuple[float, float]) -> Units:
        """A weight from each range; a trailing `_` gives both sides the same."""
        out: Units = {}
        for name, (low, high) in ranges.items():
            weight = self.between(low, high)
            out.update({name[:-1] + s: weight for s in SIDES} if name.endswith("_") else {name: weight})
        return out


def _angry(d: _Draw) -> tuple[Units, tuple[float, float]]:
    """Brows down and together over eyes that stare; the nose stays smooth. Lips pressed, or a square shout."""
    face = d.units(browDown_=(1.2, 1.7), eyeWide_=(0.45, 0.8), eyeSquint_=(0.1, 0.4), noseSneer_=(0, 0.15))
    if d.chance(0.55):
        lips = d.units(
            mouthPress_=(0.7, 1.1), mouthRollUpper=(0.35, 0.7), mouthRollLower=(0.3, 0.6), mouthFrown_=(0.25, 0.55)
        )
        return face | lips | d.units(mouthShrugLower=(0.2, 0.5), jawForward=(0.2, 0.6)), (0, -2)
    shout = d.units(
        jawOpen=(0.3, 0.65), mouthUpperUp_=(0.45, 0.8), mouthLowerDown_=(0.7, 1.0), mouthStretch_=(0.3, 0.6)
    )
    return face | shout | d.units(mouthFunnel=(0, 0.3), noseSneer_=(0.2, 0.4)), (0, -2)


def _disgust(d: _Draw) -> tuple[Units, tuple[float, float]]:
    """Nose wrinkled, upper lip drawn up, eyes narrow, brows only a little lower; often one-sided, or tongue out."""
    face = d.units(noseSneer_=(1.05, 1.35), mouthUpperUp_=(0.8, 1.2), browDown_=(0.1, 0.4), eyeSquint_=(0.7, 1.0))
    face |= d.units(eyeBlink_=(0.1, 0.3), cheekSquint_=(0.7, 1.0), mouthFrown_=(0.5, 0.9), mouthShrugLower=(0.2, 0.6))
    kind = d.between(0, 1)
    if kind < 0.3:
        return face | d.units(jawOpen=(0.2, 0.38), mouthLowerDown_=(0.5, 0.8), tongueOut=(0.7, 1.0)), (0, -6)
    if kind < 0.55:
        return face | d.units(jawOpen=(0.1, 0.3), mouthLowerDown_=(0.3, 0.6), mouthStretch_=(0, 0.3)), (0, -4)
    if kind < 0.8:
        side = d.rng.choice(SIDES)
        face[f"mouthUpperUp{side}"] *= 0.4
        face[f"noseSneer{side}"] *= 0.65
    return face, (0, -4)


def _fear(d: _Draw) -> tuple[Units, tuple[float, float]]:
    """Brows raised and drawn together, eyes wide, lips stretched sideways over the teeth."""
    face = d.units(browInnerUp=(1.0, 1.4), innerUp=(0.9, 1.5), browOuterUp_=(0, 0.25), eyeWide_=(0.9, 1.3))
    face |= d.units(mouthStretch_=(0.9, 1.3), mouthLowerDown_=(0.55, 0.95), mouthFrown_=(0.15, 0.45))
    return face | d.units(jawOpen=(0.12, 0.38), mouthUpperUp_=(0, 0.25)), (d.between(-14, 14), d.between(-4, 6))


def _happy(d: _Draw) -> tuple[Units, tuple[float, float]]:
    """Mouth corners up, cheeks raised; mostly with teeth, sometimes laughing."""
    face = d.units(mouthSmile_=(1.05, 1.4), cheekSquint_=(0.6, 1.0), eyeSquint_=(0.1, 0.4), mouthDimple_=(0, 0.4))
    kind = d.between(0, 1)
    if kind < 0.6:
        teeth = d.units(jawOpen=(0.05, 0.25), mouthUpperUp_=(0.55, 0.9), mouthLowerDown_=(0.15, 0.4))
        return face | teeth | d.units(mouthStretch_=(0, 0.3)), (0, 0)
    if kind < 0.85:
        return face | d.units(jawOpen=(0.35, 0.55), mouthUpperUp_=(0.5, 0.75), mouthLowerDown_=(0.2, 0.4)), (0, 0)
    return face, (0, 0)


def _sad(d: _Draw) -> tuple[Units, tuple[float, float]]:
    """Inner brows up, mouth corners down, gaze down; some with eyes closed, some crying."""
    face = d.units(browInnerUp=(0.8, 1.2), innerUp=(1.2, 1.8), mouthFrown_=(1.0, 1.35), mouthShrugLower=(0.5, 0.95))
    face |= d.units(eyeBlink_=(0.08, 0.25), cheekSquint_=(0, 0.3), mouthPress_=(0, 0.3))
    kind = d.between(0, 1)
    if kind < 0.15:
        face |= d.units(eyeBlink_=(0.75, 0.95))
    elif kind < 0.35:
        face |= d.units(jawOpen=(0.1, 0.3), mouthStretch_=(0.3, 0.5), mouthLowerDown_=(0.2, 0.5))
        face |= d.units(eyeSquint_=(0.5, 0.7), cheekSquint_=(0.5, 0.7))
    return face, (d.between(-8, 8), d.between(-20, -6))


def _surprise(d: _Draw) -> tuple[Units, tuple[float, float]]:
    """The whole brow up, eyes wide, the mouth a round hole."""
    face = d.units(browInnerUp=(1.2, 1.6), browOuterUp_=(0.7, 1.1), eyeWide_=(0.9, 1.3), mouthFunnel=(0.15, 0.5))
    return face | d.units(jawOpen=(0.25, 0.4) if d.chance(0.15) else (0.45, 0.85)), (0, d.between(-2, 6))


def _neutral(d: _Draw) -> tuple[Units, tuple[float, float]]:
    face = d.units(mouthSmile_=(0.02, 0.15), mouthFrown_=(0, 0.06), browInnerUp=(0, 0.1), browDown_=(0, 0.1))
    return face | d.units(eyeWide_=(0, 0.15), jawOpen=(0, 0.03), mouthPress_=(0, 0.12)), (0, 0)


_RECIPES: dict[str, Callable[[_Draw], tuple[Units, tuple[float, float]]]] = {
    "Angry": _angry,
    "Disgust": _disgust,
    "Fear": _fear,
    "Happy": _happy,
    "Sad": _sad,
    "Surprise": _surprise,
    "Neutral": _neutral,
}


def draw_expression(rng: np.random.Generator, emotion: str, intensity: float | None = None) -> Expression:
    """One way to show an emotion, at the given intensity or one between half and full."""
    if emotion not in EMOTIONS:
        raise ValueError(f"There is no recipe for '{emotion}'; choose one of {', '.join(EMOTIONS)}.")
    draw = _Draw(rng)
    units, (left, up) = _RECIPES[emotion](draw)
    if intensity is None:
        intensity = LEAST_INTENSITY + (1 - LEAST_INTENSITY) * draw.between(0, 1) ** 0.6  # the stronger ones more often
    strength = 1.0 if emotion == "Neutral" else intensity
    units = {name: weight * strength * draw.between(0.92, 1.08) for name, weight in units.items()}
    for side in SIDES:  # MakeHuman's lids hang a little low
        units[f"eyeWide{side}"] = units.get(f"eyeWide{side}", 0.0) + draw.between(0.05, 0.2)
    gaze = (left + draw.between(-7, 7), up + draw.between(-5, 4))
    return Expression(emotion, 0.0 if emotion == "Neutral" else intensity, units, gaze)
