"""Map: what its points are against the core, what a click and a lasso do, and how often neighbours share a label."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboard.scatter import packed
from fer_core.data import FaceDataset, LoadOptions, load_dataset
from fer_core.explain import projection
from fer_core.explain.embedding import penultimate
from fer_core.explain.neighbours import agreement, nearest
from fer_core.explain.projection import aligned, principal_components
from fer_core.labels import EMOTIONS
from fer_core.runs import Run, halved


@pytest.fixture
def validation(own_faces: FaceDataset) -> FaceDataset:
    return own_faces.split("validation")


@pytest.fixture(scope="module")
def features(own_runs: Path, own_faces: FaceDataset) -> Callable[[int], np.ndarray]:
    """As they are stored."""
    part = own_faces.split("validation")

    def of(epoch: int) -> np.ndarray:
        made = penultimate(Run(own_runs / "own").load_checkpoint(epoch), part.images)
        return made.astype(np.float16).astype(np.float32)

    return of


@pytest.fixture
def shown(open_page: Any, own_runs: Path, own_data: Path) -> Callable[..., Any]:
    return lambda **query: open_page("map", own_runs, own_data, **{"checkpoint": "own:2"} | query)


def components(page: Any) -> list[dict[str, Any]]:
    return [dict(json.loads(each.proto.json)) for each in page.app.get("bidi_component")]


def map_data(page: Any) -> dict[str, Any]:
    (found,) = [each for each in components(page) if "frames" in each]
    return found


def galleries(page: Any) -> list[list[dict[str, Any]]]:
    return [each["tiles"] for each in components(page) if "tiles" in each]


def points(data: dict[str, Any], frame: int = 0) -> np.ndarray:
    """The coordinates in units of the map, about the middle of what is shown."""
    raw = np.frombuffer(base64.b64decode(data["frames"][frame]["points"]), "<u2").reshape(-1, 2)
    return (raw / 65535 - 0.5) * data["span"]


def codes(text: str, kind: Any = np.uint8) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def same_shape(found: np.ndarray, expected: np.ndarray) -> None:
    """But for the place of the middle."""
    tolerance = 3e-4 * np.ptp(expected, axis=0).max()
    np.testing.assert_allclose(found - found.mean(0), expected - expected.mean(0), atol=tolerance)


def test_points_are_the_principal_components(
    shown: Any, validation: FaceDataset, features: Any, said: Callable[..., np.ndarray]
) -> None:
    page = shown()
    data, made = map_data(page), principal_components(features(2))
    same_shape(points(data), made.coordinates)
    probabilities = halved(said(validation, 2)).astype(np.float32)
    frame = data["frames"][0]
    np.testing.assert_array_equal(codes(frame["predicted"]), probabilities.argmax(axis=1))
    np.testing.assert_allclose(codes(frame["confidence"]), 100 * probabilities.max(axis=1), atol=0.51)
    np.testing.assert_array_equal(codes(data["truth"], np.int8), validation.emotions)
    assert data["ids"].split("\n") == validation.ids.tolist()
    assert (data["selected"], data["chosen"], data["film"]) == (None, -1, False)
    told = " ".join(page.texts)
    assert "**own:2** on fer2013.csv, validation, n = 70." in told
    first, second = made.shares
    assert f"Across {first:.1%}, up {second:.1%} of the variance of 648 features." in told


def test_how_often_neighbours_share_a_label(shown: Any, validation: FaceDataset, features: Any) -> None:
    page, expected = shown(), agreement(features(2), validation.emotions)
    low, high = expected.interval
    sentence = (
        f"Under own:2, **{expected.value:.1%}** of a face's 10 nearest neighbours have its label "
        f"({low:.1%} to {high:.1%}, n = 70; by chance {expected.chance:.1%})."
    )
    assert sentence in page.texts
    table = page.app.dataframe[0].value
    assert table["Emotion"].tolist() == list(EMOTIONS)
    by_hand = [100 * expected.shares[validation.emotions == i].mean() for i in range(7)]
    np.testing.assert_allclose(table["Same label"], by_hand)
    assert table["Faces asked"].sum() == 70


def test_a_face_and_its_neighbours(shown: Any, validation: FaceDataset, features: Any) -> None:
    face = str(validation.ids[9])
    page = shown(face=face)
    rows, distances = nearest(features(2), 9)
    data = map_data(page)
    assert (data["chosen"], data["near"]) == (9, rows.tolist())
    (tiles,) = galleries(page)
    assert [tile["id"] for tile in tiles] == validation.ids[rows].tolist()
    assert [tile["text"] for tile in tiles] == [EMOTIONS[emotion] for emotion in validation.emotions[rows]]
    assert [tile["mark"] for tile in tiles] == [f"{distance:.2f}" for distance in distances]
    assert f"**{face}**" in page.texts
    page.click("next face")
    assert page.query["face"] in (str(validation.ids[10]), [str(validation.ids[10])])
    page.click("close face")
    assert map_data(page)["chosen"] == -1


def test_a_face_that_is_not_there(shown: Any) -> None:
    page = shown(face="validation-99999")
    assert page.says("warning") == ["There is no face 'validation-99999' in this split of fer2013.csv; choose another."]


def test_selected_faces(shown: Any, validation: FaceDataset, said: Callable[..., np.ndarray]) -> None:
    rows = np.flatnonzero(np.isin(validation.emotions, [3, 4]))[:15]
    page = shown(selected=f"validation.{validation.fingerprint[:8]}.{packed(rows)}")
    marked = codes(map_data(page)["selected"])
    np.testing.assert_array_equal(np.flatnonzero(marked), rows)
    (tiles,) = galleries(page)
    assert [tile["id"] for tile in tiles] == validation.ids[rows].tolist()
    right = (halved(said(validation, 2)).argmax(axis=1) == validation.emotions)[rows].mean()
    (sentence,) = [text for text in page.texts if "faces selected" in text]
    assert sentence.startswith("**15 faces selected** Happy 53%, Sad 47%; ")
    assert f"{right:.1%} right (" in sentence
    page.app.button_group(key="split").set_value("Test")  # other faces in the same rows
    assert map_data(page.run())["selected"] is None
    page.app.button_group(key="split").set_value("Validation")
    assert map_data(page.run())["selected"] is not None
    page.click("clear")
    assert galleries(page) == []
    assert map_data(page)["selected"] is None


@pytest.mark.parametrize("selected", ["nonsense", "validation.", "validation.nonsense", "train.eJxjYAAAAAQAAQ", "."])
def test_a_selection_that_means_nothing(shown: Any, selected: str) -> None:
    page = shown(selected=selected)
    assert map_data(page)["selected"] is None
    assert page.says("error") == []


def test_two_epochs_lie_over_one_another(
    shown: Any, validation: FaceDataset, features: Any, said: Callable[..., np.ndarray]
) -> None:
    page = shown(epochs="Two", before="own:1")
    data = map_data(page)
    assert [frame["label"] for frame in data["frames"]] == ["own:1", "own:2"]
    assert data["panels"] == [0, 1]
    before, after = (principal_components(features(epoch)).coordinates for epoch in (1, 2))
    laid = aligned(before, after)
    same_shape(points(data, 1), after)
    same_shape(points(data, 0), laid.coordinates)
    assert f"own:1 laid over it: likeness {laid.likeness:.2f}." in " ".join(page.texts)
    np.testing.assert_array_equal(codes(data["frames"][0]["predicted"]), halved(said(validation, 1)).argmax(axis=1))
    assert set(page.app.dataframe[0].value["Checkpoint"]) == {"own:1", "own:2"}


def test_all_kept_epochs_in_order(shown: Any, features: Any) -> None:
    data = map_data(shown(epochs="All kept"))
    assert [frame["label"] for frame in data["frames"]] == ["own:1", "own:2", "own:3"]
    assert (data["film"], data["panels"], data["start"]) == (True, [0], 1)
    maps = [principal_components(features(epoch)).coordinates for epoch in (1, 2, 3)]
    same_shape(points(data, 1), maps[1])
    same_shape(points(data, 0), aligned(maps[0], maps[1]).coordinates)
    same_shape(points(data, 2), aligned(maps[2], maps[1]).coordinates)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("color", ["Emotion", "Prediction", "Right or wrong", "Confidence"])
def test_colours(open_page: Any, own_runs: Path, own_data: Path, color: str, dark: bool) -> None:
    data = map_data(open_page("map", own_runs, own_data, dark=dark, color=color))
    named = [each["name"] for each in data["legend"]["colors"]]
    assert named == {"Right or wrong": ["Right", "Wrong"], "Confidence": []}.get(color, list(EMOTIONS))
    assert len(set(data["palette"])) == len(data["palette"]) >= 3
    assert "right" in data["legend"]["forms"]  # told by form too


def test_umap_is_made_on_request(shown: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    made = np.random.default_rng(0).normal(size=(70, 2)).astype(np.float32)
    asked = []

    def stand_in(features: np.ndarray, report: Any = None) -> np.ndarray:
        asked.append(features.shape)
        report(1.0)
        return made

    monkeypatch.setattr(projection, "umap_map", stand_in)
    monkeypatch.setattr("dashboard.state_map.has_umap", lambda: True)
    monkeypatch.setattr("dashboard.state_map._loaded", lambda _module: None)
    page = shown(map="UMAP")
    (info,) = page.says("info")
    assert info.startswith("UMAP of own:2 on 70 faces has not been made yet.")
    assert components(page) == asked == []
    page.click("make umap")
    same_shape(points(map_data(page)), made)
    assert asked == [(70, 648)]
    again = shown(map="UMAP")  # another session: from the cache
    assert again.says("info") == []
    same_shape(points(map_data(again)), made)
    assert len(asked) == 1
    assert "variance" not in " ".join(again.texts)


def test_without_umap_learn(shown: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("dashboard.state_map.has_umap", lambda: False)
    page = shown(map="UMAP")
    (info,) = page.says("info")
    assert info == (
        'UMAP needs the package umap-learn: `pip install -e ".[umap]"` in the project\'s folder installs it.'
    )
    page.app.button_group(key="map").set_value("PCA")
    assert len(points(map_data(page.run()))) == 70


def test_faces_without_labels(open_page: Any, own_runs: Path, own_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    pixels = [line.split(",")[1] for line in own_data.read_text().splitlines()[1:31]]
    path.write_text("\n".join(["pixels", *pixels, ""]))
    rows = np.array([3, 4, 9])
    stamp = load_dataset(path, LoadOptions(use_cache=False)).split("test").fingerprint[:8]
    page = open_page("map", own_runs, path, selected=f"test.{stamp}.{packed(rows)}", face="test-00003")
    data = map_data(page)
    assert set(codes(data["truth"], np.int8)) == {-1}
    assert [each["name"] for each in data["legend"]["colors"]][-1] == "No label"
    assert data["legend"]["forms"] == ""
    assert "**3 faces selected**" in page.texts
    assert not any("nearest neighbours have" in text for text in page.texts)
    assert {tile["text"] for tile in galleries(page)[0]} == {"no label"}


def test_one_face_alone(open_page: Any, own_runs: Path, own_data: Path, tmp_path: Path) -> None:
    lines = own_data.read_text().splitlines()
    path = tmp_path / "one.csv"
    path.write_text("\n".join([lines[0], lines[1], ""]))
    page = open_page("map", own_runs, path, face="train-00000")
    assert page.says("error") == []
    assert len(points(map_data(page))) == 1
