"""The Data page: what it counts, what it shows of groups, doubts, dynamics and slices, and what a person decides."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_core.data import FaceDataset, LoadOptions, demo_faces, load_dataset
from fer_core.data.curation import Curation
from fer_core.dynamics import read_dynamics
from fer_core.label_errors import find_label_errors
from fer_core.labels import EMOTIONS
from fer_core.predictions import split_probabilities
from fer_core.runs import Run

CHECKPOINTS = Path(__file__).parent.parent.parent / "checkpoints"


@pytest.fixture(autouse=True)
def decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[tuple[str, str, str]]]:
    """Decisions of this test alone; what stands in their file for a data set."""
    path = tmp_path / "decisions" / "curation.sqlite"
    monkeypatch.setenv("FER_CURATION", str(path))
    return lambda data: [(mark.id, mark.verdict, mark.emotion) for mark in Curation(data, path).marks()]


@pytest.fixture(scope="module")
def copied_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 rendered faces, then copies: row 0 with another label, row 1 into PublicTest, row 2 mirrored into
    PrivateTest; and a black face."""
    faces = demo_faces()
    rows = np.random.default_rng(0).choice(np.flatnonzero(faces.splits == 0), 120, replace=False)
    images, emotions = faces.images[rows], faces.emotions[rows]
    images = np.concatenate([images, images[:2], images[2:3, :, ::-1], np.zeros((1, 48, 48), np.uint8)])
    emotions = np.concatenate([emotions, [(emotions[0] + 1) % 7, emotions[1], emotions[2], 0]])
    usages = ["Training"] * 121 + ["PublicTest", "PrivateTest", "Training"]
    lines = [
        f"{emotion},{' '.join(map(str, image.ravel()))},{usage}"
        for emotion, image, usage in zip(emotions, images, usages, strict=True)
    ]
    path = tmp_path_factory.mktemp("copies") / "fer2013.csv"
    path.write_text("\n".join(["emotion,pixels,Usage", *lines, ""]))
    return path


def galleries(page: Any) -> list[list[str]]:
    """The ids of the tiles of each gallery on the page."""
    return [[tile["id"] for tile in json.loads(each.proto.json)["tiles"]] for each in page.app.get("bidi_component")]


def button(page: Any, label: str) -> Any:
    return next(each for each in page.app.button if each.label == label)


def test_overview(open_page: Any, own_runs: Path, copied_data: Path) -> None:
    page = open_page("data", own_runs, copied_data)
    assert "**fer2013.csv**: 124 faces, **122 distinct**, 1 constant, 0 more nearly blank." in page.texts
    means, blank = galleries(page)
    assert means == list(EMOTIONS)
    assert blank == ["train-00121"]
    _, shares = page.chart("emotion", "split", "share")
    faces = load_dataset(copied_data, LoadOptions(use_cache=False)).split("train")
    happy = shares[(shares["emotion"] == "Happy") & (shares["split"] == "train")]
    assert float(happy["share"].iloc[0]) == pytest.approx((faces.emotions == 3).mean())


@pytest.mark.parametrize("quality", ["Contrast", "Sharpness"])
def test_spreads_add_up(open_page: Any, own_runs: Path, own_data: Path, quality: str) -> None:
    page = open_page("data", own_runs, own_data, quality=quality)
    _, table = page.chart("value", "share", "split")
    np.testing.assert_allclose(table.groupby("split")["share"].sum(), 1)


@pytest.mark.parametrize(
    ("copies", "groups", "expected"),
    [
        ("Exact", "Conflicting labels", [["train-00000", "train-00120"]]),
        ("Exact", "Across splits", [["train-00001", "validation-00000"]]),
        ("Exact", "All", [["train-00000", "train-00120"], ["train-00001", "validation-00000"]]),
        ("Near", "All", [["train-00002", "test-00000"]]),
        ("Near", "Conflicting labels", []),
    ],
)
def test_groups_of_copies(
    open_page: Any, own_runs: Path, copied_data: Path, copies: str, groups: str, expected: list[list[str]]
) -> None:
    page = open_page("data", own_runs, copied_data, section="Duplicates", copies=copies, groups=groups)
    assert [sorted(ids) for ids in galleries(page)] == [sorted(ids) for ids in expected]
    if copies == "Exact":
        assert any("**1** of 1 validation faces also stand in train" in text for text in page.texts)
    else:
        assert any("**1** of 1 test faces also stand in train" in text for text in page.texts)
    assert page.says("info") == ([] if expected else ["There are none."])


def test_deciding_about_a_copy(open_page: Any, own_runs: Path, copied_data: Path, decided: Any) -> None:
    page = open_page("data", own_runs, copied_data, section="Duplicates", face="train-00120")
    button(page, "Drop").click()
    page.run()
    assert decided("fer2013.csv") == [("train-00120", "drop", "")]
    tiles = json.loads(page.app.get("bidi_component")[0].proto.json)["tiles"]
    assert {tile["id"]: tile["mark"] for tile in tiles} == {"train-00000": "", "train-00120": "✗"}
    button(page, "Undo").click()
    page.run()
    assert decided("fer2013.csv") == []


def test_no_copies(open_page: Any, own_runs: Path, own_data: Path) -> None:
    page = open_page("data", own_runs, own_data, section="Duplicates")
    assert page.says("info") == ["No face stands here more than once."]


# -- label errors ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run on demo faces that ships."""
    folder = tmp_path_factory.mktemp("demo")
    shutil.copytree(CHECKPOINTS / "demo", folder / "demo")
    return folder


def test_doubts_about_validation_labels(open_page: Any, demo_runs: Path, decided: Any) -> None:
    part = demo_faces().split("validation")
    expected = find_label_errors(split_probabilities(Run(demo_runs / "demo"), 26, part), part.emotions, "")
    assert len(expected.rows) > 3
    ids = part.ids[expected.rows].tolist()
    page = open_page("data", demo_runs, section="Label errors", doubted="Validation", checkpoint="demo:26")
    assert galleries(page) == [ids]
    assert any(f"**{len(ids)} of {len(part)}** validation faces" in text for text in page.texts)

    page = open_page("data", demo_runs, section="Label errors", doubted="Validation", checkpoint="demo:26", face=ids[0])
    proposed = EMOTIONS[expected.proposed[0]]
    assert any(f"proposed **{proposed}**" in text for text in page.texts)
    button(page, proposed).click()
    page.run()
    assert decided("Demo faces") == [(ids[0], "relabel", proposed)]
    assert page.query["face"] == ids[1]  # it goes on to the next
    button(page, "Keep").click()
    page.run()
    assert [mark[:2] for mark in decided("Demo faces")] == [(ids[0], "relabel"), (ids[1], "keep")]
    page.app.toggle(key="undecided").set_value(True)
    page.run()
    assert galleries(page) in ([ids[2:]], [])
    button(page, "Undo the last").click()
    page.run()
    assert [mark[:2] for mark in decided("Demo faces")] == [(ids[0], "relabel")]


def test_only_doubts_of_a_kind(open_page: Any, demo_runs: Path) -> None:
    part = demo_faces().split("validation")
    expected = find_label_errors(split_probabilities(Run(demo_runs / "demo"), 26, part), part.emotions, "")
    address = {"section": "Label errors", "doubted": "Validation", "checkpoint": "demo:26"}
    page = open_page("data", demo_runs, **address, given=EMOTIONS[expected.given[0]])
    (shown,) = galleries(page)
    assert shown == part.ids[expected.rows[expected.given == expected.given[0]]].tolist()


def test_networks_for_training_labels_are_offered(open_page: Any, own_runs: Path, own_data: Path) -> None:
    page = open_page("data", own_runs, own_data, section="Label errors", doubted="Train", checkpoint="own:3")
    (info,) = page.says("info")
    assert info.startswith("Whether a training label is wrong can only be told by networks that did not learn it")
    assert "126 faces" in info
    assert button(page, "Train 4 networks")
    assert galleries(page) == []


def test_known_answers_about_training_labels_are_shown(
    open_page: Any, own_runs: Path, own_data: Path, own_faces: FaceDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = own_faces.split("train")
    probabilities = np.full((len(train), 7), 0.01, np.float32)
    probabilities[np.arange(len(train)), train.emotions] = 0.94
    wrong = [5, 50]
    probabilities[wrong] = 0.01
    probabilities[wrong, (train.emotions[wrong] + 2) % 7] = [0.96, 0.95]
    monkeypatch.setattr("dashboard.state_data.known_out_of_fold", lambda *_: probabilities)
    page = open_page("data", own_runs, own_data, section="Label errors", doubted="Train", checkpoint="own:3")
    assert [sorted(ids) for ids in galleries(page)] == [sorted(train.ids[wrong])]


# -- learning --------------------------------------------------------------------------------------


def test_a_decision_that_cannot_be_kept_says_why(
    open_page: Any, demo_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").write_text("")
    page = open_page("data", demo_runs, section="Label errors", checkpoint="report-resnet:86")
    page.app.query_params["face"] = galleries(page)[0][0]
    page.run()
    monkeypatch.setenv("FER_CURATION", str(tmp_path / "a file" / "c.sqlite"))
    button(page, "Keep").click()
    (error,) = page.run().says("error")
    assert "set FER_CURATION" in error
    assert page.run().says("error") == []


def test_what_was_learned_when(open_page: Any, own_runs: Path, own_data: Path, own_faces: FaceDataset) -> None:
    dynamics = read_dynamics(own_runs / "own")
    assert dynamics is not None
    train = own_faces.split("train")
    page = open_page("data", own_runs, own_data, section="Learning", checkpoint="own:3")
    never = int((dynamics.first_learned == 0).sum())
    assert any(
        "over 3 epochs on fer2013.csv, train, n = 126" in text and f"**{never}** never" in text for text in page.texts
    )
    _, squares = page.chart("left", "bottom", "faces")
    assert squares["faces"].sum() == 126
    for region in ("easy", "ambiguous", "hard"):
        page = open_page("data", own_runs, own_data, section="Learning", checkpoint="own:3", region=region.capitalize())
        expected = set(train.ids[dynamics.regions == region])
        assert f"**{len(expected):,} faces**, {region}" in page.texts
        assert all(set(ids) <= expected for ids in galleries(page))


def test_a_box_on_the_map(open_page: Any, own_runs: Path, own_data: Path, own_faces: FaceDataset) -> None:
    dynamics = read_dynamics(own_runs / "own")
    assert dynamics is not None
    middle = float(np.median(dynamics.confidence))
    page = open_page(
        "data",
        own_runs,
        own_data,
        section="Learning",
        checkpoint="own:3",
        box=f"0~0.5~{middle:.4f}~1",
        learned="Most variable",
    )
    inside = np.flatnonzero(dynamics.confidence >= round(middle, 4) - 1e-4)
    order = inside[np.lexsort((dynamics.confidence[inside], -dynamics.variability[inside]))]
    assert f"**{len(inside)} faces** in the box" in page.texts
    (shown,) = galleries(page)
    assert shown == own_faces.split("train").ids[order[:36]].tolist()
    button(page, "Clear").click()
    assert "**126 faces**" in page.run().texts


def test_no_record_of_the_learning(open_page: Any, runs: Path, own_data: Path) -> None:
    (runs / "own" / "dynamics.bin").unlink()
    page = open_page("data", runs, own_data, section="Learning", checkpoint="own:3")
    (info,) = page.says("info")
    assert info.startswith("own holds no record of how it learned these faces")
    (runs / "other" / "dynamics.bin").write_bytes(b"nothing of the kind")
    page = open_page("data", runs, own_data, section="Learning", checkpoint="other:3")
    (error,) = page.says("error")
    assert "dynamics.bin cannot be read" in error


def test_a_record_of_other_faces(open_page: Any, own_runs: Path) -> None:
    page = open_page("data", own_runs, section="Learning", checkpoint="own:3")
    assert page.says("info")[0].startswith("own holds no record")


# -- slices ----------------------------------------------------------------------------------------


def test_slices(open_page: Any, own_runs: Path, own_data: Path, own_faces: FaceDataset, said: Any) -> None:
    part = own_faces.split("train")
    right = said(part, 3).argmax(axis=1) == part.emotions
    page = open_page("data", own_runs, own_data, section="Slices", split="Train", checkpoint="own:3", mistakes="false")
    table = page.app.dataframe[0].value
    assert table["Accuracy"].is_monotonic_increasing
    dark = table[table["By"] == "brightness"].iloc[0]
    assert dark["Faces"] in range(28, 36)
    # The labels have 18 faces each, fewer than a slice needs, as some of the clusters may.
    assert not (table["By"] == "label").any()
    assert any(f"accuracy **{right.mean():.1%}**" in text for text in page.texts)
    assert any(f"Of **{len(table)}** slices looked at" in text for text in page.texts)


def test_slices_without_labels(open_page: Any, own_runs: Path, own_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    pixels = [line.split(",")[1] for line in own_data.read_text().splitlines()[1:31]]
    path.write_text("\n".join(["pixels", *pixels, ""]))
    page = open_page("data", own_runs, path, section="Slices", checkpoint="own:3")
    assert page.says("info") == ["The test split of test.csv has no labels to score."]
    page = open_page("data", own_runs, path, section="Label errors", checkpoint="own:3")
    assert page.says("info") == ["The test split of test.csv has no labels that could be wrong."]
    page = open_page("data", own_runs, path)
    assert page.says("info") == ["None of these faces has a label."]


@pytest.mark.parametrize("section", ["Learning", "Slices"])
def test_sections_that_need_a_checkpoint_say_so(open_page: Any, tmp_path: Path, section: str) -> None:
    page = open_page("data", tmp_path / "none", section=section)
    assert page.says("info")[0].startswith("No run has kept a checkpoint yet.")
    assert page.links() == ["Go to Training"]


@pytest.mark.parametrize("section", ["Overview", "Duplicates", "Label errors", "Slices"])
@pytest.mark.parametrize("dark", [False, True])
def test_demo_faces_out_of_the_box(open_page: Any, shipped: Path, section: str, dark: bool) -> None:
    page = open_page("data", shipped, dark=dark, section=section, clusters="false")
    assert page.says("error") == page.says("warning") == []
    assert page.title == "Data"


def test_a_damaged_file_of_decisions_is_named(open_page: Any, own_runs: Path, own_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "decisions" / "curation.sqlite"
    path.parent.mkdir()
    path.write_text("no database at all, though it is long enough to be one" * 30)
    page = open_page("data", own_runs, own_data)
    (error,) = page.says("error")
    assert str(path) in error
    assert "set FER_CURATION" in error


def test_the_run_of_the_tests_is_one_of_these_faces(own_runs: Path, own_faces: FaceDataset) -> None:
    assert Run(own_runs / "own").began_with(replace(own_faces))
