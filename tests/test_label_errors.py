"""Probable label errors: planted ones are found, and no network is asked about what it was trained on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fer_core.training
from fer_core.config import TrainConfig, make_config
from fer_core.data import FaceDataset, demo_faces
from fer_core.data.duplicates import Groups
from fer_core.errors import DataError, RunError
from fer_core.label_errors import (
    LabelErrors,
    _folder,
    assign_folds,
    default_config,
    find_label_errors,
    known_out_of_fold,
    out_of_fold,
)
from fer_core.predictions import split_probabilities
from fer_core.runs import Run, create_run

CHECKPOINTS = Path(__file__).parent.parent / "checkpoints"
QUICK = make_config(
    {"model": "EmotionCNN", "model_args": {"widths": [8, 16, 32]}, "epochs": 5, "batch_size": 32, "lr": 3e-3,
     "schedule": "cosine", "keep_epochs": "last"}
)  # fmt: skip


@pytest.fixture
def flipped(faces: FaceDataset) -> tuple[FaceDataset, np.ndarray]:
    """84 training "faces", eight of them with a wrong label: the data, and which."""
    train = faces.split("train")
    rows = np.random.default_rng(5).choice(84, 8, replace=False)
    emotions = train.emotions.copy()
    emotions[rows] = (emotions[rows] + 3) % 7
    return replace(train, emotions=emotions), rows


def told(title: str, found: LabelErrors, planted: np.ndarray, truth: np.ndarray, capsys: Any) -> tuple[float, float]:
    """Recall of the planted errors and precision of the flags, printed."""
    recall, precision = np.isin(planted, found.rows).mean(), np.isin(found.rows, planted).mean()
    first = np.isin(found.rows[: len(planted)], planted).mean()
    right = (found.proposed == truth[found.rows])[np.isin(found.rows, planted)].mean()
    with capsys.disabled():
        print(f"\n{title}: recall {recall:.0%}, precision {precision:.0%}, of the first {len(planted)} {first:.0%}, "
              f"true label proposed for {right:.0%} of those found")  # fmt: skip
    return float(recall), float(precision)


def test_flipped_labels_of_rendered_faces(capsys: Any) -> None:
    """A tenth of the demo validation labels is flipped; the shipped demo run has not seen these faces."""
    faces = demo_faces().split("validation")
    probabilities = split_probabilities(Run(CHECKPOINTS / "demo"), 26, faces)
    rng = np.random.default_rng(3)
    planted = rng.choice(len(faces), 34, replace=False)
    emotions = faces.emotions.copy()
    emotions[planted] = (emotions[planted] + rng.integers(1, 7, 34)) % 7
    found = find_label_errors(probabilities, emotions, "demo:26")
    recall, precision = told("34 of 336 rendered faces, by demo:26", found, planted, faces.emotions, capsys)
    assert recall >= 0.75
    assert precision >= 0.5  # at random 0.1


def test_flipped_labels_out_of_fold(capsys: Any) -> None:
    """The networks are trained on the flipped labels themselves: 5 % of 700 patterns that no network gets all right."""
    rng = np.random.default_rng(8)
    truth = (np.arange(700) % 7).astype(np.int8)
    patterns = np.kron(rng.uniform(100, 156, (7, 6, 6)), np.ones((8, 8)))
    images = (patterns[truth] + rng.normal(0, 55, (700, 48, 48))).clip(0, 255).astype(np.uint8)
    planted = rng.choice(700, 35, replace=False)
    emotions = truth.copy()
    emotions[planted] = (emotions[planted] + rng.integers(1, 7, 35)) % 7
    faces = FaceDataset(images, emotions, np.zeros(700, np.int8), np.arange(700).astype(str), "Patterns")
    probabilities = out_of_fold(faces, QUICK, folds=3, device="cpu")
    found = find_label_errors(probabilities, emotions, "out of fold")
    recall, precision = told("35 of 700 patterns, out of fold", found, planted, truth, capsys)
    assert recall >= 0.75
    assert precision >= 0.5  # at random 0.05


def test_ranking_and_flags_by_hand() -> None:
    """Seven clear faces an emotion; two of them carry another's label, one is merely unsure of its own."""
    emotions = np.repeat(np.arange(7), 7).astype(np.int8)
    probabilities = np.full((49, 7), 0.02)
    probabilities[np.arange(49), emotions] = 0.88
    labels = emotions.copy()
    labels[[3, 20]] = [4, 5]
    probabilities[20] = [0, 0, 0.9, 0, 0, 0.1, 0]
    probabilities[30, emotions[30]] = 0.4
    found = find_label_errors(probabilities, labels, "by hand")
    assert found.rows.tolist() == [3, 20]  # the doubt about 3 is 0.98, about 20 0.90
    np.testing.assert_allclose(found.doubt, [0.98, 0.9], atol=1e-6)
    assert (found.given.tolist(), found.proposed.tolist()) == ([4, 5], [0, 2])
    assert (found.n, found.share.hits) == (49, 2)


def test_unlabelled_faces_and_absent_emotions() -> None:
    rng = np.random.default_rng(0)
    emotions = rng.choice([0, 3, 6], 300).astype(np.int8)
    probabilities = np.full((300, 7), 0.02)
    probabilities[np.arange(300), emotions] = 0.88
    labels = emotions.copy()
    labels[:10] = np.where(emotions[:10] == 3, 6, 3)
    labels[10:20] = -1
    found = find_label_errors(probabilities, labels, "")
    assert sorted(found.rows) == list(range(10))
    assert found.n == 290
    assert len(find_label_errors(probabilities[:5], np.full(5, 2, np.int8), "").rows) == 0
    assert find_label_errors(probabilities[:0], labels[:0], "").n == 0


def test_folds_are_even_and_keep_copies_together() -> None:
    rng = np.random.default_rng(1)
    emotions = rng.choice(7, 2000, p=[0.3, 0.01, 0.09, 0.3, 0.1, 0.1, 0.1]).astype(np.int8)
    of = np.full(2000, -1)
    of[:300] = np.repeat(np.arange(100), 3)
    part = assign_folds(emotions, Groups(of, np.ones(100, np.float32)), 4)
    assert all(len(set(part[of == group])) == 1 for group in range(100))
    assert (np.abs(np.bincount(part) - 500) < 40).all()
    by_emotion = np.stack([np.bincount(part[emotions == e], minlength=4) for e in range(7)])
    assert (np.abs(by_emotion - by_emotion.mean(axis=1, keepdims=True)) <= 25).all()
    np.testing.assert_array_equal(part, assign_folds(emotions, Groups(of, np.ones(100, np.float32)), 4))


def test_each_face_is_asked_of_a_network_that_did_not_see_it(
    flipped: Any,
    tiny: Callable[..., TrainConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, _ = flipped
    fit, seen = fer_core.training.fit, []

    def watched(config: TrainConfig, dataset: FaceDataset, *more: Any, **options: Any) -> None:
        seen.append((set(dataset.split("train").ids), set(dataset.split("validation").ids)))
        fit(config, dataset, *more, **options)

    monkeypatch.setattr(fer_core.training, "fit", watched)
    shares: list[float] = []
    config = tiny(epochs=2, keep_epochs="last")
    probabilities = out_of_fold(train, config, folds=3, device="cpu", report=shares.append)
    assert probabilities.shape == (84, 7)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=5e-3)
    assert sorted(name for _, asked in seen for name in asked) == sorted(train.ids)
    assert all(not learned & asked and learned | asked == set(train.ids) for learned, asked in seen)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    np.testing.assert_array_equal(out_of_fold(train, config, folds=3), probabilities)
    assert len(seen) == 3  # the second time it was known
    known = known_out_of_fold(train, config, 3)
    assert known is not None
    np.testing.assert_array_equal(known, probabilities)
    assert known_out_of_fold(train, tiny(epochs=3, keep_epochs="last"), 3) is None
    assert known_out_of_fold(replace(train, emotions=np.roll(train.emotions, 1)), config, 3) is None


class StoppedError(Exception):
    pass


def test_stopped_work_goes_on_to_the_same_answers(
    flipped: Any,
    tiny: Callable[..., TrainConfig],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, _ = flipped
    config = tiny(epochs=3, keep_epochs="last")
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "whole"))
    whole = out_of_fold(train, config, folds=2, device="cpu")
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "stopped"))
    for limit in (0.2, 0.4, 0.7, 0.9):

        def stop(share: float, limit: float = limit) -> None:
            if share >= limit:
                raise StoppedError

        with pytest.raises(StoppedError):
            out_of_fold(train, config, folds=2, device="cpu", report=stop)
    np.testing.assert_array_equal(out_of_fold(train, config, folds=2, device="cpu"), whole)
    left = [path.name for path in (tmp_path / "stopped" / "out-of-fold").glob("*/*")]
    assert sorted(left) == ["fold-0.npy", "fold-1.npy", "probabilities.npy"]


@pytest.mark.parametrize(
    ("state", "age", "refusal"),
    [
        ("running", 0, r"fold-0 is already being trained by process \d+; stop that one first\.$"),
        ("", 2, r"fold-0 was begun \d seconds ago and may be in use; try again in a minute\.$"),
        ("", 120, None),  # killed before it began
        ("stopped", 2, None),
        ("failed", 2, None),
    ],
)
def test_what_another_process_has_just_begun_is_left_to_it(
    flipped: Any,
    tiny: Callable[..., TrainConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    age: int,
    refusal: str | None,
) -> None:
    """No state is there to go on from yet: such a folder was deleted, also where it was in use."""
    train, _ = flipped
    config = tiny(epochs=2, keep_epochs="last")
    monkeypatch.setenv("FER_CACHE", str(tmp_path))
    other = create_run(_folder(train, config, 2), "fold-0", {"config": config.to_dict(), "note": "the other's"})
    if state:
        other.write_status(state)
    os.utime(other.path, (time.time() - age,) * 2)

    def begun(*_: Any, **__: Any) -> None:
        raise StoppedError

    monkeypatch.setattr(fer_core.training, "fit", begun)
    with pytest.raises(RunError if refusal else StoppedError, match=refusal):
        out_of_fold(train, config, folds=2, device="cpu")
    assert ("note" in Run(other.path).info) == bool(refusal)


def test_too_few_faces(faces: FaceDataset) -> None:
    with pytest.raises(DataError, match="has 5 labelled training faces; 4 folds need 2 each"):
        out_of_fold(faces.subset(np.arange(5)))


def test_the_recipe_is_a_quick_one() -> None:
    assert (default_config(28_709).recipe, default_config(1_568).recipe) == ("fast", "demo")
    assert default_config(28_709).keep_epochs == "last"


def test_copies_stay_together_unasked(
    flipped: Any, tiny: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without groups given, exact copies and mirror images are found and kept in one part."""
    train, _ = flipped
    images = np.concatenate([train.images[:60], train.images[:12], train.images[12:24, :, ::-1]])
    seen: list[np.ndarray] = []

    def watched(emotions: np.ndarray, groups: Groups, folds: int) -> np.ndarray:
        seen.append(assign_folds(emotions, groups, folds))
        raise StoppedError

    monkeypatch.setattr("fer_core.label_errors.assign_folds", watched)
    with pytest.raises(StoppedError):
        out_of_fold(replace(train, images=images), tiny(), folds=4)
    np.testing.assert_array_equal(seen[0][60:], seen[0][:24])
