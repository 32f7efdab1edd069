"""Reports scheduled runs to a monitor (ping_url), in the protocol of healthchecks.io.

`URL/start` is requested when a run begins, and `URL/<exit status>` when it has ended, by POST with
the printed lines as the body. A separate thread does this, so that no run waits for the monitor or
fails because of it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import typer

from newsletter.cli import exits, output
from newsletter.errors import NewsletterError
from newsletter.logs import masking

if TYPE_CHECKING:
    import httpx

#: Maximum octets of a body; healthchecks.io stores 100 kB.
LONGEST = 10_000
#: Time-out of one step of a request, and the pause between two tries.
_TIMEOUT_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
_TRIES = 2
#: How long a command waits at its end for requests that were not sent yet.
_PATIENCE_SECONDS = 15.0
#: How often a worker reports a run with an unchanged result: healthchecks.io accepts five pings a
#: minute, and a worker checks the schedule three times a minute.
_AGAIN_SECONDS = 60.0
#: Maximum of waiting requests; more are dropped.
_WAITING = 8


class _Ping(NamedTuple):
    path: str
    body: bytes


@dataclass
class Run:
    """A run that is reported, with its exit status if no exception is raised."""

    status: int = 0


class Pings:
    """The connection to the monitor: a thread sends the requests one after the other."""

    def __init__(self, url: str, *, warn: Callable[[str, str], object]) -> None:
        self._url = url
        self._warn = warn
        self._has_warned = False
        self._waiting: queue.Queue[_Ping | None] = queue.Queue(_WAITING)
        self._status: int | None = None
        self._next_at = 0.0
        self._thread = threading.Thread(target=self._send_all, name="pings", daemon=True)
        self._thread.start()

    @contextmanager
    def run(self, *, by_this_thread: bool = False) -> Iterator[Run]:
        """Report the start of a run, its result and its output.

        A run that ends soon after another, with the same status, is not reported.
        """
        is_due = time.monotonic() >= self._next_at
        if is_due:
            self._put("start")
        run = Run()
        with output.recorded(by_this_thread=by_this_thread) as recording:
            try:
                yield run
            except BaseException as exc:
                run.status = _status(exc)
                if isinstance(exc, NewsletterError):
                    recording.add(output.printable(exc.message))
                raise
            finally:
                if is_due or run.status != self._status:
                    self._put(str(run.status), body(recording.lines))
                    self._status = run.status
                    self._next_at = time.monotonic() + _AGAIN_SECONDS

    def close(self) -> None:
        """Wait briefly for the remaining requests; warn if they could not be sent."""
        self._put(None)
        self._thread.join(_PATIENCE_SECONDS)
        if self._thread.is_alive():
            self._fail("no answer in time")

    def _put(self, path: str | None, text: bytes = b"") -> None:
        try:
            self._waiting.put_nowait(None if path is None else _Ping(path, text))
        except queue.Full:
            self._fail("no answer in time")

    def _send_all(self) -> None:
        import httpx

        from newsletter.version import VERSION

        try:
            # The proxy settings of the machine are used, as it may have no direct access.
            client = httpx.Client(timeout=_TIMEOUT_SECONDS)
        except (ImportError, OSError, ValueError, httpx.InvalidURL):
            # The error is not quoted, as a proxy may have a password.
            self._fail(
                "the environment names a proxy, or certificates, that cannot be used (HTTPS_PROXY, "
                "ALL_PROXY, SSL_CERT_FILE)"
            )
            while self._waiting.get() is not None:
                pass
            return
        with client:
            client.headers["User-Agent"] = f"newsletter-delivery/{VERSION}"
            while (ping := self._waiting.get()) is not None:
                if failure := self._send(client, ping):
                    self._fail(failure)

    def _send(self, client: httpx.Client, ping: _Ping) -> str | None:
        """Send a request, once more if need be; return why it failed."""
        import httpx

        failure: str | None = None
        for number in range(_TRIES):
            if number:
                time.sleep(_PAUSE_SECONDS)
            try:
                # The body of the response is not read, as it may have any length.
                with client.stream("POST", place(self._url, ping.path), content=ping.body) as found:
                    if found.is_success:
                        return None
                    redirects = ", a redirect, and none is followed" if found.is_redirect else ""
                    failure = f"it answers {found.status_code}{redirects}"
            except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as exc:
                failure = str(exc) or type(exc).__name__
        return failure

    def _fail(self, failure: str) -> None:
        """Warn that the monitor cannot be reached, once per process."""
        if not self._has_warned:
            self._has_warned = True
            host = urlsplit(self._url).hostname
            self._warn(
                f"The monitor at {host} was not reached: {failure}.",
                "The run is not affected; look at the setting ping_url.",
            )


@contextmanager
def reported(url: str | None) -> Iterator[None]:
    """Report the run of a command to the monitor, if a URL is set."""
    if url is None:
        yield
        return
    pings = Pings(url, warn=output.warn)
    try:
        with pings.run():
            yield
    finally:
        pings.close()


def place(url: str, path: str) -> str:
    """Return the URL of a request, with the path inserted before a query."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}"))


def body(lines: Iterable[str]) -> bytes:
    """Return printed lines, masked as in a log, and cut at the beginning if they are too long."""
    octets = masking.masked_lines("\n".join(lines)).encode(errors="replace")
    if len(octets) <= LONGEST:
        return octets
    return b"..." + octets[3 - LONGEST :].decode(errors="ignore").encode()


def _status(exc: BaseException) -> int:
    """Return the exit status of a command that an exception ends."""
    if isinstance(exc, typer.Exit):
        return exc.exit_code
    return exits.of(exc) if isinstance(exc, NewsletterError) else exits.FAILED
