"""Logs database outages, rate-limited instead of once per request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from newsletter.errors import NewsletterError
from newsletter.logs import events

#: Seconds between log lines of one kind.
_SILENCE_SECONDS = 60.0


class Outages:
    """A rate limit of log lines per class of exception; thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        #: By class of exception: the time of the next line, and the count since the last one.
        self._silent_until: dict[type[Exception], float] = {}
        self._suppressed: dict[type[Exception], int] = {}

    def note(self, what: str, exc: Exception) -> None:
        """Log an error with its effect (`what`), unless its class was logged within a minute."""
        kind, now = type(exc), self._clock()
        with self._lock:
            if now < self._silent_until.get(kind, now):
                self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
                return
            self._silent_until[kind] = now + _SILENCE_SECONDS
            count = self._suppressed.pop(kind, 0)
        more = f" (and {count:,} more times since this was last logged)" if count else ""
        events.OUTAGE(count=count or None, message=f"{what}: {_sentence(exc)}{more}")


def _sentence(exc: Exception) -> str:
    if not isinstance(exc, NewsletterError):
        return "No connection to the database was free in time."
    return f"{exc.message} {exc.hint or ''}".rstrip()
