"""The layers of a network: what their units see of the face, and their outputs. All hooks of the project live here.

A layer goes by the name that menus show (`fer_core.models.conv_layers`): "conv1" for the block around `conv1.conv`,
"features.0" for a convolution that has no block. It can be tapped at two places:

    "output"    what the module of that name hands on: of a block after norm, ReLU and, in a residual block, the skip
    "response"  what the filters themselves say, signed: the convolution with the norm and the pooling that directly
                follow it, before ReLU and skip. Its positive part is the filter's activation.

The response tells what one filter adds; in the output of a residual block it would be mixed with the filters before.
It also has a slope where ReLU has none, so that gradient ascent can start at a filter that is still silent.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from fer_core import models
from fer_core.errors import ConfigError
from fer_core.preprocess import FACE_SIZE

Tap = Literal["output", "response"]
Hook = Callable[[nn.Module, tuple[Any, ...], Any], Any]

# What stands between a convolution and its activation, and changes neither which filter speaks nor what it answers to.
_FOLLOWERS = (
    nn.modules.batchnorm._NormBase,  # batch and instance norm
    nn.GroupNorm,
    nn.Identity,
    nn.Dropout2d,
    nn.MaxPool2d,
    nn.AvgPool2d,
)
_HINTS = {  # up to which share of the face's side a unit sees: what it can tell at most
    0.15: "edges, spots and lines: a wrinkle, the rim of an eye",
    0.35: "corners, curves and textures: the corner of a mouth, an eyelid, teeth",
    0.7: "parts of a face: an eye with its brow, a nose, a mouth",
    1.0: "most of the face: how its parts stand to one another",
}


@dataclass(frozen=True)
class Grid:
    """The units of one tap and what each of them sees.

    shape          (C, H, W) for one face
    rows, columns  of each unit row and unit column the first and last pixel that it sees, (-1, -1) for none
    """

    shape: tuple[int, int, int]
    rows: tuple[tuple[int, int], ...] = field(repr=False)
    columns: tuple[tuple[int, int], ...] = field(repr=False)

    def box(self, y: int, x: int) -> tuple[int, int, int, int]:
        """What unit (y, x) sees of the 48x48 face: top, left, bottom, right; the last two just outside."""
        (top, bottom), (left, right) = self.rows[y], self.columns[x]
        return top, left, bottom + 1, right + 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the receptive field in pixels, as far as it lies on the face."""
        return _size(self.rows), _size(self.columns)

    @property
    def jump(self) -> tuple[int, int]:
        """Pixels from one unit's receptive field to the next one's, down and across; 0 where all see the same."""
        return _jump(self.rows), _jump(self.columns)

    @property
    def offset(self) -> tuple[int, int]:
        """Top and left of unit (0, 0)'s receptive field; negative where it begins in the padding."""
        return _offset(self.rows), _offset(self.columns)


@dataclass(frozen=True)
class ConvLayer:
    """One convolution of a network.

    name      as menus show it, the name of the module whose output is tapped
    module    the convolution's own name among `named_modules()`
    """

    name: str
    module: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    output: Grid
    response: Grid

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the response to one face."""
        return self.response.shape

    @property
    def channels(self) -> int:
        return self.response.shape[0]

    @property
    def hint(self) -> str:
        """What a unit can tell at most, from how much of the face it sees."""
        share = max(self.response.size) / FACE_SIZE
        return next(hint for most, hint in _HINTS.items() if share <= most)


def conv_layers(model: nn.Module) -> dict[str, ConvLayer]:
    """The convolutions that a face passes through, in forward order, by the names that menus show.

    What each sees is found by passing faces with one row or column of NaN through a copy of the network: the units that
    become NaN see it. That holds for whatever the network does in between, and depends on no weight.
    """
    return dict(_known(model).layers)


def find_layer(model: nn.Module, name: str) -> ConvLayer:
    """One layer by name. Raises ConfigError naming the layers there are."""
    return _found(model, name).layers[name]


def _found(model: nn.Module, name: str) -> _Known:
    known = _known(model)
    if name not in known.layers:
        raise ConfigError(f"{type(model).__name__} has no layer '{name}'; its layers are {', '.join(known.layers)}.")
    return known


@contextmanager
def captured(model: nn.Module, names: Iterable[str], tap: Tap = "output") -> Iterator[dict[str, Tensor]]:
    """Within the block, a forward pass of this thread puts the named layers' values (N, C, H, W) into the dictionary
    that it gives, as part of the graph where one is recorded. However the block is left, the hooks are gone then.

    Raises ConfigError naming the layers there are where one of `names` is none.
    """
    modules = {name: tap_module(model, name, tap) for name in names}
    values: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for name, module in modules.items():

            def keep(_module: nn.Module, _inputs: Any, output: Tensor, name: str = name) -> Tensor:
                if torch.is_grad_enabled() and not output.requires_grad:
                    output.requires_grad_()  # of a layer that is not trained, which begins the graph
                values[name] = output
                return output.clone()  # what follows may write into its input, as ReLU(inplace=True) does

            stack.enter_context(hooked(model, {module: keep}))
        yield values


def run_to(model: nn.Module, inputs: Tensor, name: str, tap: Tap = "response") -> Tensor:
    """A layer's values (N, C, H, W) for inputs (N, 1, 48, 48); what comes after the layer is not computed."""

    def stop(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        raise _ReachedError(output)

    with hooked(model, {tap_module(model, name, tap): stop}):
        try:
            model(inputs)
        except _ReachedError as reached:
            return reached.value
    raise ConfigError(f"{type(model).__name__} did not run its layer '{name}' on these faces.")


def run_to_head(model: nn.Module, inputs: Tensor) -> Tensor:
    """The penultimate features (N, D) of inputs (N, 1, 48, 48): what enters the last linear layer.

    Raises ConfigError where a network ends without one.
    """
    entered: list[Tensor] = []

    def note(_module: nn.Module, given: tuple[Any, ...], _output: Any) -> None:
        entered[:] = [given[0]]  # each linear layer in turn: what stays is the last one's

    with hooked(model, {name: note for name, module in model.named_modules() if isinstance(module, nn.Linear)}):
        model(inputs)
    if not entered:
        raise ConfigError(f"{type(model).__name__} has no linear layer at its end, so it has no penultimate features.")
    return entered[0].flatten(1)


class _ReachedError(Exception):
    """The layer that was asked for has been computed; never leaves `run_to`."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


def tap_module(model: nn.Module, name: str, tap: Tap = "output") -> str:
    """The name among `named_modules()` of the module whose output `tap` of a layer is. Raises ConfigError."""
    followed = _found(model, name).followed
    return name if tap == "output" else followed[name]


@contextmanager
def hooked(model: nn.Module, hooks: Mapping[str, Hook]) -> Iterator[None]:
    """Forward hooks on modules by name, for the forward passes of this thread within the block only."""
    owner, handles = threading.get_ident(), []

    def only_here(hook: Hook) -> Hook:
        return lambda *call: hook(*call) if threading.get_ident() == owner else None

    try:
        for name, hook in hooks.items():
            handles.append(model.get_submodule(name).register_forward_hook(only_here(hook)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within the block the network is in evaluation mode; then each of its modules is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def frozen_copy(model: nn.Module) -> nn.Module:
    """The network in evaluation mode for gradients to its input alone, and nobody else's: to be run for long."""
    twin = copy.deepcopy(model).eval().requires_grad_(False)
    return twin.to(memory_format=torch.channels_last)


# -- what is found out once for each architecture --------------------------------------------------


@dataclass(frozen=True)
class _Known:
    """followed: of each layer the last module of its response (the convolution, or a norm or pooling after it)."""

    layers: dict[str, ConvLayer]
    followed: dict[str, str]


_cache: dict[Any, _Known] = {}
_lock = threading.Lock()
_KEPT = 64  # architectures


def _known(model: nn.Module) -> _Known:
    """The same for all epochs and runs of an architecture, so found out once: half a second for the report's."""
    key = _structure(model)
    with _lock:
        if key not in _cache:
            while len(_cache) >= _KEPT:
                del _cache[next(iter(_cache))]
            _cache[key] = _probe(model)
        return _cache[key]


def _structure(model: nn.Module) -> Any:
    """All that decides how a network computes, but its weights: equal for two that were built alike."""
    plain = (bool, int, float, str, tuple, list)
    return tuple(
        (
            name,
            type(module),
            *(
                (key, repr(value))
                for key, value in vars(module).items()
                if isinstance(value, plain) and key != "training"
            ),
            *(tuple(parameter.shape) for parameter in module.parameters(recurse=False)),
        )
        for name, module in model.named_modules()
    )


@torch.no_grad()
def _probe(model: nn.Module) -> _Known:
    # In float64: the fast algorithms for float32 (Winograd, FFT) would carry a NaN further than the kernel reaches.
    twin = copy.deepcopy(model).to("cpu", torch.float64).eval()
    names = {conv: name for name, conv in models.conv_layers(twin).items()}
    full_names = {module: name for name, module in twin.named_modules()}
    followed = _follow(twin)
    grids = _grids(twin, {*(names[conv] for conv in followed), *followed.values()})
    layers = {
        names[conv]: ConvLayer(
            names[conv],
            full_names[conv],
            _pair(conv.kernel_size),
            _pair(conv.stride),
            grids[names[conv]],
            grids[last],
        )
        for conv, last in followed.items()
    }
    return _Known(layers, {names[conv]: last for conv, last in followed.items()})


def _follow(model: nn.Module) -> dict[nn.Conv2d, str]:
    """The convolutions that one forward pass calls, in that order, each with the last module of its response."""
    names = {module: name for name, module in model.named_modules()}
    last: dict[nn.Conv2d, Tensor] = {}
    followed: dict[nn.Conv2d, str] = {}

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        if not isinstance(output, Tensor):
            return output
        value = output.clone()  # else what a ReLU(inplace=True) returns would be the very tensor that it was given
        if isinstance(module, nn.Conv2d):
            followed[module], last[module] = names[module], value
        elif isinstance(module, _FOLLOWERS):
            for conv in [conv for conv, before in last.items() if inputs and inputs[0] is before]:
                followed[conv], last[conv] = names[module], value
        return value

    with hooked(model, dict.fromkeys(names.values(), note)):
        model(torch.zeros(1, 1, FACE_SIZE, FACE_SIZE, dtype=torch.float64))
    return followed


def _grids(model: nn.Module, names: Iterable[str]) -> dict[str, Grid]:
    """What the units of the named modules see."""
    side = range(FACE_SIZE)
    faces = torch.zeros(2 * FACE_SIZE, 1, FACE_SIZE, FACE_SIZE, dtype=torch.float64)
    faces[side, :, side, :] = torch.nan  # face i: row i
    faces[FACE_SIZE:][side, :, :, side] = torch.nan  # face 48 + i: column i
    reached: dict[str, np.ndarray] = {}

    def note(name: str) -> Hook:
        return lambda _module, _inputs, output: reached.update({name: output.isnan().numpy()})

    with hooked(model, {name: note(name) for name in names}):
        model(faces)
    return {
        name: Grid(
            (nan.shape[1], nan.shape[2], nan.shape[3]),
            _ends(np.any(nan[:FACE_SIZE], axis=(1, 3))),
            _ends(np.any(nan[FACE_SIZE:], axis=(1, 2))),
        )
        for name, nan in reached.items()
    }


def _ends(sees: np.ndarray) -> tuple[tuple[int, int], ...]:
    """bool (48 pixels, units) -> of each unit the first and the last pixel."""
    found = [np.flatnonzero(unit) for unit in sees.T]
    return tuple((int(pixels[0]), int(pixels[-1])) if len(pixels) else (-1, -1) for pixels in found)


def _size(ends: tuple[tuple[int, int], ...]) -> int:
    return max(last - first + 1 if first >= 0 else 0 for first, last in ends)


def _jump(ends: tuple[tuple[int, int], ...]) -> int:
    """Between neighbours neither of which the same edge of the face cuts."""
    pairs = list(pairwise(ends))
    steps = [b[0] - a[0] for a, b in pairs if a[0] > 0] + [b[1] - a[1] for a, b in pairs if 0 <= b[1] < FACE_SIZE - 1]
    return max(steps, default=0)


def _offset(ends: tuple[tuple[int, int], ...]) -> int:
    jump = _jump(ends)
    return min((first - i * jump for i, (first, _) in enumerate(ends) if first > 0), default=0)


def _pair(size: tuple[int, ...]) -> tuple[int, int]:
    return size[0], size[1]
