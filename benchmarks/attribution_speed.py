"""How long 16 faces take: attributions as the dashboard asks for them, beside the plain way.

    python -m benchmarks.attribution_speed [--repeats 20]

The plain way is what notebooks do: one face at a time, `loss.backward()`, and for Grad-CAM a forward and a backward
hook that are set anew for each face. Both ways run in turn, so that a busy machine slows them alike; the median counts.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from fer_core.data import demo_faces
from fer_core.explain.attribution import METHODS, attribute
from fer_core.explain.gradients import laid_over
from fer_core.explain.layers import find_layer
from fer_core.runs import Checkpoint, find_run

FACES = 16
LAYER = "res2.1"  # the last block of report-resnet
TARGETS = {"saliency": 100, "grad-cam": 50}  # ms, warm, on 2 cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    checkpoint = find_run("report-resnet").load_checkpoint()
    faces = demo_faces().images[:FACES]

    agree(checkpoint, faces)
    print(f"{checkpoint.run}:{checkpoint.epoch}, {FACES} demo faces, {options.repeats} repeats, {hardware()}\n")
    print("| method | this project, ms | plain, ms | faster by | target, ms |")
    print("| --- | ---: | ---: | ---: | ---: |")
    plain = {"saliency": plain_saliency, "grad-cam": plain_grad_cam}
    for method, reference in plain.items():
        ways = partial(attribute, checkpoint, faces, method), partial(reference, checkpoint, faces)
        ours, theirs = in_turn(*ways, options.repeats)
        times = f"{theirs / ours:.1f}x"
        print(f"| {METHODS[method].title} | {ours:.0f} | {theirs:.0f} | {times} | at most {TARGETS[method]} |")
    for method in METHODS:
        if method not in plain:
            spent = [timed(partial(attribute, checkpoint, faces, method)) for _ in range(3)]
            print(f"| {METHODS[method].title} | {statistics.median(spent):.0f} | | | |")


def plain_saliency(checkpoint: Checkpoint, faces: np.ndarray) -> np.ndarray:
    """One face at a time, by loss.backward()."""
    maps = []
    for face in faces:
        x = checkpoint.preprocess(face[None])
        x.requires_grad_()
        logits = checkpoint.model(x)
        checkpoint.model.zero_grad()
        logits[0, logits.argmax()].backward()
        assert x.grad is not None
        maps.append(x.grad[0, 0].numpy() / (255 * checkpoint.preprocess.std))
    checkpoint.model.zero_grad(set_to_none=True)
    return np.stack(maps)


def keep(kept: dict[str, torch.Tensor], name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
    kept[name] = output[0].detach() if isinstance(output, tuple) else output.detach()


def plain_grad_cam(checkpoint: Checkpoint, faces: np.ndarray) -> np.ndarray:
    """One face at a time, with a forward and a backward hook on the last block; at the layer's own size."""
    layer = checkpoint.model.get_submodule(LAYER)
    maps = []
    for face in faces:
        kept: dict[str, torch.Tensor] = {}
        forward = layer.register_forward_hook(partial(keep, kept, "values"))
        backward = layer.register_full_backward_hook(partial(keep, kept, "slopes"))
        x = checkpoint.preprocess(face[None]).requires_grad_()
        logits = checkpoint.model(x)
        checkpoint.model.zero_grad()
        logits[0, logits.argmax()].backward()
        forward.remove()
        backward.remove()
        maps.append((kept["slopes"].mean(dim=(2, 3), keepdim=True) * kept["values"]).sum(dim=1)[0].numpy())
    checkpoint.model.zero_grad(set_to_none=True)
    return np.stack(maps)


def agree(checkpoint: Checkpoint, faces: np.ndarray) -> None:
    """Both ways give the same maps: else their times could not be compared."""
    ours = attribute(checkpoint, faces, "saliency").maps
    np.testing.assert_allclose(ours, plain_saliency(checkpoint, faces), atol=1e-3 * np.abs(ours).max())
    cam = torch.from_numpy(plain_grad_cam(checkpoint, faces))
    laid = laid_over(cam, find_layer(checkpoint.model, LAYER).output).numpy()
    whole = attribute(checkpoint, faces, "grad-cam", layer=LAYER).maps
    np.testing.assert_allclose(whole, laid, atol=1e-3 * np.abs(laid).max())


def in_turn(one: Callable[[], Any], other: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Median milliseconds of both, after a warm-up."""
    one(), other()
    pairs = [(timed(one), timed(other)) for _ in range(repeats)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def hardware() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores ({platform.machine()}), torch {torch.__version__}, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
