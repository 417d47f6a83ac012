"""The Saliency page: what it says is what the core says, in every part of it and in every state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboard.widgets import DEMO_NOTE
from fer_core.config import TrainConfig
from fer_core.data import FaceDataset, demo_faces
from fer_core.explain.attribution import METHODS, attribute
from fer_core.explain.checks import rank_correlation
from fer_core.explain.film import make_film
from fer_core.explain.layers import conv_layers
from fer_core.explain.regions import study_regions
from fer_core.explain.trust import examine
from fer_core.labels import EMOTIONS
from fer_core.runs import Checkpoint, Run, create_run
from fer_core.training import fit, run_info

SHOWN = ["One face", "Sheet", "Epochs", "Two checkpoints", "Averages", "Regions"]


@pytest.fixture(scope="module")
def part(own_faces: FaceDataset) -> FaceDataset:
    return own_faces.split("validation")


@pytest.fixture(scope="module")
def best(own_runs: Path) -> Checkpoint:
    return Run(own_runs / "own").load_checkpoint()


@pytest.fixture
def open_saliency(open_page: Any, own_runs: Path, own_data: Path) -> Any:
    def opened(**query: Any) -> Any:
        page = open_page("saliency", own_runs, own_data, **query)
        assert page.title == "Saliency"
        return page

    return opened


def titles(page: Any) -> list[str]:
    """Of the maps on the page: "Saliency for Happy"."""
    pairs = zip(page.texts, page.texts[1:], strict=False)
    return [f"{title.strip('*')} {target}" for title, target in pairs if target.startswith("for ")]


def downloads(page: Any) -> list[str]:
    return [button.proto.label for button in page.app.get("download_button")]


# -- one face --------------------------------------------------------------------------------------


def test_the_first_face_is_explained_at_once(open_saliency: Any, part: FaceDataset, best: Checkpoint) -> None:
    page = open_saliency()
    assert page.says("error") == []
    results = [attribute(best, part.images[:1], method) for method in ("saliency", "grad-cam", "occlusion")]
    nothing_for = not (results[1].maps > 0).any()  # published Grad-CAM draws what speaks for the emotion only
    assert [text.partition(":")[0] for text in page.says("warning")] == [
        f"No pixel speaks for {results[1].targets[0]} here"
    ] * nothing_for
    assert titles(page) == [f"{result.title} for {result.targets[0]}" for result in results]
    assert len(page.app.get("image")) == 1 + 2 * 3  # the face, and for each method a map and its colour bar
    _, bars = page.chart("emotion", "probability")
    np.testing.assert_allclose(bars["probability"], results[0].probabilities[0], atol=2e-3)  # stored as float16
    chosen = next(tile for tile in page.gallery()["tiles"] if tile["id"] == page.gallery()["chosen"])
    assert chosen["id"] == part.ids[0]
    assert f"own:{best.epoch} on " in page.texts[-1]


def test_what_was_chosen_stands_in_the_url_and_comes_back(open_saliency: Any, part: FaceDataset) -> None:
    face = str(part.ids[20])
    page = open_saliency(face=face, methods="Integrated Gradients", target="Fear", minus="Surprise")
    assert titles(page) == ["Integrated Gradients for Fear minus Surprise"]
    assert f"**{face}**" in page.texts
    assert page.gallery()["chosen"] == face
    assert page.tile_ids() == part.ids[16:32].tolist()


def test_a_face_is_chosen_in_the_strip_and_beyond_it(open_saliency: Any, part: FaceDataset) -> None:
    page = open_saliency(methods="Saliency")
    assert page.tile_ids() == part.ids[:16].tolist()
    page.click("chevron_right")
    assert page.query["face"] == str(part.ids[16])
    assert page.tile_ids() == part.ids[16:32].tolist()
    page.click("chevron_left")
    assert page.tile_ids() == part.ids[:16].tolist()


def test_a_face_of_another_split_is_said_not_to_be_there(open_saliency: Any, part: FaceDataset) -> None:
    page = open_saliency(face="train-99999", methods="Saliency")
    (warning,) = page.says("warning")
    assert warning.startswith("There is no face 'train-99999' in this split")
    assert f"**{part.ids[0]}**" in page.texts


def test_grad_cam_at_a_chosen_layer(open_saliency: Any, best: Checkpoint, part: FaceDataset) -> None:
    page = open_saliency(methods="Grad-CAM", cam="conv1")
    result = attribute(best, part.images[:1], "grad-cam", layer="conv1")
    assert titles(page) == [f"Grad-CAM at conv1 for {result.targets[0]}"]
    assert page.app.selectbox(key="cam").options[-1] == "res2.1"


def test_a_layer_is_asked_for_only_where_a_method_takes_one(open_saliency: Any) -> None:
    page = open_saliency(methods="Saliency")
    assert "cam" not in [box.key for box in page.app.selectbox]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_shown(open_saliency: Any, method: str) -> None:
    page = open_saliency(methods=METHODS[method].title)
    assert titles(page)[0].startswith(METHODS[method].title)
    assert page.says("error") == []
    assert any("Over repeats" in text for text in page.texts) == method.startswith("lime")


def test_why_a_map_is_empty_stands_below_it(open_saliency: Any) -> None:
    page = open_saliency(methods="Saliency", target="Fear", minus="Fear")
    assert page.says("warning")[0].startswith("The map is all zero, since an emotion is compared with itself")


def test_the_true_emotion_can_be_explained(open_saliency: Any, part: FaceDataset) -> None:
    page = open_saliency(methods="Saliency", target="True", face=str(part.ids[3]))
    assert titles(page) == [f"Saliency for {EMOTIONS[part.emotions[3]]}"]


# -- trust -----------------------------------------------------------------------------------------


def test_trust_is_checked_on_demand_and_told_in_words(open_saliency: Any, best: Checkpoint, part: FaceDataset) -> None:
    page = open_saliency(methods="Saliency")
    assert page.app.toggle(key="trust").value is False
    page.app.toggle(key="trust").set_value(True)
    page.run()
    expected = examine(best, part.images[0], attribute(best, part.images[:1], "saliency"))
    for check in expected.checks:
        mark = "\u2713" if check.passed else "\u2717"
        assert f"{mark} **{check.name}.** {check.told}" in page.texts
    passed = sum(check.passed for check in expected.checks)
    (badge,) = [each.value for each in page.app.markdown if "checks passed" in str(each.value)]
    assert f"{passed} of 5 checks passed" in badge
    assert expected.evidence is not None
    _, curves = page.chart("curve", "changed", "probability")
    deletion = curves[curves["curve"] == "Deletion"]
    np.testing.assert_allclose(deletion["probability"], expected.evidence.deletion.values, atol=1e-5)
    np.testing.assert_allclose(deletion["low"], expected.evidence.deletion.random.min(axis=0), atol=1e-5)
    _, likeness = page.chart("layer", "measure", "likeness")
    assert likeness["layer"].tolist()[:7] == list(expected.evidence.randomisation.layers)


def test_an_empty_map_is_not_checked(open_saliency: Any) -> None:
    page = open_saliency(methods="Saliency", target="Fear", minus="Fear", trust="true")
    assert any("No check applies" in str(each.value) for each in page.app.markdown)


# -- the other parts -------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize("dark", [False, True])
def test_every_part_opens(open_page: Any, own_runs: Path, own_data: Path, shown: str, dark: bool) -> None:
    page = open_page("saliency", own_runs, own_data, dark, show=shown, methods="Saliency", most="10")
    assert page.says("error") == page.says("warning") == []
    assert len(page.app.get("image")) >= 1
    named = "All kept epochs of own" if shown == "Epochs" else f"own:{Run(own_runs / 'own').best_epoch()}"
    assert page.texts[-1] == f"{named} on fer2013.csv, validation."


def test_a_sheet_of_sixteen_can_be_downloaded(open_saliency: Any) -> None:
    assert downloads(open_saliency(show="Sheet")) == ["This sheet as PNG"]


def test_the_film_shows_the_epoch_that_the_slider_names(open_saliency: Any, own_runs: Path, part: FaceDataset) -> None:
    page = open_saliency(show="Epochs", methods="Saliency", checkpoint="own:3")
    film = make_film(Run(own_runs / "own"), part.images[0], "saliency")
    slider = page.app.select_slider(key="film epoch")
    assert slider.value == 3
    assert f"**Saliency** for {film.targets[2]}, own, epoch 3" in page.texts
    slider.set_value(1)
    page.run()
    assert f"**Saliency** for {film.targets[0]}, own, epoch 1" in page.texts
    assert downloads(page) == ["This film as GIF", "This film as WebP"]
    before = len(page.app.get("image"))
    page.app.toggle(key="play").set_value(True)
    page.run()
    assert page.app.select_slider(key="film epoch").disabled
    assert len(page.app.get("image")) == before - 2  # one moving picture in place of face, map and bar


def test_a_damaged_epoch_is_named_and_the_film_goes_on(open_page: Any, runs: Path, own_data: Path) -> None:
    path = Run(runs / "own").checkpoint_path(1)
    path.write_bytes(path.read_bytes()[:-50])
    page = open_page("saliency", runs, own_data, show="Epochs", methods="Saliency", checkpoint="own:3")
    (warning,) = page.says("warning")
    assert path.name in warning
    assert page.app.select_slider(key="film epoch").options == ["2", "3"]


def test_two_checkpoints_side_by_side(open_saliency: Any, own_runs: Path, part: FaceDataset) -> None:
    page = open_saliency(show="Two checkpoints", methods="Saliency", checkpoint="own:3", target="Fear")
    assert [text.partition(",")[0] for text in page.texts if text.startswith("**own:")] == ["**own:1**", "**own:3**"]
    one, other = (
        attribute(Run(own_runs / "own").load_checkpoint(epoch), part.images[:1], "saliency", "Fear").maps[0]
        for epoch in (1, 3)
    )
    likeness = rank_correlation(np.abs(one), np.abs(other))
    assert any(f"absolute values: {likeness:.2f}." in text for text in page.texts)


def test_another_network_is_asked_at_its_own_last_layer(
    open_page: Any, runs: Path, own_data: Path, tiny: Callable[..., TrainConfig], own_faces: FaceDataset
) -> None:
    config = replace(tiny(), model="EmotionCNN", model_args={}, epochs=1)
    run = create_run(runs, "cnn", run_info(config, own_faces, "cpu"))
    fit(config, own_faces, run, "cpu")
    page = open_page(
        "saliency", runs, own_data, show="Two checkpoints", methods="Grad-CAM", checkpoint="own:3", before="cnn:1"
    )
    assert page.says("error") == []
    last = list(conv_layers(run.load_checkpoint(1).model))[-1]
    assert any(text.startswith("**cnn:1**") for text in page.texts)
    assert any(f"Grad-CAM at {last}" in text for text in page.texts)


def test_averages_of_a_confusion_beside_what_was_recognised(
    open_saliency: Any, best: Checkpoint, part: FaceDataset, said: Any
) -> None:
    predicted = said(part, best.epoch).argmax(axis=1)
    wrong = next((t, p) for t, p in zip(part.emotions, predicted, strict=True) if t != p)
    true, taken = (EMOTIONS[i] for i in wrong)
    page = open_saliency(show="Averages", methods="Saliency", by="A confusion", averaged=true, taken=taken)
    assert page.says("info") == []
    assert downloads(page) == ["This picture as PNG"]


def test_regions_in_words_and_numbers(open_saliency: Any, best: Checkpoint, part: FaceDataset) -> None:
    page = open_saliency(show="Regions", most="10")
    study = study_regions(best, part.images, part.emotions, most=10)
    for emotion in study.emotions:
        assert any(f"- {study.told(emotion)}" in text for text in page.texts)
    _, table = page.chart("emotion", "region", "weight")
    np.testing.assert_allclose(table["weight"], study.table()["weight"], atol=1e-5)
    assert downloads(page) == ["This picture as PNG", "This table as CSV"]


# -- states ----------------------------------------------------------------------------------------


def test_demo_faces_are_named_as_such(open_page: Any, shipped: Path) -> None:
    page = open_page("saliency", shipped, methods="Saliency")
    assert page.texts[-1].endswith(DEMO_NOTE)
    assert page.tile_ids() == demo_faces().split("validation").ids[:16].tolist()


def test_without_a_checkpoint_it_says_how_to_get_one(open_page: Any, tmp_path: Path) -> None:
    page = open_page("saliency", tmp_path / "runs")
    (info,) = page.says("info")
    assert info.startswith("No run has kept a checkpoint yet.")


def test_a_damaged_checkpoint_is_one_sentence(open_page: Any, runs: Path, own_data: Path) -> None:
    path = Run(runs / "own").checkpoint_path(3)
    path.write_bytes(b"no weights")
    (runs / "own" / "predictions-validation.npz").unlink()
    page = open_page("saliency", runs, own_data, checkpoint="own:3")
    (error,) = page.says("error")
    assert path.name in error
