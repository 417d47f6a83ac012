"""Export: submissions and their scores as counted by hand, two of them compared, and files made on request."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from dashboard import downloads, state_export
from fer_core.data import FaceDataset
from fer_core.evaluation import Share
from fer_core.export import submission_csv
from fer_core.labels import EMOTIONS

OWN = "fer2013.csv"


@pytest.fixture
def export(open_page: Any, own_runs: Path, own_data: Path) -> Callable[..., Any]:
    return lambda **query: open_page("export", own_runs, own_data, checkpoint="own:3", **query)


@pytest.fixture
def test_faces(own_faces: FaceDataset) -> FaceDataset:
    return own_faces.split("test")


def offered(page: Any) -> dict[str, Any]:
    """What can be downloaded: labels and the files' addresses."""
    return {each.proto.label: each.proto for each in page.app.get("download_button")}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What was offered on the Downloads view, by the name of the file."""
    files: dict[str, bytes] = {}
    offer = downloads.offer_file

    def noted(label: str, content: bytes, name: str, kind: str, primary: bool = False) -> None:
        files[name] = content
        offer(label, content, name, kind, primary)

    monkeypatch.setattr(downloads, "offer_file", noted)
    return files


# -- submissions ---------------------------------------------------------------------------------------


def test_one_row_a_checkpoint(
    export: Callable[..., Any], test_faces: FaceDataset, said: Callable[..., np.ndarray]
) -> None:
    page = export(checkpoints=["own:1", "own:3"])
    table = page.app.dataframe[0].value
    assert table["Checkpoint"].tolist() == ["own:1", "own:3"]
    for epoch, (_, row) in zip((1, 3), table.iterrows(), strict=True):
        emotions = said(test_faces, epoch).argmax(axis=1)
        share = Share(int((emotions == test_faces.emotions).sum()), 56)
        assert f"{row['Accuracy']}%" == f"{share.value:.1%}"
        assert row["95% interval"] == f"{share.interval[0]:.1%} to {share.interval[1]:.1%}"
        assert row[list(EMOTIONS)].tolist() == np.bincount(emotions, minlength=7).tolist()
        assert row["Rows"] == 56
    assert any(
        text.startswith(f"{OWN}, test, n = 56. Each file is checked: 56 rows, ids 0 to 55") for text in page.texts
    )
    assert list(offered(page)) == ["All 2 as ZIP", "own-epoch-001.csv", "own-epoch-003.csv"]


def test_the_files_are_what_the_checkpoints_say(test_faces: FaceDataset, said: Callable[..., np.ndarray]) -> None:
    emotions = {epoch: said(test_faces, epoch).argmax(axis=1) for epoch in (1, 3)}
    files = {f"{epoch}.csv": submission_csv(one) for epoch, one in emotions.items()}
    with zipfile.ZipFile(io.BytesIO(state_export.archive(files))) as packed:
        assert packed.testzip() is None
        for epoch, one in emotions.items():
            table = pd.read_csv(packed.open(f"{epoch}.csv"))
            assert table["id"].tolist() == list(range(56))
            assert table["emotion"].tolist() == one.tolist()


def test_all_epochs_at_once_and_the_form_without_ids(export: Callable[..., Any]) -> None:
    page = export()
    assert page.app.multiselect(key="checkpoints").value == ["own:3"]
    assert list(offered(page)) == ["own-epoch-003.csv"]
    page.click("All 3 of own")
    assert page.app.multiselect(key="checkpoints").value == ["own:1", "own:2", "own:3"]
    assert len(page.app.dataframe[0].value) == 3
    page.app.get("button_group")  # both groups are there
    page = export(columns="emotion")
    assert list(offered(page)) == ["own-epoch-003.csv"]
    page.app.multiselect(key="checkpoints").set_value([])
    assert page.run().says("info") == ["Choose at least one checkpoint to see its submission."]


def test_a_checkpoint_in_the_url_that_is_gone(export: Callable[..., Any]) -> None:
    page = export(checkpoints=["walk:7"])
    assert page.says("error") == []
    assert page.title == "Export"


def test_the_list_follows_the_sidebar_until_others_are_chosen(export: Callable[..., Any]) -> None:
    page = export()
    for epoch in (1, 2):
        page.app.selectbox(key="checkpoint").set_value(f"own:{epoch}")
        assert page.run().app.multiselect(key="checkpoints").value == [f"own:{epoch}"]
    page.click("All 3 of own")
    page.app.selectbox(key="checkpoint").set_value("own:3")
    assert page.run().app.multiselect(key="checkpoints").value == ["own:1", "own:2", "own:3"]


def test_a_broken_checkpoint_among_others(open_page: Any, runs: Path, own_data: Path) -> None:
    broken = runs / "own" / "epoch-002.safetensors"
    broken.write_text("<html>404: Not Found</html>")
    page = open_page("export", runs, own_data, checkpoint="own:3").click("All 3 of own")
    (error,) = page.says("error")
    assert str(broken) in error
    assert page.app.dataframe[0].value["Checkpoint"].tolist() == ["own:1", "own:3"]
    assert list(offered(page)) == ["All 2 as ZIP", "own-epoch-001.csv", "own-epoch-003.csv"]


def test_no_test_split(open_page: Any, own_runs: Path, own_data: Path, tmp_path: Path) -> None:
    lines = own_data.read_text().splitlines()
    path = tmp_path / "train.csv"
    path.write_text("\n".join(line.rpartition(",")[0] for line in lines[:60]))
    page = open_page("export", own_runs, path, checkpoint="own:3")
    (info,) = page.says("info")
    assert info.startswith("train.csv has no test split: open the dashboard with --data and Kaggle's test.csv")
    assert page.app.dataframe[0].value["Rows"].tolist() == [59]


def test_faces_without_labels_have_no_score(open_page: Any, own_runs: Path, own_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    pixels = [line.split(",")[1] for line in own_data.read_text().splitlines()[1:41]]
    path.write_text("\n".join(["pixels", *pixels, ""]))
    page = open_page("export", own_runs, path, checkpoint="own:3")
    assert "Accuracy" not in page.app.dataframe[0].value
    page = open_page("export", own_runs, path, checkpoint="own:3", export="Compare two", first="own:3", second="own:1")
    assert "These faces have no labels at hand, so there are no scores." in page.texts
    assert {tile["mark"] for tile in page.gallery()["tiles"]} == {""}


# -- two compared --------------------------------------------------------------------------------------


@pytest.fixture
def two(test_faces: FaceDataset, said: Callable[..., np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    first, second = (said(test_faces, epoch).argmax(axis=1) for epoch in (3, 1))
    assert 3 < (first != second).sum() < 56
    return first, second


def test_two_checkpoints(
    export: Callable[..., Any], test_faces: FaceDataset, two: tuple[np.ndarray, np.ndarray]
) -> None:
    first, second = two
    page = export(export="Compare two", first="own:3", second="own:1")
    agreed = Share(int((first == second).sum()), 56)
    text = " ".join(page.texts)
    assert f"agree on **{agreed.value:.1%}**" in text
    assert f"Cohen's kappa {cohen_kappa_score(first, second):.3f}" in text
    right = [int((one == test_faces.emotions).sum()) for one in two]
    for hits, name in zip(right, ("own:3", "own:1"), strict=True):
        assert f"**{name}** {hits / 56:.1%} (" in text
    fixed = int(((second == test_faces.emotions) & (first != test_faces.emotions)).sum())
    assert f"The second is right where the first is wrong on {fixed} faces" in text
    assert f"**{100 * (right[1] - right[0]) / 56:+.1f} points**" in text

    rows = np.flatnonzero(first != second)
    assert page.tile_ids() == test_faces.ids[rows][:48].tolist()
    marks = {tile["id"]: (tile["text"], tile["mark"]) for tile in page.gallery()["tiles"]}
    for row in rows[:48]:
        truth = test_faces.emotions[row]
        mark = "1" if first[row] == truth else "2" if second[row] == truth else "✗"
        assert marks[test_faces.ids[row]] == (f"{EMOTIONS[first[row]][:3]} / {EMOTIONS[second[row]][:3]}", mark)
    _, cells = page.chart("true", "predicted", "faces")
    assert cells["faces"].sum() == len(rows)  # what they agree on is left out
    table = page.app.dataframe[0].value
    assert np.trace(table.to_numpy()) == agreed.hits


def test_the_faces_of_a_cell(
    export: Callable[..., Any], test_faces: FaceDataset, two: tuple[np.ndarray, np.ndarray]
) -> None:
    first, second = two
    row = int(np.flatnonzero(first != second)[0])
    cell = f"{EMOTIONS[first[row]]}>{EMOTIONS[second[row]]}"
    page = export(export="Compare two", first="own:3", second="own:1", cell=cell)
    inside = np.flatnonzero((first == first[row]) & (second == second[row]))
    assert page.tile_ids() == test_faces.ids[inside].tolist()
    page.click("All")
    assert len(page.tile_ids()) == min(48, int((first != second).sum()))


def upload(page: Any, which: str, name: str, data: bytes) -> Any:
    (found,) = [each for each in page.app.get("file_uploader") if each.label == f"The {which} submission"]
    found.set_value((name, data, "text/csv"))
    return page.run()


def test_an_uploaded_file(
    export: Callable[..., Any], test_faces: FaceDataset, two: tuple[np.ndarray, np.ndarray]
) -> None:
    page = export(export="Compare two", first="own:3", second="A CSV file of mine")
    assert page.says("info") == ["Upload the submission to compare: a CSV with id,emotion, or emotion alone."]
    upload(page, "second", "mine.csv", submission_csv(two[1]))
    assert f"agree on **{(two[0] == two[1]).mean():.1%}**" in " ".join(page.texts)
    assert "**mine.csv**" in " ".join(page.texts)
    assert page.tile_ids() == test_faces.ids[np.flatnonzero(two[0] != two[1])][:48].tolist()


def test_two_uploads_of_one_name_are_told_apart(
    export: Callable[..., Any], two: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    tables: list[Any] = []
    monkeypatch.setattr("dashboard.comparing.st.download_button", lambda _, make, *__, **___: tables.append(make))
    page = export(export="Compare two", first="A CSV file of mine", second="A CSV file of mine")
    for which, emotions in zip(("first", "second"), two, strict=True):
        upload(page, which, "submission.csv", submission_csv(emotions))
    table = pd.read_csv(io.StringIO(tables[-1]()))
    assert list(table.columns) == ["id", "submission.csv (first)", "submission.csv (second)", "true"]
    rows = np.flatnonzero(two[0] != two[1])
    assert table["submission.csv (first)"].tolist() == [EMOTIONS[emotion] for emotion in two[0][rows]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"id,emotion\n0,9\n", "mine.csv, line 2: '9' is not a label from 0 to 6."),
        (b"\xff\xfe\x00", "mine.csv cannot be read as a CSV"),
        (submission_csv(np.zeros(55, int)), "own-epoch-003.csv has 56 rows and mine.csv has 55"),
    ],
)
def test_an_upload_that_is_no_such_submission(export: Callable[..., Any], data: bytes, message: str) -> None:
    page = export(export="Compare two", first="own:3", second="A CSV file of mine")
    upload(page, "second", "mine.csv", data)
    (error,) = page.says("error")
    assert message in error


def test_two_uploads_about_other_faces(export: Callable[..., Any]) -> None:
    page = export(export="Compare two", first="A CSV file of mine", second="A CSV file of mine")
    upload(page, "first", "a.csv", submission_csv(np.arange(100) % 7))
    upload(page, "second", "b.csv", submission_csv(np.arange(100) % 6))
    assert page.says("error") == []
    assert f"they differ on {int((np.arange(100) % 7 != np.arange(100) % 6).sum())}. 100 rows." in " ".join(page.texts)
    (info,) = page.says("info")
    assert info.startswith(f"The submission has 100 rows, but {OWN} has 56 test and 70 validation faces")


# -- downloads -----------------------------------------------------------------------------------------


def test_files_are_made_when_asked_for(export: Callable[..., Any], made: dict[str, bytes], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    page = export(export="Downloads")
    assert offered(page) == {}
    page.click("Make the ONNX file")
    (label,) = offered(page)
    assert label.startswith("own-epoch-003.onnx, ")
    session = onnxruntime.InferenceSession(made["own-epoch-003.onnx"])
    assert session.get_modelmeta().custom_metadata_map["epoch"] == "3"

    page.click("Make the TensorBoard log")
    archive = "own-epoch-003-tensorboard.zip"
    assert [label.partition(",")[0] for label in offered(page)] == ["own-epoch-003.onnx", archive]
    with zipfile.ZipFile(io.BytesIO(made[archive])) as packed:
        packed.extractall(tmp_path)
    assert list((tmp_path / "own-epoch-003").glob("events.out.tfevents.*"))
    assert (tmp_path / "own-epoch-003" / "00003" / "validation" / "sprite.png").exists()
    page.app.toggle(key="log faces").set_value(False)
    assert [label.partition(",")[0] for label in offered(page.run())] == ["own-epoch-003.onnx"]  # the log is another
    page.click("Make the TensorBoard log")
    with zipfile.ZipFile(io.BytesIO(made[archive])) as packed:
        assert not [name for name in packed.namelist() if name.endswith(".png")]


def test_the_report(export: Callable[..., Any], made: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    from fer_core.report import collect as module

    whole = module.collect
    monkeypatch.setattr(module, "collect", lambda *given, **more: whole(*given, only=("data", "labels"), **more))
    page = export(export="Downloads", language="中文", split="Test").click("Make the report")
    (label,) = offered(page)
    assert label.startswith("own-epoch-003-report.html, ")
    html = made["own-epoch-003-report.html"].decode()
    assert html.lower().startswith("<!doctype html>")
    assert 'lang="zh' in html
    assert "<span>--split</span> <span>test</span>" in html
    assert "It shows faces of the data set: make it without them to share it." in page.texts


def test_a_report_that_cannot_be_made_leaves_the_others(
    open_page: Any, own_runs: Path, own_data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "test.csv"
    pixels = [line.split(",")[1] for line in own_data.read_text().splitlines()[1:41]]
    path.write_text("\n".join(["pixels", *pixels, ""]))
    page = open_page("export", own_runs, path, checkpoint="own:3", export="Downloads").click("Make the report")
    (error,) = page.says("error")
    assert error.startswith("test.csv has no labelled faces in its test split")
    assert "Make the ONNX file" in [button.label for button in page.app.button]


def test_the_card(export: Callable[..., Any], open_page: Any, own_runs: Path, made: dict[str, bytes]) -> None:
    export(export="Downloads").click("Make the model card")
    here = made["README.md"].decode()
    assert here.startswith("---\nlicense: mit\n")
    assert "On the validation split of fer2013.csv, n = 70." in here
    open_page("export", own_runs, checkpoint="own:3", export="Downloads").click("Make the model card")  # demo faces
    assert "as the run itself recorded them" in made["README.md"].decode()
