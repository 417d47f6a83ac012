"""The Try it page as a person uses it: own photos from end to end, and a webcam, which here shows a portrait."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from fer_core.calibration import load_calibration
from fer_core.data.photos import read_photo
from fer_core.inference import Predictor
from fer_core.labels import COLORS, EMOTIONS
from fer_core.photo_reading import FoundFaces, find_in_photo
from fer_core.runs import Run

PORTRAITS = Path(__file__).parent.parent.parent / "fer_core" / "data" / "demo" / "portraits"
# Keeps what the camera gives, so that a test can pull the plug.
KEEP_STREAM = """
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async wanted => (window.camera = await ask(wanted));
"""
PIXELS = """
(video, [x, y, width, height]) => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  const zoom = canvas.width / 640;
  return zoom ? Array.from(context.getImageData(x * zoom, y * zoom, width * zoom, height * zoom).data) : null;
}
"""


@pytest.fixture(scope="module")
def with_camera(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium whose camera shows two rendered people, 640x480."""
    film = tmp_path_factory.mktemp("camera") / "two.mjpeg"
    film.write_bytes((PORTRAITS / "two.jpg").read_bytes() * 4)
    browser = chromium.browser_type.launch(
        executable_path="/usr/bin/chromium",
        args=[
            "--no-sandbox",
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-video-capture={film}",
        ],
    )
    yield browser
    browser.close()


def found_in(name: str) -> FoundFaces:
    return find_in_photo(read_photo(PORTRAITS / name), name)


@pytest.fixture
def said(server: Any) -> Any:
    """What the checkpoint says that the page shows first, at the temperature that ships with it."""
    run = Run(server.runs / "report-resnet")
    calibration = load_calibration(run, 86, "none")
    assert calibration is not None

    def probabilities(faces: FoundFaces) -> np.ndarray:
        powers = Predictor.load(run, 86).predict(faces.crops).probabilities ** (1 / calibration.temperature)
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    return probabilities


def hosts(person: Any) -> set[str | None]:
    return {urlsplit(url).hostname for url in person.requests if not url.startswith(("data:", "blob:"))}


def test_photos_from_upload_to_csv(visit: Any, said: Any, tmp_path: Path) -> None:
    person = visit()
    page = person.open("try_it")
    page.get_by_text("group.jpg (rendered): 5 faces.").wait_for()
    broken = tmp_path / "broken.jpg"
    broken.write_text("This is no picture.")
    (tmp_path / "us.jpg").write_bytes((PORTRAITS / "two.jpg").read_bytes())
    page.locator("input[type=file]").set_input_files([tmp_path / "us.jpg", broken])
    page.get_by_text("us.jpg: 2 faces.").wait_for()
    page.get_by_text(
        "broken.jpg is no picture that can be read; choose a JPEG, PNG, WebP, GIF, BMP or TIFF."
    ).wait_for()
    person.wait_query(photo="us.jpg")
    download = person.download("These faces as CSV")
    download.save_as(tmp_path / "faces.csv")
    with (tmp_path / "faces.csv").open() as file:
        rows = list(csv.DictReader(file))
    faces = found_in("two.jpg")
    assert [(row["file"], row["face"]) for row in rows] == [("us.jpg", "1"), ("us.jpg", "2")]
    boxes = np.array([[float(row[edge]) for edge in ("left", "top", "right", "bottom")] for row in rows])
    np.testing.assert_allclose(boxes, [face.box for face in faces.faces], atol=0.06)
    shares = np.array([[float(row[name]) for name in EMOTIONS] for row in rows])
    np.testing.assert_allclose(shares, said(faces), atol=1e-3)

    person.settle()
    page.locator("button.tile[title^='Face 2:']").click()
    page.get_by_text("Face 2 of 2, as report-resnet:").wait_for()
    person.wait_query(number="2")
    assert hosts(person) == {"localhost"}


def test_a_portrait_is_one_click_and_a_link(visit: Any) -> None:
    person = visit()
    page = person.open("try_it")
    page.locator("button.tile[title^='angry.jpg']").click()
    page.get_by_text("angry.jpg (rendered): 1 face.").wait_for()
    friend = visit()
    friend.page.goto(page.url)
    friend.page.get_by_text("angry.jpg (rendered): 1 face.").wait_for()


def test_the_photo_way_works_on_a_phone(visit: Any) -> None:
    person = visit()
    person.page.set_viewport_size({"width": 390, "height": 844})
    page = person.open("try_it", photo="two.jpg")
    photo = page.get_by_test_id("stImage").locator("img").first
    person.wait(lambda: photo.evaluate("image => image.complete && image.naturalWidth > 0"), "the photo")
    box = photo.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert box["width"] > 250
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390


def test_what_matters_is_on_the_first_screen(visit: Any) -> None:
    person = visit()
    page = person.open("try_it")
    pictures = page.get_by_test_id("stImage").locator("img")
    person.wait(lambda: pictures.count() == 4, "photo, crop, map and its bar")
    assert max(box["y"] + box["height"] for each in pictures.all() if (box := each.bounding_box())) < 800


def live_frame(person: Any) -> Any:
    return person.page.frame_locator("iframe[title*=webrtc]")


def test_live_video_shows_boxes_and_labels(visit: Any, with_camera: Any, said: Any) -> None:
    person = visit(with_camera)
    page = person.open("try_it", way="Live webcam")
    frame = live_frame(person)
    frame.get_by_role("button", name="Start").click()
    page.get_by_text("the largest of 2, as report-resnet:").wait_for()
    person.wait(lambda: page.get_by_test_id("stMetricValue").count() == 3, "three rates")

    faces = found_in("two.jpg")
    rows = said(faces)

    def is_marked(i: int) -> bool:
        left, top, right, _ = faces.faces[i].box
        left, right = 640 - right, 640 - left  # as people see themselves
        pixels = frame.locator("video").evaluate(PIXELS, [left + 4, top - 14, right - left - 44, 10])
        emotion = EMOTIONS[int(rows[i].argmax())]
        color = [int(COLORS[emotion][j : j + 2], 16) for j in (1, 3, 5)]
        shown = np.median(np.reshape(pixels or [0] * 4, (-1, 4))[:, :3], axis=0)
        return bool(np.abs(shown - color).max() < 40)  # video compresses colours

    for i in range(2):
        person.wait(lambda i=i: is_marked(i), f"a label in its emotion's colour above face {i + 1}")
    assert hosts(person) == {"localhost"}
    frame.get_by_role("button", name="Stop").click()
    page.get_by_text("Press Start and allow the camera").wait_for()


def test_a_camera_that_stops_leads_to_the_photo_way(visit: Any, with_camera: Any) -> None:
    person = visit(with_camera)
    person.context.add_init_script(KEEP_STREAM)
    page = person.open("try_it", way="Live webcam")
    frame = live_frame(person)
    frame.get_by_role("button", name="Start").click()
    page.get_by_text(re.compile("as report-resnet:.* sees it")).wait_for()
    frame.locator("video").evaluate("() => window.camera.getTracks().forEach(track => track.stop())")
    page.get_by_text("No pictures come from the camera any more").wait_for()
    page.get_by_role("button", name="Use a photo", exact=True).click()
    page.get_by_text("group.jpg (rendered): 5 faces.").wait_for()


def test_without_a_camera_the_page_says_so_and_offers_a_photo(visit: Any) -> None:
    person = visit()
    page = person.open("try_it", way="Live webcam")
    page.get_by_text("This browser offers no camera: connect one and it is found at once, or use a photo.").wait_for()
    person.settle()
    page.get_by_role("button", name="Use a photo", exact=True).click()
    page.get_by_text("group.jpg (rendered): 5 faces.").wait_for()
    person.wait_query(way=None)
