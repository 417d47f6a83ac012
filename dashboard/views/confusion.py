"""Confusion: which emotion is taken for which, accuracy by label, and the faces in a cell."""

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import charts, state, widgets
from dashboard.calibration_panel import calibration_panel
from fer_core.labels import EMOTIONS

MOST_FACES = 60

st.title("Confusion")
chosen = widgets.require_checkpoint()

# -- choose ----------------------------------------------------------------------------------------

with st.container(horizontal=True):
    scored_on = widgets.choose_scored(chosen.run)
    shown_as = st.segmented_control(
        "Cells show",
        ["Counts", "Row share"],
        default="Row share",
        required=True,
        key="cells",
        bind="query-params",
        help="Row share: of the faces of that true emotion, how many were given the predicted one",
    )
    with st.container(width=380):
        widgets.epoch_slider(chosen)

# -- compute ---------------------------------------------------------------------------------------

result = widgets.score(chosen, scored_on)
cell = widgets.cell_in_url()

# -- show ------------------------------------------------------------------------------------------

if not result.n:
    st.info(
        f"The {scored_on} split of {state.faces().name} has no labels, so there is nothing to compare with.",
        icon=":material/label_off:",
    )
    st.stop()
st.markdown(
    f"**{chosen}** on {widgets.protocol(result)}: accuracy **{result.accuracy.value:.1%}** "
    f"{widgets.interval(result.accuracy)}, macro F1 {result.macro_f1:.3f}, loss {result.loss:.3f} nats"
)
widgets.leak_caption(result)
matrix, labels = st.columns([0.58, 0.42], gap="medium")
with matrix:
    st.altair_chart(
        charts.confusion(result, shown_as == "Row share", cell, "cell"),
        key="matrix",
        on_select=widgets.cell_clicked,
        selection_mode="cell",
        alt="Confusion matrix, rows true and columns predicted emotion",
    )
with labels:
    beside = st.segmented_control(
        "Beside",
        ["By emotion", "Calibration"],
        default="By emotion",
        required=True,
        key="beside",
        bind="query-params",
        label_visibility="collapsed",
        help="Calibration: is the network right as often as it is sure?",
    )
    if beside == "Calibration":
        calibration_panel(chosen, None if scored_on == widgets.RECORDED else scored_on)
    else:
        st.altair_chart(charts.label_accuracy({str(chosen): result.by_label}), key="labels", alt="Accuracy by emotion")
with st.expander("As a table"):
    table = pd.DataFrame(result.confusion, index=pd.Index(EMOTIONS, name="True"), columns=list(EMOTIONS))
    table["Accuracy"] = [share.value for share in result.by_label.values()]
    st.dataframe(table, column_config={"Accuracy": st.column_config.NumberColumn(format="percent")})

if cell is None:
    st.caption("Click a cell to see the faces in it.")
    st.stop()
true, predicted = cell
what = f"{EMOTIONS[true]} recognised" if true == predicted else f"{EMOTIONS[true]} taken for {EMOTIONS[predicted]}"
st.subheader(f"{what}: {result.confusion[true, predicted]:,} faces")
if scored_on == widgets.RECORDED:
    st.info(
        f"These faces are {result.data}'s and are not at hand: open the dashboard with --data to see them, or choose "
        "another entry of 'Scored on' for the faces that are here.",
        icon=":material/visibility_off:",
    )
    st.stop()
part, said = state.split(scored_on), state.predictions(chosen, scored_on)
rows = np.flatnonzero((part.emotions == true) & (said.argmax(axis=1) == predicted))
rows = rows[np.argsort(-said[rows, predicted], kind="stable")]
if len(rows):
    averages = {"show": "Averages", "by": "A confusion", "averaged": EMOTIONS[true], "taken": EMOTIONS[predicted]}
    st.page_link(
        "views/saliency.py",
        label="What is looked at on these faces, on average",
        icon=":material/visibility:",
        query_params=state.query(split=scored_on.capitalize(), **averages),
    )
widgets.faces_with_panel(chosen, scored_on, rows, said, "cell faces", MOST_FACES)
