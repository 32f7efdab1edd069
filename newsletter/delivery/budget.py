"""The leave that a worker has to send: it comes in leases, and each message uses one."""

from __future__ import annotations

from collections import Counter, deque
from datetime import datetime
from typing import NamedTuple

from newsletter.delivery.limits import LEASE, PUNCTUALITY, Lease


class _Leave(NamedTuple):
    """For one message: from when, until when (on the loop's clock), and of which lease."""

    begins: float
    ends: float
    granted_at: datetime


class Budget:
    """What is left of the leases of one worker. Pure: `at` is the loop's clock, in seconds."""

    def __init__(self) -> None:
        self._leaves: deque[_Leave] = deque()
        self._unused: Counter[datetime] = Counter()
        self._spent_last: datetime | None = None

    def add(self, lease: Lease, *, at: float, now: datetime) -> None:
        """Add a lease that was granted at `now` or shortly before."""
        first = at + (lease.first_at - now).total_seconds()
        good_for = (PUNCTUALITY if lease.spacing else LEASE).total_seconds()
        for number in range(lease.messages):
            begins = first + number * lease.spacing.total_seconds()
            self._leaves.append(_Leave(begins, begins + good_for, lease.granted_at))

    def spend(self, at: float) -> bool:
        """Use leave for one message, if there is any at this moment."""
        if self.wait(at) != 0:
            return False
        self._spent_last = self._leaves.popleft().granted_at
        return True

    def take_back(self) -> None:
        """Count leave as unused that was spent on a message for which there was no connection."""
        if self._spent_last is not None:
            self._unused[self._spent_last] += 1
            self._spent_last = None

    def wait(self, at: float) -> float | None:
        """Return how many seconds from now there is leave; None if that needs another lease.

        What came too late for its message is not used any more: it would be one too many in the
        window of another.
        """
        while self._leaves and self._leaves[0].ends < at:
            self._unused[self._leaves.popleft().granted_at] += 1
        if not self._leaves:
            return None
        return max(0.0, self._leaves[0].begins - at)

    def unused(self, *, whole: bool = False) -> list[tuple[datetime, int]]:
        """Return what is to be given back, and forget it; with `whole`, all that is left."""
        if whole:
            self._unused.update(leave.granted_at for leave in self._leaves)
            self._leaves.clear()
        found = list(self._unused.items())
        self._unused.clear()
        return found
