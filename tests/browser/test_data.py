"""The Data page as a person uses it: the keyboard decides, a box on the map shows its faces, a mean face leads on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from fer_core.data import demo_faces
from fer_core.data.curation import Curation
from fer_core.dynamics import DynamicsRecorder, read_dynamics

LEARNING = {"section": "Learning", "checkpoint": "report-cnn:6"}


@pytest.fixture
def dynamics(server: Any) -> Iterator[Any]:
    """A record of six epochs on the demo training faces in one of the server's runs."""
    train = demo_faces().split("train")
    recorder = DynamicsRecorder(server.runs / "report-cnn", train.images)
    emotions = torch.from_numpy(train.emotions.astype(np.int64))
    generator = torch.Generator().manual_seed(0)
    skill = torch.randn(len(train), 1, generator=generator)
    for _ in range(6):
        logits = torch.randn(len(train), 7, generator=generator)
        logits.scatter_add_(1, emotions[:, None], 2 * skill + 1)
        recorder.add(torch.arange(len(train)), logits, emotions)
        recorder.end_epoch()
    yield read_dynamics(server.runs / "report-cnn")
    recorder.path.unlink()


@pytest.mark.usefixtures("dynamics")
def test_deciding_by_keyboard(visit: Any, server: Any) -> None:
    curation = Curation("Demo faces", server.runs.parent / "cache" / "curation.sqlite")
    person = visit()
    page = person.open("data", **LEARNING)
    page.locator("button.tile").first.wait_for()
    ids = [str(tile.get_attribute("title")).split(":")[0] for tile in page.locator("button.tile").all()]
    page.locator("button.tile").first.click()
    person.wait_query(face=ids[0])
    page.locator(".st-key-decide-Drop button").first.wait_for()
    person.settle()
    page.keyboard.press("d")
    person.wait_query(face=ids[1])
    page.get_by_text(ids[1], exact=True).wait_for()
    person.settle()
    page.keyboard.press("5")
    person.wait_query(face=ids[2])
    person.settle()
    assert [(mark.id, mark.verdict, mark.emotion) for mark in curation.marks()] == [
        (ids[0], "drop", ""),
        (ids[1], "relabel", "Sad"),
    ]
    page.get_by_role("button", name="Decisions (2)").wait_for()
    person.settle()
    for left in (1, 0):
        page.keyboard.press("u")
        page.get_by_role("button", name=f"Decisions ({left})").wait_for()
        person.settle()
    assert curation.marks() == []


def test_a_square_of_the_map_shows_its_faces(visit: Any, dynamics: Any) -> None:
    person = visit()
    page = person.open("data", **LEARNING)
    page.get_by_text("1,568 faces", exact=True).wait_for()
    # The tallest square, found as the chart finds it.
    counts, *_ = np.histogram2d(dynamics.variability, dynamics.confidence, 36, [[0, 0.5], [0, 1]])
    i, j = np.unravel_index(counts.argmax(), counts.shape)
    square = page.locator(f".st-key-learning-map path[aria-label*='Faces: {int(counts[i, j])};']").first
    left, right, bottom, top = map(float, person.click_middle(square, "box").split("~"))
    assert (right - left, top - bottom) == pytest.approx((0.5 / 36, 1 / 36), abs=2e-4)
    page.get_by_text(f"{int(counts.max())} faces", exact=False).first.wait_for()


def test_a_box_dragged_on_the_map(visit: Any, dynamics: Any) -> None:
    person = visit()
    page = person.open("data", **LEARNING)
    chart = page.locator(".st-key-learning-map svg.marks")
    chart.wait_for()
    person.settle()

    def drag() -> None:
        box = chart.bounding_box()
        if box is None:  # it is just being drawn anew
            return
        middle_x, middle_y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(middle_x - 60, middle_y - 60)
        page.mouse.down()
        page.mouse.move(middle_x + 60, middle_y + 60, steps=5)
        page.mouse.up()

    left, right, bottom, top = map(float, person.insist(drag, "box").split("~"))
    assert 0 <= left < right <= 0.5
    assert 0 <= bottom < top <= 1
    inside = (dynamics.variability >= left) & (dynamics.variability < right)
    inside &= (dynamics.confidence >= bottom) & (dynamics.confidence < top)
    page.get_by_text("in the box").wait_for()
    told = page.get_by_text("in the box").inner_text()
    assert abs(int(told.split()[0].replace(",", "")) - int(inside.sum())) <= 2  # the URL holds four digits


def test_a_mean_face_leads_to_its_faces(visit: Any) -> None:
    person = visit()
    page = person.open("data")
    page.locator("button.tile").nth(3).click()
    page.get_by_role("heading", name="Samples", exact=True, level=1).wait_for()
    person.wait_query(true="Happy")
