"""The report's figure 8: how strongly each pixel moves a layer, emotion by emotion, and which emotion moves it most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw

from fer_core.data import FaceDataset
from fer_core.explain.features import ACTIVATION, network_input
from fer_core.explain.layers import find_layer, frozen_copy, run_to
from fer_core.explain.maximisation import WHOLE_LAYER, Ascent, maximise
from fer_core.explain.pictures import FAINT, colors, enlarged, font_of, ground, wrapped
from fer_core.labels import EMOTIONS
from fer_core.preprocess import FACE_SIZE
from fer_core.runs import Checkpoint

SAMPLE = 128  # faces of each emotion
ASCENT = Ascent(steps=24)  # as far as the face is still to be seen
_BATCH = 64
_FACE, _GAP, _LINE = 2, 4, 18  # of the picture: size of a pixel; pixels between faces; of a line of text


@dataclass(frozen=True, eq=False)
class PixelWeights:
    """One layer, emotion by emotion; NaN for an emotion without faces.

    checkpoint, data    RUN:EPOCH, and the name of the faces
    counts              int (7,): the faces that were looked at, evenly spread over those there are
    activations, errors float64 (7,): the layer's mean activation on them, and its standard error
    faces               float32 (7, 48, 48): their mean, in gray levels
    weights             float32 (7, 48, 48): by how much the layer's mean activation changes with one gray level of a
                        pixel, either way: the mean absolute gradient
    ascended            float32 (7, 48, 48): the mean face after gradient ascent for the layer, in gray levels
    """

    checkpoint: str
    data: str
    layer: str
    counts: np.ndarray
    activations: np.ndarray
    errors: np.ndarray
    faces: np.ndarray
    weights: np.ndarray
    ascended: np.ndarray

    @property
    def order(self) -> list[int]:
        """The emotions with faces, the one that activates the layer most first."""
        return [int(i) for i in np.argsort(-self.activations, kind="stable") if self.counts[i]]

    def picture(self, faces: str = "", dark: bool = False) -> Image.Image:
        """A column an emotion: mean face, pixel weights on one scale, mean face after gradient ascent.

        faces   what they are called in the heading; by default the data's name
        dark    light on dark
        """
        paper, ink = ground(dark)
        side, there = FACE_SIZE * _FACE, [i for i in range(len(EMOTIONS)) if self.counts[i]]
        scale = float(np.nan_to_num(self.weights).max()) or 1.0
        heading = (
            f"{self.layer} of {self.checkpoint} on {faces or self.data}; up to {SAMPLE} faces an emotion",
            f"Activation ± error; mean face; pixel weights (black 0, yellow {scale:.2g} a gray level); "
            "mean face after gradient ascent",
        )
        width, font = len(EMOTIONS) * (side + _GAP) + _GAP, font_of(12)
        lines = [part for text in heading for part in wrapped(text, font, width - 2 * _GAP)]
        top = (len(lines) + 2) * _LINE + _GAP
        page = Image.new("RGB", (width, top + 3 * (side + _GAP)), paper)
        draw = ImageDraw.Draw(page)
        for line, text in enumerate(lines):
            draw.text((_GAP, line * _LINE), text, FAINT, font)
        for column, i in enumerate(there):
            x = _GAP + column * (side + _GAP)
            draw.text((x, top - 2 * _LINE), EMOTIONS[i], ink, font)
            draw.text((x, top - _LINE), f"{self.activations[i]:.3g} ± {self.errors[i]:.1g}", FAINT, font)
            rows = (_gray(self.faces[i]), colors(self.weights[i], scale, ACTIVATION), _gray(self.ascended[i]))
            for row, pixels in enumerate(rows):
                page.paste(enlarged(pixels, _FACE), (x, top + row * (side + _GAP)))
        return page


def pixel_weights(
    checkpoint: Checkpoint, layer: str, faces: FaceDataset, report: Callable[[float], object] | None = None
) -> PixelWeights:
    """A layer on up to `SAMPLE` labelled faces of each emotion.

    report: called with the share done, 0..1. Raises ConfigError naming the layers there are.
    """
    find_layer(checkpoint.model, layer)
    rows = [_spread(np.flatnonzero(faces.emotions == i)) for i in range(len(EMOTIONS))]
    weights, pictures = (np.full((len(EMOTIONS), FACE_SIZE, FACE_SIZE), np.nan, np.float32) for _ in range(2))
    activations, errors = np.full((2, len(EMOTIONS)), np.nan)
    for i, chosen in enumerate(rows):
        if len(chosen):
            values, weights[i] = _gradients(checkpoint, layer, faces.images[chosen])
            pictures[i] = faces.images[chosen].mean(axis=0)
            activations[i] = values.mean()
            errors[i] = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
        if report:
            report((i + 1) / (len(rows) + 1))
    there = [i for i, chosen in enumerate(rows) if len(chosen)]
    ascended = pictures.copy()
    if there:
        starts = np.rint(pictures[there]).astype(np.uint8)
        ascended[there] = maximise(checkpoint, layer, [WHOLE_LAYER] * len(there), starts, ASCENT).images
    return PixelWeights(
        f"{checkpoint.run}:{checkpoint.epoch}",
        faces.name,
        layer,
        np.array([len(chosen) for chosen in rows]),
        activations,
        errors,
        pictures,
        weights,
        ascended,
    )


def _spread(rows: np.ndarray) -> np.ndarray:
    """Up to `SAMPLE` of the rows, evenly spread."""
    return np.asarray(rows[np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(int)])


def _gradients(checkpoint: Checkpoint, layer: str, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The layer's mean activation on each face, float64 (N,), and its mean absolute gradient, (48, 48)."""
    model = frozen_copy(checkpoint.model)
    values, total = [], np.zeros((FACE_SIZE, FACE_SIZE))
    for start in range(0, len(faces), _BATCH):
        inputs = network_input(checkpoint, faces[start : start + _BATCH]).requires_grad_()
        with torch.enable_grad():
            value = run_to(model, inputs, layer).relu().mean(dim=(1, 2, 3))
        (gradient,) = torch.autograd.grad(value.sum(), inputs)
        total += gradient.abs().sum(dim=(0, 1)).cpu().double().numpy()
        values.append(value.detach().cpu().double().numpy())
    to_gray = 255 * checkpoint.preprocess.std
    return np.concatenate(values), (total / len(faces) / to_gray).astype(np.float32)


def _gray(levels: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(levels).astype(np.uint8))
