"""Map as a person uses it: hover, click, draw around points, move it, and let the epochs go by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dashboard.scatter import unpacked
from fer_core.data import FaceDataset, demo_faces
from fer_core.explain.embedding import split_features
from fer_core.explain.projection import principal_components
from fer_core.runs import Run

HEIGHT = 400
MARGIN = 18
EARLY_FRAMES = """() => {
  const real = window.requestAnimationFrame;
  window.requestAnimationFrame = (step) => real((now) => step(now - 5000));
}"""


@pytest.fixture(scope="module")
def validation() -> FaceDataset:
    return demo_faces().split("validation")


@pytest.fixture
def coordinates(server: Any, validation: FaceDataset) -> np.ndarray:
    features = split_features(Run(server.runs / "report-cnn"), 50, validation)
    return principal_components(features).coordinates


def of_map(person: Any, what: str) -> Any:
    """Something that the component knows of itself."""
    return person.page.locator(".map").evaluate(f"map => map.owner.{what}")


def stage(person: Any, index: int = 0) -> dict[str, float]:
    """Where a panel is on the screen."""
    place = person.page.locator(".stage").nth(index)
    place.wait_for()
    person.wait(lambda: of_map(person, "panels[0].pixels?.length"), "the points")
    return dict(place.bounding_box())


def on_screen(coordinates: np.ndarray, box: dict[str, float]) -> np.ndarray:
    """Where points (N, 2) lie on the screen: in the middle, as large as fits, the second coordinate upwards."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    room = 0.005 * (high - low).max()
    width = box["width"] - 2  # the border's
    scale = ((np.array([width, HEIGHT]) - 2 * MARGIN) / (high - low + 2 * room)).min()
    shifted = (coordinates - (low + high) / 2) * scale * [1, -1]
    middle = np.array([box["x"] + 1 + width / 2, box["y"] + 1 + HEIGHT / 2])
    return np.asarray(shifted + middle)


def alone(points: np.ndarray) -> int:
    """The point that is furthest from its nearest."""
    apart = np.linalg.norm(points[:, None] - points, axis=2) + np.diag(np.full(len(points), np.inf))
    return int(apart.min(axis=1).argmax())


def drag(person: Any, *path: tuple[float, float]) -> None:
    mouse = person.page.mouse
    mouse.move(*path[0])
    mouse.down()
    for x, y in path[1:]:
        mouse.move(x, y, steps=3)
    mouse.up()


def in_url(person: Any, count: int) -> list[int]:
    """The selected rows, once they stand there."""
    text = person.wait(lambda: person.query.get("selected"), "a selection in the URL")
    of, _, rows = text.rpartition(".")
    assert of.startswith("validation.")
    found = unpacked(rows, count)
    assert found is not None
    return [int(row) for row in found]


def test_hover_click_and_share(visit: Any, validation: FaceDataset, coordinates: np.ndarray) -> None:
    person = visit()
    page = person.open("map", checkpoint="report-cnn:50")
    points = on_screen(coordinates, stage(person))
    row = alone(points)
    face = str(validation.ids[row])
    page.mouse.move(*points[row])
    page.locator(".tip", has_text=f"{face}: true ").wait_for()
    page.mouse.click(*points[row])
    person.wait_query(face=face)
    page.get_by_text(f"Nearest neighbours of {face}").wait_for()
    person.settle()
    neighbours = person.tiles(10)
    assert face not in neighbours

    friend = visit()
    friend.page.goto(page.url)
    friend.page.get_by_text(f"Nearest neighbours of {face}").wait_for()
    friend.settle()
    assert friend.tiles(10) == neighbours
    page.locator("button.tile").first.click()
    person.wait_query(face=neighbours[0])


@pytest.mark.parametrize("tool", ["Lasso", "Box"])
def test_the_faces_inside(visit: Any, validation: FaceDataset, coordinates: np.ndarray, tool: str) -> None:
    person = visit()
    page = person.open("map", checkpoint="report-cnn:50")
    points = on_screen(coordinates, stage(person))
    page.get_by_role("button", name=tool, exact=True).click()
    (x0, y0), (x1, y1) = np.quantile(points, [0.62, 0.95], axis=0)
    if tool == "Lasso":  # a triangle
        drag(person, (x0, y0), (x1, y0), (x1, y1), (x0, y0))
        edges = (points[:, 1] - y0) - (points[:, 0] - x0) * (y1 - y0) / (x1 - x0)
        inside = (points[:, 0] < x1) & (points[:, 1] > y0) & (edges < 0)
    else:
        drag(person, (x1, y0), (x0, y1))
        inside = ((points > [x0, y0]) & (points < [x1, y1])).all(axis=1)
    near = min(np.abs(points[:, 0] - x0).min(), np.abs(points[:, 0] - x1).min(), np.abs(points[:, 1] - y0).min())
    found, expected = in_url(person, len(points)), np.flatnonzero(inside).tolist()
    assert len(expected) > 10
    assert len(set(found) ^ set(expected)) <= (0 if near > 1 else 2)  # what lies on the line may fall to either side
    page.get_by_text(f"{len(found)} faces selected").wait_for()
    person.settle()
    assert person.tiles(min(60, len(found))) == validation.ids[found[:60]].tolist()

    page.get_by_role("button", name="Clear", exact=True).click()
    person.wait_query(selected=None)
    person.settle()
    person.tiles(0)


def test_the_same_faces_at_another_epoch(visit: Any, validation: FaceDataset) -> None:
    person = visit()
    page = person.open("map", checkpoint="report-cnn:50", epochs="Two", before="report-cnn:6", color="Right or wrong")
    box = stage(person, 1)
    assert page.locator(".panel .title").all_inner_texts() == ["report-cnn:6", "report-cnn:50"]
    drag(person, (box["x"] + 10, box["y"] + 10), (box["x"] + box["width"] / 2, box["y"] + 10),
         (box["x"] + box["width"] / 2, box["y"] + 390), (box["x"] + 10, box["y"] + 390))  # fmt: skip
    rows = in_url(person, len(validation))
    person.settle()
    marked = np.flatnonzero(of_map(person, "selected")).tolist()
    assert marked == rows
    # The part in view is kept while the page changes around it.
    page.get_by_role("button", name="+", exact=True).click()
    page.locator("button.tile").first.click()
    page.get_by_text("Nearest neighbours of").wait_for()
    person.settle()
    assert of_map(person, "view.zoom") == pytest.approx(1.5)
    page.get_by_role("button", name="Reset", exact=True).click()
    assert of_map(person, "view.zoom") == 1


def test_through_the_epochs(visit: Any) -> None:
    person = visit()
    page = person.open("map", checkpoint="report-cnn:50", epochs="All kept")
    stage(person)

    def label() -> str:
        return str(page.locator(".panel .title").inner_text())

    assert label() == "report-cnn:50"
    slider = page.get_by_role("slider", name="Epoch")
    slider.fill("0")
    person.wait(lambda: label() == "report-cnn:1", "the first epoch")
    # A frame's time may be before that of the click: here always.
    page.evaluate(EARLY_FRAMES)
    page.get_by_role("button", name="Play").click()
    seen = {label()}
    person.wait(lambda: seen.add(label()) or label() == "report-cnn:50", "the last epoch")
    page.get_by_role("button", name="Play").wait_for()  # it has stopped
    download = person.download("PNG")
    assert download.suggested_filename == "report-cnn-50-validation-pca.png"


def test_moving_the_map(visit: Any) -> None:
    person = visit()
    page = person.open("map", checkpoint="report-cnn:50")
    box = stage(person)
    page.get_by_role("button", name="Move", exact=True).click()
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.mouse.wheel(0, -400)
    person.wait(lambda: of_map(person, "view.zoom") > 2, "a closer look")
    before = of_map(person, "panels[0].pixels[0]")
    drag(person, (box["x"] + 300, box["y"] + 200), (box["x"] + 340, box["y"] + 200))
    after = of_map(person, "panels[0].pixels[0]")
    assert after - before == pytest.approx(40, abs=0.5)
    assert "selected" not in person.query


def test_the_map_is_on_the_first_screen(visit: Any) -> None:
    person = visit()
    person.open("map", checkpoint="report-cnn:50")
    box = stage(person)
    assert box["y"] + box["height"] <= 800
    assert box["x"] + box["width"] <= 1280
