"""Layers: what each filter answers to, on one face, in pictures made for it, and among all faces of the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from dashboard import charts, state, state_explain, widgets
from dashboard.gallery import Tile, gallery
from fer_core.explain.pictures import enlarged, png
from fer_core.labels import COLORS, EMOTIONS, UNLABELLED

if TYPE_CHECKING:
    from fer_core.data import FaceDataset
    from fer_core.explain.layers import ConvLayer

VIEWS = ("Feature maps", "What excites it", "Top faces", "By emotion", "Over epochs", "Kernels")
STEPS = {"Noise": 64, "The face": 24}  # from a face as far as it can still be seen
SIDE = 192  # pixels of what is shown large
SELECTIVITY = (
    "(a - b) / (a + b), where a is the mean activation for the emotion that excites it most and b the mean over the "
    "others: 0 answers to all alike, 1 to one emotion only (Morcos et al. 2018)"
)


def choose_layer(layers: dict[str, ConvLayer]) -> ConvLayer:
    if state.get("layer") not in layers:
        state.forget("layer")  # of another network
    name = st.selectbox("Layer", list(layers), key="layer", bind="query-params", width=130)
    return layers[name]


def choose_channel(layer: ConvLayer) -> int:
    if state.get("channel", 0) >= layer.channels:
        state.put("channel", 0)  # of a wider layer
    label = f"Channel of {layer.channels}"
    return int(st.number_input(label, 0, layer.channels - 1, key="channel", bind="query-params", width=140))


def choose_face(part: FaceDataset) -> int:
    """The row of the face in the URL, the first where there is none; stepping on puts another there."""
    row = widgets.opened_row(part) or 0
    state.put("face number", row + 1)

    def moved() -> None:
        widgets.open_face(str(part.ids[state.get("face number") - 1]))

    st.number_input(f"Face of {len(part):,}", 1, len(part), key="face number", on_change=moved, width=150)
    return row


def pick_channel(text: str) -> None:
    state.put("channel", int(text))


def large(values: np.ndarray) -> int:
    """By how many pixels a value is to be shown to come near `SIDE`."""
    return max(1, SIDE // int(values.shape[-1]))


def small(layer: ConvLayer, width: int) -> int:
    """The same for one of a layer's tiles: few channels have room, of many all should be seen at once."""
    return max(1, (88 if layer.channels <= 32 else 56) // width)


def squares(tiles: np.ndarray, times: int) -> np.ndarray:
    """Each value a square: a browser that enlarges would blur them."""
    return tiles.repeat(times, axis=1).repeat(times, axis=2)


def by(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))


def faces_of(data: str) -> str:
    """What a number is of, in words."""
    return f"{data}{' (rendered)' if part.is_demo else ''}, {split}, n = {len(part):,}"


def download(label: str, picture: Callable[[], np.ndarray], name: str) -> None:
    """The picture is made when it is asked for."""
    st.download_button(
        label, lambda: png(Image.fromarray(picture())), name, icon=":material/download:", on_click="ignore"
    )


st.title("Layers")
chosen = widgets.require_checkpoint()
with st.spinner("Loading the network", show_time=True):  # torch takes seconds to import
    from fer_core.explain.features import kernel_tiles, marked, sheet
    from fer_core.explain.maximisation import REGULARISERS, WHOLE_LAYER, Ascent, to_pixels
    from fer_core.explain.top_faces import KEPT_FACES

    layers = state_explain.conv_layers(chosen)

# -- choose ----------------------------------------------------------------------------------------

with st.container(horizontal=True):
    layer = choose_layer(layers)
    channel = choose_channel(layer)
    split = widgets.choose_split()
    part = state.split(split)
    row = choose_face(part)
widgets.warn_of_missing_face(part, "the first is shown")
view = st.segmented_control(
    "View", VIEWS, default=VIEWS[0], required=True, key="view", bind="query-params", label_visibility="collapsed"
)
st.caption(
    f"**{layer.name}** of {chosen}: {layer.channels} channels of {by(layer.shape[1:])} units, kernel "
    f"{by(layer.kernel)}, stride {layer.stride[1]}. A unit sees {by(layer.response.size)} pixels of the face, the one "
    f"beside it as many, {layer.response.jump[1]} further. So it can tell {layer.hint}."
)
left, right = st.columns([0.26, 0.74], gap="medium")
stem = f"{chosen.run.name}-{chosen.epoch}-{layer.name}"

# -- the face --------------------------------------------------------------------------------------

maps = state_explain.feature_maps(chosen, layer.name, part, row)
activation = float(maps.means[0, channel])
unit = maps.strongest(0, channel) if activation > 0 else (layer.shape[1] // 2, layer.shape[2] // 2)
with left:
    st.image(marked(part.images[row], layer.response.box(*unit), SIDE // 48), width=SIDE, output_format="PNG")
    truth = int(part.emotions[row])
    named = "no label" if truth == UNLABELLED else f"true {EMOTIONS[truth]}"
    st.caption(f"{part.ids[row]}, {named}")
    st.caption(
        f"Channel {channel}: mean activation {activation:.3g}",
        help="Framed is what the most active unit of this channel sees, or the middle one where the channel is silent.",
    )

# -- views -----------------------------------------------------------------------------------------


def show_feature_maps() -> None:
    """All channels on this face; one is clicked to be seen large beside it."""
    with right:
        common = st.toggle(
            "One scale for all channels",
            key="common",
            bind="query-params",
            help="Off: each map's brightest colour is its own highest activation. On: that of the whole layer",
        )
        tiles, order, means = maps.tiles(0, common), maps.order[0], maps.means[0]
        times = small(layer, tiles.shape[2])
        highest = float(means.max()) or 1.0
        labels = [
            Tile(str(c), f"Channel {c}: mean activation {mean:.3g}", str(c), "#8A8A8A", share=mean / highest)
            for c, mean in zip(order.tolist(), means[order].tolist(), strict=True)
        ]
        gallery(squares(tiles, times), labels, "maps", pick_channel, str(channel), times=1)
        st.caption("The most active channel first; the bar is its mean activation. Click one to see it large.")
        download("All maps", lambda: maps.picture(0, times, common), f"{stem}-{part.ids[row]}.png".replace("/", "-"))
    with left:
        rank = order.tolist().index(channel)
        shown = tiles[rank]
        st.image(
            enlarged(shown, large(shown[..., 0])), width=large(shown[..., 0]) * shown.shape[1], output_format="PNG"
        )
        st.caption(f"Channel {channel}, number {rank + 1} of {layer.channels} by mean activation on this face")


def show_climbs() -> None:
    """Gradient ascent for this channel, for each channel, or for the layer as a whole; from noise or from the face."""
    with right:
        with st.container(horizontal=True):
            begin = st.segmented_control(
                "Start from", list(STEPS), default="Noise", required=True, key="start", bind="query-params"
            )
            aims = {"Channel": [channel], "All channels": list(range(layer.channels)), "Layer": [WHOLE_LAYER]}
            aim = st.segmented_control(
                "Climb for",
                list(aims),
                default="Channel",
                required=True,
                key="aim",
                bind="query-params",
                help="Layer: the mean square of all its activations, as in DeepDream",
            )
            regulariser = st.selectbox(
                "Regulariser",
                list(REGULARISERS),
                key="regulariser",
                bind="query-params",
                width=120,
                help=". ".join(f"{name}: {text}" for name, text in REGULARISERS.items()),
            )
            seed = st.number_input("Seed", 0, 2**31 - 1, key="climb seed", bind="query-params", width=110)
        if state.parameter("climb") is None:
            st.info(
                "Gradient ascent changes a picture step by step until it excites the filter as much as it can. What "
                "comes out is what the filter looks for.",
                icon=":material/landscape:",
            )
            st.button("Climb", type="primary", on_click=state.set_parameter, args=("climb", "on"))
            return
        ascent = Ascent(steps=STEPS[begin], regulariser=regulariser, seed=int(seed))
        face = part.images[row] if begin == "The face" else None
        result = state_explain.maximised(chosen, layer.name, aims[aim], face, ascent)
        pixels = to_pixels(result.images)
        what = f"{ascent.steps} steps, {ascent.regulariser}, seed {ascent.seed}, by {result.checkpoint}"
        if len(pixels) > 1:
            tiles = [
                Tile(
                    str(c),
                    f"Channel {c}: mean response {result.values[0, i]:.3g} to {result.values[-1, i]:.3g}",
                    str(c),
                )
                for i, c in enumerate(result.channels)
            ]
            gallery(pixels, tiles, "climbs", pick_channel, str(channel), 2 if len(pixels) <= 32 else 1)
            st.caption(f"Each channel of {result.layer} from the same start: {what}. Click one to see it large.")
            download("The sheet", lambda: sheet(pixels, 2), f"{stem}-excites.png")
        else:
            before, after, curve = st.columns(3)
            times = 4
            before.image(enlarged(to_pixels(result.starts[0]), times), width=48 * times)
            before.caption("Start")
            after.image(enlarged(pixels[0], times), width=48 * times)
            after.caption(f"After {what}")
            curve.altair_chart(charts.ascent(result.values[:, 0]), key="ascent", alt="The objective over the steps")
            side_by_side = np.concatenate([to_pixels(result.starts), pixels])
            download("Both pictures", lambda: sheet(side_by_side, 4, 2), f"{stem}-{channel}-excites.png")
    if len(pixels) > 1:
        with left:
            st.image(enlarged(pixels[channel], SIDE // 48), width=SIDE, output_format="PNG")
            st.caption(
                f"Channel {channel}: mean response {result.values[0, channel]:.3g} at the start, "
                f"{result.values[-1, channel]:.3g} at the end"
            )


def show_top_faces() -> None:
    """The faces of the split on which this filter, or the layer, is most active, with the patch that did it."""
    with right:
        with st.container(horizontal=True):
            of = st.segmented_control(
                "Of", ["Channel", "Layer"], default="Channel", required=True, key="of", bind="query-params"
            )
            emotion = st.pills("True emotion", EMOTIONS, key="top of", bind="query-params")
        activity = state_explain.layer_activity(chosen, split)[layer.name]
        which = channel if of == "Channel" else WHOLE_LAYER
        top = activity.top(which, None if emotion is None else EMOTIONS.index(emotion))
        named = f"channel {channel}" if of == "Channel" else "the layer"
        if not top:
            st.info(f"None of these faces activates {named}.", icon=":material/do_not_disturb_on:")
        else:
            pictures = np.stack([marked(part.images[each.row], each.box, 2) for each in top])
            tiles = [top_tile(part, each.row, each.activation, top[0].activation) for each in top]
            gallery(pictures, tiles, "top faces", widgets.open_face, state.parameter("face"), times=1)
            st.caption(
                f"The faces with the highest activation of {named}, at most {KEPT_FACES}, and framed what its most "
                f"active unit sees: {activity.checkpoint} on {faces_of(activity.data)}."
            )
    with left:
        if np.isnan(activity.means[which]).all():
            st.caption("These faces have no labels, so there is nothing to compare by emotion.")
            return
        st.altair_chart(
            charts.activation_by_emotion(activity.means[which], activity.errors[which]),
            key="by emotion",
            alt="Mean activation by emotion",
        )
        index = activity.selectivity[which]
        if not np.isnan(index):
            preferred = activity.preferred[which]
            st.caption(
                f"Selectivity of {named}: **{index:.2f}**" + (f", for {EMOTIONS[preferred]}" if preferred >= 0 else ""),
                help=SELECTIVITY,
            )


def top_tile(part: FaceDataset, row: int, activation: float, highest: float) -> Tile:
    truth = int(part.emotions[row])
    name = EMOTIONS[truth] if truth != UNLABELLED else "no label"
    title = f"{part.ids[row]}: {name}, activation {activation:.3g}"
    return Tile(str(part.ids[row]), title, name, COLORS.get(name, "#8A8A8A"), f"{activation:.2g}", activation / highest)


def show_emotions() -> None:
    """The report's figure 8, and how selective each channel is."""
    if (part.emotions == UNLABELLED).all():
        right.info(f"The {split} split of {part.name} has no labels.", icon=":material/label_off:")
        return
    with right:
        weights = state_explain.pixel_weights(chosen, layer.name, split)
        picture = weights.picture(faces_of(weights.data), charts.is_dark())
        st.image(picture, width=picture.width, output_format="PNG")
        first = ", ".join(EMOTIONS[i] for i in weights.order[:3])
        st.caption(f"{first} activate {weights.layer} most. After figure 8 of the report.")
        download("The picture", lambda: np.asarray(picture), f"{stem}-by-emotion.png")
        st.subheader("How selective each channel is", help=SELECTIVITY)
        activity = state_explain.layer_activity(chosen, split)[layer.name]
        table = pd.DataFrame(activity.means[:-1], columns=list(EMOTIONS)).dropna(axis=1)
        table.insert(0, "Channel", range(layer.channels))
        table.insert(1, "Selectivity", activity.selectivity[:-1])
        table.insert(2, "Prefers", [EMOTIONS[i] if i >= 0 else "" for i in activity.preferred[:-1]])
        table = table.sort_values("Selectivity", ascending=False)
        st.dataframe(table.round(4), hide_index=True, height=320)
        st.caption(f"Mean activation by emotion, {activity.checkpoint} on {faces_of(activity.data)}")
        st.download_button(
            "As CSV",
            lambda: table.to_csv(index=False),
            f"{stem}-selectivity.csv",
            icon=":material/download:",
            on_click="ignore",
        )


def show_epochs() -> None:
    """What excites this channel at each epoch that the run kept."""
    with right:
        film = state_explain.filter_film(chosen.run, layer.name, channel, Ascent())
        if not film.epochs:
            st.info(f"No checkpoint of {film.run} can be loaded.", icon=":material/error:")
            return
        tiles = [
            Tile(str(epoch), f"Epoch {epoch}: mean response {value:.3g}", f"Epoch {epoch}")
            for epoch, value in zip(film.epochs, film.values, strict=True)
        ]
        gallery(
            to_pixels(film.images),
            tiles,
            "epochs",
            lambda epoch: state.choose(f"{film.run}:{epoch}"),
            str(chosen.epoch),
        )
        st.caption(
            f"What excites channel {film.channel} of {film.layer} at each epoch that {film.run} kept: "
            f"{film.ascent.steps} steps from the same noise, seed {film.ascent.seed}. Click one to choose that epoch."
        )
        animation = film.gif(dark=charts.is_dark())
        st.download_button(
            "The film",
            animation,
            f"{film.run}-{film.layer}-{film.channel}.gif",
            icon=":material/download:",
            on_click="ignore",
        )
    with left:
        st.image(animation, width=48 * 4)


def show_kernels() -> None:
    """The weights themselves, where they are pictures."""
    weights = state_explain.kernels(chosen, layer.name)
    with right:
        if weights is None:
            seeing = [name for name in layers if state_explain.kernels(chosen, name) is not None]
            st.info(
                f"Each kernel of {layer.name} spans all channels of the layer before and is no picture.",
                icon=":material/layers:",
            )
            for name in seeing:
                st.button(f"Show those of {name}", on_click=state.put, args=("layer", name))
            return
        tiles = kernel_tiles(weights)
        times = small(layer, tiles.shape[2])
        labels = [
            Tile(str(c), f"Channel {c}: largest weight {np.abs(weights[c]).max():.3g}", str(c))
            for c in range(len(tiles))
        ]
        gallery(squares(tiles, times), labels, "kernels", pick_channel, str(channel), times=1)
        st.caption(
            "Red weights are positive, blue negative, gray is 0; the deepest colour is each kernel's largest weight."
        )
        download("The kernels", lambda: sheet(tiles, 16), f"{stem}-kernels.png")
    with left:
        shown = tiles[channel]
        st.image(
            enlarged(shown, large(shown[..., 0])), width=large(shown[..., 0]) * shown.shape[1], output_format="PNG"
        )
        st.caption(f"Channel {channel}: weights from {weights[channel].min():.3g} to {weights[channel].max():.3g}")


{
    "Feature maps": show_feature_maps,
    "What excites it": show_climbs,
    "Top faces": show_top_faces,
    "By emotion": show_emotions,
    "Over epochs": show_epochs,
    "Kernels": show_kernels,
}[view]()
