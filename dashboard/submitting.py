"""The Export page's submissions: Kaggle files of one or several checkpoints, checked, with what they score."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from dashboard import state, state_export, widgets
from dashboard.state import Choice
from fer_core.data import FaceDataset
from fer_core.errors import FerError
from fer_core.export import COLUMN_FORMS, Submission
from fer_core.submissions import score


def show(chosen: Choice) -> None:
    """Choose checkpoints, see their files, download them one by one or together."""
    names = _choose_checkpoints(chosen)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        split = choose_faces()
        form = st.segmented_control(
            "Columns",
            [",".join(form) for form in COLUMN_FORMS],
            default=",".join(COLUMN_FORMS[0]),
            required=True,
            key="columns",
            bind="query-params",
            help="Kaggle's form has ids; some copies of the competition ask for the labels alone",
        )
    if not names:
        st.info("Choose at least one checkpoint to see its submission.", icon=":material/checklist:")
        return
    part = state.split(split)
    made = {}
    for name in names:
        try:
            made[name] = state_export.submission(state.parse_choice(name), split, tuple(form.split(",")))
        except FerError as error:  # a checkpoint that cannot be loaded; the others go on
            st.error(str(error), icon=":material/error:")
    if not made:
        return
    files = {str(submission.path): content for submission, content in made.values()}
    if len(files) > 1:
        together = f"{chosen.run.name}-submissions.zip"
        offer_file(f"All {len(files)} as ZIP", state_export.archive(files), together, "application/zip", primary=True)
    table = pd.DataFrame(_row(name, submission, part) for name, (submission, _) in made.items())
    st.dataframe(
        table.dropna(axis=1, how="all"),
        hide_index=True,
        column_config={
            "Accuracy": st.column_config.NumberColumn(
                format="%.1f%%", help="Of the faces whose label is known: the score that Kaggle gives"
            )
        },
    )
    demo = f" {widgets.DEMO_NOTE}" if part.is_demo else ""
    st.caption(
        f"{part.name}{' (rendered)' if part.is_demo else ''}, {split}, n = {len(part):,}. Each file is checked: "
        f"{len(part):,} rows, ids 0 to {len(part) - 1:,} in order, labels 0 to 6. Intervals: 95%, Wilson.{demo}"
    )
    with st.container(horizontal=True):
        for name, content in files.items():
            offer_file(name, content, name, "text/csv", primary=len(files) == 1)


def _choose_checkpoints(chosen: Choice) -> list[str]:
    options = state.choices()
    followed = state.get("checkpoints followed")
    if state.get("checkpoints") is None and not state.parameter("checkpoints"):
        state.put("checkpoints", [str(chosen)])  # no default of the widget: the button sets it
    elif followed and state.get("checkpoints") == [followed]:
        state.put("checkpoints", [str(chosen)])  # as long as nobody chose others, it is the sidebar's
    state.put("checkpoints followed", str(chosen))
    if not set(state.get("checkpoints") or []) <= set(options):
        state.put("checkpoints", [str(chosen)])  # a run of them was deleted
    every = [f"{chosen.run.name}:{epoch}" for epoch in state.kept_epochs(chosen.run)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width="stretch"):
            names = st.multiselect("Checkpoints", options, key="checkpoints", bind="query-params")
        st.button(f"All {len(every)} of {chosen.run.name}", on_click=state.put, args=("checkpoints", every))
    return [str(name) for name in names]


def choose_faces() -> str:
    """The split that is submitted: test where there is one."""
    options = [name.capitalize() for name in state.splits()]
    split = st.segmented_control(
        "Faces",
        options,
        default="Test" if "Test" in options else options[0],
        required=True,
        key="submitted",
        bind="query-params",
        help="Kaggle scores the test faces; on validation (FER2013's PublicTest) the labels are known",
    )
    if "Test" not in options:
        st.info(
            f"{state.faces().name} has no test split: open the dashboard with --data and Kaggle's test.csv, or a file "
            "with all splits, to make a submission that Kaggle takes.",
            icon=":material/info:",
        )
    return str(split).lower()


def _row(name: str, submission: Submission, part: FaceDataset) -> dict[str, Any]:
    share = score(submission.emotions, part)
    low, high = share.interval
    return {
        "Checkpoint": name,
        "Accuracy": widgets.percents(share.value) if share.n else None,
        "95% interval": f"{low:.1%} to {high:.1%}" if share.n else None,
        **submission.counts,
        "Rows": len(submission.emotions),
    }


def offer_file(label: str, content: Any, name: str, kind: str, primary: bool = False) -> None:
    """A download; `content` may be a function that makes it when it is asked for."""
    st.download_button(
        label,
        content,
        name,
        kind,
        key=f"file {name}",
        icon=":material/download:",
        type="primary" if primary else "secondary",
        on_click="ignore",
    )
