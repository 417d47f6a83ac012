"""A path -> `FaceDataset`: what is there, read or taken from the cache, with a summary of what was done."""

from __future__ import annotations

import csv
import io
import itertools
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from fer_core.data import cache
from fer_core.data.dataset import SPLITS, FaceDataset
from fer_core.data.label_order import LabelOrder
from fer_core.data.reading import BadRow, Reading, Report, Rows, Source, joined, place_of
from fer_core.data.sources import DATA_SUFFIXES, Found, find_sources
from fer_core.data.summary import LoadSummary
from fer_core.errors import ConfigError, DataError

FER2013_SIZES = frozenset(  # rows of train, validation and test
    {
        (28709, 3589, 3589),  # with its official splits
        (28709, 0, 7178),  # Kaggle's train.csv and test.csv, or the train and test folders of images
        (28709, 0, 0),  # train.csv alone
        (0, 0, 7178),  # test.csv alone
    }
)
DEMO_FACES = Path(__file__).with_name("demo") / "demo_faces.parquet"


@dataclass(frozen=True)
class LoadOptions:
    """How to load.

    label_order    what a label's number means where no name says it: "csv" (4 Sad, 5 Surprise, 6 Neutral) or
                   "alphabetical" (4 Neutral, 5 Sad, 6 Surprise); "auto" goes by the class names in the file, else "csv"
    skip_bad_rows  leave out rows that cannot be read, instead of raising
    skipped_to     the CSV that lists the rows left out; skipped-rows.csv in the current folder unless told
    use_cache      take the faces from the cache where they are, and keep them there
    """

    label_order: LabelOrder = "auto"
    skip_bad_rows: bool = False
    skipped_to: Path | None = None
    use_cache: bool = True

    def __post_init__(self) -> None:
        if self.label_order not in get_args(LabelOrder):
            orders = ", ".join(get_args(LabelOrder))
            raise ConfigError(f"There is no label order '{self.label_order}'; choose one of {orders}.")


def load_dataset(path: Path | str, options: LoadOptions = LoadOptions(), report: Report | None = None) -> FaceDataset:
    """The faces of a file or folder, whatever its form: FER2013's CSVs, Parquet, folders of images.

    `report(fraction, message)` is called while a data set is read for the first time. Where a folder holds the same
    split more than once (icml_face_data.csv and train.csv), it comes from the source that tells most, and
    `summary.left_alone` names the others. Raises DataError naming the file, the line and the value at fault.
    """
    started = time.perf_counter()
    path = Path(path).expanduser()
    try:
        found = find_sources(path)
        entry, problem, from_cache = _cached_or_read(found, options, report)
    except OSError as error:  # permissions, a disk that fails, a file removed meanwhile
        raise DataError(f"{error.filename or path} cannot be read ({error.strerror}).") from error
    dataset = FaceDataset(
        images=entry.rows.images,
        emotions=entry.rows.emotions,
        splits=entry.rows.splits,
        ids=entry.ids,
        name=name_of(path, entry.rows.splits),
        is_demo=_is_demo(path),
        extra=entry.rows.extra,
        summary=_summary(found, entry.about, options, problem, from_cache, started),
    )
    vars(dataset)["fingerprint"] = entry.about["fingerprint"]  # fills the cached property: no hashing of all faces
    return dataset


def demo_faces() -> FaceDataset:
    """The rendered faces that ship with the project, `is_demo` set. Raises DataError where they are not installed."""
    return load_dataset(DEMO_FACES)


def name_of(path: Path, splits: np.ndarray) -> str:
    """What a person calls these faces. FER2013 is known by its official number of rows in each split."""
    if _is_demo(path):
        return "Demo faces"
    sizes = tuple(np.bincount(splits, minlength=len(SPLITS)).tolist())
    return "FER2013" if sizes in FER2013_SIZES else path.resolve().name


def _is_demo(path: Path) -> bool:
    return path.resolve() == DEMO_FACES.resolve()


def _cached_or_read(found: Found, options: LoadOptions, report: Report | None) -> tuple[cache.Entry, str, bool]:
    """The entry, what kept it from being cached ("" where nothing did), and whether it came from the cache."""
    if not options.use_cache:
        return _read(found.sources, options, report), "", False
    key = cache.entry_key(options.label_order, str(options.skip_bad_rows), *(source.key() for source in found.sources))
    entry = cache.load(key)
    if entry is not None:
        return entry, "", True
    entry = _read(found.sources, options, report)
    try:
        cache.store(key, entry)
    except OSError as error:
        return entry, f"The faces could not be kept in {cache.cache_dir()} ({error.strerror}); set FER_CACHE.", False
    except (pa.ArrowException, TypeError, ValueError) as error:
        return entry, f"The faces could not be kept for the next time ({error}).", False
    return cache.load(key) or entry, "", False  # memory-mapped: the copy in memory can go


def _read(sources: list[Source], options: LoadOptions, report: Report | None) -> cache.Entry:
    """Reads the first source, then of the others of its form those that have a split that is not there yet."""
    parts: dict[int, Rows] = {}
    skipped: list[tuple[int, BadRow]] = []
    for number, source in enumerate(sources):
        present = {split for rows in parts.values() for split in rows.splits.tolist()}
        if parts and not (type(source) is type(sources[0]) and (source.splits or present) - present):
            continue
        reading = Reading(source, options.label_order, options.skip_bad_rows, _scaled(report, number, len(sources)))
        rows = source.read(reading)
        if source.labelled or not _mostly_known(rows, parts.values()):
            skipped += [(number, row) for row in reading.skipped]
            parts |= {number: rows} if len(rows) else {}
    if not parts:
        raise DataError(f"{sources[0].title} holds no face that can be read{_first_reason(sources, skipped)}.")
    rows = joined(list(parts.values()))
    ids = _numbered(rows.splits) if rows.ids is None else rows.ids
    about = {
        "fingerprint": FaceDataset(rows.images, rows.emotions, rows.splits, ids, "").fingerprint,
        "form": "; ".join(dict.fromkeys(sources[number].form for number in parts)),
        "used": list(parts),
        "resized": rows.resized,
        "recoloured": rows.recoloured,
        "warnings": list(rows.warnings),
        "skipped": [(number, *row) for number, row in skipped],
    }
    return cache.Entry(rows, ids, about)


def _scaled(report: Report | None, number: int, of: int) -> Report | None:
    """The report of one source among several."""
    return None if report is None else lambda fraction, message: report((number + fraction) / of, message)


def _mostly_known(rows: Rows, parts: Collection[Rows]) -> bool:
    """Whether more than half of these unlabelled faces stand in the parts already: then they are no split of their own,
    but the same data once more."""
    known = {face.tobytes() for part in parts for face in part.images}
    return bool(known) and sum(face.tobytes() in known for face in rows.images) > len(rows) / 2


def _first_reason(sources: list[Source], skipped: list[tuple[int, BadRow]]) -> str:
    """The reason of the first of the rows that were skipped, where all were."""
    if not skipped:
        return ""
    number, row = skipped[0]
    return f"; the first of {len(skipped):,} bad rows is {place_of(sources[number], row)}: {row.reason}"


def _numbered(splits: np.ndarray) -> np.ndarray:
    """Ids by position within each split: "train-00000", "train-00001", "test-00000", ..."""
    ids = np.empty(len(splits), "U32")
    for split, name in enumerate(SPLITS):
        rows = np.flatnonzero(splits == split)
        ids[rows] = [f"{name}-{i:05d}" for i in range(len(rows))]
    return ids


def _summary(
    found: Found, about: dict[str, Any], options: LoadOptions, problem: str, from_cache: bool, started: float
) -> LoadSummary:
    """The summary of this opening; writes the list of skipped rows where there are any."""
    used = [found.sources[number] for number in about["used"]]
    unused = [source for number, source in enumerate(found.sources) if number not in about["used"]]
    left_alone = {source.title: f"not read beside {used[0].title.name}; open it by its own path" for source in unused}
    left_alone |= {file: reason for file, reason in found.unfit.items() if file.suffix.lower() in DATA_SUFFIXES}
    skipped_file, unlisted = "", ""
    if about["skipped"]:
        skipped_file, unlisted = _list_skipped(_skipped_csv(found, about["skipped"]), options.skipped_to)
    return LoadSummary(
        form=about["form"],
        files=tuple(_relative(source.title, found.root) for source in used),
        left_alone=tuple(f"{_relative(file, found.root)}: {reason}" for file, reason in left_alone.items()),
        resized=about["resized"],
        recoloured=about["recoloured"],
        skipped=len(about["skipped"]),
        skipped_file=skipped_file,
        warnings=(*about["warnings"], *filter(None, (problem, unlisted))),
        from_cache=from_cache,
        seconds=time.perf_counter() - started,
    )


def _relative(title: Path, root: Path) -> str:
    """A source's title as it is shown: a file's path below `root`; the folder itself stands for its image files."""
    return title.relative_to(root).as_posix() if title != root else f"{root.resolve().name} (image files)"


def _skipped_csv(found: Found, skipped: list[tuple[int, int, int, str]]) -> bytes:
    """The rows left out: file, line, reason."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["file", "line", "reason"])
    for number, file, line, reason in skipped:
        source = found.sources[number]
        writer.writerow([source.files[file], line if source.counts_in else "", reason])
    return stream.getvalue().encode("utf-8", "backslashreplace")  # a file's name may be no UTF-8


def _list_skipped(listed: bytes, asked: Path | None) -> tuple[str, str]:
    """Writes the list where it was asked for, else beside what is there as skipped-rows.csv, skipped-rows-2.csv, ...

    Returns the file and what kept it from being written, "" each where there is none. Raises DataError where the file
    asked for cannot be written.
    """
    numbers = itertools.count(2)
    target = asked or Path("skipped-rows.csv")
    try:
        while not asked and target.exists() and target.read_bytes() != listed:
            target = Path(f"skipped-rows-{next(numbers)}.csv")
        target.write_bytes(listed)
    except OSError as error:
        problem = f"{target}, the list of skipped rows, cannot be written ({error.strerror})."
        if asked:
            raise DataError(problem) from error
        return "", problem
    return str(target), ""
