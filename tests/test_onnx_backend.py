"""Answers by ONNX Runtime: the same answers, nobody waits, and PyTorch goes on where it cannot be had."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from fer_core.data import FaceDataset
from fer_core.inference import Predictor, predict_probabilities
from fer_core.models import MODELS, create_model
from fer_core.onnx_backend import CALLS, SLICE, TOLERANCE, OnnxBackend, run_in_slices
from fer_core.onnx_export import open_session, to_onnx
from fer_core.preprocess import Preprocess
from fer_core.runs import Checkpoint, Run
from tests.conftest import PATIENCE

CPU = torch.device("cpu")


def network(name: str = "EmotionResNet", seed: int = 0) -> Checkpoint:
    torch.manual_seed(seed)
    return Checkpoint("run", 1, create_model(name).eval(), Preprocess(), {})


def as_onnx(checkpoint: Checkpoint) -> bytes:
    return to_onnx(checkpoint).SerializeToString()


def eager(checkpoint: Checkpoint, faces: np.ndarray) -> np.ndarray:
    return predict_probabilities(checkpoint.model, checkpoint.preprocess, faces, CPU)


def levels(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 48, 48)).astype(np.uint8)


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def ask(backend: OnnxBackend, times: int = CALLS) -> None:
    for _ in range(times):
        backend(levels(1), lambda: np.zeros((1, 7), np.float32))


@pytest.fixture(scope="module")
def content() -> bytes:
    return as_onnx(network())


class Counted:
    """A conversion that waits until it is let go, and counts how often it was asked for."""

    def __init__(self, content: bytes | Exception) -> None:
        self.content, self.calls, self.go = content, 0, threading.Event()

    def __call__(self) -> bytes:
        self.calls += 1
        self.go.wait(PATIENCE)
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


@pytest.fixture
def counted(content: bytes) -> Iterator[Counted]:
    conversion = Counted(content)
    yield conversion
    conversion.go.set()


@pytest.mark.parametrize("name", MODELS)
def test_every_network_answers_as_in_pytorch(name: str) -> None:
    checkpoint = network(name)
    backend = OnnxBackend(partial(as_onnx, checkpoint))
    ask(backend)
    wait_for(lambda: backend.ready)
    backend(levels(1), partial(eager, checkpoint, levels(1)))  # compared with PyTorch's, and believed from here on
    for n in (1, 2, SLICE, SLICE + 1, 3 * SLICE + 5):
        faces = levels(n, seed=n)
        answer = backend(faces, lambda: pytest.fail("PyTorch was asked"))
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer, eager(checkpoint, faces), atol=TOLERANCE)
    mirrored = faces[:, :, ::-1]  # not contiguous in memory
    np.testing.assert_allclose(
        backend(mirrored, lambda: pytest.fail("PyTorch was asked")), eager(checkpoint, mirrored), atol=TOLERANCE
    )


def test_nobody_waits_and_the_conversion_begins_once_and_late(counted: Counted) -> None:
    backend = OnnxBackend(counted)
    ask(backend, CALLS - 1)
    time.sleep(0.05)
    assert counted.calls == 0
    ask(backend, 50)  # answered while the conversion goes on
    wait_for(lambda: counted.calls == 1)
    assert not backend.ready
    counted.go.set()
    wait_for(lambda: backend.ready)
    assert counted.calls == 1


def test_a_conversion_that_fails_leaves_pytorch_answering(caplog: pytest.LogCaptureFixture) -> None:
    conversion = Counted(RuntimeError("no such operator"))
    conversion.go.set()
    backend = OnnxBackend(conversion)
    ask(backend)
    wait_for(lambda: "cannot be converted for ONNX Runtime (no such operator)" in caplog.text)
    expected = np.full((1, 7), 1 / 7, np.float32)
    for _ in range(3 * CALLS):
        assert backend(levels(1), lambda: expected) is expected
    assert conversion.calls == 1
    assert not backend.ready


def test_another_networks_answers_are_never_shown(content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    backend = OnnxBackend(lambda: content)
    ask(backend)
    wait_for(lambda: backend.ready)
    other = network(seed=1)  # as after a training that replaced the file in the meantime
    for _ in range(3):
        np.testing.assert_array_equal(backend(levels(2), partial(eager, other, levels(2))), eager(other, levels(2)))
    assert not backend.ready
    assert "does not answer as PyTorch does" in caplog.text


def test_a_session_that_fails_leaves_pytorch_answering(content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    class Full:
        def run(self, *_: object) -> None:
            raise RuntimeError("bad allocation")

    checkpoint, faces = network(), levels(3)
    for before in (0, 1):  # in its first answer, and in a later one
        backend = OnnxBackend(lambda: content)
        ask(backend)
        wait_for(lambda backend=backend: backend.ready)
        for _ in range(before):
            backend(faces, partial(eager, checkpoint, faces))
        backend._session = Full()
        for _ in range(2):
            expected = eager(checkpoint, faces)
            np.testing.assert_array_equal(backend(faces, partial(eager, checkpoint, faces)), expected)
        assert not backend.ready
        assert "ONNX Runtime fails (bad allocation)" in caplog.text
        caplog.clear()


def test_without_onnxruntime_nothing_is_converted(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "onnxruntime" else found(name, *more)
    )
    ask(OnnxBackend(counted), 2 * CALLS)
    time.sleep(0.05)
    assert counted.calls == 0


def test_many_threads_at_once(counted: Counted) -> None:
    checkpoint = network()
    backend = OnnxBackend(counted)
    faces = [levels(1 + 7 * (i % 4), seed=i) for i in range(16)]
    expected = [eager(checkpoint, some) for some in faces]

    def work(i: int) -> float:
        if i == 60:
            counted.go.set()  # the change from one to the other falls into the middle
        answer = backend(faces[i % 16], partial(eager, checkpoint, faces[i % 16]))
        return float(np.abs(answer - expected[i % 16]).max())

    with ThreadPoolExecutor(8) as pool:
        differences = list(pool.map(work, range(400)))
    assert max(differences) <= TOLERANCE
    assert counted.calls == 1


def test_the_predictor_asks_it_for_plain_and_mirrored_faces(finished: Run, faces: FaceDataset) -> None:
    asked: list[tuple[int, bool]] = []

    def backend(some: np.ndarray, eager: Callable[[], np.ndarray], _: object, *, mirrored: bool) -> np.ndarray:
        asked.append((len(some), mirrored))
        return eager()

    predictor: Predictor = replace(Predictor.load(finished), backend=backend)
    for n in (0, 1, 60):
        predictor.predict(faces.images[:n])
    predictor.predict(faces.images[:2], tta="flip")
    predictor.predict(faces.images[:3], tta="crops")
    assert asked == [(1, False), (60, False), (2, True)]


def test_what_is_done_is_reported_in_order(content: bytes) -> None:
    session, checkpoint, faces = open_session(content), network(), levels(3 * SLICE + 5)
    for threads in (1, 3):
        shares: list[float] = []
        answer = run_in_slices(session, faces, threads, shares.append)
        np.testing.assert_allclose(answer, eager(checkpoint, faces), atol=TOLERANCE)
        assert shares == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("equalize", [False, True])
def test_mirror_images_are_averaged_as_in_pytorch(equalize: bool) -> None:
    checkpoint = replace(network(), preprocess=Preprocess(equalize=equalize))
    backend, faces = OnnxBackend(partial(as_onnx, checkpoint)), levels(SLICE + 5)
    ask(backend)
    wait_for(lambda: backend.ready)
    both = predict_probabilities(checkpoint.model, checkpoint.preprocess, faces, CPU, tta="flip")
    assert np.abs(both - eager(checkpoint, faces)).max() > 10 * TOLERANCE
    for ask_pytorch in (lambda: both, lambda: pytest.fail("PyTorch was asked")):  # compared once, and then no more
        np.testing.assert_allclose(backend(faces, ask_pytorch, mirrored=True), both, atol=TOLERANCE)


def test_a_predictor_changes_over_by_itself(finished: Run, faces: FaceDataset) -> None:
    """The whole way, with the conversion in a process of its own; explanations still have the PyTorch network."""
    predictor = Predictor.load(finished)
    assert predictor.backend is not None
    first = [predictor.predict(face[None]).probabilities for face in faces.images[:CALLS]]
    wait_for(lambda: predictor.backend is not None and predictor.backend.ready)
    for face, expected in zip(faces.images[:CALLS], first, strict=True):
        np.testing.assert_allclose(predictor.predict(face[None]).probabilities, expected, atol=TOLERANCE)
    assert predictor.checkpoint.model(predictor.checkpoint.preprocess(faces.images[:1])).requires_grad
