"""Export: submissions for Kaggle and how two of them differ, and a checkpoint in the forms that other tools read."""

import streamlit as st

from dashboard import comparing, downloads, submitting, widgets

st.title("Export")
chosen = widgets.require_checkpoint()
shown = {"Submissions": submitting.show, "Compare two": comparing.show, "Downloads": downloads.show}
what = st.segmented_control(
    "Show", list(shown), default="Submissions", required=True, key="export", bind="query-params",
    label_visibility="collapsed",
)  # fmt: skip
shown[what](chosen)
