"""One head in one picture: pose it, find what each pixel sees, paint that, light it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.render_demo_faces.buffer import Buffer
from tools.render_demo_faces.camera import Camera
from tools.render_demo_faces.expressions import Expression
from tools.render_demo_faces.fur import FurGrower
from tools.render_demo_faces.geometry import unit
from tools.render_demo_faces.glasses import frame
from tools.render_demo_faces.identity import Looks, Person
from tools.render_demo_faces.materials import Material, Points, paint_eye, paint_skin, paint_teeth, paint_tongue
from tools.render_demo_faces.model import DRAWN, EYES, Model, Posed
from tools.render_demo_faces.raster import interpolated, vertex_normals
from tools.render_demo_faces.scalp import ScalpGrower
from tools.render_demo_faces.shading import Light, Seen, openness, shade, shadow_map
from tools.render_demo_faces.strands import Skin, Strands

_BODY = DRAWN.index("body")
_COLLAR = 5.7  # below it, at rest, the body wears cloth
# How much of the key light is scattered into eyes and mouth, whatever stands in its way; by part, as in DRAWN.
_SCATTERED = np.array([0.0, 0.6, 0.6, 0.75, 0.5, 0.35])
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


@dataclass(frozen=True)
class Layer:
    """A head on nothing: linear RGB (H, W, 3), where it covers the picture (H, W), the median light off its skin."""

    linear: np.ndarray
    covered: np.ndarray
    brightness: float


class Studio:
    """Renders people, one after another."""

    def __init__(self, model: Model) -> None:
        self.model = model
        skin = Skin(model)
        self.scalp, self.fur = ScalpGrower(model, skin), FurGrower(model, skin)
        self._hair: dict[tuple[int, int], Strands] = {}

    def render(
        self, person: Person, expression: Expression, posed: Posed, camera: Camera, light: Light, shape: tuple[int, int]
    ) -> Layer:
        """The head in a picture of `shape` (rows, columns)."""
        detail = max(1.0, camera.scale / 90)
        hair = self._hair_of(person.looks, posed.rest, int(9000 * detail**1.3))
        groups = [hair, *self.fur.grow(person.looks, posed.vertices, detail)]
        groups += frame(self.model, posed.rest, person.looks.glasses) if person.looks.glasses else []
        turned = camera.turned(posed.smooth)
        buffer = Buffer(shape)
        buffer.add_mesh(self.model, camera.projected(turned))
        for group in groups:
            buffer.add_strands(camera.projected(camera.turned(group.points)), group.widths * camera.scale)
        seen = self._seen(buffer, camera, turned, groups, person.looks, expression, posed)
        shadows = shadow_map(light.key_way, turned, self.model.triangles, camera.turned(hair.points[::2]))
        linear = np.zeros((*shape, 3))
        linear[buffer.covered] = shade(seen, light, shadows)
        skin = linear[buffer.covered][seen.skin] @ _LUMINANCE
        return Layer(linear, buffer.covered, float(np.median(skin)) if len(skin) else 0.2)

    def _hair_of(self, looks: Looks, rest: np.ndarray, count: int) -> Strands:
        """The last person's hair is kept: expressions hardly move the scalp."""
        if (looks.seed, count) not in self._hair:
            self._hair = {(looks.seed, count): self.scalp.grow(looks, rest, count)}
        return self._hair[looks.seed, count]

    def _seen(
        self,
        buffer: Buffer,
        camera: Camera,
        turned: np.ndarray,
        groups: list[Strands],
        looks: Looks,
        expression: Expression,
        posed: Posed,
    ) -> Seen:
        """The covered pixels, in the order of `buffer.covered`."""
        rows, columns = np.nonzero(buffer.covered)
        group, ids = buffer.group[rows, columns], buffer.ids[rows, columns]
        mesh, n = group == 0, len(rows)
        seen = Seen(
            position=camera.lifted(columns, rows, buffer.depth[rows, columns]),
            normal=np.zeros((n, 3)),
            albedo=np.zeros((n, 3)),
            gloss=np.zeros(n),
            hair=~mesh,
            skin=np.zeros(n, bool),
            open=openness(buffer.depth, buffer.covered, camera.scale)[rows, columns],
            reached=np.zeros(n),
        )
        values = np.column_stack([self.model.painted, vertex_normals(turned, self.model.triangles), posed.smooth])
        weights = buffer.weights[rows[mesh], columns[mesh]]
        values = interpolated(ids[mesh], weights, self.model.triangles, values.astype(np.float32))
        part = self.model.part[ids[mesh]]
        material = self._painted(values, part, looks, expression, posed)
        seen.normal[mesh], seen.albedo[mesh], seen.gloss[mesh] = unit(values[:, 6:9]), material.albedo, material.gloss
        seen.skin[mesh] = (part == _BODY) & (values[:, 1] > _COLLAR)
        seen.open[mesh] **= np.where(part == _BODY, 1.0, 0.4)  # wet things shine out of their hollows
        seen.reached[mesh] = _SCATTERED[part]
        for number, strands in enumerate(groups, start=1):
            mine = group == number
            strand, point = np.divmod(ids[mine], strands.points.shape[1])
            along = strands.points[strand, point + 1] - strands.points[strand, point]
            seen.normal[mine], seen.albedo[mine] = unit(along @ camera.rotation.T), strands.colours[strand]
        return seen

    def _painted(
        self, values: np.ndarray, part: np.ndarray, looks: Looks, expression: Expression, posed: Posed
    ) -> Material:
        """The mesh's pixels; values (N, 12): columns of `Model.painted`, the normal, the place on the posed head."""
        albedo, gloss = np.zeros((len(values), 3)), np.zeros(len(values))
        at = values[:, :3]
        for number, name in enumerate(DRAWN):
            mine = part == number
            if name == "body":
                material = paint_skin(Points(at[mine], *values[mine, 3:6].T), looks, expression)
            elif name in EYES:
                outwards = unit(values[mine, 9:12] - self.model.eye_centre(posed, name))
                material = paint_eye(outwards, expression.gaze_way(), looks)
            elif name == "tongue":
                material = paint_tongue(at[mine])
            else:
                material = paint_teeth(at[mine], upper=name == "upper_teeth")
            albedo[mine], gloss[mine] = material.albedo, material.gloss
        return Material(albedo, gloss)
