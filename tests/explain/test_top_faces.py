"""Top faces against brute force, selectivity by hand, and a cache that never gives another checkpoint's answer."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_core.data import FaceDataset
from fer_core.data.cache import cache_dir
from fer_core.errors import CheckpointError
from fer_core.explain import top_faces as module
from fer_core.explain.features import feature_maps
from fer_core.explain.layers import conv_layers
from fer_core.explain.top_faces import KEPT_FACES, WHOLE_LAYER, LayerActivity, measure, selectivity, top_faces
from fer_core.runs import Checkpoint, Run


@pytest.fixture(scope="module")
def many() -> FaceDataset:
    """300 faces of noise; the first 20 have no label, and there is no Disgust."""
    rng = np.random.default_rng(8)
    patterns = np.kron(rng.uniform(60, 196, (300, 12, 12)), np.ones((4, 4)))
    images = (patterns + rng.normal(0, 30, (300, 48, 48))).clip(0, 255).astype(np.uint8)
    emotions = rng.choice(np.array([0, 2, 3, 4, 5, 6], np.int8), 300)
    emotions[:20] = -1
    return FaceDataset(images, emotions, np.zeros(300, np.int8), np.arange(300).astype(str), "Noise")


@pytest.fixture(scope="module")
def checkpoint(finished: Run) -> Checkpoint:
    return finished.load_checkpoint(3)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """As over a large data set: many batches, the last one not full."""
    monkeypatch.setattr(module, "_BATCH", 64)


@pytest.fixture(scope="module")
def activity(checkpoint: Checkpoint, many: FaceDataset) -> dict[str, LayerActivity]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BATCH", 64)
        return measure(checkpoint, many)


def brute_force(checkpoint: Checkpoint, many: FaceDataset, layer: str) -> np.ndarray:
    """All maps of all faces at once, float32 (300, C + 1, H, W), the mean over the channels last."""
    maps = feature_maps(checkpoint, many.images, layer).maps
    return np.concatenate([maps, maps.mean(axis=1, keepdims=True)], axis=1)


LAYERS = ["conv1", "res1.0", "res1.1", "conv2", "res2.0", "res2.1"]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("emotion", [None, 0, 1, 3, 6])
def test_top_faces_equal_brute_force(
    checkpoint: Checkpoint, many: FaceDataset, activity: dict[str, LayerActivity], layer: str, emotion: int | None
) -> None:
    maps = brute_force(checkpoint, many, layer)
    here = np.ones(300, bool) if emotion is None else many.emotions == emotion
    for channel in range(maps.shape[1]):
        highest = maps[:, channel].max(axis=(1, 2))
        candidates = np.flatnonzero(here & (highest > 0))
        expected = candidates[np.argsort(-highest[candidates], kind="stable")][:KEPT_FACES]
        found = activity[layer].top(WHOLE_LAYER if channel == maps.shape[1] - 1 else channel, emotion)
        np.testing.assert_allclose([face.activation for face in found], highest[expected], rtol=1e-4, atol=1e-6)
        for face, row in zip(found, expected, strict=True):
            # Another batch size may round otherwise: faces that are that close may change places.
            assert face.row == row or np.isclose(highest[face.row], highest[row], rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(maps[(face.row, channel, *face.unit)], highest[face.row], rtol=1e-4, atol=1e-6)
            assert face.box == activity[layer].layer.response.box(*face.unit)
        assert len({face.row for face in found}) == len(found)


@pytest.mark.parametrize("layer", LAYERS)
def test_means_and_errors_equal_brute_force(
    checkpoint: Checkpoint, many: FaceDataset, activity: dict[str, LayerActivity], layer: str
) -> None:
    means = brute_force(checkpoint, many, layer).mean(axis=(2, 3), dtype=np.float64)
    result = activity[layer]
    assert result.counts.tolist() == [*(int((many.emotions == i).sum()) for i in range(7)), 20]
    for emotion in (0, 2, 3, 4, 5, 6):
        of = means[many.emotions == emotion]
        np.testing.assert_allclose(result.means[:, emotion], of.mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(
            result.errors[:, emotion], of.std(axis=0, ddof=1) / np.sqrt(len(of)), rtol=1e-2, atol=1e-7
        )
    assert np.isnan(result.means[:, 1]).all()
    assert np.isnan(result.errors[:, 1]).all()
    np.testing.assert_array_equal(result.preferred, np.nanargmax(result.means, axis=1))
    assert result.checkpoint == "run:3"
    assert result.data == "Noise"


def test_a_face_that_was_made_for_a_filter_is_found_with_its_place(checkpoint: Checkpoint, many: FaceDataset) -> None:
    """A patch that is the filter's own kernel, in one flat face among many: its unit sees the patch."""
    conv = checkpoint.model.conv1.conv
    channel = int(checkpoint.model.conv1.norm.weight.argmax())
    kernel = conv.weight[channel, 0].detach().numpy()
    images = np.full((50, 48, 48), 128, np.uint8)
    images[37, 20:25, 30:35] = np.where(kernel > 0, 255, 0)
    flat = replace(many.subset(np.arange(50)), images=images)
    best = measure(checkpoint, flat)["conv1"].top(channel)[0]
    top, left, bottom, right = best.box
    assert best.row == 37
    assert top <= 20 < 25 <= bottom
    assert left <= 30 < 35 <= right


def test_faces_on_which_a_filter_is_silent_are_left_out(checkpoint: Checkpoint, many: FaceDataset) -> None:
    model = checkpoint.model
    bias = model.conv2.norm.bias.detach().clone()
    with torch.no_grad():
        model.conv2.norm.bias[2] = -1e6
    try:
        result = measure(checkpoint, many)["conv2"]
    finally:
        with torch.no_grad():
            model.conv2.norm.bias.copy_(bias)
    assert result.top(2) == result.top(2, 3) == []
    assert result.preferred[2] == -1
    assert result.selectivity[2] == 0
    assert len(result.top(1)) == KEPT_FACES


def test_copies_of_a_face_keep_their_order(checkpoint: Checkpoint, many: FaceDataset, small_batches: None) -> None:  # noqa: ARG001
    """FER2013 holds copies of faces, which excite a filter alike."""
    rows = np.tile(np.arange(20, 30), 32)  # five batches of one size: another size may round otherwise
    same = many.subset(rows)
    found = measure(checkpoint, replace(same, emotions=np.full(320, 3, np.int8)))["conv1"].top(0)
    best = found[0].row % 10
    assert [face.row for face in found] == list(range(best, 320, 10))[:KEPT_FACES]


def test_few_or_no_faces(checkpoint: Checkpoint, many: FaceDataset) -> None:
    few = measure(checkpoint, many.subset(np.arange(18, 23)))
    assert [len(each.top()) for each in few.values()] == [5] * len(LAYERS)
    none = measure(checkpoint, many.subset(np.zeros(300, bool)))
    assert [each.top() for each in none.values()] == [[]] * len(LAYERS)
    assert np.isnan(none["conv1"].means).all()
    assert np.isnan(none["conv1"].selectivity).all()


def test_progress_is_told(checkpoint: Checkpoint, many: FaceDataset, small_batches: None) -> None:  # noqa: ARG001
    told: list[float] = []
    measure(checkpoint, many, told.append)
    np.testing.assert_allclose(told, [64 / 300, 128 / 300, 192 / 300, 256 / 300, 1])


def test_the_network_is_left_as_it_was(checkpoint: Checkpoint, many: FaceDataset) -> None:
    model = checkpoint.model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measure(checkpoint, many.subset(np.arange(5)))
    assert all(each.training for each in model.modules())
    assert all(not each._forward_hooks for each in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()


# -- selectivity -----------------------------------------------------------------------------------


def test_selectivity_by_hand() -> None:
    means = np.array(
        [
            [3.0, 1, 1, 1, 1, 1, 1],  # (3 - 1) / (3 + 1)
            [0, 0, 0, 0, 5, 0, 0],  # answers to one only
            [2, 2, 2, 2, 2, 2, 2],  # to all alike
            [0, 0, 0, 0, 0, 0, 0],  # to none
            [1, 2, 3, 4, 5, 6, 7],  # a = 7, b = 21 / 6 = 3.5: 3.5 / 10.5
        ]
    )
    np.testing.assert_allclose(selectivity(means), [0.5, 1, 0, 0, 1 / 3])


def test_selectivity_knows_only_the_emotions_that_have_faces() -> None:
    nan = np.nan
    means = np.array([[6.0, nan, 2, nan, 0, nan, nan], [6, nan, nan, nan, nan, nan, nan]])
    np.testing.assert_allclose(selectivity(means), [(6 - 1) / (6 + 1), nan])


# -- the cache -------------------------------------------------------------------------------------


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    return cache_dir() / "top-faces"


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs for which the network really ran, in order."""
    ran: list[int] = []

    def counted(checkpoint: Checkpoint, *rest: object) -> dict[str, LayerActivity]:
        ran.append(checkpoint.epoch)
        return measure(checkpoint, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "measure", counted)
    return ran


def assert_same(first: dict[str, LayerActivity], second: dict[str, LayerActivity]) -> None:
    assert list(first) == list(second)
    for one, two in zip(first.values(), second.values(), strict=True):
        assert (one.checkpoint, one.data, one.layer) == (two.checkpoint, two.data, two.layer)
        for name in ("rows", "activations", "units", "sums", "squares", "counts"):
            a, b = getattr(one, name), getattr(two, name)
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype, name


def test_what_is_cached_equals_what_was_computed(
    finished: Run, faces: FaceDataset, own_cache: Path, computed: list[int]
) -> None:
    first = top_faces(finished, 3, faces)
    assert_same(first, top_faces(finished, 3, faces))
    assert computed == [3]
    assert len(list(own_cache.iterdir())) == 1
    other = top_faces(finished, 1, faces)
    assert computed == [3, 1]
    assert not np.array_equal(first["conv1"].sums, other["conv1"].sums)


def test_other_faces_are_computed_anew(finished: Run, faces: FaceDataset, own_cache: Path, computed: list[int]) -> None:
    top_faces(finished, 3, faces)
    changed = faces.images.copy()
    changed[5, 3, 3] ^= 1
    top_faces(finished, 3, replace(faces, images=changed))
    top_faces(finished, 3, replace(faces, emotions=faces.emotions[::-1].copy()))
    assert computed == [3, 3, 3]
    assert len(list(own_cache.iterdir())) == 3


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-500])


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[2000] ^= 0xFF
    file.write_bytes(bytes(content))


def empty(file: Path) -> None:
    file.write_bytes(b"")


def another_archive(file: Path) -> None:
    with file.open("wb") as stream:
        np.savez(stream, something=np.zeros(3))


@pytest.mark.parametrize("damage", [cut, flip_a_byte, empty, another_archive])
def test_a_damaged_file_is_made_anew(
    finished: Run, faces: FaceDataset, own_cache: Path, computed: list[int], damage: object
) -> None:
    first = top_faces(finished, 3, faces)
    (file,) = own_cache.iterdir()
    whole = file.read_bytes()
    damage(file)  # type: ignore[operator]
    assert_same(first, top_faces(finished, 3, faces))
    assert computed == [3, 3]
    assert len(file.read_bytes()) == len(whole)
    assert_same(first, top_faces(finished, 3, faces))
    assert computed == [3, 3]


def test_a_checkpoint_trained_anew_under_its_old_name(
    copied: Run, faces: FaceDataset, own_cache: Path, computed: list[int]
) -> None:
    before = top_faces(copied, 3, faces)
    shutil.copy(copied.checkpoint_path(1), copied.checkpoint_path(3))
    after = top_faces(copied, 3, faces)
    assert len(computed) == 2
    assert not np.array_equal(before["res2.1"].sums, after["res2.1"].sums)
    alone = measure(copied.load_checkpoint(1), faces)
    np.testing.assert_allclose(after["res2.1"].sums, alone["res2.1"].sums, rtol=1e-4)
    assert len(list(own_cache.iterdir())) == 2


def test_a_cache_that_cannot_be_written(
    finished: Run, faces: FaceDataset, own_cache: Path, computed: list[int]
) -> None:
    own_cache.parent.mkdir(parents=True)
    own_cache.write_text("a file where the folder should be")
    assert_same(top_faces(finished, 3, faces), top_faces(finished, 3, faces))
    assert computed == [3, 3]


def test_an_epoch_that_is_not_there(finished: Run, faces: FaceDataset) -> None:
    with pytest.raises(CheckpointError, match="epoch 9"):
        top_faces(finished, 9, faces)


def test_old_files_go(
    finished: Run, faces: FaceDataset, own_cache: Path, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEPT_FILES", 2)
    for epoch in (1, 2, 3):
        top_faces(finished, epoch, faces)
    assert len(list(own_cache.iterdir())) == 2
    top_faces(finished, 3, faces)
    assert computed == [1, 2, 3]


def test_layers_of_the_result(activity: dict[str, LayerActivity], checkpoint: Checkpoint) -> None:
    assert list(activity) == LAYERS
    assert {name: each.layer for name, each in activity.items()} == conv_layers(checkpoint.model)
