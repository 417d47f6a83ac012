"""The Try it page's own figures: a face over the last seconds, and its traits among those of the training faces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt
import numpy as np
import pandas as pd

from dashboard.charts import _EMOTION_COLOR, Chart, _accent, _ink, is_dark
from fer_core.labels import EMOTIONS

if TYPE_CHECKING:
    from fer_core.drift import Drift


def live_history(seconds: np.ndarray, probabilities: np.ndarray) -> Chart:
    """How the probabilities of one face changed over the last 30 s: seconds before now, -30..0 (N,), float (N, 7)."""
    table = pd.DataFrame(probabilities.astype(float), columns=list(EMOTIONS)).assign(seconds=seconds)
    x = alt.X(
        "seconds:Q",
        title="Seconds ago",
        scale=alt.Scale(domain=[-30, 0]),
        axis=alt.Axis(labelExpr="-datum.value", values=[-30, -20, -10, 0], grid=False),
    )
    y = alt.Y(
        "probability:Q", title="Probability", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=3)
    )
    chart: alt.Chart = (
        alt.Chart(table.melt("seconds", var_name="emotion", value_name="probability"))
        .mark_line()
        .encode(
            x=x,
            y=y,
            color=alt.Color("emotion:N", scale=_EMOTION_COLOR, legend=None),  # the bars above name the colours
            tooltip=["emotion:N", alt.Tooltip("probability:Q", format=".1%")],
        )
        .properties(height=150)
    )
    return chart


def percentiles(drift: Drift) -> Chart:
    """Where a face's traits lie among those of the training faces, each on a line from 0 to 100; nine of ten training
    faces lie in the band."""
    rows = [
        {
            "trait": reading.trait.title,
            "percentile": reading.percentile,
            "unusual": reading.is_unusual,
            "value": f"{reading.value:.3g} {reading.trait.unit}",
            "sentence": reading.sentence,
            "low": 5,
            "high": 95,
        }
        for reading in drift.readings
    ]
    title = "Percentile of the training faces"
    x = alt.X(
        "percentile:Q",
        title=title,
        scale=alt.Scale(domain=[0, 100]),
        axis=alt.Axis(values=[0, 25, 50, 75, 100], grid=False, domain=False),
    )
    axis = alt.Axis(labelFlush=False, ticks=False, domain=False, labelLimit=170)
    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=alt.Y("trait:N", sort=[str(row["trait"]) for row in rows], title=None, axis=axis)
    )
    band = base.mark_bar(height=12, opacity=0.15, color=_ink(), cornerRadius=6).encode(
        x=alt.X("low:Q", title=title), x2="high:Q"
    )
    unusual = alt.value("#E69F00" if is_dark() else "#D55E00")
    points = base.mark_point(size=80, filled=True, opacity=1).encode(
        x=x,
        color=alt.condition("datum.unusual", unusual, alt.value(_accent())),
        shape=alt.condition("datum.unusual", alt.value("diamond"), alt.value("circle")),
        tooltip=[
            alt.Tooltip("trait:N", title="Trait"),
            alt.Tooltip("value:N", title="Value"),
            alt.Tooltip("percentile:Q", title="Percentile", format=".0f"),
            alt.Tooltip("sentence:N", title="In words"),
        ],
    )
    chart: alt.LayerChart = (band + points).properties(height=alt.Step(22))
    return chart
