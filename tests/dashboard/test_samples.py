"""Samples: which faces are listed in which order, against filters written out with numpy; one face large."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_core.data import FaceDataset
from fer_core.labels import EMOTIONS
from fer_core.runs import Run, halved

EPOCH = 2
PAGE = 48


@pytest.fixture
def validation(own_faces: FaceDataset) -> FaceDataset:
    return own_faces.split("validation")


@pytest.fixture
def probabilities(validation: FaceDataset, said: Callable[..., np.ndarray]) -> np.ndarray:
    """As the dashboard has them: the run stores them as float16."""
    return halved(said(validation, EPOCH)).astype(np.float32)


@pytest.fixture
def samples(open_page: Any, own_runs: Path, own_data: Path) -> Callable[..., Any]:
    return lambda **query: open_page("samples", own_runs, own_data, **{"checkpoint": f"own:{EPOCH}"} | query)


def test_the_network_is_neither_always_right_nor_always_wrong(
    probabilities: np.ndarray, validation: FaceDataset
) -> None:
    """What the other tests of this file need to be able to fail."""
    right = (probabilities.argmax(axis=1) == validation.emotions).sum()
    assert 5 < right < 60


def test_tiles_tell_what_the_network_says(
    samples: Any, validation: FaceDataset, probabilities: np.ndarray, decoded: Any
) -> None:
    page = samples()
    gallery = page.gallery()
    assert [tile["id"] for tile in gallery["tiles"]] == validation.ids[:PAGE].tolist()
    for row, tile in enumerate(gallery["tiles"]):
        predicted = probabilities[row].argmax()
        assert tile["text"] == EMOTIONS[predicted]
        assert tile["mark"] == ("✓" if predicted == validation.emotions[row] else "✗")
        assert tile["share"] == pytest.approx(probabilities[row, predicted])
        true = EMOTIONS[validation.emotions[row]]
        assert tile["title"].startswith(f"{tile['id']}: {true}, predicted {EMOTIONS[predicted]}")
    sheet = decoded(gallery["sprite"])
    for row in (0, 11, 12, 47):
        y, x = 48 * (row // 12), 48 * (row % 12)
        np.testing.assert_array_equal(sheet[y : y + 48, x : x + 48], validation.images[row])
    assert "**70 faces**, as seen by own:2" in page.texts


def test_the_second_page(samples: Any, validation: FaceDataset) -> None:
    assert samples(page="2").tile_ids() == validation.ids[PAGE:].tolist()
    assert samples(page="99").tile_ids() == validation.ids[:PAGE].tolist()
    page = samples()
    page.app.number_input(key="page").set_value(2)
    assert page.run().tile_ids() == validation.ids[PAGE:].tolist()
    page.app.button_group(key="outcome").set_value("Right")  # fewer than a page holds: back to the first
    assert len(page.run().tile_ids()) > 0
    page.app.button_group(key="outcome").set_value("All")
    page.run()
    assert page.query.get("page", ["1"]) == ["1"]
    assert page.tile_ids() == validation.ids[:PAGE].tolist()


@pytest.mark.parametrize(
    "query",
    [
        {"outcome": "Right"},
        {"outcome": "Wrong"},
        {"true": ["Angry", "Sad"]},
        {"predicted": "Fear"},
        {"confidence": ["30", "60"]},
        {"id": "0001"},
        {"id": " VALIDATION-00 "},
        {"sort": "Most confident mistakes"},
        {"sort": "Least confident"},
        {"sort": "Most confident", "true": ["Happy", "Neutral"], "outcome": "Wrong", "confidence": ["20", "90"]},
        {"split": "Test", "sort": "Least confident", "outcome": "Right"},
        {"split": "Train", "predicted": ["Angry", "Disgust"], "id": "1"},
    ],
)
def test_filters_and_orders_in_the_url(
    samples: Any, own_faces: FaceDataset, said: Callable[..., np.ndarray], query: dict[str, Any]
) -> None:
    part = own_faces.split(query.get("split", "Validation").lower())
    probabilities = halved(said(part, EPOCH)).astype(np.float32)
    low, high = (int(end) / 100 for end in query.get("confidence", (0, 100)))
    sort = query.get("sort", "")
    found = []
    for row in range(len(part)):
        predicted = int(np.argmax(probabilities[row]))
        confidence = float(probabilities[row, predicted])
        right = predicted == part.emotions[row]
        wanted = [
            low <= confidence <= high,
            "outcome" not in query or right == (query["outcome"] == "Right"),
            "true" not in query or EMOTIONS[part.emotions[row]] in query["true"],
            "predicted" not in query or EMOTIONS[predicted] in query["predicted"],
            query.get("id", "").strip().lower() in part.ids[row],
            sort != "Most confident mistakes" or not right,
        ]
        if all(wanted):
            found.append((confidence, str(part.ids[row])))
    if sort:
        found.sort(reverse=sort.startswith("Most"), key=lambda each: each[0])
    assert 0 < len(found) < len(part) or not set(query) - {"sort", "id"}
    page = samples(**query)
    shown = dict(zip(page.tile_ids(), [tile["share"] for tile in page.gallery()["tiles"]], strict=True))
    expected = {face: confidence for confidence, face in found[:PAGE]}
    if sort:  # among equals any order will do
        assert list(shown.values()) == pytest.approx(list(expected.values()))
        assert set(shown) <= {face for _, face in found}
    else:
        assert list(shown) == list(expected)
    of = f"{len(found)} of {len(part)} faces" if len(found) < len(part) else f"{len(part)} faces"
    assert f"**{of}**, as seen by own:2" in page.texts


def test_filters_that_nothing_fits_can_be_cleared(samples: Any) -> None:
    page = samples(id="no such face", outcome="Wrong", true="Angry", confidence=["99", "100"])
    assert page.says("info") == ["No face fits these filters."]
    page.click("Clear the filters")
    assert len(page.tile_ids()) == PAGE
    assert (page.app.text_input(key="id").value, page.app.slider(key="confidence").value) == ("", (0, 100))


def test_a_face_in_the_url_is_opened(samples: Any, validation: FaceDataset, probabilities: np.ndarray) -> None:
    row = int(np.flatnonzero(probabilities.argmax(axis=1) != validation.emotions)[0])
    page = samples(face=str(validation.ids[row]))
    true, predicted = EMOTIONS[validation.emotions[row]], EMOTIONS[probabilities[row].argmax()]
    assert f"**{validation.ids[row]}**" in page.texts
    assert f"true {true}, predicted {predicted}" in page.texts
    assert page.gallery()["chosen"] == validation.ids[row]
    _, bars = page.chart("name", "probability")
    np.testing.assert_allclose(bars["probability"], probabilities[row], atol=1e-6)
    assert bars["name"].tolist() == [f"{name} (true)" if name == true else name for name in EMOTIONS]


def test_how_a_face_changed_over_the_epochs(
    samples: Any, validation: FaceDataset, said: Callable[..., np.ndarray]
) -> None:
    page = samples(face=str(validation.ids[5]))
    by_epoch = {epoch: said(validation, epoch)[5] for epoch in (1, 2, 3)}
    led = {int(p.argmax()) for p in by_epoch.values()} | {int(validation.emotions[5])}
    _, table = page.chart("epoch", "emotion", "probability")
    assert set(table["emotion"]) == {EMOTIONS[i] for i in led}
    assert len(table) == 3 * len(led)
    for epoch, emotion, probability in table[["epoch", "emotion", "probability"]].itertuples(index=False):
        assert probability == pytest.approx(by_epoch[epoch][EMOTIONS.index(emotion)], abs=1e-3)


def test_the_history_is_computed_where_the_run_did_not_record_it(
    samples: Any, own_faces: FaceDataset, said: Callable[..., np.ndarray]
) -> None:
    test = own_faces.split("test")
    page = samples(split="Test", face=str(test.ids[3]))
    _, table = page.chart("epoch", "emotion", "probability")
    for epoch, emotion, probability in table[["epoch", "emotion", "probability"]].itertuples(index=False):
        assert probability == pytest.approx(said(test, epoch)[3, EMOTIONS.index(emotion)], abs=1e-4)


def test_stepping_through_the_listed_faces(samples: Any, validation: FaceDataset, probabilities: np.ndarray) -> None:
    wrong = validation.ids[probabilities.argmax(axis=1) != validation.emotions].tolist()
    page = samples(outcome="Wrong", face=wrong[0])
    enabled = {button.key: not button.disabled for button in page.app.button if button.key}
    assert (enabled["previous face"], enabled["next face"]) == (False, True)
    page.click("next face")
    assert page.query["face"] == page.gallery()["chosen"] == wrong[1]
    page.click("next face").click("previous face")
    assert page.query["face"] == wrong[1]
    page.click("close face")
    assert "face" not in page.query
    assert page.gallery()["chosen"] is None
    page = samples(outcome="Wrong", face=wrong[-1])
    assert next(button for button in page.app.button if button.key == "next face").disabled


def test_a_face_that_the_filters_left_out_stays_open(
    samples: Any, validation: FaceDataset, probabilities: np.ndarray
) -> None:
    right = str(validation.ids[probabilities.argmax(axis=1) == validation.emotions][0])
    page = samples(outcome="Wrong", face=right)
    assert f"**{right}**" in page.texts
    assert right not in page.tile_ids()
    assert all(button.disabled for button in page.app.button if button.key in ("previous face", "next face"))


@pytest.mark.parametrize("face", ["nobody", "train-00000", "<b>x</b>"])
def test_a_face_that_is_not_there(samples: Any, face: str) -> None:
    (warning,) = samples(face=face).says("warning")
    assert warning.startswith(f"There is no face '{face}' in this split of fer2013.csv")


def test_wrong_values_in_the_url_are_passed_over(samples: Any, own_runs: Path) -> None:

    page = samples(
        checkpoint="nobody:7", split="Elsewhere", outcome="Maybe", sort="?", true="Bored", confidence="x", page="0"
    )
    assert page.app.selectbox(key="checkpoint").value == f"own:{Run(own_runs / 'own').best_epoch()}"
    assert page.app.button_group(key="split").value == "Validation"
    assert page.app.button_group(key="outcome").value == "All"
    assert len(page.tile_ids()) == PAGE
    for wrong in ("own", "own:", "own:99", ":", "own:two", "other:1"):
        assert samples(checkpoint=wrong).app.selectbox(key="checkpoint").value.startswith("own:")


def test_further_columns_become_filters(open_page: Any, shipped: Path) -> None:
    """The demo faces bring such columns: whatever they are, a narrowed range keeps the faces that it should."""
    from fer_core.data import demo_faces

    validation = demo_faces().split("validation")
    page = open_page("samples", shipped)
    sliders = [slider for slider in page.app.slider if str(slider.key).startswith("x-")]
    numbers = [name for name, column in validation.extra.items() if column.dtype.kind in "if"]
    assert {slider.key for slider in sliders} == {
        f"x-{name}" for name in numbers if validation.extra[name].nunique() > 1
    }
    name = next(name for name in numbers if f"x-{name}" == sliders[-1].key)
    values = validation.extra[name].to_numpy()
    middle = float(np.round(np.median(values), 1))
    sliders[-1].set_range(sliders[-1].value[0], middle)
    page.run()
    expected = validation.ids[values <= middle]
    assert 0 < len(expected) < len(validation)
    assert page.tile_ids() == expected[:PAGE].tolist()
    page.app.text_input(key="id").set_value("no such face")
    page.run().click("Clear the filters")
    assert page.tile_ids() == validation.ids[:PAGE].tolist()
