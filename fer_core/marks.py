"""What is drawn on a photo or a video frame: boxes, labels, probabilities and maps, as patches painted in place.

A patch is made once and painted in well under a millisecond, so that every frame of a video can carry the last answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from fer_core.explain.pictures import Look, blend_of, font_of
from fer_core.labels import COLORS, EMOTIONS

_DARK, _LIGHT = (16, 18, 24), (255, 255, 255)
_GAP = 4  # pixels between a box and what stands beside it
_PANEL_OPACITY = 165  # of 255, of the ground of the probabilities

Box = tuple[float, float, float, float]  # left, top, right, bottom
Square = tuple[float, float, float]  # left, top, side


class Patch(NamedTuple):
    """A piece of picture at a place.

    left, top  whole pixels; may lie outside the picture
    rgb        uint8 (H, W, 3), already multiplied with the opacity
    clear      what stays of the picture below, 0..255: uint16 (H, W, 1)
    """

    left: int
    top: int
    rgb: np.ndarray
    clear: np.ndarray


def patch(left: float, top: float, rgb: np.ndarray, opacity: np.ndarray) -> Patch:
    """A patch from colours uint8 (H, W, 3) and opacity 0..1, float (H, W)."""
    share = np.asarray(opacity, np.float32)[..., None]
    return Patch(
        round(left), round(top), np.rint(rgb * share).astype(np.uint8), np.rint(255 * (1 - share)).astype(np.uint16)
    )


def paint(picture: np.ndarray, patches: Iterable[Patch]) -> np.ndarray:
    """Paint patches over a picture uint8 (H, W, 3), in place, in their order; what lies outside is cut off."""
    height, width = picture.shape[:2]
    for left, top, rgb, clear in patches:
        rows = slice(max(0, -top), min(rgb.shape[0], height - top))
        columns = slice(max(0, -left), min(rgb.shape[1], width - left))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        under = picture[top + rows.start : top + rows.stop, left + columns.start : left + columns.stop]
        if clear.any():
            under[:] = rgb[rows, columns] + (under * clear[rows, columns] + 127) // 255
        else:
            under[:] = rgb[rows, columns]
    return picture


def box_patches(box: Box, color: str, thickness: int = 2) -> list[Patch]:
    """The four sides of a box (left, top, right, bottom), drawn inside it."""
    left, top, right, bottom = (round(each) for each in box)
    width, height = max(right - left, 1), max(bottom - top, 1)
    thick = min(thickness, width, height)
    sides = [
        (left, top, width, thick),
        (left, top + height - thick, width, thick),
        (left, top, thick, height),
        (left + width - thick, top, thick, height),
    ]
    return [_solid(*side, _rgb(color)) for side in sides]


def label_patch(text: str, color: str, at: Sequence[float], size: int, limits: tuple[int, int]) -> Patch:
    """A text on a ground of `color`, standing on the upper edge of a box whose corner (left, top) is `at`; inside the
    box where there is no room above it. `limits`: width and height of the picture."""
    font, pad = font_of(size), max(2, size // 4)
    width, height = round(font.getlength(text)) + 2 * pad, size + 2 * pad
    image = Image.new("RGB", (width, height), color)
    ImageDraw.Draw(image).text((pad, height / 2), text, _ink_on(color), font, anchor="lm")
    left = min(max(at[0], 0), max(limits[0] - width, 0))
    top = at[1] - height if at[1] >= height else at[1]
    return patch(left, top, np.asarray(image), np.ones((height, width)))


def label_width(text: str, size: int) -> int:
    """How wide `label_patch` draws a text, in pixels."""
    return round(font_of(size).getlength(text)) + 2 * max(2, size // 4)


def bars_patch(probabilities: np.ndarray, at: tuple[int, int], size: int) -> Patch:
    """The seven probabilities as bars with names and values on a dark ground, float (7,); `at`: left, top."""
    font, line, pad = font_of(size), size + 5, size // 2
    width, height = bars_size(size)
    bar_left, bar = _names_width(size) + pad, 4 * size
    image, opacity = Image.new("RGB", (width, height), _DARK), Image.new("L", (width, height), _PANEL_OPACITY)
    colored, solid = ImageDraw.Draw(image), ImageDraw.Draw(opacity)
    for i, (name, value) in enumerate(zip(EMOTIONS, probabilities.tolist(), strict=True)):
        middle = pad + line * (i + 0.5)
        for draw, ink in ((colored, _LIGHT), (solid, 255)):
            draw.text((pad, middle), name, ink, font, anchor="lm")
            draw.text((width - pad, middle), f"{100 * value:.0f}%", ink, font, anchor="rm")
        strip = (bar_left, middle - line * 0.3, bar_left + max(value * bar, 1), middle + line * 0.3)
        colored.rectangle(strip, COLORS[name])
        solid.rectangle(strip, 255)
    return patch(*at, np.asarray(image), np.asarray(opacity, np.float32) / 255)


def bars_size(size: int) -> tuple[int, int]:
    """Width and height of `bars_patch` for a size of its letters, in pixels."""
    pad = size // 2
    values = round(font_of(size).getlength("100%")) + pad
    return 2 * pad + _names_width(size) + 4 * size + values, 2 * pad + 7 * (size + 5)


@cache
def _names_width(size: int) -> int:
    return round(max(font_of(size).getlength(name) for name in EMOTIONS)) + size // 2


def place_beside(
    box: Box, size: tuple[int, int], limits: tuple[int, int], taken: Sequence[Box]
) -> tuple[int, int] | None:
    """Left and top for a panel of `size` (width, height) right or left of a box, within a picture of `limits` and clear
    of the boxes `taken`; None where neither side has room."""
    width, height = size
    top = min(max(round(box[1]), 0), max(limits[1] - height, 0))
    for left in (round(box[2]) + _GAP, round(box[0]) - _GAP - width):
        clear = all(
            left + width <= b[0] or left >= b[2] or top + height <= b[1] or top >= b[3] for b in taken if b != box
        )
        if left >= 0 and left + width <= limits[0] and clear:
            return left, top
    return None


def map_patch(square: Square, values: np.ndarray, look: Look, scale: float) -> Patch:
    """A map (48, 48), of which `part_of` was taken, on the square (left, top, side) of which its face was cut.

    Each pixel of the patch shows the value of the face's pixel that its centre lies in: the registration is that of
    the crop itself.
    """
    left, top, side = square
    first, above = int(np.floor(left)), int(np.floor(top))
    across, down = int(np.ceil(left + side)) - first, int(np.ceil(top + side)) - above
    n = values.shape[0]
    column = np.floor((np.arange(across) + 0.5 + first - left) * n / side).astype(int)
    row = np.floor((np.arange(down) + 0.5 + above - top) * n / side).astype(int)
    rgb, opacity = blend_of(values, look, scale)
    grid = np.ix_(row.clip(0, n - 1), column.clip(0, n - 1))
    inside = ((row >= 0) & (row < n))[:, None] & ((column >= 0) & (column < n))
    return patch(first, above, rgb[grid], opacity[grid] * inside)


def _solid(left: int, top: int, width: int, height: int, rgb: tuple[int, int, int]) -> Patch:
    return Patch(left, top, np.full((height, width, 3), rgb, np.uint8), np.zeros((height, width, 1), np.uint16))


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _ink_on(color: str) -> tuple[int, int, int]:
    """White or near black, whichever has the higher contrast (relative luminance, WCAG 2.2)."""
    linear = [(c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in _rgb(color)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return _LIGHT if luminance < 0.18 else _DARK
