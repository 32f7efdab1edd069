"""Logs that the database cannot be used: once in a while, not once a request."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from newsletter.errors import NewsletterError

logger = logging.getLogger(__name__)

#: How long nothing more of the same kind is logged.
_SILENCE_SECONDS = 60.0


class Outages:
    """What was logged of each kind of trouble and when; used from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        #: Until when each kind is not logged again, and how often it has come since the last line.
        self._silent_until: dict[type[Exception], float] = {}
        self._unsaid: dict[type[Exception], int] = {}

    def note(self, what: str, exc: Exception) -> None:
        """Log what an error has prevented, unless the same kind was logged a moment ago."""
        kind, now = type(exc), self._clock()
        with self._lock:
            if now < self._silent_until.get(kind, now):
                self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
                return
            self._silent_until[kind] = now + _SILENCE_SECONDS
            unsaid = self._unsaid.pop(kind, 0)
        more = f" (and {unsaid:,} more times since this was last logged)" if unsaid else ""
        logger.warning("%s: %s%s", what, _sentence(exc), more)


def _sentence(exc: Exception) -> str:
    if not isinstance(exc, NewsletterError):
        return "No connection to the database was free in time."
    return f"{exc.message} {exc.hint or ''}".rstrip()
