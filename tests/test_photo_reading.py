"""The faces of a photo: table and marks."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_core.data.photos import Photo, read_photo
from fer_core.explain.pictures import Look
from fer_core.faces import Face, crop_faces
from fer_core.labels import COLORS, EMOTIONS
from fer_core.photo_reading import SHOWN, face_table, find_in_photo, marked_photo

PORTRAITS = Path(__file__).parent.parent / "fer_core" / "data" / "demo" / "portraits"


class Fixed:
    def __init__(self, *boxes: tuple[float, float, float, float]) -> None:
        self.faces = [Face(box, 0.75, np.zeros((5, 2), np.float32)) for box in boxes]

    def detect(self, rgb: np.ndarray) -> list[Face]:  # noqa: ARG002
        return self.faces


def said_of(*emotions: str) -> np.ndarray:
    rows = [np.full(7, 0.05, np.float32) for _ in emotions]
    for row, emotion in zip(rows, emotions, strict=True):
        row[EMOTIONS.index(emotion)] = 0.7
    return np.stack(rows)


def test_a_line_of_the_table_holds_box_and_probabilities_in_pixels_of_the_file() -> None:
    photo = Photo(np.zeros((300, 400, 3), np.uint8), scale=0.5)
    found = find_in_photo(photo, "me.jpg", Fixed((10, 20, 60, 80), (100, 40, 160, 120)))
    table = face_table(found, said_of("Fear", "Happy"))
    assert table["file"].tolist() == ["me.jpg", "me.jpg"]
    assert table["face"].tolist() == [1, 2]
    assert table["emotion"].tolist() == ["Fear", "Happy"]
    assert table[["left", "top", "right", "bottom"]].to_numpy().tolist() == [[20, 40, 120, 160], [200, 80, 320, 240]]
    np.testing.assert_allclose(table[list(EMOTIONS)].to_numpy(), said_of("Fear", "Happy"), atol=1e-4)
    assert table["detector_score"].tolist() == [0.75, 0.75]


def test_a_photo_without_faces_has_an_empty_table_with_the_same_columns() -> None:
    empty = find_in_photo(Photo(np.zeros((30, 40, 3), np.uint8)), "wall.jpg", Fixed())
    full = find_in_photo(Photo(np.zeros((30, 40, 3), np.uint8)), "me.jpg", Fixed((1, 2, 9, 12)))
    table = face_table(empty, np.empty((0, 7), np.float32))
    assert len(table) == 0
    assert table.columns.tolist() == face_table(full, said_of("Sad")).columns.tolist()


def test_the_photo_is_kept_at_a_size_to_look_at_and_boxes_follow() -> None:
    photo = Photo(np.zeros((1500, 2 * SHOWN, 3), np.uint8))
    found = find_in_photo(photo, "big.jpg", Fixed((200, 100, 600, 500)))
    assert found.shown.shape == (750, SHOWN, 3)
    assert found.box(0) == (100, 50, 300, 250)
    left, top, side = found.square(0)
    assert (left + side / 2, top + side / 2) == pytest.approx((200, 150))
    assert side == pytest.approx(0.97 * 200)
    np.testing.assert_array_equal(found.crops, crop_faces(photo.rgb, found.faces))


def test_every_face_is_boxed_in_the_colour_of_its_emotion() -> None:
    found = find_in_photo(
        Photo(np.zeros((400, 640, 3), np.uint8)), "x", Fixed((50, 100, 200, 300), (350, 90, 500, 290))
    )
    before = found.shown.copy()
    picture = marked_photo(found, said_of("Happy", "Sad"), chosen=1)
    for box, emotion, thick in (((50, 100, 200, 300), "Happy", 2), ((350, 90, 500, 290), "Sad", 4)):
        color = [int(COLORS[emotion][i : i + 2], 16) for i in (1, 3, 5)]
        left, top, right, bottom = box
        assert (picture[top:bottom, left : left + thick] == color).all()
        assert not picture[top + 10 : bottom - 10, left + thick : right - thick].any()
        assert (picture[top - 12 : top, left:right] == color).all(axis=-1).mean() > 0.3  # its label
    np.testing.assert_array_equal(found.shown, before)


def test_maps_lie_on_the_squares() -> None:
    found = find_in_photo(Photo(np.zeros((400, 640, 3), np.uint8)), "x", Fixed((100, 100, 250, 300)))
    maps = np.ones((1, 48, 48), np.float32)
    plain = marked_photo(found, said_of("Happy"))
    mapped = marked_photo(found, said_of("Happy"), maps=maps, look=Look("positive"), scale=1.0)
    left, top, side = found.square(0)
    changed = np.argwhere((plain != mapped).any(axis=2))
    np.testing.assert_allclose(changed.min(axis=0), [top, left], atol=1)
    np.testing.assert_allclose(changed.max(axis=0) + 1, [top + side, left + side], atol=1)


def test_two_hundred_small_faces_are_each_numbered() -> None:
    boxes = [(20.0 + 60 * x, 30.0 + 70 * y, 42.0 + 60 * x, 58.0 + 70 * y) for y in range(10) for x in range(20)]
    found = find_in_photo(Photo(np.zeros((760, 1240, 3), np.uint8)), "crowd", Fixed(*boxes))
    said = said_of(*["Neutral"] * 200)
    assert len(face_table(found, said)) == 200
    picture = marked_photo(found, said)
    assert all(picture[int(top) - 5, int(left) + 4].any() for left, top, _, _ in boxes)


def test_a_rendered_group_is_found_from_left_to_right() -> None:
    found = find_in_photo(read_photo(PORTRAITS / "group.jpg"), "group.jpg")
    assert len(found.faces) == 5
    assert [face.centre[0] for face in found.faces] == sorted(face.centre[0] for face in found.faces)
    assert found.crops.shape == (5, 48, 48)


def test_a_single_pixel_is_a_photo_without_a_face() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (1, 1)).save(stream, "PNG")
    found = find_in_photo(read_photo(stream.getvalue(), "dot.png"), "dot.png")
    assert found.faces == ()
    assert marked_photo(found, np.empty((0, 7), np.float32)).shape == (1, 1, 3)
