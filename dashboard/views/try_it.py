"""Try it: one's own face, in a photo or live, on the chosen checkpoint."""

import streamlit as st

from dashboard import widgets

st.title("Try it")
chosen = widgets.require_checkpoint()
with st.container(horizontal=True, vertical_alignment="center"):
    way = st.segmented_control(
        "Way",
        ["Photo", "Live webcam"],
        default="Photo",
        required=True,
        key="way",
        bind="query-params",
        label_visibility="collapsed",
    )
    st.caption(":material/lock: Nothing is stored or sent: pictures stay in the memory of the machine that runs this.")
if way == "Photo":
    from dashboard import photo

    photo.show(chosen)
else:
    from dashboard import live  # brings WebRTC along, which only this way needs

    live.show(chosen)
