"""One to four faces at a time by ONNX Runtime, which answers about twice as fast as eager PyTorch there.

`python -m benchmarks.inference_speed` prints by how much on a machine. bfloat16 is faster on many faces, but moves the
probabilities of trained networks by a hundredth or two; torch.compile is of no use on one face.

So more faces than a few stay with PyTorch in full precision: what is scored is then what a training stores, bit by bit.
"""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fer_core.onnx_export import INPUT, OUTPUTS, open_session

MAX_FACES = 4
CALLS = 20  # before the conversion begins: a webcam, a service or a loop asks that often, a person who clicks hardly
TOLERANCE = 1e-5  # the most by which a probability may differ from eager PyTorch's; measured: 1e-7

logger = logging.getLogger(__name__)


class FewFaces:
    """Answers for a few faces: PyTorch's at first, ONNX Runtime's once the network has been converted.

    convert   the network as `fer_core.onnx_export.to_onnx` writes it; called once, in a thread of its own

    The conversion takes seconds, so it begins only after CALLS calls, and nobody waits for it. Its first answer is used
    only where it is within TOLERANCE of PyTorch's. Where onnxruntime is not installed or anything fails, PyTorch goes
    on answering. May be called from several threads at once.
    """

    def __init__(self, convert: Callable[[], bytes]) -> None:
        self._convert = convert
        self._lock = threading.Lock()
        self._calls = 0
        self._session: Any = None
        self._trusted = False

    def __call__(self, faces: np.ndarray, eager: Callable[[], np.ndarray]) -> np.ndarray:
        """Probabilities float32 (N, 7) of uint8 faces (N, 48, 48); `eager` gives those of PyTorch."""
        session = self._session
        if session is None:
            self._count()
            return eager()
        answer: np.ndarray = session.run(OUTPUTS[:1], {INPUT: faces})[0]
        if self._trusted:
            return answer
        expected = eager()
        self._trusted = bool(np.abs(answer - expected).max() <= TOLERANCE)
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


def converted(run: Path, epoch: int) -> bytes:
    """A checkpoint as ONNX, made by `python -m fer_core export onnx` in a process of its own: PyTorch's exporter is not
    safe while other threads use the network, and would take turns with them. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "network.onnx"
        command = [sys.executable, "-m", "fer_core", "export", "onnx", f"{run.resolve()}:{epoch}", "--out", str(out)]
        project = Path(__file__).parent.parent
        subprocess.run(command, cwd=project, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=600)
        return out.read_bytes()
