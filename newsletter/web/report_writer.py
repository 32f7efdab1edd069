"""Group commit of reports: one transaction for all that have come in since the last one.

A request is answered when its own are committed. What is rejected is only counted: the counts are
written with the next transaction, or at most once a second, and logged at most once a minute for
each cause, so that forged requests cost neither a write nor a line each. What has come back of the
editions that are being sent is counted at most once a second, too, for the alarms.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.concurrency import run_in_threadpool

from newsletter.db import session as sessions
from newsletter.editions import alarms
from newsletter.editions.alarms import Alarm
from newsletter.errors import NewsletterError
from newsletter.feedback import apply
from newsletter.feedback.apply import FeedbackRules, FeedbackTally
from newsletter.feedback.providers.request import Cause
from newsletter.feedback.reports import Arrival, Source
from newsletter.ledger import reports
from newsletter.web.notes import Notes

logger = logging.getLogger(__name__)

_OURS = "our mail or our records were refused; `newsletter feedback list` shows why"
#: Requests of one transaction; each has some events.
_BATCH = 200
#: Seconds after a transaction of several requests, in which more come in: it costs by itself as
#: much as some tens of events. One that comes alone does not wait, and nor does the next.
_GATHER_SECONDS = 0.2
#: Seconds between writes of counts alone, and between looks at the alarms.
_COUNT_SECONDS = 1.0


@dataclass
class _Waiting:
    """A request whose events are not committed yet."""

    read: Callable[[], list[Arrival]]
    done: asyncio.Future[None]
    arrivals: list[Arrival] = field(default_factory=list)
    error: Exception | None = None


class ReportWriter:
    """Writes reports and counts in batches. Every method runs in one event loop."""

    def __init__(self, engine: Engine, rules: FeedbackRules, clock: Callable[[], datetime]) -> None:
        self._engine, self._rules, self._clock = engine, rules, clock
        self._waiting: list[_Waiting] = []
        self._rejected: Counter[tuple[str, str]] = Counter()
        self._notes: Notes[tuple[Source, Cause]] = Notes(_sentence, logger.warning)
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tallied: Notes[str] = Notes(_tallied, logger.warning)
        self._is_count_due = False
        self._has_news = False
        #: Of batches that are committed, to be logged.
        self._said: list[FeedbackTally] = []

    async def write(self, read: Callable[[], list[Arrival]]) -> None:
        """Apply what `read` returns in a thread, and return when it is committed.

        Raises what `read` raises, and DatabaseUnavailable.
        """
        waiting = _Waiting(read, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._start()
        await waiting.done

    def reject(self, source: Source, cause: Cause, peer: str) -> None:
        """Count a request that was rejected, and log it."""
        self._rejected[source.value, cause.value] += 1
        self._notes.count((source, cause), peer)
        self._notes.flush(asyncio.get_running_loop().time())
        self._schedule()

    async def close(self) -> None:
        """Write and log what is still counted; for the end of the server."""
        self._notes.flush()
        self._on_time()
        if self._task is not None:
            await self._task
        self._tallied.flush()

    def _schedule(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_COUNT_SECONDS, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        for notes in (self._notes, self._tallied):
            notes.flush(asyncio.get_running_loop().time())
        if self._rejected or self._has_news:
            self._is_count_due = True
            self._start()
        if not (self._notes.is_empty and self._tallied.is_empty):
            self._schedule()

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_all())

    async def _write_all(self) -> None:
        """Write batch after batch, until nobody waits and no count is due."""
        while self._waiting or self._is_count_due:
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            if batch:
                await run_in_threadpool(self._write, batch)
                self._has_news = self._has_news or any(one.error is None for one in batch)
                self._schedule()
            for one in batch:
                _settle(one)
            self._note_tallies()
            if self._is_count_due:
                await self._write_counts()
                await self._look_at_alarms()
            if len(batch) > 1:
                await asyncio.sleep(_GATHER_SECONDS)

    def _note_tallies(self) -> None:
        """Log what was replayed, and what of ours was refused; at most once a minute for each."""
        tallies, self._said = self._said, []
        for tally in tallies:
            for what, count in tally.rejected.items():
                self._tallied.count(f"rejected ({what})", count=count)
            if tally.ours:
                # What each was refused for is any server's words: too many kinds of lines.
                self._tallied.count(_OURS, count=tally.ours.total())
        self._tallied.flush(asyncio.get_running_loop().time())
        if not self._tallied.is_empty:
            self._schedule()

    async def _write_counts(self) -> None:
        self._is_count_due = False
        counts, self._rejected = self._rejected, Counter()
        if counts and not await run_in_threadpool(self._count, counts):
            self._rejected += counts
            self._schedule()

    async def _look_at_alarms(self) -> None:
        if not self._has_news:
            return
        self._has_news = False
        for alarm in await run_in_threadpool(self._alarms):
            logger.warning("%s is paused: %s.", alarm.edition, alarm.reason)

    def _alarms(self) -> list[Alarm]:
        """Pause editions of which too much came back; without the database, the next events do."""
        try:
            return alarms.check(
                self._engine, publication=self._rules.publication, now=self._clock()
            )
        except (NewsletterError, PoolTimeout):
            return []
        except Exception:  # requests that wait are not to be left alone
            logger.exception("What came back of the editions could not be counted.")
            return []

    def _count(self, counts: Counter[tuple[str, str]]) -> bool:
        """Add to the counts of rejections; return whether they are committed."""
        try:
            with sessions.writing(self._engine) as session:
                reports.reject(session, counts, now=self._clock())
        except (NewsletterError, PoolTimeout):
            return False
        except Exception:  # as above; these counts are lost
            logger.exception("What was rejected could not be counted.")
        return True

    def _write(self, batch: Sequence[_Waiting]) -> None:
        for one in batch:
            try:
                one.arrivals = one.read()
            except Exception as exc:  # noqa: BLE001 - it is raised where the request waits
                one.error = exc
        self._apply([one for one in batch if one.arrivals])

    def _apply(self, batch: Sequence[_Waiting]) -> None:
        if not batch:
            return
        arrivals = [arrival for one in batch for arrival in one.arrivals]
        try:
            tally = apply.apply_all(self._engine, arrivals, rules=self._rules, now=self._clock())
            self._said.append(tally)
        except (NewsletterError, PoolTimeout) as exc:
            for one in batch:
                one.error = exc
        except Exception as exc:  # noqa: BLE001 - it is raised where the request waits
            # One request must not keep out those that have come with it.
            if len(batch) == 1:
                batch[0].error = exc
                return
            for one in batch:
                self._apply([one])


def _settle(one: _Waiting) -> None:
    # The request may have ended before.
    if one.done.done():
        return
    if one.error is None:
        one.done.set_result(None)
    else:
        one.done.set_exception(one.error)


def _tallied(what: str, count: int, _peer: str) -> str:
    return f"{count:,} events: {what}." if count > 1 else f"An event: {what}."


def _sentence(kind: tuple[Source, Cause], count: int, peer: str) -> str:
    source, cause = kind
    which = "a request" if count == 1 else f"{count:,} requests, the last one"
    return f"The hook {source} rejected {which} from {peer or 'unknown'}: {_REASONS[cause]}."


_REASONS = {
    Cause.PATH: "the end of its path is not hook_secret",
    Cause.SIGNATURE: "its signature or login is not by what the settings name",
    Cause.STALE: "it was signed too long ago, or a clock is wrong",
    Cause.TOPIC: "its topic is none of ses_topics",
    Cause.CERTIFICATE: "its signing certificate is not one of Amazon SNS that is valid now",
    Cause.UNREACHABLE: "Amazon SNS could not be asked for its signing certificate",
    Cause.MALFORMED: "it is not of the provider's form",
    Cause.TOO_LARGE: "it is larger than 1 MB",
}
