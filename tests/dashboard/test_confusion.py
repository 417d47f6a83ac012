"""Confusion: the page's numbers are the run's own where it is scored on its own faces, and numpy's on any others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fer_core.calibration import calibrate, fit_temperature, halves, reliability, scaled, store_calibration
from fer_core.data import FaceDataset, LoadOptions, demo_faces, load_dataset
from fer_core.evaluation import Share
from fer_core.labels import EMOTIONS
from fer_core.runs import Run, halved

OWN = "fer2013.csv"


def recorded(run: Run, epoch: int) -> dict[str, Any]:
    """A run's own line of an epoch's validation, straight from metrics.jsonl."""
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    wanted = ("epoch", epoch, "validation")
    (found,) = [line for line in lines if (line["kind"], line["epoch"], line["split"]) == wanted]
    return dict(found)


def counted(said: np.ndarray, emotions: np.ndarray) -> np.ndarray:
    matrix = np.zeros((7, 7), int)
    for true, predicted in zip(emotions, said.argmax(axis=1), strict=True):
        matrix[true, predicted] += 1
    return matrix


def shown_matrix(page: Any) -> np.ndarray:
    _, table = page.chart("true", "predicted", "faces")
    wide = table.pivot(index="true", columns="predicted", values="faces")
    return np.asarray(wide.loc[list(EMOTIONS), list(EMOTIONS)])


def f1(matrix: np.ndarray) -> float:
    scores = []
    for i in range(7):
        wrong = matrix[i].sum() + matrix[:, i].sum() - 2 * matrix[i, i]
        if matrix[i, i] + wrong:
            scores.append(2 * matrix[i, i] / (2 * matrix[i, i] + wrong))
    return float(np.mean(scores))


@pytest.fixture
def confusion(open_page: Any, own_runs: Path, own_data: Path) -> Callable[..., Any]:
    return lambda **query: open_page("confusion", own_runs, own_data, **query)


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_on_the_runs_own_faces_the_numbers_are_the_runs(confusion: Any, own_runs: Path, epoch: int) -> None:
    page = confusion(checkpoint=f"own:{epoch}")
    line = recorded(Run(own_runs / "own"), epoch)
    matrix = np.array(line["confusion"])
    assert page.app.selectbox(key="scored").options == [f"{OWN}, {split}" for split in ("validation", "test", "train")]
    np.testing.assert_array_equal(shown_matrix(page), matrix)
    low, high = Share(int(np.trace(matrix)), 70).interval
    (summary,) = [text for text in page.texts if text.startswith(f"**own:{epoch}**")]
    assert summary == (
        f"**own:{epoch}** on {OWN}, validation, n = 70: accuracy **{line['accuracy']:.1%}** ({low:.1%} to {high:.1%}), "
        f"macro F1 {f1(matrix):.3f}, loss {line['loss']:.3f} nats"
    )
    table = page.app.dataframe[0].value
    np.testing.assert_array_equal(table[list(EMOTIONS)].to_numpy(), matrix)
    np.testing.assert_allclose(table["Accuracy"], np.diag(matrix) / matrix.sum(axis=1))


def test_on_other_faces_the_numbers_are_counted(
    confusion: Any, own_faces: FaceDataset, said: Callable[..., np.ndarray]
) -> None:
    test = own_faces.split("test")
    page = confusion(checkpoint="own:3", scored=f"{OWN}, test")
    matrix = counted(said(test, 3), test.emotions)
    np.testing.assert_array_equal(shown_matrix(page), matrix)
    assert f"**own:3** on {OWN}, test, n = 56: accuracy **{np.trace(matrix) / 56:.1%}**" in " ".join(page.texts)
    _, labels = page.chart("emotion", "accuracy", "low", "high")
    by_emotion = labels.drop_duplicates("emotion").set_index("emotion").loc[list(EMOTIONS)]
    np.testing.assert_allclose(by_emotion["accuracy"], np.diag(matrix) / 8)
    intervals = [Share(int(hits), 8).interval for hits in np.diag(matrix)]
    np.testing.assert_allclose(by_emotion[["low", "high"]], intervals)


def test_counts_or_row_shares(confusion: Any, own_runs: Path) -> None:
    matrix = np.array(recorded(Run(own_runs / "own"), 3)["confusion"])
    for cells in ("Counts", "Row share"):
        _, table = confusion(checkpoint="own:3", cells=cells).chart("true", "predicted", "shown")
        for true, predicted, shown in table[["true", "predicted", "shown"]].itertuples(index=False):
            i, j = EMOTIONS.index(true), EMOTIONS.index(predicted)
            expected = f"{matrix[i, j]}" if cells == "Counts" else f"{100 * matrix[i, j] / matrix[i].sum():.0f}%"
            assert shown == (expected if matrix[i, j] else "")


def test_the_slider_moves_the_matrix(confusion: Any, own_runs: Path) -> None:
    page = confusion(checkpoint="own:1")
    slider = page.app.select_slider(key="epoch slider")
    assert (slider.options, slider.value) == (["1", "2", "3"], 1)
    slider.set_value(3)
    page.run()
    assert page.app.selectbox(key="checkpoint").value == "own:3"
    np.testing.assert_array_equal(shown_matrix(page), recorded(Run(own_runs / "own"), 3)["confusion"])
    page.app.selectbox(key="checkpoint").set_value("own:2")  # and the sidebar moves the slider
    assert page.run().app.select_slider(key="epoch slider").value == 2


def test_the_faces_of_a_cell(confusion: Any, own_faces: FaceDataset, said: Callable[..., np.ndarray]) -> None:
    validation = own_faces.split("validation")
    probabilities = halved(said(validation, 2))
    matrix = counted(probabilities, validation.emotions)
    off = [(matrix[i, j], i, j) for i in range(7) for j in range(7) if i != j]
    most, true, predicted = max(off)
    page = confusion(checkpoint="own:2", cell=f"{EMOTIONS[true]}>{EMOTIONS[predicted]}")
    assert f"{EMOTIONS[true]} taken for {EMOTIONS[predicted]}: {most} faces" in page.texts
    inside = (validation.emotions == true) & (probabilities.argmax(axis=1) == predicted)
    rows = sorted(np.flatnonzero(inside), key=lambda row: -probabilities[row, predicted])
    assert len(rows) == most > 1
    assert page.tile_ids() == validation.ids[rows].tolist()
    right = int(np.argmax(np.diag(matrix)))
    page = confusion(checkpoint="own:2", cell=f"{EMOTIONS[right]}>{EMOTIONS[right]}")
    assert f"{EMOTIONS[right]} recognised: {matrix[right, right]} faces" in page.texts
    page = confusion(checkpoint="own:2", cell="Angry>Angry", face=str(validation.ids[rows[0]]))
    assert f"**{validation.ids[rows[0]]}**" in page.texts  # a shared link to a face keeps it open


def test_an_empty_cell(confusion: Any, own_runs: Path) -> None:
    matrix = np.array(recorded(Run(own_runs / "own"), 3)["confusion"])
    true, predicted = np.argwhere(matrix == 0)[0]
    page = confusion(checkpoint="own:3", cell=f"{EMOTIONS[true]}>{EMOTIONS[predicted]}")
    assert page.says("info") == ["There are none."]


@pytest.mark.parametrize("cell", ["Angry", "Angry>Bored", ">", "angry>sad", "Angry>Sad>Fear", ""])
def test_a_wrong_cell_in_the_url(confusion: Any, cell: str) -> None:
    assert "Click a cell to see the faces in it." in confusion(cell=cell).texts


@pytest.mark.parametrize("name", ["report-resnet", "report-cnn"])
def test_shipped_runs_show_what_they_recorded(open_page: Any, shipped: Path, name: str) -> None:
    run = Run(shipped / name)
    epoch = run.epochs()[1]
    page = open_page("confusion", shipped, checkpoint=f"{name}:{epoch}", cell="Fear>Sad")
    line = recorded(run, epoch)
    assert page.app.selectbox(key="scored").options[0] == "FER2013, validation (recorded)"
    np.testing.assert_array_equal(shown_matrix(page), line["confusion"])
    assert f"accuracy **{line['accuracy']:.1%}**" in " ".join(page.texts)
    assert f"Fear taken for Sad: {line['confusion'][2][4]} faces" in page.texts
    (info,) = page.says("info")
    assert info.startswith("These faces are FER2013's and are not at hand")


def test_shipped_runs_on_the_faces_at_hand(open_page: Any, shipped: Path, said: Callable[..., np.ndarray]) -> None:
    run, validation = Run(shipped / "report-cnn"), demo_faces().split("validation")
    epoch = run.epochs()[0]
    page = open_page("confusion", shipped, checkpoint=f"report-cnn:{epoch}", scored="Demo faces, validation")
    probabilities = halved(said(validation, epoch, run))
    np.testing.assert_array_equal(shown_matrix(page), counted(probabilities, validation.emotions))
    assert f"on Demo faces (rendered), validation, n = {len(validation)}: accuracy" in " ".join(page.texts)


def test_real_faces_are_recognised_as_the_runs_own(open_page: Any, shipped: Path, fer2013_path: Path) -> None:
    """With FER2013 at hand the matrix of the recorded run is the one of these very faces, and its cells open."""
    epoch = Run(shipped / "report-resnet").best_epoch()
    page = open_page("confusion", shipped, fer2013_path, checkpoint=f"report-resnet:{epoch}", cell="Fear>Sad")
    line = recorded(Run(shipped / "report-resnet"), int(epoch or 0))
    assert page.app.selectbox(key="scored").value == "validation"
    np.testing.assert_array_equal(shown_matrix(page), line["confusion"])
    assert len(page.tile_ids()) == min(60, shown_matrix(page)[2, 4])

    faces, saved = load_dataset(fer2013_path), Run(shipped / "report-resnet").predictions("validation")
    assert saved is not None
    learned = {face.tobytes() for face in faces.split("train").images}
    validation = faces.split("validation")
    new = np.array([face.tobytes() not in learned for face in validation.images])
    right = saved.probabilities[saved.epochs.index(epoch or 0)].argmax(axis=1) == validation.emotions
    share = Share(int(right[new].sum()), int(new.sum()))
    assert share.n == 3589 - 280
    assert f"Without the 280 faces that also stand in training: {share}" in page.texts


# -- faces seen in training ------------------------------------------------------------------------


@pytest.fixture
def leaky(runs: Path, own_data: Path, tmp_path: Path) -> Path:
    """The faces again, now with four training faces among the validation faces; "own" says it was trained on them."""
    lines = own_data.read_text().splitlines()
    pixels = [line.split(",")[1] for line in lines]
    for k, copied in enumerate((1, 2, 2, 3)):
        emotion, _, usage = lines[127 + 10 * k].split(",")
        assert usage == "PublicTest"
        lines[127 + 10 * k] = f"{emotion},{pixels[copied]},{usage}"
    path = tmp_path / "leaky" / "fer2013.csv"
    path.parent.mkdir()
    path.write_text("\n".join([*lines, ""]))
    info = json.loads((runs / "own" / "run.json").read_text())
    info["data"]["fingerprint"] = load_dataset(path, LoadOptions(use_cache=False)).fingerprint_without_test
    (runs / "own" / "run.json").write_text(json.dumps(info))
    return path


def test_accuracy_without_the_faces_seen_in_training(
    open_page: Any, runs: Path, leaky: Path, said: Callable[..., np.ndarray]
) -> None:
    validation = load_dataset(leaky, LoadOptions(use_cache=False)).split("validation")
    right = said(validation, 2).argmax(axis=1) == validation.emotions
    right = np.delete(right, [0, 10, 20, 30])
    expected = f"Without the 4 faces that also stand in training: {Share(int(right.sum()), 66)}"
    assert expected in open_page("confusion", runs, leaky, checkpoint="own:2", scored=f"{OWN}, validation").texts
    assert expected in open_page("checkpoints", runs, leaky, checkpoint="own:2", before="other:1").texts


def test_where_none_was_seen_and_where_that_is_not_known(
    confusion: Any, open_page: Any, runs: Path, leaky: Path
) -> None:
    none = "None of these faces also stands in training."
    assert none in confusion(checkpoint="own:3").texts
    assert none in confusion(checkpoint="own:3", scored=f"{OWN}, test").texts
    silent = [confusion(checkpoint="own:3", scored=f"{OWN}, train")]
    silent += [open_page("confusion", runs, leaky, checkpoint="other:3", scored=f"{OWN}, validation")]  # not its faces
    for page in silent:
        assert "in training" not in " ".join(page.texts)


# -- calibration -----------------------------------------------------------------------------------


def bins_shown(page: Any) -> dict[str, dict[int, int]]:
    """How many faces the diagram shows in each bin, by answer."""
    _, table = page.chart("answer", "confidence", "accuracy", "faces")
    rows = table.drop_duplicates(["answer", "from"])
    return {
        answer: {round(15 * left): int(n) for left, n in part[["from", "faces"]].itertuples(index=False)}
        for answer, part in rows.groupby("answer")
    }


def counted_bins(probabilities: np.ndarray) -> dict[int, int]:
    counts, _ = np.histogram(probabilities.max(axis=1), np.linspace(0, 1, 16))
    return {b: int(n) for b, n in enumerate(counts) if n}


def test_a_temperature_is_fitted_here(confusion: Any, own_faces: FaceDataset, said: Callable[..., np.ndarray]) -> None:
    validation = own_faces.split("validation")
    probabilities = halved(said(validation, 3)).astype(np.float32)
    fit, check = halves(validation.emotions)
    temperature = fit_temperature(probabilities[fit], validation.emotions[fit])
    after = scaled(probabilities[check], temperature)
    page = confusion(checkpoint="own:3", beside="Calibration")
    assert bins_shown(page) == {
        "As the network says": counted_bins(probabilities[check]),
        f"At temperature {temperature:.2f}": counted_bins(after),
    }
    errors = [reliability(each, validation.emotions[check]) for each in (probabilities[check], after)]
    (caption,) = [text for text in page.texts if text.startswith("ECE")]
    assert caption == (
        f"ECE **{errors[0].ece:.1%}**, scaled **{errors[1].ece:.1%}**; NLL {errors[0].nll:.3f}, scaled "
        f"{errors[1].nll:.3f} nats. Fitted on 35 faces of {OWN}, validation; shown on the other 35. "
        "To keep it: `python -m fer_core calibrate own:3`"
    )
    page = confusion(checkpoint="own:3", beside="By emotion")
    assert not [text for text in page.texts if text.startswith("ECE")]


def test_a_stored_temperature_is_used_on_other_faces(
    open_page: Any, runs: Path, own_data: Path, own_faces: FaceDataset, said: Callable[..., np.ndarray]
) -> None:
    validation, test = own_faces.split("validation"), own_faces.split("test")
    fitted = calibrate(
        said(validation, 2),
        validation.emotions,
        epoch=2,
        data=OWN,
        split="validation",
        fingerprint=validation.fingerprint,
    )
    store_calibration(Run(runs / "own"), replace(fitted, temperature=4.0))
    page = open_page(
        "confusion", runs, own_data, checkpoint="own:2", beside="Calibration", scored=f"{OWN}, test", dark=True
    )
    probabilities = said(test, 2)
    assert bins_shown(page) == {
        "As the network says": counted_bins(probabilities),
        "At temperature 4.00": counted_bins(scaled(probabilities, 4.0)),
    }
    (caption,) = [text for text in page.texts if text.startswith("ECE")]
    assert caption.endswith(f"Fitted on 35 faces of {OWN}, validation; shown on 56 faces of {OWN}, test.")
    page = open_page("confusion", runs, own_data, checkpoint="own:2", beside="Calibration")
    assert bins_shown(page)["As the network says"] == counted_bins(said(validation, 2)[halves(validation.emotions)[1]])


def test_a_temperature_of_faces_that_are_not_here(open_page: Any, shipped: Path, runs: Path) -> None:
    for path in shipped.iterdir():
        shutil.copytree(path, runs / path.name)
    run = Run(runs / "report-cnn")
    first, second = run.epochs()[:2]
    (runs / "report-cnn" / "calibration.json").unlink(missing_ok=True)
    page = open_page("confusion", runs, checkpoint=f"report-cnn:{first}", beside="Calibration")
    (info,) = page.says("info")
    assert f"`python -m fer_core calibrate report-cnn:{first} --data PATH`" in info
    rng = np.random.default_rng(0)
    probabilities, emotions = rng.dirichlet(np.full(7, 0.4), 700), np.arange(700) % 7
    named = {"data": "FER2013", "split": "validation", "fingerprint": "elsewhere"}
    fitted = calibrate(probabilities, emotions, epoch=second, **named)
    store_calibration(run, fitted)
    page = open_page("confusion", runs, checkpoint=f"report-cnn:{second}", beside="Calibration")
    shown = bins_shown(page)
    assert shown["As the network says"] == counted_bins(probabilities[halves(emotions)[1]])
    (caption,) = [text for text in page.texts if text.startswith("ECE")]
    assert caption.endswith("Fitted on 350 faces of FER2013, validation; shown on the other 350.")
    (runs / "report-cnn" / "calibration.json").write_text("{")
    page = open_page("confusion", runs, checkpoint=f"report-cnn:{second}", beside="Calibration")
    assert "calibration.json cannot be read" in page.says("error")[0]


def test_without_validation_faces_there_is_no_temperature(
    open_page: Any, runs: Path, own_data: Path, tmp_path: Path
) -> None:
    lines = [line for line in own_data.read_text().splitlines() if "PublicTest" not in line]
    (tmp_path / "some.csv").write_text("\n".join([*lines, ""]))
    page = open_page(
        "confusion", runs, tmp_path / "some.csv", checkpoint="own:2", beside="Calibration", scored="some.csv, test"
    )
    assert list(bins_shown(page)) == ["As the network says"]
    (caption,) = [text for text in page.texts if text.startswith("ECE")]
    assert caption.endswith(
        "On 56 faces of some.csv, test; there are no labelled validation faces to fit a temperature on."
    )


def test_a_run_without_recorded_scores(open_page: Any, runs: Path) -> None:
    (runs / "other" / "metrics.jsonl").unlink()
    page = open_page("confusion", runs, checkpoint="other:1")
    assert page.app.selectbox(key="scored").options[0] == "Demo faces, validation"
    lines = pd.DataFrame(Run(runs / "own").records())
    assert {1, 2, 3} == set(lines["epoch"])


def test_an_epoch_without_a_recorded_score_says_so(open_page: Any, runs: Path) -> None:
    metrics = runs / "own" / "metrics.jsonl"
    metrics.write_text("".join(f"{line}\n" for line in metrics.read_text().splitlines() if '"epoch": 2' not in line))
    page = open_page("confusion", runs, checkpoint="own:2")
    assert page.says("error") == ["own:2 recorded no score; choose another entry of 'Scored on'."]
    page.app.selectbox(key="scored").set_value("validation")
    assert page.run().says("error") == []
