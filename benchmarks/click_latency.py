"""How long a click in the dashboard takes until its result is on screen, in Chromium over a server that this starts.

    python -m benchmarks.click_latency [--data PATH] [--clicks 40] [--chromium /usr/bin/chromium]

Real mouse clicks and keys on the run that ships, on the faces at --data or the demo faces. Every kind is done once
before it counts, and every epoch looked at once. Time runs in the page: from the browser's own time stamp of the click
to the frame after the one in which the expected content stood there. "settled" is when the script has ended too and
nothing on the page is older than the click.

Before that the server is started --starts times: from the start of its process to the first page with its faces on
screen, with the browser open already.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

import numpy as np
import torch
from playwright.sync_api import Browser, Page, sync_playwright

from fer_core.labels import EMOTIONS
from fer_core.provenance import describe_machine
from fer_core.runs import CHECKPOINTS, Run

ROOT = Path(__file__).parent.parent
RUN = "report-resnet"
TARGET = 300  # ms, 95 of 100 clicks
PATIENCE = 60_000  # ms
Times = dict[str, list[tuple[float, float]]]  # by kind: ms to "on screen", ms to "settled"

# Arms one measurement: from the next click or key to the first frame in which `shown` holds, and to the first in which
# the script has ended as well. A frame more passes before a time is taken: until then it is drawn, not on screen.
MEASURE = """
(shown) => {
  const holds = new Function('return ' + shown);
  const ended = () => document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'
    && !document.querySelector('[data-stale=true]');
  window.measured = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`this did not come: ${shown.slice(0, 200)}; on screen: ${onScreen} ms`)), 30000);
    let began = null, onScreen = null;
    const start = event => { began ??= event.timeStamp; };
    for (const kind of ['click', 'keydown']) document.addEventListener(kind, start, { capture: true, once: true });
    const look = () => {
      if (began !== null && onScreen === null && holds())
        requestAnimationFrame(() => { onScreen = performance.now() - began; });
      if (onScreen !== null && holds() && ended())
        requestAnimationFrame(() => resolve([onScreen, performance.now() - began]));
      else requestAnimationFrame(look);
    };
    look();
  });
}
"""
TILES = "[...document.querySelectorAll('[data-testid=stMain] *')].flatMap(e => e.shadowRoot ? [e.shadowRoot] : [])"
PRELUDE = f"""
() => {{
  const roots = () => [document, ...{TILES}];
  window.tiles = () => roots().flatMap(root => [...root.querySelectorAll('button.tile')]);
  window.pressed = () => tiles().filter(tile => tile.ariaPressed === 'true').map(tile => tile.title.split(':')[0])[0];
  window.text = () => document.querySelector('[data-testid=stMain]').innerText;
  window.picture = () => document.querySelector('[data-testid=stImage] img')?.src;
  window.matrix = () => [...document.querySelectorAll("path[aria-label^='Predicted: ']")]
    .map(path => path.ariaLabel).join();
}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the demo faces without it")
    parser.add_argument("--clicks", type=int, default=40, help="of each kind")
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        shutil.copytree(CHECKPOINTS / RUN, Path(folder, "runs", RUN))
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox"])
        print(machine_line())
        starts = [first_page(browser, Path(folder), arguments.data) for _ in range(arguments.starts)]
        told = ", ".join(f"{seconds:.2f}" for seconds in starts)
        print(f"first page on screen: median {median(starts):.2f} s after the server's start ({told})\n", flush=True)
        with server(Path(folder), arguments.data) as (url, _):
            page = open_page(browser)
            times = clicks(page, url, Path(folder, "runs"), arguments.clicks)
        print_table(times)
        browser.close()


def machine_line() -> str:
    machine = describe_machine(torch.device("cpu"))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    return f"{machine['device']}, {machine['cores']} cores; load {load}"


# -- the server ------------------------------------------------------------------------------------


@contextmanager
def server(folder: Path, data: Path | None) -> Iterator[tuple[str, float]]:
    """The dashboard over a folder's runs; yields its URL and the time when its process was started."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FER_")}
    environment |= {"FER_RUNS": f"{folder}/runs", "FER_CACHE": f"{folder}/cache", "PYTHONPATH": str(ROOT)}
    environment |= {"FER_DATA": str(data.resolve())} if data else {}
    command = [sys.executable, "-m", "streamlit", "run", "dashboard/Home.py", "--server.headless", "true"]
    began = time.monotonic()
    process = subprocess.Popen(
        [*command, "--server.port", str(port)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://localhost:{port}"
        while not answers(url):
            if process.poll() is not None:
                raise SystemExit("The server ended; start it by hand: streamlit run dashboard/Home.py")
            time.sleep(0.02)
        yield url, began
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health") as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def open_page(browser: Browser) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.set_default_timeout(PATIENCE)
    page.add_init_script(f"({PRELUDE})()")
    return page


def first_page(browser: Browser, folder: Path, data: Path | None) -> float:
    """Seconds from the start of the server's process to Home with its faces, in a browser that knows nothing of it."""
    page = open_page(browser)
    with server(folder, data) as (url, began):
        page.goto(url, wait_until="commit")
        page.wait_for_function("document.querySelector('h1') && tiles().length > 0")
        seconds = time.monotonic() - began
    page.context.close()
    return seconds


# -- clicks ----------------------------------------------------------------------------------------


def clicks(page: Page, url: str, runs: Path, count: int) -> Times:
    """All kinds of clicks, `count` of each that counts."""
    epochs, best = Run(runs / RUN).epochs(), Run(runs / RUN).best_epoch()
    times: Times = {}

    visit(page, url, "samples", checkpoint=f"{RUN}:{best}")
    size = page.evaluate("tiles().length")
    order = np.random.default_rng(0).permutation(np.arange(count + 1) % size).tolist()
    times["another face"] = repeated(another_face(page, tile) for tile in without_repeats(order))
    times["another filter"] = repeated(another_filter(page, n) for n in range(count + 3))[2:]

    visit(page, url, "confusion")
    visit(page, url, "confusion", checkpoint=f"{RUN}:{epochs[-1]}", scored=faces_at_hand(page))
    for epoch in epochs:
        by_dropdown(page, epoch)
    times["another epoch, dropdown"] = repeated(by_dropdown(page, epochs[n % len(epochs)]) for n in range(count + 1))
    times["another epoch, slider"] = repeated(by_slider(page, epochs, n) for n in range(count + 1))
    cells = itertools.cycle([(i, j) for i in range(7) for j in range(7)])
    times["another cell"] = repeated(another_cell(page, *next(cells)) for _ in range(count + 1))
    return times


def repeated(measured: Iterator[tuple[float, float]]) -> list[tuple[float, float]]:
    """All but the first, which made this kind of click warm."""
    return list(measured)[1:]


def without_repeats(order: list[int]) -> list[int]:
    """A tile that is open already shows nothing new when it is clicked."""
    return [tile if tile != before else (tile + 1) for before, tile in itertools.pairwise([-1, *order])]


def visit(page: Page, url: str, name: str, **query: str) -> None:
    page.goto(f"{url}/{name}?{urlencode(query)}")
    settle(page)


def settle(page: Page) -> None:
    page.wait_for_function(
        "document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"
        " && document.querySelector('h1') && !document.querySelector('[data-stale=true]')"
    )
    page.wait_for_timeout(300)  # a person looks first; what the page does after its last frame is not this click's


def timed(page: Page, act: Callable[[], None], shown: str) -> tuple[float, float]:
    """Do something; ms until the JavaScript condition `shown` holds on screen, and until all has settled."""
    page.evaluate(MEASURE, shown)
    act()
    on_screen, settled = page.evaluate("window.measured")
    page.wait_for_timeout(100)
    return float(on_screen), float(settled)


def another_face(page: Page, tile: int) -> tuple[float, float]:
    """The tile is marked, and the panel shows this face's name and picture."""
    button = page.locator("button.tile").nth(tile)
    face = str(button.get_attribute("title")).split(":")[0]
    before = page.evaluate("picture()")
    shown = f"pressed() === {face!r} && text().includes({face!r}) && picture() && picture() !== {before or ''!r}"
    return timed(page, button.click, shown)


def another_filter(page: Page, number: int) -> tuple[float, float]:
    """The gallery holds other faces than before, and the number above it is another."""
    outcome = ("Right", "Wrong", "All")[number % 3]
    before = page.evaluate("tiles().map(tile => tile.title).join()")
    shown = f"tiles().map(tile => tile.title).join() !== {before!r} && tiles().length > 0"
    marks = {"Right": "tiles().every(tile => tile.innerText.includes('✓'))",
             "Wrong": "tiles().every(tile => tile.innerText.includes('✗'))"}  # fmt: skip
    return timed(page, page.get_by_role("radio", name=outcome).click, f"{shown} && {marks.get(outcome, 'true')}")


def faces_at_hand(page: Page) -> str:
    """The entry of "Scored on" for faces that are here, and not the run's recorded scores."""
    page.get_by_role("combobox", name="Scored on").click()
    return page.get_by_role("option", name=", validation").filter(has_not_text="recorded").inner_text()


def by_dropdown(page: Page, epoch: int) -> tuple[float, float]:
    """The sidebar's dropdown: the line above the matrix names the epoch, and the matrix is another."""
    box = page.get_by_role("combobox", name="Checkpoint")
    box.click()
    box.fill(f"{RUN}:{epoch}")
    option = page.get_by_role("option", name=f"{RUN}:{epoch}", exact=True)
    return timed(page, option.click, _epoch_shown(page, epoch))


def by_slider(page: Page, epochs: list[int], number: int) -> tuple[float, float]:
    """A key on the slider, to and fro."""
    slider = page.get_by_role("slider")
    slider.focus()
    here = epochs.index(int(str(slider.get_attribute("aria-valuetext") or slider.inner_text())))
    last = len(epochs) - 1
    forth = (number // last) % 2 == 0
    step = 1 if (forth and here < last) or here == 0 else -1
    return timed(page, lambda: slider.press("ArrowRight" if step > 0 else "ArrowLeft"),
                 _epoch_shown(page, epochs[here + step]))  # fmt: skip


def _epoch_shown(page: Page, epoch: int) -> str:
    before = page.evaluate("matrix()")
    return f"text().includes('{RUN}:{epoch} on ') && matrix() && matrix() !== {before!r}"


def another_cell(page: Page, true: int, predicted: int) -> tuple[float, float]:
    """The heading below the matrix names the cell, and its faces are there."""
    one, other = EMOTIONS[true], EMOTIONS[predicted]
    cell = page.locator(f"path[aria-label^='Predicted: {other}; True: {one};']")
    label = str(cell.get_attribute("aria-label"))
    count = int(label.split("Faces: ")[1].split(";")[0].replace(",", ""))
    what = f"{one} recognised: " if true == predicted else f"{one} taken for {other}: "
    faces = f"tiles().length === {min(count, 60)} && tiles().every(tile => tile.title.includes(': {one}, '))"
    shown = f"text().includes({what!r}) && " + (faces if count else "text().includes('There are none')")
    page.evaluate("document.querySelector('[data-testid=stMain]').scrollTo(0, 0)")
    box = cell.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    return timed(page, lambda: page.mouse.click(x, y), shown)


def print_table(times: Times) -> None:
    print(f"{'click':26}{'n':>5}{'median':>10}{'p95':>10}{'settled p95':>14}   ms")
    for kind, measured in [*times.items(), ("all", [pair for pairs in times.values() for pair in pairs])]:
        on_screen, settled = np.array(measured).T
        p95 = np.percentile(on_screen, 95)
        verdict = "" if p95 <= TARGET else f"over the {TARGET} ms it should take"
        last = np.percentile(settled, 95)
        print(f"{kind:26}{len(measured):5}{np.median(on_screen):10.0f}{p95:10.0f}{last:14.0f}   {verdict}")


if __name__ == "__main__":
    main()
