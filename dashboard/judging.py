"""One face large, and a person's decision about it: keep, drop or relabel, by button or key, with undo and export."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import state, state_data
from dashboard.gallery import Tile, gallery
from fer_core.data import SPLITS
from fer_core.data.curation import Mark, Verdict
from fer_core.explain.pictures import enlarged
from fer_core.labels import COLORS, EMOTIONS, UNLABELLED

_SIGNS = {"keep": "✓", "drop": "✗", "relabel": "→"}


def label_of(row: int) -> str:
    return label(state.faces().emotions[row])


def label(emotion: int) -> str:
    return EMOTIONS[emotion] if emotion != UNLABELLED else "no label"


def sign_of(mark: Mark | None) -> str:
    """What stands below a face about which something was decided."""
    return "" if mark is None else _SIGNS[mark.verdict] + (f" {mark.emotion}" if mark.verdict == "relabel" else "")


def show_faces(rows: Sequence[int] | np.ndarray, key: str, tiles: list[Tile] | None = None) -> None:
    """Rows of the whole data set as a grid; a click puts the face into the URL. By default each with its label, split
    and what was decided."""
    whole, decided, rows = state.faces(), state_data.decisions(), np.asarray(rows)
    if tiles is None:
        tiles = [
            Tile(
                str(whole.ids[row]),
                f"{whole.ids[row]}: {name}, {SPLITS[whole.splits[row]]}",
                name,
                COLORS.get(name, "#8A8A8A"),
                sign_of(decided.get(int(row))),
            )
            for row, name in zip(rows, map(label, whole.emotions[rows]), strict=True)
        ]
    gallery(whole.images[rows], tiles, key, _open, chosen=state.parameter("face"))


def opened(rows: Sequence[int] | np.ndarray) -> int | None:
    """The row of the face in the URL where it is among those that are listed."""
    found = np.flatnonzero(state.faces().ids == state.parameter("face"))
    return int(found[0]) if len(found) and found[0] in rows else None


def _open(face: str) -> None:
    state.set_parameter("face", face)


def panel(row: int, rows: np.ndarray, proposed: str = "", notes: Sequence[str] = ()) -> None:
    """The face of a row of `rows`, with its label and what could be done; a decision goes on to the next one."""
    whole, mark = state.faces(), state_data.decisions().get(row)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"**{whole.ids[row]}**")
        _steps(row, rows)
    st.image(enlarged(whole.images[row], 3), width=144, output_format="PNG")
    told = [f"labelled **{label(whole.emotions[row])}**", SPLITS[whole.splits[row]], *notes]
    if proposed:
        told.insert(1, f"proposed **{proposed}**")
    st.markdown(", ".join(told))
    if mark is not None:
        st.caption(f"Decided: {_SIGNS[mark.verdict]} {mark.verdict} {mark.emotion}, {mark.time[:10]}")
    with st.container(horizontal=True, gap="xsmall"):
        _button("Keep", "K", row, rows, "keep")
        _button("Drop", "D", row, rows, "drop")
        st.button("Undo", key="undo", shortcut="U", on_click=_undo, help="Take back the last decision, whichever face")
    st.caption("Relabel as")
    with st.container(horizontal=True, gap="xsmall"):
        for number, emotion in enumerate(EMOTIONS, start=1):
            _button(emotion, str(number), row, rows, "relabel", is_proposed=emotion == proposed)


def _button(label: str, shortcut: str, row: int, rows: np.ndarray, verdict: Verdict, is_proposed: bool = False) -> None:
    st.button(
        label,
        key=f"decide {label}",
        shortcut=shortcut,
        type="primary" if is_proposed else "secondary",
        on_click=_decide,
        args=(row, rows, verdict, label if verdict == "relabel" else ""),
    )


def _decide(row: int, rows: np.ndarray, verdict: Verdict, emotion: str) -> None:
    with state.refusals():
        state_data.decide(row, verdict, emotion)
        after = _beside(row, rows, 1)
        if after is not None:
            _open(str(state.faces().ids[after]))


def _undo() -> None:
    with state.refusals():
        mark = state_data.curation().undo()
        if mark is not None:
            _open(mark.id)


def _steps(row: int, rows: np.ndarray) -> None:
    """To the face before and after among those that are listed, and away."""
    with st.container(horizontal=True, width="content", gap="xsmall"):
        for name, step, shortcut in (("previous", -1, "Left"), ("next", 1, "Right")):
            to = _beside(row, rows, step)
            st.button(
                "",
                key=f"{name} doubt",
                help=f"The {name} face of the list",
                disabled=to is None,
                shortcut=shortcut,
                on_click=_open,
                args=("" if to is None else str(state.faces().ids[to]),),
            )
        st.button(
            "",
            key="close doubt",
            icon=":material/close:",
            help="Close",
            on_click=state.set_parameter,
            args=("face", None),
        )


def _beside(row: int, rows: np.ndarray, step: int) -> int | None:
    here = np.flatnonzero(np.asarray(rows) == row)
    to = int(here[0]) + step if len(here) else -1
    return int(rows[to]) if 0 <= to < len(rows) else None


def decisions_popover() -> None:
    """All decisions about the chosen data, to be undone or taken away for `train.py`."""
    decided = state_data.decisions()
    with st.popover(f"Decisions ({len(decided):,})", icon=":material/rule:"):
        if not decided:
            st.caption("Open a face on Duplicates, Label errors, Learning or Slices and keep, drop or relabel it.")
            return
        counts = Counter[str | None](mark.verdict for mark in decided.values())
        st.markdown(", ".join(f"{counts[verdict]:,} {verdict}" for verdict in _SIGNS if counts[verdict]))
        columns = ["id", "split", "given", "verdict", "emotion", "time"]
        st.dataframe(pd.DataFrame([vars(mark) for mark in decided.values()])[columns], hide_index=True, height=220)
        curation = state_data.curation()
        with st.container(horizontal=True):
            files: list[tuple[Verdict | None, str]] = [
                ("drop", "exclude.csv"),
                ("relabel", "relabel.csv"),
                (None, "decisions.csv"),
            ]
            for verdict, name in files:
                st.download_button(
                    name,
                    lambda verdict=verdict: curation.csv(verdict),  # type: ignore[misc]
                    name,
                    icon=":material/download:",
                    on_click="ignore",
                    disabled=verdict is not None and not counts[verdict],
                )
            st.button("Undo the last", key="undo last", icon=":material/undo:", on_click=_undo)
        st.caption("Train without them: `python train.py RECIPE --exclude exclude.csv --relabel relabel.csv`")
        st.caption(f"Kept in {curation.file}")
