"""Every page in every state of data and runs: what is missing or broken is one sentence, and the rest goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dashboard import state
from fer_core.data import demo_faces
from fer_core.errors import RunError
from fer_core.labels import EMOTIONS
from fer_core.runs import Run

TITLES = {
    "home": "What did the network learn from faces?",
    "try_it": "Try it",
    "samples": "Samples",
    "data": "Data",
    "saliency": "Saliency",
    "layers": "Layers",
    "map": "Map",
    "structure": "Structure",
    "training": "Training",
    "checkpoints": "Checkpoints",
    "confusion": "Confusion",
    "export": "Export",
}


def test_shipped_runs_and_demo_faces(open_page: Any, any_page: str, shipped: Path) -> None:
    page = open_page(any_page, shipped)
    assert page.title == TITLES[any_page]
    assert page.says("error") == page.says("warning") == []
    best = Run(shipped / "report-resnet").best_epoch()
    assert page.app.selectbox(key="checkpoint").value == f"report-resnet:{best}"
    score = next(
        r for r in Run(shipped / "report-resnet").records() if r.get("split") == "validation" and r["epoch"] == best
    )
    assert page.sidebar[0].startswith(f"**Demo faces**, {len(demo_faces()):,} faces (rendered)")
    assert page.sidebar[1].startswith(f"{score['accuracy']:.1%} right")
    assert page.sidebar[1].endswith(f"FER2013, validation, n = {score['n']:,}")


@pytest.mark.parametrize("exists", [True, False])
def test_no_runs(open_page: Any, any_page: str, tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "runs"
    if exists:
        folder.mkdir()
    page = open_page(any_page, folder)
    assert page.title == TITLES[any_page]
    assert page.says("error") == []
    assert page.sidebar[-1] == "No checkpoint yet: train a run on the Training page."
    if any_page == "data":  # its first section asks no network
        assert page.says("info") == []
        return
    (info,) = page.says("info")
    if any_page == "home":
        assert info.startswith("No run yet.")
        assert page.links()[0] == "Train one on the embedded faces, about a minute"
        assert len(page.gallery()["tiles"]) == 7
    elif any_page == "training":
        assert info == "Choose a run above, or start one below."
        assert "Start" in [button.label for button in page.app.button]
    else:
        assert info.startswith("No run has kept a checkpoint yet.")
        assert page.links() == ["Go to Training"]


def truncated(path: Path) -> str:
    path.write_bytes(path.read_bytes()[:-1000])
    return "is not a whole safetensors file"


def no_safetensors(path: Path) -> str:
    path.write_text("<html>404: Not Found</html>" * 20)
    return "is not a whole safetensors file"


def newer_format(path: Path) -> str:
    save_file({"weight": torch.zeros(1)}, path, {"fer_core": json.dumps({"format_version": 2})})
    return "has format 2, this version reads format 1"


def foreign(path: Path) -> str:
    save_file({"weight": torch.zeros(1)}, path)
    return "was not written by this project"


@pytest.mark.parametrize("damage", [truncated, no_safetensors, newer_format, foreign])
def test_a_broken_checkpoint_is_named_and_the_others_go_on(
    open_page: Any, checkpoint_page: str, runs: Path, damage: Callable[[Path], str]
) -> None:
    broken = Run(runs / "own").checkpoint_path(2)
    reason = damage(broken)
    page = open_page(checkpoint_page, runs, checkpoint="own:2", before="other:1", scored="Demo faces, validation")
    (error,) = page.says("error")
    assert str(broken) in error
    assert reason in error
    page.app.selectbox(key="checkpoint").set_value("own:3")
    page.run()
    assert page.says("error") == []
    page.app.selectbox(key="checkpoint").set_value("other:2")
    assert page.run().says("error") == []


def test_the_history_of_a_face_leaves_out_broken_checkpoints(open_page: Any, runs: Path) -> None:
    truncated(Run(runs / "own").checkpoint_path(2))
    face = str(demo_faces().split("validation").ids[0])
    page = open_page("samples", runs, checkpoint="own:3", face=face)
    assert sorted(set(page.chart("epoch", "probability")[1]["epoch"])) == [1, 3]
    assert "Over the 2 epochs kept of own" in page.texts


def test_a_checkpoint_removed_meanwhile(open_page: Any, checkpoint_page: str, runs: Path) -> None:
    page = open_page(checkpoint_page, runs, checkpoint="own:2")
    Run(runs / "own").checkpoint_path(2).unlink()
    page.run()
    assert page.says("error") == []
    assert page.app.selectbox(key="checkpoint").value != "own:2"
    shutil.rmtree(runs / "own")
    page.run()
    assert page.says("error") == []
    assert page.app.selectbox(key="checkpoint").value == f"other:{Run(runs / 'other').best_epoch()}"


def test_a_run_removed_meanwhile(open_page: Any, any_page: str, runs: Path) -> None:
    page = open_page(any_page, runs, checkpoint="own:2")
    shutil.rmtree(runs / "own")
    page.run()
    assert page.says("error") == []
    assert page.title == TITLES[any_page]
    assert page.app.selectbox(key="checkpoint").value == f"other:{Run(runs / 'other').best_epoch()}"


def test_a_face_is_looked_at_anew_by_a_network_trained_anew(open_page: Any, runs: Path, said: Any) -> None:
    first = demo_faces().split("validation").subset(np.array([0]))
    page = open_page("samples", runs, checkpoint="own:3", face=str(first.ids[0]))
    own = Run(runs / "own")
    shutil.copy(own.checkpoint_path(1), own.checkpoint_path(3))
    _, told = page.run().chart("epoch", "probability")
    last = told[told["epoch"] == 3]
    expected = said(first, 1)[0][[EMOTIONS.index(emotion) for emotion in last["emotion"]]]
    np.testing.assert_allclose(last["probability"], expected, atol=1e-3)


def test_what_is_remembered_gives_way_to_its_successor_alone() -> None:
    """A heartbeat a second must not push out what took seconds to compute."""
    memory, made = state._Memory(3), iter(range(100))
    memory.get("dear", lambda: "network")
    for beat in range(10):
        assert memory.get("run", lambda: next(made), beat) == beat
        assert memory.get("run", lambda: next(made), beat) == beat
    assert memory.get("dear", lambda: "computed again") == "network"


BROKEN_RUNS = {
    "cut off": '{"format_version": 1, "config": {"model":',
    "no config": '{"format_version": 1}',
    "a list": "[1, 2]",
    "newer": '{"format_version": 2, "config": {}}',
    "unknown setting": '{"format_version": 1, "config": {"warmup": 3}}',
}


@pytest.mark.parametrize("content", BROKEN_RUNS.values(), ids=BROKEN_RUNS.keys())
def test_a_broken_run_json_is_listed_and_the_others_go_on(
    open_page: Any, any_page: str, runs: Path, content: str
) -> None:
    (runs / "other" / "run.json").write_text(content)
    page = open_page(any_page, runs)
    assert page.title == TITLES[any_page]
    assert {option.split(":")[0] for option in page.app.selectbox(key="checkpoint").options} == {"own"}
    if any_page == "home":
        with pytest.raises(RunError) as refused:
            _ = Run(runs / "other").config
        assert page.says("error") == [str(refused.value)]
        assert str(runs / "other" / "run.json") in str(refused.value)
        assert page.app.dataframe[0].value["Run"].tolist() == ["own"]
    else:
        assert page.says("error") == []


def test_a_run_json_without_data(open_page: Any, any_page: str, runs: Path) -> None:
    """As a script of the user's own might write it: nothing tells on which faces it was scored."""
    path = runs / "other" / "run.json"
    info = json.loads(path.read_text())
    del info["data"]
    path.write_text(json.dumps(info))
    page = open_page(any_page, runs, checkpoint="other:1")
    assert page.title == TITLES[any_page]


@pytest.mark.parametrize(
    "content", ["", '{"kind": "epoch", "epoch": 1, "split": "valid', "no JSON at all\n"], ids=["empty", "torn", "text"]
)
def test_metrics_that_hold_nothing(open_page: Any, any_page: str, runs: Path, content: str) -> None:
    (runs / "other" / "metrics.jsonl").write_text(content)
    page = open_page(any_page, runs, checkpoint="other:1")
    assert page.says("error") == []
    assert page.app.selectbox(key="checkpoint").value == "other:1"
    assert len(page.sidebar) == 1  # no score that nobody measured


def test_faces_that_cannot_be_read(open_page: Any, any_page: str, own_runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    path.write_text("emotion,pixels\n0,1 2 3\n")
    page = open_page(any_page, own_runs, path)
    (error,) = page.says("error")
    assert str(path) in error
    assert "line 2" in error
    assert error.endswith("The demo faces are shown instead.")
    assert page.sidebar[0] == f"{len(demo_faces()):,} faces (rendered)"
    if any_page in ("home", "samples"):
        assert set(page.tile_ids()) <= set(demo_faces().ids)


def test_faces_that_are_mended_are_read_again(open_page: Any, own_runs: Path, own_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    path.write_text("emotion,pixels\n0,1 2 3\n")
    page = open_page("samples", own_runs, path)
    assert page.says("error")
    path.write_bytes(own_data.read_bytes())
    page.run()
    assert page.says("error") == []
    assert page.sidebar[0] == "252 faces"


def test_faces_in_a_folder_that_change_are_read_again(
    open_page: Any, own_runs: Path, own_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "_LOOKED", 1e-3)
    path = tmp_path / "mine" / "faces" / "fer2013.csv"
    path.parent.mkdir(parents=True)
    lines = own_data.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:100])[:-9])  # as it is being copied
    page = open_page("samples", own_runs, tmp_path / "mine")
    assert page.says("error")
    for count in (200, 252):
        path.write_bytes(b"".join(lines[: count + 1]))
        assert page.run().says("error") == []
        assert page.sidebar[0] == f"{count} faces"


def test_the_same_faces_from_another_file_go_by_its_name(
    open_page: Any, own_runs: Path, own_data: Path, tmp_path: Path
) -> None:
    """The memory that all sessions share knows these faces already."""
    for path in (own_data, Path(shutil.copy(own_data, tmp_path / "faces.csv"))):
        page = open_page("confusion", own_runs, path, checkpoint="own:3")
        assert any(f"on {path.name}, validation, n = 70" in text for text in page.texts)


@pytest.mark.parametrize("missing", ["nowhere.csv", "empty/"])
def test_no_faces_where_they_were_said_to_be(
    open_page: Any, any_page: str, own_runs: Path, tmp_path: Path, missing: str
) -> None:
    (tmp_path / "empty").mkdir()
    page = open_page(any_page, own_runs, tmp_path / missing)
    (error,) = page.says("error")
    assert str(tmp_path / missing.rstrip("/")) in error
    assert page.title == TITLES[any_page]


@pytest.fixture
def unlabelled(own_data: Path, tmp_path: Path) -> Path:
    """The faces in the form of Kaggle's test.csv."""
    path = tmp_path / "test.csv"
    pixels = [line.split(",")[1] for line in own_data.read_text().splitlines()[1:61]]
    path.write_text("\n".join(["pixels", *pixels, ""]))
    return path


def test_faces_without_labels(open_page: Any, any_page: str, own_runs: Path, unlabelled: Path) -> None:
    page = open_page(any_page, own_runs, unlabelled)
    assert page.says("error") == []
    assert page.sidebar[0] == "60 faces"
    if any_page == "home":
        assert [tile["text"] for tile in page.gallery()["tiles"]] == ["no label"] * 7
    elif any_page == "samples":
        assert {tile["mark"] for tile in page.gallery()["tiles"]} == {""}
        assert "**60 faces**, as seen by" in " ".join(page.texts)
    elif any_page in ("checkpoints", "confusion"):  # what the run recorded can be shown, these faces cannot be scored
        assert page.app.selectbox(key="scored").value == "recorded"
        page.app.selectbox(key="scored").set_value("test")
        (info,) = page.run().says("info")
        assert info.startswith("The test split of test.csv has no labels")


@pytest.mark.parametrize("outcome", ["Right", "Wrong"])
def test_unlabelled_faces_are_neither_right_nor_wrong(
    open_page: Any, own_runs: Path, unlabelled: Path, outcome: str
) -> None:
    page = open_page("samples", own_runs, unlabelled, outcome=outcome)
    assert page.says("info") == ["No face fits these filters."]
    page = open_page("samples", own_runs, unlabelled, face="test-00003")
    assert "no label" in page.texts
    _, bars = page.chart("name", "probability")
    assert not any(name.endswith("(true)") for name in bars["name"])


@pytest.mark.parametrize("drawn", ["samples", "saliency", "checkpoints", "confusion"])
@pytest.mark.parametrize("dark", [False, True])
def test_light_and_dark(open_page: Any, drawn: str, own_runs: Path, own_data: Path, dark: bool) -> None:
    """Plain marks are light on dark and dark on light; the emotions keep their colours."""
    page = open_page(drawn, own_runs, own_data, dark=dark, face="validation-00001", cell="Angry>Angry")
    specs = " ".join(each.proto.spec for each in page.app.get("vega_lite_chart"))
    assert ("#F0F0F0" in specs, "#31333F" in specs) == (dark, not dark) or drawn == "checkpoints"
    assert ("#56B4E9" in specs) or not dark
