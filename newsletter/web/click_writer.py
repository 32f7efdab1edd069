"""Writes counted clicks: what one process has counted, every few seconds and at its end.

Each process has rows of its own, which it replaces by its totals: no process waits for another, and
a write that is repeated because its answer was lost counts nothing twice. What is not written yet
is lost with a process that is killed: at most some fifteen seconds of clicks.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date, datetime

from sqlalchemy import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.concurrency import run_in_threadpool

from newsletter import logs
from newsletter.db import session as sessions
from newsletter.editions import clicks
from newsletter.errors import NewsletterError
from newsletter.logs import events
from newsletter.web.clicks import Click, ClickFilter
from newsletter.web.outages import Outages

#: Seconds between two writes.
_WRITE_SECONDS = 5.0


class ClickWriter:
    """Counts and writes the clicks of one process. Every method runs in one event loop."""

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], datetime],
        day: Callable[[datetime], date],
        outages: Outages,
    ) -> None:
        self._engine, self._clock, self._day, self._outages = engine, clock, day, outages
        self._filter = ClickFilter()
        #: The number of this process; 0 is not one.
        self._process_id = 1 + secrets.randbelow(2**62)
        #: What this process has counted since it began, by edition and article.
        self._totals: Counter[tuple[str, int]] = Counter()
        #: Totals that are not written yet.
        self._changed: set[tuple[str, int]] = set()
        self._lock = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def count(self, click: Click) -> None:
        """Count a click, if it turns out to be one that counts."""
        now = self._clock()
        self._filter.take(click, now=now, day=self._day(now))
        self._schedule()

    async def write(self, *, is_last: bool = False) -> None:
        """Write what counts by now; with `is_last`, also what is still held."""
        async with self._lock:
            found = self._filter.settle(self._clock(), is_last=is_last)
            self._totals += found
            self._changed |= found.keys()
            totals = {key: self._totals[key] for key in self._changed}
            if not totals:
                return
            if await run_in_threadpool(self._write, totals):
                self._changed.clear()

    async def close(self) -> None:
        """Write all; called when the server ends."""
        if self._timer is not None:
            self._timer.cancel()
        await self.write(is_last=True)

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WRITE_SECONDS, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._task = asyncio.create_task(self._write_some())

    async def _write_some(self) -> None:
        await self.write()
        if self._changed or not self._filter.is_empty:
            self._schedule()

    def _write(self, totals: Mapping[tuple[str, int], int]) -> bool:
        """Write totals; return False if they have to be written again later."""
        try:
            with sessions.writing(self._engine) as session:
                clicks.write(session, self._process_id, totals)
        except (NewsletterError, PoolTimeout) as exc:
            self._outages.note("Clicks could not be counted yet", exc)
            return False
        except Exception as exc:  # noqa: BLE001 - readers are served all the same
            events.CRASHED(message="Clicks could not be counted.", trace=logs.trace(exc))
        return True
