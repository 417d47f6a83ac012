"""What is nearest at each pixel of a picture: a triangle of the mesh, or a piece of a strand."""

from __future__ import annotations

import numpy as np

from tools.render_demo_faces.model import DRAWN, Model
from tools.render_demo_faces.raster import FAR, draw_strands, draw_triangles, interpolated

_IN_MOUTH = [DRAWN.index(part) for part in ("upper_teeth", "lower_teeth", "tongue")]


class Buffer:
    """The nearest thing at each pixel. group: 0 the mesh, else the number of a group of strands; ids: which of it."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.depth = np.full(shape, FAR)
        self.group = np.zeros(shape, np.int32)
        self.ids = np.zeros(shape, np.int32)
        self.weights = np.zeros((*shape, 3), np.float32)
        self.groups = 0

    @property
    def covered(self) -> np.ndarray:
        return np.asarray(self.depth > FAR / 2)

    def add_mesh(self, model: Model, points: np.ndarray) -> None:
        """Teeth and tongue show through the open mouth only: their rough helpers would stick out of the lips."""
        inside = np.isin(model.part, _IN_MOUTH)
        outer, inner = np.flatnonzero(~inside), np.flatnonzero(inside)
        draw_triangles(points, model.triangles[outer], self.depth, self.ids, self.weights)
        covered = self.covered
        mouth = interpolated(self.ids[covered], self.weights[covered], model.triangles[outer], model.painted[:, 5:6])
        open_mouth = np.zeros(self.depth.shape, bool)
        open_mouth[covered] = mouth[:, 0] > 0.3
        self.ids = outer[self.ids].astype(np.int32)
        behind = Buffer(self.depth.shape)
        draw_triangles(points, model.triangles[inner], behind.depth, behind.ids, behind.weights)
        shown = open_mouth & (behind.depth > self.depth)
        self.depth[shown], self.weights[shown] = behind.depth[shown], behind.weights[shown]
        self.ids[shown] = inner[behind.ids[shown]]

    def add_strands(self, points: np.ndarray, widths: np.ndarray) -> None:
        self.groups += 1
        before = self.depth.copy()
        draw_strands(points, widths, self.depth, self.ids)
        self.group[self.depth > before] = self.groups
