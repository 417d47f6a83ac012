"""Faces followed over frames: numbers, matching and smoothing, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fer_core.tracks import FORGOTTEN, Tracks, overlaps

HAPPY, SAD = np.eye(7, dtype=np.float32)[3], np.eye(7, dtype=np.float32)[4]
BOX = (0.0, 0.0, 100.0, 100.0)


def moved(box: tuple[float, ...], x: float, y: float = 0.0) -> tuple[float, float, float, float]:
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


def test_overlap_is_intersection_over_union() -> None:
    others = [BOX, moved(BOX, 50), moved(BOX, 50, 50), moved(BOX, 100), (25.0, 25.0, 75.0, 75.0)]
    # shared / whole: 1; 5000 / 15000; 2500 / 17500; none; 2500 / 10000
    np.testing.assert_allclose(overlaps([BOX], others), [[1, 1 / 3, 1 / 7, 0, 1 / 4]])
    assert overlaps([], others).shape == (0, 5)
    assert overlaps([BOX], []).shape == (1, 0)


def test_a_face_that_moves_keeps_its_number_and_another_gets_the_next() -> None:
    tracks = Tracks()
    (first,) = tracks.update([BOX], HAPPY[None], 0.0)
    other, same = tracks.update([moved(BOX, 500), moved(BOX, 20)], np.stack([SAD, HAPPY]), 0.1)
    assert (first.number, same.number, other.number) == (1, 1, 2)
    assert same.box == moved(BOX, 20)


def test_each_face_takes_the_past_it_overlaps_most() -> None:
    """Two faces side by side, both moved to the right: the left one now overlaps both, and takes its own."""
    tracks = Tracks()
    tracks.update([BOX, moved(BOX, 60)], np.stack([HAPPY, SAD]), 0.0)
    found = tracks.update([moved(BOX, 20), moved(BOX, 80)], np.stack([HAPPY, SAD]), 0.1)
    assert [track.number for track in found] == [1, 2]


def test_the_past_weighs_half_after_the_logarithm_of_two_of_the_smoothing() -> None:
    tracks = Tracks(smoothing=2.0)
    tracks.update([BOX], HAPPY[None], 10.0)
    (track,) = tracks.update([BOX], SAD[None], 10.0 + 2 * math.log(2))
    np.testing.assert_allclose(track.probabilities, 0.5 * HAPPY + 0.5 * SAD, atol=1e-6)
    (track,) = tracks.update([BOX], SAD[None], 10.0 + 4 * math.log(2))
    np.testing.assert_allclose(track.probabilities, 0.25 * HAPPY + 0.75 * SAD, atol=1e-6)
    assert track.probabilities.dtype == np.float32


def test_smoothing_does_not_depend_on_the_number_of_frames() -> None:
    slow, fast = Tracks(0.5), Tracks(0.5)
    for tracks, steps in ((slow, 4), (fast, 40)):
        tracks.update([BOX], HAPPY[None], 0.0)
        for i in range(steps):
            (last,) = tracks.update([BOX], SAD[None], (i + 1) / steps)
        assert last.probabilities[3] == pytest.approx(math.exp(-1 / 0.5), rel=1e-5)


def test_without_smoothing_each_frame_speaks_for_itself() -> None:
    tracks = Tracks(0.0)
    tracks.update([BOX], HAPPY[None], 0.0)
    (track,) = tracks.update([BOX], SAD[None], 0.001)
    assert (track.probabilities == SAD).all()
    assert track.number == 1


def test_a_face_that_is_missed_for_a_moment_keeps_its_number() -> None:
    tracks = Tracks()
    tracks.update([BOX], HAPPY[None], 0.0)
    assert tracks.update([], np.empty((0, 7), np.float32), 0.1) == []
    assert tracks.update([BOX], HAPPY[None], FORGOTTEN - 0.01)[0].number == 1
    tracks.update([], np.empty((0, 7), np.float32), 0.8)
    assert tracks.update([BOX], HAPPY[None], 0.8 + 2 * FORGOTTEN)[0].number == 2


def test_slow_frames_do_not_make_every_face_a_new_one() -> None:
    tracks = Tracks()
    for second in range(4):
        (track,) = tracks.update([BOX], HAPPY[None], 3.0 * second)
        assert track.number == 1


def test_time_that_runs_back_is_not_smoothed_into_nonsense() -> None:
    tracks = Tracks()
    tracks.update([BOX], HAPPY[None], 1.0)
    (track,) = tracks.update([BOX], SAD[None], 0.5)
    np.testing.assert_allclose(track.probabilities, HAPPY)
