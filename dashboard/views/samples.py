"""Samples: all faces as a gallery that can be filtered and sorted, and one face large with what is said of it."""

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import state, widgets
from fer_core.labels import EMOTIONS, UNLABELLED

PAGE = 48
SORTS = ["As stored", "Most confident mistakes", "Least confident", "Most confident"]
NO_FILTER = {"outcome": "All", "sort": SORTS[0], "id": "", "true": [], "predicted": [], "confidence": (0, 100)}

st.title("Samples")
chosen = widgets.require_checkpoint()

# -- choose ----------------------------------------------------------------------------------------

with st.container(horizontal=True):
    split = widgets.choose_split()
    outcome = st.segmented_control(
        "Outcome", ["All", "Right", "Wrong"], default="All", required=True, key="outcome", bind="query-params"
    )
    sort = st.selectbox("Sort by", SORTS, key="sort", bind="query-params", width=210)
    search = st.text_input("Search by id", key="id", bind="query-params", placeholder="00012", width=130)
part = state.split(split)
with st.expander("More filters", icon=":material/tune:"):
    true_ones = st.pills("True emotion", EMOTIONS, selection_mode="multi", key="true", bind="query-params")
    predicted_ones = st.pills(
        "Predicted emotion", EMOTIONS, selection_mode="multi", key="predicted", bind="query-params"
    )
    with st.container(horizontal=True, gap="medium"):
        low, high = st.slider(
            "Confidence, %",
            0,
            100,
            (0, 100),
            key="confidence",
            bind="query-params",
            width=200,
            help="The probability of the predicted emotion",
        )
        extra, all_extra = widgets.extra_filters(part)

# -- compute ---------------------------------------------------------------------------------------

said = state.predictions(chosen, split)
predicted, confidence = said.argmax(axis=1), said.max(axis=1)
known = part.emotions != UNLABELLED
right = predicted == part.emotions
keep = extra & (confidence >= low / 100) & (confidence <= high / 100)
if outcome != "All":
    keep &= known & (right == (outcome == "Right"))
if true_ones:
    keep &= np.isin(part.emotions, [EMOTIONS.index(name) for name in true_ones])
if predicted_ones:
    keep &= np.isin(predicted, [EMOTIONS.index(name) for name in predicted_ones])
if search:
    keep &= np.char.find(np.char.lower(part.ids), search.strip().lower()) >= 0
if sort == SORTS[1]:
    keep &= known & ~right
rows = np.flatnonzero(keep)
if sort != SORTS[0]:
    order = np.argsort(confidence[rows], kind="stable")
    rows = rows[order if sort == SORTS[2] else order[::-1]]

# -- show ------------------------------------------------------------------------------------------

opened = widgets.opened_row(part)
widgets.warn_of_missing_face(part, "choose another")
wide, side = st.columns([0.66, 0.34]) if opened is not None else (st.container(), None)
with wide:
    if not len(rows):
        st.info("No face fits these filters.", icon=":material/filter_alt_off:")
        st.button(
            "Clear the filters",
            on_click=state.put_all,
            args=({**NO_FILTER, **all_extra},),
        )
    else:
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            count = f"{len(rows):,} of {len(part):,} faces" if len(rows) < len(part) else f"{len(part):,} faces"
            st.markdown(f"**{count}**, as seen by {chosen}{' (rendered demo faces)' if part.is_demo else ''}")
            page = widgets.choose_page(len(rows), PAGE)
        shown = rows[page * PAGE : (page + 1) * PAGE]
        widgets.face_gallery(part, shown, said, "sample faces")
        table = pd.DataFrame(said[rows], columns=list(EMOTIONS)).round(4)
        table.insert(0, "id", part.ids[rows])
        table.insert(1, "true", [EMOTIONS[e] if e >= 0 else "" for e in part.emotions[rows]])
        table.insert(2, "predicted", [EMOTIONS[e] for e in predicted[rows]])
        st.download_button(
            "These faces as CSV",
            lambda: table.to_csv(index=False),
            f"{chosen.run.name}-{chosen.epoch}-{split}.csv",
            icon=":material/download:",
            on_click="ignore",
        )
if side is not None and opened is not None:
    with side:
        widgets.face_panel(chosen, split, opened, said, rows)
        here = state.query(split=split.capitalize(), face=str(part.ids[opened]))
        st.page_link("views/saliency.py", label="What is looked at", icon=":material/visibility:", query_params=here)
        st.page_link("views/map.py", label="Neighbours on the map", icon=":material/scatter_plot:", query_params=here)
