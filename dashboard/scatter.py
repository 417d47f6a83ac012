"""A map of faces as points that can be hovered, clicked and lassoed at once; and a selection of faces as a short text.

Streamlit's own charts take either a click or a lasso, and forget what part of them was in view when anything on the
page changes. So this is a component of its own: canvas and a few hundred lines of JavaScript (scatter.js).
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from fer_core.labels import COLORS, EMOTIONS, UNLABELLED

COLORINGS = {"Emotion": "true", "Prediction": "predicted", "Right or wrong": "right", "Confidence": "confidence"}
_NO_LABEL = "#B0B0B0"
_MARGIN = 0.005  # around the outermost points, as a share of the span
# Of the confidence, from low to high: one hue, further from the ground the surer.
_RAMP = ("#C6DBEF", "#9ECAE1", "#6BAED6", "#4292C6", "#2171B5", "#084594")
_DARK_RAMP = ("#2B4257", "#33608A", "#3F82BC", "#56A3DF", "#8CC5F0", "#D9EEFC")

_CSS = """
.map { position: relative; font-family: var(--st-font); font-size: 13px; color: var(--st-text-color); }
.bar, .film { display: flex; gap: 6px 14px; align-items: center; justify-content: space-between; flex-wrap: wrap;
  padding-bottom: 6px; }
.legend { display: flex; gap: 2px 12px; flex-wrap: wrap; }
.item { display: inline-flex; gap: 5px; align-items: center; white-space: nowrap; }
.dot { width: 10px; height: 10px; border-radius: 50%; }
.ramp { width: 90px; height: 10px; border-radius: 3px; }
.forms { opacity: 0.75; }
.tools { display: flex; gap: 4px; margin-left: auto; }
button { all: unset; cursor: pointer; padding: 2px 6px; border-radius: 4px; border: 1px solid
  var(--st-border-color, #8888); line-height: 18px; }
button:hover { border-color: var(--st-primary-color); }
button:focus-visible { outline: 2px solid var(--st-primary-color); }
button[aria-pressed="true"] { background: var(--st-primary-color); color: var(--st-background-color);
  border-color: var(--st-primary-color); }
.panels { display: flex; gap: 12px; }
.panel { flex: 1 1 0; min-width: 0; }
.title { font-weight: 600; padding-bottom: 3px; }
.title:empty { display: none; }
.stage { position: relative; border: 1px solid var(--st-border-color-light, #8884); border-radius: 4px;
  overflow: hidden; }
canvas { position: absolute; inset: 0; width: 100%; touch-action: none; }
.panels[data-tool="Move"] canvas { cursor: grab; }
.panels:not([data-tool="Move"]) canvas { cursor: crosshair; }
.tip { display: none; position: absolute; z-index: 2; pointer-events: none; padding: 3px 8px; border-radius: 4px;
  background: var(--st-background-color); border: 1px solid var(--st-border-color, #8888); white-space: nowrap; }
.film { padding: 8px 0 0; }
.film input { flex: 1; accent-color: var(--st-primary-color); }
"""

_component = st.components.v2.component(
    "fer_map", css=_CSS, js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
)


@dataclass(frozen=True, eq=False)
class Frame:
    """One map of the faces and what its checkpoint says of them: coordinates (N, 2), probabilities (N, 7)."""

    label: str
    coordinates: np.ndarray
    said: np.ndarray


def scatter(
    frames: Sequence[Frame],
    ids: np.ndarray,
    emotions: np.ndarray,
    by: str,
    key: str,
    on_click: Callable[[int], None],
    on_select: Callable[[np.ndarray], None],
    *,
    name: str,
    file: str,
    selected: np.ndarray | None = None,
    chosen: int | None = None,
    near: Sequence[int] | np.ndarray = (),
    start: int = 0,
    is_film: bool = False,
    height: int = 400,
) -> None:
    """The frames side by side, or with `is_film` one after the other, beginning with `start`.

    by         one of `COLORINGS`
    on_click   gets the row of a clicked face before the page reruns; on_select the rows that were lassoed, int (k,),
               none where the selection was taken back
    selected   rows that stand out; chosen: the row with a ring, tied to the rows `near`
    name       what the map is of, for screen readers and on the downloaded picture, called `file`.png
    """

    def clicked() -> None:
        row = st.session_state[key].clicked
        if row is not None:
            on_click(int(row))

    def lassoed() -> None:
        rows = st.session_state[key].selected
        if rows is not None:
            on_select(np.array(rows.split(), int))

    points, span = _quantised([frame.coordinates for frame in frames])
    marked = np.zeros(len(ids), np.uint8)
    if selected is not None:
        marked[selected] = 1
    palette, legend = _colors(COLORINGS[by], bool((emotions == UNLABELLED).any()))
    legend["forms"] = "● right  \N{MULTIPLICATION SIGN} wrong" if (emotions != UNLABELLED).any() else ""
    data = {
        "name": name,
        "file": file,
        "place": f"{file} {[frame.label for frame in frames]}",
        "ids": "\n".join(ids.tolist()),
        "truth": _text(emotions.astype(np.int8)),
        "emotions": EMOTIONS,
        "by": COLORINGS[by],
        "palette": palette,
        "legend": legend,
        "frames": [
            {
                "label": frame.label,
                "points": _text(point),
                "predicted": _text(frame.said.argmax(axis=1).astype(np.uint8)),
                "confidence": _text(np.rint(100 * frame.said.max(axis=1)).astype(np.uint8)),
            }
            for frame, point in zip(frames, points, strict=True)
        ],
        "span": span,
        "panels": [0] if is_film else list(range(len(frames))),
        "film": is_film,
        "start": start,
        "selected": _text(marked) if selected is not None else None,
        "chosen": -1 if chosen is None else int(chosen),
        "near": [int(row) for row in near],
        "height": height,
    }
    _component(key=key, data=data, on_clicked_change=clicked, on_selected_change=lassoed)


def _text(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _quantised(maps: Sequence[np.ndarray]) -> tuple[list[np.ndarray], tuple[float, float]]:
    """Maps float (N, 2) as uint16 0..65535 over the span that they share, and that span: width, height."""
    every = np.concatenate(maps) if sum(map(len, maps)) else np.zeros((1, 2))
    low, high = every.min(axis=0), every.max(axis=0)
    room = _MARGIN * max(float((high - low).max()), 1e-6)
    low, span = low - room, high - low + 2 * room
    whole = [np.rint((each - low) / span * 65535).astype("<u2") for each in maps]
    return whole, (float(span[0]), float(span[1]))


def _colors(by: str, has_unlabelled: bool) -> tuple[list[str], dict[str, Any]]:
    """The palette that the component's codes index, and its legend."""
    is_dark = st.context.theme.type == "dark"
    if by == "confidence":
        return list(_DARK_RAMP if is_dark else _RAMP), {"colors": [], "low": "Confidence 0%", "high": "100%"}
    if by == "right":
        colors = {"Right": "#56B4E9" if is_dark else "#0072B2", "Wrong": "#E69F00" if is_dark else "#D55E00"}
        colors["No label"] = _NO_LABEL
    else:
        colors = {**COLORS, "No label": _NO_LABEL}
    shown = {
        name: color for name, color in colors.items() if name != "No label" or (has_unlabelled and by != "predicted")
    }
    return list(colors.values()), {"colors": [{"name": name, "color": color} for name, color in shown.items()]}


# -- a selection in the URL ------------------------------------------------------------------------


def packed(rows: np.ndarray) -> str:
    """Rows, ascending, as a text for the URL: about a letter for each face of a dense selection."""
    gaps = np.diff(rows, prepend=0).astype("<u4").tobytes()
    return base64.urlsafe_b64encode(zlib.compress(gaps, 9)).decode().rstrip("=")


def unpacked(text: str, count: int) -> np.ndarray | None:
    """The rows of `packed`, int (k,); None where the text means no rows among so many."""
    try:
        body = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        gaps = zlib.decompressobj().decompress(body, 4 * count + 1)  # a short text could unpack to gigabytes
        rows = np.cumsum(np.frombuffer(gaps, "<u4").astype(np.int64))
    except (ValueError, binascii.Error, zlib.error):
        return None
    is_ascending = len(rows) > 0 and bool((np.diff(rows) > 0).all())
    return rows if is_ascending and rows[-1] < count else None
