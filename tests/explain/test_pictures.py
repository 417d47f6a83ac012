"""Maps as pictures: colours where they belong, to the pixel, and nothing hidden that the numbers say."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fer_core.explain.pictures import (
    COLOR_MAPS,
    DARK_PAPER,
    DIVERGING,
    PAPER,
    Look,
    color_bar,
    colors,
    font_of,
    number,
    overlay,
    part_of,
    png,
    scale_of,
    sheet,
    shortened,
    wrapped,
)


def lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB levels 0..255."""
    linear = np.where(rgb / 255 <= 0.04045, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return np.asarray(np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y))


@pytest.mark.parametrize("name", COLOR_MAPS)
def test_colour_maps_get_lighter_in_even_steps(name: str) -> None:
    table = colors(np.linspace(0, 1, 256), 1.0, Look("positive", name)).astype(float)
    steps = np.diff(lightness(table)[::15])
    assert steps.min() > 0
    assert steps.std() < 0.25 * steps.mean()


@pytest.mark.parametrize("name", [*COLOR_MAPS, DIVERGING])
def test_colour_maps_are_matplotlibs(name: str) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    expected = 255 * matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3]
    values = np.linspace(-1, 1, 256) if name == DIVERGING else np.linspace(0, 1, 256)
    found = colors(values, 1.0, Look("both" if name == DIVERGING else "absolute", name))
    assert np.abs(found - expected).max() < 5.5


def test_both_signs_are_drawn_around_a_colourless_zero() -> None:
    look = Look("both")
    against, zero, support = colors(np.array([-2.0, 0.0, 2.0]), 2.0, look).astype(int)
    assert np.ptp(zero) <= 3
    assert against[2] > against[0] + 100  # blue
    assert support[0] > support[2] + 100  # red
    np.testing.assert_array_equal(colors(np.array([9.0]), 2.0, look)[0], support)  # beyond the scale: its end
    steps = lightness(colors(np.linspace(-1, 1, 201), 1.0, look).astype(float))
    np.testing.assert_allclose(steps[:100], steps[:100:-1], atol=9)  # as strong on either side


def test_what_is_not_finite_is_gray() -> None:
    found = colors(np.array([np.nan, np.inf]), 1.0, Look("absolute"))
    np.testing.assert_array_equal(found, 128)


def test_parts_of_a_map() -> None:
    values = np.array([-2.0, 0.0, 3.0])
    expected = {"both": [-2, 0, 3], "positive": [0, 0, 3], "negative": [2, 0, 0], "absolute": [2, 0, 3]}
    for sign, part in expected.items():
        np.testing.assert_array_equal(part_of(values, sign), part)  # type: ignore[arg-type]


def test_a_scale_is_not_set_by_one_pixel_and_never_zero() -> None:
    values = np.ones((2, 48, 48))
    values[0, 3, 3] = 1000
    assert scale_of(values) == pytest.approx(1)
    assert scale_of(-2 * np.ones((48, 48))) == 2
    assert scale_of(np.zeros((48, 48))) == 1
    single = np.zeros((48, 48))
    single[1, 1] = 5  # less than half a percent of the pixels: the percentile is zero
    assert scale_of(single) == 5
    assert scale_of(np.full((48, 48), np.nan)) == 1


@pytest.mark.parametrize("times", [1, 3, 5])
def test_each_value_lies_on_its_own_pixel(times: int) -> None:
    face = np.random.default_rng(0).integers(0, 256, (48, 48)).astype(np.uint8)
    values = np.zeros((48, 48))
    values[10, 31] = 1.0
    picture = np.asarray(overlay(face, values, Look("positive", opacity=1.0), 1.0, times))
    assert picture.shape == (48 * times, 48 * times, 3)
    blocks = picture.reshape(48, times, 48, times, 3).swapaxes(1, 2)
    assert (blocks == blocks[:, :, :1, :1]).all()
    marked = (blocks[:, :, 0, 0] != face[..., None]).any(axis=2)
    assert np.argwhere(marked).tolist() == [[10, 31]]
    np.testing.assert_array_equal(blocks[10, 31, 0, 0], colors(np.array(1.0), 1.0, Look("positive")))


def test_opacity_runs_from_the_face_to_the_colour() -> None:
    face, values = np.full((48, 48), 100, np.uint8), np.ones((48, 48))
    full = colors(np.array(1.0), 1.0, Look("positive")).astype(float)
    for opacity in (0.0, 0.25, 1.0):
        picture = np.asarray(overlay(face, values, Look("positive", opacity=opacity), 1.0))
        np.testing.assert_allclose(picture[5, 5], (1 - opacity) * 100 + opacity * full, atol=0.51)


def test_a_stronger_value_hides_more_of_the_face() -> None:
    face, values = np.full((48, 48), 128, np.uint8), np.tile(np.linspace(0, 1, 48), (48, 1))
    picture = np.asarray(overlay(face, values, Look("both"), 1.0)).astype(int)
    distance = np.abs(picture - 128).sum(axis=2)[0]
    assert distance[0] == 0
    assert distance[-1] == distance.max()


def test_a_colour_bar_runs_over_its_scale() -> None:
    for look, low in ((Look("both"), -4.0), (Look("absolute", "viridis"), 0.0)):
        bar = color_bar(look, 4.0, "logits", width=101)
        strip = np.asarray(bar)[3, :, :3]
        np.testing.assert_array_equal(strip, colors(np.linspace(low, 4, 101), 4.0, look))
    text = np.asarray(bar)[15:]
    assert text[..., 3].max() == 255  # numbers and unit
    assert text[..., 3].min() == 0  # on a transparent ground


@pytest.mark.parametrize("beside", [False, True])
def test_a_sheet_of_sixteen_holds_every_face_and_map(beside: bool) -> None:
    rng = np.random.default_rng(1)
    faces, maps = rng.integers(0, 256, (16, 48, 48)).astype(np.uint8), rng.normal(0, 1, (16, 48, 48))
    look = Look("both")
    page = np.asarray(
        sheet(faces, maps, ["a\nb"] * 16, ["What", "of what"], look, "logits", beside=beside, times=2, columns=4)
    )
    width = 96 * (1 + beside)
    for i in range(16):
        left, top = 16 + i % 4 * (width + 16), 32 + 36 + i // 4 * (96 + 16 + 36)
        if beside:
            face = page[top : top + 96, left : left + 96]
            np.testing.assert_array_equal(face[::2, ::2, 0], faces[i])
        over = page[top : top + 96, left + width - 96 : left + width]
        np.testing.assert_array_equal(over, np.asarray(overlay(faces[i], maps[i], look, scale_of(maps), 2)))
    assert tuple(page[-1, -1]) == PAPER


def test_a_long_heading_goes_on_in_the_next_line() -> None:
    font = font_of(13)
    text = "How fast the score changes when a pixel gets lighter, " + "x" * 90
    lines = wrapped(text, font, 200)
    assert all(font.getlength(line) <= 200 for line in lines)
    assert " ".join(lines[:-1]) == "How fast the score changes when a pixel gets lighter,"
    assert lines[-1].startswith("xxx")
    assert lines[-1].endswith("...")
    face = np.zeros((1, 48, 48), np.uint8)
    short, long = (sheet(face, face * 1.0, ["a"], [each], Look(), "logits", columns=1) for each in ("One", text))
    assert long.height - short.height == 18 * (len(wrapped(text, font, long.width - 32)) - 1)


def test_a_sheet_in_the_dark_and_of_nothing() -> None:
    empty = np.empty((0, 48, 48), np.uint8)
    page = sheet(empty, empty.astype(float), [], ["Nothing"], Look(), "logits", dark=True)
    assert page.getpixel((page.width - 1, page.height - 1)) == DARK_PAPER


def test_numbers_have_three_digits_and_texts_end_where_the_room_does() -> None:
    assert [number(value) for value in (0.0123456, -2.0, 1234.5, 1.2e-5)] == ["0.0123", "-2", "1.23e+03", "1.2e-5"]
    font = font_of(13)
    assert shortened("short", font, 200) == "short"
    cut = shortened("A very long caption that nobody can read in full", font, 120)
    assert cut.endswith("...")
    assert font.getlength(cut) <= 120


def test_png() -> None:
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8))
    with Image.open(io.BytesIO(png(picture))) as read:
        np.testing.assert_array_equal(np.asarray(read), np.asarray(picture))
