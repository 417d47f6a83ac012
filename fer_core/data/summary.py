"""What a person is told about a loading: where the faces came from and what was done to them on the way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LoadSummary:
    """How a data set was loaded.

    form          what it is, in words: "CSV of labelled faces (as Kaggle's train.csv)"
    files         the files that were read, relative to the path asked for; a folder of images is one entry
    left_alone    other files that were there, each with why it was not read
    resized       faces that were not 48x48 and were resampled
    recoloured    faces that were not 8-bit gray and were converted
    skipped       rows that could not be read and were left out (`LoadOptions.skip_bad_rows`)
    skipped_file  the CSV that lists them, "" where there are none
    warnings      what the reader had to assume, one sentence each
    from_cache    True when nothing was parsed or decoded
    seconds       wall time of the loading
    """

    form: str = "Made in memory"
    files: tuple[str, ...] = ()
    left_alone: tuple[str, ...] = ()
    resized: int = 0
    recoloured: int = 0
    skipped: int = 0
    skipped_file: str = ""
    warnings: tuple[str, ...] = ()
    from_cache: bool = False
    seconds: float = 0.0

    @property
    def notes(self) -> list[str]:
        """What was left out and what was assumed, a line each."""
        listed = f", listed in {self.skipped_file}" if self.skipped_file else ""
        skipped = [f"Rows skipped: {self.skipped:,}{listed}"] if self.skipped else []
        return [*skipped, *(f"Warning: {warning}" for warning in self.warnings)]
