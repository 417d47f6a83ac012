""" "Why always neutral?": what sets a face apart from those that the checkpoint learned from, in picture and words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import try_charts

if TYPE_CHECKING:
    from dashboard.state import Choice
    from fer_core.drift import Drift

_HELP = (
    "A network is at home among faces like those that it learned from; elsewhere it often falls back on one answer. "
    "Each line is a trait of this face, as the share of the training faces that have less of it: in the gray band lie "
    "nine of ten of them."
)


def show(chosen: Choice, drift: Drift | None) -> None:
    """All traits as percentiles, and in words what is unusual and what can be done about it."""
    st.markdown("**Why always neutral?**", help=_HELP)
    if drift is None:
        st.caption(
            f"Nothing is known of the faces that {chosen} learned from. Measure them once: "
            f"`python -m fer_core reference {chosen} --data PATH`"
        )
        return
    st.altair_chart(try_charts.percentiles(drift), key="drift", alt="Traits of the face as percentiles")
    st.markdown(told(drift))
    st.caption(
        f"Percentiles among {drift.data}'s training faces: light, contrast and sharpness of all {drift.faces:,}, the "
        "rest of a sample."
    )


def told(drift: Drift) -> str:
    """What is unusual, each with what a person can do about it, as a list; one sentence where nothing is."""
    if not drift.unusual:
        return drift.sentence
    return "\n".join(f"- {reading.sentence} {reading.hint}".rstrip() for reading in drift.unusual)


def in_short(drift: Drift) -> str:
    """The most unusual trait in a sentence or two, or that there is none."""
    return f"{drift.unusual[0].sentence} {drift.unusual[0].hint}".rstrip() if drift.unusual else drift.sentence
