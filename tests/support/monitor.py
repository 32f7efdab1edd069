"""A monitor with the interface of healthchecks.io, which records the requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Pinged(NamedTuple):
    """One received request."""

    method: str
    path: str
    body: str


class Monitor(ThreadingHTTPServer):
    """The received requests, and the status of responses; `stalled` can delay responses."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pings: list[Pinged] = []
        self.status = 200
        #: Statuses of the first answers, before `status`.
        self.first: list[int] = []
        self.stalled = threading.Event()
        self.stalled.set()

    @property
    def url(self) -> str:
        """The URL for the setting ping_url."""
        return f"http://127.0.0.1:{self.server_port}/6ee1"

    @property
    def paths(self) -> list[str]:
        """The paths of the requests below the URL, in order."""
        return [one.path.removeprefix("/6ee1") for one in self.pings]


class _Handler(BaseHTTPRequestHandler):
    server: Monitor

    def _take(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length).decode()
        self.server.pings.append(Pinged(self.command, self.path, body))
        self.server.stalled.wait(60)
        first = self.server.first
        self.send_response(first.pop(0) if first else self.server.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = _take  # noqa: N815 - the names of http.server

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def monitoring() -> Iterator[Monitor]:
    """Run a monitor on a free port."""
    with Monitor() as monitor:
        thread = threading.Thread(target=monitor.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield monitor
        finally:
            monitor.stalled.set()
            monitor.shutdown()
            thread.join()
