"""Marks on a picture: where they lie, to the pixel."""

from __future__ import annotations

import numpy as np
import pytest

from fer_core.explain.pictures import Look, blend_of, overlay
from fer_core.marks import bars_patch, bars_size, box_patches, label_patch, map_patch, paint, patch, place_beside


@pytest.fixture
def black() -> np.ndarray:
    return np.zeros((60, 80, 3), np.uint8)


def test_a_patch_is_mixed_with_what_lies_below() -> None:
    picture = np.full((2, 2, 3), 100, np.uint8)
    paint(picture, [patch(1, 0, np.full((1, 1, 3), 200, np.uint8), np.full((1, 1), 0.25))])
    assert picture[0, 1].tolist() == [125, 125, 125]  # 0.25 * 200 + 0.75 * 100
    assert (np.delete(picture.reshape(-1, 3), 1, axis=0) == 100).all()


@pytest.mark.parametrize("place", [(-3, -3), (78, 58), (-100, 10), (10, 1000), (-200, -200)])
def test_what_lies_outside_is_cut_off(black: np.ndarray, place: tuple[int, int]) -> None:
    x, y = np.meshgrid(np.arange(80), np.arange(60))
    expected = (x >= place[0]) & (x < place[0] + 5) & (y >= place[1]) & (y < place[1] + 5)
    paint(black, [patch(*place, np.full((5, 5, 3), 255, np.uint8), np.ones((5, 5)))])
    assert ((black[..., 0] == 255) == expected).all()


def test_a_box_has_four_sides_inside_its_edges(black: np.ndarray) -> None:
    paint(black, box_patches((10, 20, 30, 50), "#FF0000", 2))
    red = black[..., 0] == 255
    expected = np.zeros_like(red)
    expected[20:50, 10:30] = True
    expected[22:48, 12:28] = False
    assert (red == expected).all()
    assert not black[..., 1:].any()


def test_a_box_of_no_size_does_no_harm(black: np.ndarray) -> None:
    paint(black, box_patches((10, 20, 10, 20), "#FF0000", 3))
    assert np.argwhere(black[..., 0]).tolist() == [[20, 10]]


def test_a_label_stands_on_its_box_or_in_it() -> None:
    above = label_patch("1", "#E69F00", (5, 40), 12, (80, 60))
    assert above.top + above.rgb.shape[0] == 40
    inside = label_patch("1", "#E69F00", (5, 3), 12, (80, 60))
    assert inside.top == 3
    right = label_patch("1 Surprise 99%", "#E69F00", (150, 40), 12, (200, 60))
    assert right.left + right.rgb.shape[1] == 200


@pytest.mark.parametrize(("color", "dark_ink"), [("#E69F00", True), ("#0072B2", False), ("#F0F0F0", True)])
def test_letters_differ_from_their_ground(color: str, dark_ink: bool) -> None:
    label = label_patch("8888", color, (0, 30), 20, (400, 300)).rgb.astype(int).sum(axis=2)
    ground = sum(int(color[i : i + 2], 16) for i in (1, 3, 5))
    assert (label.min() < ground - 200) == dark_ink
    assert (label.max() > ground + 200) == (not dark_ink)


def test_bars_are_as_long_as_the_probabilities() -> None:
    said = np.array([0.5, 0.25, 0, 0, 0, 0, 0.25])
    size = 16
    bars = bars_patch(said, (0, 0), size)
    assert bars.rgb.shape[:2] == bars_size(size)[::-1]
    line = size + 5
    lengths = []
    for i, color in ((0, (0xD5, 0x5E, 0x00)), (1, (0x00, 0x9E, 0x73)), (6, (0x8A, 0x8A, 0x8A))):
        row = bars.rgb[size // 2 + int(line * (i + 0.5))]
        lengths.append(int((np.abs(row.astype(int) - color).sum(axis=1) < 6).sum()))
    assert lengths[0] == pytest.approx(0.5 * 4 * size, abs=1)
    assert lengths[1] == pytest.approx(lengths[0] / 2, abs=1)
    assert lengths[2] == pytest.approx(lengths[1], abs=1)


def test_a_panel_goes_where_there_is_room() -> None:
    box = (100.0, 50.0, 200.0, 150.0)
    assert place_beside(box, (80, 60), (640, 480), [box]) == (204, 50)
    taken = [box, (250.0, 40.0, 300.0, 200.0)]
    assert place_beside(box, (80, 60), (640, 480), taken) == (16, 50)  # a face stands in the way on the right
    assert place_beside(box, (120, 60), (640, 480), taken) is None
    assert place_beside((0.0, 440.0, 50.0, 480.0), (80, 60), (640, 480), []) == (54, 420)  # kept above the lower edge


@pytest.mark.parametrize("left", [0, 7])
def test_a_map_on_a_whole_multiple_is_the_overlay_to_the_pixel(left: int) -> None:
    """Where the square is an exact multiple of the crop, the photo's map is what the Saliency page draws."""
    rng = np.random.default_rng(0)
    face, values = rng.integers(0, 256, (48, 48), dtype=np.uint8), rng.normal(size=(48, 48))
    photo = np.zeros((200, 200, 3), np.uint8)
    photo[10 : 10 + 144, left : left + 144] = face.repeat(3, axis=0).repeat(3, axis=1)[..., None]
    paint(photo, [map_patch((left, 10, 144), values, Look("both"), 2.0)])
    expected = np.asarray(overlay(face, values, Look("both"), 2.0, 3)).astype(int)
    assert np.abs(photo[10 : 10 + 144, left : left + 144].astype(int) - expected).max() <= 2  # rounding of the opacity
    photo[10 : 10 + 144, left : left + 144] = 0
    assert not photo.any()


@pytest.mark.parametrize("square", [(3.3, 5.8, 101.7), (-20.4, -7.5, 60.2), (10.0, 10.0, 20.0)])
def test_each_pixel_shows_the_value_of_the_square_that_its_centre_lies_in(square: tuple[float, float, float]) -> None:
    values = np.arange(48 * 48).reshape(48, 48) / 48**2 + 0.01
    look = Look("positive", opacity=1.0)
    _, opacity = blend_of(values, look, 1.0)
    made = map_patch(square, values, look, 1.0)
    left, top, side = square
    rng = np.random.default_rng(1)
    for _ in range(200):
        i, j = (int(rng.integers(n)) for n in made.clear.shape[:2])
        row = (made.top + i + 0.5 - top) * 48 / side
        column = (made.left + j + 0.5 - left) * 48 / side
        inside = 0 <= row < 48 and 0 <= column < 48
        expected = round(255 * (1 - opacity[int(row), int(column)])) if inside else 255
        assert made.clear[i, j, 0] == pytest.approx(expected, abs=1)
