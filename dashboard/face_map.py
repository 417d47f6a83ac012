"""What the Map page is made of: the maps that are drawn, the selection in the URL, and what is told of both."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import state, state_map, widgets
from dashboard.gallery import gallery
from dashboard.scatter import Frame, packed, unpacked
from dashboard.state import Choice
from dashboard.state_map import FaceMap
from fer_core.data import FaceDataset
from fer_core.evaluation import Share
from fer_core.explain.neighbours import Agreement
from fer_core.labels import COLORS, EMOTIONS, UNLABELLED

SHOWN = ["One", "Two", "All kept"]
METHODS = {
    "PCA": "The two directions in which the features vary most. Distances on the map are distances in the space, as "
    "far as two directions can hold them.",
    "UMAP": "Keeps near faces together (McInnes et al. 2018). Islands are groups that the network takes for alike; how "
    "far apart they lie, and how large they are, means nothing.",
}
PROTOCOL = (
    "Features: what enters the network's last linear layer. Likeness of two maps: the squared Procrustes correlation, "
    "1 where they are the same but for turning, mirroring, moving and scaling."
)
AGREEMENT = (
    "Over labelled faces, each asked for its nearest neighbours by cosine distance of the features: the mean share "
    "that has its label, with the normal 95% interval over faces. By chance: what blindly drawn neighbours would give."
)

# -- which maps ------------------------------------------------------------------------------------


def choose_choices(chosen: Choice, shown: str) -> list[Choice]:
    """The checkpoints whose maps are drawn: the sidebar's, one before it, or for a film all of its run in order."""
    if shown == SHOWN[0]:
        return [chosen]
    if shown == SHOWN[1]:
        with st.container(width=170):
            return [widgets.choose_other(chosen), chosen]
    return [Choice(chosen.run, epoch) for epoch in state.kept_epochs(chosen.run)]


def require_umap(choices: list[Choice], split: str) -> None:
    """UMAP takes long: it is made on request only, once for all sessions. Ends the page until then."""
    missing = [each for each in choices if not state_map.umap_is_known(each, split)]
    if not missing:
        return
    if not state_map.has_umap():
        st.info(
            'UMAP needs the package umap-learn: `pip install -e ".[umap]"` in the project\'s folder installs it.',
            icon=":material/download:",
        )
        st.stop()
    of = str(missing[0]) if len(missing) == 1 else f"{len(missing)} epochs"
    place = st.empty()
    with place.container():
        st.info(
            f"UMAP of {of} on {len(state.split(split)):,} faces has not been made yet. It takes about half a minute "
            "for a few thousand faces; then it is kept.",
            icon=":material/hourglass_empty:",
        )
        if not st.button("Make it", icon=":material/play_arrow:", type="primary", key="make umap"):
            st.stop()
    place.empty()


def map_of(choice: Choice, split: str, method: str) -> FaceMap:
    return state_map.pca(choice, split) if method == "PCA" else state_map.umap(choice, split)


def frames_of(choices: list[Choice], maps: list[FaceMap], split: str, at: int) -> tuple[list[Frame], list[float]]:
    """The maps laid over that of number `at`, each over the one beside it in the list; and how alike each is to the
    one that it was laid over (see `Alignment`)."""
    from fer_core.explain.projection import aligned  # which imports torch, as nothing here did yet

    laid, likeness = {at: maps[at].coordinates}, {at: 1.0}
    for i in [*range(at - 1, -1, -1), *range(at + 1, len(maps))]:
        found = aligned(maps[i].coordinates, laid[i + 1 if i < at else i - 1])
        laid[i], likeness[i] = found.coordinates, found.likeness
    frames = [Frame(str(each), laid[i], state.predictions(each, split)) for i, each in enumerate(choices)]
    return frames, [likeness[i] for i in range(len(maps))]


# -- the selection ---------------------------------------------------------------------------------


def selected_rows(part: FaceDataset, split: str) -> np.ndarray | None:
    """The rows in the URL; None where there are none of these very faces."""
    of, _, text = (state.parameter("selected") or "").rpartition(".")
    return unpacked(text, len(part)) if of == _stamp(part, split) and text else None


def select(rows: np.ndarray, split: str) -> None:
    stamp = _stamp(state.split(split), split)
    state.set_parameter("selected", f"{stamp}.{packed(rows)}" if len(rows) else None)


def _stamp(part: FaceDataset, split: str) -> str:
    """What row numbers are of: other data, or faces held out otherwise, have others in these rows."""
    return f"{split}.{part.fingerprint[:8]}"


def selection_told(rows: np.ndarray, emotions: np.ndarray, said: np.ndarray) -> str:
    """How many there are, of which emotions, and how many of them are right."""
    known = rows[emotions[rows] != UNLABELLED]
    counts = Counter(EMOTIONS[emotion] for emotion in emotions[known])
    mixture = ", ".join(f"{name} {count / len(known):.0%}" for name, count in counts.most_common(3))
    right = Share(int((said[known].argmax(axis=1) == emotions[known]).sum()), len(known))
    told = f" {mixture}; {right.value:.1%} right {widgets.interval(right)}" if right.n else ""
    return f"**{len(rows):,} faces selected**{told}"


# -- neighbours ------------------------------------------------------------------------------------


def show_neighbours(chosen: Choice, split: str, row: int, said: np.ndarray) -> None:
    """The faces nearest to one in the space, with their distances; a click opens one."""
    part = state.split(split)
    rows, distances = state_map.neighbours(chosen, split, row)
    if not len(rows):  # it is the only face
        return
    st.markdown(
        f"**Nearest neighbours of {part.ids[row]}**",
        help="By cosine distance of the features: 0 is the same direction, 1 a right angle. All faces of the split are "
        "compared; below each stand its label and its distance.",
    )
    tiles = []
    for tile, each, distance in zip(widgets.tiles_for(part, rows, said), rows, distances, strict=True):
        truth = int(part.emotions[each])
        label = EMOTIONS[truth] if truth != UNLABELLED else "no label"
        told = f"{tile.title}, distance {distance:.3f}"
        near = max(0.0, 1 - float(distance))
        tiles.append(replace(tile, title=told, text=label, mark=f"{distance:.2f}", color=_color(label), share=near))
    gallery(part.images[rows], tiles, "neighbours", widgets.open_face)


def _color(label: str) -> str:
    return COLORS.get(label, "#B0B0B0")


def agreement_told(choice: Choice, found: Agreement, faces: int) -> str:
    """One sentence with its interval and what it is compared with; "" where no labels tell."""
    if not found.n:
        return ""
    low, high = found.interval
    asked = f"{found.n:,} of {faces:,} faces asked" if found.n < faces else f"n = {found.n:,}"
    return (
        f"Under {choice}, **{found.value:.1%}** of a face's {found.neighbours} nearest neighbours have its label "
        f"({low:.1%} to {high:.1%}, {asked}; by chance {found.chance:.1%})."
    )


def agreement_table(found: dict[str, Agreement]) -> pd.DataFrame:
    """The same by emotion: a line a checkpoint and emotion."""
    lines = [
        [checkpoint, emotion, widgets.percents(of.value), "{:.1%} to {:.1%}".format(*of.interval), of.n]
        for checkpoint, each in found.items()
        for emotion, of in each.by_label.items()
    ]
    return pd.DataFrame(lines, columns=["Checkpoint", "Emotion", "Same label", "95% interval", "Faces asked"])


def map_table(part: FaceDataset, frame: Frame, selected: np.ndarray | None) -> pd.DataFrame:
    """A line a face: where it lies, its label, what is said of it, and whether it is selected."""
    table = pd.DataFrame({"id": part.ids, "x": frame.coordinates[:, 0], "y": frame.coordinates[:, 1]})
    table["true"] = [EMOTIONS[emotion] if emotion != UNLABELLED else "" for emotion in part.emotions]
    table["predicted"] = [EMOTIONS[emotion] for emotion in frame.said.argmax(axis=1)]
    table["confidence"] = frame.said.max(axis=1).round(4)
    table["selected"] = np.isin(np.arange(len(part)), [] if selected is None else selected)
    return table
