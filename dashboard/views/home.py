"""Home: what this is, the runs there are, a face to try at once, and where to go next."""

import numpy as np
import streamlit as st

from dashboard import state, widgets

st.title("What did the network learn from faces?")
st.markdown(
    "A convolutional network sorts 48x48 gray faces into seven expressions. Here you can watch it learn, see what it "
    "says of each face at each epoch, where it fails and how sure that is. Nothing leaves this machine."
)

st.subheader("Runs")
runs = widgets.runs_table()
if runs.empty:
    st.info(
        "No run yet. A run is one training, with its curves and the checkpoints it kept.",
        icon=":material/model_training:",
    )
    st.page_link(
        "views/training.py", label="Train one on the embedded faces, about a minute", icon=":material/play_arrow:"
    )
else:
    st.dataframe(
        runs,
        hide_index=True,
        placeholder="not yet",
        column_config={
            "Accuracy": st.column_config.NumberColumn(
                format="%.1f%%",
                help="Of the best epoch that was kept: faces whose most probable emotion is the true one",
            ),
            "95% interval": st.column_config.TextColumn(help="Wilson's interval for that share, for this many faces"),
            "Validation accuracy": st.column_config.LineChartColumn(
                y_min=0, y_max=1, help="Over the epochs, from 0 to 1"
            ),
            "n": st.column_config.NumberColumn(format="localized", help="Faces it was scored on"),
        },
    )
    if any(state.is_demo_run(run) for run in state.runs()):
        st.caption(widgets.DEMO_NOTE)
for run in state.all_runs():
    if problem := state.run_problem(run):
        st.error(problem, icon=":material/error:")

st.subheader("Try a face")
split = state.splits()[0]
part = state.split(split)
first_of_each = [int(rows[0]) for emotion in range(7) if len(rows := np.flatnonzero(part.emotions == emotion))]
widgets.face_gallery(part, first_of_each or range(min(7, len(part))), None, "home faces", on_click=state.remember_face)
if face := state.take_face():
    st.switch_page("views/samples.py", query_params=state.query(face=face))
chosen = state.choice()
st.caption(f"Click one to see what {chosen} says of it." if chosen else "Train a run to hear what it says of them.")

st.subheader("Next")
with st.container(horizontal=True):
    st.page_link(
        "views/samples.py",
        label="Find the most confident mistakes",
        icon=":material/grid_view:",
        query_params=state.query(sort="Most confident mistakes"),
    )
    st.page_link(
        "views/saliency.py",
        label="See what it looks at",
        icon=":material/visibility:",
        query_params=state.query(),
    )
    st.page_link(
        "views/confusion.py",
        label="See what is taken for what",
        icon=":material/grid_on:",
        query_params=state.query(),
    )
    st.page_link(
        "views/training.py",
        label="Watch one learn",
        icon=":material/monitoring:",
        query_params=state.query(),
    )

with st.expander("Responsible use", icon=":material/gavel:"):
    st.markdown(widgets.responsible_use())
