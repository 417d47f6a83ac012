"""Augmentation of a whole batch at once, each face with its own random draw, on whatever device the batch is on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augment:
    """Random rotation and crop (report item 4), and mirroring.

    rotation  degrees, drawn uniformly from -rotation..rotation
    crop      pixels, shift drawn uniformly from -crop..crop on each axis: the same as padding by `crop` and cropping
              back to 48x48 at random; what comes in from outside repeats the border
    flip      mirror half of the faces left to right
    """

    rotation: float = 0.0
    crop: float = 0.0
    flip: bool = False

    def __call__(self, faces: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """float32 (B, 1, H, W) -> the same shape, each face moved by its own draw. `generator` is a CPU generator."""
        if not (self.rotation or self.crop or self.flip):
            return faces
        theta = self._matrices(len(faces), faces.shape[-1], generator).to(faces.device)
        grid = F.affine_grid(theta, list(faces.shape), align_corners=False)
        return F.grid_sample(faces, grid, padding_mode="border", align_corners=False)

    def _matrices(self, n: int, size: int, generator: torch.Generator | None) -> Tensor:
        """One 2x3 affine matrix a face, in the -1..1 coordinates of `affine_grid`: (n, 2, 3)."""
        # Always four draws a face: each option leaves the others' draws alone.
        uniform = torch.rand(n, 4, generator=generator)
        angle = (2 * uniform[:, 0] - 1) * math.radians(self.rotation)
        shift = (2 * uniform[:, 1:3] - 1) * (2 * self.crop / size)
        mirror = torch.where((uniform[:, 3] < 0.5) & self.flip, -1.0, 1.0)
        cos, sin = angle.cos(), angle.sin()
        rows = [cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]]
        return torch.stack(rows, dim=1).view(n, 2, 3)
