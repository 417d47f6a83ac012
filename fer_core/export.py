"""What leaves the project for other tools: the test predictions as a CSV that Kaggle takes (report item 8)."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_core.errors import ConfigError, DataError
from fer_core.labels import EMOTIONS

ID_COLUMN, EMOTION_COLUMN = "id", "emotion"
COLUMN_FORMS: tuple[tuple[str, ...], ...] = ((ID_COLUMN, EMOTION_COLUMN), (EMOTION_COLUMN,))


@dataclass(frozen=True)
class Submission:
    """A submission as it stands in its file. `emotions` is int (N,), row by row."""

    path: Path
    columns: tuple[str, ...]
    emotions: np.ndarray

    @property
    def counts(self) -> dict[str, int]:
        """How many faces were given each emotion."""
        return {emotion: int((self.emotions == i).sum()) for i, emotion in enumerate(EMOTIONS)}


def check_target(path: Path, columns: tuple[str, ...], overwrite: bool = False) -> None:
    """Refuse what `write_submission` would refuse, before the predictions are computed: ConfigError for unknown
    columns, DataError for a file that is there already."""
    if columns not in COLUMN_FORMS:
        forms = " or ".join(",".join(form) for form in COLUMN_FORMS)
        raise ConfigError(f"A submission cannot have the columns '{','.join(columns)}'; choose {forms}.")
    if path.exists() and not overwrite:
        raise DataError(f"{path} is there already; choose another name, or overwrite it with --force.")


def write_submission(
    path: Path, emotions: np.ndarray, columns: tuple[str, ...] = COLUMN_FORMS[0], overwrite: bool = False
) -> Submission:
    """Write predicted emotions (N,) in the order of the test rows, and read them back to check the file.

    `columns` is one of COLUMN_FORMS; the id is the row's number from 0. Raises what `check_target` and
    `check_submission` raise, and DataError where the file cannot be written.
    """
    check_target(path, columns, overwrite)
    try:
        path.write_bytes(submission_csv(emotions, columns))
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); choose another place.") from error
    return check_submission(path, len(emotions))


def submission_csv(emotions: np.ndarray, columns: tuple[str, ...] = COLUMN_FORMS[0]) -> bytes:
    """Predicted emotions (N,) as the content of a submission."""
    rows = enumerate(emotions.tolist()) if ID_COLUMN in columns else ((emotion,) for emotion in emotions.tolist())
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([columns, *rows])
    return stream.getvalue().encode()


def check_submission(path: Path, n: int | None = None) -> Submission:
    """The submission in a file; see `parse_submission`. Raises DataError also where it cannot be read."""
    try:
        return parse_submission(path.read_bytes(), path, n)
    except OSError as error:
        raise DataError(f"{path} cannot be read as a CSV ({error}).") from error


def parse_submission(content: bytes, path: Path, n: int | None = None) -> Submission:
    """A submission from a file's content, held to what Kaggle asks of one for `n` faces (None: as many as it has
    rows): a header of COLUMN_FORMS, `n` rows, ids 0 to n-1 in order, labels 0 to 6.

    path: what errors call it. Raises DataError naming the line and the value at fault.
    """
    try:
        header, *rows = list(csv.reader(io.StringIO(content.decode(), newline=""))) or [[]]
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV ({error}).") from error
    columns = tuple(header)
    if columns not in COLUMN_FORMS:
        forms = " or ".join(",".join(form) for form in COLUMN_FORMS)
        raise DataError(f"{path}, line 1: the columns are '{','.join(columns)}'; they should be {forms}.")
    if n is not None and len(rows) != n:
        raise DataError(f"{path} has {len(rows):,} rows for {n:,} faces; write it again.")
    if not rows:
        raise DataError(f"{path} has no row below its header; write it again.")
    labels = {str(label): label for label in range(len(EMOTIONS))}
    for i, row in enumerate(rows):
        *ids, label = row or [""]
        if ids != ([str(i)] if ID_COLUMN in columns else []):
            wanted = f"the id {i} and one label" if ID_COLUMN in columns else "one label"
            raise DataError(f"{path}, line {i + 2}: '{','.join(row)}' should be {wanted}.")
        if label not in labels:
            raise DataError(f"{path}, line {i + 2}: '{label}' is not a label from 0 to {len(EMOTIONS) - 1}.")
    return Submission(path, columns, np.array([labels[row[-1]] for row in rows], np.int64))
