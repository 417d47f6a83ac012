"""Home: the runs with their scores, a face to try, the way on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fer_core.data import demo_faces
from fer_core.evaluation import Share
from fer_core.runs import Run


def test_the_table_of_runs(open_page: Any, shipped: Path) -> None:
    """The most accurate run first; each score is the best kept epoch's, with interval, split and number of faces."""
    table = open_page("home", shipped).app.dataframe[0].value.set_index("Run")
    assert table.index.tolist() == ["report-resnet", "report-cnn"]
    for name, row in table.iterrows():
        lines = [r for r in Run(shipped / str(name)).records() if r["kind"] == "epoch" and r["split"] == "validation"]
        best = max(lines, key=lambda line: line["accuracy"])
        assert f"{row['Accuracy']}%" == f"{best['accuracy']:.1%}"  # as every other page has it
        assert row["Best epoch"] == best["epoch"]
        low, high = Share(round(best["accuracy"] * 3589), 3589).interval
        assert (row["95% interval"], row["n"]) == (f"{low:.1%} to {high:.1%}", 3589)
        assert row["Scored on"] == "FER2013, validation"
        np.testing.assert_allclose(row["Validation accuracy"], [line["accuracy"] for line in lines])
        assert row["Epochs"] == f"{len(lines)} of {len(lines)}"
        assert row["State"] == "finished"


def test_only_an_epoch_that_can_be_opened_is_the_best(open_page: Any, shipped: Path, runs: Path) -> None:
    run = Run(Path(shutil.copytree(shipped / "report-cnn", runs / "mine")))
    assert run.best_epoch() == 6
    run.checkpoint_path(6).unlink()
    row = open_page("home", runs).app.dataframe[0].value.set_index("Run").loc["mine"]
    kept = [
        r for r in run.records() if r["kind"] == "epoch" and r["split"] == "validation" and r["epoch"] in (1, 20, 50)
    ]
    best = max(kept, key=lambda line: line["accuracy"])
    assert (row["Best epoch"], f"{row['Accuracy']}%") == (best["epoch"], f"{best['accuracy']:.1%}")


def test_demo_runs_stand_last_and_are_marked(open_page: Any, shipped: Path, runs: Path, demo_run: Path) -> None:
    for path in (*shipped.iterdir(), demo_run):
        (runs / path.name).symlink_to(path, target_is_directory=True)
    page = open_page("home", runs)
    assert page.app.dataframe[0].value["Run"].tolist()[-1] == "demo"
    assert any(text.startswith("Demo faces are rendered: a number") for text in page.texts)
    assert not any("Demo faces are rendered: a number" in text for text in open_page("home", shipped).texts)


def test_states_of_runs(open_page: Any, runs: Path, set_status: Callable[..., None]) -> None:
    for name, state in (("own", "running"), ("other", "failed")):
        set_status(runs / name, state)
    table = open_page("home", runs).app.dataframe[0].value.set_index("Run")
    assert table["State"].to_dict() == {"own": "running", "other": "failed"}
    set_status(runs / "own", "running", age=120)
    assert open_page("home", runs).app.dataframe[0].value.set_index("Run")["State"]["own"] == "interrupted"


def test_a_face_of_each_emotion_to_try(open_page: Any, shipped: Path, decoded: Any) -> None:
    page, faces = open_page("home", shipped), demo_faces().split("validation")
    rows = [int(np.flatnonzero(faces.emotions == emotion)[0]) for emotion in range(7)]
    assert page.tile_ids() == faces.ids[rows].tolist()
    np.testing.assert_array_equal(
        decoded(page.gallery()["sprite"])[:, : 7 * 48], np.concatenate(faces.images[rows], axis=1)
    )


def test_a_clicked_face_opens_on_samples(open_page: Any, own_runs: Path, own_data: Path) -> None:
    """The click itself is the browser's; what it leaves behind is the face in the session."""
    page = open_page("home", own_runs, own_data, checkpoint="own:2")
    face = page.tile_ids()[3]
    page.app.session_state["face to open"] = face
    page.run()
    assert page.title == "Samples"
    assert page.query["face"] == face
    assert page.app.selectbox(key="checkpoint").value == "own:2"
    assert f"**{face}**" in page.texts


def test_links_keep_what_holds_across_pages(open_page: Any, own_runs: Path, own_data: Path) -> None:
    epoch = next(
        epoch for epoch in (1, 2, 3) if epoch != Run(own_runs / "own").best_epoch()
    )  # not what is chosen anyway
    page = open_page("home", own_runs, own_data, checkpoint=f"own:{epoch}", data="Demo faces")
    links = {link.proto.label: link.proto.query_string for link in page.app.get("page_link")}
    assert len(links) == 4
    assert all(f"checkpoint=own%3A{epoch}" in query and "data=Demo+faces" in query for query in links.values())
    assert "sort=Most+confident+mistakes" in links["Find the most confident mistakes"]


def test_demo_faces_beside_the_users_own(open_page: Any, any_page: str, own_runs: Path, own_data: Path) -> None:
    page = open_page(any_page, own_runs, own_data, data="Demo faces")
    assert page.sidebar[0] == f"{len(demo_faces()):,} faces (rendered)"
    page.app.selectbox(key="data").set_value("fer2013.csv")
    assert page.run().sidebar[0] == "252 faces"
    assert open_page(any_page, own_runs, own_data, data="elsewhere").sidebar[0] == "252 faces"


def test_what_a_person_should_know(open_page: Any, shipped: Path) -> None:
    (text,) = [text for text in open_page("home", shipped).texts if text.startswith("- **What a label means.**")]
    assert "Article 5(1)(f)" in text
    assert "rendered" in text
