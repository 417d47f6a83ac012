"""The photo way of the Try it page: every face of a photo, what the checkpoint says of it, and where it looked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image, ImageOps

from dashboard import charts, drift_panel, maps, state, state_try, widgets
from dashboard.gallery import Tile, gallery
from dashboard.progress import progress
from dashboard.state_try import Source
from fer_core.errors import DataError
from fer_core.explain.attribution import METHODS
from fer_core.explain.pictures import DARK_INK, INK, Look, color_bar, enlarged, overlay, part_of, scale_of
from fer_core.labels import COLORS, EMOTIONS
from fer_core.photo_reading import FoundFaces, face_table, marked_photo

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from dashboard.state import Choice
    from fer_core.explain.attribution import Attribution
    from fer_core.inference import Prediction

FILES = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"]
THUMBNAIL = 72  # pixels a side
FEW = 12  # faces that are shown at twice their size below the photo
NOTHING = "Nothing"


def show(chosen: Choice) -> None:
    """From the photos to the table of all their faces."""
    upload, camera, strip = st.columns([0.4, 0.17, 0.43], vertical_alignment="center")
    own = _choose_own(upload, camera)
    readable = _find_all(own)
    sources = [source for source in own if source.name in readable] + state_try.portraits()
    source = _chosen_source(sources, own)
    with strip:
        _show_strip(sources, source)
    faces = state_try.found(source)
    for notice in faces.notices:
        st.caption(f":material/info: {notice}")
    if faces.faces:
        _show_faces(chosen, source, faces)
    else:
        st.info(
            f"No face was found in {source.name}. The detector looks for faces seen from the front or half turned, at "
            "least some 16 pixels high: try a photo that is closer, lighter or upright.",
            icon=":material/face_retouching_off:",
        )
        st.image(Image.fromarray(faces.shown), output_format="PNG")
    shown = [each for each in sources if not each.is_portrait] or [source]
    _show_table(chosen, [state_try.found(each) for each in shown])


# -- the photos ------------------------------------------------------------------------------------


def _choose_own(upload: DeltaGenerator, camera: DeltaGenerator) -> list[Source]:
    """The person's own photos, from files and from the camera."""
    files = upload.file_uploader(
        "Your photos", type=FILES, accept_multiple_files=True, key="photos", label_visibility="collapsed"
    )
    taking = camera.toggle("Take a photo", key="camera", help="With this device's camera, which is on while this is")
    shot = st.camera_input("Take a photo", key="shot", label_visibility="collapsed", width=520) if taking else None
    sources = [Source("camera.jpg", shot.getvalue())] if shot else []
    for file in files:
        names = {source.name for source in sources}
        sources.append(Source(_unused(file.name, names), file.getvalue()))
    return sources


def _unused(name: str, names: set[str]) -> str:
    """A name that no other photo has, nor a portrait: "face.jpg", "face.jpg (2)"."""
    taken, number = names | {each.name for each in state_try.portraits()}, 1
    while (wanted := name if number == 1 else f"{name} ({number})") in taken:
        number += 1
    return wanted


def _find_all(own: list[Source]) -> dict[str, FoundFaces]:
    """The faces of all own photos by name; what cannot be read is said and left out. Shows progress."""
    result = {}
    with progress("Looking for faces") as report:
        for i, source in enumerate(own):
            try:
                result[source.name] = state_try.found(source)
            except DataError as error:
                st.error(str(error), icon=":material/broken_image:")
            report((i + 1) / len(own))
    return result


def _chosen_source(sources: list[Source], own: list[Source]) -> Source:
    """The photo in the URL; one that has just come goes before it, and the first is shown where there is none."""
    new = [source for source in state_try.newcomers(own) if source in sources]
    if new:
        _open(new[0].name)
    name = state.parameter("photo")
    if name and name not in [source.name for source in sources]:
        st.warning(f"There is no photo '{name}' here any more; {sources[0].name} is shown.", icon=":material/warning:")
    return next((source for source in sources if source.name == name), sources[0])


def _open(name: str) -> None:
    state.set_parameter("photo", name)
    state.set_parameter("number", None)


def _show_strip(sources: list[Source], chosen: Source) -> None:
    """All photos small, own ones first; a click opens one."""
    pictures = [Image.fromarray(state_try.found(source).shown) for source in sources]
    size = (THUMBNAIL, THUMBNAIL)
    small = np.stack([np.asarray(ImageOps.fit(picture, size, Image.Resampling.BOX)) for picture in pictures])
    tiles = [Tile(source.name, _title(source)) for source in sources]
    gallery(small, tiles, "photo strip", _open, chosen=chosen.name, times=1)


def _title(source: Source) -> str:
    return f"{source.name}{' (rendered portrait: this person does not exist)' if source.is_portrait else ''}"


# -- the faces of one photo ------------------------------------------------------------------------


def _show_faces(chosen: Choice, source: Source, faces: FoundFaces) -> None:
    left, right = st.columns([0.62, 0.38], gap="medium")
    prediction = state_try.said(chosen, faces)
    number = _chosen_number(len(faces.faces))
    with left:
        place = st.container()
        result, look = _explain(chosen, faces)
    parts = None if result is None else part_of(result.maps, look.sign)
    scale = 1.0 if parts is None else scale_of(parts)
    picture = Image.fromarray(marked_photo(faces, prediction.believed, number, parts, look, scale))
    with place:
        st.image(picture, output_format="PNG")
        st.caption(_photo_caption(source, faces, result))
        if len(faces.faces) > 1:
            _show_crops(faces, prediction.believed, number)
    with left:
        maps.download("This photo as PNG", picture, f"{source.name.rpartition('.')[0]}-{chosen.run.name}.png")
    with right:
        _show_face(chosen, faces, prediction, number, result, look, scale)
        drifts = state_try.drift(chosen, faces.crops, faces.faces)
        drift_panel.show(chosen, drifts[number] if drifts else None)


def _chosen_number(count: int) -> int:
    """The face that was clicked, from 0; the first where none was."""
    text = state.parameter("number") or ""
    return int(text) - 1 if text.isdecimal() and 0 < int(text) <= count else 0


def _explain(chosen: Choice, faces: FoundFaces) -> tuple[Attribution | None, Look]:
    """The maps of all faces by the method that is chosen, None for none, and how to draw them."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        titles = {method.title: key for key, method in METHODS.items()}
        title = st.selectbox(
            "Where it looked",
            [NOTHING, *titles],
            index=1 + list(titles).index("Grad-CAM"),
            key="method",
            bind="query-params",
            width=170,
            help="\n".join(f"- **{method.title}**: {method.sentence}" for method in METHODS.values()),
        )
        if title == NOTHING:
            return None, Look()
        method = titles[str(title)]
        target = maps.choose_target(has_labels=False)
        layer = maps.choose_layer(chosen, [method])
        look = maps.look_for(method, maps.choose_look())
    return state_try.explained(chosen, faces, method, target, layer), look


def _photo_caption(source: Source, faces: FoundFaces, result: Attribution | None) -> str:
    count = len(faces.faces)
    told = f"{source.name}{' (rendered)' if source.is_portrait else ''}: {count} {'face' if count == 1 else 'faces'}."
    return told if result is None else f"{told} Over them {result.title}, in {result.unit}, on one scale."


def _show_crops(faces: FoundFaces, said: np.ndarray, number: int) -> None:
    """Every face as the network sees it, numbered; a click shows it beside the photo."""
    few = len(said) <= FEW
    tiles = []
    for i, row in enumerate(said):
        name, share = EMOTIONS[int(row.argmax())], float(row.max())
        text = f"{i + 1} {name}" if few else str(i + 1)
        tiles.append(Tile(str(i + 1), f"Face {i + 1}: {name} ({100 * share:.0f}%)", text, COLORS[name], "", share))

    def clicked(tile: str) -> None:
        state.set_parameter("number", tile)

    gallery(faces.crops, tiles, "crops", clicked, chosen=str(number + 1), times=2 if few else 1)


def _show_face(
    chosen: Choice,
    faces: FoundFaces,
    prediction: Prediction,
    number: int,
    result: Attribution | None,
    look: Look,
    scale: float,
) -> None:
    """One face: its crop, its map, and all probabilities."""
    crop, times = faces.crops[number], 3
    st.markdown(f"**Face {number + 1} of {len(faces.crops)}, as {chosen} sees it**")
    with st.container(horizontal=True):
        st.image(enlarged(crop, times), width=48 * times, output_format="PNG")
        if result is not None:
            shown = part_of(result.maps[number], look.sign)
            st.image(overlay(crop, shown, look, scale, times), width=48 * times, output_format="PNG")
    if result is not None:
        ink = DARK_INK if charts.is_dark() else INK
        st.image(color_bar(look, scale, result.unit, 288, ink), width=288, output_format="PNG")
    st.altair_chart(charts.probability_bars(prediction.believed[number]), key="bars")
    st.caption(_what_they_are(chosen, prediction))


def _what_they_are(chosen: Choice, prediction: Prediction) -> str:
    if prediction.temperature is None:
        return f"Probabilities of {chosen} as they are: not calibrated, such a network is often surer than it is right."
    return f"Probabilities of {chosen}, calibrated at temperature {prediction.temperature:.3g}."


# -- the table -------------------------------------------------------------------------------------


def _show_table(chosen: Choice, photos: list[FoundFaces]) -> None:
    """All faces of all own photos, or of the portrait that is shown."""
    tables = [face_table(faces, state_try.said(chosen, faces).believed) for faces in photos]
    table = pd.concat(tables, ignore_index=True)
    if table.empty:
        return
    table = table.assign(checkpoint=str(chosen), calibrated=state_try.said(chosen, photos[0]).temperature is not None)
    st.subheader("All faces")
    st.dataframe(
        table,
        hide_index=True,
        column_config={name: st.column_config.NumberColumn(format="percent", width=78) for name in EMOTIONS},
    )
    st.download_button(
        "These faces as CSV",
        lambda: table.to_csv(index=False),
        f"faces-{chosen.run.name}-{chosen.epoch}.csv",
        icon=":material/download:",
        on_click="ignore",
    )
    if any(faces.name in {each.name for each in state_try.portraits()} for faces in photos):
        st.caption(widgets.DEMO_NOTE)
