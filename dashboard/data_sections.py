"""The sections of the Data page that look at the pixels and labels alone: Overview and Duplicates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import data_charts, judging, state, state_data, widgets
from dashboard.gallery import Tile, gallery
from fer_core.data import SPLITS, FaceDataset
from fer_core.data.audit import imbalance
from fer_core.data.duplicates import THRESHOLD, Groups
from fer_core.labels import COLORS, EMOTIONS, UNLABELLED

GROUPS = 8  # a page
MOST = 24  # faces of one group, or blank faces
QUALITIES = {
    "Brightness": ("brightness", "Mean gray level", "0 is black, 255 white"),
    "Contrast": (
        "contrast",
        "Standard deviation of the gray levels",
        "0 is one gray level, 127 half black, half white",
    ),
    "Sharpness": ("sharpness", "Standard deviation of the Laplacian", "Low is blurred; noise counts as sharp"),
}
KINDS = {
    "Exact": "Faces with the same pixels.",
    "Near": f"Another crop, size, light or compression of one photograph, or its mirror image: the band-passed pixels "
    f"correlate by at least {THRESHOLD} at the best shift of up to 2 pixels. Exact copies of such faces are included.",
}
SHOWN = ["Conflicting labels", "Across splits", "All"]


# -- overview --------------------------------------------------------------------------------------


def overview() -> None:
    """Counts and their imbalance, how faces look, and those on which nothing can be seen."""
    whole, quality, exact = state.faces(), state_data.quality(), state_data.exact()
    constant, blank = np.flatnonzero(quality.constant), np.flatnonzero(quality.blank)
    demo = " (rendered)" if whole.is_demo else ""
    st.markdown(
        f"**{whole.name}**{demo}: {len(whole):,} faces, **{len(whole) - exact.extra_copies:,} distinct**, "
        f"{len(constant):,} constant, {len(blank) - len(constant):,} more nearly blank."
    )
    _mean_faces()
    left, right = st.columns(2, gap="medium")
    with left:
        _label_shares()
    with right:
        name = st.segmented_control(
            "Spread of",
            list(QUALITIES),
            default="Brightness",
            required=True,
            key="quality",
            bind="query-params",
            help="\n\n".join(f"**{title}**: {what}. {more}." for title, (_, what, more) in QUALITIES.items()),
        )
        field, title, _ = QUALITIES[str(name)]
        values = getattr(quality, field)
        st.altair_chart(data_charts.distribution(values, whole.splits, title), key="spread", alt=f"Spread of {name}")
    if len(blank):
        _with_panel("Faces on which nothing can be seen", blank[:MOST], "blank faces")


def _label_shares() -> None:
    """Which share of each split each emotion has, and how uneven that is."""
    whole = state.faces()
    counts = whole.counts()
    if not counts[list(EMOTIONS)].to_numpy().any():
        st.info("None of these faces has a label.", icon=":material/label_off:")
        return
    st.altair_chart(data_charts.label_shares(counts), key="label shares", alt="Share of each emotion by split")
    ratios = ", ".join(f"{ratio:.1f} in {split}" for split, ratio in imbalance(whole).items())
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.caption(
            f"Imbalance: {ratios}", help="How many faces the most frequent emotion has for each of the rarest one"
        )
        _download("counts.csv", lambda: counts)


def _mean_faces() -> None:
    st.markdown("**Mean face of each emotion**", help="The average of all labelled faces, gray level by gray level")
    means, whole = state_data.means(), state.faces()
    counts = np.bincount(whole.emotions[whole.emotions != UNLABELLED], minlength=len(EMOTIONS))
    there = np.flatnonzero(counts)
    tiles = [
        Tile(
            EMOTIONS[i],
            f"Mean of {counts[i]:,} {EMOTIONS[i]} faces; click to see them",
            EMOTIONS[i],
            COLORS[EMOTIONS[i]],
        )
        for i in there
    ]
    if len(there):
        gallery(np.rint(means[there]).astype(np.uint8), tiles, "mean faces", state.remember_face)
    if emotion := state.take_face():
        st.switch_page("views/samples.py", query_params=state.query(true=emotion))


def _download(name: str, make: Callable[[], pd.DataFrame]) -> None:
    st.download_button(
        f"{name}", lambda: make().to_csv(), name, icon=":material/download:", on_click="ignore", key=f"get {name}"
    )


def _with_panel(title: str, rows: np.ndarray, key: str) -> None:
    """Faces, and beside them the one that was clicked."""
    st.markdown(f"**{title}**")
    row = judging.opened(rows)
    wide, side = st.columns([0.66, 0.34]) if row is not None else (st.container(), None)
    with wide:
        judging.show_faces(rows, key)
    if side is not None and row is not None:
        with side:
            judging.panel(row, rows)


# -- duplicates ------------------------------------------------------------------------------------


def duplicates() -> None:
    """Groups of copies: how many stand in which split, and the groups themselves, conflicting labels first."""
    with st.container(horizontal=True):
        kind = st.segmented_control(
            "Copies",
            list(KINDS),
            default="Exact",
            required=True,
            key="copies",
            bind="query-params",
            help="\n\n".join(f"**{name}**: {text}" for name, text in KINDS.items()),
        )
        shown = st.segmented_control(
            "Groups", SHOWN, default=SHOWN[0], required=True, key="groups", bind="query-params"
        )
    whole = state.faces()
    groups = state_data.exact() if kind == "Exact" else state_data.near()
    conflicting = groups.conflicting(whole.emotions)
    _leak_sentences(groups, len(conflicting))
    chosen = _chosen_groups(groups, conflicting, str(shown))
    if not chosen:
        st.info(
            "There are none." if len(groups) else "No face stands here more than once.",
            icon=":material/check:",
        )
        return
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"**{_groups_of(len(chosen))}**, {sum(len(groups.members[g]) for g in chosen):,} faces")
        page = widgets.choose_page(len(chosen), GROUPS)
    listed = chosen[page * GROUPS : (page + 1) * GROUPS]
    faces = np.concatenate([groups.members[group][:MOST] for group in listed])
    row = judging.opened(faces)
    wide, side = st.columns([0.66, 0.34]) if row is not None else (st.container(), None)
    with wide:
        for group in listed:
            _show_group(groups, group)
        _download(f"{str(kind).lower()}-copies.csv", partial(_groups_table, whole, groups, chosen))
    if side is not None and row is not None:
        with side:
            judging.panel(row, faces)


def _leak_sentences(groups: Groups, conflicts: int) -> None:
    """What the table of leaks says, in words, and the table."""
    whole = state.faces()
    leaks = groups.leaks(whole.splits, len(SPLITS))
    sizes = np.bincount(whole.splits, minlength=len(SPLITS))
    told = [
        f"**{leaks[split, 0]:,}** of {sizes[split]:,} {SPLITS[split]} faces also stand in train"
        for split in (1, 2)
        if sizes[split] and sizes[0]
    ]
    n = int((groups.of >= 0).sum())
    st.markdown(
        f"{_groups_of(len(groups))} of {n:,} faces; {', '.join(told)}{'; ' if told else ''}"
        f"**{_groups_of(conflicts)}** with conflicting labels.",
        help="A test face that also stands in train measures memory, not skill. Counted: faces with a copy there.",
    )


def _groups_of(count: int) -> str:
    return f"{count:,} group{'s' if count != 1 else ''}"


def _chosen_groups(groups: Groups, conflicting: np.ndarray, shown: str) -> list[int]:
    """The groups to list: those with conflicting labels first, then the larger ones."""
    splits = state.faces().splits
    conflicts = set(conflicting.tolist())
    every = sorted(range(len(groups)), key=lambda group: (group not in conflicts, -len(groups.members[group])))
    if shown == SHOWN[0]:
        return [group for group in every if group in conflicts]
    if shown == SHOWN[1]:
        return [group for group in every if len(set(splits[groups.members[group]].tolist())) > 1]
    return every


def _show_group(groups: Groups, group: int) -> None:
    whole, rows = state.faces(), groups.members[group]
    labels = Counter(map(judging.label, whole.emotions[rows])).most_common()
    splits = Counter(SPLITS[split] for split in whole.splits[rows])
    mixture = ", ".join(f"{count} {label}" for label, count in labels)
    alike = "" if groups.links[group] > 0.9999 else f"; correlation {groups.links[group]:.2f} or more from face to face"
    more = f", the first {MOST} shown" if len(rows) > MOST else ""
    with st.container(border=True):
        places = ", ".join(f"{count} in {name}" for name, count in splits.items())
        st.caption(f"{len(rows)} faces: **{mixture}**; {places}{alike}{more}")
        judging.show_faces(rows[:MOST], f"group {whole.ids[rows[0]]}")


def _groups_table(whole: FaceDataset, groups: Groups, chosen: list[int]) -> pd.DataFrame:
    rows = np.concatenate([groups.members[group] for group in chosen])
    number = np.repeat(np.arange(1, len(chosen) + 1), [len(groups.members[group]) for group in chosen])
    labels = [judging.label(emotion) for emotion in whole.emotions[rows]]
    splits = [SPLITS[split] for split in whole.splits[rows]]
    return pd.DataFrame({"id": whole.ids[rows], "split": splits, "label": labels}, index=pd.Index(number, name="group"))
