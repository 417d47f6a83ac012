"""Faces in Parquet, in the forms that Hugging Face's `datasets` writes and people publish."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fer_core.data import cache, label_order
from fer_core.data.label_order import BAD_LABEL
from fer_core.data.pictures import Faces, decode_all, in_threads
from fer_core.data.reading import BadRow, Reading, Rows, joined
from fer_core.data.splits import TEST, TRAIN, split_in_file_name, split_index
from fer_core.errors import DataError
from fer_core.labels import UNLABELLED

_BATCH = 512  # rows
_IMAGE = ("image", "img_bytes", "image_bytes", "img")
_LABEL = ("emotion", "label", "labels", "emotions")
_USAGE = ("usage", "split")


@dataclass(frozen=True)
class ParquetSource:
    """One Parquet file, or the shards of one (train-00000-of-00002.parquet, ...), all of one schema."""

    counts_in: ClassVar[str] = "row"

    files: tuple[Path, ...]
    image: str
    label: str | None
    usage: str | None
    names: tuple[str, ...] | None

    @classmethod
    def open(cls, files: tuple[Path, ...]) -> ParquetSource:
        """Looks at the schema. Raises DataError where a file is damaged or holds no pictures."""
        schema = _schema(files[0])
        for other in files[1:]:
            if _schema(other).names != schema.names:
                raise DataError(f"{other} has other columns than {files[0].name}; put it in a folder of its own.")
        image = _column(schema, _IMAGE)
        if image is None or _picture_bytes(schema.field(image).type) is None:
            raise DataError(
                f"{files[0]} has the columns {', '.join(schema.names)}; a column 'image' or 'img_bytes' with encoded "
                "pictures is needed."
            )
        label = _column(schema, _LABEL)
        if label is not None and not _is_label(schema.field(label).type):
            raise DataError(f"{files[0]}: the column '{label}' holds {schema.field(label).type}, not numbers or names.")
        names = label_order.class_names(schema.metadata, label) if label else None
        return cls(files, image, label, _column(schema, _USAGE), names)

    @property
    def form(self) -> str:
        return "Parquet with encoded pictures"

    @property
    def title(self) -> Path:
        return self.files[0]

    @property
    def labelled(self) -> bool:
        return self.label is not None

    @property
    def splits(self) -> frozenset[int] | None:
        if self.usage is not None:
            return None
        named = split_in_file_name(self.files[0].stem)
        return frozenset([named if named is not None else TRAIN if self.labelled else TEST])

    def key(self) -> str:
        return f"parquet {self.splits} " + " ".join(cache.content_hash(file) for file in self.files)

    def read(self, reading: Reading) -> Rows:
        """All rows, in the order of the files. Raises DataError for a damaged file or a bad row."""
        total = sum(pq.read_metadata(file).num_rows for file in self.files)
        order = reading.label_order
        names = self.names if order == "auto" and self.names else label_order.order_names(order)
        parts, numbers_seen, done = [], False, 0
        for file, first, batch, faces in in_threads(_decode_batch, self._batches()):
            labels, numbers = self._labels(batch, names)
            splits = self._splits(batch)
            bad = {**_unread(batch, self.label, labels), **_unread(batch, self.usage, splits), **faces.broken}
            for i in sorted(bad):
                reading.bad(BadRow(file, first + i, bad[i]))
            good = ~np.isin(np.arange(len(batch)), list(bad))
            rows = Rows(faces.images, labels, splits, None, self._extra(batch), faces.resized, faces.recoloured)
            parts.append(rows.where(good))
            numbers_seen, done = numbers_seen or numbers, done + len(batch)
            reading.progress(done / total)
        return replace(joined(parts), warnings=self._warnings(numbers_seen, reading))

    def _batches(self) -> Iterator[tuple[int, int, pa.RecordBatch, str]]:
        """(file's position, first row's number, batch, image column), with a file's damage as DataError."""
        for position, file in enumerate(self.files):
            first = 0
            try:
                for batch in pq.ParquetFile(file).iter_batches(_BATCH):
                    yield position, first, batch, self.image
                    first += len(batch)
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{file} is damaged near row {first} ({error}); fetch it again.") from error

    def _labels(self, batch: pa.RecordBatch, names: tuple[str, ...]) -> tuple[np.ndarray, bool]:
        """Labels int8 (n,) with BAD_LABEL where unreadable; and whether there were numbers among them."""
        if self.label is None:
            return np.full(len(batch), UNLABELLED, np.int8), False
        column = _plain(batch.column(self.label))
        if _is_text(column.type):
            return _labels_from_text(column.to_pylist(), names)
        values = column.to_numpy(zero_copy_only=False).astype(float)  # nulls become NaN
        values[np.isnan(values)] = UNLABELLED
        whole = np.where(values == np.round(values), values, np.inf).clip(-2, 1000).astype(int)
        return label_order.labels_from_numbers(whole, names), True

    def _splits(self, batch: pa.RecordBatch) -> np.ndarray:
        """Splits int8 (n,) with BAD_LABEL where the column's text names none."""
        if self.splits is not None:
            return np.full(len(batch), min(self.splits), np.int8)
        texts = _plain(batch.column(self.usage)).to_pylist()
        known = {text: split_index(str(text)) for text in set(texts)}
        return np.array([BAD_LABEL if known[text] is None else known[text] for text in texts], np.int8)

    def _extra(self, batch: pa.RecordBatch) -> pd.DataFrame:
        """The other columns that hold one plain value a row."""
        own = {self.image, self.label, self.usage}
        plain = [
            i
            for i, column in enumerate(batch.schema)
            if not (column.name in own or pa.types.is_nested(column.type) or _is_binary(column.type))
        ]
        return batch.select(plain).to_pandas(ignore_metadata=True)  # else an index that pandas kept numbers the rows

    def _warnings(self, numbers_seen: bool, reading: Reading) -> tuple[str, ...]:
        if not numbers_seen:
            return ()
        if reading.label_order != "auto":
            return (label_order.NAMES_SET_ASIDE.format(order=reading.label_order),) if self.names else ()
        return () if self.names else (label_order.ASSUMED_ORDER,)


def _decode_batch(job: tuple[int, int, pa.RecordBatch, str]) -> tuple[int, int, pa.RecordBatch, Faces]:
    file, first, batch, image = job
    column = batch.column(image)
    pictures = column.field("bytes") if pa.types.is_struct(column.type) else column
    return file, first, batch, decode_all(pictures.to_pylist())


def _unread(batch: pa.RecordBatch, column: str | None, read: np.ndarray) -> dict[int, str]:
    """Row -> reason, for the rows of a column that were `read` as BAD_LABEL."""
    return {
        i: f"the {column} {batch.column(column)[i].as_py()!r} is not known"
        for i in np.flatnonzero(read == BAD_LABEL).tolist()
    }


def _labels_from_text(texts: list[str | None], names: tuple[str, ...]) -> tuple[np.ndarray, bool]:
    """Names of emotions, or numbers written as text."""
    by_number = {str(i): label_order.known_emotion(name) for i, name in enumerate(names)}
    known: dict[str | None, int] = {None: UNLABELLED, "": UNLABELLED, "-1": UNLABELLED}
    for text in {text for text in texts if text not in known}:
        known[text] = by_number.get(str(text), label_order.known_emotion(str(text)))
    return np.array([known[text] for text in texts], np.int8), any(text in by_number for text in known)


def _schema(file: Path) -> pa.Schema:
    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} is a Parquet file that is cut off or damaged; fetch it again.") from error


def _column(schema: pa.Schema, wanted: tuple[str, ...]) -> str | None:
    """The column whose name, apart from case and blanks, is the first of `wanted` that is there."""
    names = {name.strip().lower(): name for name in reversed(schema.names)}
    return next((names[name] for name in wanted if name in names), None)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_label(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


def _picture_bytes(kind: pa.DataType) -> pa.DataType | None:
    """The type of the encoded pictures in a column of this type, None where it holds none."""
    if pa.types.is_struct(kind):
        kind = next((child.type for child in kind if child.name == "bytes"), kind)
    return kind if _is_binary(kind) else None


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
