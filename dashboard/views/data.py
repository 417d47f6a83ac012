"""Data: what is wrong with the faces themselves, and a person's decisions about them."""

import streamlit as st

from dashboard import data_doubts, data_learning, data_sections, data_slices, judging, widgets

SECTIONS = {
    "Overview": data_sections.overview,
    "Duplicates": data_sections.duplicates,
    "Label errors": data_doubts.label_errors,
    "Learning": data_learning.learning,
    "Slices": data_slices.slices,
}

st.title("Data")
with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    section = st.segmented_control(
        "Section",
        list(SECTIONS),
        default="Overview",
        required=True,
        key="section",
        bind="query-params",
        label_visibility="collapsed",
        width="content",
    )
    judging.decisions_popover()
widgets.show_refusal()
SECTIONS[str(section)]()
