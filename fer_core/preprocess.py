"""Face -> tensor, the one way: training, evaluation, dashboard and webcam all call this module.

`to_face` brings any picture to 48x48 gray; `Preprocess` turns such faces into the network's input. A checkpoint carries
the `Preprocess` that it was trained with.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fer_core.errors import DataError

if TYPE_CHECKING:  # torch takes seconds to import, and reading data does not need it
    import torch

FACE_SIZE = 48
# Mean and standard deviation of the gray levels of FER2013's Training faces on a 0..1 scale.
FER2013_MEAN = 0.5077
FER2013_STD = 0.2551


def to_face(picture: Image.Image | np.ndarray, box: tuple[float, float, float, float] | None = None) -> np.ndarray:
    """Any gray or colour picture, or the part of it within a box, as one face: uint8 (48, 48).

    picture: a PIL image of any mode, or uint8 (H, W) or (H, W, 3). Colour becomes luma (ITU-R 601); another size is
    resampled with antialiasing (area averaging when shrinking, bicubic when growing). box: left, top, right, bottom
    within the picture, in pixels, whole or not. Raises DataError for an array of another shape or type.
    """
    image = eight_bits(picture if isinstance(picture, Image.Image) else _image_of(picture))
    if image.mode != "L":
        image = image.convert("L")
    left, top, right, bottom = box or (0, 0, *image.size)
    if (left, top, right, bottom) == (0, 0, *image.size) and image.size == (FACE_SIZE, FACE_SIZE):
        return np.asarray(image)
    if min(right - left, bottom - top) < FACE_SIZE:
        size = (FACE_SIZE, FACE_SIZE)
        return np.asarray(image.resize(size, Image.Resampling.BICUBIC, (left, top, right, bottom)))
    rows, columns = _shares(top, bottom, image.height), _shares(left, right, image.width)
    face: np.ndarray = np.rint(rows @ np.asarray(image, np.float32) @ columns.T).astype(np.uint8)
    return face


def _shares(start: float, stop: float, size: int) -> np.ndarray:
    """How much of a part's mean comes from each pixel, where 48 equal parts divide start..stop: float32 (48, size)."""
    edges, pixels = np.linspace(start, stop, FACE_SIZE + 1)[:, None], np.arange(size)
    shared = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return np.asarray(shared.clip(0) * FACE_SIZE / (stop - start), np.float32)


def eight_bits(image: Image.Image) -> Image.Image:
    """An image of 16 bits a pixel by its upper eight; Pillow would make white of all above 255. Others as they are."""
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)) if image.mode.startswith("I") else image


def _image_of(array: np.ndarray) -> Image.Image:
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype != np.uint8 or not is_picture or array.size == 0:
        raise DataError(f"A picture must be uint8 (H, W) or (H, W, 3), not {array.dtype} {array.shape}.")
    return Image.fromarray(array)


def equalize(faces: np.ndarray) -> np.ndarray:
    """Histogram equalisation of each face by itself (report item 5): uint8 (N, 48, 48) -> the same shape and type."""
    from PIL import ImageOps

    if len(faces) == 0:
        return faces
    return np.stack([np.asarray(ImageOps.equalize(Image.fromarray(face))) for face in faces])


@dataclass(frozen=True)
class Preprocess:
    """What happens to a 48x48 face before the network sees it."""

    mean: float = FER2013_MEAN
    std: float = FER2013_STD
    equalize: bool = False

    def pixels(self, faces: np.ndarray) -> np.ndarray:
        """uint8 (N, 48, 48) -> uint8 (N, 48, 48): the part that works on gray levels; done once for a data set."""
        return equalize(faces) if self.equalize else faces

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (N, 48, 48) on any device -> float32 (N, 1, 48, 48), about zero mean and unit deviation."""
        return pixels.unsqueeze(1).float().sub_(255 * self.mean).div_(255 * self.std)

    def __call__(self, faces: np.ndarray) -> torch.Tensor:
        """uint8 (N, 48, 48) -> the network's input, float32 (N, 1, 48, 48)."""
        import torch

        return self.normalize(torch.from_numpy(np.array(self.pixels(faces))))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
