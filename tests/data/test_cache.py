"""The cache: what was read once is mapped into memory, and never anything else than the files hold."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_core.data import FaceDataset, LoadOptions, cache, load_dataset
from fer_core.data.cache import moved_into_place
from fer_core.data.image_folder import ImageSource
from fer_core.data.parquet import ParquetSource
from fer_core.data.pixel_csv import CsvSource
from fer_core.errors import DataError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test alone."""
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> Any:
    """After it is called, nothing can be parsed or decoded any more."""

    def fail(*_: object) -> None:
        raise AssertionError("read again")

    def forbid() -> None:
        for source in (CsvSource, ParquetSource, ImageSource):
            monkeypatch.setattr(source, "read", fail)

    return forbid


def entries(folder: Path) -> list[Path]:
    return sorted((folder / "faces").glob("*"))


def assert_equal(one: FaceDataset, other: FaceDataset) -> None:
    for column in ("images", "emotions", "splits", "ids"):
        np.testing.assert_array_equal(getattr(one, column), getattr(other, column))
        assert getattr(one, column).dtype.kind == getattr(other, column).dtype.kind
    assert one.extra.equals(other.extra)
    assert list(one.extra.dtypes) == list(other.extra.dtypes)
    assert one.fingerprint == other.fingerprint
    for told in ("form", "files", "left_alone", "resized", "recoloured", "skipped", "warnings"):
        assert getattr(one.summary, told) == getattr(other.summary, told)


def forms(sample: Any) -> list[Path]:
    """The same faces as CSV, as Parquet with further columns, and as a folder of images."""
    columns = {"label": sample.emotions, "name": [f"é{i}" for i in range(42)], "yaw": np.arange(42.0)}
    images = [sample.write(f"images/train/happy/{i}.png", png) for i, png in enumerate(sample.pngs())]
    return [sample.fer2013_csv(), sample.parquet(columns), images[0].parents[2]]


def test_the_second_opening_reads_nothing_and_gives_the_same(sample: Any, no_reading: Any) -> None:
    paths = forms(sample)
    uncached = [load_dataset(path, LoadOptions(use_cache=False)) for path in paths]
    first = [load_dataset(path) for path in paths]
    no_reading()
    second = [load_dataset(path) for path in paths]
    for plain, one, two in zip(uncached, first, second, strict=True):
        assert_equal(plain, one)
        assert_equal(one, two)
        assert not plain.summary.from_cache
        assert not one.summary.from_cache
        assert two.summary.from_cache


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux tells what is mapped")
def test_the_faces_are_mapped_into_memory(sample: Any, folder: Path) -> None:
    path = sample.fer2013_csv()
    for _ in range(2):
        dataset = load_dataset(path)
        (entry,) = entries(folder)
        ranges = [line.split()[0] for line in Path("/proc/self/maps").read_text().splitlines() if str(entry) in line]
        bounds = [tuple(int(end, 16) for end in text.split("-")) for text in ranges]
        address = dataset.images.ctypes.data
        assert any(start <= address < end for start, end in bounds)
        assert not dataset.images.flags.writeable


def test_a_copied_moved_or_touched_file_is_found(sample: Any, no_reading: Any) -> None:
    path = sample.fer2013_csv()
    load_dataset(path)
    no_reading()
    copy = shutil.copy(path, path.with_name("copy.csv"))
    assert load_dataset(copy).summary.from_cache
    os.utime(path, (0, 0))
    assert load_dataset(path).summary.from_cache
    assert load_dataset(path.rename(path.with_name("moved.csv"))).summary.from_cache


def test_changed_content_is_read_again(sample: Any) -> None:
    path = sample.fer2013_csv()
    before = load_dataset(path)
    stat = path.stat()
    text = path.read_bytes()
    first = int(text.split(b"\n")[1][:1])
    changed = (first + 1) % 7
    path.write_bytes(text.replace(b"\n%d," % first, b"\n%d," % changed, 1))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # of the same size, and the old time put back
    after = load_dataset(path)
    assert not after.summary.from_cache
    assert (before.emotions[0], after.emotions[0]) == (first, changed)


def test_a_picture_that_was_changed_is_read_again(sample: Any, picture: Any) -> None:
    path = sample.write("train/sad/a.png", picture(sample.images[0]))
    assert not load_dataset(sample.folder).summary.from_cache
    assert load_dataset(sample.folder).summary.from_cache
    path.write_bytes(picture(sample.images[1]))
    os.utime(path, (1, 1))
    np.testing.assert_array_equal(load_dataset(sample.folder).images, sample.images[1:2])
    path.rename(path.parent / "b.png")
    assert load_dataset(sample.folder).ids.tolist() == ["train/sad/b.png"]


def test_each_way_of_reading_has_its_own_entry(sample: Any, folder: Path) -> None:
    path = sample.train_csv()
    csv, alphabetical = (load_dataset(path, LoadOptions(label_order=order)) for order in ("csv", "alphabetical"))
    assert not alphabetical.summary.from_cache
    assert not np.array_equal(csv.emotions, alphabetical.emotions)
    path.write_text(path.read_text() + "9,1\n")
    skipping = LoadOptions(skip_bad_rows=True, skipped_to=sample.folder / "skipped.csv")
    assert load_dataset(path, skipping).summary.skipped == 1
    assert load_dataset(path, skipping).summary.from_cache
    with pytest.raises(DataError, match="line 44"):  # what was skipped then is no excuse now
        load_dataset(path)
    assert len(entries(folder)) == 3


@pytest.mark.parametrize("where", [0, 0.2, 0.5, 0.9, -1], ids=str)
def test_a_damaged_entry_is_made_anew(sample: Any, folder: Path, where: float) -> None:
    path = sample.fer2013_csv()
    load_dataset(path)
    (entry,) = entries(folder)
    whole = entry.read_bytes()
    position = int(where * len(whole)) if where >= 0 else len(whole) - 1
    entry.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
    mended = load_dataset(path)
    assert not mended.summary.from_cache
    np.testing.assert_array_equal(mended.images, sample.images)
    assert entry.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 5000, None])
def test_an_entry_of_other_content_is_made_anew(sample: Any, folder: Path, content: bytes | None) -> None:
    path = sample.fer2013_csv()
    load_dataset(path)
    (entry,) = entries(folder)
    entry.write_bytes(entry.read_bytes()[:-1000] if content is None else content)
    assert not load_dataset(path).summary.from_cache
    assert load_dataset(path).summary.from_cache


def test_damaged_notes_of_hashes_are_ignored(sample: Any, folder: Path) -> None:
    path = sample.fer2013_csv()
    os.utime(path, (1, 1))
    load_dataset(path)
    (note,) = (folder / "hashes").glob("*.json")
    for text in ("", "[]", "{", '{"identity": 3}'):
        note.write_text(text)
        assert load_dataset(path).summary.from_cache


def test_an_unchanged_file_is_not_even_hashed(sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sample.fer2013_csv()
    os.utime(path, (1, 1))
    load_dataset(path)
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    assert load_dataset(path).summary.from_cache


def test_a_file_of_this_very_moment_is_hashed_again(sample: Any) -> None:
    """It could change once more within the clock's resolution."""
    path = sample.fer2013_csv()
    now = time.time_ns() + 10**9
    os.utime(path, ns=(now, now))
    before = cache.content_hash(path)
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(now, now))
    assert cache.content_hash(path) != before


def test_a_cache_that_cannot_be_written_is_a_warning(sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = sample.write("a-file", "")
    monkeypatch.setenv("FER_CACHE", str(blocked / "cache"))
    path = sample.fer2013_csv()
    for _ in range(2):
        dataset = load_dataset(path)
        np.testing.assert_array_equal(dataset.images, sample.images)
        (warning,) = dataset.summary.warnings
        assert str(blocked / "cache") in warning
        assert warning.endswith("; set FER_CACHE.")
        assert not dataset.summary.from_cache


def test_a_full_disk_leaves_no_half_written_entry(sample: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_checksum", full_disk)
    (warning,) = load_dataset(sample.fer2013_csv()).summary.warnings
    assert "No space left on device" in warning
    assert entries(folder) == []


def test_the_entries_not_opened_for_longest_are_removed(
    sample: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_KEPT", 3)
    paths = [sample.train_csv(f"{k}.csv", range(k + 1)) for k in range(4)]
    for age, path in enumerate(paths[:3]):
        load_dataset(path)
        newest = max(entries(folder), key=lambda entry: entry.stat().st_mtime_ns)
        os.utime(newest, (age + 1, age + 1))
    assert load_dataset(paths[0]).summary.from_cache  # the oldest is opened, which makes it the newest
    load_dataset(paths[3])
    assert len(entries(folder)) == 3
    assert [load_dataset(path).summary.from_cache for path in (paths[0], paths[2], paths[3])] == [True] * 3
    assert not load_dataset(paths[1]).summary.from_cache


def test_what_a_killed_process_left_is_removed_after_a_while(sample: Any, folder: Path) -> None:
    load_dataset(sample.train_csv())
    old, fresh = folder / "faces" / "old.tmp", folder / "faces" / "fresh.tmp"
    old.touch()
    fresh.touch()
    os.utime(old, (1, 1))
    load_dataset(sample.test_csv())
    assert not old.exists()
    assert fresh.exists()  # another process may be writing it


def test_without_the_cache_nothing_is_written(sample: Any, folder: Path) -> None:
    load_dataset(sample.fer2013_csv(), LoadOptions(use_cache=False))
    assert not folder.exists()


def test_progress_is_reported_on_the_first_reading_only(sample: Any) -> None:
    path = sample.train_csv(rows=np.tile(np.arange(42), 12))
    seen: list[tuple[float, str]] = []
    for _ in range(2):
        load_dataset(path, report=lambda fraction, message: seen.append((fraction, message)))
    shares = [fraction for fraction, _ in seen]
    assert len(shares) > 1
    assert shares == sorted(set(shares))
    assert shares[-1] == 1.0
    assert {message for _, message in seen} == {"Reading train.csv"}


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache.cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("FER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    expected = {"linux": tmp_path / "xdg", "darwin": Path.home() / "Library" / "Caches", "win32": tmp_path / "local"}
    for platform, base in expected.items():
        monkeypatch.setattr(sys, "platform", platform)
        assert cache.cache_dir() == base / "fer_core"


def test_what_is_moved_into_place_can_be_read_by_others(tmp_path: Path) -> None:
    with moved_into_place(tmp_path / "a.npz") as stream:
        stream.write(b"x")
    (tmp_path / "b.npz").write_bytes(b"x")
    assert (tmp_path / "a.npz").stat().st_mode == (tmp_path / "b.npz").stat().st_mode
    with pytest.raises(ValueError, match="no"), moved_into_place(tmp_path / "a.npz"):
        raise ValueError("no")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]
