"""A network as a graph in Graphviz's language, which the browser draws by itself: a box a layer, residual connections
beside them, each box that the Layers page knows a link to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fer_core.structure import Box, Step


def dot(boxes: list[Box], link: Callable[[str], str], dark: bool) -> str:
    """The graph, from the face at the top to the seven emotions at the bottom.

    link: the address of a layer on the Layers page, by its name. dark: light on dark.
    """
    ink, paper, accent, faint = (
        ("#F0F0F0", "#262730", "#56B4E9", "#8A8A8A") if dark else ("#31333F", "#F0F2F6", "#0072B2", "#8A8A8A")
    )
    lines = [
        'digraph { bgcolor="transparent"; ranksep=0.22; nodesep=0.35',
        f'node [shape=box, style="rounded,filled", fillcolor="{paper}", color="{faint}", fontcolor="{ink}", '
        'fontname="sans-serif", fontsize=11, margin="0.14,0.05", height=0.3, target="_self"]',
        f'edge [color="{faint}", arrowsize=0.6]',
        'face [label="face, 1 x 48 x 48", shape=oval]',
    ]
    for box in boxes:
        name, text = json.dumps(box.name), json.dumps(_label(box), ensure_ascii=False)
        tip = json.dumps("\n".join(_tip(step) for step in box.steps), ensure_ascii=False)
        extra = ""
        if box.layer:
            extra = f', URL={json.dumps(link(box.layer))}, color="{accent}", penwidth=1.5'
        elif _joins(box):
            extra = ', shape=circle, width=0.3, fixedsize=true, fontsize=15, margin=0, style="filled"'
        lines.append(f"{name} [label={text}, tooltip={tip}{extra}]")
    before = {box.name: position for position, box in enumerate(boxes)}
    for position, box in enumerate(boxes):
        for source in box.inputs:
            is_skip = position - before.get(source, -1) > 1
            style = f' [color="{accent}", penwidth=1.8]' if is_skip else ""
            lines.append(f"{json.dumps(source)} -> {json.dumps(box.name)}{style}")
    return "\n".join([*lines, "}"])


def _joins(box: Box) -> bool:
    """Does it only put two values together, as the end of a residual block does?"""
    return len(box.steps) == 1 and box.steps[0].kind in _SIGNS


_SIGNS = {"add": "+", "iadd": "+", "mul": "\u00d7", "imul": "\u00d7"}


def _label(box: Box) -> str:
    """Name, what is done one after the other, and the shape of what comes out."""
    if _joins(box):
        return _SIGNS[box.steps[0].kind]
    kinds = ", ".join(_short(step) for step in box.steps)
    names = box.layer or box.steps[0].block
    shape = by(box.steps[-1].shape)
    return f"{names}\n{kinds}\n{shape}" if names else f"{kinds}\n{shape}"


def _short(step: Step) -> str:
    return step.kind.removesuffix("2d").replace("BatchNorm", "Norm")


def _tip(step: Step) -> str:
    return f"{step.name}: {step.kind}({step.settings}) -> {by(step.shape)}"


def by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
