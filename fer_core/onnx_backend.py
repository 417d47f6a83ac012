"""Answers by ONNX Runtime, which takes a fifth to nine tenths of eager PyTorch's time: the fewer faces, the less.

`python -m benchmarks.inference_speed` prints by how much on a machine. bfloat16 is faster on many faces, but moves the
probabilities of trained networks by a hundredth or two; torch.compile is of no use on one face.
"""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer_core.onnx_export import INPUT, OUTPUTS, open_session

SLICE = 16  # faces at once: more are no faster, and 128 of them in 8 bits a fifth slower, out of the cache
CALLS = 20  # before the conversion begins: a webcam, a service or a loop asks that often, a person who clicks hardly
TOLERANCE = 1e-5  # the most by which a probability may differ from eager PyTorch's; measured: 1e-7

logger = logging.getLogger(__name__)


class SessionError(RuntimeError):
    """ONNX Runtime cannot answer, as where there is no memory left."""


class OnnxBackend:
    """Answers that are PyTorch's at first and ONNX Runtime's once the network has been converted.

    convert   the network as `fer_core.onnx_export.to_onnx` writes it; called once, in a thread of its own

    The conversion takes seconds, so it begins only after CALLS calls, and nobody waits for it. It is used only where
    its first answer is within TOLERANCE of PyTorch's. Where onnxruntime is not installed or anything fails, PyTorch
    goes on answering. May be called from several threads at once.
    """

    def __init__(self, convert: Callable[[], bytes]) -> None:
        self._convert = convert
        self._lock = threading.Lock()
        self._calls = 0
        self._session: Any = None
        self._trusted = False

    def __call__(
        self,
        faces: np.ndarray,
        eager: Callable[[], np.ndarray],
        report: Callable[[float], object] | None = None,
        *,
        mirrored: bool = False,
    ) -> np.ndarray:
        """Probabilities float32 (N, 7) of uint8 faces (N, 48, 48); `eager` gives those of PyTorch. report: called with
        the share done, 0..1, unless `eager` was asked. mirrored: averaged with those of the mirror images."""
        session = self._session
        if session is None:
            self._count()
            return eager()
        try:
            if self._trusted:
                return run_in_slices(session, faces, torch.get_num_threads(), report, mirrored=mirrored)
            expected = eager()
            first = run_in_slices(session, faces[:SLICE], mirrored=mirrored)
        except SessionError as error:
            logger.warning("ONNX Runtime fails (%s) and is not used.", error)
            self._session = None
            return eager()
        self._trusted = bool(np.abs(first - expected[:SLICE]).max() <= TOLERANCE)
        if not self._trusted:
            logger.warning("ONNX Runtime does not answer as PyTorch does and is not used.")
            self._session = None
        return expected

    @property
    def ready(self) -> bool:
        """Is the network converted, so that ONNX Runtime answers?"""
        return self._session is not None

    def _count(self) -> None:
        with self._lock:
            self._calls += 1
            due = self._calls == CALLS
        if due and importlib.util.find_spec("onnxruntime"):
            threading.Thread(target=self._open, daemon=True, name="ONNX conversion").start()

    def _open(self) -> None:
        try:
            self._session = open_session(self._convert())
        except Exception as error:  # a faster way must never cost an answer
            logger.warning("The network cannot be converted for ONNX Runtime (%s); PyTorch goes on answering.", error)


def run_in_slices(
    session: Any,
    faces: np.ndarray,
    threads: int = 1,
    report: Callable[[float], object] | None = None,
    *,
    mirrored: bool = False,
) -> np.ndarray:
    """Probabilities float32 (N, 7) of uint8 faces (N, 48, 48), N > 0, by a session of `open_session`.

    threads: so many slices at a time, each on one thread, which never wait for each other as the threads of one slice
    would. report: called with the share done, 0..1. mirrored: averaged with those of the mirror images. Raises
    SessionError.
    """
    slices = [faces[start : start + SLICE] for start in range(0, len(faces), SLICE)]

    def ask(some: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(session.run(OUTPUTS[:1], {INPUT: some})[0])
        except Exception as error:  # its own kinds, which share no base
            raise SessionError(str(error)) from error

    def answer(some: np.ndarray) -> np.ndarray:
        return (ask(some) + ask(some[:, :, ::-1])) / 2 if mirrored else ask(some)

    def collect(answers: Iterable[np.ndarray]) -> np.ndarray:
        parts: list[np.ndarray] = []
        for part in answers:
            parts.append(part)
            if report:
                report(len(parts) / len(slices))
        return np.concatenate(parts)

    if threads == 1 or len(slices) == 1:  # a pool takes a tenth of what the answer to one face does
        return collect(map(answer, slices))
    with ThreadPoolExecutor(threads) as pool:
        return collect(pool.map(answer, slices))


def converted(run: Path, epoch: int) -> bytes:
    """A checkpoint as ONNX, made by `python -m fer_core export onnx` in a process of its own: PyTorch's exporter is not
    safe while other threads use the network, and would take turns with them. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "network.onnx"
        command = [sys.executable, "-m", "fer_core", "export", "onnx", f"{run.resolve()}:{epoch}", "--out", str(out)]
        project = Path(__file__).parent.parent
        subprocess.run(command, cwd=project, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=600)
        return out.read_bytes()
