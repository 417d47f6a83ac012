"""The Export page's comparison of two submissions: of checkpoints, or files that were uploaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import charts, state, state_export, widgets
from dashboard.gallery import Tile, gallery
from dashboard.state import Choice
from dashboard.submitting import choose_faces
from fer_core.data import FaceDataset
from fer_core.errors import DataError
from fer_core.evaluation import Evaluation
from fer_core.export import COLUMN_FORMS, Submission, parse_submission
from fer_core.labels import COLORS, EMOTIONS, UNLABELLED
from fer_core.submissions import Comparison, compare_submissions, scores_by_split, submitted_faces

UPLOAD = "A CSV file of mine"
MOST_FACES = 48


@dataclass(frozen=True)
class Side:
    """One of the two: what it is called, and what it says."""

    name: str
    submission: Submission


def show(chosen: Choice) -> None:
    """Two submissions, how far they agree, what each scores, and the faces on which they differ."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        split = choose_faces()
        names = _choose_two(chosen)
    sides = [_side(name, split, number) for number, name in enumerate(names)]
    if None in sides:
        st.info("Upload the submission to compare: a CSV with id,emotion, or emotion alone.", icon=":material/upload:")
        return
    first, second = (side for side in sides if side is not None)
    if first.name == second.name:
        first, second = replace(first, name=f"{first.name} (first)"), replace(second, name=f"{second.name} (second)")
    compared = compare_submissions(first.submission, second.submission)
    faces, why = _faces_of(len(compared.first), split, chosen_too=UPLOAD not in names)
    _show_numbers(first, second, compared, faces, split)
    matrix, differing = st.columns([0.5, 0.5], gap="medium")
    with matrix:
        _show_matrix(first, second, compared, faces, split)
    with differing:
        if faces is None:
            st.info(why, icon=":material/visibility_off:")
        else:
            _show_faces(first, second, compared, faces)


# -- choose ----------------------------------------------------------------------------------------


def _choose_two(chosen: Choice) -> tuple[str, str]:
    options = [*state.choices(), UPLOAD]
    others = [name for name in options[:-1] if name != str(chosen)]
    other = next((name for name in others if not name.startswith(f"{chosen.run.name}:")), [*others, UPLOAD][0])
    picked = []
    for label, default in (("First", str(chosen)), ("Second", other)):
        key = label.lower()
        if state.get(key) not in options:
            state.forget(key)
        picked.append(
            st.selectbox(
                label, options, index=options.index(default), key=key, bind="query-params", filter_mode="contains",
                width=220,
            )
        )  # fmt: skip
    return str(picked[0]), str(picked[1])


def _side(name: str, split: str, number: int) -> Side | None:
    """What a choice says; None for an upload that is not there yet. Raises DataError for one that is no submission."""
    if name != UPLOAD:
        return Side(name, state_export.submission(state.parse_choice(name), split, COLUMN_FORMS[0])[0])
    which = ("first", "second")[number]
    file = st.file_uploader(f"The {which} submission", type="csv", key=f"upload {which}")
    return Side(file.name, parse_submission(file.getvalue(), Path(file.name))) if file else None


def _faces_of(rows: int, split: str, chosen_too: bool) -> tuple[FaceDataset | None, str]:
    """The faces that both are about; None, and why, where they are not among the data at hand."""
    part = state.split(split)
    if chosen_too or rows == len(part):
        return part, ""
    try:
        return submitted_faces(state.faces(), rows), ""
    except DataError as error:
        return None, f"{error} The numbers do not need them.".replace(
            "give --data", "open the dashboard with --data and"
        )


# -- show ------------------------------------------------------------------------------------------


def _show_numbers(first: Side, second: Side, compared: Comparison, faces: FaceDataset | None, split: str) -> None:
    """Agreement, and the scores beside one another where labels are known."""
    share = compared.agreement
    on = _protocol(faces, split, len(compared.first))
    st.markdown(
        f"**{first.name}** and **{second.name}** agree on **{share.value:.1%}** {widgets.interval(share)} of the "
        f"faces, Cohen's kappa {compared.kappa:.3f}; they differ on {len(compared.differ):,}. {on}",
        help="Kappa (Cohen 1960): agreement beyond what the two counts of labels alone would give; 1 is full agreement",
    )
    if faces is None or not len(faces.labelled()):
        st.caption("These faces have no labels at hand, so there are no scores.")
        return
    scores = [scores_by_split(side.submission.emotions, faces) for side in (first, second)]
    told = [
        f"on {name}, n = {one.n:,}, **{first.name}** {one.value:.1%} {widgets.interval(one)}, **{second.name}** "
        f"{scores[1][name].value:.1%} {widgets.interval(scores[1][name])}"
        for name, one in scores[0].items()
        if one.n
    ]
    changes = compared.changes(faces)
    low, high = changes.interval
    st.markdown(
        f"Accuracy {'; '.join(told)}. The second is right where the first is wrong on {len(changes.fixed):,} faces, "
        f"the other way round on {len(changes.broken):,}: **{100 * changes.difference:+.1f} points** "
        f"({100 * low:+.1f} to {100 * high:+.1f}, paired)."
    )


def _protocol(faces: FaceDataset | None, split: str, rows: int) -> str:
    if faces is None:
        return f"{rows:,} rows."
    return f"{faces.name}{' (rendered)' if faces.is_demo else ''}, {split}, n = {rows:,}."


def _show_matrix(first: Side, second: Side, compared: Comparison, faces: FaceDataset | None, split: str) -> None:
    """The disagreements label by label; a click on a cell lists its faces."""
    off_diagonal = compared.table - np.diag(np.diag(compared.table))
    data = faces.name if faces is not None else "these rows"
    shown = Evaluation(first.name, 0, data, split, off_diagonal)
    st.altair_chart(
        charts.confusion(shown, False, widgets.cell_in_url(), "cell", (first.name, second.name)),
        key="matrix",
        on_select=widgets.cell_clicked,
        selection_mode="cell",
        alt="Disagreements: rows what the first says, columns what the second says",
    )
    with st.expander("As a table"):
        table = pd.DataFrame(compared.table, index=pd.Index(EMOTIONS, name=first.name), columns=list(EMOTIONS))
        st.dataframe(table)


def _show_faces(first: Side, second: Side, compared: Comparison, faces: FaceDataset) -> None:
    rows, cell = compared.differ, widgets.cell_in_url()
    what = "on which they differ"
    if cell is not None:
        rows = np.flatnonzero((compared.first == cell[0]) & (compared.second == cell[1]))
        what = f"that are {EMOTIONS[cell[0]]} to the first and {EMOTIONS[cell[1]]} to the second"
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        count = f"The first {MOST_FACES} of {len(rows):,} faces" if len(rows) > MOST_FACES else f"{len(rows):,} faces"
        st.markdown(f"**{count}** {what}")
        if cell is not None:
            st.button("All", on_click=state.set_parameter, args=("cell", None))
    if not len(rows):
        st.info("There are none.", icon=":material/check:")
        return
    kept = rows[:MOST_FACES]
    tiles = [_tile(first, second, compared, faces, int(row)) for row in kept]
    with st.container(height=430, border=False):
        gallery(faces.images[kept], tiles, "differing faces", state.remember_face)
    if face := state.take_face():
        row = int(np.flatnonzero(faces.ids == face)[0])
        split = ("train", "validation", "test")[int(faces.splits[row])].capitalize()
        st.switch_page("views/samples.py", query_params=state.query(face=face, split=split))
    st.caption("Below each face: what the first / the second says, and which is right: 1, 2 or neither (✗).")
    table = pd.DataFrame(
        {
            "id": faces.ids[rows],
            first.name: [EMOTIONS[emotion] for emotion in compared.first[rows]],
            second.name: [EMOTIONS[emotion] for emotion in compared.second[rows]],
            "true": [EMOTIONS[emotion] if emotion != UNLABELLED else "" for emotion in faces.emotions[rows]],
        }
    )
    st.download_button(
        "These faces as CSV",
        lambda: table.to_csv(index=False),
        "differences.csv",
        icon=":material/download:",
        on_click="ignore",
    )


def _tile(first: Side, second: Side, compared: Comparison, faces: FaceDataset, row: int) -> Tile:
    """What both say below the face; which of them is right, where that is known, stands at the end of the line."""
    said = int(compared.first[row]), int(compared.second[row])
    truth = int(faces.emotions[row])
    true_name = EMOTIONS[truth] if truth != UNLABELLED else "no label"
    mark = "" if truth == UNLABELLED else {said[0]: "1", said[1]: "2"}.get(truth, "✗")
    title = f"{faces.ids[row]}: {true_name}; {first.name} {EMOTIONS[said[0]]}, {second.name} {EMOTIONS[said[1]]}"
    text = f"{EMOTIONS[said[0]][:3]} / {EMOTIONS[said[1]][:3]}"
    return Tile(str(faces.ids[row]), title, text, COLORS.get(true_name, "#8A8A8A"), mark)
