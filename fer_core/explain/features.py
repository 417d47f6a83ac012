"""Feature maps: where on a face each filter of a layer is active; and the kernels of a first layer as they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from fer_core.explain.layers import ConvLayer, evaluating, find_layer, run_to
from fer_core.explain.pictures import Look, colors
from fer_core.runs import Checkpoint

ACTIVATION, WEIGHT = Look(sign="absolute"), Look(sign="both")  # the colours of what is never negative, and of what is
_FRAME = (255, 194, 10)
_GAP, _GROUND = 2, 128  # between the tiles of a picture: pixels, and their gray


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """The activations of one layer's filters on N faces.

    checkpoint  RUN:EPOCH
    maps        float32 (N, C, H, W): the positive part of each filter's response (see `layers`), channel by channel
    """

    checkpoint: str
    layer: ConvLayer
    maps: np.ndarray

    @cached_property
    def means(self) -> np.ndarray:
        """The mean activation of each channel on each face: float32 (N, C)."""
        return np.asarray(self.maps.mean(axis=(2, 3)))

    @cached_property
    def order(self) -> np.ndarray:
        """The channels of each face, the most active first: int (N, C)."""
        return np.argsort(-self.means, axis=1, kind="stable")

    def strongest(self, face: int, channel: int) -> tuple[int, int]:
        """The unit (y, x) of a channel that is most active on a face."""
        y, x = np.unravel_index(self.maps[face, channel].argmax(), self.maps.shape[2:])
        return int(y), int(x)

    def tiles(self, face: int, common_scale: bool = False) -> np.ndarray:
        """The maps of one face in colour, in the order of `order`, uint8 (C, H, W, 3): black is 0, the brightest colour
        the highest activation of each map, or with `common_scale` of the whole layer."""
        maps = self.maps[face, self.order[face]]
        highest = maps.max(axis=None if common_scale else (1, 2), keepdims=True)
        return colors(maps / np.where(highest > 0, highest, 1), 1.0, ACTIVATION)

    def picture(self, face: int, times: int = 3, common_scale: bool = False) -> np.ndarray:
        """All channels of one face as one grid, uint8 (height, width, 3), a value a square of `times` pixels."""
        return sheet(self.tiles(face, common_scale), times)


def feature_maps(checkpoint: Checkpoint, faces: np.ndarray, layer: str) -> FeatureMaps:
    """A layer's activations on uint8 faces (N, 48, 48). Raises ConfigError naming the layers there are."""
    model, found = checkpoint.model, find_layer(checkpoint.model, layer)
    with torch.inference_mode(), evaluating(model):
        maps = run_to(model, network_input(checkpoint, faces), layer).relu()
    return FeatureMaps(f"{checkpoint.run}:{checkpoint.epoch}", found, maps.contiguous().cpu().numpy())


def network_input(checkpoint: Checkpoint, faces: np.ndarray) -> Tensor:
    """uint8 faces (N, 48, 48) as the checkpoint's network takes them, where that network is: float32 (N, 1, 48, 48)."""
    device = next(checkpoint.model.parameters()).device
    return checkpoint.preprocess(faces).to(device).contiguous(memory_format=torch.channels_last)


def kernels(model: nn.Module, layer: str) -> np.ndarray | None:
    """The weights of a layer that sees the face itself, float32 (C, height, width); None where a layer sees the
    channels of another: its kernels are no pictures. Raises ConfigError naming the layers there are."""
    conv = model.get_submodule(find_layer(model, layer).module)
    assert isinstance(conv, nn.Conv2d)
    return conv.weight.detach()[:, 0].float().cpu().numpy() if conv.in_channels == 1 else None


def kernel_tiles(weights: np.ndarray) -> np.ndarray:
    """Kernels (C, H, W) in colour, uint8 (C, H, W, 3): gray is 0, the deepest blue or red each one's largest weight."""
    largest = np.abs(weights).max(axis=(1, 2), keepdims=True)
    return colors(weights / np.where(largest > 0, largest, 1), 1.0, WEIGHT)


def sheet(tiles: np.ndarray, times: int, columns: int | None = None) -> np.ndarray:
    """Tiles uint8 (N, H, W) or (N, H, W, 3) as one picture, row by row, each value a square of `times` pixels.

    columns: near a square for None.
    """
    columns = columns or math.ceil(math.sqrt(len(tiles)))
    rows = -(-len(tiles) // columns)
    height, width = tiles.shape[1] * times + _GAP, tiles.shape[2] * times + _GAP
    page = np.full((rows * height - _GAP, columns * width - _GAP, *tiles.shape[3:]), _GROUND, np.uint8)
    for i, tile in enumerate(tiles.repeat(times, axis=1).repeat(times, axis=2)):
        y, x = i // columns * height, i % columns * width
        page[y : y + height - _GAP, x : x + width - _GAP] = tile
    return page


def marked(face: np.ndarray, box: tuple[int, int, int, int], times: int) -> np.ndarray:
    """A face uint8 (48, 48) with a frame around what a unit sees, uint8 (48 * times, 48 * times, 3).

    box: top, left, bottom, right in pixels of the face, the last two just outside. The frame lies around the box, or
    within it where the box reaches the edge of the picture.
    """
    plain = np.repeat(face.repeat(times, axis=0).repeat(times, axis=1)[..., None], 3, axis=2)
    picture, end = plain.copy(), len(plain)
    top, left, bottom, right = (times * edge for edge in box)
    top, left, bottom, right = max(top, 3), max(left, 3), min(bottom, end - 3), min(right, end - 3)
    for width, color in ((3, (0, 0, 0)), (2, _FRAME)):  # the dark line shows it on bright skin too
        picture[top - width : bottom + width, left - width : right + width] = color
    picture[top:bottom, left:right] = plain[top:bottom, left:right]
    return picture
