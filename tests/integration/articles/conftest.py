"""A web server on 127.0.0.1 with scripted responses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import SSLContext
from typing import BinaryIO

import pytest

SAMPLES = Path(__file__).parents[2] / "samples" / "feeds"


@dataclass(frozen=True)
class Answer:
    """The response of a path; `raw` writes the whole response itself."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: Callable[[BinaryIO], object] | None = None


@dataclass
class Web:
    """A running server: its responses by path, and the requests it got."""

    port: int = 0
    answers: dict[str, Answer | Callable[[Mapping[str, str]], Answer]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def url(self, path: str, *, host: str = "127.0.0.1", scheme: str = "http") -> str:
        """Return the URL of a path."""
        return f"{scheme}://{host}:{self.port}{path}"


@pytest.fixture
def web() -> Iterator[Web]:
    """A server over plain HTTP."""
    yield from _serve(None)


@pytest.fixture
def serve_tls() -> Iterator[Callable[[SSLContext], Web]]:
    """Start servers with a certificate."""
    running: list[Iterator[Web]] = []

    def start(context: SSLContext) -> Web:
        running.append(_serve(context))
        return next(running[-1])

    yield start
    for one in running:
        next(one, None)


def _serve(tls: SSLContext | None) -> Iterator[Web]:
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            web.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            found = web.answers.get(path, Answer(status=404))
            answer = found if isinstance(found, Answer) else found(web.asked[-1][1])
            if answer.raw:
                answer.raw(self.wfile)
                return
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Ignore clients that disconnect, which these tests do on purpose."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        web.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()
