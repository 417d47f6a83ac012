"""Checkpoints: two of them side by side, and the faces that flipped."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_core.data import FaceDataset
from fer_core.evaluation import Share, compare
from fer_core.labels import EMOTIONS
from fer_core.runs import Run, halved


@pytest.fixture
def checkpoints(open_page: Any, own_runs: Path, own_data: Path) -> Callable[..., Any]:
    return lambda **query: open_page("checkpoints", own_runs, own_data, **query)


def metrics_of(page: Any) -> dict[str, str]:
    return {metric.label: metric.value for metric in page.app.metric}


def test_both_scores_with_their_protocol(
    checkpoints: Any, own_faces: FaceDataset, said: Callable[..., np.ndarray]
) -> None:
    validation = own_faces.split("validation")
    hits = {epoch: int((said(validation, epoch).argmax(axis=1) == validation.emotions).sum()) for epoch in (1, 2, 3)}
    worst, best = sorted(hits, key=lambda epoch: hits[epoch])[::2]
    assert hits[worst] != hits[best]
    page = checkpoints(checkpoint=f"own:{best}", before=f"own:{worst}")
    assert metrics_of(page) == {
        f"Before: own:{worst}": f"{hits[worst] / 70:.1%}",
        f"After: own:{best}": f"{hits[best] / 70:.1%}",
    }
    for epoch in (worst, best):
        low, high = Share(hits[epoch], 70).interval
        interval = f"95% interval {low:.1%} to {high:.1%} (Wilson) on fer2013.csv, validation, n = 70"
        assert interval in page.texts
    assert page.texts.count("None of these faces also stands in training.") == 2


@pytest.mark.parametrize("flipped", ["Wrong to right", "Right to wrong"])
def test_the_faces_that_flipped(
    checkpoints: Any, own_faces: FaceDataset, said: Callable[..., np.ndarray], flipped: str
) -> None:
    validation = own_faces.split("validation")
    old, new = (halved(said(validation, epoch)).astype(np.float32) for epoch in (1, 3))
    was, now = (each.argmax(axis=1) == validation.emotions for each in (old, new))
    fixed, broken = set(validation.ids[~was & now].tolist()), set(validation.ids[was & ~now].tolist())
    assert fixed
    page = checkpoints(checkpoint="own:3", before="own:1", flipped=flipped)
    wanted = fixed if flipped == "Wrong to right" else broken
    if wanted:
        assert set(page.tile_ids()) == wanted
        change = dict(zip(validation.ids.tolist(), np.abs(new - old).max(axis=1), strict=True))
        shown = [change[face] for face in page.tile_ids()]
        assert shown == sorted(shown, reverse=True)
        assert {tile["mark"] for tile in page.gallery()["tiles"]} == {"✓" if flipped == "Wrong to right" else "✗"}
    else:
        assert page.says("info") == ["There are none."]
    low, high = compare(old, new, validation.emotions).interval
    assert (
        f"Of 70 faces, {len(fixed)} went from wrong to right, {len(broken)} from right to wrong: accuracy changed by "
        f"**{100 * (len(fixed) - len(broken)) / 70:+.1f} points** (95% interval {100 * low:+.1f} to {100 * high:+.1f}, "
        "paired)."
    ) in page.texts


def test_by_label(checkpoints: Any, own_faces: FaceDataset, said: Callable[..., np.ndarray]) -> None:
    test = own_faces.split("test")
    page = checkpoints(checkpoint="own:3", before="own:1", scored="fer2013.csv, test")
    _, table = page.chart("checkpoint", "emotion", "accuracy")
    table = table.drop_duplicates(["checkpoint", "emotion"]).set_index(["checkpoint", "emotion"])
    for epoch in (1, 3):
        predicted = said(test, epoch).argmax(axis=1)
        for i, emotion in enumerate(EMOTIONS):
            mine = test.emotions == i
            row = table.loc[(f"own:{epoch}", emotion)]
            assert row["accuracy"] == pytest.approx((predicted[mine] == i).mean())
            assert row["faces"] == mine.sum() == 8


def test_the_first_epoch_is_what_the_chosen_one_is_compared_with(checkpoints: Any) -> None:
    page = checkpoints(checkpoint="own:3")
    assert page.app.selectbox(key="before").value == "own:1"
    for wrong in ("nobody:1", "own:9", "own"):
        assert checkpoints(checkpoint="own:3", before=wrong).app.selectbox(key="before").value == "own:1"


def test_by_default_nothing_is_compared_with_itself(
    checkpoints: Any, open_page: Any, shipped: Path, tmp_path: Path
) -> None:
    assert checkpoints(checkpoint="own:1").app.selectbox(key="before").value == "own:3"
    folder = Path(shutil.copytree(shipped, tmp_path / "runs"))
    Run(folder / "report-resnet").keep([86])  # the only one of its run
    page = open_page("checkpoints", folder, checkpoint="report-resnet:86")
    assert page.app.selectbox(key="before").value == f"report-cnn:{Run(folder / 'report-cnn').best_epoch()}"
    shutil.rmtree(folder / "report-cnn")
    alone = open_page("checkpoints", folder, checkpoint="report-resnet:86")
    assert alone.app.selectbox(key="before").value == "report-resnet:86"


def test_a_checkpoint_beside_itself(checkpoints: Any) -> None:
    page = checkpoints(checkpoint="own:1", before="own:1")
    assert page.says("info") == ["There are none."]
    before, after = metrics_of(page).values()
    assert before == after
    assert "Of 70 faces, 0 went from wrong to right, 0 from right to wrong" in " ".join(page.texts)


def test_the_slider_moves_the_later_one(checkpoints: Any) -> None:
    page = checkpoints(checkpoint="own:1", before="own:1")
    page.app.select_slider(key="epoch slider").set_value(2)
    page.run()
    assert page.app.selectbox(key="checkpoint").value == "own:2"
    assert list(metrics_of(page)) == ["Before: own:1", "After: own:2"]


def test_a_flipped_face_is_opened(checkpoints: Any, own_faces: FaceDataset, said: Callable[..., np.ndarray]) -> None:
    face = checkpoints(checkpoint="own:3", before="own:1").tile_ids()[0]
    page = checkpoints(checkpoint="own:3", before="own:1", face=face)
    validation = own_faces.split("validation")
    row = int(np.flatnonzero(validation.ids == face)[0])
    assert f"**{face}**" in page.texts
    _, bars = page.chart("name", "probability")
    np.testing.assert_allclose(bars["probability"], said(validation, 3)[row], atol=1e-3)


def test_two_shipped_runs_on_what_both_recorded(open_page: Any, shipped: Path) -> None:
    before, after = Run(shipped / "report-cnn"), Run(shipped / "report-resnet")
    epochs = before.best_epoch(), after.best_epoch()
    page = open_page("checkpoints", shipped, checkpoint=f"report-resnet:{epochs[1]}", before=f"report-cnn:{epochs[0]}")
    scores = {
        name: next(
            r["accuracy"]
            for r in run.records()
            if r["kind"] == "epoch" and (r["split"], r["epoch"]) == ("validation", epoch)
        )
        for name, run, epoch in (("Before: report-cnn", before, epochs[0]), ("After: report-resnet", after, epochs[1]))
    }
    assert metrics_of(page) == {
        f"{name}:{epoch}": f"{score:.1%}" for (name, score), epoch in zip(scores.items(), epochs, strict=True)
    }
    assert page.says("info")[0].startswith("Faces that flipped can be shown where they are at hand. FER2013's are not")


def test_runs_on_different_faces_have_no_recorded_score_in_common(open_page: Any, shipped: Path, runs: Path) -> None:
    for path in shipped.iterdir():
        (runs / path.name).symlink_to(path, target_is_directory=True)
    epoch = Run(shipped / "report-cnn").epochs()[0]
    page = open_page("checkpoints", runs, checkpoint="own:3", before=f"report-cnn:{epoch}")
    options = page.app.selectbox(key="scored").options
    assert options
    assert not any("recorded" in option for option in options)
