"""The faces of a data set once read, kept beside the user's cache folder as one file that is memory-mapped when opened.

    <cache>/hashes/<path's hash>.json   the content hash of a file, as long as its size, times and inode are the same
    <cache>/faces/<key>.arrow           an Arrow file (a row a face, the summary in its metadata), then a checksum

The key is made from the files' content, so a file that was moved, copied or touched is hashed once more and then found.
All files are written beside their name and moved into place: a kill, or two processes at once, leave whole files only.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fer_core.data.reading import Rows
from fer_core.preprocess import FACE_SIZE

FORMAT = 3  # part of every key: raise it when the same files would be read otherwise than before
_KEPT = 12  # data sets; the ones not opened for longest are removed beyond that
_ORPHANED = 3600.0  # seconds without a change after which a half-written entry belongs to nobody
_SETTLED_NS = 100_000_000  # a file changed this short a time ago could change again without a new time stamp


@dataclass(frozen=True)
class Entry:
    """A cached data set: its rows, always with ids, and what else is to be known about it (plain JSON values)."""

    rows: Rows
    ids: np.ndarray
    about: dict[str, Any]


def cache_dir() -> Path:
    """Where cached data lives: `FER_CACHE` where that is set, else fer_core in the platform's cache folder."""
    if chosen := os.environ.get("FER_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fer_core"


def content_hash(file: Path) -> str:
    """A hash over the file's bytes; the file is read only where it has changed since it was last asked for."""
    stat = file.stat()
    identity = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    note = cache_dir() / "hashes" / f"{_short_hash(str(file.resolve()))}.json"
    known = _read_json(note)
    if known.get("identity") == identity:
        return str(known["hash"])
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "blake2b").hexdigest()[:32]
    if time.time_ns() - stat.st_mtime_ns > _SETTLED_NS:
        with suppress(OSError), moved_into_place(note) as noted:  # without the note it is only hashed again
            noted.write(json.dumps({"identity": identity, "hash": digest}).encode())
    return digest


def entry_key(*parts: str) -> str:
    """The name of an entry that depends on all `parts`."""
    return _short_hash(json.dumps([FORMAT, *parts]))


def load(key: str) -> Entry | None:
    """The entry, its images memory-mapped (read-only); None where there is none, or only a damaged one."""
    file = _entry_file(key)
    try:
        stored = np.memmap(file, np.uint8, "r")
        body = stored[:-8]
        if _checksum(body) != int.from_bytes(stored[-8:].tobytes(), "little"):
            return None
        with suppress(OSError):  # a cache that may only be read
            os.utime(file)  # "last opened", for the removal of old entries
        table = pa.ipc.open_file(pa.py_buffer(body)).read_all()
        return _from_table(table, body)
    except (OSError, ValueError, KeyError, pa.ArrowException):  # absent or damaged: it is made anew from the data
        return None


def store(key: str, entry: Entry) -> None:
    """Keeps the entry. Raises OSError where the cache folder cannot be written, and what Arrow raises for a column that
    it cannot hold, such as one of numbers and texts."""
    table = _to_table(entry)
    with moved_into_place(_entry_file(key)) as stream:
        with pa.ipc.new_file(stream, table.schema) as writer:
            writer.write_table(table)
        stream.flush()
        body = np.memmap(stream.name, np.uint8, "r")
        stream.write(_checksum(body).to_bytes(8, "little"))
        del body  # Windows renames no file that is mapped
    with suppress(OSError):  # another process may be tidying up too
        _remove_old()


def _entry_file(key: str) -> Path:
    return cache_dir() / "faces" / f"{key}.arrow"


def _to_table(entry: Entry) -> pa.Table:
    rows = entry.rows
    pixels = pa.py_buffer(np.ascontiguousarray(rows.images))
    columns = {
        "images": pa.FixedSizeBinaryArray.from_buffers(pa.binary(FACE_SIZE**2), len(rows), [None, pixels]),
        "emotions": pa.array(rows.emotions),
        "splits": pa.array(rows.splits),
        "ids": pa.array(entry.ids.tolist(), pa.string()),
    }
    extra = pa.Table.from_pandas(rows.extra, preserve_index=False)
    for name, column in zip(extra.column_names, extra.columns, strict=True):
        columns[f"extra {name}"] = column.combine_chunks()
    return pa.table(columns).replace_schema_metadata({"about": json.dumps(entry.about)})


def _from_table(table: pa.Table, body: np.ndarray) -> Entry:
    pixels = table.column("images").chunk(0).buffers()[1]
    start = pixels.address - body.ctypes.data  # a view of the map itself: who reads at random can tell the system so
    images = np.asarray(body)[start : start + pixels.size].reshape(-1, FACE_SIZE, FACE_SIZE)
    prefix = "extra "
    extra = table.select([name for name in table.column_names if name.startswith(prefix)])
    frame = extra.rename_columns([name.removeprefix(prefix) for name in extra.column_names]).to_pandas()
    if frame.columns.empty:
        frame = pd.DataFrame()  # as on reading
    rows = Rows(images, table.column("emotions").to_numpy(), table.column("splits").to_numpy(), extra=frame)
    return Entry(rows, np.array(table.column("ids").to_pylist()), json.loads(table.schema.metadata[b"about"]))


def _checksum(data: np.ndarray) -> int:
    """The sum of the bytes (N,) as 64-bit words: finds damage at the speed of memory, about 10 ms for FER2013."""
    whole = len(data) // 8 * 8
    words = int(data[:whole].view(np.uint64).sum(dtype=np.uint64))
    return (words + int.from_bytes(data[whole:].tobytes(), "little") + len(data)) % 2**64


def _remove_old() -> None:
    """Removes the entries opened least recently, and what killed processes left half written."""
    faces = cache_dir() / "faces"
    entries = sorted(faces.glob("*.arrow"), key=lambda file: file.stat().st_mtime, reverse=True)
    orphans = [file for file in faces.glob("*.tmp") if time.time() - file.stat().st_mtime > _ORPHANED]
    for file in entries[_KEPT:] + orphans:
        file.unlink(missing_ok=True)


def _short_hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _read_json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError):  # absent or damaged: nothing is known
        return {}
    return value if isinstance(value, dict) else {}


@contextmanager
def moved_into_place(file: Path) -> Iterator[IO[bytes]]:
    """A stream to a file aside, which takes the place of `file` when all is written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f"{file.stem}-{uuid.uuid4().hex}.tmp")  # `tempfile` would keep it from all other users
    try:
        with aside.open("xb") as stream:
            yield stream
        aside.replace(file)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
