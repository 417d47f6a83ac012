"""Checkpoints: two epochs or runs side by side, by label, and the faces that flipped from one to the other."""

import numpy as np
import streamlit as st

from dashboard import charts, state, widgets
from fer_core.evaluation import compare

MOST_FACES = 48

st.title("Checkpoints")
after = widgets.require_checkpoint()

# -- choose ----------------------------------------------------------------------------------------

first_column, second_column, third_column = st.columns([0.3, 0.38, 0.32], gap="medium")
with first_column:
    before = widgets.choose_other(after)
with second_column:
    widgets.epoch_slider(after)
with third_column:
    scored_on = widgets.choose_scored(after.run, before.run)

# -- compute ---------------------------------------------------------------------------------------

results = {str(one): widgets.score(one, scored_on) for one in dict.fromkeys([before, after])}
first, last = results[str(before)], results[str(after)]

# -- show ------------------------------------------------------------------------------------------

if not last.n:
    st.info(
        f"The {scored_on} split of {state.faces().name} has no labels, so nothing can be scored.",
        icon=":material/label_off:",
    )
    st.stop()
numbers, labels = st.columns([0.34, 0.66], gap="medium")
with numbers:
    for title, result in (("Before", first), ("After", last)):
        widgets.score_metric(f"{title}: {result.run}:{result.epoch}", result)
with labels:
    st.altair_chart(
        charts.label_accuracy({name: result.by_label for name, result in results.items()}),
        key="labels",
        alt="Accuracy by emotion of both checkpoints",
    )
if scored_on == widgets.RECORDED:
    st.info(
        f"Faces that flipped can be shown where they are at hand. {last.data}'s are not: open the dashboard with "
        "--data, or choose another entry of 'Scored on'.",
        icon=":material/visibility_off:",
    )
    st.stop()

part = state.split(scored_on)
old, new = state.predictions(before, scored_on), state.predictions(after, scored_on)
changes = compare(old, new, part.emotions)
low, high = changes.interval
st.subheader("Which faces flipped")
st.markdown(
    f"Of {changes.n:,} faces, {len(changes.fixed):,} went from wrong to right, {len(changes.broken):,} from right to "
    f"wrong: accuracy changed by **{100 * changes.difference:+.1f} points** (95% interval {100 * low:+.1f} to "
    f"{100 * high:+.1f}, paired)."
)
kind = st.segmented_control(
    "Flipped",
    ["Wrong to right", "Right to wrong"],
    default="Wrong to right",
    required=True,
    key="flipped",
    bind="query-params",
    label_visibility="collapsed",
)
rows = changes.fixed if kind == "Wrong to right" else changes.broken
rows = rows[np.argsort(-np.abs(new - old).max(axis=1)[rows], kind="stable")]
st.caption(f"As seen by {after}; the largest change of a probability first.")
widgets.faces_with_panel(after, scored_on, rows, new, "flipped faces", MOST_FACES)
