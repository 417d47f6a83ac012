"""The Saliency page as a person clicks it: methods, layers, the film, the sheet."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fer_core.data import FaceDataset, demo_faces
from fer_core.explain.attribution import METHODS, attribute
from fer_core.explain.pictures import Look, overlay, part_of, scale_of
from fer_core.inference import Predictor
from fer_core.runs import Run


@pytest.fixture(scope="module")
def validation() -> FaceDataset:
    return demo_faces().split("validation")


def map_image(person: Any, number: int) -> np.ndarray:
    """The pixels of a picture on the page, and that it is shown at its own size."""
    picture = person.page.get_by_test_id("stImage").locator("img").nth(number)
    person.wait(lambda: picture.evaluate("image => image.complete && image.naturalWidth > 0"), "the picture")
    shown, own = picture.evaluate("image => [image.getBoundingClientRect().width, image.naturalWidth]")
    assert shown == own
    answer = person.page.request.get(picture.evaluate("image => image.src"))
    return np.asarray(Image.open(io.BytesIO(answer.body())).convert("RGB"))


def test_a_map_on_screen_is_the_cores_to_the_pixel(visit: Any, server: Any, validation: FaceDataset) -> None:
    person = visit()
    person.open("saliency", methods="Occlusion", checkpoint="report-cnn:20", face=str(validation.ids[5]))
    checkpoint = Predictor.load(Run(server.runs / "report-cnn"), 20).checkpoint
    result = attribute(checkpoint, validation.images[5:6], "occlusion")
    look = Look(METHODS["occlusion"].shown)
    expected = overlay(validation.images[5], result.maps[0], look, scale_of(part_of(result.maps, look.sign)), 5)
    difference = np.abs(map_image(person, 1).astype(int) - np.asarray(expected).astype(int))
    assert difference.max() <= 2  # rounding of sums in another order
    assert (map_image(person, 0)[::5, ::5, 0] == validation.images[5]).all()


def test_method_layer_and_face_are_picked_and_shared(visit: Any, validation: FaceDataset) -> None:
    person = visit()
    page = person.open("saliency", methods="Grad-CAM", checkpoint="report-cnn:20")
    page.get_by_text("Grad-CAM at conv3").wait_for()
    person.pick("Layer", "conv1")
    page.get_by_text("Grad-CAM at conv1").wait_for()
    person.settle()
    page.locator("button.tile").nth(3).click()
    page.get_by_text(str(validation.ids[3]), exact=True).wait_for()
    person.wait_query(cam="conv1", face=str(validation.ids[3]))

    friend = visit()
    friend.page.goto(page.url)
    friend.page.get_by_text("Grad-CAM at conv1").wait_for()
    friend.page.get_by_text(str(validation.ids[3]), exact=True).wait_for()


def test_the_film_is_played_and_downloaded(visit: Any, tmp_path: Path) -> None:
    person = visit()
    page = person.open("saliency", show="Epochs", methods="Saliency", checkpoint="report-cnn:20")
    page.get_by_text("report-cnn, epoch 20").wait_for()
    person.settle()
    page.get_by_text("Play", exact=True).click()
    moving = page.get_by_test_id("stImage").locator("img[src$='.gif']")
    moving.wait_for()
    with Image.open(io.BytesIO(page.request.get(moving.evaluate("image => image.src")).body())) as picture:
        assert picture.n_frames == 4  # epochs 1, 6, 20 and 50
    download = person.download("This film as GIF")
    download.save_as(tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as picture:
        assert picture.n_frames == 4


def test_the_sheet_is_downloaded(visit: Any, tmp_path: Path) -> None:
    person = visit()
    person.open("saliency", show="Sheet", methods="Saliency", checkpoint="report-cnn:20")
    download = person.download("This sheet as PNG")
    assert download.suggested_filename == "report-cnn-20-saliency.png"
    download.save_as(tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.width == 16 + 4 * (2 * 4 * 48 + 16)
        assert picture.height > 4 * 4 * 48


def test_maps_are_on_the_first_screen(visit: Any) -> None:
    person = visit()
    page = person.open("saliency")
    bars = page.get_by_test_id("stImage").locator("img")
    person.wait(lambda: bars.count() == 7, "three maps with their bars")
    assert max(box["y"] + box["height"] for image in bars.all() if (box := image.bounding_box())) < 800
