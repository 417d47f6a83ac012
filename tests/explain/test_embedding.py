"""Penultimate features: what the last layer makes of them is the answer; and a cache that never gives another's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fer_core.data import FaceDataset
from fer_core.errors import CheckpointError, ConfigError
from fer_core.explain import embedding as module
from fer_core.explain.embedding import cache_file, known_features, penultimate, split_features
from fer_core.explain.layers import run_to_head
from fer_core.runs import Checkpoint, Run


@pytest.fixture(scope="module")
def checkpoint(finished: Run) -> Checkpoint:
    return finished.load_checkpoint(3)


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def test_the_last_layer_makes_the_answer_of_them(
    checkpoint: Checkpoint, faces: FaceDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH", 50)  # the last batch is not full
    shares: list[float] = []
    features = penultimate(checkpoint, faces.images, shares.append)
    assert features.shape == (126, 8 * 9 * 9)
    assert features.dtype == np.float32
    with torch.no_grad():
        logits = checkpoint.model.eval()(checkpoint.preprocess(faces.images))
        again = checkpoint.model.linear(torch.from_numpy(features))
    torch.testing.assert_close(again, logits, rtol=1e-4, atol=1e-4)
    assert shares == [50 / 126, 100 / 126, 1.0]
    assert penultimate(checkpoint, faces.images[:0]).shape[0] == 0


def test_the_network_is_left_as_it_was(checkpoint: Checkpoint, faces: FaceDataset) -> None:
    checkpoint.model.train()
    penultimate(checkpoint, faces.images[:3])
    assert all(module.training for module in checkpoint.model.modules())
    assert not any(module._forward_hooks for module in checkpoint.model.modules())
    checkpoint.model.eval()


def test_the_last_linear_layer_called_counts() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(4, 7)  # declared first, called last
            self.first = nn.Linear(48 * 48, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(x.flatten(1)).relu()) / 3  # type: ignore[no-any-return]

    model, inputs = Two(), torch.rand(5, 1, 48, 48)
    torch.testing.assert_close(run_to_head(model, inputs), model.first(inputs.flatten(1)).relu())


def test_no_linear_layer() -> None:
    model = nn.Sequential(nn.Conv2d(1, 7, 48), nn.Flatten())
    with pytest.raises(ConfigError, match="no linear layer at its end"):
        run_to_head(model, torch.zeros(1, 1, 48, 48))


def test_computed_once(finished: Run, faces: FaceDataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert known_features(finished, 3, faces) is None
    first = split_features(finished, 3, faces)
    exact = penultimate(finished.load_checkpoint(3), faces.images)
    np.testing.assert_allclose(first, exact, rtol=1e-3, atol=1e-6)
    (file,) = own_cache.iterdir()
    assert np.load(file).dtype == np.float16

    def refuse(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(module, "penultimate", refuse)
    again = split_features(finished, 3, faces)
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, first)
    for other in ((finished, 2, faces), (finished, 3, faces.split("test"))):
        with pytest.raises(AssertionError, match="computed again"):
            split_features(*other)


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", "half", "other"])
def test_a_damaged_entry_is_made_anew(finished: Run, faces: FaceDataset, own_cache: Path, damage: bytes | str) -> None:
    first = split_features(finished, 3, faces)
    (file,) = own_cache.iterdir()
    if damage == "other":
        np.save(file, np.zeros((5, 3), np.float16))
    else:
        file.write_bytes(file.read_bytes()[:40_000] if isinstance(damage, str) else damage)
    np.testing.assert_array_equal(split_features(finished, 3, faces), first)
    np.testing.assert_array_equal(np.load(file).astype(np.float32), first)


def test_a_run_trained_anew_under_its_name_is_another(copied: Run, faces: FaceDataset, own_cache: Path) -> None:
    old = split_features(copied, 1, faces)
    shutil.copy(copied.checkpoint_path(3), copied.checkpoint_path(1))
    assert not np.array_equal(split_features(copied, 1, faces), old)
    assert len(list(own_cache.iterdir())) == 2


def test_an_epoch_that_is_not_kept(finished: Run, faces: FaceDataset) -> None:
    with pytest.raises(CheckpointError, match="no readable checkpoint of epoch 9"):
        split_features(finished, 9, faces)


def test_features_that_are_no_numbers(
    finished: Run, faces: FaceDataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "penultimate", lambda *_: np.full((126, 4), np.nan, np.float32))
    with pytest.raises(CheckpointError, match="run:3 gives features that are not numbers"):
        split_features(finished, 3, faces)
    assert not own_cache.exists()


def test_a_cache_that_cannot_be_written(
    finished: Run, faces: FaceDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file where the folder would be")
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    assert split_features(finished, 3, faces).shape == (126, 648)


def test_the_oldest_make_room(
    finished: Run, faces: FaceDataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for age, epoch in enumerate((1, 2)):
        split_features(finished, epoch, faces)
        os.utime(cache_file(finished, epoch, faces), (age, age))
    size = cache_file(finished, 1, faces).stat().st_size
    monkeypatch.setattr(module, "_MOST_BYTES", int(2.5 * size))
    split_features(finished, 1, faces)  # opened: epoch 2 is the older one now
    split_features(finished, 3, faces)
    assert {file.name for file in own_cache.iterdir()} == {cache_file(finished, each, faces).name for each in (1, 3)}
    monkeypatch.setattr(module, "_MOST_BYTES", 1)
    split_features(finished, 2, faces)
    assert [file.name for file in own_cache.iterdir()] == [cache_file(finished, 2, faces).name]
