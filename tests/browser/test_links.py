"""From a face or a cell of the matrix to what another page says of the very same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fer_core.data import FaceDataset, demo_faces
from fer_core.inference import Predictor
from fer_core.labels import EMOTIONS
from fer_core.runs import Run


@pytest.fixture(scope="module")
def validation() -> FaceDataset:
    return demo_faces().split("validation")


def test_from_a_face_to_its_map_and_to_what_is_looked_at(visit: Any, validation: FaceDataset) -> None:
    person, face = visit(), str(validation.ids[20])
    page = person.open("samples", checkpoint="report-cnn:20", face=face)
    page.get_by_role("link", name="Neighbours on the map").click()
    page.get_by_role("heading", name="Map", exact=True, level=1).wait_for()
    page.get_by_text(f"Nearest neighbours of {face}").wait_for()
    person.settle()
    person.wait_choice("Checkpoint", "report-cnn:20")
    page.get_by_role("link", name="What is looked at").click()
    page.get_by_role("heading", name="Saliency", exact=True, level=1).wait_for()
    page.get_by_text(face, exact=True).wait_for()
    person.wait_query(face=face, checkpoint="report-cnn:20")


def test_from_a_cell_to_what_is_looked_at_on_its_faces(visit: Any, server: Any, validation: FaceDataset) -> None:
    said = Predictor.load(Run(server.runs / "report-cnn"), 20).predict(validation.images).emotions
    pairs = [
        (int(((validation.emotions == i) & (said == j)).sum()), i, j) for i in range(7) for j in range(7) if i != j
    ]
    count, true, taken = max(pairs)
    true_name, taken_name = EMOTIONS[true], EMOTIONS[taken]
    person = visit()
    page = person.open(
        "confusion", checkpoint="report-cnn:20", scored="Demo faces, validation", cell=f"{true_name}>{taken_name}"
    )
    page.get_by_role("link", name="What is looked at on these faces").click()
    page.get_by_role("heading", name="Saliency", exact=True, level=1).wait_for()
    person.wait_query(show="Averages", by="A confusion")
    person.settle()
    person.wait_choice("True", true_name)
    person.wait_choice("Taken for", taken_name)
    picture = page.get_by_test_id("stImage").locator("img")
    picture.wait_for()
    assert count == np.sum((validation.emotions == true) & (said == taken)) > 0
