"""A person's decisions: kept, undone, exported, and applied to any form of the same data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer_core.data import FaceDataset
from fer_core.data.curation import Curation, apply_curation, curation_file, mark_rows
from fer_core.errors import DataError
from fer_core.labels import EMOTIONS


@pytest.fixture
def curation(tmp_path: Path) -> Curation:
    return Curation("Patterns", tmp_path / "folder" / "curation.sqlite")


def verdicts(curation: Curation) -> list[tuple[str, str, str]]:
    return [(mark.id, mark.verdict, mark.emotion) for mark in curation.marks()]


def test_the_latest_decision_holds_and_undo_brings_back_the_one_before(faces: FaceDataset, curation: Curation) -> None:
    assert curation.marks() == []
    assert curation.undo() is None
    curation.mark(faces, 3, "drop")
    curation.mark(faces, 5, "relabel", "happiness")
    curation.mark(faces, 3, "keep")
    assert verdicts(curation) == [("face-005", "relabel", "Happy"), ("face-003", "keep", "")]
    undone = curation.undo()
    assert undone is not None
    assert (undone.id, undone.verdict) == ("face-003", "keep")
    assert verdicts(curation) == [("face-003", "drop", ""), ("face-005", "relabel", "Happy")]
    for _ in range(2):
        curation.undo()
    assert curation.marks() == []
    assert curation.undo() is None


def test_a_mark_tells_what_it_was_about(faces: FaceDataset, curation: Curation) -> None:
    curation.mark(faces, 90, "drop")
    (mark,) = curation.marks()
    assert (mark.id, mark.split, mark.given, mark.data) == ("face-090", "validation", EMOTIONS[90 % 7], "Patterns")
    assert len(mark.face) == 16
    assert mark_rows([mark], faces).tolist() == [90]
    unlabelled = np.flatnonzero(faces.emotions == -1)[0]
    curation.mark(faces, int(unlabelled), "keep")
    assert curation.marks()[-1].given == ""


def test_data_sets_do_not_mix(faces: FaceDataset, curation: Curation) -> None:
    curation.mark(faces, 3, "drop")
    other = Curation("Other", curation.file)
    assert other.marks() == []
    assert other.undo() is None
    other.mark(faces, 4, "drop")
    assert [mark.id for mark in curation.marks()] == ["face-003"]


def test_what_is_refused(faces: FaceDataset, curation: Curation) -> None:
    with pytest.raises(DataError, match="no verdict 'burn'"):
        curation.mark(faces, 0, "burn")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="'Bored' is not one of the seven"):
        curation.mark(faces, 0, "relabel", "Bored")
    curation.file.parent.mkdir()
    curation.file.write_text("not a database, though it has the name of one" * 30)
    with pytest.raises(DataError, match="cannot be used"):
        curation.marks()


def exported(curation: Curation, folder: Path, verdict: str) -> Path:
    path = folder / f"{verdict}.csv"
    path.write_text(curation.csv(verdict))  # type: ignore[arg-type]
    return path


def test_round_trip_from_decision_to_training_data(faces: FaceDataset, curation: Curation, tmp_path: Path) -> None:
    curation.mark(faces, 3, "drop")
    curation.mark(faces, 88, "drop")
    curation.mark(faces, 5, "relabel", "Sad")
    curation.mark(faces, 6, "keep")
    drop, relabel = exported(curation, tmp_path, "drop"), exported(curation, tmp_path, "relabel")
    curated, told = apply_curation(faces, drop, relabel)
    stay = np.setdiff1d(np.arange(126), [3, 88])
    np.testing.assert_array_equal(curated.ids, faces.ids[stay])
    expected = faces.emotions.copy()
    expected[5] = EMOTIONS.index("Sad")
    np.testing.assert_array_equal(curated.emotions, expected[stay])
    assert told["exclude"]["n"] == 2
    assert told["exclude"]["by_split"] == {"train": 1, "validation": 1, "test": 0}
    assert (told["relabel"]["n"], told["relabel"]["changed"], told["relabel"]["not_found"]) == (1, 1, 0)
    assert len(told["exclude"]["sha256"]) == 16
    assert faces.emotions[5] == 5  # the data given stays as it is
    assert curated.fingerprint != faces.fingerprint


def test_another_form_of_the_data_is_matched_by_pixels(faces: FaceDataset, curation: Curation, tmp_path: Path) -> None:
    for row in (3, 40, 100):
        curation.mark(faces, row, "drop")
    order = np.random.default_rng(0).permutation(126)
    other = replace(faces.subset(order), ids=np.array([f"happy/{i}.png" for i in range(126)]))
    curated, told = apply_curation(other, exported(curation, tmp_path, "drop"))
    assert told["exclude"]["n"] == 3
    np.testing.assert_array_equal(curated.images, faces.images[order[~np.isin(order, [3, 40, 100])]])


def test_of_two_copies_the_one_that_was_meant_goes(faces: FaceDataset, curation: Curation, tmp_path: Path) -> None:
    twice = replace(faces, images=faces.images[np.where(np.arange(126) == 7, 3, np.arange(126))])
    curation.mark(twice, 7, "drop")
    drop = exported(curation, tmp_path, "drop")
    assert set(twice.ids) - set(apply_curation(twice, drop)[0].ids) == {"face-007"}
    other_ids = replace(twice, ids=np.arange(126).astype(str))
    assert len(apply_curation(other_ids, drop)[0]) == 125


def test_a_list_typed_by_hand(faces: FaceDataset, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("id,emotion\nface-001,anger\nface-002,Happy\nface-999,Sad\n")
    curated, told = apply_curation(faces, relabel=path)
    assert curated.emotions[1:3].tolist() == [0, 3]
    assert told["relabel"] == {**told["relabel"], "n": 2, "not_found": 1, "file": "mine.csv"}


def test_of_all_decisions_each_option_takes_its_own(faces: FaceDataset, curation: Curation, tmp_path: Path) -> None:
    curation.mark(faces, 3, "drop")
    curation.mark(faces, 5, "relabel", "Sad")
    curation.mark(faces, 6, "keep")
    path = tmp_path / "decisions.csv"
    path.write_text(curation.csv())
    curated, told = apply_curation(faces, path, path)
    assert set(faces.ids) - set(curated.ids) == {"face-003"}
    assert (told["exclude"]["n"], told["relabel"]["n"]) == (1, 1)
    assert curated.emotions[curated.ids == "face-005"].tolist() == [EMOTIONS.index("Sad")]


def test_excluding_wins(faces: FaceDataset, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\nface-001\n")
    (tmp_path / "b.csv").write_text("id,emotion\nface-001,Happy\n")
    assert "face-001" not in apply_curation(faces, tmp_path / "a.csv", tmp_path / "b.csv")[0].ids


def test_nothing_to_do(faces: FaceDataset) -> None:
    assert apply_curation(faces) == (faces, {})


BAD = {
    "nothing of this verdict": ("id,emotion,verdict\nface-001,Sad,keep\n", "has no line below a header"),
    "after empty lines": ("id,emotion\n\n\nface-002,Bored\n", "line 4: 'Bored'"),
    "no such column": ("name\nx\n", "header with a column 'face' or 'id'"),
    "empty": ("", "has no line below a header"),
    "no key": ("face,id,emotion\nxyz,face-001,Sad\n", "line 2: 'xyz' is no face's key"),
    "nameless": ("face,id,emotion\n,,Sad\n", "line 2"),
    "no emotion": ("id,emotion\nface-001,Sad\nface-002,Bored\n", "line 3: 'Bored' is not one of"),
    "twice": ("id,emotion\nface-001,Sad\nface-001,Happy\n", "line 3: face-001 stands in line 2 too"),
    "none there": ("id,emotion\nx,Sad\n", "None of the 1 faces in .* is in Patterns"),
}


@pytest.mark.parametrize(("text", "reason"), BAD.values(), ids=BAD.keys())
def test_bad_lists_are_named(faces: FaceDataset, tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=reason) as refused:
        apply_curation(faces, relabel=path)
    assert str(path) in str(refused.value)


def test_a_missing_list(faces: FaceDataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        apply_curation(faces, tmp_path / "none.csv")


def test_where_decisions_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FER_CACHE", str(tmp_path))
    assert curation_file() == tmp_path / "curation.sqlite"
    monkeypatch.setenv("FER_CURATION", str(tmp_path / "mine.sqlite"))
    assert curation_file() == tmp_path / "mine.sqlite"
    monkeypatch.delenv("FER_CACHE")
    monkeypatch.delenv("FER_CURATION")
    assert "cache" not in str(curation_file()).lower()
