"""Every way in which data is bad: one sentence that names the file, the line and the value, and what to do."""

from __future__ import annotations

import csv
import re
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_core.data import LoadOptions, load_dataset
from fer_core.data.describe import describe
from fer_core.errors import DataError


def message(path: Path | str) -> str:
    """The message of the error that loading gives: one sentence, on one line, with the file's name."""
    with pytest.raises(DataError) as caught:
        load_dataset(path)
    text = str(caught.value)
    assert text.endswith((".", "?"))
    assert "\n" not in text
    assert len(text) < 400 + len(str(path))
    return text


def edited(sample: Any, line: int, edit: Any) -> Path:
    """A fer2013.csv in which one line (counted from 1, as editors do) is other than it should be."""
    path: Path = sample.fer2013_csv()
    lines = path.read_text().splitlines()
    lines[line - 1] = edit(lines[line - 1])
    path.write_text("\n".join(lines) + "\n")
    return path


def pixel(i: int, value: str) -> Any:
    """Replaces one pixel of a line."""

    def edit(line: str) -> str:
        emotion, pixels, usage = line.split(",")
        values = pixels.split()
        values[i] = value
        return f"{emotion},{' '.join(values)},{usage}"

    return edit


BAD_LINES = {
    "2303 values": (lambda line: re.sub(r" \d+,", ",", line), "2,303 pixel values where 2,304 are needed"),
    "2305 values": (lambda line: re.sub(r",(\d+ )", r",1 \1", line), "2,305 pixel values where 2,304 are needed"),
    "no values": (lambda line: re.sub(r",.*,", ",,", line), "0 pixel values"),
    "256": (pixel(3, "256"), "pixel 3 is '256', not a whole number from 0 to 255"),
    "999": (pixel(0, "999"), "pixel 0 is '999'"),
    "1234": (pixel(2303, "1234"), "pixel 2303 is '1234'"),
    "long": (pixel(8, "9" * 5000), r"pixel 8 is '99999999999999999999\.\.\.'"),
    "-1": (pixel(5, "-1"), "pixel 5 is '-1'"),
    "x": (pixel(7, "x"), "pixel 7 is 'x'"),
    "0.5": (pixel(7, "0.5"), r"pixel 7 is '0\.5'"),
    "NUL": (pixel(7, "1\0"), r"pixel 7 is '1\\x00'"),
    "letters": (pixel(7, "é"), "pixel 7 is 'é'"),
    "emotion 7": (lambda line: "7" + line[1:], "the emotion is '7', not a whole number from 0 to 6"),
    "happy": (lambda line: "happy" + line[1:], "the emotion is 'happy', not a whole number from 0 to 6"),
    "usage": (lambda line: re.sub(r"\w+$", "Training set", line), "the usage is 'Training set', not Training"),
    "columns": (lambda line: line.replace(",", ";"), "1 columns where the header names 3"),
    "more columns": (lambda line: line + ",1", "4 columns where the header names 3"),
}


@pytest.mark.parametrize(("edit", "reason"), BAD_LINES.values(), ids=BAD_LINES.keys())
@pytest.mark.parametrize("line", [2, 17, 43])
def test_a_bad_line_is_named_with_its_value(sample: Any, edit: Any, reason: str, line: int) -> None:
    path = edited(sample, line, edit)
    text = message(path)
    assert text.startswith(f"{path}, line {line}: ")
    assert re.search(reason, text)
    assert "--skip-bad-rows" in text


def test_line_numbers_count_empty_lines_too(sample: Any) -> None:
    path = edited(sample, 10, lambda line: "\n\n7" + line[1:])
    assert "line 12:" in message(path)


def test_line_numbers_hold_far_into_a_file(sample: Any) -> None:
    rows = np.tile(np.arange(42), 12)  # over a megabyte of text: several blocks
    path = sample.train_csv(rows=rows)
    path.write_text(path.read_text() + "3,1 2 3\n")
    assert f"line {len(rows) + 2}: 3 pixel values" in message(path)


def test_truncated_last_line(sample: Any) -> None:
    path = sample.train_csv()
    path.write_bytes(path.read_bytes()[:-4000])
    text = message(path)
    assert "line 43: " in text
    assert "cut off" in text
    path.write_bytes(path.read_bytes() + b"\n")  # a whole line that is too short is no file that was cut off
    assert "cut off" not in message(path)
    path.write_bytes(sample.fer2013_csv().read_bytes()[:-4000])
    assert "line 43: 2 columns where the header names 3; the file ends here and looks cut off" in message(path)


def test_missing_path_hints_at_what_was_meant(sample: Any) -> None:
    sample.train_csv()
    assert message(sample.folder / "trian.csv").endswith(f"did you mean {sample.folder / 'train.csv'}?")
    assert "does not exist" in message(sample.folder / "zzz.csv")
    assert "nor does its folder" in message(sample.folder / "no" / "such.csv")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"emotion,pixels\n", "no face that can be read"),
        (b"pixels", "no face that can be read"),
        (b"a,b\n1,2\n", "line 1: the columns are 'a', 'b'"),
        (b"0,70 80 82\n", "line 1: the columns are '0', '70 80 82'"),
        ("emotion,pixels\n3,1 2".encode("utf-16"), "is UTF-16 text"),
        ("emotion,pixels\n3,1 2".encode("utf-16-be"), "is not a text file"),
        ("\xe9motion,pixel\n3,1 2".encode("latin-1"), r"the columns are '\\xe9motion', 'pixel'"),
        (b"\0" * 4000, "is not a text file"),
        (b"PK\x03\x04 a zip", "is an archive; unpack it"),
        (b"\x1f\x8b\x08 a gzip", "is an archive; unpack it"),
        (b"PAR1 and no more", "cut off or damaged"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00 no more", "not a picture that can be read"),
    ],
)
@pytest.mark.parametrize("name", ["train.csv", "set.parquet"])
def test_a_file_that_holds_no_faces(sample: Any, name: str, content: bytes, reason: str) -> None:
    path = sample.write(name, content)
    text = message(path)
    assert text.startswith(str(path))
    assert re.search(reason, text)


def test_folders_without_faces(sample: Any) -> None:
    assert "is empty" in message(sample.folder)
    sample.write("notes.txt", "nothing here")
    sample.write("more/README.md", "nor here")
    assert "holds no faces, only 2 other files" in message(sample.folder)
    sample.write("labels.csv", "a,b\n")
    assert message(sample.folder).startswith(str(sample.folder / "labels.csv"))


def test_broken_pictures_are_named(sample: Any) -> None:
    good = sample.pngs()
    sample.write("train/happy/a.png", good[0])
    broken = sample.write("train/happy/b.jpg", b"no picture")
    assert message(sample.folder).startswith(f"{broken}: not a picture that can be read")
    broken.write_bytes(good[0][:700])
    assert message(sample.folder).startswith(f"{broken}: not a picture that can be read")
    broken.write_bytes(b"")
    assert message(sample.folder).startswith(f"{broken}: the picture is empty")
    dataset = load_dataset(sample.folder, LoadOptions(skip_bad_rows=True, skipped_to=sample.folder / "skipped.csv"))
    assert dataset.ids.tolist() == ["train/happy/a.png"]


def test_bad_rows_of_parquet_are_named(sample: Any) -> None:
    pictures = sample.pngs()
    path = sample.parquet(encoded=[*pictures[:4], b"no picture", *pictures[5:]])
    assert message(path).startswith(f"{path}, row 4: not a picture that can be read (unknown format)")
    path = sample.parquet(encoded=[*pictures[:4], None, *pictures[5:]])
    assert message(path).startswith(f"{path}, row 4: the picture is empty")
    for good, bad, shown in (
        (3, 7, "7"),
        (3.0, 1.5, r"1\.5"),
        ("happy", "bored", "'bored'"),
        (3, -3, "-3"),
        (3.0, inf, "inf"),
    ):
        path = sample.parquet({"label": [*[good] * 9, bad] * 4 + [None] * 2})
        assert re.search(rf", row 9: the label {shown} is not known", message(path))
    path = sample.parquet({"usage": ["train"] * 41 + ["holdout"]})
    assert "row 41: the usage 'holdout' is not known" in message(path)


def test_parquet_of_another_kind(sample: Any) -> None:
    path = sample.folder / "other.parquet"
    pq.write_table(pa.table({"a": [1], "image": ["file.png"]}), path)
    assert "the columns a, image" in message(path)
    pq.write_table(pa.table({"image": [b"x"], "label": [[1, 2]]}), path)
    assert "the column 'label' holds list" in message(path)
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), path)
    assert "no face that can be read" in message(path)


def test_truncated_and_damaged_parquet(sample: Any) -> None:
    path = sample.parquet()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "cut off or damaged" in message(path)
    path.write_bytes(whole[:100] + b"\xee" * 3000 + whole[3100:])
    assert "damaged" in message(path) or "row" in message(path)


def test_skipped_rows_are_listed_and_the_rest_is_loaded(sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sample.fer2013_csv()
    lines = path.read_text().splitlines()
    lines[1] = pixel(3, "256")(lines[1])
    lines[5] = "7" + lines[5][1:]
    lines[6] = "3,1 2 3,Training"
    lines[42] = lines[42][:900]
    path.write_text("\n".join(lines))
    monkeypatch.chdir(sample.folder)
    for target in (None, sample.folder / "mine.csv"):  # the second time from the cache
        dataset = load_dataset(path, LoadOptions(skip_bad_rows=True, skipped_to=target))
        kept = np.setdiff1d(np.arange(42), [0, 4, 5, 41])
        np.testing.assert_array_equal(dataset.images, sample.images[kept])
        np.testing.assert_array_equal(dataset.emotions, sample.emotions[kept])
        np.testing.assert_array_equal(dataset.splits, sample.splits[kept])
        assert dataset.summary.skipped == 4
        with Path(dataset.summary.skipped_file).open() as stream:
            listed = list(csv.DictReader(stream))
        assert [row["line"] for row in listed] == ["2", "6", "7", "43"]
        assert {row["file"] for row in listed} == {str(path)}
        assert listed[0]["reason"] == "pixel 3 is '256', not a whole number from 0 to 255"
    assert Path("skipped-rows.csv").exists()
    assert dataset.summary.skipped_file == str(sample.folder / "mine.csv")
    assert dataset.summary.from_cache


def test_a_file_of_bad_rows_only_is_an_error_even_when_skipping(sample: Any) -> None:
    path = sample.write("train.csv", "emotion,pixels\n3,1 2\n9,1\n")
    with pytest.raises(DataError, match=r"the first of 2 bad rows is .*line 2: 2 pixel values"):
        load_dataset(path, LoadOptions(skip_bad_rows=True))


def test_the_list_of_skipped_rows_overwrites_nothing(sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sample.fer2013_csv()
    path.write_text(path.read_text() + "9,1,Training\n")
    monkeypatch.chdir(sample.folder)
    Path("skipped-rows.csv").write_text("mine")
    for _ in range(2):  # the same list is not written twice
        assert load_dataset(path, LoadOptions(skip_bad_rows=True)).summary.skipped_file == "skipped-rows-2.csv"
    assert Path("skipped-rows.csv").read_text() == "mine"
    assert "44," in Path("skipped-rows-2.csv").read_text()
    assert not Path("skipped-rows-3.csv").exists()
    Path("skipped-rows-2.csv").unlink()
    Path("skipped-rows-2.csv").mkdir()
    dataset = load_dataset(path, LoadOptions(skip_bad_rows=True))
    summary = dataset.summary
    assert (summary.skipped, summary.skipped_file) == (1, "")
    assert summary.warnings == ("skipped-rows-2.csv, the list of skipped rows, cannot be written (Is a directory).",)
    assert "Rows skipped: 1" in describe(dataset).splitlines()


def test_list_of_skipped_rows_that_cannot_be_written(sample: Any) -> None:
    path = sample.fer2013_csv()
    path.write_text(path.read_text() + "9,1,Training\n")
    with pytest.raises(DataError, match=r"skipped.csv, the list of skipped rows, cannot be written"):
        load_dataset(path, LoadOptions(skip_bad_rows=True, skipped_to=sample.folder / "no" / "skipped.csv"))
