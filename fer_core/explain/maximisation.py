"""What excites a filter: the picture that gradient ascent makes of noise, or of a face, to raise its response.

Activation maximisation is Erhan et al. 2009, the regularisers are Yosinski et al. 2015 (blur) and Olah et al. 2017
(Fourier, jitter): without one the result is all high frequencies, noise to the eye though the filter answers to it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor, nn

from fer_core.errors import CheckpointError, ConfigError
from fer_core.explain.layers import find_layer, frozen_copy, run_to
from fer_core.explain.pictures import enlarged, font_of, ground
from fer_core.preprocess import FACE_SIZE, Preprocess
from fer_core.runs import Checkpoint, Run

REGULARISERS = {
    "fourier": "climbs in frequencies, the low ones first (Olah et al. 2017)",
    "blur": "climbs in pixels and blurs them a little every few steps (Yosinski et al. 2015)",
    "none": "climbs in pixels and does nothing else (Erhan et al. 2009)",
}
WHOLE_LAYER = -1  # in place of a channel
_AT_ONCE = 32  # pictures that climb together
_NOISE = 0.1  # standard deviation of the noise to start from, in `_pixels`' units
_BLUR_EVERY = 8  # steps


@dataclass(frozen=True)
class Ascent:
    """How to climb. Raises ConfigError naming the value that is out of range."""

    steps: int = 64
    """Steps of Adam."""
    rate: float = 0.05
    """Its learning rate."""
    jitter: int = 3
    """Before each step the picture is shifted by up to so many pixels, so that no edge is drawn at one place only."""
    regulariser: str = "fourier"
    """A key of `REGULARISERS`."""
    seed: int = 0
    """Of the noise to start from and of the jitter."""

    def __post_init__(self) -> None:
        if self.regulariser not in REGULARISERS:
            raise ConfigError(f"There is no regulariser '{self.regulariser}'; choose one of {', '.join(REGULARISERS)}.")
        for name, low, high in (("steps", 1, 10_000), ("rate", 1e-6, 100), ("jitter", 0, FACE_SIZE // 2)):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"{name} = {getattr(self, name)} is outside {low:g} to {high:g}.")


@dataclass(frozen=True, eq=False)
class Maximised:
    """N pictures and what they climbed from.

    checkpoint      RUN:EPOCH
    channels        of each picture the channel that it climbed for; `WHOLE_LAYER` for all of them
    starts, images  float32 (N, 48, 48) in gray levels 0..255
    values          float32 (steps + 1, N): the objective before each step and at the end. For a channel it is its mean
                    response, for the layer the mean square of all activations (as in DeepDream). The pictures between
                    the first and the last are measured as the jitter shifted them
    """

    checkpoint: str
    layer: str
    channels: tuple[int, ...]
    ascent: Ascent
    starts: np.ndarray
    images: np.ndarray
    values: np.ndarray


def maximise(
    checkpoint: Checkpoint,
    layer: str,
    channels: Sequence[int] | None = None,
    faces: np.ndarray | None = None,
    ascent: Ascent = Ascent(),
    report: Callable[[float], object] | None = None,
) -> Maximised:
    """Climbs for some channels of a layer (None: for each), all from the same noise, or each from a face of its own.

    faces: uint8 (N, 48, 48), as many as channels. report: called with the share done, 0..1. The network stays as it is:
    the climbing is done in a copy. Raises ConfigError naming a layer or channel that is not there.
    """
    wanted = _checked(checkpoint.model, layer, channels)
    model = frozen_copy(checkpoint.model)
    starts = _noise(len(wanted), ascent.seed) if faces is None else _of_faces(checkpoint.preprocess.pixels(faces))
    images, values = [], []
    for begin in range(0, len(wanted), _AT_ONCE):
        chunk = slice(begin, begin + _AT_ONCE)
        climb = _Climb(model, checkpoint.preprocess, layer, torch.tensor(wanted[chunk]), ascent, starts[chunk])
        for step in range(ascent.steps):
            climb.step()
            if report:
                report((begin + len(wanted[chunk]) * (step + 1) / ascent.steps) / len(wanted))
        image, value = climb.end()
        images.append(image)
        values.append(value)
    return Maximised(
        f"{checkpoint.run}:{checkpoint.epoch}",
        layer,
        wanted,
        ascent,
        _gray(starts).numpy(),
        np.concatenate(images),
        np.concatenate(values, axis=1),
    )


def _checked(model: nn.Module, layer: str, channels: Sequence[int] | None) -> tuple[int, ...]:
    there = find_layer(model, layer).channels
    for channel in channels or ():
        if not WHOLE_LAYER <= channel < there:
            raise ConfigError(f"{layer} has no channel {channel}; its channels are 0 to {there - 1}.")
    return tuple(range(there) if channels is None else channels)


class _Climb:
    """Some pictures on their way up."""

    def __init__(
        self,
        model: nn.Module,
        preprocess: Preprocess,
        layer: str,
        channels: Tensor,
        ascent: Ascent,
        starts: Tensor,
    ) -> None:
        self.model, self.preprocess, self.layer, self.channels, self.ascent = model, preprocess, layer, channels, ascent
        self.device = next(model.parameters()).device
        to, _ = _SPACES[ascent.regulariser]
        self.point = to(starts).to(self.device).requires_grad_()
        self.optimizer = torch.optim.Adam([self.point], lr=ascent.rate)
        self.generator = torch.Generator().manual_seed(ascent.seed)
        self.values: list[Tensor] = []

    @torch.enable_grad()
    def step(self) -> None:
        jitter = self.ascent.jitter if self.values else 0
        shift = torch.randint(-jitter, jitter + 1, (2,), generator=self.generator).tolist()
        value = self.objective(self.image().roll(shift, dims=(1, 2)))
        (self.point.grad,) = torch.autograd.grad(-value.sum(), self.point)
        self.optimizer.step()
        self.values.append(value.detach())
        if self.ascent.regulariser == "blur" and len(self.values) % _BLUR_EVERY == 0:
            self.point.data = _blurred(self.point.data)

    def image(self) -> Tensor:
        """The pictures as they are now, in gray levels (N, 48, 48)."""
        _, back = _SPACES[self.ascent.regulariser]
        return _gray(back(self.point))

    def objective(self, gray: Tensor) -> Tensor:
        """float32 (N,): see `Maximised.values`."""
        response = run_to(self.model, self.preprocess.normalize(gray), self.layer)
        channel = response[torch.arange(len(response)), self.channels].mean(dim=(1, 2))
        return torch.where(
            self.channels.to(self.device) == WHOLE_LAYER, response.relu().square().mean(dim=(1, 2, 3)), channel
        )

    @torch.no_grad()
    def end(self) -> tuple[np.ndarray, np.ndarray]:
        """The pictures (N, 48, 48), and the objective before each step and now (steps + 1, N)."""
        image = self.image()
        values = torch.stack([*self.values, self.objective(image.clone())])
        return image.cpu().numpy(), values.cpu().numpy()


# -- the spaces to climb in: from logits (N, 48, 48) and back --------------------------------------


def _noise(n: int, seed: int) -> Tensor:
    """The same noise n times, so that pictures differ by their filter alone."""
    return _NOISE * torch.randn(1, FACE_SIZE, FACE_SIZE, generator=torch.Generator().manual_seed(seed)).repeat(n, 1, 1)


def _of_faces(faces: np.ndarray) -> Tensor:
    """uint8 -> logits; black and white are drawn in a little, since theirs are infinite."""
    return torch.from_numpy(np.array(faces)).float().div(255).clamp(0.01, 0.99).logit()


def _gray(logits: Tensor) -> Tensor:
    return 255 * logits.sigmoid()


def _spectrum(logits: Tensor) -> Tensor:
    """Weighted so that a step changes low frequencies more than high ones, as they are in pictures: (N, 48, 25, 2)."""
    return torch.view_as_real(torch.fft.rfft2(logits, norm="ortho") / _weights(logits))


def _of_spectrum(spectrum: Tensor) -> Tensor:
    weighted = torch.view_as_complex(spectrum) * _weights(spectrum)
    logits: Tensor = torch.fft.irfft2(weighted, s=(FACE_SIZE, FACE_SIZE), norm="ortho")
    return logits


def _weights(like: Tensor) -> Tensor:
    """One over the frequency of each entry of the spectrum, (48, 25); mid frequencies keep about their size."""
    down, across = torch.fft.fftfreq(FACE_SIZE), torch.fft.rfftfreq(FACE_SIZE)
    frequency = torch.hypot(down[:, None], across[None]).clamp(min=1 / FACE_SIZE)
    return (0.25 / frequency).to(like.device)


def _blurred(logits: Tensor) -> Tensor:
    line = torch.tensor([0.25, 0.5, 0.25], device=logits.device)
    kernel = torch.outer(line, line)[None, None]
    return F.conv2d(F.pad(logits[:, None], (1, 1, 1, 1), mode="replicate"), kernel)[:, 0]


def _same(logits: Tensor) -> Tensor:
    return logits


_SPACES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "fourier": (_spectrum, _of_spectrum),
    "blur": (Tensor.clone, _same),
    "none": (Tensor.clone, _same),
}


# -- one filter over the epochs --------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class FilterFilm:
    """What excites one filter at each kept epoch.

    images  float32 (epochs, 48, 48) in gray levels
    values  float32 (epochs,): the mean response that they reach
    """

    run: str
    layer: str
    channel: int
    ascent: Ascent
    epochs: tuple[int, ...]
    images: np.ndarray
    values: np.ndarray

    def gif(self, times: int = 4, milliseconds: int = 700, dark: bool = False) -> bytes:
        """The frames as an animation that repeats, each with its epoch below. `dark`: light on dark. Needs a frame."""
        paper, ink = (shade[0] for shade in ground(dark))
        frames = []
        for epoch, image in zip(self.epochs, self.images, strict=True):
            frame = Image.new("L", (FACE_SIZE * times, FACE_SIZE * times + 20), paper)
            frame.paste(enlarged(to_pixels(image), times), (0, 0))
            ImageDraw.Draw(frame).text((4, FACE_SIZE * times + 3), f"Epoch {epoch}", ink, font_of(12))
            frames.append(frame)
        stream = io.BytesIO()
        frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0)
        return stream.getvalue()


def to_pixels(images: np.ndarray) -> np.ndarray:
    """Gray levels float32 -> uint8."""
    return np.asarray(np.rint(images).astype(np.uint8))


def film(
    run: Run,
    layer: str,
    channel: int,
    face: np.ndarray | None = None,
    ascent: Ascent = Ascent(),
    report: Callable[[float], object] | None = None,
) -> FilterFilm:
    """Climbs once at each kept epoch that can be loaded, always from the same noise, or from a face uint8 (48, 48)."""
    epochs, frames = [], []
    kept = run.epochs()
    for done, epoch in enumerate(kept):
        try:
            checkpoint = run.load_checkpoint(epoch)
        except CheckpointError:
            continue  # a damaged one is named where it is chosen; the others are shown all the same
        frames.append(maximise(checkpoint, layer, [channel], None if face is None else face[None], ascent))
        epochs.append(epoch)
        if report:
            report((done + 1) / len(kept))
    images = np.concatenate([frame.images for frame in frames] or [np.empty((0, FACE_SIZE, FACE_SIZE), np.float32)])
    values = np.array([frame.values[-1, 0] for frame in frames], np.float32)
    return FilterFilm(run.name, layer, channel, ascent, tuple(epochs), images, values)
