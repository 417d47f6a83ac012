"""Brows, lashes and beards: short strands that move with the skin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tools.render_demo_faces.geometry import unit
from tools.render_demo_faces.hair import STUBBLE, beard_cover, brow_cover, moustache_cover
from tools.render_demo_faces.identity import Looks
from tools.render_demo_faces.model import EYES, Model
from tools.render_demo_faces.strands import Skin, Strands, frames

Field = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Fur:
    """Strands of one kind. cover: points at rest (N, 3) -> 0..1; lean: -> the way they point; length in decimetres."""

    among: np.ndarray  # triangles (T,) where any grow
    count: int
    cover: Field
    lean: Field
    length: tuple[float, float]
    width: float
    colour: np.ndarray


class FurGrower:
    """Grows what is on the face; `detail` asks for more and finer strands in larger pictures."""

    def __init__(self, model: Model, skin: Skin) -> None:
        self.model, self.skin = model, skin

    def grow(self, looks: Looks, posed: np.ndarray, detail: float) -> list[Strands]:
        """Lashes, brows and what is longer than stubble, on the posed vertices (V, 3)."""
        rng = np.random.default_rng([looks.seed, 2])
        kinds = [self._brows(looks, detail)]
        if looks.beard > STUBBLE:
            kinds.append(self._beard(looks, looks.beard, beard_cover, _downwards, 0.12, detail))
        if looks.moustache > STUBBLE:
            kinds.append(self._beard(looks, looks.moustache, moustache_cover, _sideways, 0.06, detail))
        return [*(self._strands(fur, posed, rng) for fur in kinds), self._lashes(posed, 0.004 + 0.006 * looks.makeup)]

    def _brows(self, looks: Looks, detail: float) -> Fur:
        x, y, z = self.skin.centre.T
        return Fur(
            among=(np.abs(x) < 0.62) & (np.abs(y - 7.47) < 0.11) & (z > 0.7),
            count=int(2600 * detail),
            cover=lambda at: looks.brow_density * brow_cover(at, looks),
            lean=_along_brow,
            length=(0.025, 0.05),
            width=0.007 / detail**0.5,
            colour=np.minimum(looks.hair * 0.7 + 0.004, looks.skin * 0.35),
        )

    def _beard(
        self, looks: Looks, grown: float, cover: Callable[..., np.ndarray], lean: Field, longest: float, detail: float
    ) -> Fur:
        return Fur(
            among=cover(self.skin.centre, self.skin.lips) > 0.01,
            count=int(7000 * detail),
            cover=lambda at: grown * cover(at, np.zeros(len(at))),
            lean=lean,
            length=(0.03, 0.03 + longest * grown),
            width=0.009 / detail**0.5,
            colour=looks.hair * 0.9,
        )

    def _strands(self, fur: Fur, posed: np.ndarray, rng: np.random.Generator) -> Strands:
        """Each strand leans in its triangle's frame, as that frame is moved."""
        roots = self.skin.roots(rng, fur.count, fur.among)
        roots = roots.where(rng.random(fur.count) < fur.cover(roots.at))
        n = len(roots.at)
        way = unit(fur.lean(roots.at) + rng.normal(0, 0.14, (n, 3))) * rng.uniform(*fur.length, (n, 1))
        moved = frames(posed[roots.corners]) @ np.linalg.inv(frames(self.skin.base[roots.corners]))
        points = roots.on(posed)[:, None] + np.einsum("nij,nj->ni", moved, way)[:, None] * [[0.0], [0.55], [1.0]]
        colours = np.clip(fur.colour * rng.lognormal(0, 0.25, (n, 1)), 0.003, 0.9)
        return Strands(points, np.tile(fur.width * np.array([1.0, 0.9, 0.5]), (n, 1)), colours)

    def _lashes(self, posed: np.ndarray, width: float) -> Strands:
        """Upper lashes, across the mesh's strips of quads; the lower ones are too faint to see."""
        strip, base = self.model.head.quads["upper_lashes"], self.skin.base
        eyes = [base[self.model.vertices_of(eye)].mean(0) for eye in EYES]
        away = np.min([np.linalg.norm(base[strip] - eye, axis=-1) for eye in eyes], axis=0)  # (Q, 4)
        order = np.argsort(away, axis=1)
        inner, outer = np.take_along_axis(strip, order[:, :2], 1), np.take_along_axis(strip, order[:, 2:], 1)
        straight = np.linalg.norm(base[inner[:, 0]] - base[outer[:, 0]], axis=1)
        crossed = np.linalg.norm(base[inner[:, 0]] - base[outer[:, 1]], axis=1)
        outer = np.where((straight > crossed)[:, None], outer[:, ::-1], outer)
        places = np.array([0.15, 0.5, 0.85])[:, None, None]
        root, tip = ((1 - places) * posed[side[:, 0]] + places * posed[side[:, 1]] for side in (inner, outer))
        points = np.stack([root, (root + tip) / 2, tip], axis=2).reshape(-1, 3, 3)
        return Strands(
            points, np.tile(width * np.array([1.0, 0.8, 0.3]), (len(points), 1)), np.full((len(points), 3), 0.01)
        )


def _along_brow(at: np.ndarray) -> np.ndarray:
    """Up at the inner end, outwards along the brow, then a little down."""
    along = np.clip((np.abs(at[:, 0]) - 0.09) / 0.42, 0, 1)
    return np.stack([np.sign(at[:, 0]) * (0.35 + along), 0.8 - 1.3 * along, -0.55 * along], axis=1)


def _downwards(at: np.ndarray) -> np.ndarray:
    return np.stack([0.5 * at[:, 0], np.full(len(at), -1.0), np.full(len(at), 0.25)], axis=1)


def _sideways(at: np.ndarray) -> np.ndarray:
    return np.stack([np.tanh(at[:, 0] * 12), np.full(len(at), -0.8), np.full(len(at), 0.15)], axis=1)
