"""The word to stop: SIGTERM and SIGINT are noted, and heeded when it suits.

A handler raises nothing, because that may come up where nobody hears it (in a destructor), and
takes no lock, because whoever it interrupts may have it. Masks would not keep a signal waiting: the
kernel gives it to any thread that does not block it, and libraries start such threads.
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
    """Whether senders are to stop: they finish what is under way, and give back the rest."""

    def __init__(self) -> None:
        self._said: list[int] = []
        self._listeners: list[Callable[[], object]] = []

    @property
    def is_wanted(self) -> bool:
        """Whether the word has been given."""
        return bool(self._said)

    @property
    def is_by_signal(self) -> bool:
        """Whether somebody outside has given it, who waits for an answer."""
        return any(self._said)

    @property
    def is_urgent(self) -> bool:
        """Whether Ctrl-C was pressed twice: no answer is to be waited for any more."""
        return self._said.count(signal.SIGINT) > 1

    def ask(self, number: int = 0, _frame: FrameType | None = None) -> None:
        """Give the word, from any thread; as a handler, for a signal of that number."""
        self._said.append(number)
        for listener in tuple(self._listeners):
            listener()

    def wait(self, seconds: float) -> None:
        """Wait so long, but not past the word."""
        end = time.monotonic() + seconds
        while not self.is_wanted and time.monotonic() < end:
            time.sleep(min(_LOOK_SECONDS, max(end - time.monotonic(), 0)))

    @contextmanager
    def heeded_by(self, listener: Callable[[], object]) -> Iterator[None]:
        """Call somebody each time that the word is given, in the middle of anything."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)


#: What the handlers of this process note it in, while they are installed.
_heard: Shutdown | None = None


@contextmanager
def on_signals() -> Iterator[Shutdown]:
    """Hear SIGTERM and SIGINT meanwhile; only the main thread can.

    A command does this around all that it sends: within, the same word holds for every part of it.
    """
    global _heard  # noqa: PLW0603 - as a process has one handler for a signal
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
