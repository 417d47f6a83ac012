"""The Data page's section Learning: when each training face was learned, and how often forgotten."""

from __future__ import annotations

import numpy as np
import streamlit as st

from dashboard import data_charts, judging, state, state_data, widgets
from dashboard.gallery import Tile
from dashboard.state import Choice
from dashboard.state_data import Learning
from fer_core.dynamics import REGIONS
from fer_core.labels import COLORS, EMOTIONS

PAGE = 36
SORTS = {
    "Most forgotten": "How often the answer was wrong and had been right when the face was last seen",
    "Least confident": "Lowest mean probability of the label",
    "Most variable": "Largest standard deviation of that probability",
    "Learned last": "First right answer latest; those never learned come first",
}


def learning() -> None:
    """When each training face was learned and how often forgotten: the map, and the faces of a part of it."""
    chosen = widgets.require_checkpoint()
    found = state_data.learning(chosen.run)
    if found is None:
        st.info(
            f"{chosen.run.name} holds no record of how it learned these faces: it was trained before such records were "
            "kept, on other faces, or ships without. Any training started now records it, at no cost worth naming.",
            icon=":material/timeline:",
        )
        st.page_link(
            "views/training.py", label="Train one (on the embedded faces a minute)", icon=":material/play_arrow:"
        )
        return
    with st.container(horizontal=True):
        region = st.segmented_control(
            "Region",
            [name.capitalize() for name in REGIONS],
            key="region",
            bind="query-params",
            help="Dataset cartography (Swayamdipta et al. 2020). Ambiguous: the third of the faces that varies most. "
            "Easy and hard: the others, with a confidence of at least 0.5 or below",
            on_change=state.set_parameter,
            args=("box", None),
        )
        emotions = st.multiselect("Label", EMOTIONS, key="given", bind="query-params", width=220, placeholder="Any")
        sort = st.selectbox(
            "Sort by",
            list(SORTS),
            key="learned",
            bind="query-params",
            width=180,
            help="\n\n".join(f"**{name}**: {text}" for name, text in SORTS.items()),
        )
    dynamics, here = found.dynamics, found.rows >= 0
    if emotions:
        labels = state.faces().emotions[found.rows]
        here &= np.isin(labels, [EMOTIONS.index(name) for name in emotions])
    within, unseen = np.flatnonzero(here & ~dynamics.never_seen), int((here & dynamics.never_seen).sum())
    box = _box()
    _told_learning(chosen, found, within, unseen)
    left, right = st.columns([0.5, 0.5], gap="medium")
    with left:
        st.altair_chart(
            data_charts.cartography(dynamics, within, box),
            key="learning map",
            on_select=_picked,
            selection_mode=["square", "box"],
            alt="Map of the training faces by variability and confidence",
        )
        st.caption("Click a square, or drag a box, to see its faces.")
    faces = _picked_faces(found, within, str(region or "").lower(), box, str(sort))
    with right:
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{len(faces):,} faces**{' in the box' if box else f', {region.lower()}' if region else ''}")
            if box:
                st.button("Clear", key="clear box", on_click=state.set_parameter, args=("box", None))
        _learning_faces(found, faces)


def _told_learning(chosen: Choice, found: Learning, within: np.ndarray, unseen: int) -> None:
    dynamics = found.dynamics
    regions = dynamics.regions[within]
    shares = ", ".join(f"{(regions == name).mean():.0%} {name}" for name in REGIONS) if len(within) else "none"
    never = int(dynamics.never_learned[within].sum())
    forgotten = int((dynamics.times_forgotten[within] > 0).sum())
    demo = " (rendered)" if state.faces().is_demo else ""
    st.markdown(
        f"**{chosen.run.name}** over {dynamics.epochs} epochs on {state.faces().name}{demo}, train, "
        f"n = {len(within):,}: {shares}; **{never:,}** never learned, **{forgotten:,}** forgotten at least once."
        + (f" Another **{unseen:,}** were shown only mixed with others." if unseen else ""),
        help="As seen in training itself: on augmented faces, with dropout. Learned: the label was the most probable "
        "emotion. Forgotten: wrong, and right when the face was last seen (Toneva et al. 2019)",
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _box() -> tuple[float, ...] | None:
    """The box in the URL: variability from, to, confidence from, to."""
    try:
        edges = tuple(float(text) for text in (state.parameter("box") or "").split("~"))
    except ValueError:
        return None
    return edges if len(edges) == 4 else None


def _picked() -> None:
    """Puts a drawn box, or a clicked square, into the URL."""
    selection = state.get("learning map")["selection"]
    drawn, squares = selection.get("box") or {}, selection.get("square") or []
    if {"left", "bottom"} <= drawn.keys():
        edges = [*sorted(drawn["left"]), *sorted(drawn["bottom"])]
    elif squares:
        left, bottom = squares[0]["left"], squares[0]["bottom"]
        edges = [left, left + 0.5 / data_charts.MAP_BINS, bottom, bottom + 1 / data_charts.MAP_BINS]
    else:
        return
    state.set_parameter("box", "~".join(f"{edge:.4f}" for edge in edges))
    state.put("region", None)
    state.set_parameter("face", None)


def _picked_faces(
    found: Learning, within: np.ndarray, region: str, box: tuple[float, ...] | None, sort: str
) -> np.ndarray:
    """Which of the recorded faces `within` are shown, in order: rows of the record."""
    dynamics = found.dynamics
    if box:
        left, right, bottom, top = box
        spread, sure = dynamics.variability[within], dynamics.confidence[within]
        near = 1e-4  # edges in the URL are rounded
        within = within[
            (spread >= left - near) & (spread < right + near) & (sure >= bottom - near) & (sure < top + near)
        ]
    elif region:
        within = within[dynamics.regions[within] == region]
    first = np.where(dynamics.first_learned == 0, dynamics.epochs + 1, dynamics.first_learned)
    by = {
        "Most forgotten": -dynamics.times_forgotten,
        "Least confident": dynamics.confidence,
        "Most variable": -dynamics.variability,
        "Learned last": -first,
    }[sort]
    return np.asarray(within[np.lexsort((dynamics.confidence[within], by[within]))])


def _learning_faces(found: Learning, faces: np.ndarray) -> None:
    if not len(faces):
        st.info("No face lies here.", icon=":material/filter_alt_off:")
        return
    dynamics, whole, decided = found.dynamics, state.faces(), state_data.decisions()
    rows = found.rows[faces]
    row = judging.opened(rows)
    if row is not None:
        at = int(faces[np.flatnonzero(rows == row)[0]])
        first = dynamics.first_learned[at]
        notes = [
            f"confidence {dynamics.confidence[at]:.2f}",
            f"variability {dynamics.variability[at]:.2f}",
            f"first learned in epoch {first}" if first else "never learned",
            f"forgotten {_times(dynamics.times_forgotten[at])}",
        ]
        judging.panel(row, rows, notes=notes)
        return
    page = widgets.choose_page(len(faces), PAGE)
    tiles = []
    for at in faces[page * PAGE : (page + 1) * PAGE]:
        face, label = str(whole.ids[found.rows[at]]), judging.label_of(int(found.rows[at]))
        forgotten = _times(dynamics.times_forgotten[at])
        title = f"{face}: {label}, confidence {dynamics.confidence[at]:.2f}, forgotten {forgotten}"
        mark = judging.sign_of(decided.get(int(found.rows[at])))[:1]
        tiles.append(Tile(face, title, label, COLORS[label], mark, float(np.nan_to_num(dynamics.confidence[at]))))
    judging.show_faces(rows[page * PAGE : (page + 1) * PAGE], "learned faces", tiles)
