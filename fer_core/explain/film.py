"""One face's map at every epoch that a run kept: how what the network looks at came to be."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from fer_core.errors import CheckpointError
from fer_core.explain.attribution import METHODS, Attribution, Target, attribute
from fer_core.explain.pictures import (
    DARK_INK,
    DARK_PAPER,
    FAINT,
    INK,
    PAPER,
    Look,
    color_bar,
    colors,
    enlarged,
    font_of,
    overlay,
    part_of,
    scale_of,
)
from fer_core.labels import COLORS, EMOTIONS
from fer_core.preprocess import FACE_SIZE
from fer_core.runs import Checkpoint, Run

FORMS = {"GIF": "image/gif", "WebP": "image/webp"}
_TIMES = 5  # a face's pixel on a frame
_PAUSE = 700  # ms a frame, and twice that on the last


@dataclass(frozen=True)
class Film:
    """One method's maps of one face over the epochs.

    face           uint8 (48, 48)
    maps           float32 (epochs, 48, 48), in `unit`
    probabilities  float32 (epochs, 7)
    targets        what was explained at each epoch: the predicted emotion may change
    skipped        for each kept epoch that cannot be loaded, one sentence why
    """

    run: str
    epochs: tuple[int, ...]
    method: str
    layer: str
    face: np.ndarray
    maps: np.ndarray
    probabilities: np.ndarray
    targets: tuple[str, ...]
    problems: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def title(self) -> str:
        return METHODS[self.method].title + (f" at {self.layer}" if self.layer else "")

    @property
    def unit(self) -> str:
        return METHODS[self.method].unit

    def scale(self, look: Look) -> float:
        """The end of the colour bar that all epochs share."""
        return scale_of(part_of(self.maps, look.sign))


def make_film(
    run: Run,
    face: np.ndarray,
    method: str,
    target: Target = "predicted",
    layer: str | None = None,
    *,
    emotion: int = -1,
    seed: int = 0,
    load: Callable[[int], Checkpoint] | None = None,
    report: Callable[[float], object] = lambda _: None,
) -> Film:
    """The map of one face, uint8 (48, 48), at every kept epoch that can be loaded.

    method, target, layer, seed: as `attribute` takes them. emotion: the true one, for the target "true".
    load: how to get an epoch's checkpoint, where they are at hand already. report: called with the share done, 0..1.

    Raises what `attribute` raises, and CheckpointError where no epoch can be loaded.
    """
    load = load or run.load_checkpoint
    results: list[Attribution] = []
    skipped: list[str] = []
    epochs = run.epochs()
    for i, epoch in enumerate(epochs):
        try:
            checkpoint = load(epoch)
        except CheckpointError as error:
            skipped.append(str(error))
            continue
        truth = np.array([emotion])
        results.append(attribute(checkpoint, face[None], method, target, layer, emotions=truth, seed=seed))
        report((i + 1) / len(epochs))
    if not results:
        raise CheckpointError(f"{run.name} holds no checkpoint that can be loaded; train it for at least one epoch.")
    return Film(
        run=run.name,
        epochs=tuple(each.epoch for each in results),
        method=method,
        layer=results[-1].layer,
        face=face,
        maps=np.concatenate([each.maps for each in results]),
        probabilities=np.concatenate([each.probabilities for each in results]),
        targets=tuple(each.targets[0] for each in results),
        problems=tuple(each.problems[0] for each in results),
        skipped=tuple(skipped),
    )


def animation(film: Film, look: Look, form: str = "GIF", dark: bool = False) -> bytes:
    """The film as an animated picture, "GIF" or "WebP", a frame an epoch, on one scale."""
    frames = [frame(film, i, look, dark) for i in range(len(film.epochs))]
    if form == "GIF":
        palette = _palette(frames[-1], look)
        frames = [each.quantize(palette=palette, dither=Image.Dither.NONE) for each in frames]
    pauses = [_PAUSE] * (len(frames) - 1) + [2 * _PAUSE]
    stream = io.BytesIO()
    frames[0].save(stream, form, save_all=True, append_images=frames[1:], duration=pauses, loop=0)
    return stream.getvalue()


def _palette(page: Image.Image, look: Look) -> Image.Image:
    """256 colours for all frames: those of a page, among which the map's must not be lost to the face's grays."""
    ends = np.linspace(-1 if look.signed else 0, 1, page.width)
    strip = np.broadcast_to(colors(ends, 1.0, look), (page.height, page.width, 3))
    both = np.concatenate([np.asarray(page), strip])
    return Image.fromarray(both).quantize(256)


def frame(film: Film, i: int, look: Look, dark: bool = False) -> Image.Image:
    """One epoch: the face, its map, and what the network says."""
    paper, ink = (DARK_PAPER, DARK_INK) if dark else (PAPER, INK)
    side, gap, line = FACE_SIZE * _TIMES, 14, 20
    page = Image.new("RGB", (2 * side + 3 * gap, side + 5 * line + len(EMOTIONS) * 18 + 3 * gap), paper)
    draw, scale = ImageDraw.Draw(page), film.scale(look)
    draw.text((gap, gap), f"{film.run}, epoch {film.epochs[i]}", ink, font_of(15))
    draw.text((gap, gap + line), f"{film.title} for {film.targets[i]}", FAINT, font_of(13))
    top = gap + 2 * line + 6
    page.paste(enlarged(film.face, _TIMES), (gap, top))
    shown = overlay(film.face, part_of(film.maps[i], look.sign), look, scale, _TIMES)
    page.paste(shown, (2 * gap + side, top))
    bar = color_bar(look, scale, film.unit, side, ink)
    page.paste(bar, (2 * gap + side, top + side + 6), bar)
    _bars(draw, film.probabilities[i], gap, top + side + gap + line + 10, page.width - 2 * gap, ink)
    return page


def _bars(
    draw: ImageDraw.ImageDraw, probabilities: np.ndarray, left: int, top: int, width: int, ink: tuple[int, int, int]
) -> None:
    for j, (emotion, share) in enumerate(zip(EMOTIONS, probabilities, strict=True)):
        y, start = top + 18 * j, left + 70
        draw.text((left, y), emotion, ink, font_of(13))
        end = start + share * (width - 120)
        draw.rectangle((start, y + 2, end, y + 14), COLORS[emotion])
        draw.text((end + 6, y), f"{100 * share:.0f}%", ink, font_of(13))
