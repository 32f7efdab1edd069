"""Requests to stop: the handlers of SIGTERM and SIGINT record them, and senders poll them.

A handler raises no exception, because it could be lost (in a destructor), and takes no lock,
because the interrupted code may hold it. Signal masks would not defer a signal: the kernel delivers
it to any thread that does not block it, and libraries start such threads.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = frozenset({signal.SIGTERM, signal.SIGINT})
_LOOK_SECONDS = 0.2


class Shutdown:
    """A request to stop: senders finish current messages and give back their other claims."""

    def __init__(self) -> None:
        self._said: list[int] = []
        self._listeners: list[Callable[[], object]] = []

    @property
    def is_wanted(self) -> bool:
        """Whether a stop was requested."""
        return bool(self._said)

    @property
    def is_by_signal(self) -> bool:
        """Whether a signal requested the stop, which is then acknowledged to the operator."""
        return any(self._said)

    @property
    def is_urgent(self) -> bool:
        """Whether Ctrl-C was pressed twice, so that senders do not wait for replies any more."""
        return self._said.count(signal.SIGINT) > 1

    def ask(self, number: int = 0, _frame: FrameType | None = None) -> None:
        """Request a stop, from any thread; as a signal handler it gets the number of the signal."""
        self._said.append(number)
        for listener in tuple(self._listeners):
            listener()

    def wait(self, seconds: float) -> None:
        """Wait for `seconds`, or until a stop is requested."""
        end = time.monotonic() + seconds
        while not self.is_wanted and time.monotonic() < end:
            time.sleep(min(_LOOK_SECONDS, max(end - time.monotonic(), 0)))

    @contextmanager
    def heeded_by(self, listener: Callable[[], object]) -> Iterator[None]:
        """Call `listener` at each request, possibly within a signal handler."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)


#: The object that the installed handlers of this process write to.
_heard: Shutdown | None = None


@contextmanager
def on_signals() -> Iterator[Shutdown]:
    """Handle SIGTERM and SIGINT within the block; outside the main thread, handle neither.

    Nested blocks share one object, so that a command can wrap all of its parts.
    """
    global _heard  # noqa: PLW0603 - a process has one handler for a signal
    if threading.current_thread() is not threading.main_thread():
        yield Shutdown()
        return
    if _heard is not None:
        yield _heard
        return
    _heard = Shutdown()
    before = {number: signal.signal(number, _heard.ask) for number in STOPS}
    try:
        yield _heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _heard = None
