"""A server of the dashboard over copies of the shipped runs, and a Chromium to click in."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.conftest import PATIENCE as SECONDS

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 1000 * SECONDS  # ms


@dataclass(frozen=True)
class Server:
    url: str
    runs: Path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app as a person starts it, on demo faces: its runs, its cache and its `data/` are a folder of this test."""
    folder = tmp_path_factory.mktemp("server")
    (folder / ".streamlit").symlink_to(ROOT / ".streamlit")
    for name in ("report-resnet", "report-cnn"):
        shutil.copytree(ROOT / "checkpoints" / name, folder / "checkpoints" / name)
    for tries_left in (2, 1, 0):  # another program may take the free port before the server does
        url, process = started(folder)
        try:
            if wait_until_healthy(url, process):
                yield Server(url, folder / "checkpoints")
                break
        finally:
            process.terminate()
            process.wait()
        assert tries_left, f"the server ended: {(folder / 'log.txt').read_text()}"
    errors = [line for line in (folder / "log.txt").read_text().splitlines() if "Traceback" in line or "Error:" in line]
    assert errors == [], (folder / "log.txt").read_text()


def started(folder: Path) -> tuple[str, subprocess.Popen[bytes]]:
    """A server on a port that was free a moment ago; what it says goes to log.txt."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "dashboard" / "Home.py")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FER_")}
    environment |= {"FER_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--server.port", str(port), "--server.headless", "true"],
            cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    return f"http://localhost:{port}", process


def wait_until_healthy(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Until it answers; False where it has ended."""
    deadline = time.monotonic() + SECONDS
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=5) as answer:
                if answer.status == 200:
                    return process.poll() is None  # else another program's answer
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.1)
    return False


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}; install chromium to run the browser tests")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """One person's visit: a browser context of its own, and what it asked for and complained about meanwhile."""

    def __init__(self, browser: Any, server: Server, **options: Any) -> None:
        self.server = server
        self.context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
        self.context.set_default_timeout(PATIENCE)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._heard)

    def _heard(self, message: Any) -> None:
        if message.type == "error" and "/_stcore/" not in message.location.get("url", ""):
            self.complaints.append(message.text)

    def open(self, path: str = "", **query: str) -> Any:
        """Goes to a page and waits until its script has run to its end."""
        self.page.goto(f"{self.server.url}/{path}?{urlencode(query)}")
        self.settle()
        return self.page

    def go(self, title: str) -> Any:
        """Clicks a page in the navigation."""
        self.page.get_by_test_id("stSidebarNavLink").filter(has_text=title).click()
        self.page.get_by_role("heading", name=title, exact=True, level=1).wait_for()
        self.settle()
        return self.page

    def settle(self) -> None:
        """Until nothing is being computed, nothing on the page is left from before, and its pictures are there: what
        comes later moves what is to be clicked."""
        self.page.wait_for_function(
            "() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"
            " && document.querySelector('h1') && !document.querySelector('[data-stale=true]')"
            " && [...document.images].every(image => image.complete)"
        )

    def download(self, name: str) -> Any:
        """What a button gives. While a page is being drawn anew, the button that still stands there fails."""
        self.settle()
        with self.page.expect_download() as download:
            self.page.get_by_role("button", name=name).click()
        return download.value

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """The first true value of a condition, asked again and again while the browser goes on."""
        deadline = time.monotonic() + PATIENCE / 1000
        while not (value := condition()):
            assert time.monotonic() < deadline, f"{what} did not come; the page: {self.page.inner_text('body')}"
            self.page.wait_for_timeout(50)
        return value

    @property
    def query(self) -> dict[str, str]:
        """What stands in the URL."""
        return {key: values[0] for key, values in parse_qs(urlsplit(self.page.url).query).items()}

    def tiles(self, count: int) -> list[str]:
        """The ids of the faces in the gallery, once there are so many."""
        self.wait(lambda: self.page.locator("button.tile").count() == count, f"a gallery of {count} faces")
        titles = [tile.get_attribute("title") for tile in self.page.locator("button.tile").all()]
        return [str(title).split(":")[0] for title in titles]

    def wait_query(self, **expected: str | None) -> None:
        self.wait(
            lambda: all(self.query.get(key) == value for key, value in expected.items()), f"{expected} in the URL"
        )

    def insist(self, gesture: Callable[[], None], parameter: str) -> str:
        """The parameter that a gesture of the mouse on a chart puts into the URL. It is made again after a while: what
        a busy machine redraws between the press and the release loses a click, a person's as well."""

        def made() -> str | None:
            gesture()
            for _ in range(100):
                if parameter in self.query:
                    return self.query[parameter]
                self.page.wait_for_timeout(50)
            return None

        return str(self.wait(made, f"{parameter} in the URL"))

    def click_middle(self, mark: Any, parameter: str) -> str:
        """Clicks a mark of a chart, where its text may stand on it; the parameter that it puts into the URL."""

        def click() -> None:
            mark.scroll_into_view_if_needed()
            if box := mark.bounding_box():  # else it is just being drawn anew
                self.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

        return self.insist(click, parameter)

    def wait_choice(self, label: str, text: str) -> None:
        """Until a dropdown shows an entry: the URL may name it before the script that shows it has begun."""
        box = self.page.get_by_role("combobox", name=label, exact=True)
        self.wait(lambda: box.input_value() == text, f"{text} in {label}")

    def pick(self, label: str, text: str) -> None:
        """An entry of a dropdown."""
        box = self.page.get_by_role("combobox", name=label)
        box.click()
        box.fill(text)
        self.page.get_by_role("option", name=text, exact=True).click()
        self.settle()


@pytest.fixture
def visit(chromium: Any, server: Server) -> Iterator[Callable[..., Visit]]:
    """Starts visits, in `browser` where it is given (keywords are the context's); each must end without a complaint of
    the browser's."""
    visits: list[Visit] = []

    def start(browser: Any = None, **options: Any) -> Visit:
        visits.append(Visit(browser or chromium, server, **options))
        return visits[-1]

    yield start
    for each in visits:
        each.context.close()
    assert [complaint for each in visits for complaint in each.complaints] == []
