"""Where a report or a card is written: never over a file that is there, unless that was asked for."""

from __future__ import annotations

from pathlib import Path

from fer_core.errors import DataError


def check_target(path: Path, overwrite: bool = False) -> None:
    """Refuse, before anything is computed, what `write_text` would refuse: DataError for a folder, for a file that is
    there already, and where the folder to write to is missing."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file in it.")
    if path.exists() and not overwrite:
        raise DataError(f"{path} is there already; choose another name, or overwrite it with --force.")
    if not path.parent.is_dir():
        raise DataError(f"{path} cannot be written, since there is no folder {path.parent}; make it first.")


def write_text(path: Path, text: str, overwrite: bool = False) -> None:
    """A text into a file, moved into place when all of it is written. Raises DataError where that cannot be done."""
    check_target(path, overwrite)
    aside = path.with_name(f".{path.name}.tmp")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise DataError(f"{path} cannot be written ({error.strerror}); choose another place.") from error
