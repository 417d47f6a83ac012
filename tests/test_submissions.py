"""Submissions of several checkpoints, their scores, and two compared: held to scikit-learn and plain counting."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, confusion_matrix

from fer_core.__main__ import main
from fer_core.data import FaceDataset, demo_faces
from fer_core.errors import CheckpointError, DataError, RunError
from fer_core.export import Submission, check_submission, write_submission
from fer_core.inference import Predictor
from fer_core.labels import EMOTIONS
from fer_core.runs import Run
from fer_core.submissions import (
    Comparison,
    compare_submissions,
    find_checkpoints,
    score,
    scores_by_split,
    submitted_faces,
    write_submissions,
)

RNG = np.random.default_rng(7)
FIRST, SECOND = RNG.integers(0, 7, 500), RNG.integers(0, 7, 500)
SECOND[:350] = FIRST[:350]


# -- two compared ------------------------------------------------------------------------------------------------------


def test_agreement_as_scikit_learn_measures_it() -> None:
    compared = Comparison(FIRST, SECOND)
    assert compared.agreement.value == accuracy_score(FIRST, SECOND)
    assert compared.kappa == pytest.approx(cohen_kappa_score(FIRST, SECOND), abs=1e-12)
    np.testing.assert_array_equal(compared.table, confusion_matrix(FIRST, SECOND, labels=range(7)))
    assert compared.differ.tolist() == [row for row in range(500) if FIRST[row] != SECOND[row]]


def test_kappa_by_hand() -> None:
    """Cohen's own example of two judges: 0.70 agree, 0.41 would by chance."""
    table = [[88, 14, 18], [10, 40, 10], [2, 6, 12]]
    first = np.concatenate([[i] * table[i][j] for i in range(3) for j in range(3)])
    second = np.concatenate([[j] * table[i][j] for i in range(3) for j in range(3)])
    assert Comparison(first, second).kappa == pytest.approx((0.70 - 0.41) / (1 - 0.41), abs=1e-12)


@pytest.mark.parametrize(("rows", "kappa"), [([], np.nan), ([3, 3], np.nan), ([3, 4], 1.0)])
def test_kappa_at_the_ends(rows: list[int], kappa: float) -> None:
    said = np.array(rows, int)
    np.testing.assert_equal(Comparison(said, said).kappa, kappa)


def test_two_of_other_lengths(tmp_path: Path) -> None:
    one = Submission(tmp_path / "a.csv", ("emotion",), FIRST)
    with pytest.raises(
        DataError, match=r"a\.csv has 500 rows and .*b\.csv has 499; compare submissions about the same"
    ):
        compare_submissions(one, Submission(tmp_path / "b.csv", ("emotion",), FIRST[1:]))


def test_which_of_them_is_right(faces: FaceDataset) -> None:
    validation = faces.split("validation")
    first, second = validation.emotions.astype(int), validation.emotions.astype(int)
    first[:5] = (first[:5] + 1) % 7  # 0 to 4 wrong
    second[3:10] = (second[3:10] + 2) % 7  # 3 to 9 wrong
    changes = Comparison(first, second).changes(validation)
    assert (changes.fixed.tolist(), changes.broken.tolist(), changes.n) == ([0, 1, 2], [5, 6, 7, 8, 9], 28)
    assert (str(score(first, validation))[:5], score(second, validation).hits) == ("82.1%", 21)


# -- which faces -------------------------------------------------------------------------------------------------------


def test_scores_leave_out_faces_without_label(faces: FaceDataset) -> None:
    assert score(np.zeros(14, int), faces.split("test")).n == 0
    emotions = faces.split("validation").emotions.copy()
    emotions[:4] = -1
    some = replace(faces.split("validation"), emotions=emotions)
    assert (score(np.full(28, 3), some).hits, score(np.full(28, 3), some).n) == (int((emotions == 3).sum()), 24)


def test_the_faces_that_a_number_of_rows_is_about(faces: FaceDataset) -> None:
    def about(rows: int, split: str | None = None) -> list[str]:
        return [str(face) for face in submitted_faces(faces, rows, split).ids]

    test, validation = faces.split("test").ids.tolist(), faces.split("validation").ids.tolist()
    assert about(14) == test
    assert about(28) == validation
    assert about(42) == validation + test  # Kaggle's test.csv: PublicTest, then PrivateTest
    assert about(84, "train") == faces.split("train").ids.tolist()
    with pytest.raises(DataError, match="has 15 rows, but Patterns has 14 test and 28 validation faces"):
        about(15)
    with pytest.raises(DataError, match="has 14 rows, but Patterns has 28 validation faces"):
        about(14, "validation")
    with pytest.raises(DataError, match="There is no split 'exam'"):
        about(14, "exam")


def test_public_and_private_score() -> None:
    """Of a submission about both halves of Kaggle's test set each half has its own score."""
    faces = demo_faces()
    order = np.concatenate([np.flatnonzero(faces.splits == split) for split in (1, 2)])
    said = faces.emotions[order].astype(int)
    said[:100] = (said[:100] + 1) % 7  # of the validation faces
    said[-30:] = (said[-30:] + 1) % 7  # of the test faces
    shares = scores_by_split(said, submitted_faces(faces, len(said)))
    assert {name: (share.hits, share.n) for name, share in shares.items()} == {
        "validation": (236, 336), "test": (306, 336),
    }  # fmt: skip


# -- several at once ---------------------------------------------------------------------------------------------------


def test_the_checkpoints_a_person_names(finished: Run) -> None:
    root = finished.path.parent

    def named(*names: str, epochs: str | None = None) -> list[tuple[str, int]]:
        return [(run.name, epoch) for run, epoch in find_checkpoints(names, epochs, root)]

    best = finished.best_epoch()
    assert named("run:1", "run:3") == [("run", 1), ("run", 3)]
    assert named("run") == [("run", best)]
    assert named("run:2", "run:2", "run:last") == [("run", 2), ("run", 3)]
    assert named("run", epochs="all") == [("run", 1), ("run", 2), ("run", 3)]
    assert named("run", epochs="3, 1,best") == list(dict.fromkeys([("run", 3), ("run", 1), ("run", best)]))
    with pytest.raises(CheckpointError, match="run kept no checkpoint of epoch 9; the epochs kept are: 1, 2, 3"):
        named("run:1", "run:9")
    with pytest.raises(RunError, match="There is no run 'walk'"):
        named("walk", epochs="all")
    with pytest.raises(RunError, match="'first' in 'run:first' is no epoch"):
        named("run", epochs="1,first")


def test_each_file_is_what_its_checkpoint_says(finished: Run, faces: FaceDataset, tmp_path: Path) -> None:
    test, shares = faces.split("test"), list[float]()
    chosen = [(finished, 1), (finished, 3)]
    written = write_submissions(chosen, test, tmp_path / "new" / "folder", report=shares.append)
    assert [one.path.name for one in written] == ["run-epoch-001.csv", "run-epoch-003.csv"]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    for (run, epoch), one in zip(chosen, written, strict=True):
        said = Predictor.load(run, epoch).predict(test.images).emotions
        table = pd.read_csv(one.path)
        assert table["id"].tolist() == list(range(14))
        assert table["emotion"].tolist() == said.tolist() == one.emotions.tolist()
    assert (written[0].emotions != written[1].emotions).any()  # else the test could not tell them apart


def test_all_or_nothing(finished: Run, copied: Run, faces: FaceDataset, tmp_path: Path) -> None:
    test, out = faces.split("test"), tmp_path / "out"
    out.mkdir()
    (out / "run-epoch-003.csv").write_text("mine")
    chosen = [(finished, 1), (finished, 3)]
    with pytest.raises(DataError, match=r"run-epoch-003\.csv is there already"):
        write_submissions(chosen, test, out)
    assert [path.name for path in out.iterdir()] == ["run-epoch-003.csv"]
    assert (out / "run-epoch-003.csv").read_text() == "mine"
    write_submissions(chosen, test, out, overwrite=True)
    assert len(check_submission(out / "run-epoch-003.csv").emotions) == 14
    with pytest.raises(DataError, match="Two runs are named alike"):
        write_submissions([(finished, 1), (copied, 1)], test, tmp_path / "two")
    copied.checkpoint_path(2).write_bytes(b"broken")
    with pytest.raises(CheckpointError):
        write_submissions([(copied, 1), (copied, 2)], demo_faces().split("test"), tmp_path / "two")
    assert not (tmp_path / "two").exists()
    with pytest.raises(DataError, match="cannot be made"):
        write_submissions(chosen, test, tmp_path / "out" / "run-epoch-003.csv" / "below")


# -- the commands ------------------------------------------------------------------------------------------------------


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[Any, str]]:
    """Runs a command on the demo faces: its exit code or error, and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FER_DATA", raising=False)

    def run(*arguments: object) -> tuple[Any, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return stop.value.code, capsys.readouterr().out

    return run


def test_write_check_and_compare(call: Callable[..., tuple[Any, str]], copied: Run, tmp_path: Path) -> None:
    code, text = call("submissions", "write", "run", "--epochs", "all", "--out", "subs", "--runs", copied.path.parent)
    assert code in (0, None)
    assert text.startswith("Wrote and checked 3 files in subs: 336 rows each, Demo faces (rendered demo faces), test\n")
    test = demo_faces().split("test")
    said = {epoch: Predictor.load(copied, epoch).predict(test.images).emotions for epoch in (1, 3)}
    share = score(said[3], test)
    assert f"{share}" in next(line for line in text.splitlines() if line.startswith("run-epoch-003.csv"))

    code, text = call("submissions", "check", "subs/run-epoch-003.csv")
    assert code in (0, None)
    assert "subs/run-epoch-003.csv is fine: 336 rows for Demo faces (rendered demo faces), columns id,emotion" in text
    assert str(share) in text

    files = ("subs/run-epoch-001.csv", "subs/run-epoch-003.csv")
    code, text = call("submissions", "compare", *files, "--out", "differences.csv")
    assert code in (0, None)
    same = int((said[1] == said[3]).sum())
    assert f"they differ on {336 - same} faces" in text
    assert f"Cohen's kappa {cohen_kappa_score(said[1], said[3]):.3f}" in text
    assert f"run-epoch-001.csv  {score(said[1], test)}" in text
    with (tmp_path / "differences.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["id"]) for row in rows] == np.flatnonzero(said[1] != said[3]).tolist()
    for row in rows:
        i = int(row["id"])
        assert [row["face"], row["first"], row["second"], row["true"]] == [
            test.ids[i], EMOTIONS[said[1][i]], EMOTIONS[said[3][i]], EMOTIONS[test.emotions[i]],
        ]  # fmt: skip

    code, text = call("submissions", "compare", *files, "--json")
    values = json.loads(text)
    assert values["agreement"] == same / 336
    assert values["kappa"] == pytest.approx(cohen_kappa_score(said[1], said[3]))
    assert values["scores"][1] == {"test": {"accuracy": share.value, "interval_95": list(share.interval), "n": 336}}
    assert np.array(values["table"]).sum() == 336
    assert values["is_demo"]


def test_files_about_other_faces(call: Callable[..., tuple[Any, str]], tmp_path: Path) -> None:
    write_submission(tmp_path / "a.csv", FIRST)
    write_submission(tmp_path / "b.csv", SECOND)
    code, text = call("submissions", "compare", "a.csv", "b.csv")
    assert code in (0, None)
    assert f"agreement {accuracy_score(FIRST, SECOND):.1%} (" in text
    assert "The faces that they are about are not at hand (--data), so there are no scores." in text
    code, _ = call("submissions", "compare", "a.csv", "b.csv", "--split", "test")
    assert code == (
        "Error: The submission has 500 rows, but Demo faces has 336 test faces; give --data the faces it was made for."
    )
    code, _ = call("submissions", "check", "a.csv")
    assert "has 336 test and 336 validation faces" in code
    (tmp_path / "c.csv").write_text("id,emotion\n0,9\n")
    code, _ = call("submissions", "check", "c.csv")
    assert code == "Error: c.csv, line 2: '9' is not a label from 0 to 6."
    code, _ = call("submissions", "compare", "a.csv", "nowhere.csv")
    assert "nowhere.csv cannot be read" in code
    shutil.copy(tmp_path / "a.csv", tmp_path / "mine.csv")
    code, _ = call("submissions", "compare", "a.csv", "b.csv", "--out", "mine.csv")
    assert "mine.csv is there already" in code


def test_no_test_split(call: Callable[..., tuple[Any, str]], copied: Run, tmp_path: Path) -> None:
    pixels = " ".join(["0"] * 2304)
    (tmp_path / "train.csv").write_text(f"emotion,pixels\n0,{pixels}\n1,{pixels[:-1]}7\n")
    arguments = ("--data", "train.csv", "--runs", copied.path.parent, "--out", "subs")
    code, _ = call("submissions", "write", "run", *arguments)
    assert code == "Error: train.csv has no test split; give --data a file that has one, such as test.csv."
    assert not (tmp_path / "subs").exists()
