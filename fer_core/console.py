"""What the commands print: tables and JSON on stdout, a progress bar on stderr."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


def print_any_name() -> None:
    """Let stdout and stderr hold every file's and run's name: into files and pipes as UTF-8 (Windows would choose a
    code page of 256 characters), and escaped what neither that nor a terminal can show."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


@contextmanager
def progress(title: str) -> Iterator[Callable[..., None]]:
    """A function to call with the share done, 0..1: a bar for a person who has waited half a second."""
    layout = "{desc} {percentage:3.0f}% |{bar}| {remaining} left"
    with tqdm(desc=title, total=1, bar_format=layout, delay=0.5, leave=False, disable=not sys.stdout.isatty()) as bar:
        yield lambda share, *_: bar.update(share - bar.n)


def table(rows: list[dict[str, str]]) -> str:
    """Aligned columns under their names; columns of numbers to the right, empty columns left out."""
    columns = [[name, *(row[name] for row in rows)] for name in rows[0] if any(row[name] for row in rows)]
    lines = zip(*map(_aligned, columns), strict=True)
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _aligned(cells: list[str]) -> list[str]:
    """The cells of a column, its name first, padded to one width."""
    width = max(map(len, cells))
    numbers = all(cell.strip("%").replace(",", "").replace(".", "").isdecimal() for cell in cells[1:])
    return [cell.rjust(width) if numbers else cell.ljust(width) for cell in cells]


def print_json(value: Any) -> None:
    """Strict JSON: what is not a finite number becomes null."""
    print(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
