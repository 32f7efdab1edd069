"""Runs Chromium without a driver: a page of a local server posts back its measurements."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
#: Chromium's names of the two schemes.
SCHEMES = {"dark": 0, "light": 1}
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


@dataclass
class Answer:
    """The server's response for one path."""

    body: str
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    kind: str = "text/html"


#: Method, path and body in; an answer out, or None for 404.
Route = Callable[[str, str, str], Answer | None]


@dataclass
class Site:
    """A server on loopback: its address, and the data that pages posted to /result."""

    url: str
    results: Queue[Any]


@contextmanager
def serving(route: Route) -> Iterator[Site]:
    """Serve until the block ends."""
    results: Queue[Any] = Queue()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(route, results))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Site(f"http://127.0.0.1:{server.server_port}", results)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def see(site: Site, path: str, *, scheme: str, profile: Path) -> Any:
    """Open a page and return the JSON that it posts to /result."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={profile}",
        f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
        "--remote-debugging-port=0",
        site.url + path,
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            return site.results.get(timeout=240)
        finally:
            browser.terminate()


def _handler(route: Route, results: Queue[Any]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(route("GET", self.path, ""))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            if self.path == "/result":
                self._answer(Answer("{}", kind="application/json"))
                results.put(json.loads(body))
            else:
                self._answer(route("POST", self.path, body))

        def _answer(self, answer: Answer | None) -> None:
            answer = answer or Answer("", status=404)
            raw = answer.body.encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", f"{answer.kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(raw)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
