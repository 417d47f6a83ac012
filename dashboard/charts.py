"""Figures made from result objects. Altair where something is clicked or small, Plotly for the curves that people zoom.

Streamlit's theme gives text, axes and background their colours in light and dark; only marks that carry meaning have a
colour of their own, and those are the emotions' or the accent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st

from fer_core.calibration import BINS, Reliability
from fer_core.evaluation import Evaluation, Share
from fer_core.labels import COLORS, EMOTIONS

if TYPE_CHECKING:
    import plotly.graph_objects as go

Chart = alt.Chart | alt.LayerChart

# Columns of a matrix on a phone: the first letters of a name rather than none.
NARROW_LABEL = "width < 420 ? slice(datum.label, 0, 3) : datum.label"

# Okabe & Ito again, in an order in which neighbours differ in light as well as in hue: one a run.
RUN_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_EMOTION_COLOR = alt.Scale(domain=list(EMOTIONS), range=[COLORS[emotion] for emotion in EMOTIONS])


def is_dark() -> bool:
    """Whether the page is light on dark."""
    return st.context.theme.type == "dark"


def _ink() -> str:
    """The colour of marks that are plain text or rules."""
    return "#F0F0F0" if is_dark() else "#31333F"


def _accent() -> str:
    return "#56B4E9" if is_dark() else "#0072B2"


def probability_bars(probabilities: np.ndarray, truth: int = -1) -> Chart:
    """Seven bars, float (7,); the true emotion, where there is one, is marked by a rule and in its name."""
    names = [f"{name} (true)" if i == truth else name for i, name in enumerate(EMOTIONS)]
    table = pd.DataFrame({"emotion": EMOTIONS, "name": names, "probability": probabilities.astype(float)})
    table["shown"] = [f"{100 * value:.0f}%" if value >= 0.005 else "<1%" for value in table["probability"]]
    base = alt.Chart(table).encode(
        y=alt.Y(
            "name:N", sort=names, title=None, axis=alt.Axis(labelFlush=False, ticks=False, domain=False, labelLimit=130)
        ),
        tooltip=[
            alt.Tooltip("emotion:N", title="Emotion"),
            alt.Tooltip("probability:Q", title="Probability", format=".1%"),
        ],
    )
    x = alt.X("probability:Q", scale=alt.Scale(domain=[0, 1.12]), axis=None)
    bars = base.mark_bar(height=14, cornerRadiusEnd=2).encode(
        x=x, color=alt.Color("emotion:N", scale=_EMOTION_COLOR, legend=None)
    )
    texts = base.mark_text(align="left", dx=4, color=_ink(), fontSize=12).encode(x=x, text="shown:N")
    return (bars + texts).properties(height=alt.Step(22))


def probability_history(epochs: Sequence[int], probabilities: np.ndarray, truth: int, chosen: int) -> Chart:
    """How the probabilities of one face changed over the epochs kept, float (epochs, 7), for the true emotion and those
    that ever led; a rule marks the chosen epoch."""
    led = set(probabilities.argmax(axis=1).tolist()) | ({truth} if truth >= 0 else set())
    shown = [EMOTIONS[i] for i in sorted(led)]
    table = pd.DataFrame(probabilities.astype(float), columns=list(EMOTIONS))[shown].assign(epoch=list(epochs))
    long = table.melt("epoch", var_name="emotion", value_name="probability")
    lines = (
        alt.Chart(long)
        .mark_line(point=alt.OverlayMarkDef(size=28))
        .encode(
            x=alt.X("epoch:Q", title="Epoch", axis=alt.Axis(tickMinStep=1, grid=False)),
            y=alt.Y(
                "probability:Q",
                title="Probability",
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(format="%", tickCount=3),
            ),
            color=alt.Color("emotion:N", scale=_EMOTION_COLOR, legend=None),  # the bars above name the colours
            tooltip=["emotion:N", "epoch:Q", alt.Tooltip("probability:Q", format=".1%")],
        )
    )
    rule = alt.Chart(pd.DataFrame({"epoch": [chosen]})).mark_rule(color=_ink(), strokeDash=[3, 3]).encode(x="epoch:Q")
    return (lines + rule).properties(height=190)


def confusion(
    evaluation: Evaluation,
    shares: bool,
    chosen: tuple[int, int] | None,
    key: str,
    titles: tuple[str, str] = ("True", "Predicted"),
) -> Chart:
    """The 7x7 matrix, rows true and columns predicted, as counts or as shares of the row; a cell can be clicked: the
    selection is called `key` and holds "true" and "predicted". `titles` of rows and columns, where they are others."""
    counts, row_shares = evaluation.confusion, evaluation.row_shares
    rows = [
        {
            "true": true,
            "predicted": predicted,
            "faces": int(counts[i, j]),
            "share": float(row_shares[i, j]),
            "shown": (f"{100 * row_shares[i, j]:.0f}%" if shares else f"{counts[i, j]:,}") if counts[i, j] else "",
            "strength": float(row_shares[i, j] if shares else counts[i, j] / max(counts.max(), 1)),
        }
        for i, true in enumerate(EMOTIONS)
        for j, predicted in enumerate(EMOTIONS)
    ]
    value = [{"true": EMOTIONS[chosen[0]], "predicted": EMOTIONS[chosen[1]]}] if chosen else []
    click = alt.selection_point(
        name=key, fields=["true", "predicted"], on="click", clear=False, value=value, toggle=False
    )
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X(
            "predicted:N",
            sort=EMOTIONS,
            title=titles[1],
            axis=alt.Axis(
                orient="top", labelAngle=0, labelFlush=False, labelExpr=NARROW_LABEL, ticks=False, domain=False
            ),
        ),
        y=alt.Y("true:N", sort=EMOTIONS, title=titles[0], axis=alt.Axis(labelFlush=False, ticks=False, domain=False)),
        tooltip=[
            alt.Tooltip("true:N", title=titles[0]),
            alt.Tooltip("predicted:N", title=titles[1]),
            alt.Tooltip("faces:Q", title="Faces", format=","),
            alt.Tooltip("share:Q", title="Share of the row", format=".1%"),
        ],
    )
    cells = (
        base.mark_rect(color=_accent(), cursor="pointer", cornerRadius=2)
        .encode(
            fillOpacity=alt.FillOpacity("strength:Q", scale=alt.Scale(domain=[0, 1], range=[0.06, 1]), legend=None),
            stroke=alt.condition(click, alt.value(_ink()), alt.value("transparent"))
            if chosen
            else alt.value("transparent"),
            strokeWidth=alt.value(2.5),
        )
        .add_params(click)
    )
    # Where the cell is strong enough for the other text colour to have the higher contrast.
    threshold, strong = (0.7, "#10222E") if is_dark() else (0.75, "white")
    texts = base.mark_text(fontSize=13, cursor="pointer").encode(
        text="shown:N",
        color=alt.condition(f"datum.strength > {threshold}", alt.value(strong), alt.value(_ink())),
    )
    return (cells + texts).properties(height=370)


def label_accuracy(shares: Mapping[str, Mapping[str, Share]]) -> Chart:
    """Accuracy by emotion with 95% intervals for one or several checkpoints: {checkpoint: {emotion: Share}}."""
    rows = [
        {
            "checkpoint": checkpoint,
            "emotion": emotion,
            "accuracy": share.value,
            "low": share.interval[0],
            "high": share.interval[1],
            "faces": share.n,
        }
        for checkpoint, by_label in shares.items()
        for emotion, share in by_label.items()
        if share.n
    ]
    table = pd.DataFrame(rows, columns=["checkpoint", "emotion", "accuracy", "low", "high", "faces"])
    names = list(shares)
    single = len(names) == 1
    offset: dict[str, Any] = {} if single else {"yOffset": alt.YOffset("checkpoint:N", sort=names)}
    title = "Accuracy (recall) with 95% interval"
    scale, axis = alt.Scale(domain=[0, 1]), alt.Axis(format="%", tickCount=5)
    x = alt.X("accuracy:Q", title=title, scale=scale, axis=axis)
    base = alt.Chart(table).encode(
        y=alt.Y("emotion:N", sort=EMOTIONS, title=None, axis=alt.Axis(labelFlush=False, ticks=False, domain=False)),
        tooltip=[
            alt.Tooltip("checkpoint:N", title="Checkpoint"),
            alt.Tooltip("emotion:N", title="Emotion"),
            alt.Tooltip("accuracy:Q", title="Accuracy", format=".1%"),
            alt.Tooltip("low:Q", title="From", format=".1%"),
            alt.Tooltip("high:Q", title="To", format=".1%"),
            alt.Tooltip("faces:Q", title="Faces", format=","),
        ],
        **offset,
    )
    if single:
        color: Any = alt.Color("emotion:N", scale=_EMOTION_COLOR, legend=None)
    else:
        two = alt.Scale(domain=names, range=["#E69F00" if is_dark() else "#D55E00", _accent()])
        color = alt.Color("checkpoint:N", scale=two, sort=names, legend=alt.Legend(orient="top", title=None))
    low = alt.X("low:Q", title=title, scale=scale, axis=axis)
    interval = base.mark_rule(strokeWidth=3, opacity=0.55).encode(x=low, x2="high:Q", color=color)
    points = base.mark_point(size=90, filled=True, opacity=1)
    encoded: dict[str, Any] = {"x": x, "color": color}
    if not single:  # told apart by form as well
        encoded["shape"] = alt.Shape(
            "checkpoint:N", scale=alt.Scale(domain=names, range=["circle", "diamond"]), sort=names, legend=None
        )
    return (interval + points.encode(**encoded)).properties(height=alt.Step(44 if single else 22))


def reliability(shown: Mapping[str, Reliability]) -> tuple[Chart, Chart]:
    """Accuracy against confidence by bins for one or two answers, {name: Reliability}, the diagonal where both are
    equal; and, to be shown below it, how many faces fall into each bin."""
    names, width = list(shown), 1 / BINS
    rows = [
        {
            "answer": name,
            "confidence": sure,
            "accuracy": share.value,
            "low": share.interval[0],
            "high": share.interval[1],
            "faces": share.n,
            "from": b * width,
            "to": (b + 1) * width,
            "left": (b + k / len(names)) * width,
            "right": (b + (k + 1) / len(names)) * width,
            "none": 0,
        }
        for k, (name, bins) in enumerate(shown.items())
        for b, (n, hits, sure) in enumerate(zip(bins.n, bins.hits, bins.confidence, strict=True))
        if n
        for share in [Share(hits, n)]
    ]
    table = pd.DataFrame(rows)
    scale = alt.Scale(domain=[0, 1])
    extent: Any = {"minExtent": 42, "maxExtent": 42}  # one chart stands below the other: their bins must, too
    colors = alt.Scale(domain=names, range=["#E69F00" if is_dark() else "#D55E00", _accent()][: len(names)])
    legend = alt.Legend(orient="top", title=None) if len(names) > 1 else None
    color = alt.Color("answer:N", scale=colors, sort=names, legend=legend)
    base = alt.Chart(table).encode(
        color=color,
        tooltip=[
            alt.Tooltip("answer:N", title="Answer"),
            alt.Tooltip("confidence:Q", title="Mean confidence", format=".1%"),
            alt.Tooltip("accuracy:Q", title="Accuracy", format=".1%"),
            alt.Tooltip("low:Q", title="From (95%)", format=".1%"),
            alt.Tooltip("high:Q", title="To (95%)", format=".1%"),
            alt.Tooltip("faces:Q", title="Faces", format=","),
        ],
    )
    title = "Confidence (largest probability)"
    x = alt.X("confidence:Q", title=title, scale=scale, axis=alt.Axis(format="%", tickCount=5))
    y = alt.Y("accuracy:Q", title="Accuracy", scale=scale, axis=alt.Axis(format="%", tickCount=5, **extent))
    ends = pd.DataFrame({"confidence": [0.0, 1.0], "accuracy": [0.0, 1.0]})
    diagonal = alt.Chart(ends).mark_line(color=_ink(), strokeDash=[4, 4], opacity=0.6).encode(x=x, y=y)
    intervals = base.mark_rule(opacity=0.45, strokeWidth=2).encode(x=x, y=alt.Y("low:Q", title="Accuracy"), y2="high:Q")
    lines = base.mark_line(strokeWidth=1.5, opacity=0.6).encode(x=x, y=y)
    forms = alt.Scale(domain=names, range=["circle", "diamond"][: len(names)])
    points = base.mark_point(filled=True, opacity=1).encode(
        x=x,
        y=y,
        shape=alt.Shape("answer:N", scale=forms, sort=names, legend=None),
        size=alt.Size("faces:Q", scale=alt.Scale(range=[12, 150]), legend=None),
    )
    bars = (
        alt.Chart(table)
        .mark_rect(opacity=0.75)
        .encode(
            x=alt.X("left:Q", scale=scale, axis=None),
            x2="right:Q",
            y=alt.Y("faces:Q", title="Faces", axis=alt.Axis(tickCount=2, grid=False, format=",d", **extent)),
            y2="none:Q",
            color=alt.Color("answer:N", scale=colors, sort=names, legend=None),
            tooltip=[
                alt.Tooltip("answer:N", title="Answer"),
                alt.Tooltip("from:Q", title="Confidence over", format=".0%"),
                alt.Tooltip("to:Q", title="Up to", format=".0%"),
                alt.Tooltip("faces:Q", title="Faces", format=","),
            ],
        )
        .properties(height=70)
    )
    return (diagonal + intervals + lines + points).properties(height=310), bars


def curves(lines: Sequence[tuple[str, str, pd.DataFrame]], measure: str) -> go.Figure:
    """Accuracy or loss over the epochs: (run, split, table with `epoch` and the measure) a line; training is dashed."""
    import plotly.graph_objects as go

    runs = list(dict.fromkeys(run for run, _, _ in lines))
    figure = go.Figure()
    for run, split, table in lines:
        color = RUN_COLORS[runs.index(run) % len(RUN_COLORS)]
        form = ".1%" if measure == "accuracy" else ".3f"
        figure.add_scatter(
            x=table["epoch"],
            y=table[measure],
            name=f"{run}, {split}",
            mode="lines+markers" if len(table) < 3 else "lines",
            line={"color": color, "width": 2, "dash": "dot" if split == "training" else "solid"},
            hovertemplate=f"%{{y:{form}}}<extra>{run}, {split}</extra>",
        )
    figure.update_layout(
        height=360,
        margin={"l": 10, "r": 10, "t": 36, "b": 0},
        title={"text": measure.capitalize() + ("" if measure == "accuracy" else ", nats"), "font": {"size": 14}},
        hovermode="x unified",
        legend={"orientation": "h", "yanchor": "top", "y": -0.26, "x": 0},
        uirevision="kept",  # zoom and hidden lines stay while the curve grows
    )
    figure.update_xaxes(title="Epoch", rangemode="tozero")
    figure.update_yaxes(tickformat=".0%" if measure == "accuracy" else None)
    return figure


def activation_by_emotion(means: np.ndarray, errors: np.ndarray) -> Chart:
    """A filter's mean activation by emotion, float (7,), with 95% intervals; NaN where an emotion has no faces."""
    table = pd.DataFrame({"emotion": EMOTIONS, "mean": means})
    table["low"], table["high"] = means - 1.96 * errors, means + 1.96 * errors
    base = alt.Chart(table.dropna(subset="mean")).encode(
        y=alt.Y("emotion:N", sort=EMOTIONS, title=None, axis=alt.Axis(ticks=False, domain=False)),
        tooltip=[
            alt.Tooltip("emotion:N", title="Emotion"),
            alt.Tooltip("mean:Q", title="Mean activation", format=".3~g"),
            alt.Tooltip("low:Q", title="From", format=".3~g"),
            alt.Tooltip("high:Q", title="To", format=".3~g"),
        ],
    )
    x = alt.X("mean:Q", title="Mean activation, 95% interval", axis=alt.Axis(tickCount=3, grid=False))
    bars = base.mark_bar(height=12, cornerRadiusEnd=2).encode(
        x=x, color=alt.Color("emotion:N", scale=_EMOTION_COLOR, legend=None)
    )
    intervals = base.mark_rule(color=_ink()).encode(x=alt.X("low:Q", title=""), x2="high:Q")
    return (bars + intervals).properties(height=alt.Step(20))


def ascent(values: np.ndarray) -> Chart:
    """The objective of a climb over its steps, float (steps + 1,)."""
    table = pd.DataFrame({"step": np.arange(len(values)), "value": values.astype(float)})
    return (
        alt.Chart(table)
        .mark_line(color=_accent())
        .encode(
            x=alt.X("step:Q", title="Step", axis=alt.Axis(tickCount=4, grid=False)),
            y=alt.Y("value:Q", title="Objective", axis=alt.Axis(tickCount=3)),
            tooltip=["step:Q", alt.Tooltip("value:Q", format=".3~g")],
        )
        .properties(height=170)
    )
