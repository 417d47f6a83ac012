"""The router: `streamlit run dashboard/Home.py [-- --data PATH]`. What the pages are is all that stands here."""

import streamlit as st

from dashboard import widgets

st.set_page_config(page_title="Facial expressions", page_icon="🙂", layout="wide", initial_sidebar_state=250)
st.html(
    "<style>.stMainBlockContainer { padding: 2.5rem 2.5rem 4rem; }</style>"
)  # no theme option sets it: 6rem of nothing
page = st.navigation(
    [
        st.Page("views/home.py", title="Home", icon=":material/home:", default=True),
        st.Page("views/samples.py", title="Samples", icon=":material/grid_view:"),
        st.Page("views/saliency.py", title="Saliency", icon=":material/visibility:"),
        st.Page("views/layers.py", title="Layers", icon=":material/layers:"),
        st.Page("views/training.py", title="Training", icon=":material/monitoring:"),
        st.Page("views/checkpoints.py", title="Checkpoints", icon=":material/compare:"),
        st.Page("views/confusion.py", title="Confusion", icon=":material/grid_on:"),
    ]
)
with widgets.errors_shown():
    widgets.sidebar()
    page.run()
