"""Trains the same run again and again and kills itself at one moment after the other; `test_kill_resume.py` starts it.

    python killed_training.py FACES.npz CONFIG.json RUNS

First it trains RUNS/whole to the end. Then, for k = 0, 1, ..., a process of its own trains RUNS/killed-k and dies by
SIGKILL when half of its k-th write is on the disk: a checkpoint, the state, predictions, a line of metrics (one after
each step), or the removal of a checkpoint. The last k is beyond the last write. Runs killed-k-twice are resumed and
killed once more.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from fer_core import runs, training
from fer_core.config import TrainConfig, make_config
from fer_core.data import FaceDataset
from fer_core.runs import Run, create_run


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def kill_within_write(number: int) -> None:
    """From now on, this process dies in the middle of its write `number` (from 0)."""
    writes = 0

    def is_the_one() -> bool:
        nonlocal writes
        writes += 1
        return writes == number + 1

    whole_replacing, whole_append, whole_unlink = runs._replacing, Run.append_metrics, Path.unlink

    @contextmanager
    def replacing(path: Path) -> Iterator[Path]:
        with whole_replacing(path) as aside:
            yield aside
            if path.name != "status.json" and is_the_one():  # the heartbeat is not counted: it depends on the time
                os.truncate(aside, aside.stat().st_size // 2)
                die()

    def append_metrics(run: Run, **record: Any) -> None:
        if is_the_one():
            line = json.dumps(record) + "\n"
            with (run.path / "metrics.jsonl").open("a") as file:
                file.write(line[: len(line) // 2])
            die()
        whole_append(run, **record)

    def unlink(path: Path, missing_ok: bool = False) -> None:
        whole_unlink(path, missing_ok)
        if path.name.startswith("epoch-") and is_the_one():
            die()

    runs._replacing = replacing
    Run.append_metrics = append_metrics  # type: ignore[method-assign, assignment]
    Path.unlink = unlink  # type: ignore[method-assign, assignment]


def in_a_process(work: Callable[[], None]) -> int:
    """Runs `work` in a forked process; returns the number of the signal that killed it, 0 for none."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("the training failed")
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def train(run: Run, config: TrainConfig, faces: FaceDataset, write: int, resume: bool = False) -> int:
    """Trains until the write `write` or to the end; returns the signal that ended it."""

    def work() -> None:
        kill_within_write(write)
        training.fit(config, faces, run, "cpu", resume=resume)

    return in_a_process(work)


def main() -> None:
    stored = np.load(sys.argv[1])
    faces = FaceDataset(stored["images"], stored["emotions"], stored["splits"], stored["ids"], "Patterns")
    config = make_config(json.loads(Path(sys.argv[2]).read_text()))
    root = Path(sys.argv[3])
    torch.set_num_threads(1)  # no thread before the fork
    training.SECONDS_BETWEEN_RECORDS = 0.0
    info = training.run_info(config, faces, "cpu")
    training.fit(config, faces, create_run(root, "whole", info), "cpu")
    writes = 0
    while train(create_run(root, f"killed-{writes}", info), config, faces, writes) == signal.SIGKILL:
        writes += 1
    for number in range(0, writes, 4):
        run = create_run(root, f"killed-{number}-twice", info)
        train(run, config, faces, number)
        train(run, config, faces, 3, resume=True)


if __name__ == "__main__":
    main()
