"""Augmentation of a whole batch at once, each face with its own random draw, on whatever device the batch is on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augment:
    """Random rotation and crop (report item 4), and what came after the report.

    rotation    degrees, drawn uniformly from -rotation..rotation
    crop        pixels, shift drawn uniformly from -crop..crop on each axis, whole ones where neither rotation nor zoom
                interpolates: the same as padding by `crop` and cropping back to 48x48 at random; what comes in from
                outside repeats the border
    flip        mirror half of the faces left to right
    zoom        the picture's part that is seen is larger or smaller by a factor of up to 1 + zoom
    brightness  in standard deviations of the gray levels, added to all pixels: from -brightness..brightness
    contrast    deviations from the face's mean times 1 - contrast..1 + contrast
    sharp       share of the faces that rotation and zoom leave alone, so that whole pixels shift them and nothing
                interpolates
    erase       share of the faces that lose a rectangle, each side 10 to 40 % of the face's (Zhong et al. 2017, "Random
                Erasing Data Augmentation"); it becomes the mean gray level, 0
    """

    rotation: float = 0.0
    crop: float = 0.0
    flip: bool = False
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    erase: float = 0.0
    sharp: float = 0.0

    def __call__(self, faces: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """float32 (B, 1, H, W) -> the same shape, each face changed by its own draw. `generator` is a CPU generator."""
        if self.rotation or self.zoom:
            theta = self._matrices(len(faces), faces.shape[-1], generator)
            if not self.sharp:
                faces = _turned(faces, theta)
            else:
                turned = (torch.rand(len(faces), generator=generator) >= self.sharp).nonzero()[:, 0]
                rows, shifted = turned.to(faces.device), self._shifted(faces, generator)
                faces = shifted.index_copy(0, rows, _turned(faces[rows], theta[turned])) if len(rows) else shifted
        elif self.crop or self.flip:
            faces = self._shifted(faces, generator)
        if self.brightness or self.contrast:
            faces = self._relit(faces, generator)
        return self._with_holes(faces, generator) if self.erase else faces

    def _shifted(self, faces: Tensor, generator: torch.Generator | None) -> Tensor:
        """By whole pixels: a face stays as sharp as the one that the network will be asked about."""
        n, size = len(faces), faces.shape[-1]
        uniform = torch.rand(n, 4, generator=generator)  # as `_matrices` draws them
        shift = ((2 * uniform[:, 1:3, None] - 1) * (math.floor(self.crop) + 0.5)).round().long()
        place = torch.arange(size)
        is_mirrored = (uniform[:, 3:] < 0.5) & self.flip
        columns = (torch.where(is_mirrored, place.flip(0), place) + shift[:, 0]).clamp(0, size - 1).to(faces.device)
        rows = (place + shift[:, 1]).clamp(0, size - 1).to(faces.device)
        each = torch.arange(n, device=faces.device)
        return faces[each[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def _matrices(self, n: int, size: int, generator: torch.Generator | None) -> Tensor:
        """One 2x3 affine matrix a face, in the -1..1 coordinates of `affine_grid`: (n, 2, 3)."""
        # Always four draws a face: each option leaves the others' draws alone.
        uniform = torch.rand(n, 4, generator=generator)
        angle = (2 * uniform[:, 0] - 1) * math.radians(self.rotation)
        shift = (2 * uniform[:, 1:3] - 1) * (2 * self.crop / size)
        mirror = torch.where((uniform[:, 3] < 0.5) & self.flip, -1.0, 1.0)
        cos, sin = angle.cos(), angle.sin()
        if self.zoom:
            scale = (1 + self.zoom) ** (2 * torch.rand(n, generator=generator) - 1)
            cos, sin = cos * scale, sin * scale
        rows = [cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]]
        return torch.stack(rows, dim=1).view(n, 2, 3)

    def _relit(self, faces: Tensor, generator: torch.Generator | None) -> Tensor:
        signed = (2 * torch.rand(2, len(faces), 1, 1, 1, generator=generator) - 1).to(faces.device)
        means = faces.mean(dim=(1, 2, 3), keepdim=True)
        return (faces - means) * (1 + self.contrast * signed[0]) + means + self.brightness * signed[1]

    def _with_holes(self, faces: Tensor, generator: torch.Generator | None) -> Tensor:
        n, size = len(faces), faces.shape[-1]
        uniform = torch.rand(5, n, 1, generator=generator).to(faces.device)
        place = (torch.arange(size, device=faces.device) + 0.5) / size  # (size,), of each pixel's centre
        rows = (place - uniform[0]).abs() < (0.1 + 0.3 * uniform[1]) / 2  # (n, size)
        columns = (place - uniform[2]).abs() < (0.1 + 0.3 * uniform[3]) / 2
        holes = rows[:, :, None] & columns[:, None, :] & (uniform[4] < self.erase)[:, :, None]
        return faces.masked_fill(holes[:, None], 0.0)


def _turned(faces: Tensor, theta: Tensor) -> Tensor:
    """Faces (B, 1, H, W) under one 2x3 matrix each."""
    grid = F.affine_grid(theta.to(faces.device), list(faces.shape), align_corners=False)
    return F.grid_sample(faces, grid, padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class Mix:
    """Mixes a batch's faces and targets with those of the same batch in another order, one share for the whole batch.

    mixup   share of the batches that become a weighted mean of two (Zhang et al. 2018), weight from Beta(0.4, 0.4)
    cutmix  share of the batches in which a square of one stands in the other (Yun et al. 2019), its area uniform
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __call__(
        self, faces: Tensor, targets: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Faces float32 (B, 1, H, W) and targets float32 (B, 7), rows of sum 1 -> the same shapes."""
        if not (self.mixup or self.cutmix):
            return faces, targets
        kind, share, top, left = torch.rand(4, generator=generator).tolist()
        order = torch.randperm(len(faces), generator=generator).to(faces.device)
        if kind < self.mixup:
            weight = float(np.random.default_rng(int(share * 2**24)).beta(0.4, 0.4))  # torch draws no beta by generator
            faces = torch.lerp(faces[order], faces, weight)
        elif kind < self.mixup + self.cutmix:
            size = faces.shape[-1]
            side = int(size * math.sqrt(share))
            y, x = int(top * (size - side + 1)), int(left * (size - side + 1))
            faces = faces.clone()
            faces[:, :, y : y + side, x : x + side] = faces[order, :, y : y + side, x : x + side]
            weight = 1 - side**2 / size**2
        else:
            return faces, targets
        return faces, torch.lerp(targets[order], targets, weight)
