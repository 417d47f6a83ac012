"""Learning dynamics: hand-computed statistics, and a file that survives being cut off anywhere."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_core.data.keys import face_keys, matching_rows
from fer_core.dynamics import Dynamics, DynamicsRecorder, read_dynamics
from fer_core.errors import RunError

N = 50
FACES = np.random.default_rng(0).integers(0, 256, (N, 48, 48)).astype(np.uint8)
EMOTIONS = torch.arange(N) % 7


def epoch_logits(epoch: int) -> torch.Tensor:
    return torch.randn(N, 7, generator=torch.Generator().manual_seed(epoch))


def record(recorder: DynamicsRecorder, epoch: int, rows: torch.Tensor | None = None) -> None:
    """An epoch in three batches of mixed order."""
    order = torch.randperm(N, generator=torch.Generator().manual_seed(100 + epoch)) if rows is None else rows
    for batch in order.split(20):
        recorder.add(batch, epoch_logits(epoch)[batch], EMOTIONS[batch])
    recorder.end_epoch()


def expected(epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the label and whether it leads, computed in numpy."""
    logits = epoch_logits(epoch).numpy().astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = EMOTIONS.numpy()
    return p[np.arange(N), labels], p.argmax(axis=1) == labels


def check(folder: Path, epochs: list[int]) -> None:
    """The file holds these epochs (0: a line of NaN) in order."""
    found = read_dynamics(folder)
    assert found is not None
    assert found.epochs == len(epochs)
    np.testing.assert_array_equal(found.keys, face_keys(FACES))
    for line, right, epoch in zip(found.signed, found.right, epochs, strict=True):
        if epoch == 0:
            assert np.isnan(line).all()
            continue
        p, is_right = expected(epoch)
        np.testing.assert_allclose(np.abs(line), p, rtol=1e-3)
        np.testing.assert_array_equal(right, is_right)


def test_what_is_read_is_what_was_recorded(tmp_path: Path) -> None:
    recorder = DynamicsRecorder(tmp_path, FACES)
    assert read_dynamics(tmp_path) is None
    record(recorder, 1)
    check(tmp_path, [1])
    record(recorder, 2)
    check(tmp_path, [1, 2])
    assert (tmp_path / "dynamics.bin").stat().st_size == 64 + N * (8 + 2 * 2)  # 2 bytes a face and epoch


def test_a_face_that_an_epoch_left_out_is_nan(tmp_path: Path) -> None:
    recorder = DynamicsRecorder(tmp_path, FACES)
    record(recorder, 1, torch.arange(0, N, 2))
    found = read_dynamics(tmp_path)
    assert found is not None
    np.testing.assert_array_equal(np.isnan(found.signed[0]), np.arange(N) % 2 == 1)
    assert (found.regions[1::2] == "").all()
    assert not found.right[0, 1::2].any()


def test_a_probability_too_small_for_the_file_keeps_its_verdict(tmp_path: Path) -> None:
    recorder = DynamicsRecorder(tmp_path, FACES[:2])
    logits = torch.zeros(2, 7)
    logits[0, 0], logits[1, 3] = -60.0, 60.0
    recorder.add(torch.arange(2), logits, torch.tensor([0, 3]))
    recorder.end_epoch()
    found = read_dynamics(tmp_path)
    assert found is not None
    assert found.signed[0].tolist() == [0.0, 1.0]
    assert found.right[0].tolist() == [False, True]


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_resuming_cuts_off_what_came_after(tmp_path: Path, done: int) -> None:
    recorder = DynamicsRecorder(tmp_path, FACES)
    for epoch in (1, 2, 3):
        record(recorder, epoch)
    recorder = DynamicsRecorder(tmp_path, FACES, done)
    record(recorder, 9)
    check(tmp_path, [*range(1, done + 1), 9])


@pytest.mark.parametrize("torn", [1, N, 2 * N - 1])
def test_a_torn_epoch_is_not_read_and_is_written_anew(tmp_path: Path, torn: int) -> None:
    recorder = DynamicsRecorder(tmp_path, FACES)
    for epoch in (1, 2):
        record(recorder, epoch)
    path = tmp_path / "dynamics.bin"
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - torn)
    check(tmp_path, [1])
    record(DynamicsRecorder(tmp_path, FACES, 1), 2)
    check(tmp_path, [1, 2])


def test_a_run_begun_without_a_record_has_nan_for_its_first_epochs(tmp_path: Path) -> None:
    record(DynamicsRecorder(tmp_path, FACES, 2), 3)
    check(tmp_path, [0, 0, 3])


def test_a_record_of_other_faces_is_replaced(tmp_path: Path) -> None:
    record(DynamicsRecorder(tmp_path, FACES[::-1], 0), 1)
    record(DynamicsRecorder(tmp_path, FACES, 1), 2)
    check(tmp_path, [0, 2])


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format": 2, "n": 5}'.ljust(500), b'{"format": 1, "n": 500}'])
def test_a_damaged_file_is_named_and_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "dynamics.bin"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"dynamics\.bin cannot be read .*; delete it"):
        read_dynamics(tmp_path)
    record(DynamicsRecorder(tmp_path, FACES), 1)
    check(tmp_path, [1])


def test_no_record(tmp_path: Path) -> None:
    assert read_dynamics(tmp_path) is None


def test_statistics_by_hand() -> None:
    nan = math.nan
    signed = np.array(
        [
            [-0.1, 0.8, -0.2, 0.6, nan],
            [0.5, 0.8, -0.2, -0.4, nan],
            [-0.3, 0.8, -0.2, 0.6, 0.9],
            [0.7, 0.8, -0.2, nan, nan],
        ],
        np.float16,
    )
    found = Dynamics(np.arange(5, dtype=np.uint64), signed)
    np.testing.assert_allclose(found.confidence, [0.4, 0.8, 0.2, 1.6 / 3, 0.9], atol=1e-3)
    spread = [math.sqrt((0.09 + 0.01 + 0.01 + 0.09) / 4), 0, 0, math.sqrt((2 / 225 + 4 / 225) / 3 * 1.0), 0]
    np.testing.assert_allclose(found.variability, spread, atol=1e-3)
    np.testing.assert_allclose(found.correctness, [0.5, 1, 0, 2 / 3, 1], atol=1e-6)
    assert found.first_learned.tolist() == [2, 1, 0, 1, 3]
    assert found.times_forgotten.tolist() == [1, 0, 0, 1, 0]
    assert found.regions.tolist() == ["ambiguous", "easy", "hard", "ambiguous", "easy"]


def test_epochs_that_did_not_show_a_face_hide_no_forgetting() -> None:
    """Most do not where batches are mixed. Toneva et al. compare each answer with the one before it of that face."""
    nan = math.nan
    by_hand = [[0.9, 0.9, nan, nan], [nan, nan, -0.2, nan], [-0.1, nan, nan, 0.8], [nan, -0.4, 0.7, nan]]
    found = Dynamics(np.arange(4, dtype=np.uint64), np.array(by_hand, np.float16))
    assert found.times_forgotten.tolist() == [1, 1, 0, 0]
    rng = np.random.default_rng(4)
    signed = (rng.uniform(0, 1, (40, 300)) * rng.choice([-1, 1], (40, 300))).astype(np.float16)
    signed[rng.random((40, 300)) < 0.7] = nan
    answers = [[value > 0 for value in face if not math.isnan(value)] for face in signed.T]
    expected = [sum(was and not now for was, now in pairwise(face)) for face in answers]
    assert Dynamics(np.arange(300, dtype=np.uint64), signed).times_forgotten.tolist() == expected
    assert max(expected) > 3


def test_what_never_varied_is_not_ambiguous() -> None:
    """After one epoch, and where most faces are always right."""
    one = Dynamics(np.arange(4, dtype=np.uint64), np.array([[0.9, -0.1, 0.6, -0.3]], np.float16))
    assert one.regions.tolist() == ["easy", "hard", "easy", "hard"]
    signed = np.ones((2, 10), np.float16)
    signed[1, 0] = 0.5
    assert Dynamics(np.arange(10, dtype=np.uint64), signed).regions.tolist() == ["ambiguous", *["easy"] * 9]


def test_a_third_is_ambiguous_and_regions_follow_confidence() -> None:
    rng = np.random.default_rng(1)
    signed = np.clip(rng.uniform(0, 1, 900) + rng.normal(0, 0.2, (30, 900)), 0.001, 0.999).astype(np.float16)
    found = Dynamics(np.arange(900, dtype=np.uint64), signed)
    assert (found.regions == "ambiguous").sum() == 300
    assert found.confidence[found.regions == "easy"].min() >= 0.5 > found.confidence[found.regions == "hard"].max()


def test_faces_are_found_in_any_order_and_repeats_one_by_one(tmp_path: Path) -> None:
    with_repeats = np.concatenate([FACES, FACES[:3], FACES[:1]])
    recorder = DynamicsRecorder(tmp_path, with_repeats)
    recorder.end_epoch()
    found = read_dynamics(tmp_path)
    assert found is not None
    assert found.rows_of(with_repeats).tolist() == list(range(54))
    assert found.rows_of(FACES[[4, 0, 0, 0, 0, 7]]).tolist() == [4, 0, 50, 53, -1, 7]
    assert found.rows_of(255 - FACES[:2]).tolist() == [-1, -1]


def test_keys_tell_faces_apart() -> None:
    other = FACES[:1].copy()
    other[0, 47, 47] ^= 1
    assert face_keys(other) != face_keys(FACES[:1])
    assert len(set(face_keys(FACES).tolist())) == N
    assert matching_rows(face_keys(FACES[::2]), face_keys(FACES)).tolist() == list(range(0, N, 2))


def test_what_was_only_shown_mixed_is_neither_learned_nor_not() -> None:
    nothing = np.nan
    signed = np.array([[0.9, -0.4, nothing], [0.8, nothing, nothing]], np.float16)
    found = Dynamics(np.arange(3, dtype=np.uint64), signed)
    assert found.never_seen.tolist() == [False, False, True]
    assert found.never_learned.tolist() == [False, True, False]
