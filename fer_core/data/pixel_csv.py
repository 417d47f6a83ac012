"""FER2013's CSV forms: a face a row, its 48x48 gray levels as text. `pixels` alone, with `emotion`, with `Usage` too.

240 MB of digits are parsed in about a second: blocks of whole lines go to a few threads, where NumPy turns all digits
of a block into numbers at once (`_fast_pixels`). A block in which anything is unusual is read again value by value,
which finds the line and the value at fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from fer_core.data import cache, label_order
from fer_core.data.pictures import in_threads
from fer_core.data.reading import BadRow, Reading, Rows
from fer_core.data.splits import TEST, TRAIN, split_index
from fer_core.errors import DataError
from fer_core.labels import UNLABELLED
from fer_core.preprocess import FACE_SIZE

VALUES = FACE_SIZE**2
_BLOCK = 1 << 20  # bytes of text a job
_HEADER = 1 << 16  # bytes within which the header must end
_UTF8_MARK = b"\xef\xbb\xbf"
_PADDING = b' "\t\r\n'  # what may stand around a field
_LABEL = ("emotion", "label", "labels")
_USAGE = ("usage", "split")


@dataclass(frozen=True)
class CsvSource:
    """One CSV file. `columns` are the header's names in lower case; `split` is for rows that don't tell theirs."""

    counts_in: ClassVar[str] = "line"

    file: Path
    columns: tuple[str, ...]
    split: int

    @classmethod
    def open(cls, file: Path) -> CsvSource:
        """Looks at the header. Raises DataError where the file is no text or has no column of pixels."""
        columns = _header(file)
        return cls(file, columns, TRAIN if set(_LABEL) & set(columns) else TEST)

    def named(self, split: int | None) -> CsvSource:
        """The same file as another split, where there is one."""
        return self if split is None else replace(self, split=split)

    @property
    def form(self) -> str:
        if self.splits is None:
            return "CSV of faces with their split (as icml_face_data.csv and fer2013.csv)"
        kind = "labelled faces (as train.csv)" if self.labelled else "unlabelled faces (as test.csv)"
        return f"CSV of {kind}"

    @property
    def files(self) -> tuple[Path]:
        return (self.file,)

    @property
    def title(self) -> Path:
        return self.file

    @property
    def labelled(self) -> bool:
        return self._position(_LABEL) is not None

    @property
    def splits(self) -> frozenset[int] | None:
        return None if self._position(_USAGE) is not None else frozenset([self.split])

    def key(self) -> str:
        return f"csv {self.split} {cache.content_hash(self.file)}"

    def read(self, reading: Reading) -> Rows:
        """All rows, in the file's order; empty lines are passed over. Raises DataError for a bad row."""
        names = label_order.order_names(reading.label_order)
        emotions = label_order.labels_from_numbers(np.arange(-1, len(names)), names).tolist()
        layout = _Layout(
            columns=len(self.columns),
            pixels=self.columns.index("pixels"),
            label=self._position(_LABEL),
            usage=self._position(_USAGE),
            emotions={b"": UNLABELLED, **{str(i - 1).encode(): label for i, label in enumerate(emotions)}},
            split=self.split,
        )
        blocks = []
        for block in in_threads(layout.parse, self._blocks()):
            for line, reason in block.bad:
                reading.bad(BadRow(0, line, reason))
            reading.progress(block.fraction)
            blocks.append(block)
        return Rows(
            images=np.concatenate([np.zeros((0, FACE_SIZE, FACE_SIZE), np.uint8), *(block.images for block in blocks)]),
            emotions=np.array([label for block in blocks for label in block.emotions], np.int8),
            splits=np.array([split for block in blocks for split in block.splits], np.int8),
        )

    def _position(self, names: tuple[str, ...]) -> int | None:
        return next((self.columns.index(name) for name in names if name in self.columns), None)

    def _blocks(self) -> Iterator[tuple[int, list[bytes], float]]:
        """(first line's number, whole lines, the part of the file read by then)."""
        size = self.file.stat().st_size
        with self.file.open("rb") as stream:
            stream.readline()
            number = 2
            while lines := stream.readlines(_BLOCK):
                yield number, lines, stream.tell() / size
                number += len(lines)


@dataclass
class _Block:
    """The good rows of some lines, and (line, reason) of the bad ones."""

    fraction: float
    images: np.ndarray = field(default_factory=lambda: np.zeros((0, FACE_SIZE, FACE_SIZE), np.uint8))
    emotions: list[int] = field(default_factory=list)
    splits: list[int] = field(default_factory=list)
    bad: list[tuple[int, str]] = field(default_factory=list)


class _BadFieldError(Exception):
    """Why a line cannot be read; caught in this module."""


@dataclass(frozen=True)
class _Layout:
    """Where a line has what. `emotions` maps a label's text to its emotion."""

    columns: int
    pixels: int
    label: int | None
    usage: int | None
    emotions: dict[bytes, int]
    split: int

    def parse(self, job: tuple[int, list[bytes], float]) -> _Block:
        """Lines -> faces, all at once where each line is plain, else line by line."""
        first, lines, fraction = job
        block = _Block(fraction)
        numbers, texts = [], []
        for number, line in enumerate(lines, first):
            if line.isspace():
                continue
            try:
                emotion, split, text = self._fields(line)
            except _BadFieldError as error:
                block.bad.append((number, str(error)))
                continue
            block.emotions.append(emotion)
            block.splits.append(split)
            numbers.append(number)
            texts.append(text)
        images = _fast_pixels(texts)
        if images is None:
            cuts = [_cut_off(lines[number - first]) for number in numbers]
            return self._parse_one_by_one(block, numbers, texts, cuts)
        block.images = images
        return block

    def _fields(self, line: bytes) -> tuple[int, int, bytes]:
        """(emotion, split, text of the pixels) of a line."""
        fields = line.split(b",")
        if len(fields) != self.columns:
            raise _BadFieldError(f"{len(fields)} columns where the header names {self.columns}{_cut_off(line)}")
        emotion, split = UNLABELLED, self.split
        if self.label is not None:
            emotion = self.emotions.get(fields[self.label].strip(_PADDING), label_order.BAD_LABEL)
            if emotion == label_order.BAD_LABEL:
                raise _BadFieldError(f"the emotion is {_shown(fields[self.label])}, not a whole number from 0 to 6")
        if self.usage is not None:
            named = split_index(fields[self.usage].strip(_PADDING).decode("latin-1"))
            if named is None:
                given = _shown(fields[self.usage])
                raise _BadFieldError(f"the usage is {given}, not Training, PublicTest or PrivateTest")
            split = named
        return emotion, split, fields[self.pixels].strip(_PADDING)

    def _parse_one_by_one(self, block: _Block, numbers: list[int], texts: list[bytes], cuts: list[str]) -> _Block:
        good, images = [], []
        for i, (number, text, cut) in enumerate(zip(numbers, texts, cuts, strict=True)):
            try:
                images.append(_careful_pixels(text, cut))
                good.append(i)
            except _BadFieldError as error:
                block.bad.append((number, str(error)))
        block.bad.sort()
        block.emotions = [block.emotions[i] for i in good]
        block.splits = [block.splits[i] for i in good]
        if images:
            block.images = np.stack(images)
        return block


def _fast_pixels(texts: list[bytes]) -> np.ndarray | None:
    """Texts of 2304 numbers 0..255 with blanks between -> uint8 (n, 48, 48); None where any of them is not that."""
    text = np.frombuffer(b"   " + b" ".join(texts) + b" ", np.uint8)  # blanks in front: every digit has three before it
    digit = text - 48  # what is no digit wraps round to 10 or more
    is_digit = digit < 10
    if not (is_digit | (text == 32)).all():
        return None
    digit *= is_digit
    last = np.flatnonzero(is_digit[:-1] & ~is_digit[1:])  # the last digit of each number
    has_tens = is_digit[last - 1]
    has_hundreds = has_tens & is_digit[last - 2]
    values = digit[last] + np.uint16(10) * digit[last - 1] + np.uint16(100) * (digit[last - 2] * has_tens)
    row_ends = np.cumsum([3] + [len(text) + 1 for text in texts])
    counts = np.diff(np.searchsorted(last, row_ends))
    if (counts != VALUES).any() or (values > 255).any() or (has_hundreds & is_digit[last - 3]).any():
        return None
    faces: np.ndarray = values.astype(np.uint8).reshape(-1, FACE_SIZE, FACE_SIZE)
    return faces


def _careful_pixels(text: bytes, cut: str) -> np.ndarray:
    """The text of one face -> uint8 (48, 48). Raises _BadFieldError naming the first value that is wrong.

    `cut` is what `_cut_off` says of the line.
    """
    values = text.split()
    if len(values) != VALUES:
        too_few = len(values) < VALUES
        raise _BadFieldError(f"{len(values):,} pixel values where {VALUES:,} are needed{cut if too_few else ''}")
    for i, value in enumerate(values):
        if not (value.isdigit() and len(value) < 10 and int(value) < 256):
            raise _BadFieldError(f"pixel {i} is {_shown(value)}, not a whole number from 0 to 255")
    return np.array([int(value) for value in values], np.uint8).reshape(FACE_SIZE, FACE_SIZE)


def _cut_off(line: bytes) -> str:
    """What to add of a line that is too short: without its line end it is the file's last, and maybe a part of one."""
    return "" if line.endswith(b"\n") else "; the file ends here and looks cut off"


def _shown(text: bytes) -> str:
    """A field as it is shown in a message: in quotes, short."""
    shown = text.strip(_PADDING).decode("utf-8", "backslashreplace")
    return repr(shown if len(shown) <= 20 else f"{shown[:20]}...")


def _header(file: Path) -> tuple[str, ...]:
    with file.open("rb") as stream:
        start = stream.read(_HEADER)
    line = start.removeprefix(_UTF8_MARK).split(b"\n")[0]
    if b"\0" in line:  # a NUL further down is a bad value of its row
        kind = "UTF-16 text" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "not a text file"
        raise DataError(f"{file} is {kind}; save it as CSV in UTF-8.")
    columns = tuple(name.strip(' "\t\r').lower() for name in line.decode("utf-8", "backslashreplace").split(","))
    if "pixels" not in columns:
        shown = ", ".join(f"'{name[:20]}'" for name in columns[:6])
        raise DataError(
            f"{file}, line 1: the columns are {shown}; a CSV of faces begins with emotion,pixels or with pixels alone."
        )
    return columns
