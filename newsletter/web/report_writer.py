"""Group commit of reports: one transaction for all requests that arrived since the last one.

A request is answered after its reports are committed. Rejected requests are only counted: the
counts are written at most once a second, and logged at most once a minute for each cause, so that a
forged request costs neither a write nor a log line. Bounces and complaints of current editions are
checked against the alarms at most once a second, too.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.concurrency import run_in_threadpool

from newsletter import logs
from newsletter.db import session as sessions
from newsletter.editions import alarms
from newsletter.editions.alarms import Alarm
from newsletter.errors import NewsletterError
from newsletter.feedback import apply
from newsletter.feedback.apply import FeedbackRules, FeedbackTally
from newsletter.feedback.providers.request import Cause
from newsletter.feedback.reports import Arrival, Source
from newsletter.ledger import reports
from newsletter.logs import events
from newsletter.web.notes import Notes

_OURS = "our mail or our records were refused; `newsletter feedback list` shows why"
#: Requests per transaction; each has some events.
_BATCH = 200
#: Seconds to wait after a transaction with several requests, so that more arrive: a transaction
#: costs as much as some tens of events. There is no wait after one with a single request.
_GATHER_SECONDS = 0.2
#: Seconds between writes of counts, and between checks of the alarms.
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
        self._notes: Notes[tuple[Source, Cause]] = Notes(_log_rejected)
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tallied: Notes[str] = Notes(_log_tallied)
        self._is_count_due = False
        self._has_news = False
        #: The tallies of committed batches that are not logged yet.
        self._said: list[FeedbackTally] = []

    async def write(self, read: Callable[[], list[Arrival]]) -> None:
        """Apply the arrivals that `read` returns, in a thread; return after the commit.

        Raises the errors of `read`, and DatabaseUnavailable.
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
        """Write and log all pending counts; called when the server ends."""
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
        """Write batch after batch until no request waits and no count is due."""
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
        """Log replays, and refusals caused by our mail or records; each at most once a minute."""
        tallies, self._said = self._said, []
        for tally in tallies:
            for what, count in tally.rejected.items():
                self._tallied.count(f"rejected ({what})", count=count)
            if tally.ours:
                # Only the sum is logged, because the reasons are free text of servers, which would
                # make too many kinds of lines.
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
        # Not logged here, because the code that pauses an edition logs its alarm.
        await run_in_threadpool(self._alarms)

    def _alarms(self) -> list[Alarm]:
        """Pause editions with too many bounces or complaints, and return the alarms.

        If the database is unavailable, the check is repeated after the next events.
        """
        try:
            return alarms.check(
                self._engine, publication=self._rules.publication, now=self._clock()
            )
        except (NewsletterError, PoolTimeout):
            return []
        except Exception as exc:  # noqa: BLE001 - requests that wait are not to be left alone
            _log_crash("What came back of the editions could not be counted.", exc)
            return []

    def _count(self, counts: Counter[tuple[str, str]]) -> bool:
        """Write counts of rejections; return False if they have to be written again later."""
        try:
            with sessions.writing(self._engine) as session:
                reports.reject(session, counts, now=self._clock())
        except (NewsletterError, PoolTimeout):
            return False
        except Exception as exc:  # noqa: BLE001 - as above; these counts are lost
            _log_crash("What was rejected could not be counted.", exc)
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
            # Applied one by one, so that a faulty request does not block the others of its batch.
            if len(batch) == 1:
                batch[0].error = exc
                return
            for one in batch:
                self._apply([one])


def _settle(one: _Waiting) -> None:
    # The request may have been cancelled meanwhile.
    if one.done.done():
        return
    if one.error is None:
        one.done.set_result(None)
    else:
        one.done.set_exception(one.error)


def _log_crash(what: str, exc: Exception) -> None:
    events.CRASHED(message=what, trace=logs.trace(exc))


def _log_tallied(what: str, count: int, _peer: str) -> None:
    said = f"{count:,} events: {what}." if count > 1 else f"An event: {what}."
    events.REPORTS_REJECTED(count=count, message=said)


def _log_rejected(kind: tuple[Source, Cause], count: int, peer: str) -> None:
    source, cause = kind
    which = "a request" if count == 1 else f"{count:,} requests, the last one"
    said = f"The hook {source} rejected {which} from {peer or 'unknown'}: {_REASONS[cause]}."
    events.HOOK_REJECTED(source=source, cause=cause.value, count=count, peer=peer, message=said)


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
