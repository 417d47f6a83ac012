"""Faces and maps as small PNG pictures within the page. Those that show a face are made here and nowhere else."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image

from fer_core.explain.attribution import Attribution
from fer_core.explain.features import ACTIVATION, kernel_tiles
from fer_core.explain.maximisation import Maximised, to_pixels
from fer_core.explain.pictures import Look, color_bar, colors, enlarged, overlay, part_of, plain, png, scale_of
from fer_core.explain.pixel_weights import PixelWeights
from fer_core.explain.regions import region_map

SALIENCY = Look(sign="absolute")
SIGNED = Look(sign="both", opacity=0.65)
_GAP = 5  # pixels of white between the tiles of a sheet
TIMES = 4  # pixels of the picture for one of a face's: a viewer that smooths leaves them square all the same


def image(picture: Image.Image, alt: str, kind: str = "face") -> Markup:
    """A picture as an element. kind: "face" for all that comes from pixels of the data set, "network" for what comes
    from the network alone, "regions" for numbers painted on the layout of a face."""
    address = base64.b64encode(png(picture)).decode()
    return Markup('<img class="{}" alt="{}" src="data:image/png;base64,{}">').format(kind, alt, address)


def tiles(cells: Sequence[tuple[Markup, str, str]], columns: int) -> Markup:
    """Pictures in rows; below each a line in ink and a fainter one."""
    figures = Markup("").join(
        Markup('<div class="tile">{}<b>{}</b><span>{}</span></div>').format(pictures, line, faint)
        for pictures, line, faint in cells
    )
    return Markup('<div class="tiles" style="--columns:{}">{}</div>').format(columns, figures)


def face(pixels: np.ndarray, alt: str) -> Markup:
    """uint8 (48, 48)."""
    return image(enlarged(pixels, TIMES), alt)


def saliency_pairs(faces: np.ndarray, result: Attribution, alts: Sequence[str]) -> list[Markup]:
    """Each face beside its map laid over it, each map on its own scale: the report's figure 5."""
    shown = part_of(result.maps, "absolute")
    return [
        face(each, alt) + image(overlay(each, values, SALIENCY, scale_of(values), TIMES), alt)
        for each, values, alt in zip(faces, shown, alts, strict=True)
    ]


def over_faces(maps: np.ndarray, faces: np.ndarray, look: Look, scale: float, alts: Sequence[str]) -> list[Markup]:
    """Maps over mean faces, float (N, 48, 48) each, on one scale."""
    shown = part_of(maps, look.sign)
    return [
        image(overlay(each, values, look, scale, TIMES), alt)
        for each, values, alt in zip(faces, shown, alts, strict=True)
    ]


def painted(values: np.ndarray, look: Look, scale: float, alt: str) -> Markup:
    """Seven numbers, one a region, painted on the layout: no pixel of it comes from a face."""
    return image(plain(values[region_map()], look, scale, TIMES), alt, kind="regions")


def bar(look: Look, scale: float, unit: str) -> Markup:
    """The colours with their values; the unit is part of the text beside it, in the page's own typeface."""
    picture = color_bar(look, scale, "", width=240)
    strip = picture.crop((0, 0, picture.width, 12))
    low = f"{-scale:.2g}" if look.signed else "0"
    return Markup('<div class="bar"><span>{}</span>{}<span>{} {}</span></div>').format(
        low.replace("-", "\u2212"), image(strip, unit, kind="network"), f"{scale:.2g}", unit
    )


def filter_sheet(result: Maximised, columns: int, alt: str) -> Markup:
    """What excites each filter of a layer, channel by channel, row by row."""
    pixels = to_pixels(result.images)
    low = pixels.min(axis=(1, 2), keepdims=True).astype(int)
    span = np.maximum(pixels.max(axis=(1, 2), keepdims=True).astype(int) - low, 1)
    stretched = ((pixels.astype(int) - low) * 255 // span).astype(np.uint8)
    return image(Image.fromarray(_grid(stretched, 2, columns)), alt, kind="network")


def kernel_sheet(weights: np.ndarray, columns: int, alt: str) -> Markup:
    """The kernels of a layer that sees the face itself, float (C, H, W)."""
    return image(Image.fromarray(_grid(kernel_tiles(weights), 8, columns)), alt, kind="network")


def conv1_columns(result: PixelWeights, alts: Sequence[str]) -> list[Markup]:
    """The report's figure 8, emotion by emotion: mean face, pixel weights, mean face after gradient ascent."""
    scale = float(np.nan_to_num(result.weights).max()) or 1.0
    return [
        image(enlarged(to_pixels(result.faces[i]), TIMES), alts[i])
        + image(enlarged(colors(result.weights[i], scale, ACTIVATION), TIMES), alts[i])
        + image(enlarged(to_pixels(result.ascended[i]), TIMES), alts[i])
        for i in result.order
    ]


def _grid(tiles: np.ndarray, times: int, columns: int) -> np.ndarray:
    """Tiles uint8 (N, H, W) or (N, H, W, 3) row by row on white, each value a square of `times` pixels."""
    large = tiles.repeat(times, axis=1).repeat(times, axis=2)
    height, width = large.shape[1] + _GAP, large.shape[2] + _GAP
    rows = -(-len(tiles) // columns)
    page = np.full((rows * height - _GAP, columns * width - _GAP, *tiles.shape[3:]), 255, np.uint8)
    for i, tile in enumerate(large):
        y, x = i // columns * height, i % columns * width
        page[y : y + height - _GAP, x : x + width - _GAP] = tile
    return page
