"""What a person decided about faces (keep, drop, relabel), in a small SQLite file, and what a training makes of it.

A decision belongs to a face's pixels (`face_keys`) and its id. In another form of the same data, where ids differ, it
is found by its pixels; of several copies one decision changes one. The file is a log: nothing in it is overwritten,
undoing marks the last line as undone.

`--exclude FILE` and `--relabel FILE` of `train.py` take a CSV as `Curation.csv` writes it, or one typed by hand: a
column `face` (16 hex digits) or `id` or both; `--relabel` also takes `emotion`, an emotion's name. Where there is a
column `verdict`, lines of another verdict are passed over, so that both take a file of all decisions.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from fer_core.data.dataset import SPLITS, FaceDataset
from fer_core.data.keys import face_keys, key_text, matching_rows
from fer_core.errors import DataError
from fer_core.labels import EMOTIONS, UNLABELLED, emotion_index

Verdict = Literal["keep", "drop", "relabel"]
COLUMNS = ("face", "id", "split", "given", "emotion", "verdict", "time")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS marks (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    face TEXT NOT NULL, id TEXT NOT NULL, split TEXT NOT NULL, given TEXT NOT NULL,
    verdict TEXT NOT NULL, emotion TEXT NOT NULL, data TEXT NOT NULL, time TEXT NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0
)
"""
_LATEST = """
SELECT face, id, split, given, verdict, emotion, data, time FROM marks
WHERE number IN (SELECT MAX(number) FROM marks WHERE NOT undone GROUP BY face, id, data) AND data = ? ORDER BY number
"""


@dataclass(frozen=True)
class Mark:
    """One decision about one face.

    face     16 hex digits of its pixels' key; id, split, given: its id, split and label ("" without one) at the time
    verdict  "keep", "drop" or "relabel"; emotion: the new label of "relabel", else ""
    data     the data set's name; time: UTC, ISO 8601
    """

    face: str
    id: str
    split: str
    given: str
    verdict: Verdict
    emotion: str = ""
    data: str = ""
    time: str = ""


def curation_file() -> Path:
    """Where decisions are kept: `FER_CURATION`, else beside the cache where `FER_CACHE` moves it, else the platform's
    folder for a user's data: a cache may be emptied, this file may not."""
    if chosen := os.environ.get("FER_CURATION"):
        return Path(chosen)
    if moved := os.environ.get("FER_CACHE"):
        return Path(moved) / "curation.sqlite"
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "fer_core" / "curation.sqlite"


@dataclass(frozen=True)
class Curation:
    """The decisions about one data set, in `file`. Several processes may use it at once."""

    data: str
    file: Path

    def mark(self, dataset: FaceDataset, row: int, verdict: Verdict, emotion: str = "") -> None:
        """Decide about a row; the latest decision about a face holds.

        Raises DataError for an unknown verdict, and for a relabelling to no emotion.
        """
        if verdict not in get_args(Verdict):
            raise DataError(f"There is no verdict '{verdict}'; choose one of {', '.join(get_args(Verdict))}.")
        emotion = EMOTIONS[emotion_index(emotion)] if verdict == "relabel" else ""
        label = int(dataset.emotions[row])
        record = (
            key_text(face_keys(dataset.images[row : row + 1])[0]),
            str(dataset.ids[row]),
            SPLITS[dataset.splits[row]],
            EMOTIONS[label] if label != UNLABELLED else "",
            verdict,
            emotion,
            self.data,
            time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        with self._open() as base:
            columns = "face, id, split, given, verdict, emotion, data, time"
            base.execute(f"INSERT INTO marks ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", record)

    def undo(self) -> Mark | None:
        """Take back the last decision that was not taken back yet, and return it; None where there is none."""
        with self._open() as base:
            found = base.execute(
                "SELECT number, face, id, split, given, verdict, emotion, data, time FROM marks "
                "WHERE data = ? AND NOT undone ORDER BY number DESC LIMIT 1",
                (self.data,),
            ).fetchone()
            if found is None:
                return None
            base.execute("UPDATE marks SET undone = 1 WHERE number = ?", found[:1])
            return Mark(*found[1:])

    def marks(self) -> list[Mark]:
        """The decisions that hold, the oldest first. Raises DataError for a file that is no such database."""
        if not self.file.exists():
            return []
        with self._open() as base:
            return [Mark(*record) for record in base.execute(_LATEST, (self.data,))]

    def csv(self, verdict: Verdict | None = None) -> str:
        """The decisions as CSV (all, or those of one verdict): what `--exclude` ("drop") and `--relabel` take."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(vars(mark) for mark in self.marks() if verdict in (None, mark.verdict))
        return text.getvalue()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction, committed at the end."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            base = sqlite3.connect(self.file, timeout=10)
            try:
                with base:
                    base.execute(_SCHEMA)
                    yield base
            finally:
                base.close()
        except (sqlite3.Error, OSError) as error:
            raise DataError(
                f"{self.file}, the decisions about faces, cannot be used ({error}); set FER_CURATION."
            ) from error


def mark_rows(marks: Iterable[Mark], dataset: FaceDataset, keys: np.ndarray | None = None) -> np.ndarray:
    """Where the face of each mark stands in a data set: int (M,), -1 where it does not. `keys`: its `face_keys`."""
    marks = list(marks)
    wanted = np.array([int(mark.face, 16) for mark in marks], np.uint64)
    return _find(wanted, [mark.id for mark in marks], face_keys(dataset.images) if keys is None else keys, dataset.ids)


def apply_curation(
    dataset: FaceDataset, exclude: Path | None = None, relabel: Path | None = None
) -> tuple[FaceDataset, dict[str, Any]]:
    """The data set without the faces that one CSV lists and with the labels of another, and what `run.json` says of it.

    Excluding wins where a face stands in both. Raises DataError, naming the file and the line, for a file that cannot
    be read or whose faces are not in the data set.
    """
    if exclude is None and relabel is None:
        return dataset, {}
    keys = face_keys(dataset.images)
    emotions, keep, told = np.array(dataset.emotions), np.ones(len(dataset), bool), dict[str, Any]()
    if relabel is not None:
        table = _read(relabel, "relabel")
        rows, found = _rows_of(table, dataset, keys, relabel)
        before = emotions.copy()
        emotions[rows] = [emotion_index(table[line]["emotion"]) for line in np.flatnonzero(found)]
        told["relabel"] = {**_about(relabel, table, found), "changed": int((emotions != before).sum())}
    if exclude is not None:
        table = _read(exclude, "drop")
        rows, found = _rows_of(table, dataset, keys, exclude)
        keep[rows] = False
        told["exclude"] = {
            **_about(exclude, table, found),
            "by_split": {name: int((~keep & (dataset.splits == i)).sum()) for i, name in enumerate(SPLITS)},
        }
    return replace(dataset, emotions=emotions).subset(keep), told


def _about(path: Path, table: list[dict[str, str]], found: np.ndarray) -> dict[str, Any]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return {"file": path.name, "sha256": digest, "n": int(found.sum()), "not_found": len(table) - int(found.sum())}


def _read(path: Path, verdict: Verdict) -> list[dict[str, str]]:
    """The lines of a CSV that are of a verdict or of none, with face and id ("" where it has no such column)."""
    needs_emotion = verdict == "relabel"
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            numbered = [(reader.line_num, line) for line in reader if line.get("verdict") in (None, "", verdict)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}); give a CSV as the Data page exports it.") from error
    columns = set(reader.fieldnames or ()) if numbered else set()
    if not columns & {"face", "id"} or (needs_emotion and "emotion" not in columns):
        wanted = "a column 'face' or 'id'" + (" and a column 'emotion'" if needs_emotion else "")
        raise DataError(f"{path} has no line below a header with {wanted}; the Data page exports such a file.")
    table = [{name: (line.get(name) or "").strip() for name in ("face", "id", "emotion")} for _, line in numbered]
    seen: dict[tuple[str, str], int] = {}
    for (number, _), line in zip(numbered, table, strict=True):
        if not _is_key(line["face"]) or not line["face"] + line["id"]:
            raise DataError(
                f"{path}, line {number}: '{line['face']}' is no face's key (16 hex digits); export it again."
            )
        if needs_emotion:
            try:
                emotion_index(line["emotion"])
            except DataError as error:
                raise DataError(f"{path}, line {number}: {error}") from None
        first = seen.setdefault((line["face"], line["id"]), number)
        if line["id"] and first != number:
            raise DataError(f"{path}, line {number}: {line['id']} stands in line {first} too; keep one of them.")
    return table


def _is_key(text: str) -> bool:
    try:
        return not text or (len(text) == 16 and int(text, 16) >= 0)
    except ValueError:
        return False


def _rows_of(
    table: list[dict[str, str]], dataset: FaceDataset, keys: np.ndarray, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the lines that are in the data set, and which lines those are, bool (M,)."""
    by_id = np.array([not line["face"] for line in table])
    rows = np.full(len(table), -1)
    positions = {str(name): row for row, name in enumerate(dataset.ids)}
    rows[by_id] = [positions.get(line["id"], -1) for line in table if not line["face"]]
    known = [line for line in table if line["face"]]
    wanted = np.array([int(line["face"], 16) for line in known], np.uint64)
    rows[~by_id] = _find(wanted, [line["id"] for line in known], keys, dataset.ids)
    found = rows >= 0
    if not found.any():
        raise DataError(f"None of the {len(table):,} faces in {path} is in {dataset.name}; give the file of this data.")
    return rows[found], found


def _find(wanted: np.ndarray, ids: list[str], keys: np.ndarray, known_ids: np.ndarray) -> np.ndarray:
    """Rows with these keys: the one with the id where there is one, else the first that no other took."""
    rows = np.full(len(wanted), -1)
    positions = {str(name): row for row, name in enumerate(known_ids)} if len(wanted) else {}
    for i, (key, name) in enumerate(zip(wanted, ids, strict=True)):
        row = positions.get(name, -1)
        if row >= 0 and keys[row] == key:
            rows[i] = row
    free = np.setdiff1d(np.arange(len(keys)), rows)
    lost = np.flatnonzero(rows < 0)
    match = matching_rows(wanted[lost], keys[free])
    rows[lost[match >= 0]] = free[match[match >= 0]]
    return rows
