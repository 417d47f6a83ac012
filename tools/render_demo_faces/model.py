"""The head ready to be posed: its faces rounded off once, and whatever is looked up at rest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from tools.render_demo_faces.assets import Head
from tools.render_demo_faces.expressions import Expression
from tools.render_demo_faces.geometry import subdivided, triangles
from tools.render_demo_faces.identity import Person

DRAWN = ("body", "left_eye", "right_eye", "upper_teeth", "lower_teeth", "tongue")
EYES = ("left_eye", "right_eye")


@dataclass(frozen=True)
class Posed:
    """vertices: (V, 3) as the expression moves them; smooth: (W, 3) rounded off; rest: (V, 3) the person at rest."""

    vertices: np.ndarray
    smooth: np.ndarray
    rest: np.ndarray


class Model:
    """What all people share.

    smoothing  sparse (W, V): mesh vertices -> the rounded mesh's
    triangles  int32 (T, 3), of the rounded mesh
    part       int32 (T,), index into DRAWN
    painted    float32 (W, 6): position at rest on the unmodified head, then lips, eyelids, inside of the mouth
    """

    def __init__(self, head: Head) -> None:
        self.head = head
        quads = np.concatenate([head.quads[part] for part in DRAWN])
        sizes = [len(head.quads[part]) for part in DRAWN]
        self.smoothing: sparse.csr_matrix
        self.smoothing, fine = subdivided(quads, len(head.base))
        self.triangles = triangles(fine)
        self.part = np.tile(np.repeat(np.arange(len(DRAWN), dtype=np.int32), sizes), 8)
        attributes = np.column_stack([head.base, head.masks["lips"], head.masks["eyelids"], head.masks["inside-mouth"]])
        self.painted = (self.smoothing @ attributes).astype(np.float32)

    def vertices_of(self, part: str) -> np.ndarray:
        return np.asarray(np.unique(self.head.quads[part]))

    @cached_property
    def body_triangles(self) -> np.ndarray:
        return triangles(self.head.quads["body"])

    @cached_property
    def face_vertices(self) -> np.ndarray:
        """The skin from the chin to the hairline and from cheek to cheek: what a face detector's box bounds."""
        x, y, z = self.head.base[self.vertices_of("body")].T
        inside = (np.abs(x) < 0.66) & (y > 6.1) & (y < 7.85) & (z > 0.55)
        return np.asarray(self.vertices_of("body")[inside])

    def pose(self, person: Person, expression: Expression) -> Posed:
        rest = self.head.base + self.head.moved(person.shape)
        vertices = rest + self.head.moved(expression.target_weights())
        squint = expression.both("cheekSquint") + expression.both("eyeSquint") + expression.both("noseSneer")
        for eye in EYES:  # raised lids would cut into the eyeball
            vertices[self.vertices_of(eye), 2] -= 0.006 + 0.014 * min(squint / 2, 1.2)
        for teeth, drop in (("upper_teeth", 0.0), ("lower_teeth", 0.03)):  # behind the lips, within the cheeks
            mine = self.vertices_of(teeth)
            vertices[mine] = vertices[mine] * [0.86, 1, 1] - [0, drop, 0.04]
        return Posed(vertices, self.smoothing @ vertices, rest)

    def eye_centre(self, posed: Posed, eye: str) -> np.ndarray:
        return np.asarray(posed.vertices[self.vertices_of(eye)].mean(0))
