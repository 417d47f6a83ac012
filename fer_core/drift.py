""" "Why always neutral?": what sets a face apart from those that a checkpoint was trained on.

Each trait of a face is told as a percentile of its distribution over the training faces. Those distributions are
computed once for a run (`fer_core.reference`) and stand beside its checkpoints, as numbers only, so that
this works without the training data too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fer_core.explain.embedding import penultimate
from fer_core.faces import Face
from fer_core.runs import Checkpoint

UNUSUAL = 95.0  # a percentile beyond which, or below 100 minus which, a trait is worth a sentence
DIRECTIONS = 256  # onto which features are projected
NEAREST = 5  # the neighbour whose distance counts, among the training faces that a reference keeps


@dataclass(frozen=True)
class Trait:
    """Something that is measured of a face. `low` and `high` say what a face is that has little or much of it, and
    the hints what a person can do about it; "" where that end is harmless."""

    title: str
    unit: str
    low: str
    high: str
    hint_low: str = ""
    hint_high: str = ""


TRAITS: dict[str, Trait] = {
    "brightness": Trait(
        "Brightness", "gray levels", "Darker", "Brighter", "Add light from the front.", "Use softer light."
    ),
    "contrast": Trait(
        "Contrast", "gray levels", "Flatter in contrast", "Harsher in contrast", "Avoid backlight.", "Use softer light."
    ),
    "sharpness": Trait(
        "Sharpness", "variance of the Laplacian", "More blurred", "Sharper or noisier", "Hold still, and focus.", ""
    ),
    "size": Trait("Height of the face", "pixels", "Smaller in the picture", "", "Come closer, or send a larger photo."),
    "turn": Trait("Turn of the head", "eye distances", "", "Turned further to a side", "", "Look into the camera."),
    "tilt": Trait("Tilt of the head", "degrees", "", "Tilted further", "", "Hold the head upright."),
    "features": Trait("Distance of the features", "cosine distance", "", "Stranger to the network"),
}


@dataclass(frozen=True)
class Reading:
    """One trait of one face. percentile: the share of the reference's faces with less of it, 0..100."""

    name: str
    value: float
    percentile: float
    among: str = "training faces"

    @property
    def trait(self) -> Trait:
        return TRAITS[self.name]

    @property
    def is_unusual(self) -> bool:
        return bool(self._end)

    @property
    def sentence(self) -> str:
        """ "Darker than 97 % of the training faces." """
        if not self._end:
            return f"{self.trait.title} as in the {self.among}."
        share = max(self.percentile, 100 - self.percentile)
        others = f"all {self.among}" if share == 100 else f"{min(share, 99.0):.0f} % of the {self.among}"
        return f"{self._end} than {others}."

    @property
    def hint(self) -> str:
        """What a person can do about it; "" where there is nothing to do."""
        if not self._end:
            return ""
        return self.trait.hint_high if self.percentile > 50 else self.trait.hint_low

    @property
    def _end(self) -> str:
        """The word for the end of the distribution at which the face lies; "" within it."""
        if self.percentile > UNUSUAL:
            return self.trait.high
        return self.trait.low if self.percentile < 100 - UNUSUAL else ""


@dataclass(frozen=True)
class Drift:
    """How a face differs from the training faces: its readings in the order of TRAITS, and whose faces they were."""

    readings: tuple[Reading, ...]
    data: str
    faces: int

    @property
    def unusual(self) -> tuple[Reading, ...]:
        """The readings at the ends of their distributions, the most extreme first."""
        found = [reading for reading in self.readings if reading.is_unusual]
        return tuple(sorted(found, key=lambda reading: -abs(reading.percentile - 50)))

    @property
    def sentence(self) -> str:
        """All of it in a few words, the most extreme first."""
        if not self.unusual:
            return "Nothing that is measured here is unusual in a way that could mislead the network."
        return " ".join(reading.sentence for reading in self.unusual)


@dataclass(frozen=True, eq=False)
class Reference:
    """The distributions of the traits over the faces that a run was trained on.

    data        whose they are
    faces       how many: all for what the pixels tell, a sample for size, turn, tilt and features
    quantiles   of each trait, float32 (101,): from the least over the median to the most
    neighbours  directions of the features of some training faces under one checkpoint, int8 (M, DIRECTIONS); None
                where there are none for the checkpoint
    held_out    whether distances of features are those of faces that the network never saw, or of training faces
    """

    data: str
    faces: int
    quantiles: dict[str, np.ndarray]
    neighbours: np.ndarray | None = None
    held_out: bool = True

    def reading(self, name: str, value: float) -> Reading:
        """Where a value lies. Among equal values, in the middle of their percentiles; 0 and 100 only outside all."""
        levels = self.quantiles[name]
        below, upto = np.searchsorted(levels, value, "left"), np.searchsorted(levels, value, "right")
        inside = (below + upto - 1) / 2 if upto > below else np.interp(value, levels, np.arange(len(levels)))
        percentile = 0.0 if upto == 0 else 100.0 if below == len(levels) else float(np.clip(inside, 0.1, 99.9))
        among = "held-out faces" if name == "features" and self.held_out else "training faces"
        return Reading(name, float(value), percentile, among)


def compare(
    crops: np.ndarray,
    reference: Reference,
    checkpoint: Checkpoint | None = None,
    faces: Sequence[Face] | None = None,
) -> list[Drift]:
    """What sets each of the faces uint8 (N, 48, 48) apart from the reference's.

    checkpoint: for the distance of the features; left out without one, or where the reference lacks it. faces: where
    the crops were found, for size, turn and tilt; left out without.
    """
    known = [name for name in TRAITS if name in reference.quantiles]
    values = [pixel_traits(crop) for crop in crops]
    for traits, face in zip(values, faces or [], strict=False):
        traits |= face_traits(face)
    if checkpoint is not None and reference.neighbours is not None and len(crops):
        distances = feature_distances(penultimate(checkpoint, crops), reference.neighbours)
        values = [traits | {"features": float(far)} for traits, far in zip(values, distances, strict=True)]
    return [
        Drift(tuple(reference.reading(n, traits[n]) for n in known if n in traits), reference.data, reference.faces)
        for traits in values
    ]


# -- what is measured ----------------------------------------------------------------------------------------------


def pixel_traits(crop: np.ndarray) -> dict[str, float]:
    """Of a face uint8 (48, 48): mean and standard deviation of its gray levels, and the variance of its Laplacian
    (the four neighbours less four times the pixel; Pech-Pacheco et al. 2000), within the border."""
    gray = crop.astype(np.float32)
    laplacian = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * gray[1:-1, 1:-1]
    return {"brightness": float(gray.mean()), "contrast": float(gray.std()), "sharpness": float(laplacian.var())}


def face_traits(face: Face) -> dict[str, float]:
    """From its box the height in pixels; from its landmarks how far the head is turned and tilted, to either side.

    turn: how far the tip of the nose lies beside the middle of the eyes, along the line of the eyes, in distances of
    the eyes: 0 from the front, about 0.5 where it covers an eye. It grows with the yaw, but is no angle.
    tilt: the angle of the line of the eyes, degrees 0..180.
    """
    right, left, nose = face.landmarks[:3].astype(np.float64)
    across = left - right
    distance = max(float(np.hypot(*across)), 1e-6)
    turn = float((nose - (right + left) / 2) @ across) / distance**2
    return {"size": face.height, "turn": abs(turn), "tilt": abs(float(np.degrees(np.arctan2(across[1], across[0]))))}


def feature_directions(features: np.ndarray) -> np.ndarray:
    """Features (N, D) as their directions after a random projection (Johnson and Lindenstrauss 1984), int8
    (N, DIRECTIONS): a few numbers a face, with about the angles between the features."""
    bits = np.random.PCG64(0).random_raw(-(-features.shape[1] * DIRECTIONS // 64)).view(np.uint8)  # the same for ever
    signs = np.unpackbits(bits)[: features.shape[1] * DIRECTIONS].reshape(features.shape[1], DIRECTIONS)
    projected = features @ (2 * signs.astype(np.float32) - 1)
    largest = np.abs(projected).max(axis=1, keepdims=True, initial=0)
    return np.rint(127 * projected / np.where(largest > 0, largest, 1)).astype(np.int8)


def feature_distances(features: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """Of features (N, D) how far the NEAREST-th nearest of the training faces lies, as 1 minus the cosine, float32 (N,)
    in 0..2: k nearest neighbours of normalised features (Sun et al. 2022, "Out-of-distribution detection with deep
    nearest neighbors"). The Mahalanobis distance (Lee et al. 2018) told blurred, dark and turned faces worse here."""
    directions, others = (_unit(each) for each in (feature_directions(features), neighbours))
    rank = min(NEAREST, len(others)) - 1
    nearest: np.ndarray = np.partition(1 - directions @ others.T, rank, axis=1)[:, rank]
    return nearest


def _unit(directions: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(directions.astype(np.float32), axis=1, keepdims=True)
    return np.asarray(directions / np.where(lengths > 0, lengths, 1), np.float32)
