"""Parses documents in a child process with limits on time and memory.

Hostile input may cost a parser any time and memory, and a regular expression blocks the whole
interpreter, so that no thread and no signal handler runs. Here the parent only waits, and can be
stopped at any time. The limits are in `newsletter.articles.limits.Limits`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter, ValidationError

from newsletter.articles import child, item, link, sentences, text
from newsletter.articles.bounded import MAX_ITEMS
from newsletter.articles.item import ParsedArticle, ParsedFeed
from newsletter.articles.limits import Limits
from newsletter.errors import FeedError
from newsletter.logs import events

#: Maximum octets of a response.
_MAX_ANSWER = 32_000_000
_START = "from newsletter.articles.child import main; main()"
_HINT = "Ask its publisher for a smaller feed, or remove it: `newsletter feeds remove`."


@dataclass(frozen=True)
class _Answer:
    """The child's response: a feed, an error with a hint, or a failure with a traceback."""

    feed: ParsedFeed | None = None
    error: str | None = None
    hint: str | None = None
    failure: str | None = None
    trace: str | None = None


_HOURS_OF_WEEK = set(range(7 * 24))
_ANSWER = TypeAdapter(_Answer)


class Sandbox:
    """One child process, shared by all threads, which parses one document at a time.

    The child is started with the first document, and after it has ended, with the next document.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._is_closed = False
        #: The number of children started.
        self.starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def parse(self, body: bytes, *, content_type: str, url: str) -> ParsedFeed:
        """Parse a document; raises FeedError if it is no feed, exceeds a limit, or on `close`."""
        strip = self._limits.strip_tracking
        named = {"content_type": content_type, "url": url, "strip_tracking": strip}
        label = json.dumps(named).encode()
        with self._lock:
            running = self._running()
            try:
                answer = running.ask(label, body, seconds=self._limits.parse_seconds)
            except (OSError, EOFError, ValueError) as exc:
                self._child = None
                raise self._ended(running, exc) from None
        return _read(answer)

    def close(self) -> None:
        """Kill the child now; a thread that waits for it gets a FeedError."""
        self._is_closed = True
        running = self._child
        if running is not None:
            running.end()

    def _running(self) -> _Child:
        if self._child is not None and self._child.has_ended():
            # The child was killed from outside while idle, so no document is the cause.
            self._child.end()
            self._child = None
        if self._child is None and not self._is_closed:
            try:
                self._child = _Child(self._limits)
            except OSError as exc:
                raise FeedError(
                    f"The process that parses feeds could not be started: {exc.strerror or exc}.",
                    hint="Look for what this machine is short of: memory or processes.",
                ) from exc
            self.starts += 1
        if self._is_closed or self._child is None:
            self.close()
            raise _stopped()
        return self._child

    def _ended(self, running: _Child, cause: Exception) -> FeedError:
        """Return the error for a child without a response, by its exit code."""
        # A child that has closed its socket is exiting; its exit code has the reason.
        code = running.end(grace=1 if isinstance(cause, (EOFError, ConnectionError)) else 0)
        if self._is_closed:
            return _stopped()
        if isinstance(cause, TimeoutError):
            return FeedError(
                f"Parsing the feed took longer than {self._limits.parse_seconds:g} seconds.",
                hint=_HINT,
            )
        if code == -signal.SIGXCPU:
            return FeedError(
                f"Parsing the feed took more than {self._limits.parse_processor_seconds} seconds "
                "of processor time.",
                hint=_HINT,
            )
        # Out of memory is an exception in Python, and an abort in Rust libraries.
        if code in {child.OUT_OF_MEMORY, -signal.SIGABRT}:
            return FeedError(
                f"Parsing the feed took more than {self._limits.parse_memory_bytes // 1_000_000} "
                "MB of memory.",
                hint=_HINT,
            )
        return FeedError(f"The feed ended the process that parses it ({code}).", hint=_HINT)


class _Child:
    """A running child, and the socket to it."""

    def __init__(self, limits: Limits) -> None:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - our own module
                    [
                        *(sys.executable, "-P", "-c", _START),
                        *map(str, (limits.parse_processor_seconds, limits.parse_memory_bytes)),
                    ],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env=_environment(),
                    # A session of its own, so that Ctrl-C in the terminal reaches only the parent,
                    # which ends the child.
                    start_new_session=True,
                )
        except BaseException:
            ours.close()
            raise
        self._socket = ours

    def ask(self, label: bytes, body: bytes, *, seconds: float) -> bytes:
        """Return the response; raises OSError, EOFError or ValueError if there is none in time."""
        peer = _Timed(self._socket, time.monotonic() + seconds)
        child.send(peer, label)
        child.send(peer, body)
        answer = child.receive(peer, _MAX_ANSWER)
        if answer is None:
            raise EOFError
        return answer

    def has_ended(self) -> bool:
        """Return whether the process has exited."""
        return self._process.poll() is not None

    def end(self, grace: float = 0) -> int:
        """Kill the child after `grace` seconds and return its exit code; idempotent."""
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
        code = self._process.wait()
        self._socket.close()
        return code


class _Timed:
    """A socket with one deadline for all operations."""

    def __init__(self, peer: socket.socket, end: float) -> None:
        self._peer = peer
        self._end = end

    def sendall(self, data: bytes) -> None:
        self._wait()
        self._peer.sendall(data)

    def recv(self, size: int) -> bytes:
        self._wait()
        return self._peer.recv(size)

    def _wait(self) -> None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._peer.settimeout(left)


def _environment() -> dict[str, str]:
    """Return the environment without our settings, which include secrets, and with `sys.path`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith("NEWSLETTER_")
    }
    return kept | {"PYTHONPATH": os.pathsep.join(str(Path(one).absolute()) for one in sys.path)}


def _read(answer: bytes) -> ParsedFeed:
    """Validate the child's response, which is untrusted: hostile input may control the child."""
    try:
        found = _ANSWER.validate_json(answer, strict=True)
    except ValidationError as exc:
        raise _nonsense() from exc
    if found.error is not None:
        raise FeedError(found.error, hint=found.hint)
    if found.failure is not None:
        events.FEED_CRASHED(trace=found.trace)
        raise FeedError(f"The feed could not be read: {found.failure}.")
    feed = found.feed
    if feed is None or len(feed.items) > MAX_ITEMS or not all(map(_is_sound, feed.items)):
        raise _nonsense()
    if not 0 <= (feed.ttl_minutes or 0) < 10**9 or not set(feed.skip_hours) <= _HOURS_OF_WEEK:
        raise _nonsense()
    return feed


def _is_sound(article: ParsedArticle) -> bool:
    """Return whether an article is within the bounds of `item.finish`."""
    image = article.image
    addresses = [article.link, *([image.url] if image else [])]
    names = [article.author or "", article.source or "", *article.categories]
    return (
        all(one.startswith(("http://", "https://")) for one in addresses)
        and max(map(len, addresses)) <= link.MAX_LINK
        and 0 < len(article.title) <= text.MAX_TITLE
        and len(article.standfirst) <= sentences.MAX_STANDFIRST
        and len(article.guid or "") <= item.MAX_GUID
        and max(map(len, names)) <= item.MAX_NAME
        and len(article.categories) <= item.MAX_CATEGORIES
        and article.minutes >= 1
        and (article.published_at is None or article.published_at.tzinfo is not None)
    )


def _stopped() -> FeedError:
    return FeedError("The run was stopped before the feed was read.")


def _nonsense() -> FeedError:
    return FeedError(
        "The process that parses feeds gave an answer that makes no sense.", hint=_HINT
    )
