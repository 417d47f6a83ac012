"""Other tools' own pages, served by this machine to this machine: Netron and TensorBoard. No streamlit here.

Both serve on "localhost" at a free port, and neither asks anything of another machine: TensorBoard does not, and
Netron, which would look up its visitor's country and report usage, is kept from it (see `NetronServer`).
"""

from __future__ import annotations

import atexit
import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from fer_core.errors import FerError

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".onnx": "application/octet-stream",
}
_POLICY = (
    "default-src 'self'; connect-src 'self' data: blob:; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'"
)
_QUIET = "quiet.js"
# Netron asks for its visitor's country where there is no such cookie; this one is never stored.
_NO_COOKIES = b"Object.defineProperty(document, 'cookie', { get: () => 'consent=1', set: () => {} });\n"
_PATIENCE = 300.0  # seconds: beside other work TensorBoard's imports alone take a minute


class NetronServer:
    """The web app of the `netron` package, for models in memory.

    The app is given as version 0.0.0, which sends no telemetry, and without the question for its visitor's country;
    and a Content-Security-Policy lets it reach nothing but this server. (The package's own server does neither, and
    shares one model among all its ports.) The thread ends with the process.
    """

    def __init__(self, most: int = 8) -> None:
        self.app, self.most = _netron_files(), most
        self.models: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self.server = ThreadingHTTPServer(("localhost", 0), partial(_NetronHandler, self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True, name="netron").start()

    def show(self, key: str, name: str, content: bytes) -> str:
        """The address at which Netron shows a model: `content` of a file called `name`. `key` tells models apart."""
        self.models[key] = (name, content)
        while len(self.models) > self.most:
            self.models.popitem(last=False)
        return f"http://localhost:{self.server.server_address[1]}/{quote(key, safe='')}/"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str) -> tuple[bytes, str] | None:
        """Content and type of what is at a path; None where nothing is."""
        if path == "/favicon.ico":  # what browsers ask every server for
            return (self.app / "favicon.ico").read_bytes(), "image/x-icon"
        key, _, rest = unquote(path).removeprefix("/").partition("/")
        if key not in self.models:
            return None
        name, content = self.models[key]
        if rest == f"data/{name}":
            return content, _TYPES[".onnx"]
        if rest == _QUIET:
            return _NO_COOKIES, _TYPES[".js"]
        file = self.app / (rest or "index.html")
        if file.parent != self.app or file.suffix not in _TYPES or not file.is_file():
            return None
        page = file.read_bytes()
        return (_quiet(page, name) if file.name == "index.html" else page), _TYPES[file.suffix]


class _NetronHandler(BaseHTTPRequestHandler):
    def __init__(self, owner: NetronServer, *arguments: object) -> None:
        self.owner = owner
        super().__init__(*arguments)  # type: ignore[arg-type]

    def handle(self) -> None:
        with suppress(ConnectionError):  # a page that was left before it had loaded
            super().handle()

    def do_GET(self) -> None:
        found = self.owner.answer(urlsplit(self.path).path)
        self.send_response(200 if found else 404)
        content, kind = found or (b"There is nothing here any more: open the model again.", "text/plain")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing: the dashboard's log is for people."""


def _netron_files() -> Path:
    spec = find_spec("netron")
    if spec is None or not spec.submodule_search_locations:
        raise FerError("netron is not installed; install it with: pip install -r requirements.txt")
    return Path(spec.submodule_search_locations[0])


def _quiet(page: bytes, name: str) -> bytes:
    """Netron's page for one model, as version 0.0.0 and without cookies."""
    meta = f'<meta name="version" content="0.0.0">\n<meta name="file" content="data/{quote(name)}">'
    text = re.sub(r'<meta name="(version|date)" content="[^"]*">', "", page.decode())
    return text.replace("<title>", f'{meta}\n<script src="{_QUIET}"></script>\n<title>', 1).encode()


class TensorBoardServer:
    """TensorBoard as child processes, one a log, of which the `most` shown last go on. All sessions share them. They
    end with this process, or by `close`."""

    def __init__(self, most: int = 4) -> None:
        self.most = most
        self.boards: OrderedDict[Path, _TensorBoard] = OrderedDict()
        self.lock = threading.Lock()
        atexit.register(self.close)

    def show(self, log: Path) -> str:
        """The address at which TensorBoard shows a log. Raises FerError where it does not start."""
        with self.lock:
            if log not in self.boards or not self.boards[log].is_alive():
                self.boards[log] = _TensorBoard(log)
            self.boards.move_to_end(log)
            while len(self.boards) > self.most:
                self.boards.popitem(last=False)[1].close()
            board = self.boards[log]
        return board.address()

    def close(self) -> None:
        with self.lock:
            while self.boards:
                self.boards.popitem()[1].close()


class _TensorBoard:
    """One process. It takes a free port by itself, and tells it on its standard error."""

    def __init__(self, log: Path) -> None:
        self.url, self.has_read = "", False
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(log), "--host", "localhost", "--port", "0"]
        nothing = subprocess.DEVNULL
        self.process = subprocess.Popen(
            command, stdin=nothing, stdout=nothing, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        threading.Thread(target=self._listen, daemon=True, name="tensorboard").start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:  # to the end: a pipe that nobody reads would halt it
                if told := re.search(r"http://localhost:\d+/", line):
                    self.url = told[0]

    def address(self) -> str:
        """Where it is, once it has read the log: a page that is opened before stays empty. Raises FerError."""
        end = time.monotonic() + _PATIENCE
        while not self.has_read:
            if not self.is_alive() or time.monotonic() > end:
                self.close()
                raise FerError("TensorBoard did not start; see what it says with: tensorboard --logdir PATH")
            time.sleep(0.2)
            self.has_read = bool(self.url and _runs(self.url))
        return self.url

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _runs(url: str) -> list[str]:
    """What TensorBoard has found in its log so far."""
    try:
        with urllib.request.urlopen(f"{url}data/runs", timeout=5) as answer:
            return list(json.load(answer))
    except (OSError, ValueError):  # it does not serve yet
        return []
