"""What a path holds: a file or a folder -> the sources to read from it, found by looking at the content."""

from __future__ import annotations

import difflib
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fer_core.data.image_folder import ImageSource
from fer_core.data.parquet import ParquetSource
from fer_core.data.pixel_csv import CsvSource
from fer_core.data.reading import Source
from fer_core.data.splits import split_in_file_name
from fer_core.errors import DataError

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".pgm", ".tif", ".tiff"})
DATA_SUFFIXES = frozenset({".csv", ".parquet", ".zip", ".gz", ".tar"})
_PICTURE_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"P5", b"II*\0", b"MM\0*")
_SHARD = re.compile(r"-\d{5}-of-(\d{5})")
_ARCHIVE_STARTS = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"7z\xbc\xaf", b"\xfd7zXZ", b"Rar!")


@dataclass
class Found:
    """The sources of a path, the one that tells most first; `unfit`: the files that are none, each with the reason."""

    root: Path
    sources: list[Source]
    unfit: dict[Path, str] = field(default_factory=dict)


def find_sources(path: Path) -> Found:
    """Looks at a file, or through a folder. Raises DataError where there is nothing to read."""
    if path.is_file():
        return Found(path.parent, [_open_file(path)])
    if path.is_dir():
        return _look_through(path)
    raise DataError(f"{path} does not exist{_near_names(path)}")


def _near_names(path: Path) -> str:
    """The end of the sentence, a hint at what was meant: names beside the missing one that resemble it."""
    folder = path.parent
    if not folder.is_dir():
        return f", nor does its folder {folder}; check the path."
    near = difflib.get_close_matches(path.name, [entry.name for entry in folder.iterdir()], n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(str(folder / name) for name in near)}?" if near else "; check the path."


def _open_file(path: Path) -> Source:
    """The source that a single file is. Raises DataError where it is none."""
    with path.open("rb") as stream:
        start = stream.read(16)
    if not start:
        raise DataError(f"{path} is empty; fetch it again.")
    if start.startswith(b"PAR1"):
        return ParquetSource.open((path,))
    if start.startswith(_ARCHIVE_STARTS):
        raise DataError(f"{path} is an archive; unpack it and give the folder.")
    if start.startswith(_PICTURE_STARTS) or start[8:12] == b"WEBP":
        return ImageSource.open(path.parent, [path])
    return CsvSource.open(path)


def _look_through(folder: Path) -> Found:
    """All sources below a folder, ordered by how much they tell."""
    found = Found(folder, [])
    pictures = []
    tables: defaultdict[tuple[Path, str], list[Path]] = defaultdict(list)  # the shards of one table stand together
    for file in _files_below(folder):
        if file.suffix.lower() in PICTURE_SUFFIXES:
            pictures.append(file)
        else:
            tables[file.parent, _SHARD.sub("", file.name)].append(file)
    for files in tables.values():
        _require_all_shards(files)
        try:
            found.sources.append(_open_file(files[0]) if len(files) == 1 else ParquetSource.open(tuple(files)))
        except DataError as error:
            found.unfit.update(dict.fromkeys(files, str(error)))
    if pictures:
        found.sources.append(ImageSource.open(folder, pictures))
    if not found.sources:
        raise DataError(_nothing_here(found))
    found.sources = sorted(_told_apart(found.sources), key=_rank)
    return found


def _require_all_shards(files: list[Path]) -> None:
    """Raises DataError naming a file that belongs to these and is not there, as after a download that broke off."""
    names = {file.name for file in files}
    for file in files:
        if shard := _SHARD.search(file.name):
            for number in range(int(shard[1])):
                name = f"{file.name[: shard.start()]}-{number:05d}-of-{shard[1]}{file.name[shard.end() :]}"
                if name not in names:
                    raise DataError(f"{file} is one of {int(shard[1])} files, and {name} is not there; fetch it again.")


def _files_below(folder: Path) -> Iterator[Path]:
    """All files, sorted by path, but for hidden ones and what macOS adds to archives; a folder linked twice comes once.

    Raises OSError where a folder cannot be listed.
    """
    seen = set()
    for here, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        stat = Path(here).stat()
        if (stat.st_dev, stat.st_ino) in seen:
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield from (Path(here, name) for name in sorted(names) if not name.startswith("."))


def _raise(error: OSError) -> None:
    raise error


def _nothing_here(found: Found) -> str:
    """Why a folder gives nothing: the reason of its first candidate, else what would do."""
    reasons = [reason for file, reason in found.unfit.items() if file.suffix.lower() in DATA_SUFFIXES]
    if reasons:
        return reasons[0]
    kind = f"holds no faces, only {len(found.unfit):,} other files" if found.unfit else "is empty"
    return f"{found.root} {kind}; it should hold train.csv, a Parquet file, or images as in train/happy/0001.jpg."


def _told_apart(sources: list[Source]) -> list[Source]:
    """Where several labelled CSVs have no split column (train.csv, val.csv), their names tell the split."""
    bare = [source for source in sources if isinstance(source, CsvSource) and source.labelled and source.splits]
    if len(bare) < 2:
        return sources
    others = [source for source in sources if source not in bare]
    return [*(source.named(split_in_file_name(source.file.stem)) for source in bare), *others]


def _rank(source: Source) -> tuple[bool, bool, list[int]]:
    """Sorts first what tells labels and several splits, then what tells labels; then by split."""
    several = source.splits is None or len(source.splits) > 1
    return not (source.labelled and several), not source.labelled, sorted(source.splits or ())
