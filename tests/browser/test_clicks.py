"""The paths that a person clicks, in a real Chromium over a real server."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from fer_core.data import FaceDataset, demo_faces
from fer_core.inference import Predictor
from fer_core.labels import EMOTIONS
from fer_core.runs import Run, halved

PAGES = (
    "Try it",
    "Samples",
    "Data",
    "Saliency",
    "Layers",
    "Map",
    "Structure",
    "Training",
    "Checkpoints",
    "Confusion",
    "Export",
)


@pytest.fixture(scope="module")
def validation() -> FaceDataset:
    return demo_faces().split("validation")


@pytest.fixture(scope="module")
def cnn(server: Any) -> Callable[[int], np.ndarray]:
    """What report-cnn says of the demo validation faces at an epoch, as it is stored."""
    faces = demo_faces().split("validation").images

    def said(epoch: int) -> np.ndarray:
        return halved(Predictor.load(Run(server.runs / "report-cnn"), epoch).predict(faces).probabilities)

    return said


def test_open_every_page(visit: Any) -> None:
    """The first page, complete; a picked checkpoint that holds across pages; nothing asked of any other machine."""
    person = visit()
    page = person.open()
    page.get_by_role("heading", name="What did the network learn from faces?").wait_for()
    person.tiles(7)
    person.pick("Checkpoint", "report-cnn:20")
    for title in PAGES:
        person.go(title)
        person.wait_choice("Checkpoint", "report-cnn:20")
        person.wait_query(checkpoint="report-cnn:20")
    person.go("Confusion")
    page.reload()
    person.settle()
    person.wait_choice("Checkpoint", "report-cnn:20")
    page.get_by_text("report-cnn:20 on FER2013").wait_for()
    hosts = {urlsplit(url).hostname for url in person.requests if not url.startswith(("data:", "blob:"))}
    assert hosts == {"localhost"}


def test_a_face_is_opened_shared_and_stepped_from(visit: Any, validation: FaceDataset) -> None:
    person = visit()
    page = person.open("samples")
    first, second = map(str, validation.ids[3:5])
    page.locator("button.tile").nth(3).click()
    page.locator("button.tile[aria-pressed=true]").wait_for()
    person.wait_query(face=first)
    page.get_by_test_id("stImage").locator("img").wait_for()
    page.get_by_text(first, exact=True).wait_for()
    person.settle()

    friend = visit()
    friend.page.goto(page.url)
    friend.page.get_by_text(first, exact=True).wait_for()
    assert friend.page.locator("button.tile[aria-pressed=true]").get_attribute("aria-label").startswith(f"{first}:")

    page.get_by_role("button", name="Shortcut →").click()
    person.wait_query(face=second)
    page.get_by_text(second, exact=True).wait_for()
    person.settle()
    page.keyboard.press("ArrowLeft")
    person.wait_query(face=first)
    page.get_by_text(first, exact=True).wait_for()
    person.settle()
    page.locator(".st-key-close-face button").first.click()
    person.wait_query(face=None)
    page.get_by_text(first, exact=True).wait_for(state="detached")


def test_a_face_on_home_opens_on_samples(visit: Any, validation: FaceDataset) -> None:
    person = visit()
    page = person.open()
    happy = str(validation.ids[np.flatnonzero(validation.emotions == EMOTIONS.index("Happy"))[0]])
    page.locator(f"button.tile[title^='{happy}:']").click()
    page.get_by_role("heading", name="Samples", exact=True).wait_for()
    person.wait_query(face=happy)
    page.get_by_text(happy, exact=True).wait_for()


def test_filters_stand_in_the_url_and_can_be_cleared(visit: Any, validation: FaceDataset) -> None:
    person = visit()
    page = person.open("samples", checkpoint="report-cnn:6")
    page.get_by_role("radio", name="Wrong").click()
    person.wait_query(outcome="Wrong")
    page.get_by_text(f"of {len(validation)} faces").wait_for()
    person.settle()
    page.get_by_label("Search by id").fill("no such face")
    page.get_by_label("Search by id").press("Enter")
    page.get_by_text("No face fits these filters.").wait_for()
    person.settle()
    page.get_by_role("button", name="Clear the filters").click()
    page.get_by_text(f"{len(validation)} faces", exact=True).wait_for()
    person.wait_query(outcome=None, id=None, checkpoint="report-cnn:6")
    person.tiles(min(48, len(validation)))


def test_the_listed_faces_as_csv(visit: Any, validation: FaceDataset, cnn: Any, tmp_path: Path) -> None:
    person = visit()
    person.open("samples", checkpoint="report-cnn:6", outcome="Wrong", sort="Most confident mistakes")
    download = person.download("These faces as CSV")
    download.save_as(tmp_path / "faces.csv")
    with (tmp_path / "faces.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    said = cnn(6).astype(np.float32)
    wrong = np.flatnonzero(said.argmax(axis=1) != validation.emotions)
    assert {row["id"] for row in rows} == set(validation.ids[wrong])
    assert [float(row[row["predicted"]]) for row in rows] == pytest.approx(
        sorted(said[wrong].max(axis=1), reverse=True), abs=1e-4
    )


def click_cell(person: Any, true: str, predicted: str) -> None:
    cell = person.page.locator(f"path[aria-label^='Predicted: {predicted}; True: {true};']")
    assert person.click_middle(cell, "cell") == f"{true}>{predicted}"


def test_a_cell_of_the_matrix(visit: Any, validation: FaceDataset, cnn: Any) -> None:
    said = cnn(6).argmax(axis=1)
    pairs = [
        (int(((validation.emotions == i) & (said == j)).sum()), i, j) for i in range(7) for j in range(7) if i != j
    ]
    count, true, predicted = max(pairs)
    person = visit()
    page = person.open("confusion", checkpoint="report-cnn:6", scored="Demo faces, validation")
    click_cell(person, EMOTIONS[true], EMOTIONS[predicted])
    page.get_by_role("heading", name=f"{EMOTIONS[true]} taken for {EMOTIONS[predicted]}: {count} faces").wait_for()
    inside = set(validation.ids[(validation.emotions == true) & (said == predicted)])
    assert set(person.tiles(count)) == inside
    person.settle()
    page.locator("button.tile").first.click()
    page.locator("button.tile[aria-pressed=true]").wait_for()
    person.wait(lambda: person.query.get("face") in inside, "one of these faces in the URL")


def test_a_cell_of_faces_that_are_not_here(visit: Any) -> None:
    person = visit()
    page = person.open("confusion", checkpoint="report-resnet:86")
    click_cell(person, "Fear", "Sad")
    page.get_by_role("heading", name="Fear taken for Sad").wait_for()
    page.get_by_text("These faces are FER2013's and are not at hand").wait_for()
    person.settle()
    person.tiles(0)


def test_the_slider_moves_the_epoch(visit: Any) -> None:
    person = visit()
    page = person.open("confusion", checkpoint="report-cnn:6")
    page.get_by_text("report-cnn:6 on FER2013").wait_for()
    slider = page.get_by_role("slider")
    slider.focus()
    for epoch in (20, 50):
        slider.press("ArrowRight")
        page.get_by_text(f"report-cnn:{epoch} on FER2013").wait_for()
        person.settle()
    person.wait_query(checkpoint="report-cnn:50")
    person.wait_choice("Checkpoint", "report-cnn:50")


def test_flipped_faces(visit: Any, validation: FaceDataset, cnn: Any) -> None:
    was, now = (cnn(epoch).argmax(axis=1) == validation.emotions for epoch in (1, 50))
    fixed, broken = set(validation.ids[~was & now]), set(validation.ids[was & ~now])
    assert fixed != broken
    person = visit()
    page = person.open(
        "checkpoints", checkpoint="report-cnn:50", before="report-cnn:1", scored="Demo faces, validation"
    )
    counted = f"{len(fixed)} went from wrong to right, {len(broken)} from right to wrong"
    page.get_by_text(counted).wait_for()

    assert set(person.tiles(min(48, len(fixed)))) <= fixed
    person.settle()
    page.get_by_role("radio", name="Right to wrong").click()
    person.wait_query(flipped="Right to wrong")
    if broken:
        person.wait(lambda: set(person.tiles(min(48, len(broken)))) <= broken, "the other faces")
    else:
        page.get_by_text("There are none.").wait_for()


def test_dark(visit: Any) -> None:
    """Who wants it dark gets it dark, and the charts with it."""
    for scheme, is_dark in (("dark", True), ("light", False)):
        person = visit(color_scheme=scheme)
        page = person.open("confusion", checkpoint="report-cnn:6")
        page.locator("path[aria-label^='Predicted: Sad; True: Fear;']").wait_for()
        color = page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
        levels = [int(level) for level in re.findall(r"\d+", color)[:3]]
        assert (max(levels) < 80) == is_dark
        assert (min(levels) > 200) != is_dark


@pytest.fixture
def short(server: Any) -> Iterator[Run]:
    """A run that the test trains; a test that fails leaves no training behind."""
    run = Run(server.runs / "short")
    yield run
    if run.path.exists():
        run.request_stop()


def test_train_watch_stop_and_resume(visit: Any, short: Run) -> None:
    """A short training on the embedded faces: its curve grows by itself, it stops, and it goes on."""
    person = visit()
    page = person.open("training")
    person.pick("Recipe", "demo")
    for field, value in (("epochs-demo", "6000"), ("run-name", "short")):
        box = page.locator(f".st-key-{field} input")
        box.fill(value)
        box.press("Enter")
        person.settle()
    page.get_by_role("button", name="Start", exact=True).click()
    # Not the header's, with which Streamlit offers to stop a script that runs for long.
    stop = page.get_by_test_id("stMainBlockContainer").get_by_role("button", name="Stop")

    def points() -> int:
        """How many there are on the run's validation curve."""
        return int(
            page.evaluate(
                "() => [...document.querySelectorAll('.js-plotly-plot')].slice(0, 1).flatMap(plot => plot.data)"
                ".filter(line => line.name.startsWith('short') && line.name.endsWith('validation'))"
                ".reduce((most, line) => Math.max(most, line.x.length ?? line.x._inputArray?.length ?? 0), 0)"
            )
        )

    page.get_by_text("short: running").wait_for()
    seen = person.wait(points, "the first point")
    person.wait(lambda: points() > seen, "a further point")
    page.get_by_text(re.compile(r"Epoch \d+ of 6000, .* left, .* faces/s")).wait_for()
    stop.click()
    page.get_by_text("short: stopped").wait_for()
    stopped_at = short.epochs()[-1]
    assert short.info["data"]["is_demo"]

    person.settle()
    page.get_by_role("button", name="Resume").click()
    page.get_by_text("short: running").wait_for()
    person.wait(lambda: points() > stopped_at, "a point of after the stop")
    stop.click()
    page.get_by_text("short: stopped").wait_for()
    epochs = short.metrics()["epoch"].unique().tolist()
    assert epochs == list(range(1, len(epochs) + 1))
    newest = short.epochs()[-1]  # its metrics may tell of one epoch more, which ended before its faces were scored
    assert stopped_at < newest <= epochs[-1]
    box = page.get_by_role("combobox", name="Checkpoint", exact=True)  # what it kept can be chosen at once
    option = page.get_by_role("option", name=f"short:{newest}", exact=True)

    def offered() -> bool:
        """The page is drawn anew once a training has ended, which closes a list that was opened just before."""
        box.fill("")
        box.fill("short:")
        page.wait_for_timeout(500)
        return bool(option.is_visible())

    person.wait(offered, "what it kept to be offered")
