"""How far maps can be trusted, as the Saliency page shows it: a badge, the checks in words, and their curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import altair as alt
import pandas as pd
import streamlit as st

from dashboard import charts
from fer_core.explain.attribution import METHODS

if TYPE_CHECKING:
    from fer_core.explain.checks import Curve
    from fer_core.explain.trust import Trust


def show_badge(checked: Trust) -> None:
    """The verdict in plain words, told by sign and words as well as by colour."""
    if not checked.checks:
        st.badge("No check applies", icon=":material/block:", color="gray")
        return
    passed, of = sum(check.passed for check in checked.checks), len(checked.checks)
    told = f"{passed} of {of} checks passed"
    if passed == of:
        st.badge(told, icon=":material/check:", color="green")
    elif passed > of / 2:
        st.badge(told, icon=":material/warning:", color="orange")
    else:
        st.badge(told, icon=":material/close:", color="red")
    failed = [check.name.lower() for check in checked.checks if not check.passed]
    if failed:
        st.caption(f"Failed: {', '.join(failed)}")


def show_checks(all_checked: Sequence[Trust]) -> None:
    """Every check of every method in words, beside its curves."""
    for checked in all_checked:
        if checked.evidence is None:
            continue
        told, curves, likeness = st.columns([0.4, 0.3, 0.3])
        with told:
            st.markdown(f"**{METHODS[checked.method].title}**")
            for check in checked.checks:
                mark = "✓" if check.passed else "✗"
                st.caption(f"{mark} **{check.name}.** {check.told}")
        left, right = trust_charts(checked)
        with curves:
            st.caption("Covering and sharpening the face; the bands span the random orders")
            st.altair_chart(left, key=f"curves {checked.method}")
        with likeness:
            st.caption("The map beside the trained network's, as layers are shuffled")
            st.altair_chart(right, key=f"likeness {checked.method}")


def trust_charts(checked: Trust) -> tuple[charts.Chart, charts.Chart]:
    """Deletion and insertion against random orders; likeness while layers are shuffled."""
    evidence = checked.evidence
    assert evidence is not None
    rows = pd.concat([_curve_table("Deletion", evidence.deletion), _curve_table("Insertion", evidence.insertion)])
    x = alt.X("changed:Q", title="Share of the face changed", axis=alt.Axis(format="%", tickCount=3))
    tooltip = [
        alt.Tooltip("curve:N", title="Curve"),
        alt.Tooltip("changed:Q", title="Changed", format=".0%"),
        alt.Tooltip("probability:Q", title="Probability", format=".1%"),
        alt.Tooltip("low:Q", title="Random, from", format=".1%"),
        alt.Tooltip("high:Q", title="Random, to", format=".1%"),
    ]
    y_title = f"Probability of {checked.target}"
    y = alt.Y("probability:Q", title=y_title, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=3))
    color = alt.Color(
        "curve:N",
        scale=alt.Scale(domain=["Deletion", "Insertion"], range=list(charts.RUN_COLORS[1:3])),
        legend=alt.Legend(orient="top", title=None),
    )
    base = alt.Chart(rows)
    band = base.mark_area(opacity=0.18).encode(x=x, y=alt.Y("low:Q", title=y_title), y2="high:Q", color=color)
    lines = base.mark_line(strokeWidth=2.5).encode(x=x, y=y, color=color, tooltip=tooltip)
    return (band + lines).properties(height=270), _randomisation_chart(checked)


def _curve_table(name: str, curve: Curve) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "curve": name,
            "changed": curve.shares,
            "probability": curve.values.astype(float),
            "low": curve.random.min(axis=0).astype(float),
            "high": curve.random.max(axis=0).astype(float),
        }
    )


def _randomisation_chart(checked: Trust) -> charts.Chart:
    assert checked.evidence is not None
    found = checked.evidence.randomisation
    table = pd.DataFrame({"layer": found.layers, "Rank correlation": found.correlation, "SSIM": found.ssim})
    long = table.melt("layer", var_name="measure", value_name="likeness")
    color = alt.Color(
        "measure:N",
        scale=alt.Scale(domain=["Rank correlation", "SSIM"], range=[charts.RUN_COLORS[0], charts.RUN_COLORS[3]]),
        legend=alt.Legend(orient="top", title=None),
    )
    lines: alt.Chart = (
        alt.Chart(long)
        .mark_line(point=True)
        .encode(
            x=alt.X("layer:N", sort=list(found.layers), title="Shuffled down to", axis=alt.Axis(labelAngle=-40)),
            y=alt.Y("likeness:Q", title="Likeness to itself", scale=alt.Scale(domain=[-0.2, 1])),
            color=color,
            tooltip=["layer:N", "measure:N", alt.Tooltip("likeness:Q", format=".2f")],
        )
    )
    return lines.properties(height=270)
