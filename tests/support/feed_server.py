"""A feed server on loopback that counts requests, and can delay its responses."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FeedServer(ThreadingHTTPServer):
    """A server with a feed of one article at every path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: Counter[str] = Counter()
        #: Set to let responses be sent; until then they wait.
        self.answers = threading.Event()
        self._lock = threading.Lock()

    def url(self, name: str) -> str:
        """Return the URL of the feed with a name."""
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def count(self, path: str) -> None:
        """Count a request."""
        with self._lock:
            self.requests[path.strip("/")] += 1


class _Handler(BaseHTTPRequestHandler):
    server: FeedServer

    def do_GET(self) -> None:
        name = self.path.strip("/")
        self.server.count(name)
        self.server.answers.wait(120)
        body = (
            f'<rss version="2.0"><channel><title>{name}</title><item><title>About {name}</title>'
            f"<link>https://miasfeed.example/{name}</link><guid>{name}</guid></item>"
            "</channel></rss>"
        ).encode()
        try:
            self.send_response(200)
            self.send_header("Content-Type", "application/rss+xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            # The client was killed.
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def running() -> Iterator[FeedServer]:
    """Serve until the block ends."""
    with FeedServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.answers.set()
            server.shutdown()
            thread.join()
