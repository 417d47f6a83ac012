"""Charts as inline SVG: what they need is drawn here, a few kilobytes each, with the page's own typeface.

Written by hand since a report must be one file without scripts that prints as sharp as its text; Altair needs a browser
or a renderer of 50 MB for that. Every function takes plain numbers and finished words.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup, escape

WIDTH = 640  # of every chart, in units of which the page shows about one a pixel
ACCENT, SECOND = "#0072B2", "#D55E00"  # Okabe & Ito 2008, as everywhere in the project
_INK, _FAINT, _GRID = "#1f2328", "#6a6f76", "#e3e5e8"
_SIZE = 11  # of text
Format = Callable[[float], str]


@dataclass(frozen=True)
class Line:
    """A curve: float (N,) each; drawn dashed or solid, its name at its end."""

    name: str
    color: str
    x: np.ndarray
    y: np.ndarray
    dashed: bool = False


@dataclass(frozen=True)
class Dot:
    """A value with its interval, on a line of its own; `note` stands at the right."""

    name: str
    color: str
    value: float
    low: float
    high: float
    note: str = ""


def curves(lines: Sequence[Line], x_title: str, y_title: str, form: Format, mark: tuple[float, str]) -> Markup:
    """Lines over epochs; a thin rule marks one x, with a text at its top."""
    height, left, right, top, bottom = 266, 52, 118, 38, 40
    every_y = np.concatenate([line.y for line in lines])
    low, high = _around(every_y[np.isfinite(every_y)])
    last = max(float(line.x.max()) for line in lines)
    x = _scale(min(1.0, last - 1), last, left, WIDTH - right)
    y = _scale(low, high, height - bottom, top)
    parts = [_grid_y(y, _ticks(low, high, 5), left, WIDTH - right, form)]
    for tick in sorted({1, *(int(tick) for tick in _ticks(0, last, 6) if tick >= 1)}):
        parts.append(_text(x(tick), height - bottom + 16, str(tick), anchor="middle", fill=_FAINT))
    at, told = mark
    parts.append(_line(x(at), top, x(at), height - bottom, _FAINT, dash="2 3"))
    is_right = x(at) > (left + WIDTH - right) / 2
    parts.append(_text(x(at) + (-5 if is_right else 5), top - 6, told, anchor="end" if is_right else "start"))
    for line in lines:
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(line.x, line.y, strict=True) if math.isfinite(b))
        dash = ' stroke-dasharray="5 3"' if line.dashed else ""
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{line.color}" stroke-width="1.8"{dash} '
            'stroke-linejoin="round"/>'
        )
        if len(line.x) == 1:
            parts.append(f'<circle cx="{x(line.x[0]):.1f}" cy="{y(line.y[0]):.1f}" r="3" fill="{line.color}"/>')
    ends = _apart([y(float(line.y[-1])) for line in lines], _SIZE + 4)
    for line, end in zip(lines, ends, strict=True):
        parts.append(_text(WIDTH - right + 8, end + 4, line.name, fill=line.color, weight=600))
    parts.append(_text((left + WIDTH - right) / 2, height - 6, x_title, anchor="middle"))
    parts.append(_text(left, 12, y_title))
    return _chart(height, f"{y_title}: {', '.join(line.name for line in lines)}", parts)


def dots(
    rows: Sequence[Dot],
    title: str,
    form: Format,
    ends: tuple[float, float] | None = None,
    zero: bool = False,
    width: int = WIDTH,
) -> Markup:
    """Values with their intervals, row by row. `ends`: of the axis; `zero`: a rule there; `width`: of the chart."""
    step, top, bottom = 24, 8, 42
    left = 14 + max(_width(row.name) for row in rows)
    right = 16 + max(_width(row.note) for row in rows)
    height = top + step * len(rows) + bottom
    spread = np.array([[row.low, row.high, row.value] for row in rows], float)
    low, high = ends or _around(np.append(spread[np.isfinite(spread)], [0.0] if zero else []))
    x = _scale(low, high, left, width - right)
    parts = []
    for tick in _ticks(low, high, 6):
        parts.append(_line(x(tick), top, x(tick), height - bottom, _GRID))
        parts.append(_text(x(tick), height - bottom + 16, form(tick), anchor="middle", fill=_FAINT))
    if zero:
        parts.append(_line(x(0), top, x(0), height - bottom, _FAINT))
    for i, row in enumerate(rows):
        middle = top + step * (i + 0.5)
        parts.append(_text(left - 10, middle + 4, row.name, anchor="end"))
        if math.isfinite(row.value):
            a, b = (x(min(max(each, low), high)) for each in (row.low, row.high))
            if math.isfinite(a) and math.isfinite(b):
                parts.append(_line(a, middle, b, middle, row.color, width=2.5, opacity=0.5))
            parts.append(f'<circle cx="{x(row.value):.1f}" cy="{middle}" r="4.5" fill="{row.color}"/>')
        parts.append(_text(width - right + 12, middle + 4, row.note, fill=_FAINT))
    parts.append(_text((left + width - right) / 2, height - 6, title, anchor="middle"))
    return _chart(height, title, parts, width)


def matrix(
    counts: np.ndarray, names: Sequence[str], cells: Sequence[Sequence[tuple[str, str]]], titles: tuple[str, str]
) -> Markup:
    """A confusion matrix, int (K, K), coloured by the share of its row; in each cell a text and a smaller one.

    titles: of the rows, and of the columns.
    """
    k, left, top, row = len(names), 20 + max(map(_width, names)) + 44, 46, 37
    column = (WIDTH - left - 4) / k
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    parts = [
        _text(left + column * k / 2, 13, titles[1], anchor="middle", fill=_FAINT),
        _text(left - 10, top - 10, titles[0], anchor="end", fill=_FAINT),
    ]
    for i, name in enumerate(names):
        parts.append(_text(left + column * (i + 0.5), top - 10, name, anchor="middle"))
        parts.append(_text(left - 54, top + row * (i + 0.5) + 4, name, anchor="end"))
        parts.append(
            _text(left - 10, top + row * (i + 0.5) + 4, f"{totals[i, 0]:,}", anchor="end", fill=_FAINT, size=10)
        )
        for j in range(k):
            x, y, share = left + column * j, top + row * i, float(shares[i, j])
            parts.append(
                f'<rect x="{x + 1:.1f}" y="{y + 1}" width="{column - 2:.1f}" height="{row - 2}" rx="2" '
                f'fill="{_tint(share)}"/>'
            )
            ink, small = ("#ffffff", "#ffffff") if share > 0.7 else (_INK, _FAINT if share < 0.2 else _INK)
            text, interval = cells[i][j]
            parts.append(
                _text(
                    x + column / 2, y + row / 2 + (-1 if interval else 4), text, anchor="middle", fill=ink, weight=600
                )
            )
            parts.append(_text(x + column / 2, y + row / 2 + 12, interval, anchor="middle", fill=small, size=9.5))
    return _chart(top + row * k + 4, titles[1], parts)


def reliability(
    confidence: np.ndarray, accuracy: np.ndarray, ends: np.ndarray, faces: np.ndarray, titles: tuple[str, str, str]
) -> Markup:
    """A reliability diagram beside how many faces stand in each bin.

    confidence, accuracy  float (bins,): the means of each bin, NaN for one without faces
    ends                  float (bins, 2): the 95 % interval of the accuracy
    faces                 int (bins,)
    titles                of confidence, accuracy and faces
    """
    side, left, top, bottom = 252, 52, 22, 40
    height = top + side + bottom
    x, y = _scale(0, 1, left, left + side), _scale(0, 1, top + side, top)
    marks = [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    parts = [_grid_y(y, marks, left, left + side, lambda value: f"{100 * value:.0f}%")]
    parts.append(_line(x(0), y(0), x(1), y(1), _FAINT, dash="2 3"))
    for told, right, span in zip(confidence, accuracy, ends, strict=True):
        if math.isfinite(told):
            parts.append(_line(x(told), y(span[0]), x(told), y(span[1]), ACCENT, width=2, opacity=0.5))
            parts.append(f'<circle cx="{x(told):.1f}" cy="{y(right):.1f}" r="4" fill="{ACCENT}"/>')
    begin = left + side + 66
    x2 = _scale(0, 1, begin, WIDTH - 18)
    most = max(int(faces.max()), 1)
    y2 = _scale(0, most, top + side, top)
    parts.append(_grid_y(y2, _ticks(0, most, 4), begin, WIDTH - 18, lambda value: f"{value:,.0f}"))
    step = 1 / len(faces)
    for i, count in enumerate(faces):
        parts.append(
            f'<rect x="{x2(i * step) + 1:.1f}" y="{y2(count):.1f}" width="{x2(step) - x2(0) - 2:.1f}" '
            f'height="{top + side - y2(count):.1f}" fill="{ACCENT}" opacity="0.75"/>'
        )
    for tick in marks:
        parts.append(_text(x(tick), top + side + 16, f"{100 * tick:.0f}%", anchor="middle", fill=_FAINT))
        parts.append(_text(x2(tick), top + side + 16, f"{100 * tick:.0f}%", anchor="middle", fill=_FAINT))
    parts.append(_text(x(0.5), height - 6, titles[0], anchor="middle"))
    parts.append(_text(x2(0.5), height - 6, titles[0], anchor="middle"))
    parts.append(_text(left, top - 8, titles[1], anchor="start"))
    parts.append(_text(begin, top - 8, titles[2], anchor="start"))
    return _chart(height, titles[1], parts)


# -- the pieces ------------------------------------------------------------------------------------


def _chart(height: float, title: str, parts: Sequence[str], width: int = WIDTH) -> Markup:
    return Markup(  # every text in it went through `escape`
        f'<svg viewBox="0 0 {width} {height:g}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", fill: str = _INK, size: float = _SIZE, weight: int = 400
) -> str:
    bold = f' font-weight="{weight}"' if weight != 400 else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" font-size="{size:g}"{bold}>'
        f"{escape(text)}</text>"
        if text
        else ""
    )


def _line(
    x1: float, y1: float, x2: float, y2: float, color: str, *, width: float = 1, dash: str = "", opacity: float = 1
) -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    faded = f' opacity="{opacity:g}"' if opacity < 1 else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" '
        f'stroke-width="{width:g}"{dashes}{faded}/>'
    )


def _grid_y(y: Callable[[float], float], ticks: Sequence[float], left: float, right: float, form: Format) -> str:
    lines = [_line(left, y(tick), right, y(tick), _GRID) for tick in ticks]
    texts = [_text(left - 8, y(tick) + 4, form(tick), anchor="end", fill=_FAINT) for tick in ticks]
    return "".join(lines + texts)


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (float(value) - low) / span * (end - start)


def _ticks(low: float, high: float, most: int) -> list[float]:
    """At most about `most` round values from low to high."""
    raw = (high - low) / most or 1.0
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _around(values: np.ndarray) -> tuple[float, float]:
    """The ends of an axis for values: a little air on both sides; 0 to 1 where there are none."""
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    air = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
    return low - air if low < 0 or low - air > 0 else 0.0, high + air


def _apart(places: Sequence[float], least: float) -> list[float]:
    """The same places, moved apart where two are nearer than `least`."""
    order = np.argsort(places, kind="stable")
    moved = np.array(places, float)
    for one, next_one in pairwise(order):
        short = least - (moved[next_one] - moved[one])
        if short > 0:
            moved[one] -= short / 2
            moved[next_one] += short / 2
    return [float(place) for place in moved]


def _width(text: str) -> float:
    """About how wide a text is: a Chinese sign takes twice a Latin one."""
    return sum(_SIZE * (1.0 if unicodedata.east_asian_width(sign) in "WF" else 0.56) for sign in text)


def _tint(share: float) -> str:
    """White to the accent."""
    ground, full = np.array([244, 246, 248]), np.array([0, 114, 178])
    red, green, blue = np.rint(ground + (full - ground) * min(share, 1.0)).astype(int)
    return f"rgb({red},{green},{blue})"
