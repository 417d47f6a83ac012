"""The Data page's section Label errors: faces whose label is probably wrong, beside the label that is proposed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import judging, state, state_data, widgets
from dashboard.gallery import Tile
from dashboard.state import Choice
from dashboard.state_data import Doubts
from fer_core.data import FaceDataset
from fer_core.label_errors import FOLDS, LabelErrors
from fer_core.labels import COLORS, EMOTIONS

PAGE = 36
_OUT_OF_FOLD = "train"


def label_errors() -> None:
    """Faces whose label is probably wrong, beside the label that is proposed; a person decides."""
    chosen = state.choice()
    options = [name for name in state.splits() if name == _OUT_OF_FOLD or chosen is not None]
    with st.container(horizontal=True):
        split = st.segmented_control(
            "Faces",
            [name.capitalize() for name in options],
            default=options[0].capitalize(),
            required=True,
            key="doubted",
            bind="query-params",
            help=f"Train: {FOLDS} quick networks are each asked about the part that they were not trained on. "
            "Validation and test: the checkpoint in the sidebar is asked, which did not learn from them.",
        )
        given = st.multiselect("Label", EMOTIONS, key="given", bind="query-params", width=220, placeholder="Any")
        wanted = st.multiselect("Proposed", EMOTIONS, key="proposed", bind="query-params", width=220, placeholder="Any")
        open_only = st.toggle("Undecided only", key="undecided", bind="query-params")
    doubts = _doubts(str(split).lower(), chosen)
    if doubts is None:
        return
    errors = doubts.errors
    st.markdown(
        f"**{len(errors.rows):,} of {errors.n:,}** {str(split).lower()} faces ({errors.share.value:.1%}) are flagged "
        f"by {errors.source}, the most doubtful first.",
        help="Confident learning (Northcutt et al. 2021): a face is flagged where the networks are as sure of another "
        "emotion as they usually are of faces with that label. It is a suspicion, not a verdict.",
    )
    if doubts.check is not None:
        check = doubts.check
        st.caption(
            f"By FER+'s votes {check.precision} of the flagged labels are wrong (of all labels {check.base}); "
            f"{check.recall} of the wrong ones are flagged; the proposal is the votes' for {check.agreement}."
        )
    decided = state_data.decisions()
    keep = np.ones(len(errors.rows), bool)
    if given:
        keep &= np.isin(errors.given, [EMOTIONS.index(name) for name in given])
    if wanted:
        keep &= np.isin(errors.proposed, [EMOTIONS.index(name) for name in wanted])
    if open_only:
        keep &= np.array([row not in decided for row in errors.rows.tolist()], bool)
    at = np.flatnonzero(keep)
    if not len(at):
        st.info("No face fits." if len(errors.rows) else "No label stands out as wrong.", icon=":material/check:")
        return
    _faces_and_panel(errors, at)
    whole = state.faces()
    st.download_button(
        "These as CSV",
        lambda: _table(whole, errors, at).to_csv(index=False),
        "label-errors.csv",
        icon=":material/download:",
        on_click="ignore",
    )


def _table(whole: FaceDataset, errors: LabelErrors, at: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": whole.ids[errors.rows[at]],
            "given": [EMOTIONS[emotion] for emotion in errors.given[at]],
            "proposed": [EMOTIONS[emotion] for emotion in errors.proposed[at]],
            "doubt": errors.doubt[at].round(4),
        }
    )


def _doubts(split: str, chosen: Choice | None) -> Doubts | None:
    """The flagged faces of a split; None where networks have to be trained first, which is offered."""
    whole = state.faces()
    if split != _OUT_OF_FOLD:
        assert chosen is not None
        if not len(state.split(split).labelled()):
            st.info(
                f"The {split} split of {whole.name} has no labels that could be wrong.", icon=":material/label_off:"
            )
            return None
        return state_data.split_doubts(chosen, split)
    train, _ = state_data.training_faces()
    if len(train) < 2 * FOLDS:
        st.info(f"{whole.name} has too few labelled training faces.", icon=":material/label_off:")
        return None
    if not state_data.folds_known():
        place = st.empty()
        with place.container():
            st.info(
                f"Whether a training label is wrong can only be told by networks that did not learn it: {FOLDS} quick "
                f"ones, each trained on the other {FOLDS - 1} parts of the {len(train):,} faces. That takes minutes, "
                "and is kept. Stop it in the toolbar or by going to another page; it goes on where it stopped.",
                icon=":material/model_training:",
            )
            st.code("python -m fer_core audit PATH --label-errors", language=None)
            if not st.button(
                f"Train {FOLDS} networks", type="primary", icon=":material/play_arrow:", key="train folds"
            ):
                return None
        place.empty()
    return state_data.training_doubts()


def _faces_and_panel(errors: LabelErrors, at: np.ndarray) -> None:
    """A page of the flagged faces `at`, and beside it the one that is open, with what is proposed for it."""
    rows, page = errors.rows[at], widgets.choose_page(len(at), PAGE)
    listed = at[page * PAGE : (page + 1) * PAGE]
    row = judging.opened(rows)
    wide, side = st.columns([0.66, 0.34]) if row is not None else (st.container(), None)
    with wide:
        judging.show_faces(errors.rows[listed], "doubts", _tiles(errors, listed))
    if side is not None and row is not None:
        with side:
            proposed = errors.proposed[at[rows == row][0]]
            judging.panel(row, rows, EMOTIONS[proposed])


def _tiles(errors: LabelErrors, at: np.ndarray) -> list[Tile]:
    whole, decided, tiles = state.faces(), state_data.decisions(), []
    for row, given, proposed, doubt in zip(
        errors.rows[at], errors.given[at], errors.proposed[at], errors.doubt[at], strict=True
    ):
        face, was, might = str(whole.ids[row]), EMOTIONS[given], EMOTIONS[proposed]
        title = f"{face}: labelled {was}, proposed {might}, doubt {doubt:.3f}"
        mark = judging.sign_of(decided.get(int(row)))[:1]
        tiles.append(Tile(face, title, f"{was[:3]} → {might[:3]}", COLORS[might], mark, float(doubt)))
    return tiles
