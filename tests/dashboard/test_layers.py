"""Layers: each view against the core's own results, and nothing computed that is not looked at."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_core.data import FaceDataset
from fer_core.explain import layers as layers_module
from fer_core.explain import maximisation, pixel_weights, top_faces
from fer_core.explain.features import feature_maps, kernel_tiles, kernels, marked
from fer_core.explain.layers import conv_layers
from fer_core.explain.maximisation import Ascent, maximise, to_pixels
from fer_core.explain.top_faces import measure
from fer_core.labels import EMOTIONS
from fer_core.runs import Checkpoint, Run

EPOCH = 3
VIEWS = ("Feature maps", "What excites it", "Top faces", "By emotion", "Over epochs", "Kernels")


@pytest.fixture
def checkpoint(own_runs: Path) -> Checkpoint:
    return Run(own_runs / "own").load_checkpoint(EPOCH)


@pytest.fixture
def validation(own_faces: FaceDataset) -> FaceDataset:
    return own_faces.split("validation")


@pytest.fixture
def page(open_page: Any, own_runs: Path, own_data: Path) -> Callable[..., Any]:
    return lambda **query: open_page("layers", own_runs, own_data, **{"checkpoint": f"own:{EPOCH}"} | query)


def tiles_of(gallery: dict[str, Any], decoded: Any) -> np.ndarray:
    """The pictures of a gallery, at the size in which it was sent them."""
    sheet, count = decoded(gallery["sprite"]), len(gallery["tiles"])
    width, columns = sheet.shape[1] // gallery["columns"], gallery["columns"]
    height = gallery["height"] * width // gallery["width"]
    return np.stack([sheet[i // columns * height :][:height, i % columns * width :][:, :width] for i in range(count)])


# -- all views -------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("layer", ["conv1", "res2.1"])
def test_every_view_is_a_link(page: Any, view: str, layer: str) -> None:
    shown = page(view=view, layer=layer, channel=2, face="validation-00005", climb="on")
    assert shown.title == "Layers"
    assert shown.says("error") == shown.says("warning") == []
    assert shown.app.selectbox(key="layer").value == layer
    assert shown.app.number_input(key="channel").value == 2
    assert shown.app.number_input(key="face number").value == 6
    assert any(text.startswith("validation-00005, true ") for text in shown.texts)
    assert any(text.startswith("Channel 2: mean activation") for text in shown.texts)


def test_the_layer_is_told_in_words(page: Any, checkpoint: Checkpoint) -> None:
    (told,) = [text for text in page(layer="conv2").texts if text.startswith("**conv2**")]
    layer = conv_layers(checkpoint.model)["conv2"]
    assert told == (
        f"**conv2** of own:3: {layer.channels} channels of 9 x 9 units, kernel 5 x 5, stride 1. A unit sees 24 x 24 "
        f"pixels of the face, the one beside it as many, 4 further. So it can tell {layer.hint}."
    )


def test_the_menu_holds_the_layers_of_the_network(page: Any, checkpoint: Checkpoint) -> None:
    shown = page()
    assert list(shown.app.selectbox(key="layer").options) == list(conv_layers(checkpoint.model))


def test_a_layer_of_another_network_in_the_url(open_page: Any, shipped: Path) -> None:
    shown = open_page("layers", shipped, checkpoint="report-cnn:50", layer="res2.1")
    assert shown.says("error") == []
    assert shown.app.selectbox(key="layer").value == "conv1"


def test_a_narrower_layer_has_fewer_channels(page: Any) -> None:
    shown = page(layer="res2.1", channel=7)
    shown.app.selectbox(key="layer").set_value("conv1")
    shown.run()
    assert shown.says("error") == []
    assert shown.app.number_input(key="channel").value == 0
    assert page(layer="conv1", channel=7).app.number_input(key="channel").value == 0


@pytest.mark.parametrize("channel", ["-1", "many", "99999"])
def test_a_channel_in_the_url_that_is_none(page: Any, channel: str) -> None:
    assert page(channel=channel).app.number_input(key="channel").value == 0


def test_stepping_through_the_faces(page: Any, validation: FaceDataset) -> None:
    shown = page()
    shown.app.number_input(key="face number").set_value(12)
    shown.run()
    assert shown.query["face"] == validation.ids[11]
    assert any(text.startswith(f"{validation.ids[11]}, true ") for text in shown.texts)


def test_a_face_that_is_not_there(page: Any) -> None:
    shown = page(face="validation-99999")
    (warning,) = shown.says("warning")
    assert warning == ("There is no face 'validation-99999' in this split of fer2013.csv; the first is shown.")
    assert any(text.startswith("validation-00000, true") for text in shown.texts)


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_not_looked_at_is_not_computed(page: Any, view: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def note(module: Any, name: str) -> None:
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, **more: (ran.append(name), real(*args, **more))[1])

    note(top_faces, "top_faces")
    note(pixel_weights, "pixel_weights")
    note(maximisation, "film")
    note(maximisation, "maximise")
    # A channel and a split of which no other test asks: the dashboard remembers what it has computed.
    page(view=view, layer="res1.1", channel=3, split="Test", checkpoint="own:1")
    expected = {"Top faces": {"top_faces"}, "By emotion": {"pixel_weights", "top_faces"}, "Over epochs": {"film"}}
    assert set(ran) - {"maximise"} <= expected.get(view, set())
    if view in ("Feature maps", "What excites it", "Kernels"):
        assert ran == []


def test_the_network_keeps_no_hook(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    models: list[Any] = []
    real = layers_module._known
    monkeypatch.setattr(layers_module, "_known", lambda model: (models.append(model), real(model))[1])
    page(view="Feature maps", layer="res1.0", channel=1, face="validation-00031")
    page(view="What excites it", layer="res1.0", channel=1, climb="on", **{"climb seed": 77})
    assert models
    for model in models:
        assert all(not module._forward_hooks and not module.training for module in model.modules())


def test_a_split_without_labels(open_page: Any, own_runs: Path, own_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    pixels = [line.split(",")[1] for line in own_data.read_text().splitlines()[1:31]]
    path.write_text("\n".join(["pixels", *pixels, ""]))
    shown = open_page("layers", own_runs, path, view="By emotion")
    assert shown.says("info") == ["The test split of test.csv has no labels."]
    shown = open_page("layers", own_runs, path, view="Top faces")
    assert {tile["text"] for tile in shown.gallery()["tiles"]} == {"no label"}
    assert "These faces have no labels, so there is nothing to compare by emotion." in shown.texts


@pytest.mark.parametrize("dark", [False, True])
def test_light_and_dark(open_page: Any, own_runs: Path, own_data: Path, dark: bool) -> None:
    shown = open_page("layers", own_runs, own_data, dark=dark, view="Top faces")
    spec = str(shown.chart("emotion", "mean")[0])
    assert ("#F0F0F0" in spec, "#31333F" in spec) == (dark, not dark)


# -- feature maps ----------------------------------------------------------------------------------


@pytest.mark.parametrize("common", [False, True])
def test_feature_maps_most_active_first(
    page: Any, checkpoint: Checkpoint, validation: FaceDataset, decoded: Any, common: bool
) -> None:
    shown = page(layer="res1.1", channel=1, face=validation.ids[9], **({"common": "true"} if common else {}))
    expected = feature_maps(checkpoint, validation.images[9:10], "res1.1")
    gallery = shown.gallery()
    assert [int(tile["id"]) for tile in gallery["tiles"]] == expected.order[0].tolist()
    assert gallery["chosen"] == "1"
    shares = [tile["share"] for tile in gallery["tiles"]]
    np.testing.assert_allclose(shares, np.sort(expected.means[0])[::-1] / expected.means.max(), rtol=1e-3)
    times = gallery["width"] // 22
    assert gallery["width"] == gallery["height"] == 22 * times
    pictures = tiles_of(gallery, decoded)
    assert abs(pictures[:, ::times, ::times].astype(int) - expected.tiles(0, common)).max() <= 4
    assert (pictures[:, ::times] == pictures[:, times - 1 :: times]).all()


# -- what excites it -------------------------------------------------------------------------------


def test_nothing_climbs_before_the_button(page: Any, checkpoint: Checkpoint, decoded: Any) -> None:
    shown = page(view="What excites it", layer="conv2", channel=3, aim="All channels", **{"climb seed": 5})
    assert shown.app.get("bidi_component") == []
    (info,) = shown.says("info")
    assert info.startswith("Gradient ascent")
    shown.click("Climb")
    assert shown.query["climb"] == "on"
    gallery = shown.gallery()
    expected = maximise(checkpoint, "conv2", ascent=Ascent(steps=64, seed=5))
    assert [tile["id"] for tile in gallery["tiles"]] == [str(c) for c in range(8)]
    assert abs(tiles_of(gallery, decoded).astype(int) - to_pixels(expected.images)).mean() < 1
    assert any("64 steps, fourier, seed 5, by own:3" in text for text in shown.texts)
    assert "The sheet" in [each.label for each in shown.app.get("download_button")]


@pytest.mark.parametrize("aim", ["Channel", "Layer"])
def test_a_climb_from_the_face(page: Any, checkpoint: Checkpoint, validation: FaceDataset, aim: str) -> None:
    shown = page(
        view="What excites it", layer="conv2", channel=3, aim=aim, start="The face", climb="on", face=validation.ids[4]
    )
    channel = 3 if aim == "Channel" else maximisation.WHOLE_LAYER
    expected = maximise(checkpoint, "conv2", [channel], validation.images[4:5], Ascent(steps=24))
    _, curve = shown.chart("step", "value")
    np.testing.assert_allclose(curve["value"], expected.values[:, 0], rtol=0.02, atol=1e-3)
    assert "Start" in shown.texts
    assert "After 24 steps, fourier, seed 0, by own:3" in shown.texts


# -- top faces -------------------------------------------------------------------------------------


@pytest.mark.parametrize("emotion", [None, "Happy"])
@pytest.mark.parametrize("of", ["Channel", "Layer"])
def test_top_faces_with_their_patch(
    page: Any, checkpoint: Checkpoint, validation: FaceDataset, decoded: Any, of: str, emotion: str | None
) -> None:
    more = {} if emotion is None else {"top of": emotion}
    shown = page(view="Top faces", layer="conv2", channel=5, of=of, **more)
    activity = measure(checkpoint, validation)["conv2"]
    which = 5 if of == "Channel" else top_faces.WHOLE_LAYER
    expected = activity.top(which, None if emotion is None else EMOTIONS.index(emotion))
    gallery = shown.gallery()
    assert [tile["id"] for tile in gallery["tiles"]] == [validation.ids[face.row] for face in expected]
    pictures = tiles_of(gallery, decoded)
    for tile, picture, face in zip(gallery["tiles"], pictures, expected, strict=True):
        np.testing.assert_array_equal(picture, marked(validation.images[face.row], face.box, 2))
        assert tile["text"] == EMOTIONS[validation.emotions[face.row]]
        assert tile["share"] == pytest.approx(face.activation / expected[0].activation, rel=1e-3)
    _, bars = shown.chart("emotion", "mean")
    np.testing.assert_allclose(bars["mean"], activity.means[which], rtol=1e-3)
    (told,) = [text for text in shown.texts if text.startswith("Selectivity of")]
    assert f"**{activity.selectivity[which]:.2f}**" in told
    assert any("own:3 on fer2013.csv, validation, n = 70" in text for text in shown.texts)


def test_demo_faces_are_said_to_be_rendered(open_page: Any, own_runs: Path) -> None:
    shown = open_page("layers", own_runs, view="Top faces")
    assert any("on Demo faces (rendered), validation, n = " in text for text in shown.texts)


# -- by emotion ------------------------------------------------------------------------------------


def test_selectivity_of_each_channel(page: Any, checkpoint: Checkpoint, validation: FaceDataset) -> None:
    shown = page(view="By emotion", layer="res2.0")
    activity = measure(checkpoint, validation)["res2.0"]
    table = shown.app.dataframe[0].value
    np.testing.assert_allclose(table["Selectivity"], np.sort(activity.selectivity[:-1])[::-1], atol=1e-4)
    for _, line in table.iterrows():
        channel = line["Channel"]
        assert line["Prefers"] == EMOTIONS[activity.preferred[channel]]
        np.testing.assert_allclose(line[list(EMOTIONS)].astype(float), activity.means[channel], atol=1e-4)
    expected = pixel_weights.pixel_weights(checkpoint, "res2.0", validation)
    first = ", ".join(EMOTIONS[i] for i in expected.order[:3])
    assert f"{first} activate res2.0 most. After figure 8 of the report." in shown.texts


# -- over epochs, kernels --------------------------------------------------------------------------


def test_a_film_over_the_epochs(page: Any, own_runs: Path, decoded: Any) -> None:
    shown = page(view="Over epochs", layer="res2.1", channel=2)
    gallery = shown.gallery()
    assert [tile["id"] for tile in gallery["tiles"]] == ["1", "2", "3"]
    assert gallery["chosen"] == "3"
    expected = maximisation.film(Run(own_runs / "own"), "res2.1", 2)
    assert abs(tiles_of(gallery, decoded).astype(int) - to_pixels(expected.images)).mean() < 1
    assert "The film" in [each.label for each in shown.app.get("download_button")]


def test_kernels_of_the_first_layer(page: Any, checkpoint: Checkpoint, decoded: Any) -> None:
    gallery = page(view="Kernels", layer="conv1").gallery()
    weights = kernels(checkpoint.model, "conv1")
    assert weights is not None
    pictures = tiles_of(gallery, decoded)
    times = gallery["width"] // 5
    np.testing.assert_array_equal(pictures[:, ::times, ::times], kernel_tiles(weights))


def test_kernels_of_a_later_layer_are_no_pictures(page: Any) -> None:
    shown = page(view="Kernels", layer="conv2")
    assert shown.says("info") == ["Each kernel of conv2 spans all channels of the layer before and is no picture."]
    shown.click("Show those of conv1")
    assert shown.app.selectbox(key="layer").value == "conv1"
    assert len(shown.gallery()["tiles"]) == 4


# -- what is missing or broken ---------------------------------------------------------------------


def test_no_runs(open_page: Any, tmp_path: Path) -> None:
    shown = open_page("layers", tmp_path / "runs")
    assert shown.title == "Layers"
    (info,) = shown.says("info")
    assert info.startswith("No run has kept a checkpoint yet.")
    assert shown.links() == ["Go to Training"]


@pytest.mark.parametrize("view", VIEWS)
def test_a_broken_checkpoint_is_named_and_the_others_go_on(open_page: Any, runs: Path, view: str) -> None:
    broken = Run(runs / "own").checkpoint_path(2)
    broken.write_bytes(broken.read_bytes()[:-1000])
    shown = open_page("layers", runs, checkpoint="own:2", view=view)
    (error,) = shown.says("error")
    assert str(broken) in error
    shown.app.selectbox(key="checkpoint").set_value("own:3")
    shown.run()
    assert shown.says("error") == []
    if view == "Over epochs":
        assert shown.tile_ids() == ["1", "3"]


def test_a_checkpoint_trained_anew_meanwhile(open_page: Any, runs: Path, own_data: Path) -> None:
    """What was computed for the old weights is not shown for the new ones."""
    shown = open_page("layers", runs, own_data, checkpoint="own:3", view="Top faces", layer="conv1")
    before = [tile["title"] for tile in shown.gallery()["tiles"]]
    path = Run(runs / "own").checkpoint_path(3)
    shutil.copyfile(Run(runs / "own").checkpoint_path(1), path)
    shown.run()
    after = [tile["title"] for tile in shown.gallery()["tiles"]]
    assert after != before
    other = open_page("layers", runs, own_data, checkpoint="own:1", view="Top faces", layer="conv1")
    assert after == [tile["title"] for tile in other.gallery()["tiles"]]


def test_faces_that_cannot_be_read(open_page: Any, own_runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    path.write_text("emotion,pixels\n0,1 2 3\n")
    shown = open_page("layers", own_runs, path, view="Top faces")
    (error,) = shown.says("error")
    assert error.endswith("The demo faces are shown instead.")
    assert any("Demo faces (rendered)" in text for text in shown.texts)
