"""The Data page's section Slices: where a checkpoint is weak."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import data_charts, judging, state, state_data, widgets
from fer_core.labels import EMOTIONS
from fer_core.slices import FEWEST, Slices

PAGE = 36
_COLUMNS = {
    "Accuracy": st.column_config.NumberColumn(format="percent"),
    "Points to the rest": st.column_config.NumberColumn(format="%+.1f"),
    "p (Holm)": st.column_config.NumberColumn(format="%.2g"),
}


def slices() -> None:
    """Where the checkpoint is weak: the weakest slices first, and the faces of one."""
    chosen = widgets.require_checkpoint()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        split = widgets.choose_split()
        by_cluster = st.toggle(
            "Clusters too",
            value=True,
            key="clusters",
            bind="query-params",
            help="Faces that lie together in the network's own space (k-means on its penultimate features)",
        )
    part = state.split(split)
    if not len(part.labelled()):
        st.info(f"The {split} split of {part.name} has no labels to score.", icon=":material/label_off:")
        return
    found, result = state_data.slices(chosen, split, by_cluster), state.evaluation(chosen, split)
    st.markdown(
        f"**{chosen}** on {widgets.protocol(result)}: accuracy **{result.accuracy.value:.1%}** "
        f"{widgets.interval(result.accuracy)}. Of **{found.looked_at}** slices looked at, "
        f"**{sum(each.p < 0.05 for each in found.slices)}** differ from the other faces.",
        help="Fisher's exact test against all other faces, corrected for the number of slices (Holm), p < 0.05. The "
        "weakest of many slices is weak by chance too: the others may be no more than that. Slices of fewer than "
        f"{FEWEST} faces are left out ({found.skipped} here). Brightness, contrast and sharpness are in gray levels; "
        "the turn is estimated, without a detector, from where the vertical edges lie (pixels off the middle).",
    )
    names = [f"{each.by}: {each.name}" for each in found.slices]
    if not names:
        st.info(f"No slice has {FEWEST} faces.", icon=":material/filter_alt_off:")
        return
    left, right = st.columns([0.56, 0.44], gap="medium")
    with left:
        st.altair_chart(
            data_charts.weakest(found.slices[:16], result.accuracy.value), key="weakest", alt="Accuracy by slice"
        )
        with st.expander("All slices as a table", icon=":material/table:"):
            st.dataframe(_table(found), hide_index=True, column_config=_COLUMNS)
    with right:
        name = st.selectbox("Faces of", names, key="slice", bind="query-params", filter_mode="contains")
        each = found.slices[names.index(str(name))]
        wrong_only = st.toggle("Mistakes only", value=True, key="mistakes", bind="query-params")
        said = state.predictions(chosen, split)
        rows = each.rows[said[each.rows].argmax(axis=1) != part.emotions[each.rows]] if wrong_only else each.rows
        st.caption(f"{each.share}; {100 * each.difference:+.1f} points to the rest, p = {each.p:.2g}")
        _slice_faces(split, rows, said)


def _table(found: Slices) -> pd.DataFrame:
    rows = [
        {
            "By": each.by,
            "Slice": each.name,
            "Faces": each.share.n,
            "Accuracy": each.share.value,
            "95% interval": widgets.interval(each.share),
            "Points to the rest": 100 * each.difference,
            "p (Holm)": each.p,
        }
        for each in found.slices
    ]
    return pd.DataFrame(rows)


def _slice_faces(split: str, rows: np.ndarray, said: np.ndarray) -> None:
    """Faces of a slice, by their rows in the split, the surest first."""
    part, whole = state.split(split), state.faces()
    if not len(rows):
        st.info("There are none.", icon=":material/check:")
        return
    rows = rows[np.argsort(-said[rows].max(axis=1), kind="stable")]
    at = np.flatnonzero(np.isin(whole.ids, part.ids))[rows]
    row = judging.opened(at)
    if row is not None:
        judging.panel(row, at, EMOTIONS[int(said[rows[np.flatnonzero(at == row)[0]]].argmax())])
        return
    page = widgets.choose_page(len(rows), PAGE)
    listed = slice(page * PAGE, (page + 1) * PAGE)
    judging.show_faces(at[listed], "slice faces", widgets.tiles_for(part, rows[listed], said))
