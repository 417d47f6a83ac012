"""Structure: the layers of a network as a table and as a graph, and the same network in Netron and TensorBoard."""

from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from dashboard import state, state_export, widgets
from dashboard.structure_graph import by, dot

VIEWS = ["Layers", "Netron", "TensorBoard"]
HEIGHT = 560  # pixels of what stands on the first screen
MACS = (
    "Multiply-accumulate operations for one face, in convolutions and matrix products. Norms, activations and pooling "
    "count as none, as usual"
)
FIELD = (
    "Height and width in pixels of what one unit sees of the face (its receptive field), as far as it lies on the face"
)

st.title("Structure")
chosen = widgets.require_checkpoint()

# -- choose ----------------------------------------------------------------------------------------

view = st.segmented_control(
    "Show", VIEWS, default=VIEWS[0], required=True, key="tool", bind="query-params", label_visibility="collapsed"
)
found = state_export.structure(chosen)
frozen = found.parameters - found.trained
st.caption(
    f"**{found.model}** of {chosen}: {found.parameters:,} parameters{f' ({frozen:,} not trained)' if frozen else ''}, "
    f"{found.macs / 1e6:,.1f} million MACs a face, {len(found.steps)} steps."
)

# -- layers ----------------------------------------------------------------------------------------


def show_layers() -> None:
    """The table, and beside it the graph; a chosen row or a clicked box leads to the Layers page."""
    from fer_core.structure import boxes

    table = pd.DataFrame(
        {
            "Layer": step.name,
            "Type": step.kind,
            "Output": by(step.shape),
            "Parameters": step.parameters,
            "MACs": step.macs,
            "Receptive field": by(step.field),
            "Settings": step.settings,
        }
        for step in found.steps
    )
    left, right = st.columns([0.66, 0.34], gap="medium")
    with left:
        picked = st.dataframe(
            table,
            hide_index=True,
            height=HEIGHT,
            key="steps",
            on_select="rerun",
            selection_mode="single-row",
            column_config={
                "Output": st.column_config.TextColumn(help="For one face: channels x height x width, or features"),
                "Parameters": st.column_config.NumberColumn(format="localized"),
                "MACs": st.column_config.NumberColumn(format="localized", help=MACS),
                "Receptive field": st.column_config.TextColumn(help=FIELD),
            },
        )
        rows = [row for row in picked["selection"]["rows"] if row < len(found.steps)]  # of a deeper network before
        link_to_layer(found.steps[rows[0]].layer if rows else "", found.steps[rows[0]].name if rows else "")
        st.download_button(
            "As CSV",
            lambda: table.to_csv(index=False),
            f"{chosen.run.name}-{chosen.epoch}-structure.csv",
            icon=":material/download:",
            on_click="ignore",
        )
    with right, st.container(height=HEIGHT + 2, border=True):
        st.graphviz_chart(
            dot(boxes(found.steps), address, st.context.theme.type == "dark"),
            width="stretch",
            alt=f"Graph of {found.model}: {len(found.steps)} steps from the face to seven emotions",
        )


def link_to_layer(layer: str, name: str) -> None:
    if layer:
        st.page_link(
            "views/layers.py",
            label=f"What {layer} responds to",
            icon=":material/layers:",
            query_params=state.query(layer=layer),
        )
    elif name:
        st.caption(f"{name} is no convolution: the Layers page shows those.")
    else:
        st.caption("Choose the row of a convolution, or click a box with a blue frame, to see what it responds to.")


def address(layer: str) -> str:
    """Of a layer on the Layers page, as seen from this page."""
    return "layers?" + urlencode({**state.query(), "checkpoint": str(chosen), "layer": layer})


# -- other tools -----------------------------------------------------------------------------------


def show_netron() -> None:
    """The checkpoint as ONNX in Netron's own page."""
    content, difference = state_export.onnx_file(chosen)
    url = state_export.netron_page(chosen)
    with st.container(border=True):
        st.iframe(url, height=HEIGHT - 32)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "This ONNX file",
            content,
            state_export.onnx_name(chosen),
            "application/octet-stream",
            icon=":material/download:",
            on_click="ignore",
        )
        st.link_button("In a tab of its own", url, icon=":material/open_in_new:")
        st.caption(
            f"Netron, on this machine alone. In ONNX Runtime a probability differs by at most {difference:.0e} from "
            f"PyTorch's, on {state_export.CHECKED_FACES} demo faces."
        )


def show_tensorboard() -> None:
    """The run as a log, and TensorBoard over it once it was asked for."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        split = widgets.choose_split()
        shows_faces = widgets.choose_faces()
        asked = (str(chosen), split, shows_faces)
        if st.button("Open TensorBoard", type="primary", icon=":material/play_arrow:"):
            state.put("log asked", asked)
    if state.get("log asked") != asked:
        st.info(
            f"Writes {chosen.run.name} as a TensorBoard log and opens it here, on this machine alone: the graph, "
            "accuracy and loss of every epoch, confusion matrices, and in the Projector the penultimate features of "
            "these faces.",
            icon=":material/monitoring:",
        )
        return
    log = state_export.tensorboard_log(chosen, split, shows_faces)
    url = state_export.tensorboard_page(log)
    with st.container(border=True):
        st.iframe(url, height=HEIGHT - 32)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.link_button("In a tab of its own", url, icon=":material/open_in_new:")
        st.caption(
            f"{log.epochs} epochs of {log.run}; in the Projector {log.faces:,} faces of {state.faces().name}, {split}, "
            f"as {log.dimensions} principal components with {log.kept:.0%} of the variance."
        )


{"Layers": show_layers, "Netron": show_netron, "TensorBoard": show_tensorboard}[view]()
