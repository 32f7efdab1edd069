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

from newsletter.sender.limits import (
    AHEAD,
    LONGEST_LEAD,
    PUNCTUALITY,
    RESERVED,
    Limits,
    Reservation,
    SendSlots,
)
from newsletter.sender.loop import loop_time, wait_or_stop

#: Messages that leases of some instants were not used for.
Unused = list[tuple[datetime, int]]

#: How long to wait for leave where a limit is used up, before the rest is left to later.
PATIENCE_SECONDS = 60.0
#: How long a message may wait for its instant: the server waits with it.
_WAIT_SECONDS = 2.0
#: How often to look whether the line has become shorter.
_LOOK_SECONDS = 0.05
#: How much longer than lately the next lease may take.
_MARGIN = 1.25
#: What is remembered, from one lease to the next, of how long one took.
_REMEMBERED = 0.9
_PUNCTUALITY = PUNCTUALITY.total_seconds()


class RatePermit(NamedTuple):
    """For one message: until when, on the loop's clock, and of which lease, if it was counted."""

    ends: float
    granted_at: datetime | None


#: Where nothing is counted.
FREE = RatePermit(math.inf, None)


class SendSlot(NamedTuple):
    """When a message may go, on the loop's clock, and by which leave."""

    permit: RatePermit
    instant: float


#: Where there is no limit at all.
_AT_ONCE = SendSlot(FREE, 0.0)


class Budget:
    """What one worker has of the limits for all mail, and asks for; used from its loop only."""

    def __init__(
        self,
        limits: Limits,
        *,
        connections: int,
        reserve: Callable[[int, Unused], Awaitable[Reservation]],
        send_times: Callable[[timedelta], Awaitable[SendSlots]],
        stopping: asyncio.Event,
        clock: Callable[[], datetime],
        on_exhausted: Callable[[datetime], None],
    ) -> None:
        self._counts = limits.has_windows
        self._spacing = limits.spacing.total_seconds()
        self._connections = connections
        self._reserve = reserve
        self._send_times_from = send_times
        self._stopping = stopping
        self._clock = clock
        self._on_exhausted = on_exhausted
        self._permits: deque[RatePermit] = deque()
        self._unused: Counter[datetime] = Counter()
        #: Messages that have leave and no instant yet, and how many there may be.
        self._waiting = 0
        self._most_waiting = max(1, int(_WAIT_SECONDS / self._spacing)) if self._spacing else None
        #: On the loop's clock.
        self._send_times: deque[float] = deque()
        #: How long it took lately until a lease was here, in seconds.
        self._lag = 0.0
        #: Where there were no instants: when to ask again.
        self._retry_at = 0.0
        self._coming: asyncio.Task[None] | None = None
        # Who came first is served first.
        self._permit_lock = asyncio.Lock()
        self._slot_lock = asyncio.Lock()

    # Leave

    async def permit(self) -> RatePermit | None:
        """Wait until one more message may be begun; None if the worker is to stop."""
        if not self._permit_lock.locked() and (permit := self.ready()) is not None:
            return permit
        async with self._permit_lock:
            while not self._stopping.is_set():
                if (permit := self.ready()) is not None:
                    return permit
                if self._is_queue_full():
                    await wait_or_stop(_LOOK_SECONDS, self._stopping)
                elif (seconds := await self._ask()) > 0:
                    await wait_or_stop(seconds, self._stopping)
        return None

    def ready(self) -> RatePermit | None:
        """Return leave for one more message, if there is any at this moment."""
        if self._stopping.is_set() or self._is_queue_full():
            return None
        if (permit := self._pick()) is not None:
            self._waiting += 1
        return permit

    def give_back(self, permit: RatePermit) -> None:
        """Count leave as unused: nothing was said to a server about its message."""
        self.stop_waiting()
        if permit.granted_at is not None:
            self._unused[permit.granted_at] += 1

    def stop_waiting(self) -> None:
        """Let one more message be begun."""
        self._waiting -= 1

    def unused(self) -> Unused:
        """Return what of the leases is to be given back, now that no more will be begun."""
        self._unused.update(permit.granted_at for permit in self._permits if permit.granted_at)
        self._permits.clear()
        return self._take_unused()

    def _is_queue_full(self) -> bool:
        return self._most_waiting is not None and self._waiting >= self._most_waiting

    def _pick(self) -> RatePermit | None:
        if not self._counts:
            return FREE
        now = loop_time()
        while self._permits:
            permit = self._permits.popleft()
            if permit.ends > now:
                return permit
            # Used now, it would be one too many in the window of another.
            assert permit.granted_at is not None
            self._unused[permit.granted_at] += 1
        return None

    def _take_unused(self) -> Unused:
        found = list(self._unused.items())
        self._unused.clear()
        return found

    async def _ask(self) -> float:
        """Take a lease; return how many seconds to wait before the next, if there was none."""
        ends = loop_time() + RESERVED.total_seconds()
        reserve = await self._reserve(self._connections, self._take_unused())
        if reserve.messages:
            self._permits.extend([RatePermit(ends, reserve.granted_at)] * reserve.messages)
            return 0.0
        seconds = (reserve.retry_at - self._clock()).total_seconds()
        if seconds > PATIENCE_SECONDS:
            self._on_exhausted(reserve.retry_at)
        return min(max(seconds, 0.001), PATIENCE_SECONDS)

    # Instants

    async def wait_for_slot(self, permit: RatePermit) -> SendSlot | None:
        """Wait until a message's instant is near, before it is marked.

        None if it may not go at all: the worker is to stop, or its leave has lapsed meanwhile and
        there is no other. Then its leave has been given back.
        """
        if permit is FREE and not self._spacing:
            return _AT_ONCE
        renewed = await self._renewed(permit)
        if renewed is None:
            return None
        if not self._spacing:
            return SendSlot(renewed, 0.0)
        async with self._slot_lock:
            while not self._stopping.is_set():
                if (instant := await self._next()) is not None:
                    return SendSlot(renewed, instant)
        self.give_back(renewed)
        return None

    async def go(self, slot: SendSlot) -> bool:
        """Wait for the instant of a message that is marked; False if there is no leave any more.

        An instant that has passed meanwhile is made up for by another.
        """
        if slot is _AT_ONCE:
            self.stop_waiting()
            return True
        instant = slot.instant
        while self._spacing:
            if (seconds := instant - loop_time()) > 0:
                await asyncio.sleep(seconds)
            if loop_time() <= instant + _PUNCTUALITY:
                break
            async with self._slot_lock:
                while (found := await self._next()) is None:
                    pass
            instant = found
        if await self._renewed(slot.permit) is None:
            return False
        self.stop_waiting()
        return True

    async def _renewed(self, permit: RatePermit) -> RatePermit | None:
        """Return leave that has not lapsed in place of one that may have; None if there is none."""
        if permit.ends >= loop_time():
            return permit
        assert permit.granted_at is not None
        self._unused[permit.granted_at] += 1
        if (found := self._pick()) is None:
            await self._ask()
            found = self._pick()
        if found is None:
            self.stop_waiting()
        return found

    async def _next(self) -> float | None:
        """Return an instant that is near, or wait a while for one."""
        ahead = max(AHEAD.total_seconds(), _MARGIN * self._lag)
        now = loop_time()
        while self._send_times and self._send_times[0] + _PUNCTUALITY < now:
            self._send_times.popleft()
        if self._send_times:
            seconds = self._send_times[0] - ahead - now
        else:
            seconds = self._retry_at - now
            if seconds <= 0:
                await self._more()
                return None
        if seconds > 0:
            await asyncio.sleep(min(seconds, _LOOK_SECONDS))
            return None
        instant = self._send_times.popleft()
        early = max(AHEAD.total_seconds() / 2, 2 * _MARGIN * self._lag)
        if not self._send_times or self._send_times[-1] < now + early:
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
        found = await self._send_times_from(timedelta(seconds=_MARGIN * self._lag))
        at, now = loop_time(), self._clock()
        longest = LONGEST_LEAD.total_seconds() / _MARGIN
        self._lag = min(max(at - began, _REMEMBERED * self._lag), longest)
        if not found.number:
            seconds = (found.retry_at - now).total_seconds()
            self._retry_at = at + min(max(seconds, 0.001), self._spacing + AHEAD.total_seconds())
            return
        first = at + (found.first_at - now).total_seconds()
        if first - at <= 3 * LONGEST_LEAD.total_seconds() + 4 * self._spacing:
            self._send_times.extend(first + n * self._spacing for n in range(found.number))
        # Else the clock has been set back between the two.
