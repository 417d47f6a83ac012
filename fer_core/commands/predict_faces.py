"""`predict --faces`: emotions of the faces that are found in photos, folders and videos, a line a face."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer
from tqdm import tqdm

from fer_core.labels import EMOTIONS

if TYPE_CHECKING:
    from fer_core.commands.common import Reader
    from fer_core.scanning import Scan

COLUMNS = ("file", "frame", "time", "face", "emotion", *EMOTIONS, "left", "top", "right", "bottom", "detector_score")
_TOGETHER = 64  # faces that pass through the network at once
_WAITING = 256  # pictures without a face after which what was found so far is printed all the same


def predict_found_faces(files: list[Path], reader: Reader, tta: str, every: int, as_json: bool) -> None:
    """Print a line a face as CSV or JSON lines, as they are found; what cannot be read becomes a line on stderr, and
    the exit code is 1 then. Memory grows neither with the length of a video nor with the number of files."""
    from fer_core.scanning import scan_files

    typer.echo(f"{reader}{', calibrated' if reader.is_calibrated(tta) else ''}", err=True)
    count = Counter[str]()
    print_row = _row_printer(as_json)
    for row in face_rows(_reported(scan_files(files, every), count), reader, tta):
        print_row(row)
        count["faces"] += 1
    read = len(files) - count["failed"]
    typer.echo(f"{count['faces']:,} faces in {read:,} of {len(files):,} files.", err=True)
    if count["failed"]:
        raise typer.Exit(1)


def _reported(scans: Iterable[Scan], count: Counter[str]) -> Iterator[Scan]:
    """The scans, with a progress bar, and lines on stderr about files that failed, or hold no face."""
    layout = "{desc} {percentage:3.0f}% |{bar}| {elapsed}, {remaining} left"
    hidden = not sys.stderr.isatty() or sys.stdout.isatty()  # on a screen the lines themselves show how it goes on
    with tqdm(desc="Faces", total=1, bar_format=layout, leave=False, disable=hidden) as bar:

        def say(text: str) -> None:
            with tqdm.external_write_mode(file=sys.stderr):
                typer.echo(text, err=True)

        for file, of_file in groupby(scans, key=lambda scan: scan.file):
            found, failed = 0, False
            for scan in of_file:
                found, failed = found + len(scan.crops), bool(scan.error)
                for notice in scan.notices:
                    say(f"Notice: {notice}")
                if scan.error:
                    say(f"Error: {scan.error}")
                bar.update(scan.share - bar.n)
                yield scan
            count["failed"] += failed
            if not found and not failed:
                say(f"Notice: No face was found in {file}.")


def face_rows(scans: Iterable[Scan], reader: Reader, tta: str = "none") -> Iterator[dict[str, Any]]:
    """A row a face with the keys of COLUMNS. Boxes are in pixels of the file; probabilities are calibrated where the
    checkpoint has a temperature; frame and time are None for a photo."""
    for some in _batches(scans):
        rows = iter(reader.predict(np.concatenate([scan.crops for scan in some]), tta=tta).believed)
        for scan in some:
            for number, (box, score) in enumerate(zip(scan.boxes.tolist(), scan.scores.tolist(), strict=True), 1):
                row = next(rows)
                yield {
                    "file": str(scan.file),
                    "frame": scan.frame,
                    "time": None if scan.time is None else round(scan.time, 3),
                    "face": number,
                    "emotion": EMOTIONS[row.argmax()],
                    **{name: round(float(share), 4) for name, share in zip(EMOTIONS, row, strict=True)},
                    **{edge: round(at, 1) for edge, at in zip(("left", "top", "right", "bottom"), box, strict=True)},
                    "detector_score": round(score, 4),
                }


def _batches(scans: Iterable[Scan]) -> Iterator[list[Scan]]:
    some: list[Scan] = []
    for scan in scans:
        some.append(scan)
        if sum(len(one.crops) for one in some) >= _TOGETHER or len(some) >= _WAITING:
            yield some
            some = []
    if some:
        yield some


def _row_printer(as_json: bool) -> Any:
    if as_json:
        return lambda row: print(json.dumps(row), flush=True)
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    return writer.writerow
