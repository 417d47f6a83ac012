"""Layers as a person clicks through it: choose a layer, click a channel, climb, download the sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fer_core.data import demo_faces
from fer_core.explain.features import feature_maps
from fer_core.explain.top_faces import measure
from fer_core.runs import Checkpoint, Run


@pytest.fixture(scope="module")
def checkpoint(server: Any) -> Checkpoint:
    return Run(server.runs / "report-cnn").load_checkpoint(50)


def titles(person: Any, count: int) -> list[str]:
    """What the tiles of the gallery say on hover."""
    person.tiles(count)
    return [str(tile.get_attribute("title")) for tile in person.page.locator("button.tile").all()]


def chosen(person: Any) -> str:
    return str(person.page.locator("button.tile[aria-pressed=true]").get_attribute("title"))


def test_choose_a_layer_and_click_a_channel(visit: Any, checkpoint: Checkpoint) -> None:
    person = visit()
    page = person.open("layers", checkpoint="report-cnn:50")
    assert len(titles(person, 24)) == 24
    person.pick("Layer", "conv2")
    expected = feature_maps(checkpoint, demo_faces().split("validation").images[:1], "conv2")
    shown = titles(person, 48)
    assert [int(text.split()[1].rstrip(":")) for text in shown] == expected.order[0].tolist()
    third = int(expected.order[0, 2])
    person.settle()
    page.locator("button.tile").nth(2).click()
    person.wait_query(layer="conv2", channel=str(third))
    person.wait(lambda: chosen(person).startswith(f"Channel {third}:"), "the channel that was clicked")
    page.get_by_text(f"Channel {third}, number 3 of 48 by mean activation").wait_for()
    page.reload()
    person.settle()
    person.wait(lambda: chosen(person).startswith(f"Channel {third}:"), "the channel after a reload")


def test_climb_and_download_the_sheet(visit: Any, tmp_path: Path) -> None:
    person = visit()
    page = person.open("layers", checkpoint="report-cnn:50", layer="conv1")
    page.get_by_role("radio", name="What excites it").click()
    person.settle()
    page.get_by_role("radio", name="All channels").click()
    person.settle()
    page.get_by_role("button", name="Climb", exact=True).click()
    shown = titles(person, 24)
    before, after = np.array([[float(word) for word in text.split()[-3::2]] for text in shown]).T
    assert (after > before).all()
    person.settle()
    page.locator("button.tile").nth(7).click()
    person.wait_query(channel="7", climb="on", aim="All channels")
    page.get_by_text("Channel 7: mean response").wait_for()
    download = person.download("The sheet")
    assert download.suggested_filename == "report-cnn-50-conv1-excites.png"
    download.save_as(tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (5 * 96 + 4 * 2, 5 * 96 + 4 * 2)
        assert np.asarray(sheet.convert("L")).std() > 20


def test_a_top_face_is_opened(visit: Any, checkpoint: Checkpoint) -> None:
    person = visit()
    page = person.open("layers", checkpoint="report-cnn:50", layer="conv3", channel="5", view="Top faces")
    faces = demo_faces().split("validation")
    expected = measure(checkpoint, faces)["conv3"].top(5)
    ids = person.tiles(len(expected))
    assert ids == [str(faces.ids[face.row]) for face in expected]
    page.locator("button.tile").nth(1).click()
    person.wait_query(face=ids[1])
    page.get_by_text(f"{ids[1]}, true").wait_for()


def test_an_epoch_of_the_film_is_chosen(visit: Any) -> None:
    person = visit()
    page = person.open("layers", checkpoint="report-cnn:50", layer="conv1", view="Over epochs")
    assert [text.split(":")[0] for text in titles(person, 4)] == ["Epoch 1", "Epoch 6", "Epoch 20", "Epoch 50"]
    page.locator("button.tile").nth(2).click()
    person.wait_query(checkpoint="report-cnn:20", view="Over epochs")
    person.settle()
    person.wait_choice("Checkpoint", "report-cnn:20")
    download = person.download("The film")
    assert download.suggested_filename == "report-cnn-conv1-0.gif"


def test_content_is_on_the_first_screen(visit: Any) -> None:
    person = visit()
    page = person.open("layers", checkpoint="report-cnn:50", layer="conv1")
    person.tiles(24)
    for found in (page.locator("button.tile").nth(13), page.get_by_role("img").first):
        box = found.bounding_box()
        assert box["y"] + box["height"] <= 800
        assert box["x"] + box["width"] <= 1280
