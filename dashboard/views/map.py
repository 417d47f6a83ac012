"""Map: where faces lie in the network's own space, what lies near what, and how that came to be over the epochs."""

from functools import partial

import numpy as np
import streamlit as st

from dashboard import face_map, state, state_map, widgets
from dashboard.scatter import COLORINGS, scatter

MOST_FACES = 60

st.title("Map")
chosen = widgets.require_checkpoint()

# -- choose ----------------------------------------------------------------------------------------

with st.container(horizontal=True):
    split = widgets.choose_split()
    method = st.segmented_control(
        "Drawn by",
        list(face_map.METHODS),
        default="PCA",
        required=True,
        key="map",
        bind="query-params",
        help="\n\n".join(f"**{name}**: {text}" for name, text in face_map.METHODS.items()),
    )
    by = st.selectbox("Colour", list(COLORINGS), key="color", bind="query-params", width=150)
    shown = st.segmented_control(
        "Epochs",
        face_map.SHOWN,
        default=face_map.SHOWN[0],
        required=True,
        key="epochs",
        bind="query-params",
        help="Two: another checkpoint's map beside this one's. All kept: the faces move from epoch to epoch. Maps are "
        "turned, mirrored and scaled to lie over one another (orthogonal Procrustes).",
    )
    choices = face_map.choose_choices(chosen, shown)
part = state.split(split)
if method == "UMAP":
    face_map.require_umap(choices, split)

# -- compute ---------------------------------------------------------------------------------------

said = state.predictions(chosen, split)
maps = [face_map.map_of(each, split, method) for each in choices]
at = len(choices) - 1 if shown != face_map.SHOWN[2] else [each.epoch for each in choices].index(chosen.epoch)
frames, likeness = face_map.frames_of(choices, maps, split, at)
selected, opened = face_map.selected_rows(part, split), widgets.opened_row(part)
near = state_map.neighbours(chosen, split, opened)[0] if opened is not None else np.empty(0, int)

# -- show ------------------------------------------------------------------------------------------

demo = " (rendered)" if part.is_demo else ""
told = f"**{chosen}** on {part.name}{demo}, {split}, n = {len(part):,}. {maps[at].protocol}"
if shown == face_map.SHOWN[1]:
    told += f" {choices[0]} laid over it: likeness {likeness[0]:.2f}."
st.markdown(told, help=face_map.PROTOCOL)
widgets.warn_of_missing_face(part, "choose another")
wide, side = st.columns([0.66, 0.34], gap="medium") if opened is not None else (st.container(), None)
with wide:
    scatter(
        frames,
        part.ids,
        part.emotions,
        str(by),
        "map points",
        on_click=lambda row: widgets.open_face(str(part.ids[row])),
        on_select=partial(face_map.select, split=split),
        name=f"{method} of {part.name}, {split}",
        file=f"{chosen.run.name}-{chosen.epoch}-{split}-{method.lower()}",
        selected=selected,
        chosen=opened,
        near=near,
        start=at,
        is_film=shown == face_map.SHOWN[2],
    )
    if opened is not None:
        face_map.show_neighbours(chosen, split, opened, said)
    if selected is None:
        st.caption("Click a point to open its face; draw around points to see the faces inside.")
    else:
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(face_map.selection_told(selected, part.emotions, said))
            st.button("Clear", key="clear", on_click=state.set_parameter, args=("selected", None))
        widgets.face_gallery(part, selected[:MOST_FACES], said, "selected faces")
        if len(selected) > MOST_FACES:
            st.caption(f"The first {MOST_FACES} of {len(selected):,}")
if side is not None and opened is not None:
    with side:
        widgets.face_panel(chosen, split, opened, said, np.arange(len(part)) if selected is None else selected)
        here = state.query(split=split.capitalize(), face=str(part.ids[opened]))
        st.page_link("views/saliency.py", label="What is looked at", icon=":material/visibility:", query_params=here)
asked = choices[:2] if shown != face_map.SHOWN[2] else [chosen]
found = {str(each): state_map.neighbour_agreement(each, split) for each in asked}
sentences = [face_map.agreement_told(each, found[str(each)], len(part)) for each in asked]
st.markdown("  \n".join(filter(None, sentences)), help=face_map.AGREEMENT)
with st.container(horizontal=True):
    if any(each.n for each in found.values()):
        with st.popover("By emotion", icon=":material/table:"):
            percent = st.column_config.NumberColumn(format="%.1f%%")
            st.dataframe(face_map.agreement_table(found), hide_index=True, column_config={"Same label": percent})
    st.download_button(
        "The map as CSV",
        lambda: face_map.map_table(part, frames[at], selected).to_csv(index=False),
        f"{chosen.run.name}-{chosen.epoch}-{split}-{method.lower()}.csv",
        icon=":material/download:",
        on_click="ignore",
    )
