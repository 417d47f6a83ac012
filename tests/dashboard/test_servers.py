"""Netron's page as this machine serves it, and TensorBoard as a child process."""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dashboard.servers import NetronServer, TensorBoardServer
from fer_core.errors import FerError

pytest.importorskip("netron")
pytest.importorskip("tensorboard")


@pytest.fixture(scope="module")
def netron() -> Iterator[NetronServer]:
    server = NetronServer(most=2)
    yield server
    server.close()


def get(url: str) -> tuple[bytes, dict[str, str]]:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read(), {name.lower(): value for name, value in answer.headers.items()}


def refused(url: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as error:
        get(url)
    return error.value.code


def test_each_model_has_its_own_page(netron: NetronServer) -> None:
    urls = [netron.show(f"run:{epoch}", f"{epoch}.onnx", bytes([epoch] * 9)) for epoch in (1, 2)]
    for epoch, url in zip((1, 2), urls, strict=True):
        assert url.startswith("http://localhost:")
        page = get(url)[0].decode()
        assert f'<meta name="file" content="data/{epoch}.onnx">' in page
        assert get(f"{url}data/{epoch}.onnx")[0] == bytes([epoch] * 9)
    assert refused(f"{urls[0]}data/2.onnx") == 404
    netron.show("run:3", "3.onnx", b"")
    assert refused(urls[0]) == 404  # two are kept
    assert get(urls[1])


def test_the_page_reports_nothing_to_anyone(netron: NetronServer) -> None:
    url = netron.show("run:5", "5.onnx", b"model")
    page, headers = get(url)
    assert page.count(b'<meta name="version"') == 1
    assert b'<meta name="version" content="0.0.0">' in page  # this version sends no telemetry
    assert b'<meta name="date"' not in page
    assert page.index(b"quiet.js") < page.index(b"index.js")
    assert b"document, 'cookie'" in get(f"{url}quiet.js")[0]
    for path in ("", "view.js", "onnx-metadata.json", "grapher.css"):
        content, headers = get(url + path)
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'self'"
        assert policy["connect-src"] == "'self' data: blob:"
        assert "script-src" not in policy  # so it is default-src's
        assert len(content) > 1000
    json.loads(get(f"{url}onnx-metadata.json")[0])


def test_nothing_but_netrons_files_is_served(netron: NetronServer) -> None:
    url = netron.show("run:6", "6.onnx", b"model")
    for path in (
        "server.py",
        "../netron/index.html",
        "%2e%2e/pip/__init__.py",
        "..%2f..%2fetc%2fpasswd",
        "__pycache__/",
        "x",
    ):
        assert refused(url + path) == 404
    root = url.removesuffix("run%3A6/")
    assert refused(root) == refused(f"{root}other/") == 404


def test_the_server_answers_this_machine_only(netron: NetronServer) -> None:
    assert netron.server.server_address[0] == "127.0.0.1"
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "netron")


def test_a_page_that_is_left_while_it_loads_leaves_nothing_in_the_log(
    netron: NetronServer, capsys: pytest.CaptureFixture[str]
) -> None:
    url = urlsplit(netron.show("run:7", "7.onnx", bytes(50_000_000)))
    with socket.create_connection((url.hostname, url.port), timeout=20) as page:
        page.sendall(f"GET {url.path}data/7.onnx HTTP/1.1\r\n\r\n".encode())
        assert page.recv(1000).startswith(b"HTTP/1.0 200")
        page.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing it is a reset
    for thread in threading.enumerate():
        if "process_request_thread" in thread.name:
            thread.join(20)
            assert not thread.is_alive()
    assert capsys.readouterr().err == ""
    assert get(f"{url.geturl()}quiet.js")


def test_without_netron(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.servers.find_spec", lambda _: None)
    with pytest.raises(FerError, match=r"netron is not installed; install it with: pip install -r requirements\.txt"):
        NetronServer()


@pytest.fixture
def boards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TensorBoardServer]:
    """In place of TensorBoard something that starts at once, and finds its log, by its name, when it is asked again."""
    program = tmp_path / "tensorboard"
    program.write_text(f"""#!{sys.executable}
import http.server, json, pathlib, sys
value = lambda flag: sys.argv[sys.argv.index(flag) + 1]
found = []

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())
        if self.path == "/data/runs":
            found[:] = [pathlib.Path(value("--logdir")).name]

with http.server.HTTPServer(("localhost", int(value("--port"))), Handler) as server:
    print("See https://github.com/", "x" * 200_000, file=sys.stderr)  # more than a pipe holds
    print(f"TensorBoard 2 at http://localhost:{{server.server_address[1]}}/ (Press", file=sys.stderr, flush=True)
    server.serve_forever()
""")
    program.chmod(0o755)
    monkeypatch.setattr("dashboard.servers.sys.executable", str(program))
    server = TensorBoardServer(most=2)
    yield server
    server.close()


def shown(url: str) -> list[str]:
    return list(json.loads(get(f"{url}data/runs")[0]))


def test_tensorboard_shows_several_logs(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for name in ("first", "second"):
        with SummaryWriter(str(tmp_path / name / name)) as writer:
            writer.add_scalar("accuracy", 0.5, 1)
    server = TensorBoardServer()
    try:
        urls = {name: server.show(tmp_path / name) for name in ("first", "second")}
        for name, url in urls.items():
            assert server.show(tmp_path / name) == url
            assert shown(url) == [name]
    finally:
        server.close()
    with pytest.raises(urllib.error.URLError):
        get(urls["first"])


def test_one_tensorboard_ends_no_other(boards: TensorBoardServer) -> None:
    logs = [Path(name) for name in ("first", "second", "third")]
    first, second = (boards.show(log) for log in logs[:2])
    for _ in range(2):  # two tabs, in turn
        assert (boards.show(logs[0]), boards.show(logs[1])) == (first, second)
    assert (shown(first), shown(second)) == (["first"], ["second"])
    assert shown(boards.show(logs[2])) == ["third"]
    with pytest.raises(urllib.error.URLError):  # two are kept
        get(first)
    assert shown(second) == ["second"]
    assert shown(boards.show(logs[0])) == ["first"]


def test_tensorboard_is_shown_once_it_has_read_the_log(boards: TensorBoardServer) -> None:
    assert shown(boards.show(Path("first"))) == ["first"]


def test_two_who_ask_at_once_are_shown_their_own_logs(boards: TensorBoardServer) -> None:
    with ThreadPoolExecutor() as threads:
        urls = list(threads.map(boards.show, map(Path, ("first", "second", "first"))))
    assert [shown(url) for url in urls] == [["first"], ["second"], ["first"]]
    assert urls[0] == urls[2]


def test_tensorboard_that_ended_is_started_anew(boards: TensorBoardServer) -> None:
    boards.show(Path("first"))
    boards.boards[Path("first")].close()
    assert shown(boards.show(Path("first"))) == ["first"]


def test_tensorboard_that_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("dashboard.servers.sys.executable", "/bin/false")
    server = TensorBoardServer()
    with pytest.raises(FerError, match="TensorBoard did not start; see what it says with: tensorboard --logdir PATH"):
        server.show(tmp_path)
    assert not server.boards[tmp_path].is_alive()


def test_tensorboard_that_never_reads_its_log(
    boards: TensorBoardServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("dashboard.servers._PATIENCE", 2.0)
    monkeypatch.setattr("dashboard.servers._runs", lambda _: [])
    with pytest.raises(FerError, match="TensorBoard did not start"):
        boards.show(tmp_path)
    assert not boards.boards[tmp_path].is_alive()
