"""The leave that a worker has to send: it comes in leases, and each message uses one.

A message gets leave before anything is said about it, and an instant, where there is a limit by
the second, before its body leaves: how long the server takes for what comes between is nobody's to
know. So the bodies keep to the limit, and not only the claims.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from newsletter.delivery.limits import (
    AHEAD,
    LEASE,
    LONGEST_LEAD,
    PUNCTUALITY,
    Instants,
    Lease,
    Limits,
)
from newsletter.delivery.loop import loop_time, wait_or_stop

#: Messages that leases of some instants were not used for.
Unused = list[tuple[datetime, int]]

#: How long to wait for leave where a limit is used up, before the rest is left to later.
PATIENCE_SECONDS = 60.0
#: How long a message may wait for its instant: the server waits with it.
_LINE_SECONDS = 2.0
#: How often to look whether the line has become shorter.
_LOOK_SECONDS = 0.05
#: How much longer than lately the next lease may take.
_MARGIN = 1.25
#: What is remembered, from one lease to the next, of how long one took.
_REMEMBERED = 0.9
_PUNCTUALITY = PUNCTUALITY.total_seconds()


class Leave(NamedTuple):
    """For one message: until when, on the loop's clock, and of which lease, if it was counted."""

    ends: float
    granted_at: datetime | None


#: Where nothing is counted.
FREE = Leave(math.inf, None)


class Turn(NamedTuple):
    """When a message may go, on the loop's clock, and by which leave."""

    leave: Leave
    instant: float


#: Where there is no limit at all.
_AT_ONCE = Turn(FREE, 0.0)


class Budget:
    """What one worker has of the limits for all mail, and asks for; used from its loop only."""

    def __init__(
        self,
        limits: Limits,
        *,
        connections: int,
        lease: Callable[[int, Unused], Awaitable[Lease]],
        instants: Callable[[timedelta], Awaitable[Instants]],
        stopping: asyncio.Event,
        clock: Callable[[], datetime],
        on_exhausted: Callable[[datetime], None],
    ) -> None:
        self._counts = limits.has_windows
        self._spacing = limits.spacing.total_seconds()
        self._connections = connections
        self._lease = lease
        self._instants_from = instants
        self._stopping = stopping
        self._clock = clock
        self._on_exhausted = on_exhausted
        self._leaves: deque[Leave] = deque()
        self._unused: Counter[datetime] = Counter()
        #: Messages that have leave and no instant yet, and how many there may be.
        self._in_line = 0
        self._longest_line = max(1, int(_LINE_SECONDS / self._spacing)) if self._spacing else None
        #: On the loop's clock.
        self._instants: deque[float] = deque()
        #: How long it took lately until a lease was here, in seconds.
        self._lag = 0.0
        #: Where there were no instants: when to ask again.
        self._retry_at = 0.0
        self._coming: asyncio.Task[None] | None = None
        # Who came first is served first.
        self._gate = asyncio.Lock()
        self._line = asyncio.Lock()

    # Leave

    async def leave(self) -> Leave | None:
        """Wait until one more message may be begun; None if the worker is to stop."""
        if not self._gate.locked() and (leave := self.ready()) is not None:
            return leave
        async with self._gate:
            while not self._stopping.is_set():
                if (leave := self.ready()) is not None:
                    return leave
                if self._is_line_full():
                    await wait_or_stop(_LOOK_SECONDS, self._stopping)
                elif (seconds := await self._ask()) > 0:
                    await wait_or_stop(seconds, self._stopping)
        return None

    def ready(self) -> Leave | None:
        """Return leave for one more message, if there is any at this moment."""
        if self._stopping.is_set() or self._is_line_full():
            return None
        if (leave := self._pick()) is not None:
            self._in_line += 1
        return leave

    def give_back(self, leave: Leave) -> None:
        """Count leave as unused: nothing was said to a server about its message."""
        self.leave_line()
        if leave.granted_at is not None:
            self._unused[leave.granted_at] += 1

    def leave_line(self) -> None:
        """Let one more message be begun."""
        self._in_line -= 1

    def unused(self) -> Unused:
        """Return what of the leases is to be given back, now that no more will be begun."""
        self._unused.update(leave.granted_at for leave in self._leaves if leave.granted_at)
        self._leaves.clear()
        return self._take_unused()

    def _is_line_full(self) -> bool:
        return self._longest_line is not None and self._in_line >= self._longest_line

    def _pick(self) -> Leave | None:
        if not self._counts:
            return FREE
        now = loop_time()
        while self._leaves:
            leave = self._leaves.popleft()
            if leave.ends > now:
                return leave
            # Used now, it would be one too many in the window of another.
            assert leave.granted_at is not None
            self._unused[leave.granted_at] += 1
        return None

    def _take_unused(self) -> Unused:
        found = list(self._unused.items())
        self._unused.clear()
        return found

    async def _ask(self) -> float:
        """Take a lease; return how many seconds to wait before the next, if there was none."""
        ends = loop_time() + LEASE.total_seconds()
        lease = await self._lease(self._connections, self._take_unused())
        if lease.messages:
            self._leaves.extend([Leave(ends, lease.granted_at)] * lease.messages)
            return 0.0
        seconds = (lease.retry_at - self._clock()).total_seconds()
        if seconds > PATIENCE_SECONDS:
            self._on_exhausted(lease.retry_at)
        return min(max(seconds, 0.001), PATIENCE_SECONDS)

    # Instants

    async def queue(self, leave: Leave) -> Turn | None:
        """Wait until a message's instant is near, before it is marked.

        None if it may not go at all: the worker is to stop, or its leave has lapsed meanwhile and
        there is no other. Then its leave has been given back.
        """
        if leave is FREE and not self._spacing:
            return _AT_ONCE
        renewed = await self._renewed(leave)
        if renewed is None:
            return None
        if not self._spacing:
            return Turn(renewed, 0.0)
        async with self._line:
            while not self._stopping.is_set():
                if (instant := await self._next()) is not None:
                    return Turn(renewed, instant)
        self.give_back(renewed)
        return None

    async def go(self, turn: Turn) -> bool:
        """Wait for the instant of a message that is marked; False if there is no leave any more.

        An instant that has passed meanwhile is made up for by another.
        """
        if turn is _AT_ONCE:
            self.leave_line()
            return True
        instant = turn.instant
        while self._spacing:
            if (seconds := instant - loop_time()) > 0:
                await asyncio.sleep(seconds)
            if loop_time() <= instant + _PUNCTUALITY:
                break
            async with self._line:
                while (found := await self._next()) is None:
                    pass
            instant = found
        if await self._renewed(turn.leave) is None:
            return False
        self.leave_line()
        return True

    async def _renewed(self, leave: Leave) -> Leave | None:
        """Return leave that has not lapsed in place of one that may have; None if there is none."""
        if leave.ends >= loop_time():
            return leave
        assert leave.granted_at is not None
        self._unused[leave.granted_at] += 1
        if (found := self._pick()) is None:
            await self._ask()
            found = self._pick()
        if found is None:
            self.leave_line()
        return found

    async def _next(self) -> float | None:
        """Return an instant that is near, or wait a while for one."""
        ahead = max(AHEAD.total_seconds(), _MARGIN * self._lag)
        now = loop_time()
        while self._instants and self._instants[0] + _PUNCTUALITY < now:
            self._instants.popleft()
        if self._instants:
            seconds = self._instants[0] - ahead - now
        else:
            seconds = self._retry_at - now
            if seconds <= 0:
                await self._more()
                return None
        if seconds > 0:
            await asyncio.sleep(min(seconds, _LOOK_SECONDS))
            return None
        instant = self._instants.popleft()
        early = max(AHEAD.total_seconds() / 2, 2 * _MARGIN * self._lag)
        if not self._instants or self._instants[-1] < now + early:
            # Before the last is used: a lease takes its time, and those it brings come after that.
            self._call_for_more()
        return instant

    async def _more(self) -> None:
        self._call_for_more()
        assert self._coming is not None
        await asyncio.shield(self._coming)

    def _call_for_more(self) -> None:
        if self._coming is None or self._coming.done():
            self._coming = asyncio.create_task(self._fetch())
            # Whoever waits for instants is told; but perhaps nobody does.
            self._coming.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _fetch(self) -> None:
        """Take instants, or find out when to ask again."""
        began = loop_time()
        found = await self._instants_from(timedelta(seconds=_MARGIN * self._lag))
        at, now = loop_time(), self._clock()
        longest = LONGEST_LEAD.total_seconds() / _MARGIN
        self._lag = min(max(at - began, _REMEMBERED * self._lag), longest)
        if not found.number:
            seconds = (found.retry_at - now).total_seconds()
            self._retry_at = at + min(max(seconds, 0.001), self._spacing + AHEAD.total_seconds())
            return
        first = at + (found.first_at - now).total_seconds()
        if first - at <= 3 * LONGEST_LEAD.total_seconds() + 4 * self._spacing:
            self._instants.extend(first + n * self._spacing for n in range(found.number))
        # Else the clock has been set back between the two.
