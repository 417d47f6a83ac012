"""The router: `streamlit run dashboard/Home.py [-- --data PATH]`. What the pages are is all that stands here."""

import streamlit as st

from dashboard import state, widgets

st.set_page_config(page_title="Facial expressions", page_icon="🙂", layout="wide", initial_sidebar_state=250)
st.html(
    "<style>.stMainBlockContainer { padding: 2.5rem 2.5rem 4rem; }</style>"
)  # no theme option sets it: 6rem of nothing
page = st.navigation(
    [
        st.Page("views/home.py", title="Home", icon=":material/home:", default=True),
        st.Page("views/try_it.py", title="Try it", icon=":material/photo_camera:"),
        st.Page("views/samples.py", title="Samples", icon=":material/grid_view:"),
        st.Page("views/data.py", title="Data", icon=":material/database_search:"),
        st.Page("views/saliency.py", title="Saliency", icon=":material/visibility:"),
        st.Page("views/layers.py", title="Layers", icon=":material/layers:"),
        st.Page("views/map.py", title="Map", icon=":material/scatter_plot:"),
        st.Page("views/structure.py", title="Structure", icon=":material/account_tree:"),
        st.Page("views/training.py", title="Training", icon=":material/monitoring:"),
        st.Page("views/checkpoints.py", title="Checkpoints", icon=":material/compare:"),
        st.Page("views/confusion.py", title="Confusion", icon=":material/grid_on:"),
        st.Page("views/export.py", title="Export", icon=":material/ios_share:"),
    ]
)
with widgets.errors_shown(), state.visiting(page.url_path):
    widgets.sidebar()
    page.run()
