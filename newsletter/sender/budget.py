"""Client side of the shared rate limits: permits are reserved in batches, one for each message.

A message needs a permit before MAIL is sent. With a limit per second it also needs a send slot
before its body, because the server may take any time between the two. So the limit holds for bodies
as they are sent, not only for claims.
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

#: Numbers of unused permits, by the time of their reservation.
Unused = list[tuple[datetime, int]]

#: Time for which a run waits for an exhausted limit; then it ends, and a later run sends the rest.
PATIENCE_SECONDS = 60.0
#: Time for which a message may wait for its send slot, while its server waits for the body.
_WAIT_SECONDS = 2.0
#: Interval of polling whether fewer messages wait for a send slot.
_LOOK_SECONDS = 0.05
#: Safety factor for the expected duration of a reservation.
_MARGIN = 1.25
#: Decay of the longest recent duration of a reservation, from one reservation to the next.
_REMEMBERED = 0.9
_PUNCTUALITY = PUNCTUALITY.total_seconds()


class RatePermit(NamedTuple):
    """Permission for one message, with its end on the loop's clock and the time of reservation."""

    ends: float
    granted_at: datetime | None


#: The permit that is used if there is no limit per hour or day.
FREE = RatePermit(math.inf, None)


class SendSlot(NamedTuple):
    """The time at which a message may be sent, on the loop's clock, with its permit."""

    permit: RatePermit
    instant: float


#: The slot that is used if there is no limit at all.
_AT_ONCE = SendSlot(FREE, 0.0)


class Budget:
    """The permits and send slots of one worker; used from its event loop only."""

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
        #: The number of messages that have a permit but no send slot yet, and its maximum.
        self._waiting = 0
        self._most_waiting = max(1, int(_WAIT_SECONDS / self._spacing)) if self._spacing else None
        #: Reserved send times that are not used yet, on the loop's clock.
        self._send_times: deque[float] = deque()
        #: The expected duration of a reservation, in seconds.
        self._lag = 0.0
        #: The time of the next request for send times after there were none.
        self._retry_at = 0.0
        self._coming: asyncio.Task[None] | None = None
        # The locks serve waiting messages in order (first in, first out).
        self._permit_lock = asyncio.Lock()
        self._slot_lock = asyncio.Lock()

    # Permits

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
        """Return a permit for one more message, if there is one without waiting."""
        if self._stopping.is_set() or self._is_queue_full():
            return None
        if (permit := self._pick()) is not None:
            self._waiting += 1
        return permit

    def give_back(self, permit: RatePermit) -> None:
        """Count a permit as unused, because nothing about its message was sent to a server."""
        self.stop_waiting()
        if permit.granted_at is not None:
            self._unused[permit.granted_at] += 1

    def stop_waiting(self) -> None:
        """Stop counting a message as waiting for a slot, so that another one can begin."""
        self._waiting -= 1

    def unused(self) -> Unused:
        """Return the permits to give back at the end of a run; none is issued after this."""
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
            # The permit has expired: used now, the message could exceed the limit of a later
            # window.
            assert permit.granted_at is not None
            self._unused[permit.granted_at] += 1
        return None

    def _take_unused(self) -> Unused:
        found = list(self._unused.items())
        self._unused.clear()
        return found

    async def _ask(self) -> float:
        """Reserve permits; if there are none, return the seconds to wait before asking again."""
        ends = loop_time() + RESERVED.total_seconds()
        reserve = await self._reserve(self._connections, self._take_unused())
        if reserve.messages:
            self._permits.extend([RatePermit(ends, reserve.granted_at)] * reserve.messages)
            return 0.0
        seconds = (reserve.retry_at - self._clock()).total_seconds()
        if seconds > PATIENCE_SECONDS:
            self._on_exhausted(reserve.retry_at)
        return min(max(seconds, 0.001), PATIENCE_SECONDS)

    # Send slots

    async def wait_for_slot(self, permit: RatePermit) -> SendSlot | None:
        """Wait until a message's send time is near, before it is marked.

        None if it must not be sent, because the worker is to stop, or the permit has expired and
        there is no other. The permit has then been given back.
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
        """Wait for the send time of a marked message; False if its permit cannot be renewed.

        A send time that has passed meanwhile is replaced by a later one.
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
        """Return the permit, or another one if it has expired; None if there is no other."""
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
        """Return a send time in the near future; None after a short wait if there is none yet."""
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
            # More are reserved before the last one is used, since a reservation takes time, and its
            # send times begin after it.
            self._call_for_more()
        return instant

    async def _more(self) -> None:
        self._call_for_more()
        assert self._coming is not None
        await asyncio.shield(self._coming)

    def _call_for_more(self) -> None:
        if self._coming is None or self._coming.done():
            self._coming = asyncio.create_task(self._fetch())
            # The exception is retrieved, so that asyncio does not report it if no message waits. A
            # waiting message raises it.
            self._coming.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _fetch(self) -> None:
        """Reserve send times; if there are none, note when to ask again."""
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
        # Later send times are dropped, because the wall clock was set back meanwhile.
