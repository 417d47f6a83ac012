"""How long what the Layers page shows takes: in the core beside the plain way, and on screen after a click.

    python -m benchmarks.layers_speed [--data PATH] [--clicks 40] [--chromium /usr/bin/chromium]

The plain way is what notebooks do: hooks set anew for each layer and the whole network run for it; one picture at a
time climbing by `loss.backward()`; one pass over the faces for each layer. It is timed on a few channels and faces, and
the table tells it for as many as this project did. Clicks are timed as in `benchmarks.click_latency`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from playwright.sync_api import Page, sync_playwright
from torch import Tensor, nn

from benchmarks.click_latency import RUN, Times, machine_line, open_page, print_table, repeated, server, timed, visit
from fer_core.data import FaceDataset, demo_faces, load_dataset
from fer_core.explain.features import feature_maps
from fer_core.explain.layers import conv_layers
from fer_core.explain.maximisation import Ascent, maximise
from fer_core.explain.top_faces import top_faces
from fer_core.runs import CHECKPOINTS, Checkpoint, find_run

SHEET = "res2.1"
FEW_CHANNELS, FEW_FACES = 4, 1024  # on which the plain way is timed
TARGET_TOP_FACES = 60  # s for FER2013's 28,709 training faces, the first time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the demo faces without it")
    parser.add_argument("--clicks", type=int, default=40, help="of each kind; 0 for none")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    checkpoint = find_run(RUN).load_checkpoint()
    faces = (load_dataset(options.data) if options.data else demo_faces()).split("train")

    print(f"{machine_line()}; {checkpoint.run}:{checkpoint.epoch}, {len(faces):,} faces of {faces.name}\n")
    print("| what | this project | plain | faster by |")
    print("| --- | ---: | ---: | ---: |")
    row("feature maps of one layer, ms", *(1000 * seconds for seconds in maps(checkpoint, faces)))
    row(f"the sheet of {SHEET}, 96 channels, s", *sheet(checkpoint))
    first, again, plain = top(checkpoint, faces)
    row(f"top faces of all layers among {len(faces):,}, s", first, plain)
    row("the same again, from the cache, ms", 1000 * again)
    print(f"\nTop faces are to take at most {TARGET_TOP_FACES} s for 28,709 faces.\n")
    if options.clicks:
        print_table(on_screen(options.data, options.chromium, options.clicks))


def row(what: str, ours: float, plain: float | None = None) -> None:
    rest = f"{plain:.3g} | {plain / ours:.1f}x" if plain is not None else " | "
    print(f"| {what} | {ours:.3g} | {rest} |", flush=True)


def spent(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def maps(checkpoint: Checkpoint, faces: FaceDataset) -> tuple[float, float]:
    """The median over layers and faces, both ways in turn."""
    ours, plain = [], []
    names = list(conv_layers(checkpoint.model))
    for i in range(31):
        face, name = faces.images[i : i + 1], names[i % len(names)]
        ours.append(spent(partial(feature_maps, checkpoint, face, name)))
        plain.append(spent(partial(plain_maps, checkpoint, face, name)))
    return median(ours[1:]), median(plain[1:])


def plain_maps(checkpoint: Checkpoint, faces: np.ndarray, name: str) -> Tensor:
    kept: list[Tensor] = []
    handle = checkpoint.model.get_submodule(name).register_forward_hook(lambda _m, _i, output: kept.append(output))
    checkpoint.model(checkpoint.preprocess(faces))
    handle.remove()
    return kept[0].detach().relu()


def sheet(checkpoint: Checkpoint) -> tuple[float, float]:
    maximise(checkpoint, SHEET, [0], ascent=Ascent(steps=2))
    ours = spent(lambda: maximise(checkpoint, SHEET))
    plain = spent(lambda: [plain_climb(checkpoint, channel) for channel in range(FEW_CHANNELS)])
    return ours, plain * conv_layers(checkpoint.model)[SHEET].channels / FEW_CHANNELS


def plain_climb(checkpoint: Checkpoint, channel: int) -> Tensor:
    """In pixels, without the regulariser, as many steps."""
    kept: list[Tensor] = []
    block = checkpoint.model.get_submodule(SHEET)
    handle = block.register_forward_hook(lambda _m, _i, output: kept.append(output))
    picture = nn.Parameter(0.1 * torch.randn(1, 1, 48, 48))
    optimizer = torch.optim.Adam([picture], lr=0.05)
    for _ in range(Ascent().steps):
        optimizer.zero_grad()
        checkpoint.model(picture)
        (-kept.pop()[0, channel].mean()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    handle.remove()
    checkpoint.model.zero_grad(set_to_none=True)
    return picture


def top(checkpoint: Checkpoint, faces: FaceDataset) -> tuple[float, float, float]:
    """The first time, the second time, and the plain way, in a cache of their own."""
    run, before = find_run(RUN), os.environ.get("FER_CACHE")
    _ = faces.fingerprint  # the dashboard has it by then
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FER_CACHE"] = folder
        first, again = (spent(lambda: top_faces(run, checkpoint.epoch, faces)) for _ in range(2))
    os.environ.pop("FER_CACHE")
    if before is not None:
        os.environ["FER_CACHE"] = before
    few = faces.images[:FEW_FACES]
    plain = spent(lambda: [plain_top(checkpoint, few, name) for name in conv_layers(checkpoint.model)])
    return first, again, plain * len(faces) / len(few)


def plain_top(checkpoint: Checkpoint, faces: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Where each channel is highest on each face, and the faces in that order."""
    with torch.no_grad():
        parts = [plain_maps(checkpoint, faces[i : i + 64], name).flatten(2).numpy() for i in range(0, len(faces), 64)]
    units, highest = (np.concatenate([each(part, axis=2) for part in parts]) for each in (np.argmax, np.max))
    return units, np.argsort(-highest, axis=0)


# -- on screen -------------------------------------------------------------------------------------


def on_screen(data: Path | None, chromium: str, count: int) -> Times:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        shutil.copytree(CHECKPOINTS / RUN, Path(folder, "runs", RUN))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with server(Path(folder), data) as (url, _):
            page = open_page(browser)
            visit(page, url, "layers", checkpoint=f"{RUN}:{find_run(RUN).best_epoch()}", layer="conv2")
            channels = repeated(another_channel(page, n) for n in range(count + 1))
            layers = repeated(another_layer(page, name) for name in names(count))
        browser.close()
    return {"another channel": channels, "another layer": layers}


def names(count: int) -> Iterator[str]:
    there = list(conv_layers(find_run(RUN).load_checkpoint().model))
    return (there[i % len(there)] for i in range(count + 1))


def another_channel(page: Page, number: int) -> tuple[float, float]:
    """The tile is marked, and the channel is shown large with its number in the list."""
    button = page.locator("button.tile").nth(7 * number % 90 + number % 2)
    channel = str(button.get_attribute("title")).split(":")[0]
    return timed(page, button.click, f"pressed() === {channel!r} && text().includes('{channel}, number ')")


def another_layer(page: Page, name: str) -> tuple[float, float]:
    """The line below the controls names the layer, and its maps are there."""
    box = page.get_by_role("combobox", name="Layer")
    box.click()
    box.fill(name)
    before = page.evaluate("tiles().map(tile => tile.title).join()")
    shown = f"text().includes('{name} of {RUN}') && tiles().map(tile => tile.title).join() !== {before!r}"
    return timed(page, page.get_by_role("option", name=name, exact=True).click, shown)


if __name__ == "__main__":
    main()
