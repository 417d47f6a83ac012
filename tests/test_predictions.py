"""`split_probabilities`: always what the network says, whether it comes from the run, from the cache or is computed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_core import predictions
from fer_core.data import FaceDataset
from fer_core.errors import CheckpointError, ConfigError
from fer_core.inference import Predictor
from fer_core.predictions import computed_probabilities, known_probabilities, split_probabilities
from fer_core.runs import Run, halved
from fer_core.tta import TTA, View

ROOT = Path(__file__).parent.parent


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own: where the files are."""
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "predictions"


@pytest.fixture
def unseen(faces: FaceDataset) -> FaceDataset:
    """Faces that the run has not scored itself."""
    return faces.split("test")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, running a network is an error."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network was run")

    return lambda: monkeypatch.setattr(Predictor, "load", refuse)


def truth(run: Run, epoch: int, faces: FaceDataset) -> np.ndarray:
    return Predictor.load(run, epoch).predict(faces.images).probabilities


def test_the_runs_own_file_answers_for_its_own_faces(
    copied: Run, faces: FaceDataset, cache: Path, no_network: Any
) -> None:
    validation = faces.split("validation")
    expected = {epoch: truth(copied, epoch, validation) for epoch in (1, 2, 3)}
    no_network()
    for epoch, probabilities in expected.items():
        found = split_probabilities(copied, epoch, validation)
        assert found.shape == (28, 7)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, halved(probabilities))
    assert not cache.exists()


def test_other_faces_are_computed_once(copied: Run, unseen: FaceDataset, cache: Path, no_network: Any) -> None:
    assert known_probabilities(copied, 2, unseen) is None
    told: list[float] = []
    first = split_probabilities(copied, 2, unseen, told.append)
    assert told == [1.0]
    np.testing.assert_array_equal(first, halved(truth(copied, 2, unseen)))
    no_network()
    np.testing.assert_array_equal(split_probabilities(copied, 2, unseen), first)
    known = known_probabilities(copied, 2, unseen)
    assert known is not None
    np.testing.assert_array_equal(known, first)
    assert len(list(cache.iterdir())) == 1


def test_each_epoch_and_each_set_of_faces_is_known_by_itself(copied: Run, unseen: FaceDataset, cache: Path) -> None:
    one = split_probabilities(copied, 1, unseen)
    darker = replace(unseen, images=unseen.images // 2)
    assert known_probabilities(copied, 2, unseen) is None
    assert known_probabilities(copied, 1, darker) is None
    for run, epoch, some in ((copied, 2, unseen), (copied, 1, darker)):
        np.testing.assert_array_equal(split_probabilities(run, epoch, some), halved(truth(run, epoch, some)))
    assert len(list(cache.iterdir())) == 3
    np.testing.assert_array_equal(split_probabilities(copied, 1, unseen), one)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-9]),
        lambda file: file.write_bytes(os.urandom(400)),
        lambda file: np.save(file, np.zeros((3, 7), np.float16)),
        lambda file: np.save(file, np.array([{"a": 1}], object), allow_pickle=True),
    ],
    ids=["empty", "cut off", "noise", "other shape", "pickle"],
)
def test_a_damaged_cache_is_computed_again(
    copied: Run, unseen: FaceDataset, cache: Path, damage: Callable[[Path], None]
) -> None:
    first = split_probabilities(copied, 2, unseen)
    (file,) = cache.iterdir()
    damage(file)
    assert known_probabilities(copied, 2, unseen) is None
    np.testing.assert_array_equal(split_probabilities(copied, 2, unseen), first)
    assert known_probabilities(copied, 2, unseen) is not None  # and mended


def test_a_damaged_file_of_the_run_is_passed_over(copied: Run, faces: FaceDataset, cache: Path) -> None:  # noqa: ARG001
    validation = faces.split("validation")
    file = copied.path / "predictions-validation.npz"
    file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(split_probabilities(copied, 2, validation), halved(truth(copied, 2, validation)))


def test_a_checkpoint_replaced_under_the_same_name_is_another(copied: Run, unseen: FaceDataset, cache: Path) -> None:
    before = split_probabilities(copied, 3, unseen)
    stamp = copied.checkpoint_path(3).stat()
    shutil.copy(copied.checkpoint_path(1), copied.checkpoint_path(3))
    os.utime(copied.checkpoint_path(3), ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # not even the time tells
    after = split_probabilities(copied, 3, unseen)
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_array_equal(after, halved(truth(copied, 1, unseen)))
    assert len(list(cache.iterdir())) == 2


def test_a_copied_run_is_known_already(copied: Run, unseen: FaceDataset, tmp_path: Path, cache: Path) -> None:
    first = split_probabilities(copied, 2, unseen)
    moved = Run(Path(shutil.copytree(copied.path, tmp_path / "moved")))
    known = known_probabilities(moved, 2, unseen)
    assert known is not None
    np.testing.assert_array_equal(known, first)
    assert len(list(cache.iterdir())) == 1


def test_a_cache_that_cannot_be_written(
    copied: Run, unseen: FaceDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "file"))
    np.testing.assert_array_equal(split_probabilities(copied, 2, unseen), halved(truth(copied, 2, unseen)))


def test_checkpoints_that_cannot_be_read(copied: Run, unseen: FaceDataset, cache: Path) -> None:
    with pytest.raises(CheckpointError, match="run kept no checkpoint of epoch 9; the epochs kept are: 1, 2, 3"):
        split_probabilities(copied, 9, unseen)
    file = copied.checkpoint_path(2)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
        split_probabilities(copied, 2, unseen)
    assert not cache.exists()


def test_the_network_itself_is_asked_where_a_number_is_vouched_for(
    copied: Run, faces: FaceDataset, cache: Path, no_network: Any
) -> None:
    """Not the run's own file, which may have been written by other weights."""
    validation = faces.split("validation")
    expected = halved(truth(copied, 2, validation))
    copied.save_predictions(2, np.full((28, 7), 1 / 7, np.float32), "validation", validation.fingerprint)
    np.testing.assert_array_equal(computed_probabilities(copied, 2, validation), expected)
    assert len(list(cache.iterdir())) == 1
    no_network()
    np.testing.assert_array_equal(computed_probabilities(copied, 2, validation), expected)
    with pytest.raises(AssertionError, match="a network was run"):
        computed_probabilities(copied, 2, validation, fresh=True)


def test_each_test_time_augmentation_is_known_by_itself(copied: Run, unseen: FaceDataset, cache: Path) -> None:
    predictor = Predictor.load(copied, 2)
    for tta in ("crops", "none", "flip", "crops"):
        expected = halved(predictor.predict(unseen.images, tta).probabilities)
        np.testing.assert_array_equal(computed_probabilities(copied, 2, unseen, tta), expected)
    assert len(list(cache.iterdir())) == 3
    known = known_probabilities(copied, 2, unseen)
    assert known is not None
    np.testing.assert_array_equal(known, halved(predictor.predict(unseen.images).probabilities))
    with pytest.raises(ConfigError, match="no test-time augmentation 'zoom'"):
        computed_probabilities(copied, 2, unseen, "zoom")


def test_other_crops_are_computed_anew(
    copied: Run, unseen: FaceDataset, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = computed_probabilities(copied, 2, unseen, "crops")
    monkeypatch.setitem(TTA, "crops", (View(0, 9),))
    assert np.abs(computed_probabilities(copied, 2, unseen, "crops") - before).max() > 1e-3
    assert len(list(cache.iterdir())) == 2


def test_fresh_answers_replace_those_in_the_cache(copied: Run, unseen: FaceDataset, cache: Path) -> None:
    first = computed_probabilities(copied, 2, unseen)
    (file,) = cache.iterdir()
    np.save(file, np.zeros((14, 7), np.float16))
    assert not computed_probabilities(copied, 2, unseen).any()
    np.testing.assert_array_equal(computed_probabilities(copied, 2, unseen, fresh=True), first)
    np.testing.assert_array_equal(computed_probabilities(copied, 2, unseen), first)


def test_a_computation_that_is_broken_off_leaves_nothing(copied: Run, unseen: FaceDataset, cache: Path) -> None:
    """As when a person clicks on before it is done: Streamlit raises out of the report."""

    def rerun(_: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        split_probabilities(copied, 2, unseen, rerun)
    assert not cache.exists()


def test_the_oldest_are_removed(copied: Run, unseen: FaceDataset, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "_KEPT", 2)
    for age, epoch in ((300, 1), (200, 2)):
        before = set(cache.glob("*"))
        split_probabilities(copied, epoch, unseen)
        (file,) = set(cache.glob("*")) - before
        os.utime(file, (file.stat().st_mtime - age,) * 2)
    split_probabilities(copied, 3, unseen)
    assert [known_probabilities(copied, epoch, unseen) is not None for epoch in (1, 2, 3)] == [False, True, True]


def test_what_is_known_needs_no_torch(copied: Run, unseen: FaceDataset, cache: Path, tmp_path: Path) -> None:
    """The dashboard's first page must not wait for it."""
    split_probabilities(copied, 2, unseen)
    np.savez(tmp_path / "unseen.npz", images=unseen.images, emotions=unseen.emotions, splits=unseen.splits)
    code = f"""
import sys
import numpy as np
from pathlib import Path
from fer_core.data import FaceDataset
from fer_core.predictions import known_probabilities, split_probabilities
from fer_core.runs import Run, halved
faces = FaceDataset(**np.load({str(tmp_path / "unseen.npz")!r}), ids=np.arange(14).astype(str), name="")
run = Run(Path({str(copied.path)!r}))
assert known_probabilities(run, 1, faces) is None
assert split_probabilities(run, 2, faces).shape == (14, 7)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert len(list(cache.iterdir())) == 1
