"""Figures of the Data page."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from dashboard.charts import _EMOTION_COLOR, RUN_COLORS, Chart, _accent, _ink
from fer_core.data import SPLITS
from fer_core.dynamics import Dynamics
from fer_core.labels import EMOTIONS
from fer_core.slices import Slice

MAP_BINS = 36
_TALLEST = 0.5  # the largest standard deviation that numbers between 0 and 1 can have


def label_shares(counts: pd.DataFrame) -> Chart:
    """Which share of each split each emotion has: a bar for each of `FaceDataset.counts`."""
    table = counts[list(EMOTIONS)].melt(ignore_index=False, value_name="faces").reset_index()
    totals = table.groupby("split", observed=True)["faces"].transform("sum")
    table = table[totals > 0].assign(share=lambda t: t["faces"] / totals[totals > 0])
    table["split"] = table["split"].astype(str)
    present = [name for name in SPLITS if (table["split"] == name).any()]
    opacity = alt.Scale(domain=list(SPLITS), range=[1.0, 0.65, 0.35])
    return (
        alt.Chart(table)
        .mark_bar(cornerRadiusEnd=2)
        .encode(
            y=alt.Y("emotion:N", sort=list(EMOTIONS), title=None, axis=alt.Axis(ticks=False, domain=False)),
            yOffset=alt.YOffset("split:N", sort=present),
            x=alt.X("share:Q", title="Share of the split's labelled faces", axis=alt.Axis(format="%", tickCount=5)),
            color=alt.Color("emotion:N", scale=_EMOTION_COLOR, legend=None),
            opacity=alt.Opacity(
                "split:N",
                scale=opacity,
                sort=present,
                legend=alt.Legend(orient="top", title=None, values=present, symbolFillColor="#888"),
            ),
            tooltip=[
                alt.Tooltip("split:N", title="Split"),
                alt.Tooltip("emotion:N", title="Emotion"),
                alt.Tooltip("faces:Q", title="Faces", format=","),
                alt.Tooltip("share:Q", title="Share", format=".1%"),
            ],
        )
        .properties(height=260)
    )


def distribution(values: np.ndarray, splits: np.ndarray, title: str) -> Chart:
    """How a number is spread within each split: the share of its faces in each of 40 bins."""
    low, high = np.quantile(values, (0.001, 0.999))
    edges = np.linspace(low, high, 41)
    present = [split for split in range(len(SPLITS)) if (splits == split).any()]
    parts = []
    for split in present:
        counts = np.histogram(values[splits == split], edges)[0]
        share = counts / max(counts.sum(), 1)
        parts.append(pd.DataFrame({"value": (edges[:-1] + edges[1:]) / 2, "share": share, "split": SPLITS[split]}))
    names = [SPLITS[split] for split in present]
    scale = alt.Scale(domain=names, range=list(RUN_COLORS[: len(names)]))
    legend = alt.Legend(orient="top", title=None) if len(names) > 1 else None
    return (
        alt.Chart(pd.concat(parts))
        .mark_line(interpolate="monotone", strokeWidth=1.8)
        .encode(
            x=alt.X("value:Q", title=title, axis=alt.Axis(tickCount=4, grid=False), scale=alt.Scale(zero=False)),
            y=alt.Y("share:Q", title=None, axis=None),
            color=alt.Color("split:N", scale=scale, legend=legend),
            strokeDash=alt.StrokeDash("split:N", sort=names, legend=legend),
            tooltip=["split:N", alt.Tooltip("value:Q", format=".3~g"), alt.Tooltip("share:Q", format=".1%")],
        )
        .properties(height=220)
    )


def cartography(dynamics: Dynamics, rows: np.ndarray, box: Sequence[float] | None) -> Chart:
    """The map of the faces `rows`: how many lie in each square of variability and confidence. A click selects a square
    ("square"), dragging a box ("box"); `box` (left, right, bottom, top) is drawn where one is chosen."""
    seen = rows[~np.isnan(dynamics.confidence[rows])]
    spread, sure = dynamics.variability[seen], dynamics.confidence[seen]
    counts, x, y = np.histogram2d(spread, sure, MAP_BINS, [[0, _TALLEST], [0, 1]])
    i, j = np.nonzero(counts)
    faces = counts[i, j].astype(int)
    table = pd.DataFrame({"left": x[i], "right": x[i + 1], "bottom": y[j], "top": y[j + 1], "faces": faces})
    table["strength"] = np.log1p(faces) / np.log1p(max(faces.max(initial=0), 1))
    square = alt.selection_point(name="square", fields=["left", "bottom"], on="click", toggle=False, clear=False)
    drawn = alt.selection_interval(name="box", encodings=["x", "y"])
    across = alt.X(
        "left:Q", title="Variability (standard deviation over the epochs)", scale=alt.Scale(domain=[0, _TALLEST])
    )
    up = alt.Y("bottom:Q", title="Confidence (mean probability of the label)", scale=alt.Scale(domain=[0, 1]))
    squares = (
        alt.Chart(table)
        .mark_rect(color=_accent(), cursor="pointer")
        .encode(
            x=across,
            x2="right:Q",
            y=up,
            y2="top:Q",
            fillOpacity=alt.FillOpacity("strength:Q", scale=alt.Scale(domain=[0, 1], range=[0.1, 1]), legend=None),
            tooltip=[
                alt.Tooltip("faces:Q", title="Faces", format=","),
                alt.Tooltip("left:Q", title="Variability from", format=".3f"),
                alt.Tooltip("bottom:Q", title="Confidence from", format=".3f"),
            ],
        )
        .add_params(square, drawn)
    )
    edge = dynamics.ambiguous_from
    rules = alt.Chart(
        pd.DataFrame({"left": [edge, 0.0], "right": [edge, edge], "bottom": [0.0, 0.5], "top": [1.0, 0.5]})
    )
    lines = rules.mark_rule(color=_ink(), strokeDash=[4, 3], opacity=0.8).encode(
        x=across, x2="right:Q", y=up, y2="top:Q"
    )
    names = pd.DataFrame(
        {"left": [0.01, 0.01, edge + 0.01], "bottom": [0.96, 0.03, 0.03], "name": ["easy", "hard", "ambiguous"]}
    )
    texts = (
        alt.Chart(names)
        .mark_text(align="left", fontWeight=600, fontSize=13, color=_ink())
        .encode(x=across, y=up, text="name:N")
    )
    frame = pd.DataFrame([box] if box else [], columns=["left", "right", "bottom", "top"])
    chosen = alt.Chart(frame).mark_rect(filled=False, stroke=_ink(), strokeWidth=2)
    layers = squares + lines + texts + chosen.encode(x=across, x2="right:Q", y=up, y2="top:Q")
    return layers.properties(height=380)


def weakest(slices: Sequence[Slice], overall: float) -> Chart:
    """Accuracy of slices with 95% intervals, in their order; a rule at the accuracy of all faces."""
    rows = [
        {
            "slice": f"{each.by}: {each.name}",
            "accuracy": each.share.value,
            "low": each.share.interval[0],
            "high": each.share.interval[1],
            "faces": each.share.n,
            "differs": "differs" if each.p < 0.05 else "may be chance",
        }
        for each in slices
    ]
    table = pd.DataFrame(rows)
    scale = alt.Scale(domain=[0, 1])
    title = "Accuracy with 95% interval"
    differs = ["differs", "may be chance"]
    color = alt.Color(
        "differs:N",
        scale=alt.Scale(domain=differs, range=[_accent(), "#8A8A8A"]),
        legend=alt.Legend(orient="top", title=None, columns=alt.ExprRef("width < 250 ? 1 : 2")),
    )
    base = alt.Chart(table).encode(
        y=alt.Y(
            "slice:N",
            sort=[str(row["slice"]) for row in rows],
            title=None,
            axis=alt.Axis(ticks=False, domain=False, labelLimit=330),
        ),
        color=color,
        tooltip=[
            alt.Tooltip("slice:N", title="Slice"),
            alt.Tooltip("accuracy:Q", title="Accuracy", format=".1%"),
            alt.Tooltip("low:Q", title="From", format=".1%"),
            alt.Tooltip("high:Q", title="To", format=".1%"),
            alt.Tooltip("faces:Q", title="Faces", format=","),
        ],
    )
    intervals = base.mark_rule(strokeWidth=3, opacity=0.55).encode(
        x=alt.X("low:Q", title=title, scale=scale, axis=alt.Axis(format="%", tickCount=5)), x2="high:Q"
    )
    points = base.mark_point(filled=True, size=80, opacity=1).encode(
        x=alt.X("accuracy:Q", title=title, scale=scale),
        shape=alt.Shape("differs:N", scale=alt.Scale(domain=differs, range=["diamond", "circle"]), legend=None),
    )
    rule = alt.Chart(pd.DataFrame({"accuracy": [overall]})).mark_rule(color=_ink(), strokeDash=[4, 3])
    return (intervals + points + rule.encode(x="accuracy:Q")).properties(height=alt.Step(24))
