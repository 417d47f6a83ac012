"""Scores against published numbers, scipy and torchmetrics."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as metrics
from scipy.stats import binomtest

from fer_core.evaluation import Evaluation, Share, compare, confusion_matrix, evaluate

NAMED = {"run": "run", "epoch": 3, "data": "Patterns", "split": "validation"}


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (500, 7) that are somewhat right, and labels (500,) of which a tenth is missing."""
    rng = np.random.default_rng(5)
    emotions = rng.choice(7, 500, p=[0.2, 0.05, 0.1, 0.3, 0.15, 0.1, 0.1]).astype(np.int8)
    logits = rng.normal(0, 1.5, (500, 7))
    logits[np.arange(500), emotions] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    emotions[::10] = -1
    return probabilities.astype(np.float32), emotions


def tensors(answers: tuple[np.ndarray, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """The labelled answers, as torchmetrics takes them."""
    probabilities, emotions = answers
    known = emotions >= 0
    return torch.from_numpy(probabilities[known]), torch.from_numpy(emotions[known].astype(np.int64))


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [  # Newcombe 1998, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_as_published(hits: int, n: int, low: float, high: float) -> None:
    assert Share(hits, n).interval == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (7, 7), (61, 100), (2197, 3589), (3589, 3589)])
def test_wilson_intervals_as_scipys(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(method="wilson")
    assert Share(hits, n).interval == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_share_comes_back_from_its_accuracy() -> None:
    assert all(Share.of(hits / n, float(n)) == Share(hits, n) for n in (1, 7, 336, 3589) for hits in range(n + 1))


def test_a_share_of_nothing_claims_nothing() -> None:
    assert math.isnan(Share(0, 0).value)
    assert Share(0, 0).interval == (0.0, 1.0)
    assert str(Share(0, 0)) == "no faces"


def test_a_share_is_shown_with_its_interval_and_n() -> None:
    assert str(Share(2197, 3589)) == "61.2% (59.6% to 62.8%, n = 3,589)"


def test_scores_are_those_of_torchmetrics(answers: tuple[np.ndarray, np.ndarray]) -> None:
    result = evaluate(*answers, **NAMED)  # type: ignore[arg-type]
    probabilities, emotions = tensors(answers)
    assert result.n == len(emotions) == 450
    expected = metrics.multiclass_confusion_matrix(probabilities, emotions, 7)
    np.testing.assert_array_equal(result.confusion, expected)
    by_row = metrics.multiclass_confusion_matrix(probabilities, emotions, 7, normalize="true")
    np.testing.assert_allclose(result.row_shares, by_row, rtol=1e-6)
    accuracy = metrics.multiclass_accuracy(probabilities, emotions, 7, average="micro")
    assert result.accuracy.value == pytest.approx(accuracy.item(), rel=1e-6)
    recall = metrics.multiclass_recall(probabilities, emotions, 7, average=None)
    assert [share.value for share in result.by_label.values()] == pytest.approx(recall.tolist(), rel=1e-6)
    assert result.macro_f1 == pytest.approx(metrics.multiclass_f1_score(probabilities, emotions, 7).item(), rel=1e-6)
    loss = torch.nn.functional.nll_loss(probabilities.double().log(), emotions)
    assert result.loss == pytest.approx(loss.item(), rel=1e-6)


def test_a_confusion_matrix_by_hand() -> None:
    truth, predicted = np.array([0, 0, 6, 3, -1, 3], np.int8), np.array([0, 2, 6, 4, 5, 3])
    expected = np.zeros((7, 7), int)
    expected[0, 0] = expected[0, 2] = expected[6, 6] = expected[3, 4] = expected[3, 3] = 1
    np.testing.assert_array_equal(confusion_matrix(truth, predicted), expected)


def test_macro_f1_counts_the_emotions_that_occur() -> None:
    """As truth or as answer, like torchmetrics: absent ones are no zero."""
    truth, predicted = np.array([0, 0, 1, 3]), np.array([0, 1, 1, 1])
    result = Evaluation("run", 1, "data", "test", confusion_matrix(truth, predicted))
    assert result.macro_f1 == pytest.approx((2 / 3 + 2 / 4 + 0) / 3)
    theirs = metrics.multiclass_f1_score(torch.from_numpy(predicted), torch.from_numpy(truth), 7)
    assert result.macro_f1 == pytest.approx(theirs.item())
    np.testing.assert_array_equal(result.row_shares[2], np.zeros(7))


def test_a_certain_and_wrong_answer_has_a_large_but_finite_loss() -> None:
    probabilities = np.eye(7, dtype=np.float16)[[1]]
    assert evaluate(probabilities, np.array([0], np.int8), **NAMED).loss == pytest.approx(-math.log(1e-12))  # type: ignore[arg-type]


def test_without_labels_nothing_is_claimed() -> None:
    result = evaluate(np.full((3, 7), 1 / 7), np.full(3, -1, np.int8), **NAMED)  # type: ignore[arg-type]
    assert result.n == 0
    assert math.isnan(result.loss)
    assert math.isnan(result.macro_f1)
    assert json.loads(json.dumps(result.to_dict()))["accuracy"] is None


def test_a_result_knows_what_it_belongs_to(answers: tuple[np.ndarray, np.ndarray]) -> None:
    result = evaluate(*answers, **NAMED)  # type: ignore[arg-type]
    values = json.loads(json.dumps(result.to_dict()))
    assert {key: values[key] for key in NAMED} == NAMED
    assert values["n"] == 450
    assert values["interval_95"] == list(result.accuracy.interval)
    assert values["confusion"] == result.confusion.tolist()
    assert values["by_label"]["Happy"]["accuracy"] == result.by_label["Happy"].value


def test_accuracy_without_the_faces_seen_in_training(answers: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, emotions = answers
    seen = np.random.default_rng(8).random(500) < 0.3
    result = evaluate(*answers, **NAMED, seen=seen)  # type: ignore[arg-type]
    rest = (emotions >= 0) & ~seen
    hits = int((probabilities[rest].argmax(axis=1) == emotions[rest]).sum())
    assert result.unseen == Share(hits, int(rest.sum()))
    assert result.unseen == evaluate(probabilities[~seen], emotions[~seen], **NAMED).accuracy  # type: ignore[arg-type]
    assert 0 < result.unseen.n < result.n == 450
    assert result.leak_note == f"Without the {450 - rest.sum()} faces that also stand in training: {result.unseen}"
    assert result.to_dict()["without_seen_in_training"] == {
        "accuracy": hits / rest.sum(),
        "interval_95": list(result.unseen.interval),
        "n": rest.sum(),
    }


def test_what_is_said_where_none_was_seen_or_nothing_is_known(answers: tuple[np.ndarray, np.ndarray]) -> None:
    unknown = evaluate(*answers, **NAMED)  # type: ignore[arg-type]
    assert (unknown.unseen, unknown.leak_note) == (None, "")
    assert unknown.to_dict()["without_seen_in_training"] is None
    none = evaluate(*answers, **NAMED, seen=np.zeros(500, bool))  # type: ignore[arg-type]
    assert none.unseen == none.accuracy
    assert none.leak_note == "None of these faces also stands in training."
    every = evaluate(*answers, **NAMED, seen=np.ones(500, bool))  # type: ignore[arg-type]
    assert every.leak_note == "Without the 450 faces that also stand in training: no faces"
    assert json.loads(json.dumps(every.to_dict()))["without_seen_in_training"]["accuracy"] is None


def test_changes_between_two_checkpoints(answers: tuple[np.ndarray, np.ndarray]) -> None:
    before, emotions = answers
    after = np.roll(before, 1, axis=1)
    changes = compare(before, after, emotions)
    old, new = (evaluate(p, emotions, **NAMED).accuracy for p in (before, after))  # type: ignore[arg-type]
    assert changes.n == old.n
    assert changes.difference == pytest.approx(new.value - old.value)
    assert all(after[i].argmax() == emotions[i] != before[i].argmax() for i in changes.fixed)
    assert all(before[i].argmax() == emotions[i] != after[i].argmax() for i in changes.broken)
