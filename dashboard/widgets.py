"""What several pages show in the same way: the sidebar, what a number is of, faces and what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import charts, state
from dashboard.gallery import Tile, gallery
from dashboard.state import Choice
from fer_core.data import FaceDataset
from fer_core.errors import FerError, RunError
from fer_core.evaluation import Evaluation, Share
from fer_core.explain.pictures import enlarged
from fer_core.labels import COLORS, EMOTIONS, UNLABELLED
from fer_core.runs import Run

DEMO_NOTE = "Demo faces are rendered: a number measured on them says nothing about real people."
_RIGHT, _WRONG = "✓", "✗"


@contextmanager
def errors_shown() -> Iterator[None]:
    """What the core refuses becomes one sentence on the page; the rest of the dashboard goes on."""
    try:
        yield
    except FerError as error:
        st.error(str(error), icon=":material/error:")
        st.stop()


def show_refusal() -> None:
    """What `state.refusals` kept, once."""
    if refused := state.get("refused"):
        st.error(refused, icon=":material/error:")
        state.forget("refused")


def sidebar() -> None:
    """What holds across pages: the data and the checkpoint."""
    with st.sidebar:
        _choose_data()
        _choose_checkpoint()


def _choose_data() -> None:
    path = state.data_path()
    if path is not None:
        st.selectbox("Data", [path.name, state.DEMO], key="data", bind="query-params", help=f"Your faces: {path}")
    with st.spinner("Opening the faces", show_time=True):
        problem, faces = state.data_problem(), state.faces()
    if problem:
        st.error(f"{problem} The demo faces are shown instead.", icon=":material/error:")
    name = "" if path is not None else f"**{faces.name}**, "
    st.caption(f"{name}{len(faces):,} faces{' (rendered)' if faces.is_demo else ''}")
    if faces.summary.warnings:
        with st.expander("About this data", icon=":material/warning:"):
            st.caption("\n\n".join(faces.summary.warnings))


def _choose_checkpoint() -> None:
    options = state.choices()
    if not options:
        st.caption("No checkpoint yet: train a run on the Training page.")
        return
    asked = state.parameter("checkpoint")
    if asked and asked not in options:
        st.warning(f"There is no checkpoint '{asked}' any more; another one is shown.", icon=":material/warning:")
    if state.get("checkpoint") not in options:
        state.forget("checkpoint")  # its run was deleted, or the epoch is no longer kept
    st.selectbox(
        "Checkpoint",
        options,
        key="checkpoint",
        bind="query-params",
        filter_mode="contains",
        help="RUN:EPOCH. The best epoch of each run stands first; type to search.",
    )
    chosen = state.choice()
    recorded = state.recorded_evaluation(chosen) if chosen else None
    if recorded:
        st.caption(f"{recorded.accuracy.value:.1%} right {interval(recorded.accuracy)} on {protocol(recorded)}")


def require_checkpoint() -> Choice:
    """The chosen checkpoint; where there is none, says how to get one and ends the page."""
    chosen = state.choice()
    if chosen is None:
        st.info(
            "No run has kept a checkpoint yet. Train one: on the embedded faces it takes about a minute.",
            icon=":material/model_training:",
        )
        st.page_link("views/training.py", label="Go to Training", icon=":material/play_arrow:")
        st.stop()
    return chosen


def choose_split() -> str:
    """One of the splits that the data has, in the URL."""
    state.put("split goes along", True)  # with links to other pages: Streamlit drops it there as this page's own
    options = [name.capitalize() for name in state.splits()]  # what is shown is what stands in the URL
    return str(
        st.segmented_control(
            "Split",
            options,
            default=options[0],
            required=True,
            key="split",
            bind="query-params",
            help="A network learns from train; its epochs are compared on validation; test is for neither.",
        )
    ).lower()


def choose_faces() -> bool:
    """May what is made hold pictures of the data set? In the URL."""
    return st.toggle(
        "With the faces",
        value=True,
        key="log faces",
        bind="query-params",
        help="Of FER2013 no face may be passed on. Without them what is made holds no picture of the data set",
    )


def epoch_slider(chosen: Choice, key: str = "epoch slider") -> None:
    """A slider over the epochs that a run kept; moves the sidebar's checkpoint."""
    epochs = state.kept_epochs(chosen.run)
    if len(epochs) < 2:
        return
    state.put(key, chosen.epoch)

    def moved() -> None:
        state.choose(f"{chosen.run.name}:{state.get(key)}")

    st.select_slider(
        f"Epoch of {chosen.run.name}", epochs, key=key, on_change=moved, help="The epochs whose checkpoints were kept."
    )


def score_metric(label: str, result: Evaluation) -> None:
    """An accuracy, never without what it is of, how many faces, and its interval."""
    low, high = result.accuracy.interval
    st.metric(
        label, f"{result.accuracy.value:.1%}", help="The share of faces whose true emotion was the most probable one"
    )
    st.caption(f"95% interval {low:.1%} to {high:.1%} (Wilson) on {protocol(result)}")
    leak_caption(result)


def leak_caption(result: Evaluation) -> None:
    """The accuracy without the faces that the run has seen in training, where these are known."""
    if result.leak_note:
        st.caption(
            result.leak_note,
            help="A face equal in every pixel to one that the network learned from tells nothing about new faces",
        )


def tiles_for(part: FaceDataset, rows: Sequence[int] | np.ndarray, said: np.ndarray | None) -> list[Tile]:
    """What to write below faces: the predicted emotion with its probability, and whether it is right."""
    tiles = []
    for row in rows:
        face, truth = str(part.ids[row]), int(part.emotions[row])
        true_name = EMOTIONS[truth] if truth != UNLABELLED else "no label"
        if said is None:
            tiles.append(Tile(face, f"{face}: {true_name}", true_name, COLORS.get(true_name, "#8A8A8A")))
            continue
        predicted = int(said[row].argmax())
        name, confidence = EMOTIONS[predicted], float(said[row, predicted])
        mark = "" if truth == UNLABELLED else _RIGHT if truth == predicted else _WRONG
        title = f"{face}: {true_name}, predicted {name} ({100 * confidence:.0f}%)"
        tiles.append(Tile(face, title, name, COLORS[name], mark, confidence))
    return tiles


def face_gallery(
    part: FaceDataset,
    rows: Sequence[int] | np.ndarray,
    said: np.ndarray | None,
    key: str,
    on_click: Callable[[str], None] | None = None,
) -> None:
    """Some rows of a split as a grid; a click opens the face (puts it into the URL)."""
    rows = np.asarray(rows)
    tiles = tiles_for(part, rows, said)
    gallery(part.images[rows], tiles, key, on_click or open_face, chosen=state.parameter("face"))


def open_face(face: str) -> None:
    state.set_parameter("face", face)


def opened_row(part: FaceDataset) -> int | None:
    """The row of the face in the URL, None where there is none or it is not in this split."""
    face = state.parameter("face")
    found = np.flatnonzero(part.ids == face)
    return int(found[0]) if len(found) else None


def warn_of_missing_face(part: FaceDataset, then: str) -> None:
    """Says so where the URL names a face that this split does not have; `then`: what is shown, or to be done."""
    if (face := state.parameter("face")) and opened_row(part) is None:
        st.warning(f"There is no face '{face}' in this split of {part.name}; {then}.")


def face_panel(chosen: Choice, split: str, row: int, said: np.ndarray, neighbours: Sequence[int] | np.ndarray) -> None:
    """One face large: what it is, what the checkpoint says, how that changed. `neighbours`: rows to step through."""
    part = state.split(split)
    truth = int(part.emotions[row])
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"**{part.ids[row]}**")
        _step_buttons(part, row, np.asarray(neighbours))
    st.image(enlarged(part.images[row], 4), width=192, output_format="PNG")
    st.caption(_what_it_is(part, row, said))
    st.altair_chart(charts.probability_bars(said[row], truth), key="face bars")
    with st.spinner("Asking the other epochs", show_time=True):
        epochs, history = state.history(chosen.run, split, row)
    if len(epochs) > 1:
        st.caption(f"Over the {len(epochs)} epochs kept of {chosen.run.name}")
        st.altair_chart(charts.probability_history(epochs, history, truth, chosen.epoch), key="face history")


def _what_it_is(part: FaceDataset, row: int, said: np.ndarray) -> str:
    truth, predicted = int(part.emotions[row]), int(said[row].argmax())
    verdict = "no label" if truth == UNLABELLED else f"true {EMOTIONS[truth]}"
    verdict += (
        "" if truth == UNLABELLED else f", {'right' if truth == predicted else f'predicted {EMOTIONS[predicted]}'}"
    )
    more = [f"{name} {_told(part.extra[name].iloc[row])}" for name in part.extra.columns]
    return ", ".join([verdict, *more])


def _told(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float | np.floating) else str(value)


def _step_buttons(part: FaceDataset, row: int, neighbours: np.ndarray) -> None:
    """To the face before and after among those that are listed, and away."""
    here = np.flatnonzero(neighbours == row)
    position = int(here[0]) if len(here) else -1
    steps = {"previous": position - 1, "next": position + 1}
    with st.container(horizontal=True, width="content", gap="xsmall"):
        for name, to in steps.items():
            there = position >= 0 and 0 <= to < len(neighbours)
            st.button(
                "",
                key=f"{name} face",
                help=f"The {name} face of the list",
                disabled=not there,
                shortcut="Left" if name == "previous" else "Right",
                on_click=open_face,
                args=(str(part.ids[neighbours[to]]) if there else "",),
            )
        st.button(
            "",
            key="close face",
            icon=":material/close:",
            help="Close",
            on_click=state.set_parameter,
            args=("face", None),
        )


def runs_table() -> pd.DataFrame:
    """A line a run: the accuracy of the best epoch that was kept, with interval, split and n, and the accuracies of all
    epochs as a list."""
    rows = []
    for run in state.runs():
        table = state.validation_metrics(run)
        best = state.best_scores(run)
        share = Share.of(best["accuracy"], best["n"]) if best is not None else Share(0, 0)
        low, high = share.interval
        rows.append(
            {
                "Run": run.name,
                "Accuracy": percents(share.value),
                "95% interval": f"{low:.1%} to {high:.1%}" if share.n else "",
                "Best epoch": int(best["epoch"]) if best is not None else None,
                "Validation accuracy": table["accuracy"].tolist(),
                "Scored on": f"{state.trained_on(run)}, validation",
                "n": share.n or None,
                "Epochs": f"{len(table)} of {run.config.epochs}",
                "State": run.status().state,
            }
        )
    return pd.DataFrame(rows)


def percents(share: float) -> float:
    """A share as a table shows it, rounded as everywhere else: a browser would round 56.25 up."""
    return float(f"{100 * share:.1f}")


def responsible_use() -> str:
    """What a person should know before believing or using an output; the README says the same."""
    return (
        "- **What a label means.** FER2013's labels are what people who sorted pictures thought a face shows. They are "
        "not what the person felt, and people disagree on many of these faces.\n"
        "- **How often it is wrong.** The best network here misses three faces in ten; Fear, Disgust, Sad and "
        "Angry more often. Each accuracy is shown with its split, its number of faces and its interval.\n"
        "- **Where it must not be used.** In the EU, inferring emotions of people at work and in education is "
        "prohibited (AI Act, Regulation (EU) 2024/1689, Article 5(1)(f)), apart from medical and safety reasons.\n"
        "- **Where the faces go.** Nowhere: all is computed on this machine, and nothing is sent to anyone.\n"
        "- **The demo faces** are rendered: these people do not exist, and a number measured on them says nothing "
        "about real people."
    )


def choose_page(items: int, size: int) -> int:
    """Which page of a long list to show, from 0; nothing is drawn where there is only one. With any other filter,
    order or section, or on another page of the dashboard, it is another list, which begins at its first page."""
    pages = -(-items // size)
    before, of = state.get("listed", {}), {"on": state.get("page shown"), **state.chosen_here()}
    state.put("listed", of)
    is_another = any(before.get(key, of[key]) != of[key] for key in of.keys() - {"page", "checkpoint"})
    if is_another or (state.get("page") or 1) > pages:
        state.put("page", 1)  # the URL is to say so too
    if pages < 2:
        return 0
    page = st.number_input(
        f"Page of {pages:,}", 1, pages, key="page", bind="query-params", width=150, help=f"{size} faces a page"
    )
    return int(page) - 1


def extra_filters(part: FaceDataset) -> tuple[np.ndarray, dict[str, Any]]:
    """A filter for each further column of the data (identity, intensity, pose of the demo faces): which rows stay,
    bool (N,), and the values at which all of them would."""
    keep, unfiltered = np.ones(len(part), bool), dict[str, Any]()
    for name, column in part.extra.items():
        values = column.to_numpy()
        label = str(name).replace("_", " ").capitalize()
        if column.dtype == bool or not np.issubdtype(values.dtype, np.number):
            wanted = st.pills(
                label, sorted(set(map(str, values)))[:20], selection_mode="multi", key=f"x-{name}", bind="query-params"
            )
            keep &= np.isin(values.astype(str), wanted) if wanted else True
            unfiltered[f"x-{name}"] = []
        elif len(values) and values.min() < values.max():
            whole = np.issubdtype(values.dtype, np.integer)
            ends: tuple[float, float] = (
                (int(values.min()), int(values.max()))
                if whole
                else (float(np.floor(values.min() * 10) / 10), float(np.ceil(values.max() * 10) / 10))
            )
            _fit_range(f"x-{name}", ends)
            low, high = st.slider(label, *ends, ends, key=f"x-{name}", bind="query-params", width=200)
            keep &= (values >= low) & (values <= high)
            unfiltered[f"x-{name}"] = ends
    return keep, unfiltered


def _fit_range(key: str, ends: tuple[float, float]) -> None:
    """Where a slider's ends moved with the split, a range within the new ones is kept, unless it left nothing out."""
    before, chosen = state.get(f"ends of {key}", ends), state.get(key)
    state.put(f"ends of {key}", ends)
    if before == ends or chosen is None:
        return
    if chosen != before and ends[0] <= chosen[0] and chosen[1] <= ends[1]:
        state.put(key, chosen)
    else:
        state.forget(key)


RECORDED = "recorded"  # beside the splits: the run's own scores on validation faces that are not here


def choose_scored(*runs: Run) -> str:
    """On which faces to score: a split of the chosen data, or what the run recorded where its faces are not at hand."""
    origins = {run.data_fingerprint for run in runs}
    elsewhere = (
        len(origins) == 1 and not state.has_recorded_faces(runs[0]) and len(state.validation_metrics(runs[0])) > 0
    )
    options = [RECORDED] * elsewhere + state.splits()

    def name(option: str) -> str:
        if option == RECORDED:
            return f"{state.trained_on(runs[0])}, validation (recorded)"
        return f"{state.faces().name}, {option}"

    return str(
        st.selectbox(
            "Scored on",
            options,
            format_func=name,
            key="scored",
            bind="query-params",
            width=300,
            help="Recorded: what the run itself noted after each epoch, on faces that are not at hand here",
        )
    )


def score(chosen: Choice, scored_on: str) -> Evaluation:
    """A checkpoint's score on what `choose_scored` gave."""
    if scored_on != RECORDED:
        return state.evaluation(chosen, scored_on)
    recorded = state.recorded_evaluation(chosen)
    if recorded is None:
        raise RunError(f"{chosen} recorded no score; choose another entry of 'Scored on'.")
    return recorded


def protocol(result: Evaluation) -> str:
    """What a number is of, in words."""
    demo = " (rendered)" if result.data == state.DEMO else ""
    return f"{result.data}{demo}, {result.split}, n = {result.n:,}"


def interval(share: Share) -> str:
    low, high = share.interval
    return f"({low:.1%} to {high:.1%})"


def cell_in_url() -> tuple[int, int] | None:
    """The cell of the matrix that was clicked, as (true, predicted)."""
    true, _, predicted = (state.parameter("cell") or "").partition(">")
    if true in EMOTIONS and predicted in EMOTIONS:
        return EMOTIONS.index(true), EMOTIONS.index(predicted)
    return None


def cell_clicked() -> None:
    """Puts the clicked cell into the URL and closes the face that was open."""
    picked = state.get("matrix")["selection"].get("cell") or []
    if picked:
        state.set_parameter("cell", f"{picked[0]['true']}>{picked[0]['predicted']}")
        state.set_parameter("face", None)


def choose_other(after: Choice) -> Choice:
    """The checkpoint to compare with: any; by default the first epoch that the same run kept, or where that is `after`
    its last one, or one of another run."""
    options, kept = state.choices(), state.kept_epochs(after.run)
    likely = [*(f"{after.run.name}:{epoch}" for epoch in (kept[0], kept[-1])), *options]
    other = next((text for text in likely if text != str(after)), str(after))
    text = st.selectbox(
        "Before", options, index=options.index(other), key="before", bind="query-params", filter_mode="contains"
    )
    return state.parse_choice(str(text))


def faces_with_panel(chosen: Choice, split: str, rows: np.ndarray, said: np.ndarray, key: str, most: int) -> None:
    """A gallery of rows of a split, and beside it the face that was clicked."""
    part = state.split(split)
    if not len(rows):
        st.info("There are none.", icon=":material/check:")
        return
    opened = opened_row(part)
    wide, side = st.columns([0.66, 0.34]) if opened is not None else (st.container(), None)
    with wide:
        if len(rows) > most:
            st.caption(f"The first {most} of {len(rows):,}")
        face_gallery(part, rows[:most], said, key)
    if side is not None and opened is not None:
        with side:
            face_panel(chosen, split, opened, said, rows)
