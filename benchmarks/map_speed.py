"""How long what the Map page shows takes: in the core beside the plain way, and on screen in Chromium.

    python -m benchmarks.map_speed [--data PATH] [--split validation] [--umap] [--clicks 20]

The plain way is what notebooks do: scikit-learn's exact PCA, and neighbours by a loop over the faces. It is timed on up
to 3,589 faces and, for more, told as many times as there are more. On screen: the page from a link when its features
are known already, a clicked point until its face and neighbours stand there, a lasso until its faces do; timed as in
`benchmarks.click_latency`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from benchmarks.click_latency import RUN, Times, machine_line, open_page, print_table, server, settle, timed, visit
from fer_core.data import FaceDataset, demo_faces, load_dataset
from fer_core.explain.embedding import split_features
from fer_core.explain.neighbours import agreement, nearest
from fer_core.explain.projection import aligned, principal_components, umap_map
from fer_core.runs import CHECKPOINTS, find_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

T = TypeVar("T")
FEW = 3589  # faces on which the plain way is timed
TARGET_NEIGHBOURS = 50  # ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the demo faces without it")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--umap", action="store_true", help="time UMAP too")
    parser.add_argument("--clicks", type=int, default=20, help="of each kind; 0 for none")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    faces = (load_dataset(options.data) if options.data else demo_faces()).split(options.split)
    run = find_run(RUN)
    epoch = run.best_epoch()
    assert epoch is not None
    print(f"{machine_line()}; {RUN}:{epoch}, {len(faces):,} faces of {faces.name}, {options.split}\n")
    print("| what | this project | plain | faster by |")
    print("| --- | ---: | ---: | ---: |")
    with own_cache():
        first, features = spent(lambda: split_features(run, epoch, faces))
        row(f"features, D = {features.shape[1]:,}, the first time, s", first)
        row("the same from the cache, s", spent(lambda: split_features(run, epoch, faces))[0])
    core(features, faces, options.umap)
    if options.clicks:
        print()
        print_table(on_screen(options.data, options.split, options.chromium, options.clicks))


def core(features: np.ndarray, faces: FaceDataset, with_umap: bool) -> None:
    few = features[:FEW]
    more = len(features) / len(few)
    seconds, components = spent(lambda: principal_components(features))
    row("two principal components, s", seconds, spent(lambda: exact_pca(few))[0] * more)
    lengths = np.linalg.norm(features, axis=1)
    asked = np.random.default_rng(0).integers(0, len(few), 21)
    ours = median(spent(partial(nearest, features, int(i), lengths=lengths))[0] for i in asked)
    plain = median(spent(partial(loop_neighbours, few, int(i)))[0] for i in asked[:3]) * more
    row("10 nearest neighbours of a face, ms", 1000 * ours, 1000 * plain)
    row("how often neighbours share a label, s", spent(lambda: agreement(features, faces.emotions))[0])
    turned = components.coordinates[:, ::-1]
    row("laying one map over another, ms", 1000 * spent(lambda: aligned(turned, components.coordinates))[0])
    if with_umap:
        spent(lambda: umap_map(features[:100]))  # which compiles it
        row("UMAP, s", spent(lambda: umap_map(features))[0])
    print(f"\nNeighbours are to take at most {TARGET_NEIGHBOURS} ms.")


def exact_pca(features: np.ndarray) -> np.ndarray:
    from sklearn.decomposition import PCA

    made: np.ndarray = PCA(2, svd_solver="full").fit_transform(features)
    return made


def loop_neighbours(features: np.ndarray, row: int) -> list[int]:
    """One face after the other."""
    asked = features[row]
    distances = [1 - float(asked @ each) / float(np.linalg.norm(asked) * np.linalg.norm(each)) for each in features]
    return [i for i in np.argsort(distances).tolist() if i != row][:10]


def row(what: str, ours: float, plain: float | None = None) -> None:
    rest = f"{plain:.3g} | {plain / ours:.1f}x" if plain is not None else " | "
    print(f"| {what} | {ours:.3g} | {rest} |", flush=True)


def spent(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds, and what came of it."""
    began = time.perf_counter()
    made = work()
    return time.perf_counter() - began, made


@contextmanager
def own_cache() -> Iterator[None]:
    before = os.environ.get("FER_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FER_CACHE"] = folder
        try:
            yield
        finally:
            os.environ.pop("FER_CACHE")
            if before is not None:
                os.environ["FER_CACHE"] = before


# -- on screen -------------------------------------------------------------------------------------

DRAWN = "roots().some(root => root.querySelector('.map')?.owner.panels[0]?.pixels)"
ROOTS = """() => { window.roots = () => [document, ...[...document.querySelectorAll('[data-testid=stMain] *')]
  .flatMap(each => each.shadowRoot ? [each.shadowRoot] : [])];
  window.map = () => roots().map(root => root.querySelector('.map')).find(Boolean)?.owner; }"""


def on_screen(data: Path | None, split: str, chromium: str, count: int) -> Times:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        shutil.copytree(CHECKPOINTS / RUN, Path(folder, "runs", RUN))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with server(Path(folder), data) as (url, _):
            page = open_page(browser)
            page.add_init_script(f"({ROOTS})()")
            link = {"split": split.capitalize()}
            visit(page, url, "map", **link)
            page.wait_for_function(DRAWN)
            opened = [first_paint(page, url, link) for _ in range(6)][1:]
            clicks = [click(page, n) for n in range(count + 1)][1:]
            visit(page, url, "map", **link)
            page.wait_for_function(DRAWN)
            lassos = [lasso(page, n) for n in range(count + 1)][1:]
        browser.close()
    print(f"the page from a link, features known: median {median(opened):.2f} s until the points are drawn\n")
    return {"a point": clicks, "a lasso": lassos}


def first_paint(page: Page, url: str, link: dict[str, str]) -> float:
    """Seconds from the link to the points on screen."""
    began = time.monotonic()
    page.goto(f"{url}/map?split={link['split']}", wait_until="commit")
    page.wait_for_function(DRAWN)
    seconds = time.monotonic() - began
    settle(page)
    return seconds


def place(page: Page) -> dict[str, float]:
    box = page.locator(".stage").bounding_box()
    assert box is not None
    return {"x": box["x"], "y": box["y"], "width": box["width"], "height": box["height"]}


def click(page: Page, number: int) -> tuple[float, float]:
    """The heading names another face, and its ten neighbours are there."""
    points, box = page.evaluate("Array.from(map().panels[0].pixels)"), place(page)
    chosen = 2 * (37 * number % (len(points) // 2))
    x, y = box["x"] + 1 + points[chosen], box["y"] + 1 + points[chosen + 1]
    before = page.evaluate("text().match(/Nearest neighbours of (\\S+)/)?.[1] ?? ''")
    shown = f"(text().match(/Nearest neighbours of (\\S+)/)?.[1] ?? {before!r}) !== {before!r} && tiles().length === 10"
    return timed(page, lambda: page.mouse.click(x, y), shown)


def lasso(page: Page, number: int) -> tuple[float, float]:
    """Another number of faces is told, and the gallery shows faces."""
    box = place(page)
    before = page.evaluate("text().match(/([\\d,]+) faces selected/)?.[1] ?? ''")
    shown = f"(text().match(/([\\d,]+) faces selected/)?.[1] ?? {before!r}) !== {before!r} && tiles().length > 0"
    reach = 60 + 7 * number
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def draw() -> None:
        page.mouse.move(x - reach, y - reach)
        page.mouse.down()
        for dx, dy in ((reach, -reach), (reach, reach), (-reach, reach)):
            page.mouse.move(x + dx, y + dy)
        page.mouse.up()

    return timed(page, draw, shown)


if __name__ == "__main__":
    main()
