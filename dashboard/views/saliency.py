"""Saliency: which pixels an answer rests on, how that came to be, and how far such a map can be trusted."""

from functools import partial

import numpy as np
import streamlit as st

from dashboard import charts, maps, state, state_explain, trust_panel, widgets
from fer_core.explain.attribution import METHODS
from fer_core.explain.checks import rank_correlation
from fer_core.explain.pictures import enlarged, sheet
from fer_core.labels import EMOTIONS, UNLABELLED

SHOWN = ["One face", "Sheet", "Epochs", "Two checkpoints", "Averages", "Regions"]
ON_SHEET = 16

st.title("Saliency")
chosen = widgets.require_checkpoint()

# -- choose ----------------------------------------------------------------------------------------

with st.container(horizontal=True, vertical_alignment="bottom"):
    shown = st.segmented_control(
        "Show", SHOWN, default=SHOWN[0], required=True, key="show", bind="query-params", label_visibility="collapsed"
    )
    split = widgets.choose_split()
    if shown != "Regions":
        look_chosen = maps.choose_look()
part = state.split(split)
said = state.predictions(chosen, split)
if shown != "Regions":
    with st.container(horizontal=True, vertical_alignment="bottom"):
        methods = maps.choose_methods()
        method, *others = methods
        target = maps.choose_target(has_labels=bool((part.emotions != UNLABELLED).any()))
        layer = maps.choose_layer(chosen, methods if shown == "One face" else [method])
    if others and shown != "One face":
        st.caption(f"Drawn is the first, {METHODS[method].title}; One face shows several.")
    look = maps.look_for(method, look_chosen)
demo = f" {widgets.DEMO_NOTE}" if part.is_demo else ""
on_faces = f"{part.name}{' (rendered)' if part.is_demo else ''}, {split}"

# -- one face --------------------------------------------------------------------------------------

if shown == "One face":
    row = maps.choose_face(part, said)
    truth = int(part.emotions[row])
    times = 5 if len(methods) < 3 else 4
    results = [state_explain.attribution(chosen, split, [row], each, target, layer) for each in methods]
    columns = st.columns(len(methods) + 1)
    with columns[0]:
        st.markdown(f"**{part.ids[row]}**")
        st.caption(f"true {EMOTIONS[truth]}" if truth != UNLABELLED else "no label")
        st.image(enlarged(part.images[row], times), width=48 * times, output_format="PNG")
        is_checked = st.toggle(
            "Check these maps",
            key="trust",
            bind="query-params",
            help="How far to trust them: five checks of each, a few seconds each; docs/trust.md says what they mean",
        )
        st.altair_chart(charts.probability_bars(said[row], truth), key="bars")
    for column, result in zip(columns[1:], results, strict=True):
        with column:
            maps.show_result(part.images[row], result, maps.look_for(result.method, look_chosen), times)
    if is_checked:
        checks = [state_explain.trust(chosen, split, row, each, target, layer) for each in methods]
        for column, check in zip(columns[1:], checks, strict=True):
            with column:
                trust_panel.show_badge(check)
        trust_panel.show_checks(checks)

# -- sheet of faces --------------------------------------------------------------------------------

if shown == "Sheet":
    row = maps.choose_face(part, said)
    rows = list(range(row, min(row + ON_SHEET, len(part))))
    result = state_explain.attribution(chosen, split, rows, method, target, layer)
    heading = [
        f"{result.title} of {result.run}:{result.epoch}",
        f"{on_faces}: {len(rows)} faces from {part.ids[row]} on. {METHODS[method].sentence}",
    ]
    captions = [
        maps.sheet_caption(part, each, result.probabilities[i], result.targets[i]) for i, each in enumerate(rows)
    ]
    page = partial(sheet, part.images[rows], result.maps, captions, heading, look, result.unit, beside=True)
    st.image(page(times=2, dark=charts.is_dark()), width="content", output_format="PNG")
    maps.download("This sheet as PNG", page(), f"{chosen.run.name}-{chosen.epoch}-{method}.png")

# -- film over epochs ------------------------------------------------------------------------------

if shown == "Epochs":
    row = maps.choose_face(part, said)
    film = state_explain.map_film(chosen.run, split, row, method, target, layer)
    maps.show_film(film, look, int(part.emotions[row]), chosen.epoch)
    maps.offer_film(film, look, f"{film.run}-{part.ids[row]}-{method}")

# -- two checkpoints -------------------------------------------------------------------------------

if shown == "Two checkpoints":
    row = maps.choose_face(part, said)
    with st.container(width=300):
        before = widgets.choose_other(chosen)
    its_layer = layer if layer in state_explain.conv_layers(before) else ""  # its last, where it is another network
    pair = [
        state_explain.attribution(each, split, [row], method, target, at)
        for each, at in ((before, its_layer), (chosen, layer))
    ]
    maps.show_pair(part, row, pair, look)
    likeness = rank_correlation(np.abs(pair[0].maps[0]), np.abs(pair[1].maps[0]))
    st.caption(f"One scale for both. Rank correlation of the two maps' absolute values: {likeness:.2f}.")

# -- averages --------------------------------------------------------------------------------------

if shown == "Averages":
    maps.show_averages(chosen, split, said, method, target, layer, look)

# -- regions ---------------------------------------------------------------------------------------

if shown == "Regions":
    maps.show_regions(chosen, split)

what = f"All kept epochs of {chosen.run.name}" if shown == "Epochs" else str(chosen)
st.caption(f"{what} on {on_faces}.{demo}")
