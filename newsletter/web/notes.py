"""Rate-limited log lines about events that strangers cause: at most one a minute for each kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, TypeVar

#: Seconds between log lines of one kind.
_SAY_SECONDS = 60.0

K = TypeVar("K")


class Notes(Generic[K]):
    """Counts events by kind until they are logged; the caller provides the time."""

    def __init__(self, say: Callable[[K, int, str], object]) -> None:
        #: A function that logs one line for a kind, with the count and the last peer.
        self._say = say
        self._counts: dict[K, int] = {}
        self._peers: dict[K, str] = {}
        self._said_at: dict[K, float] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no log line is pending."""
        return not self._counts

    def count(self, kind: K, peer: str = "", *, count: int = 1) -> None:
        """Add `count` events of a kind, with the network address of the last one's peer."""
        self._counts[kind] = self._counts.get(kind, 0) + count
        self._peers[kind] = peer

    def flush(self, now: float = math.inf) -> None:
        """Log the counts, except of kinds logged less than a minute before `now` (seconds)."""
        for kind in list(self._counts):
            said_at = self._said_at.get(kind)
            if said_at is None or now - said_at >= _SAY_SECONDS:
                self._said_at[kind] = now
                self._say(kind, self._counts.pop(kind), self._peers[kind])
