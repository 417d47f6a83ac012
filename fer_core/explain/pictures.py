"""Maps as pictures: laid over the face, beside a colour bar, as a sheet. numpy and Pillow only.

Every pixel of a face is a square of a whole number of pixels, and its map's value stands exactly on it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fer_core.explain.attribution import Sign
from fer_core.preprocess import FACE_SIZE

# Every eighth colour of Matplotlib's tables of these names, between which straight lines stay within 4 levels of the
# original. viridis and inferno: Nathaniel Smith and Stefan van der Walt (CC0). coolwarm: Kenneth Moreland 2009,
# "Diverging Color Maps for Scientific Visualization" (CC0). All are even to the eye and safe for colour-blind readers.
_TABLES = {
    "viridis": "440154470d6048186a482374472d7b4537814240863e49893b528b375b8d33638d2f6b8e2c728e297a8e26828e23898e21918c"
    "1f988b1fa08822a78528ae8032b67a3fbc734ec36b5ec96270cf5784d44b98d83eaddc30c2df23d8e219ece51bfde725",
    "inferno": "0000040403120b0724150b37210c4a2f0a5b3d09654a0c6b57106e64156e71196e7d1e6d8a226a972766a32c61b0315bbc3754"
    "c73e4cd24644db503be45a31eb6628f1731df68013f98e09fb9d07fcac11fbbc21f9cb35f5db4cf2ea69f3f68afcffa4",
    "coolwarm": "3b4cc0445acc4e68d85875e16282ea6c8ff1779af782a6fb8db0fe98b9ffa3c2feaec9fcb9d0f9c3d5f4ccd9edd5dbe5dddcdc"
    "e5d8d1ecd3c5f1ccb8f5c4acf7ba9ff7b093f6a586f4987af08b6eeb7d62e46e56dd5f4bd44e41ca3b37be242eb40426",
}
COLOR_MAPS = ("inferno", "viridis")  # for one sign
DIVERGING = "coolwarm"  # for both signs: blue against, red for
_CLIPPED = 99.5  # percent of the values that the scale holds: a few extreme pixels must not blacken all others

PAPER, INK, FAINT = (255, 255, 255), (38, 39, 48), (125, 127, 137)
DARK_PAPER, DARK_INK = (24, 24, 24), (240, 240, 240)


@dataclass(frozen=True)
class Look:
    """How maps are drawn.

    sign       which part of the values: both, only positive, only negative, or their absolute size
    color_map  one of `COLOR_MAPS`; both signs are always drawn in `DIVERGING`
    opacity    0..1, of the map where it is strongest; where it is zero the face shows through
    """

    sign: Sign = "both"
    color_map: str = "inferno"
    opacity: float = 0.8

    @property
    def signed(self) -> bool:
        return self.sign == "both"


def part_of(maps: np.ndarray, sign: Sign) -> np.ndarray:
    """The part of the values that a sign stands for; the negative part comes out positive."""
    if sign == "both":
        return maps
    part = np.abs(maps) if sign == "absolute" else np.maximum(maps if sign == "positive" else -maps, 0)
    return np.asarray(part)


def scale_of(maps: np.ndarray) -> float:
    """The value at the end of the colour bar for all these maps together; 1 where they hold nothing but zeros."""
    finite = np.abs(maps[np.isfinite(maps)])
    if not finite.size or not finite.max():
        return 1.0
    clipped = float(np.percentile(finite, _CLIPPED))
    return clipped or float(finite.max())


def colors(values: np.ndarray, scale: float, look: Look) -> np.ndarray:
    """uint8 (..., 3): the colours of values from -scale (both signs) or 0 to scale; what is not finite is gray."""
    share = np.clip(np.nan_to_num(values / scale, nan=0.0), -1 if look.signed else 0, 1)
    position = (share + 1) / 2 if look.signed else share
    rgb = _table(DIVERGING if look.signed else look.color_map)[np.rint(255 * position).astype(int)]
    return np.asarray(np.where(np.isfinite(values)[..., None], rgb, np.uint8(128)))


def overlay(face: np.ndarray, values: np.ndarray, look: Look, scale: float, times: int = 1) -> Image.Image:
    """A map (48, 48), of which `part_of` was taken, over its face uint8 (48, 48), each pixel a square of `times`."""
    rgb, opacity = blend_of(values, look, scale)
    mixed = (1 - opacity[..., None]) * face[..., None] + opacity[..., None] * rgb
    return enlarged(np.rint(mixed).astype(np.uint8), times)


def blend_of(values: np.ndarray, look: Look, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """What to lay over a face: colours uint8 (..., 3), and how far they hide it, 0..1 (...)."""
    share = np.clip(np.abs(np.nan_to_num(values / scale, nan=0.0)), 0, 1)
    opacity = look.opacity * share**0.7  # a little more than in proportion: weak values must not vanish
    return colors(values, scale, look), np.asarray(opacity)


def plain(values: np.ndarray, look: Look, scale: float, times: int = 1) -> Image.Image:
    """A map (48, 48) alone."""
    return enlarged(colors(values, scale, look), times)


def enlarged(pixels: np.ndarray, times: int) -> Image.Image:
    """uint8 (H, W) or (H, W, 3) with each pixel a square of `times` pixels."""
    return Image.fromarray(pixels.repeat(times, axis=0).repeat(times, axis=1))


def color_bar(
    look: Look, scale: float, unit: str, width: int = 288, ink: tuple[int, int, int] = INK, size: int = 12
) -> Image.Image:
    """The colours with their values and unit, on a transparent ground."""
    bar = Image.new("RGBA", (width, 3 * size + 12), (*ink, 0))
    ends = np.linspace(-scale if look.signed else 0, scale, width)
    strip = np.broadcast_to(colors(ends, scale, look), (size, width, 3))
    bar.paste(Image.fromarray(np.ascontiguousarray(strip)).convert("RGBA"), (0, 0))
    draw, font, top = ImageDraw.Draw(bar), font_of(size), size + 3
    low = number(-scale) if look.signed else "0"
    draw.text((0, top), low, ink, font)
    draw.text((width, top), number(scale), ink, font, anchor="ra")
    if look.signed:
        draw.text((width / 2, top), "0", ink, font, anchor="ma")
    draw.text((width / 2, top + size + 3), unit, ink, font, anchor="ma")
    return bar


def sheet(
    faces: np.ndarray,
    maps: np.ndarray,
    captions: Sequence[str],
    heading: Sequence[str],
    look: Look,
    unit: str,
    *,
    beside: bool = False,
    times: int = 4,
    columns: int = 4,
    dark: bool = False,
) -> Image.Image:
    """Maps over their faces, gray levels (N, 48, 48), as one picture on one scale.

    captions  what stands below each map; lines are parted by newlines
    heading   lines above: what the maps are of
    beside    each face also alone, left of its map (report, figure 5)
    times     pixels a side for one of a face's
    dark      light on dark
    """
    shown, text = part_of(maps, look.sign), font_of(13)
    scale, (paper, ink) = scale_of(shown), ground(dark)
    side, gap, line = FACE_SIZE * times, 16, 18
    width = side * (1 + beside)
    height = side + gap + line * max((caption.count("\n") + 1 for caption in captions), default=0)
    rows, across = -(-len(faces) // columns), columns * (width + gap) + gap
    lines = [
        (part, FAINT if i else ink) for i, each in enumerate(heading) for part in wrapped(each, text, across - 2 * gap)
    ]
    top = gap * 2 + line * len(lines)
    page = Image.new("RGB", (across, top + rows * height + 56), paper)
    draw = ImageDraw.Draw(page)
    for i, (each, shade) in enumerate(lines):
        draw.text((gap, gap + i * line), each, shade, text)
    for i, (face, values, caption) in enumerate(zip(faces, shown, captions, strict=True)):
        left, upper = gap + i % columns * (width + gap), top + i // columns * height
        if beside:
            page.paste(enlarged(face, times), (left, upper))
        page.paste(overlay(face, values, look, scale, times), (left + side * beside, upper))
        for j, each in enumerate(caption.split("\n")):
            draw.text((left, upper + side + 3 + j * line), shortened(each, text, width), FAINT if j else ink, text)
    bar = color_bar(look, scale, unit, ink=ink)
    page.paste(bar, (gap, page.height - bar.height - 8), bar)
    return page


def ground(dark: bool) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The colours of paper and of text on it."""
    return (DARK_PAPER, DARK_INK) if dark else (PAPER, INK)


def png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def shortened(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """As much of a text as fits."""
    if font.getlength(text) <= width:
        return text
    return shortened(text.removesuffix("...")[:-1] + "...", font, width)


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """A text's words in lines that fit; a single word that does not is shortened."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(shortened(word, font, width))
    return lines


def number(value: float) -> str:
    """Three significant digits, and no more zeros than needed."""
    return f"{value:.3g}".replace("e-0", "e-")


@cache
def _table(name: str) -> np.ndarray:
    """256 colours, uint8 (256, 3), by straight lines between those of `_TABLES`."""
    anchors = np.frombuffer(bytes.fromhex(_TABLES[name]), np.uint8).reshape(-1, 3)
    at, where = np.linspace(0, len(anchors) - 1, 256), np.arange(len(anchors))
    return np.rint(np.stack([np.interp(at, where, channel) for channel in anchors.T], axis=1)).astype(np.uint8)


@cache
def font_of(size: int) -> ImageFont.FreeTypeFont:
    """The typeface that Pillow brings along, so that pictures look alike on every machine."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
