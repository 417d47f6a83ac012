"""Test-time augmentation: the views of a face whose probabilities are averaged, as plain data. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from fer_core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

Tta = Literal["none", "flip", "crops"]
View = tuple[int, int, bool]  # pixels down, pixels to the right, mirrored

SHIFT = 3  # pixels
_CENTRE_AND_CORNERS = [(0, 0), (-SHIFT, -SHIFT), (-SHIFT, SHIFT), (SHIFT, -SHIFT), (SHIFT, SHIFT)]

TTA: dict[str, tuple[View, ...]] = {
    "none": ((0, 0, False),),
    "flip": ((0, 0, False), (0, 0, True)),
    # Krizhevsky et al. 2012: centre and corners, each mirrored too; here of the face padded by SHIFT on each side.
    "crops": tuple((down, right, mirrored) for mirrored in (False, True) for down, right in _CENTRE_AND_CORNERS),
}
TITLES: dict[str, str] = {
    "none": "",
    "flip": "averaged with mirror images",
    "crops": f"averaged over {len(TTA['crops'])} crops",
}


def views_of(tta: str) -> tuple[View, ...]:
    """The views that a key of TTA stands for. Raises ConfigError for another key."""
    if tta not in TTA:
        raise ConfigError(f"There is no test-time augmentation '{tta}'; choose one of {', '.join(TTA)}.")
    return TTA[tta]


def views(inputs: Tensor, tta: str) -> Iterator[Tensor]:
    """The views (B, 1, H, W) of faces (B, 1, H, W) under a key of TTA, one after the other. What comes in from outside
    the face repeats its border, as in `Augment`. Raises ConfigError for another key."""
    for down, right, mirrored in views_of(tta):
        view = inputs[..., _moved(inputs.shape[-2], down), :] if down else inputs
        view = view[..., _moved(inputs.shape[-1], right)] if right else view
        yield view.flip(-1) if mirrored else view


def _moved(size: int, by: int) -> list[int]:
    """The row (or column) from which each one comes when all move by `by` pixels."""
    return [min(max(position - by, 0), size - 1) for position in range(size)]
