"""Which data to open when the user may not have said: the one rule of training, commands and dashboard."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from fer_core.data.dataset import FaceDataset
from fer_core.data.load import LoadOptions, demo_faces, load_dataset


def locate_data(path: Path | str | None = None) -> Path | None:
    """The path given, else $FER_DATA, else `data/` where there is something in it, else None: the demo faces."""
    if path or os.environ.get("FER_DATA"):
        return Path(path or os.environ["FER_DATA"])
    folder = Path("data")
    hidden = ".DS_Store", ".gitkeep"
    return folder if folder.is_dir() and any(entry.name not in hidden for entry in folder.iterdir()) else None


def open_data(
    path: Path | str | None = None,
    options: LoadOptions | None = None,
    report: Callable[[float, str], None] | None = None,
) -> FaceDataset:
    """The faces at `locate_data(path)`. Raises DataError as `load_dataset` does."""
    found = locate_data(path)
    return demo_faces() if found is None else load_dataset(found, options or LoadOptions(), report)
