"""FER+ votes: majorities, and the shares that compare flagged labels with them, all by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer_core.data import FaceDataset
from fer_core.data.votes import Votes, check_votes, find_votes, read_votes
from fer_core.errors import DataError

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
USAGES = ("Training", "PublicTest", "PrivateTest")


@pytest.fixture
def labelled(faces: FaceDataset) -> FaceDataset:
    """All splits with labels, as fer2013.csv has them."""
    emotions = (np.arange(126) % 7).astype(np.int8)
    return FaceDataset(faces.images, emotions, faces.splits, faces.ids, "Patterns")


def written(path: Path, faces: FaceDataset, voted: np.ndarray) -> Path:
    """A file in which 8 people vote for `voted` and 2 cannot say."""
    columns = [6, 3, 5, 4, 0, 1, 2]  # of the file, as indices into EMOTIONS
    lines = [
        ",".join(map(str, [USAGES[split], f"fer{i:07d}.png", *(8 * (emotion == np.array(columns))), 0, 2, 0]))
        for i, (split, emotion) in enumerate(zip(faces.splits, voted, strict=True))
    ]
    path.write_text("\n".join([HEADER, *lines, ""]))
    return path


def test_votes_are_read_in_our_order(labelled: FaceDataset, tmp_path: Path) -> None:
    voted = np.where(np.arange(126) % 5 == 0, 3, labelled.emotions)
    votes = read_votes(written(tmp_path / "fer2013new.csv", labelled, voted), labelled)
    np.testing.assert_array_equal(votes.majority, voted)
    np.testing.assert_array_equal(votes.emotions.sum(axis=1), 8)
    np.testing.assert_array_equal(votes.others, 2)
    assert find_votes(tmp_path / "fer2013.csv") == find_votes(tmp_path) == tmp_path / "fer2013new.csv"
    assert find_votes(tmp_path / "elsewhere" / "fer2013.csv") is None


def test_majority() -> None:
    emotions = np.array([[5, 0, 0, 2, 0, 0, 0], [4, 4, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0, 1], [0] * 7])
    assert Votes(emotions, np.array([3, 2, 6, 10])).majority.tolist() == [0, -1, -1, -1]


def test_shares_by_hand() -> None:
    """Ten faces labelled 0. Votes: 1 for faces 0 to 3, unclear for face 4, 0 for the rest. Flagged: 0, 1, 4, 5, 6."""
    counts = np.zeros((10, 7), int)
    counts[:4, 1] = 9
    counts[4, :2] = 5
    counts[5:, 0] = 10
    rows, proposed = np.array([5, 0, 4, 1, 6]), np.array([3, 1, 1, 2, 1])
    found = check_votes(Votes(counts, np.zeros(10, int)), np.zeros(10, np.int8), rows, proposed)
    assert (found.precision.hits, found.precision.n) == (2, 4)
    assert (found.base.hits, found.base.n) == (4, 9)
    assert (found.recall.hits, found.recall.n) == (2, 4)
    assert (found.agreement.hits, found.agreement.n) == (1, 2)
    assert found.to_dict()["precision"]["value"] == 0.5


def test_unlabelled_faces_count_nowhere() -> None:
    counts = np.full((4, 7), 0)
    counts[:, 2] = 7
    emotions = np.array([2, -1, 2, 1], np.int8)
    found = check_votes(Votes(counts, np.zeros(4, int)), emotions, np.array([1, 3]), np.array([2, 2]))
    assert (found.base.hits, found.base.n, found.precision.n) == (1, 3, 1)


def test_files_that_do_not_fit(labelled: FaceDataset, tmp_path: Path) -> None:
    path = written(tmp_path / "fer2013new.csv", labelled, labelled.emotions)
    with pytest.raises(DataError, match="does not fit Patterns row by row"):
        read_votes(path, labelled.subset(np.arange(125)))
    order = np.concatenate([np.roll(np.arange(a, b), 1) for a, b in ((0, 84), (84, 112), (112, 126))])
    with pytest.raises(DataError, match="in another order"):
        read_votes(path, labelled.subset(order))
    path.write_text("Usage,neutral\nTraining,3\n")
    with pytest.raises(DataError, match="has no column anger"):
        read_votes(path, labelled)
    with pytest.raises(DataError, match="cannot be read"):
        read_votes(tmp_path / "none.csv", labelled)
