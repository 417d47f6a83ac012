"""What the Saliency page draws: maps over faces, how far they can be trusted, and how they change."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import altair as alt
import numpy as np
import streamlit as st
from PIL import Image

from dashboard import charts, state, state_explain, widgets
from dashboard.gallery import Tile, gallery
from fer_core.explain.attribution import METHODS, Attribution, Sign, Target
from fer_core.explain.film import FORMS, Film
from fer_core.explain.pictures import (
    COLOR_MAPS,
    DARK_INK,
    INK,
    Look,
    color_bar,
    enlarged,
    overlay,
    part_of,
    png,
    scale_of,
    sheet,
)
from fer_core.labels import EMOTIONS, UNLABELLED

if TYPE_CHECKING:
    from dashboard.state import Choice
    from fer_core.data import FaceDataset
    from fer_core.explain.regions import RegionStudy

AS_PUBLISHED = "As published"
SIGNS: dict[str, Sign] = {"Both": "both", "For": "positive", "Against": "negative", "Absolute": "absolute"}
NOTHING = "Nothing"
STRIP = 16  # faces at their own size that fit beside one another


# -- choose ----------------------------------------------------------------------------------------


def choose_methods() -> list[str]:
    """One to three methods, in the order of the registry."""
    titles = {method.title: key for key, method in METHODS.items()}
    chosen = st.multiselect(
        "Methods",
        list(titles),
        default=["Saliency", "Grad-CAM", "Occlusion"],
        max_selections=3,
        key="methods",
        bind="query-params",
        width=420,
        help="\n".join(f"- **{method.title}**: {method.sentence} ({method.paper})" for method in METHODS.values()),
    )
    return [titles[title] for title in chosen] or ["saliency"]


def choose_target(has_labels: bool) -> Target:
    """Whose score is explained: one emotion's, or the difference of two."""
    options = ["Predicted", *["True"] * has_labels, *EMOTIONS]
    first = st.selectbox(
        "Explain", options, key="target", bind="query-params", width=140, help="The emotion whose score is explained"
    )
    second = st.selectbox(
        "Minus",
        [NOTHING, *options],
        key="minus",
        bind="query-params",
        width=140,
        help="Explain the difference of two scores: what speaks for the one and not for the other",
    )
    names = {"Predicted": "predicted", "True": "true"}
    one, other = names.get(str(first), str(first)), names.get(str(second), str(second))
    return one if second == NOTHING else (one, other)


def choose_layer(chosen: Choice, methods: Sequence[str]) -> str:
    """The layer of methods that take one, "" where none of them does."""
    if not any(METHODS[method].takes_layer for method in methods):
        return ""
    names = list(state_explain.conv_layers(chosen))
    if not names:
        return ""
    if state.get("cam") not in names:
        state.forget("cam")  # another network was chosen
    return str(
        st.selectbox(
            "Layer",
            names,
            index=len(names) - 1,
            key="cam",  # not the Layers page's "layer", or its first one would be looked at here
            bind="query-params",
            width=140,
            help="Where Grad-CAM looks; its paper takes the last convolution",
        )
    )


def choose_look() -> tuple[str, str, float]:
    """How maps are drawn: sign, colours and opacity."""
    with st.popover("Look", icon=":material/palette:"):
        sign = st.segmented_control(
            "Values",
            [AS_PUBLISHED, *SIGNS],
            default=AS_PUBLISHED,
            required=True,
            key="sign",
            bind="query-params",
            help="For and against: what raises and what lowers the score. As published: as the method's paper draws it",
        )
        color_map = st.segmented_control(
            "Colours",
            [name.capitalize() for name in COLOR_MAPS],
            default=COLOR_MAPS[0].capitalize(),
            required=True,
            key="colours",
            bind="query-params",
            help="Of one sign. Both signs are drawn red for and blue against",
        )
        opacity = st.slider("Opacity, %", 0, 100, 80, step=5, key="opacity", bind="query-params")
    return str(sign), str(color_map).lower(), opacity / 100


def look_for(method: str, chosen: tuple[str, str, float]) -> Look:
    sign, color_map, opacity = chosen
    return Look(METHODS[method].shown if sign == AS_PUBLISHED else SIGNS[sign], color_map, opacity)


def choose_face(part: FaceDataset, said: np.ndarray) -> int:
    """A strip of faces, of which the one in the URL is chosen (the first where there is none); its row."""
    widgets.warn_of_missing_face(part, "the first is shown")
    row = widgets.opened_row(part) or 0
    first = row // STRIP * STRIP
    back, strip, on = st.columns([0.04, 0.92, 0.04], gap="xxsmall", vertical_alignment="center")
    with strip:
        rows = np.arange(first, min(first + STRIP, len(part)))
        tiles = [Tile(tile.id, tile.title) for tile in widgets.tiles_for(part, rows, said)]
        gallery(part.images[rows], tiles, "strip", widgets.open_face, chosen=str(part.ids[row]), times=1)
    for column, icon, to in ((back, "chevron_left", first - STRIP), (on, "chevron_right", first + STRIP)):
        with column:
            st.button(
                "",
                key=icon,
                icon=f":material/{icon}:",
                help="Other faces",
                type="tertiary",
                disabled=not 0 <= to < len(part),
                on_click=widgets.open_face,
                args=(str(part.ids[np.clip(to, 0, len(part) - 1)]),),
            )
    return row


# -- maps ------------------------------------------------------------------------------------------


def show_map(face: np.ndarray, values: np.ndarray, look: Look, unit: str, times: int, scale: float = 0.0) -> None:
    """A map over its face, and below it what the colours mean."""
    shown = part_of(values, look.sign)
    scale = scale or scale_of(shown)
    width = times * face.shape[1]
    st.image(overlay(face, shown, look, scale, times), width=width, output_format="PNG")
    st.image(
        color_bar(look, scale, unit, width, DARK_INK if charts.is_dark() else INK), width=width, output_format="PNG"
    )


def explain_nothing(result: Attribution, look: Look) -> str:
    """Why the first map shows nothing, "" where it shows something."""
    if result.problems[0]:
        return result.problems[0]
    if not part_of(result.maps[0], look.sign).any():
        side = "for" if look.sign == "positive" else "against"
        return f"No pixel speaks {side} {result.targets[0]} here: choose other values under Look to see the rest."
    return ""


def show_result(face: np.ndarray, result: Attribution, look: Look, times: int) -> None:
    """The first map of a result with its title, unit, and what is to be known of it."""
    st.markdown(f"**{result.title}**", help=_about(result))
    st.caption(f"for {result.targets[0]}")
    show_map(face, result.maps[0], look, result.unit, times)
    if reason := explain_nothing(result, look):
        st.warning(reason, icon=":material/blur_off:")
    if result.spread is not None:
        share = float(result.spread[0].mean() / max(np.abs(result.maps[0]).mean(), 1e-12))
        st.caption(f"Over repeats it varies by {100 * share:.0f}% of its mean size.")


def _about(result: Attribution) -> str:
    method = METHODS[result.method]
    return f"{method.sentence} {method.paper}"


def download(label: str, picture: Image.Image, name: str) -> None:
    st.download_button(label, lambda: png(picture), name, "image/png", icon=":material/download:", on_click="ignore")


def sheet_caption(part: FaceDataset, row: int, probabilities: np.ndarray, target: str) -> str:
    """What stands below a face of the sheet: whose map it is, and what the network says."""
    predicted, truth = int(probabilities.argmax()), int(part.emotions[row])
    said = f"{EMOTIONS[predicted]} {100 * probabilities[predicted]:.0f}%"
    true = "" if truth == UNLABELLED else ", right" if truth == predicted else f", true {EMOTIONS[truth]}"
    asked = "" if target == EMOTIONS[predicted] else f" (for {target})"
    return f"{said}{true}{asked}"


# -- regions ---------------------------------------------------------------------------------------


def region_chart(study: RegionStudy) -> charts.Chart:
    """Mean weight of each region (columns) by emotion (rows); what may be zero is faint."""
    table = study.table()
    table["sure"] = (table["low"] > 0) | (table["high"] < 0)
    table["shown"] = [f"{value:+.2f}" for value in table["weight"]]
    limit = float(table["weight"].abs().max()) or 1.0
    regions = list(dict.fromkeys(table["region"]))
    base = alt.Chart(table).encode(
        x=alt.X(
            "region:N",
            sort=regions,
            title=None,
            axis=alt.Axis(orient="top", labelAngle=0, labelFlush=False, labelExpr=charts.NARROW_LABEL, ticks=False),
        ),
        y=alt.Y("emotion:N", sort=list(study.emotions), title=None, axis=alt.Axis(ticks=False)),
        tooltip=[
            alt.Tooltip("emotion:N", title="Emotion"),
            alt.Tooltip("region:N", title="Region"),
            alt.Tooltip("weight:Q", title="Mean weight, logits", format="+.2f"),
            alt.Tooltip("low:Q", title="From", format="+.2f"),
            alt.Tooltip("high:Q", title="To", format="+.2f"),
            alt.Tooltip("faces:Q", title="Faces"),
            alt.Tooltip("area:Q", title="Share of the pixels", format=".0%"),
        ],
    )
    color = alt.Color(
        "weight:Q",
        scale=alt.Scale(domain=[-limit, 0, limit], range=["#3b4cc0", "#dddcdc", "#b40426"]),
        legend=alt.Legend(title="Logits", orient="bottom", gradientLength=180),
    )
    cells = base.mark_rect(cornerRadius=2).encode(
        color=color, opacity=alt.condition("datum.sure", alt.value(1), alt.value(0.35))
    )
    strong = f"datum.sure && abs(datum.weight) > {0.55 * limit}"
    weak = "#26272f"
    faint = "#f0f0f0" if charts.is_dark() else weak
    texts = base.mark_text(fontSize=alt.ExprRef("width < 420 ? 10 : 13")).encode(
        text="shown:N",
        color=alt.when(strong)
        .then(alt.value("white"))
        .when("datum.sure")
        .then(alt.value(weak))
        .otherwise(alt.value(faint)),
    )
    chart: alt.LayerChart = (cells + texts).properties(height=alt.Step(38))
    return chart


def show_regions(chosen: Choice, split: str) -> None:
    """LIME by label: which regions of the face carry each emotion."""
    st.markdown(
        "**Which parts of the face carry each emotion?** Regions are covered with mean gray in all 128 ways, and a "
        "linear model (LIME) tells what each adds to the true emotion's logit, above the mean of all seven.",
        help="The regions fit FER2013's average face; a single turned head they fit badly, so only means are shown.",
    )
    most = int(
        st.select_slider("Faces of each emotion", [10, 20, 40, 80, 160], 20, key="most", bind="query-params", width=300)
    )
    study = state_explain.region_study(chosen, split, most)
    st.altair_chart(region_chart(study), key="regions", alt="Mean weight of each region by emotion")
    st.caption(
        "Faint: the 95% interval holds zero. All regions together tell how clearly such faces speak for their emotion. "
        + f"Faces: {', '.join(f'{e} {n}' for e, n in zip(study.emotions, study.n, strict=True))}."
    )
    ranked = sorted(study.emotions, key=lambda emotion: -study.mean[study.emotions.index(emotion)].sum())
    st.markdown("\n".join(f"- {study.told(emotion)}" for emotion in ranked))
    look = Look("both")
    page = regions_picture(study, look)
    st.image(page, width="content", output_format="PNG")
    with st.container(horizontal=True):
        download("This picture as PNG", page, f"{study.run}-{study.epoch}-regions.png")
        st.download_button(
            "This table as CSV",
            lambda: study.table().round(4).to_csv(index=False),
            f"{study.run}-{study.epoch}-regions.csv",
            icon=":material/download:",
            on_click="ignore",
        )


def regions_picture(study: RegionStudy, look: Look) -> Image.Image:
    """Each emotion's mean face with the weights of its regions, side by side."""
    captions = [f"{emotion}, n = {n}" for emotion, n in zip(study.emotions, study.n, strict=True)]
    heading = [f"What each region adds to its emotion: LIME by label of {study.run}:{study.epoch}"]
    return sheet(study.faces, study.maps(), captions, heading, look, "logits", dark=charts.is_dark())


# -- films, pairs, averages ------------------------------------------------------------------------


def show_film(film: Film, look: Look, truth: int, first: int) -> None:
    """A slider over the epochs, at `first` to begin with, or all of them played; below, all at a glance."""
    for problem in film.skipped:
        st.warning(problem, icon=":material/broken_image:")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        playing = st.toggle("Play", key="play", bind="query-params")
        if len(film.epochs) > 1:
            if state.get("film epoch") not in film.epochs:
                state.put("film epoch", first if first in film.epochs else film.epochs[-1])
            epoch = st.select_slider("Epoch", film.epochs, key="film epoch", disabled=playing, width=420)
        else:
            epoch = film.epochs[0]
    i = film.epochs.index(epoch)
    left, right = st.columns([0.62, 0.38])
    with left:
        if playing:
            st.image(state_explain.film_file(film, look, "GIF", charts.is_dark()), output_format="GIF")
        else:
            st.markdown(f"**{film.title}** for {film.targets[i]}, {film.run}, epoch {epoch}")
            face, over = st.columns(2)
            with face:
                st.image(enlarged(film.face, 6), width=288, output_format="PNG")
            with over:
                show_map(film.face, film.maps[i], look, film.unit, 6, film.scale(look))
            if film.problems[i]:
                st.warning(film.problems[i], icon=":material/blur_off:")
    with right:
        st.altair_chart(charts.probability_bars(film.probabilities[i], truth), key="film bars")
        st.altair_chart(charts.probability_history(film.epochs, film.probabilities, truth, epoch), key="film history")
    faces = np.repeat(film.face[None], len(film.epochs), axis=0)
    captions = [f"{e}: {EMOTIONS[p.argmax()]}" for e, p in zip(film.epochs, film.probabilities, strict=True)]
    heading = [f"{film.title}, below each the epoch and the predicted emotion"]
    st.image(
        sheet(faces, film.maps, captions, heading, look, film.unit, times=2, columns=8, dark=charts.is_dark()),
        output_format="PNG",
    )


def offer_film(film: Film, look: Look, name: str) -> None:
    """The film as an animated download."""
    with st.container(horizontal=True):
        for form, mime in FORMS.items():
            st.download_button(
                f"This film as {form}",
                partial(state_explain.film_file, film, look, form),
                f"{name}.{form.lower()}",
                mime,
                icon=":material/download:",
                on_click="ignore",
            )


def show_pair(part: FaceDataset, row: int, pair: Sequence[Attribution], look: Look) -> None:
    """One face's maps under two checkpoints, on one scale."""
    face, truth = part.images[row], int(part.emotions[row])
    scale = scale_of(part_of(np.concatenate([each.maps for each in pair]), look.sign))
    for column, result in zip(st.columns(2), pair, strict=True):
        with column:
            st.markdown(f"**{result.run}:{result.epoch}**, {result.title} for {result.targets[0]}", help=_about(result))
            over, bars = st.columns([0.58, 0.42])
            with over:
                show_map(face, result.maps[0], look, result.unit, 5, scale)
            with bars:
                st.altair_chart(
                    charts.probability_bars(result.probabilities[0], truth), key=f"bars {result.run}:{result.epoch}"
                )
            if reason := explain_nothing(result, look):
                st.warning(reason, icon=":material/blur_off:")


def show_averages(
    chosen: Choice, split: str, said: np.ndarray, method: str, target: Target, layer: str, look: Look
) -> None:
    """The mean map by emotion, or of a cell of the confusion matrix beside the two cells of right answers."""
    part = state.split(split)
    predicted = said.argmax(axis=1)
    by_true = {name: np.flatnonzero(part.emotions == i) for i, name in enumerate(EMOTIONS)}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        by = st.segmented_control(
            "Averaged over",
            ["Emotions", "A confusion"],
            default="Emotions",
            required=True,
            key="by",
            bind="query-params",
        )
        if by == "A confusion":
            true = st.selectbox("True", EMOTIONS, index=2, key="averaged", bind="query-params", width=140)
            taken = st.selectbox("Taken for", EMOTIONS, index=5, key="taken", bind="query-params", width=140)
    if by == "Emotions":
        groups = by_true
    else:
        i, j = EMOTIONS.index(true), EMOTIONS.index(taken)
        groups = {
            f"{true} taken for {taken}" if i != j else f"{true} recognised": np.flatnonzero(
                (part.emotions == i) & (predicted == j)
            ),
            f"{true} recognised": np.flatnonzero((part.emotions == i) & (predicted == i)),
            f"{taken} recognised": np.flatnonzero((part.emotions == j) & (predicted == j)),
        }
    if not any(len(rows) for rows in groups.values()):
        st.info("There are no such faces in this split; choose another.", icon=":material/search_off:")
        return
    result = state_explain.average_maps(chosen, split, groups, method, target, layer)
    captions = [
        f"{name}\n{asked:,} of {there:,} faces"
        for name, (asked, there) in zip(result.names, result.counts, strict=True)
    ]
    heading = [
        f"Mean {result.title} of {result.run}:{result.epoch} over the mean face",
        "Each map was divided by the sum of its absolute values, so that every face counts alike.",
    ]
    page = sheet(result.faces, result.maps, captions, heading, look, "% of the map a pixel", dark=charts.is_dark())
    st.image(page, width="content", output_format="PNG")
    download("This picture as PNG", page, f"{result.run}-{result.epoch}-{method}-averages.png")
