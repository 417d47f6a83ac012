"""FER+ (Barsoum et al. 2016): ten people's votes on each face of FER2013, and how a list of doubtful labels compares.

`fer2013new.csv` has a line for each row of `fer2013.csv` in its original order; only data that keeps this order and all
its 35,887 rows can be matched.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fer_core.data.dataset import FaceDataset
from fer_core.data.splits import split_index
from fer_core.errors import DataError
from fer_core.evaluation import Share
from fer_core.labels import EMOTIONS, UNLABELLED

COLUMNS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")  # in the order of EMOTIONS
_OTHERS = ("contempt", "unknown", "NF")
_LEAST_AGREEMENT = 0.4  # of FER2013's labels about two thirds are the votes' own; in a wrong order about a sixth


@dataclass(frozen=True, eq=False)
class Votes:
    """Of each of N faces, how many people voted for what: int (N, 7) in the order of EMOTIONS, and for none of them
    (contempt, unknown, no face) int (N,)."""

    emotions: np.ndarray
    others: np.ndarray

    def of(self, rows: np.ndarray) -> Votes:
        """The votes on some rows, int (n,)."""
        return Votes(self.emotions[rows], self.others[rows])

    @property
    def majority(self) -> np.ndarray:
        """int (N,): the emotion with more votes than any other and than all else together, -1 where there is none."""
        top_two = np.sort(self.emotions, axis=1)[:, -2:]
        clear = (top_two[:, 1] > top_two[:, 0]) & (top_two[:, 1] > self.others)
        return np.where(clear, self.emotions.argmax(axis=1), UNLABELLED)


@dataclass(frozen=True)
class VoteCheck:
    """Flagged labels against the votes, over faces that have both a label and a clear vote.

    precision  of the flagged faces: those whose label the votes do not share
    base       the same of all faces: what flagging at random would reach
    recall     of the faces whose label the votes do not share: those that are flagged
    agreement  of the flagged faces whose label is wrong by the votes: those whose proposed label is the votes'
    """

    precision: Share
    base: Share
    recall: Share
    agreement: Share

    def to_dict(self) -> dict[str, dict[str, float | int | list[float] | None]]:
        return {
            name: {"value": share.value, "interval_95": list(share.interval), "n": share.n}
            for name, share in vars(self).items()
        }


def find_votes(data: Path) -> Path | None:
    """`fer2013new.csv` in the folder of a data set, or in that folder itself; None where there is none."""
    folder = data if data.is_dir() else data.parent
    path = folder / "fer2013new.csv"
    return path if path.is_file() else None


def read_votes(path: Path, dataset: FaceDataset) -> Votes:
    """The votes on a data set's faces, row by row.

    Raises DataError where the file is not FER+'s, or its lines are not the data's rows in their original order.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); fetch fer2013new.csv of FER+ again.") from error
    missing = [name for name in ("Usage", *COLUMNS, *_OTHERS) if name not in table]
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}; give the fer2013new.csv of FER+.")
    splits = np.array([-1 if (split := split_index(str(usage))) is None else split for usage in table["Usage"]])
    if len(table) != len(dataset) or (splits != dataset.splits).any():
        raise DataError(f"{path} does not fit {dataset.name} row by row; open the fer2013.csv in its original order.")
    counts = table[[*COLUMNS, *_OTHERS]].fillna(0).to_numpy(np.int64)
    votes = Votes(counts[:, : len(EMOTIONS)], counts[:, len(EMOTIONS) :].sum(axis=1))
    both = (votes.majority != UNLABELLED) & (dataset.emotions != UNLABELLED)
    if both.any() and (votes.majority == dataset.emotions)[both].mean() < _LEAST_AGREEMENT:
        raise DataError(f"{path} votes otherwise than most labels of {dataset.name}: its rows are in another order.")
    return votes


def check_votes(votes: Votes, emotions: np.ndarray, rows: np.ndarray, proposed: np.ndarray) -> VoteCheck:
    """Compare flagged rows int (k,) with their proposed labels (k,) to the votes; emotions int8 (N,) the given ones."""
    clear = (votes.majority != UNLABELLED) & (emotions != UNLABELLED)
    wrong = clear & (votes.majority != emotions)
    flagged = np.zeros(len(emotions), bool)
    flagged[rows] = True
    told = rows[wrong[rows]]
    right_proposal = (votes.majority[rows] == proposed)[wrong[rows]]
    return VoteCheck(
        Share(int((wrong & flagged).sum()), int((clear & flagged).sum())),
        Share(int(wrong.sum()), int(clear.sum())),
        Share(int((wrong & flagged).sum()), int(wrong.sum())),
        Share(int(right_proposal.sum()), len(told)),
    )
