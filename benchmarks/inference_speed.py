"""How fast and how accurate every run in checkpoints/ is, beside what a user would pick instead.

    python -m benchmarks.inference_speed --data FER2013 [--cascade student best] [--fer-python PYTHON]
        [--human-dir FOLDER] [--rounds 20]

One face: median and 95th percentile, one thread. Many: images a second in batches of 256, on one and two threads. Timed
from uint8 faces in memory to probabilities in memory; each way in turn, round after round, so that a busy machine slows
all alike, and each time other faces, since a cascade takes longer over some: its second network is asked, over mirror
images, about those to whose emotion the first gives no more than 60 %. Ours gets 48 x 48 faces; for the others the
resizing to 64 x 64 is done before the clock starts. Accuracy is on the validation split of the data (PublicTest of
FER2013). The two others are left out where they are not named:

    PyPI fer:    python3 -m venv ferenv && ferenv/bin/pip install fer==25.10.3       --fer-python ferenv/bin/python
    npm human:   mkdir human && cd human && npm install @vladmandic/human@3.3.6 @tensorflow/tfjs-core@4.22.0 \\
                 @tensorflow/tfjs-converter@4.22.0 @tensorflow/tfjs-backend-wasm@4.22.0             --human-dir human
                 (and @tensorflow/tfjs-node@4.22.0, which fetches its own library, for native speed)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.attribution_speed import hardware
from fer_core.calibration import scaled
from fer_core.cascade import SURE, Cascade, cascaded
from fer_core.commands.export import CALIBRATION_FACES
from fer_core.data import FaceDataset, LoadOptions, open_data
from fer_core.evaluation import Share
from fer_core.inference import Predictor, predict_probabilities
from fer_core.models import count_parameters
from fer_core.onnx_backend import CALLS, TOLERANCE, OnnxBackend, run_in_slices
from fer_core.onnx_export import open_session, quantized, to_onnx
from fer_core.precision import has_fast_bf16
from fer_core.runs import CHECKPOINTS, list_runs

RIVALS = Path(__file__).parent / "rivals"
CPU = torch.device("cpu")
BATCH = 256
PREDICTOR, INT8 = "Predictor", "ONNX Runtime, int8"
CALLS_A_ROUND = {1: 20, BATCH: 1}
ACCURACY_GOAL, THROUGHPUT_GOAL = 6.0, 2.0  # points more than the others, times their images a second

Answer = Callable[[np.ndarray], np.ndarray]


@dataclass
class Contender:
    """A network and a way to run it. `measure(batch, calls)` gives seconds a call, after one uncounted."""

    network: str
    way: str
    accuracy: Share
    measure: Callable[[int, int], list[float]]
    difference: float | None = None
    """The largest difference of a probability from eager PyTorch over one batch; None for others' networks."""


@dataclass
class Row:
    """What is known of a network run in one way. `seconds` a call by (threads, faces a call)."""

    accuracy: Share
    difference: float | None
    seconds: dict[tuple[int, int], list[float]] = field(default_factory=lambda: defaultdict(list))

    def milliseconds(self, quantile: float) -> float:
        """Of one face on one thread."""
        return 1000 * float(np.quantile(self.seconds[1, 1], quantile))

    def images_a_second(self, threads: int) -> float:
        seconds = self.seconds.get((threads, BATCH))
        return BATCH / statistics.median(seconds) if seconds else float("nan")


Table = dict[tuple[str, str], Row]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="labelled faces; the demo faces without it")
    parser.add_argument("--runs", type=Path, default=CHECKPOINTS)
    parser.add_argument("--only", nargs="+", metavar="RUN", help="these runs alone")
    parser.add_argument("--cascade", nargs=2, metavar="RUN", default=(), help="two of these runs together, too")
    parser.add_argument("--fer-python", type=Path, help="a Python that has fer 25.10.3")
    parser.add_argument("--human-dir", type=Path, help="a folder in which @vladmandic/human 3.3.6 is installed")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--skip-compile", action="store_true", help="leave out torch.compile, which takes minutes")
    options = parser.parse_args()
    dataset = open_data(options.data, LoadOptions())
    faces, calibration = dataset.split("validation").labelled(), dataset.split("train").images[:CALIBRATION_FACES]
    runs = [run for run in list_runs(options.runs) if run.epochs() and run.name in (options.only or [run.name])]
    print(f"{hardware()}; {faces.name}, validation split, n = {len(faces):,}; {options.rounds} rounds\n")

    torch._dynamo.config.recompile_limit = 1000  # many networks of one class, in two sizes of batch
    table: Table = {}
    networks = {run.name: exported(Predictor.load(run), calibration) for run in runs}
    for threads in range(1, 1 + min(2, cores())):
        torch.set_num_threads(threads)
        torch._dynamo.reset()  # what was compiled for another number of threads
        with ExitStack() as stack:
            contenders: list[Contender] = []
            for one in networks.values():
                ways = backends(one, threads, faces.images[:1], not options.skip_compile)
                contenders += contenders_of(one.title, ways, faces)
            if options.cascade:
                first, second = (networks[name] for name in options.cascade)
                ways = cascades(first, second, threads, faces.images[:1])
                contenders += contenders_of(f"{first.predictor}, then {second.predictor}", ways, faces)
            contenders += [stack.enter_context(one) for one in others(options, faces, threads)]
            race(contenders, threads, options.rounds, table)
    print_times(table)
    print_goals(table)
    for name, option in (("fer", options.fer_python), ("@vladmandic/human", options.human_dir)):
        if option is None:
            print(f"{name} was left out; --help says how to set it up.")


def race(contenders: list[Contender], threads: int, rounds: int, table: Table) -> None:
    """Each in turn, round after round; one face is of interest on one thread only."""
    for _ in range(rounds):
        for one in contenders:
            row = table.setdefault(row_of(one, table), Row(one.accuracy, one.difference))
            for batch, calls in CALLS_A_ROUND.items() if threads == 1 else [(BATCH, 1)]:
                row.seconds[threads, batch] += one.measure(batch, calls)


def row_of(one: Contender, table: Table) -> tuple[str, str]:
    """Of another's network the row that it has: it may be run in another way on two threads."""
    theirs = (key for key in table if one.difference is None and key[0] == one.network)
    return next(theirs, (one.network, one.way))


# -- ours -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """A checkpoint, and its ONNX exports; `int8` is None without faces to calibrate it on."""

    predictor: Predictor
    onnx: bytes
    int8: bytes | None

    @property
    def title(self) -> str:
        return f"{self.predictor} ({count_parameters(self.predictor.checkpoint.model):,} parameters)"


def exported(predictor: Predictor, calibration: np.ndarray) -> Network:
    proto = to_onnx(predictor.checkpoint)
    int8 = quantized(proto, calibration).SerializeToString() if len(calibration) else None
    return Network(predictor, proto.SerializeToString(), int8)


def backends(network: Network, threads: int, face: np.ndarray, compile_too: bool) -> dict[str, Answer]:
    """The ways to run a network; the first, `Predictor`, is what a user gets."""
    model, preprocess = network.predictor.checkpoint.model, network.predictor.checkpoint.preprocess
    predictor = warmed(network, face)
    ways: dict[str, Answer] = {
        PREDICTOR: lambda some: predictor.predict(some).probabilities,
        "PyTorch": lambda some: predict_probabilities(model, preprocess, some, CPU),
        "ONNX Runtime": in_onnx_runtime(network.onnx, threads),
    }
    if has_fast_bf16(CPU):
        ways["PyTorch, bfloat16"] = partial(in_bfloat16, predictor)
    if network.int8:
        ways[INT8] = in_onnx_runtime(network.int8, threads)
    if compile_too:
        compiled: Any = torch.compile(model, dynamic=False)
        ways["PyTorch, compiled"] = lambda some: predict_probabilities(compiled, preprocess, some, CPU)
    return ways


def cascades(first: Network, second: Network, threads: int, face: np.ndarray) -> dict[str, Answer]:
    """The ways to run two networks in a cascade."""
    by_predictors = Cascade(warmed(first, face), warmed(second, face))
    in_pytorch = Cascade(replace(first.predictor, backend=None), replace(second.predictor, backend=None))
    ways: dict[str, Answer] = {
        PREDICTOR: lambda some: by_predictors.predict(some, "flip").probabilities,
        "PyTorch": lambda some: in_pytorch.predict(some, "flip").probabilities,
    }
    if first.int8 and second.int8:
        fast = in_onnx_runtime(first.int8, threads, first.predictor.temperatures.get("none"))
        accurate = in_onnx_runtime(second.int8, threads, second.predictor.temperatures.get("flip"), mirrored=True)
        ways[INT8] = lambda some: cascaded(fast(some), SURE, lambda rows: accurate(some[rows]))
    return ways


def contenders_of(network: str, ways: dict[str, Answer], faces: FaceDataset) -> Iterator[Contender]:
    """Each way with its accuracy: PyTorch's where it answers the same, else its own."""
    expected = ways["PyTorch"](faces.images)
    for way, answer in ways.items():
        difference = float(np.abs(answer(faces.images[:BATCH]) - expected[:BATCH]).max())
        said = expected if difference < TOLERANCE else answer(faces.images)
        yield Contender(network, way, share(said.argmax(axis=1), faces), stopwatch(answer, faces.images), difference)


def in_onnx_runtime(
    content: bytes, threads: int, temperature: float | None = None, *, mirrored: bool = False
) -> Answer:
    session = open_session(content)
    return lambda some: scaled(run_in_slices(session, some, threads, mirrored=mirrored), temperature)


def warmed(network: Network, face: np.ndarray) -> Predictor:
    """A predictor that was asked until it had its faster way for one face, or ten seconds had passed."""
    predictor = replace(network.predictor, backend=OnnxBackend(lambda: network.onnx))
    end = time.monotonic() + 10
    for calls in range(10_000):
        predictor.predict(face)
        if time.monotonic() > end or (predictor.backend and predictor.backend.ready and calls > CALLS):
            break
        time.sleep(0.01)
    return predictor


def in_bfloat16(predictor: Predictor, some: np.ndarray) -> np.ndarray:
    model = predictor.checkpoint.model
    with torch.autocast("cpu", torch.bfloat16):
        return predict_probabilities(lambda x: model(x).float(), predictor.checkpoint.preprocess, some, CPU)


def stopwatch(answer: Answer, faces: np.ndarray) -> Callable[[int, int], list[float]]:
    """A contender's `measure`: each call is about the next faces, from the first again after the last."""
    position = 0

    def measure(batch: int, calls: int) -> list[float]:
        nonlocal position
        seconds = []
        answer(faces[:batch])
        for _ in range(calls):
            some = faces.take(range(position, position + batch), axis=0, mode="wrap")
            position += batch
            began = time.perf_counter()
            answer(some)
            seconds.append(time.perf_counter() - began)
        return seconds

    return measure


# -- the others -------------------------------------------------------------------------------------------------------


def others(options: argparse.Namespace, faces: FaceDataset, threads: int) -> list[AbstractContextManager[Contender]]:
    """Those of which the environment was named."""
    found: list[AbstractContextManager[Contender]] = []
    if options.fer_python:
        command = [options.fer_python, RIVALS / "mini_xception.py"]
        found.append(other("fer 25.10.3 (mini-Xception)", command, faces, threads))
    if options.human_dir:
        command = ["node", RIVALS / "human_emotion.mjs", options.human_dir]
        found.append(other("@vladmandic/human 3.3.6", command, faces, threads))
    return found


@contextmanager
def other(network: str, command: list[Any], faces: FaceDataset, threads: int) -> Iterator[Contender]:
    """A network that runs in a process of its own and answers requests line by line; see `benchmarks/rivals`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "faces.raw"
        faces.images.tofile(file)
        arguments = [*map(str, command), str(file), str(len(faces)), str(threads)]
        process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

        assert process.stdin is not None
        assert process.stdout is not None
        requests, replies = process.stdin, process.stdout

        def ask(**request: Any) -> dict[str, Any]:
            print(json.dumps(request), file=requests, flush=True)
            line = replies.readline()
            if not line:
                raise SystemExit(f"{network} does not answer; run it by hand to see why: {' '.join(arguments)}")
            return dict(json.loads(line))

        try:
            way = ask(batch=1, calls=1)["way"]
            accuracy = share(np.array(ask(emotions=True)["emotions"]), faces)
            yield Contender(network, way, accuracy, lambda batch, calls: list(ask(batch=batch, calls=calls)["seconds"]))
        finally:
            process.kill()
            process.wait()


# -- the tables -------------------------------------------------------------------------------------------------------


def print_times(table: Table) -> None:
    print("| network | way | accuracy (95 % interval) | 1 face, ms | p95, ms | images/s | on 2 threads | differs by |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for (network, way), row in table.items():
        differs = "" if row.difference is None else f"{row.difference:.0e}"
        times = f"{row.milliseconds(0.5):.2f} | {row.milliseconds(0.95):.2f}"
        print(f"| {network} | {way} | {row.accuracy} | {times} | {rates(row)} | {differs} |")


def rates(row: Row) -> str:
    return " | ".join(f"{rate:,.0f}" if np.isfinite(rate := row.images_a_second(n)) else "-" for n in (1, 2))


def print_goals(table: Table) -> None:
    """Each of our networks, as `Predictor` and as an 8-bit export run it, beside each of the others."""
    theirs = {network: row for (network, _), row in table.items() if row.difference is None}
    if not theirs:
        return
    print(
        f"\nGoal: {ACCURACY_GOAL:g} points more accurate, no slower on one face, {THROUGHPUT_GOAL:g} times the images/s"
    )
    print("| ours | beside | points more | 1 face: times as fast | images/s: times | goal |")
    print("| --- | --- | ---: | ---: | ---: | --- |")
    for (network, way), row in table.items():
        for name, rival in theirs.items() if way in (PREDICTOR, INT8) else ():
            points = 100 * (row.accuracy.value - rival.accuracy.value)
            latency = rival.milliseconds(0.5) / row.milliseconds(0.5)
            rate = row.images_a_second(1) / rival.images_a_second(1)
            met = points >= ACCURACY_GOAL and latency >= 1 and rate >= THROUGHPUT_GOAL
            figures = f"{points:+.1f} | {latency:.1f}x | {rate:.1f}x"
            print(f"| {network}, {way} | {name} | {figures} | {'met' if met else 'missed'} |")


def share(emotions: np.ndarray, faces: FaceDataset) -> Share:
    return Share(int((emotions == faces.emotions).sum()), len(faces))


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    main()
