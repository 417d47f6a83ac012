from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fer_core.errors import ConfigError, DataError
from fer_core.export import check_submission, parse_submission, submission_csv, write_submission

EMOTIONS = np.array([3, 0, 6, 3, 1])


def test_kaggles_form_to_the_byte(tmp_path: Path) -> None:
    submission = write_submission(tmp_path / "sub.csv", EMOTIONS)
    assert (tmp_path / "sub.csv").read_bytes() == b"id,emotion\n0,3\n1,0\n2,6\n3,3\n4,1\n"
    assert submission.columns == ("id", "emotion")
    assert submission.emotions.tolist() == [3, 0, 6, 3, 1]
    assert submission.counts == {
        "Angry": 1, "Disgust": 1, "Fear": 0, "Happy": 2, "Sad": 0, "Surprise": 0, "Neutral": 1,
    }  # fmt: skip


def test_the_form_without_ids(tmp_path: Path) -> None:
    submission = write_submission(tmp_path / "sub.csv", EMOTIONS, ("emotion",))
    assert (tmp_path / "sub.csv").read_bytes() == b"emotion\n3\n0\n6\n3\n1\n"
    assert submission.columns == ("emotion",)
    assert check_submission(tmp_path / "sub.csv", 5).emotions.tolist() == [3, 0, 6, 3, 1]


def test_many_rows_as_pandas_reads_them(tmp_path: Path) -> None:
    emotions = np.random.default_rng(0).integers(0, 7, 7178)
    write_submission(tmp_path / "sub.csv", emotions)
    table = pd.read_csv(tmp_path / "sub.csv")
    assert table["id"].tolist() == list(range(7178))
    assert (table["emotion"].to_numpy() == emotions).all()


def test_no_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sub\.csv has no row below its header"):
        write_submission(tmp_path / "sub.csv", EMOTIONS[:0])


def test_a_file_is_overwritten_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "sub.csv"
    path.write_text("my notes")
    with pytest.raises(DataError, match=r"sub\.csv is there already"):
        write_submission(path, EMOTIONS)
    assert path.read_text() == "my notes"
    write_submission(path, EMOTIONS, overwrite=True)
    assert check_submission(path, 5).emotions.tolist() == EMOTIONS.tolist()


def test_other_columns_are_refused_before_a_file_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'emotion,id'; choose id,emotion or emotion"):
        write_submission(tmp_path / "sub.csv", EMOTIONS, ("emotion", "id"))
    assert not (tmp_path / "sub.csv").exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        write_submission(tmp_path / "nowhere" / "sub.csv", EMOTIONS)


def test_what_is_written_is_checked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 3: '7' is not a label from 0 to 6"):
        write_submission(tmp_path / "sub.csv", np.array([0, 7]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1: the columns are ''"),
        ("emotion,id\n3,0\n0,1\n", r"line 1: the columns are 'emotion,id'; they should be id,emotion or emotion"),
        ("id,emotion\n0,3\n", r"has 1 rows for 2 faces"),
        ("id,emotion\n0,3\n1,0\n2,0\n", r"has 3 rows for 2 faces"),
        ("id,emotion\n0,3\n2,0\n", r"line 3: '2,0' should be the id 1 and one label"),
        ("id,emotion\n1,3\n2,0\n", r"line 2: '1,3' should be the id 0 and one label"),
        ("id,emotion\n0,3\n1\n", r"line 3: '1' should be the id 1 and one label"),
        ("emotion\n3\n0,1\n", r"line 3: '0,1' should be one label"),
        ("emotion\n3\n\n", r"line 3: '' is not a label"),
        ("emotion\n3\n-1\n", r"line 3: '-1' is not a label"),
        ("emotion\n3\n1.0\n", r"line 3: '1.0' is not a label"),
        ("emotion\n3\nHappy\n", r"line 3: 'Happy' is not a label"),
    ],
)
def test_a_submission_that_kaggle_would_refuse(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "sub.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        check_submission(path, 2)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "sub.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read as a CSV"):
        check_submission(tmp_path / "sub.csv", 2)


@pytest.mark.parametrize("columns", [("id", "emotion"), ("emotion",)])
def test_content_that_never_was_a_file(columns: tuple[str, ...]) -> None:
    """As the dashboard makes and takes it; without a number of faces it may have any number of rows."""
    content = submission_csv(EMOTIONS, columns)
    submission = parse_submission(content, Path("upload.csv"))
    assert (submission.columns, submission.emotions.tolist()) == (columns, EMOTIONS.tolist())
    assert (
        parse_submission(content.replace(b"\n", b"\r\n"), Path("upload.csv"), 5).emotions.tolist() == EMOTIONS.tolist()
    )
    with pytest.raises(DataError, match=r"upload\.csv has 5 rows for 6 faces"):
        parse_submission(content, Path("upload.csv"), 6)
