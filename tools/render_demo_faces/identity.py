"""Who it is: age, sex, ancestry and face shape as target weights, and the looks that are painted or grown on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np

ANCESTRIES = ("caucasian", "african", "asian")
AGES = ("child", "young", "middle", "old")

# Linear RGB reflectance, from light to dark.
_SKIN = np.array(
    [[0.72, 0.50, 0.41], [0.62, 0.41, 0.31], [0.46, 0.28, 0.195], [0.29, 0.165, 0.11], [0.13, 0.073, 0.05]]
)
_HAIR = {
    "black": (0.010, 0.009, 0.008),
    "dark": (0.028, 0.018, 0.012),
    "brown": (0.075, 0.043, 0.025),
    "light": (0.18, 0.11, 0.060),
    "blond": (0.38, 0.26, 0.135),
    "red": (0.20, 0.070, 0.026),
    "grey": (0.22, 0.215, 0.21),
    "white": (0.42, 0.41, 0.395),
}
_IRIS = {
    "brown": (0.055, 0.028, 0.014),
    "hazel": (0.12, 0.075, 0.03),
    "blue": (0.10, 0.16, 0.23),
    "green": (0.10, 0.14, 0.075),
}

_SHAPE_STRENGTH = {
    "nose": 0.45,
    "mouth": 0.35,
    "l-eye": 0.35,
    "l-cheek": 0.45,
    "chin": 0.5,
    "forehead": 0.45,
    "eyebrows": 0.35,
    "l-ear": 0.5,
    "head": 0.35,
}
_SHAPE_OPPOSITES = (
    "-decr/-incr",
    "-down/-up",
    "-in/-out",
    "-concave/-convex",
    "-backward/-forward",
    "-compress/-uncompress",
)
_NOT_SHAPE = ("head-trans", "neck-", "head-angle", "l-ear-trans", "head-age", "head-fat", "mouth-trans", "head-scale")


@dataclass(frozen=True)
class Looks:
    """What is not geometry. Colours are linear RGB; `seed` drives what is random on the skin and in the hair."""

    seed: int
    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    cloth: np.ndarray
    lips: float  # how much darker and redder than the skin, 0..1
    makeup: float
    wrinkles: float
    freckles: float
    hair_style: str  # a key of `hair.STYLES`
    hairline: float  # how much higher (or lower) than usual
    parting: float  # where the hair is parted, -1..1; its sign is the side it is swept to
    hair_length: float  # 0..1 within what the style allows
    brow_width: float
    brow_arch: float
    brow_height: float
    brow_density: float
    beard: float  # 0 none, up to `hair.STUBBLE` a shadow, above that grown
    moustache: float
    glasses: str  # "", "thin", "thick"


@dataclass(frozen=True)
class Person:
    """shape: weights of `Head.targets`."""

    male: float
    ancestry: str
    age: str
    shape: dict[str, float]
    looks: Looks


def draw_person(rng: np.random.Generator, target_names: Iterable[str]) -> Person:
    """A person who does not exist."""
    is_male = bool(rng.random() < 0.5)
    male = rng.uniform(0.85, 1.0) if is_male else rng.uniform(0.0, 0.15)
    ancestry = str(rng.choice(ANCESTRIES, p=[0.46, 0.27, 0.27]))
    age = str(rng.choice(AGES, p=[0.10, 0.50, 0.25, 0.15]))
    mix = dict.fromkeys(ANCESTRIES, 0.0)
    mix[ancestry] = rng.uniform(0.7, 1.0)
    mix[str(rng.choice([other for other in ANCESTRIES if other != ancestry]))] = 1 - mix[ancestry]
    shape = _macro_shape(rng, male, mix, age)
    for name, weight in _local_shape(rng, age, is_male, set(target_names)).items():
        shape[name] = shape.get(name, 0.0) + weight
    return Person(male, ancestry, age, shape, _draw_looks(rng, is_male, mix, ancestry, age))


def _macro_shape(rng: np.random.Generator, male: float, mix: dict[str, float], age: str) -> dict[str, float]:
    """Products of sex, ancestry, age, muscle and weight, as MakeHuman blends them."""
    years = {
        "child": {"child": rng.uniform(0.35, 0.7)},
        "young": {"old": rng.uniform(0, 0.1)},
        "middle": {"old": rng.uniform(0.2, 0.5)},
        "old": {"old": rng.uniform(0.6, 1.0)},
    }[age]
    years["young"] = 1 - sum(years.values())
    sexes = {"male": male, "female": 1 - male}
    shape = {f"identity/{a}-{s}-{y}": mix[a] * sexes[s] * years[y] for a, s, y in product(mix, sexes, years)}
    muscle, weight = rng.uniform(-0.6, 0.4), float(np.clip(rng.normal(-0.1, 0.35), -0.9, 0.9))
    muscles = {"averagemuscle": 1 - abs(muscle), "maxmuscle" if muscle > 0 else "minmuscle": abs(muscle)}
    weights = {"averageweight": 1 - abs(weight), "maxweight" if weight > 0 else "minweight": abs(weight)}
    for s, y, m, w in product(sexes, years, muscles, weights):
        shape[f"identity/universal-{s}-{y}-{m}-{w}"] = sexes[s] * years[y] * muscles[m] * weights[w]
    return {name: value for name, value in shape.items() if value > 0}


def _local_shape(rng: np.random.Generator, age: str, is_male: bool, names: set[str]) -> dict[str, float]:
    """Nose, mouth, eyes, ... each a little different, alike on both sides."""
    shape: dict[str, float] = {}
    for low, high in _shape_pairs(names):
        feature = low.removeprefix("identity/")
        strength = next((s for start, s in _SHAPE_STRENGTH.items() if feature.startswith(start)), 0.3)
        weight = float(np.clip(rng.normal(0, 0.55 * strength), -1.4 * strength, 1.4 * strength))
        weight *= 0.5 if age == "child" else 1.0
        name = low if weight < 0 else high
        shape[name] = abs(weight)
        if feature.startswith("l-"):
            shape[name.replace("/l-", "/r-")] = abs(weight) * rng.uniform(0.9, 1.1)
    for name, weight in (("head-fat", rng.normal(-0.1, 0.2)), ("head-scale-horiz", rng.normal(0, 0.2))):
        shape[f"identity/{name}-{'incr' if weight > 0 else 'decr'}"] = min(abs(weight), 0.6)
    outline = str(rng.choice(["oval", "round", "square", "rectangular", "triangular", "invertedtriangular", "diamond"]))
    shape[f"identity/head-{outline}"] = rng.uniform(0.05, 0.4) * (0.4 if outline in ("square", "rectangular") else 1)
    shape["identity/head-age-incr"] = {"middle": rng.uniform(0, 0.4), "old": rng.uniform(0.2, 0.8)}.get(age, 0.0)
    if not is_male:
        bigger = rng.uniform(0, 0.35)
        for eye in ("identity/l-eye-scale-incr", "identity/r-eye-scale-incr"):
            shape[eye] = shape.get(eye, 0.0) + bigger
    return shape


def _shape_pairs(names: set[str]) -> list[tuple[str, str]]:
    """Targets that are each other's opposite, of the middle and of the left side."""
    pairs = []
    for name in sorted(names):
        for low, high in (ends.split("/") for ends in _SHAPE_OPPOSITES):
            other = name.removesuffix(low) + high
            feature = name.removeprefix("identity/")
            if name.endswith(low) and other in names and not feature.startswith(("r-", *_NOT_SHAPE)):
                pairs.append((name, other))
    return pairs


def _draw_looks(rng: np.random.Generator, is_male: bool, mix: dict[str, float], ancestry: str, age: str) -> Looks:
    tones = {"caucasian": (0.0, 0.36), "asian": (0.15, 0.45), "african": (0.62, 1.0)}
    tone = sum(share * rng.uniform(*tones[a]) for a, share in mix.items())
    grown = is_male and age != "child"
    beard, moustache = _draw_beard(rng) if grown else (0.0, 0.0)
    wrinkles = {"child": 0.0, "young": 0.05, "middle": 0.4, "old": 0.9}[age] * rng.uniform(0.6, 1.2)
    return Looks(
        seed=int(rng.integers(1 << 30)),
        skin=skin_colour(tone),
        hair=_draw_hair_colour(rng, ancestry, age),
        iris=np.array(_IRIS[str(rng.choice(list(_IRIS)))] if ancestry == "caucasian" else _IRIS["brown"]),
        cloth=rng.uniform(0.02, 0.6) * rng.uniform(0.5, 1.0, 3),
        lips=rng.uniform(0.15, 0.5) if is_male else rng.uniform(0.3, 1.0),
        makeup=rng.uniform(0.3, 1.0) if not is_male and age != "child" else rng.uniform(0, 0.2),
        wrinkles=wrinkles,
        freckles=rng.uniform(0.3, 1.0) if ancestry == "caucasian" and rng.random() < 0.2 else 0.0,
        hair_style=_draw_style(rng, is_male, ancestry, age),
        hairline=rng.uniform(-0.06, 0.05),
        parting=rng.choice([-1, 1]) * rng.uniform(0.05, 0.8),
        hair_length=rng.uniform(0, 1),
        brow_width=rng.uniform(0.026, 0.042) * (1.15 if is_male else 0.75),
        brow_arch=rng.uniform(-0.005, 0.02) if is_male else rng.uniform(0.005, 0.03),
        brow_height=rng.uniform(-0.01, 0.02),
        brow_density=rng.uniform(0.6, 1.0),
        beard=beard,
        moustache=moustache,
        glasses=str(rng.choice(["thin", "thick"])) if rng.random() < 0.12 else "",
    )


def skin_colour(tone: float) -> np.ndarray:
    """0 (light) to 1 (dark) -> linear RGB."""
    position = tone * (len(_SKIN) - 1)
    return np.array([np.interp(position, range(len(_SKIN)), channel) for channel in _SKIN.T])


def _draw_hair_colour(rng: np.random.Generator, ancestry: str, age: str) -> np.ndarray:
    if age == "old" and rng.random() < 0.8:
        name = rng.choice(["grey", "white"])
    elif ancestry == "caucasian":
        name = rng.choice(["black", "dark", "brown", "light", "blond", "red"], p=[0.1, 0.25, 0.28, 0.17, 0.15, 0.05])
    else:
        name = rng.choice(["black", "dark"], p=[0.7, 0.3])
    return np.array(_HAIR[str(name)]) * rng.uniform(0.8, 1.3)


def _draw_style(rng: np.random.Generator, is_male: bool, ancestry: str, age: str) -> str:
    if ancestry == "african" and rng.random() < 0.45:
        return str(rng.choice(["afro", "curls", "buzz"] if is_male else ["afro", "curls", "tied"]))
    if is_male and age in ("middle", "old"):
        return str(rng.choice(["short", "swept", "buzz", "receding", "bald"], p=[0.3, 0.2, 0.12, 0.25, 0.13]))
    if is_male:
        return str(rng.choice(["short", "swept", "fringe", "curls", "buzz"], p=[0.3, 0.3, 0.15, 0.12, 0.13]))
    return str(rng.choice(["long", "wavy", "bob", "bangs", "tied", "curls"], p=[0.25, 0.22, 0.14, 0.13, 0.18, 0.08]))


def _draw_beard(rng: np.random.Generator) -> tuple[float, float]:
    kind = rng.random()
    if kind < 0.16:
        return float(rng.uniform(0.6, 1)), float(rng.uniform(0.6, 1))
    if kind < 0.45:
        return float(rng.uniform(0.1, 0.4)), float(rng.uniform(0.1, 0.4))
    return (0.0, float(rng.uniform(0.6, 1))) if kind < 0.52 else (0.0, 0.0)
