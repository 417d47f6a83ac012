"""`Predictor`: whatever the faces look like and however many there are, the same face gets the same answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fer_core.data import FaceDataset
from fer_core.errors import CheckpointError, DataError, RunError
from fer_core.inference import BATCH_SIZE, Predictor, as_faces
from fer_core.preprocess import to_face
from fer_core.runs import Run, halved


@pytest.fixture
def predictor(finished: Run) -> Predictor:
    """Without the faster way, which comes at some moment of a test that asks often (see test_onnx_backend.py)."""
    return replace(Predictor.load(finished), backend=None)


def test_probabilities_are_the_softmax_of_the_networks_answer(predictor: Predictor, faces: FaceDataset) -> None:
    prediction = predictor.predict(faces.images)
    assert prediction.probabilities.shape == (126, 7)
    assert prediction.probabilities.dtype == np.float32
    with torch.no_grad():
        logits = predictor.checkpoint.model(predictor.checkpoint.preprocess(faces.images)).numpy()
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-5)
    np.testing.assert_array_equal(prediction.emotions, logits.argmax(axis=1))
    np.testing.assert_allclose(prediction.confidence, expected.max(axis=1), atol=1e-5)
    assert (prediction.run, prediction.epoch) == ("run", predictor.checkpoint.epoch)


def test_a_face_gets_the_same_answer_in_every_batch(predictor: Predictor, faces: FaceDataset) -> None:
    many = np.concatenate([faces.images] * 3)[: BATCH_SIZE + 60]  # more than one batch
    together = predictor.predict(many).probabilities
    alone = np.concatenate([predictor.predict(face[None]).probabilities for face in many[-60:]])
    np.testing.assert_allclose(together[-60:], alone, atol=1e-6)
    np.testing.assert_allclose(together[:60], together[126:186], atol=1e-6)


def test_whatever_computes_faces_convolves_in_float32(
    finished: Run, train: Any, tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA's convolutions round to TF32 by default."""
    for compute in (lambda: Predictor.load(finished), lambda: train(tiny(epochs=1))):
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
        compute()
        assert not torch.backends.cudnn.allow_tf32


def test_no_faces_no_answers(predictor: Predictor) -> None:
    empty: Any
    for empty in ([], np.empty((0, 48, 48), np.uint8)):
        assert predictor.predict(empty).probabilities.shape == (0, 7)


def test_pictures_of_any_size_gray_or_in_colour(predictor: Predictor) -> None:
    rng = np.random.default_rng(0)
    pictures = [
        rng.integers(0, 256, shape).astype(np.uint8) for shape in ((48, 48), (96, 70), (20, 20, 3), (200, 300, 3))
    ]
    mixed: list[np.ndarray | Image.Image] = [*pictures, Image.fromarray(pictures[3])]
    prediction = predictor.predict(mixed)
    expected = predictor.predict(np.stack([to_face(picture) for picture in mixed]))
    np.testing.assert_array_equal(prediction.probabilities, expected.probabilities)
    np.testing.assert_allclose(prediction.probabilities[3], prediction.probabilities[4], atol=1e-6)
    colour = rng.integers(0, 256, (5, 48, 48, 3)).astype(np.uint8)
    assert as_faces(colour).shape == (5, 48, 48)


@pytest.mark.parametrize(
    "faces", [np.zeros((2, 48, 48), np.float32), np.zeros((48, 48), np.uint8), [np.zeros((1, 1, 7))]]
)
def test_arrays_that_are_no_faces_are_refused(faces: Any) -> None:
    with pytest.raises(DataError, match="A picture must be uint8"):
        as_faces(faces)


def test_flip_is_the_mean_over_the_mirrored_face(predictor: Predictor, faces: FaceDataset) -> None:
    plain = predictor.predict(faces.images).probabilities
    mirrored = predictor.predict(faces.images[:, :, ::-1]).probabilities
    both = predictor.predict(faces.images, tta="flip").probabilities
    np.testing.assert_allclose(both, (plain + mirrored) / 2, atol=1e-6)
    assert np.abs(both - plain).max() > 1e-3
    np.testing.assert_allclose(predictor.predict(faces.images[:, :, ::-1], tta="flip").probabilities, both, atol=1e-6)


def test_what_was_scored_in_training_is_what_is_loaded(finished: Run, faces: FaceDataset) -> None:
    saved = finished.predictions("validation")
    assert saved is not None
    for row, epoch in enumerate(saved.epochs):
        again = Predictor.load(finished, epoch).predict(faces.split("validation").images).probabilities
        np.testing.assert_array_equal(saved.probabilities[row], halved(again))


def test_progress_is_reported(predictor: Predictor, faces: FaceDataset) -> None:
    shares: list[float] = []
    predictor.predict(np.concatenate([faces.images] * 3), report=shares.append)
    assert shares == pytest.approx([BATCH_SIZE / 378, 2 * BATCH_SIZE / 378, 1.0])


def test_a_checkpoint_is_found_by_name_path_or_run(finished: Run) -> None:
    root = finished.path.parent
    for run in (finished, finished.name, finished.path):
        assert Predictor.load(run, 1, root=root).checkpoint.epoch == 1
    assert Predictor.load(finished).checkpoint.epoch == finished.best_epoch()
    with pytest.raises(RunError, match=r"There is no run 'walk' in .*; the runs are: run\."):
        Predictor.load("walk", root=root)
    with pytest.raises(CheckpointError, match=r"run kept no checkpoint of epoch 9; the epochs kept are: 1, 2, 3\."):
        Predictor.load(finished, 9)


def test_predicting_changes_nothing(predictor: Predictor, faces: FaceDataset) -> None:
    images = faces.images.copy()
    weights = {name: tensor.clone() for name, tensor in predictor.checkpoint.model.state_dict().items()}
    predictor.predict(images, tta="flip")
    np.testing.assert_array_equal(images, faces.images)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in predictor.checkpoint.model.state_dict().items())
    assert not predictor.checkpoint.model.training
