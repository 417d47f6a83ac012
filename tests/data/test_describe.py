"""What `python -m fer_core data PATH` says of a data set."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from fer_core.data import FaceDataset, LoadOptions, LoadSummary, describe, load_dataset


def test_a_csv_is_described(sample: Any) -> None:
    dataset = load_dataset(sample.icml_csv())
    lines = describe(dataset).splitlines()
    assert lines[:2] == [
        "icml_face_data.csv: 42 faces",
        "Form: CSV of faces with their split (as icml_face_data.csv and fer2013.csv)",
    ]
    assert re.fullmatch(r"Read: icml_face_data\.csv in \d+\.\d\d s", lines[2])  # not from the cache
    told = (
        f"Fingerprint: {dataset.fingerprint}; without test faces, as runs note it: {dataset.fingerprint_without_test}"
    )
    assert lines[3] == told
    assert [line.split() for line in lines[5:14]] == [
        ["train", "validation", "test", "all"],
        *([name, "2", "2", "2", "6"] for name in ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")),
        ["All", "14", "14", "14", "42"],
    ]
    assert len(lines) == 14
    assert "(from the cache)" in describe(load_dataset(sample.folder / "icml_face_data.csv")).splitlines()[2]


def test_what_was_done_and_assumed_is_told(sample: Any, picture: Any) -> None:
    encoded = [picture(np.zeros((60, 48, 3), np.uint8)), *sample.pngs()[1:]]
    sample.parquet({"label": sample.emotions}, encoded=[*encoded[:41], b"broken"])
    sample.write("labels.csv", "a,b\n")
    options = LoadOptions(skip_bad_rows=True, skipped_to=sample.folder / "skipped.txt")
    text = describe(load_dataset(sample.folder, options))
    assert "Converted to 48x48: 1\n" in text
    assert "Converted to gray: 1\n" in text
    assert f"Rows skipped: 1, listed in {sample.folder / 'skipped.txt'}\n" in text
    assert "Left alone: labels.csv: " in text
    assert "Warning: The labels are numbers without names" in text


def test_large_numbers_and_absent_rows() -> None:
    n = 12_345
    faces = FaceDataset(
        np.zeros((n, 48, 48), np.uint8),
        np.full(n, -1, np.int8),
        np.full(n, 2, np.int8),
        np.arange(n).astype(str),
        "Many",
    )
    text = describe(faces)
    assert text.startswith("Many: 12,345 faces\nForm: Made in memory\nRead: nothing in 0.00 s\n")
    assert [line.split() for line in text.splitlines()[5:]] == [
        ["test", "all"],
        ["Unlabelled", "12,345", "12,345"],
        ["All", "12,345", "12,345"],
    ]
    demo = describe(replace(faces, is_demo=True, summary=LoadSummary(form="Parquet", files=("a", "b"), seconds=1.234)))
    assert demo.startswith("Many: 12,345 faces (rendered, not photographed)\nForm: Parquet\nRead: a, b in 1.23 s\n")
