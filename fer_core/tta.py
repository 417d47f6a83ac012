"""Test-time augmentation: the views of a face whose probabilities are averaged, as plain data. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from fer_core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

Tta = Literal["none", "flip", "crops", "zooms"]


class View(NamedTuple):
    """A face that is moved by whole pixels, then zoomed about its centre, then mirrored."""

    down: int = 0
    right: int = 0
    mirrored: bool = False
    zoom: float = 1.0


SHIFT = 3  # pixels
ZOOMS = (0.926, 1.0, 1.08, 1.166, 1.26)  # each 8 % larger than the one before
_CENTRE_AND_CORNERS = [(0, 0), (-SHIFT, -SHIFT), (-SHIFT, SHIFT), (SHIFT, -SHIFT), (SHIFT, SHIFT)]

# Krizhevsky et al. 2012: centre and corners, each mirrored too; here of the face padded by SHIFT on each side.
_CROPS = tuple(View(*shift, mirrored) for mirrored in (False, True) for shift in _CENTRE_AND_CORNERS)

TTA: dict[str, tuple[View, ...]] = {
    "none": (View(),),
    "flip": (View(), View(mirrored=True)),
    "crops": _CROPS,
    # Augmentation that turns and zooms shows no face quite as sharp as it is, unless it leaves some alone (`sharp`).
    # Zoomed ones are as a network knows them that was never shown others.
    "zooms": tuple(view._replace(zoom=zoom) for zoom in ZOOMS for view in _CROPS),
}
TITLES: dict[str, str] = {
    "none": "",
    "flip": "averaged with mirror images",
    "crops": f"averaged over {len(_CROPS)} crops",
    "zooms": f"averaged over {len(_CROPS)} crops at {len(ZOOMS)} zooms",
}


def views_of(tta: str) -> tuple[View, ...]:
    """The views that a key of TTA stands for. Raises ConfigError for another key."""
    if tta not in TTA:
        raise ConfigError(f"There is no test-time augmentation '{tta}'; choose one of {', '.join(TTA)}.")
    return TTA[tta]


def views(inputs: Tensor, tta: str) -> Iterator[Tensor]:
    """The views (B, 1, H, W) of faces (B, 1, H, W) under a key of TTA, one after the other. What comes in from outside
    the face repeats its border, as in `Augment`; zooming interpolates bilinearly, as there. Raises ConfigError for
    another key."""
    for down, right, mirrored, zoom in views_of(tta):
        view = inputs[..., _moved(inputs.shape[-2], down), :] if down else inputs
        view = view[..., _moved(inputs.shape[-1], right)] if right else view
        view = _zoomed(view, zoom) if zoom != 1 else view
        yield view.flip(-1) if mirrored else view


def _zoomed(inputs: Tensor, zoom: float) -> Tensor:
    """1 / zoom of each picture's width and height, about its middle, at the size of the whole."""
    import torch.nn.functional as F

    theta = inputs.new_tensor([[1 / zoom, 0, 0], [0, 1 / zoom, 0]]).expand(len(inputs), 2, 3)
    grid = F.affine_grid(theta, list(inputs.shape), align_corners=False)
    return F.grid_sample(inputs, grid, padding_mode="border", align_corners=False)


def _moved(size: int, by: int) -> list[int]:
    """The row (or column) from which each one comes when all move by `by` pixels."""
    return [min(max(position - by, 0), size - 1) for position in range(size)]
