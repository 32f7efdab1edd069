"""A web server for tests on loopback, with or without TLS, whose responses a test scripts."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import trustme


class Request(NamedTuple):
    """A received request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """The response to a request."""

    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012 - a constant
    body: bytes = b"<!doctype html>"


Rule = Callable[[Request], Answer]


@dataclass
class WebServer:
    """The URL of the server, and the requests that it received."""

    url: str
    asked: list[Request] = field(default_factory=list)


@contextmanager
def running(rule: Rule, context: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    """Run a web server on a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, self.rfile.read(length))
            found.asked.append(request)
            answer = rule(request)
            # Unlike `send_response`, this sends no Date header.
            self.send_response_only(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_POST = do_HEAD = _answer  # noqa: N815 - the names of the library

        def log_message(self, *_: Any) -> None:
            pass

    server = _Quiet(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "https" if context else "http"
    found = WebServer(f"{scheme}://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Print no tracebacks of handshakes that a client aborts."""


def context(authority: trustme.CA, *names: str, **options: Any) -> ssl.SSLContext:
    """Return a server's TLS context, with a certificate for 127.0.0.1 or for these names."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("127.0.0.1",)), **options).configure_cert(made)
    return made
