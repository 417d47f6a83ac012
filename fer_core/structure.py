"""What a network is made of: its layers as a table, and how values pass from one to the next.

The network is traced (torch.fx), and a copy of it run step by step on faces with one row or column of NaN each: what
comes out of a step gives its shape, and its NaNs say which pixels it sees. So the numbers are those of the network as
it computes, whatever its author wrote, and depend on no weight.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from fer_core.errors import ConfigError
from fer_core.explain.layers import conv_layers
from fer_core.preprocess import FACE_SIZE

INPUT = "face"
_CALLS = ("call_module", "call_function", "call_method")


@dataclass(frozen=True)
class Step:
    """One layer, or one function that the network calls between layers (an addition of a skip, say).

    name        of a layer its name among `named_modules()`; of a function the block that calls it, then the function
    kind        the layer's class, or the function: "Conv2d", "add"
    settings    what it was built with, as PyTorch prints it: "1, 24, kernel_size=(5, 5), stride=(1, 1)"
    shape       of its output for one face: (C, H, W) or (D,)
    parameters  numbers of its own, those that are not trained too
    macs        multiply-accumulate operations for one face in convolutions and matrix products. As usual (fvcore,
                ptflops) norms, activations and pooling count as none: they are few beside these
    field       height and width in pixels of what one unit sees of the face (its receptive field, Araujo et al. 2019),
                as far as it lies on the face: at most 48
    inputs      the steps that it takes values from; INPUT for the face itself
    block       the module that calls it, "" for the network itself
    layer       its name on the Layers page, "" where it is no convolution
    """

    name: str
    kind: str
    settings: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    field: tuple[int, int]
    inputs: tuple[str, ...]
    block: str
    layer: str = ""


@dataclass(frozen=True)
class Structure:
    """A network's steps in forward order. `trained` of its `parameters` are adjusted by training."""

    model: str
    steps: tuple[Step, ...]
    trained: int

    @property
    def parameters(self) -> int:
        return sum(step.parameters for step in self.steps)

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations for one face."""
        return sum(step.macs for step in self.steps)


@dataclass(frozen=True)
class Box:
    """Steps of one block that follow each other without a branch: what a person takes for one layer of a graph.

    inputs  the boxes that it takes values from, by their last step's name; INPUT for the face
    """

    steps: tuple[Step, ...]
    inputs: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of its last step: the one that others take values from."""
        return self.steps[-1].name

    @property
    def layer(self) -> str:
        """The convolution in it, as the Layers page calls it; "" where there is none."""
        return next((step.layer for step in self.steps if step.layer), "")


def structure(model: nn.Module) -> Structure:
    """The structure of a network that takes float (N, 1, 48, 48). The network itself is neither run nor changed.

    Raises ConfigError for one whose way of computing depends on the values of the face: it has no one graph.
    """
    twin = copy.deepcopy(model).to("cpu", torch.float64).eval()
    layers = {layer.module: layer.name for layer in conv_layers(model).values()}
    tracer = _Tracer()
    try:
        graph = tracer.trace(twin)
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{type(model).__name__} has no fixed graph that could be drawn ({reason}).") from error
    steps = _Walk(twin, graph, layers).steps_of(_probes())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return Structure(type(model).__name__, tuple(steps), trained)


def boxes(steps: Iterable[Step]) -> list[Box]:
    """The steps put together where one follows the other within a block and nothing branches off or joins."""
    steps = list(steps)
    taken_by: dict[str, int] = {}
    for step in steps:
        for name in step.inputs:
            taken_by[name] = taken_by.get(name, 0) + 1
    made: dict[str, Box] = {}  # by the name of the last step
    for step in steps:
        before = made.get(step.inputs[0]) if len(step.inputs) == 1 else None
        if before and taken_by[before.name] == 1 and before.steps[-1].block == step.block:
            del made[before.name]
            made[step.name] = replace(before, steps=(*before.steps, step))
        else:
            made[step.name] = Box((step,), step.inputs)
    return list(made.values())


class _Tracer(fx.Tracer):
    """Takes every module without modules of its own for one layer, whoever wrote it."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        return not any(True for _ in m.children())


class _Walk(fx.Interpreter):
    """Runs a traced network and notes each step."""

    def __init__(self, model: nn.Module, graph: fx.Graph, layers: dict[str, str]) -> None:
        super().__init__(fx.GraphModule(model, graph))
        self.model, self.layers = model, layers
        self.names: dict[fx.Node, str] = {}
        self.steps: list[Step] = []
        self.counted: set[str] = set()

    @torch.no_grad()
    def steps_of(self, faces: Tensor) -> list[Step]:
        self.run(faces)
        return self.steps

    def run_node(self, n: fx.Node) -> Any:
        with FlopCounterMode(display=False) as counter:
            value = super().run_node(n)
        if n.op == "placeholder":
            self.names[n] = INPUT
        elif n.op in _CALLS and isinstance(value, Tensor) and value.dim() > 1:
            self._note(n, value, counter.get_total_flops())
        return value

    def _note(self, n: fx.Node, value: Tensor, flops: int) -> None:
        sources = self._sources(n)
        module = self.model.get_submodule(str(n.target)) if n.op == "call_module" else None
        if isinstance(module, nn.Identity) and len(sources) == 1:
            self.names[n] = sources[0]  # nothing happens there
            return
        block, name = self._named(n)
        self.names[n] = name
        self.steps.append(
            Step(
                name=name,
                kind=type(module).__name__ if module is not None else _function(n),
                settings=module.extra_repr() if module is not None else "",
                shape=tuple(value.shape[1:]),
                parameters=self._parameters(n, module),
                macs=flops // 2 // len(value),
                field=_field(value),
                inputs=sources,
                block=block,
                layer=self.layers.get(str(n.target), "") if module is not None else "",
            )
        )

    def _sources(self, n: fx.Node) -> tuple[str, ...]:
        """The steps whose values reach this one; a number that was computed on the way (a shape) is none."""
        return tuple(dict.fromkeys(self.names[node] for node in n.all_input_nodes if node in self.names))

    def _named(self, n: fx.Node) -> tuple[str, str]:
        """The block that calls a step, and the step's name, told apart from others by a number where need be."""
        if n.op == "call_module":
            name = str(n.target)
            block = name.rpartition(".")[0]
        else:
            stack = list(n.meta.get("nn_module_stack", {}).values())
            block = str(stack[-1][0]) if stack else ""
            name = f"{block}.{_function(n)}" if block else _function(n)
        taken = {step.name for step in self.steps}
        numbered = (name if i == 1 else f"{name} ({i})" for i in range(1, len(taken) + 2))
        return block, next(each for each in numbered if each not in taken)

    def _parameters(self, n: fx.Node, module: nn.Module | None) -> int:
        """A layer's own numbers, or those that a function is given; of what is used twice only once."""
        own = {f"{n.target}.{name}": p for name, p in module.named_parameters()} if module is not None else {}
        for node in n.all_input_nodes:
            value = operator.attrgetter(str(node.target))(self.model) if node.op == "get_attr" else None
            if isinstance(value, nn.Parameter):
                own[str(node.target)] = value
        fresh = {str(id(p)): p.numel() for p in own.values() if str(id(p)) not in self.counted}
        self.counted |= fresh.keys()
        return sum(fresh.values())


def _function(n: fx.Node) -> str:
    """What a person calls a function: "add" for +, "relu" for torch.relu."""
    return str(n.target if isinstance(n.target, str) else getattr(n.target, "__name__", n.target)).strip("_")


def _probes() -> Tensor:
    """float64 (96, 1, 48, 48): face i is NaN in row i, face 48 + i in column i, all else 0. In float64, since the fast
    algorithms for float32 (Winograd, FFT) would carry a NaN further than the kernel reaches."""
    side = range(FACE_SIZE)
    faces = torch.zeros(2 * FACE_SIZE, 1, FACE_SIZE, FACE_SIZE, dtype=torch.float64)
    faces[side, :, side, :] = torch.nan
    faces[FACE_SIZE:][side, :, :, side] = torch.nan
    return faces


def _field(value: Tensor) -> tuple[int, int]:
    """Height and width of the largest receptive field among the units of an output (96, ...) for `_probes`."""
    nan = value.isnan().numpy().reshape(2 * FACE_SIZE, -1)
    return _extent(nan[:FACE_SIZE]), _extent(nan[FACE_SIZE:])


def _extent(sees: np.ndarray) -> int:
    """bool (48, units): from the first to the last that a unit sees, the most of all units."""
    first, last = sees.argmax(axis=0), len(sees) - 1 - sees[::-1].argmax(axis=0)
    return int(np.where(sees.any(axis=0), last - first + 1, 0).max(initial=0))
