"""Group commit: one task writes every mark, verdict and claim of a worker, in cycles.

All connections share the cost of a durable commit: requests are collected for a moment, and during
the previous commit. Within a cycle verdicts are written before marks, so that in the database at
most one message of an SMTP connection is in flight at any time.

Transactions on SQLite run in the event loop: they are short, and handing them to a thread and back
costs CPython more than the loop could do meanwhile. If another process has the write lock, the loop
does not wait for it, but retries. Transactions on PostgreSQL, which mostly wait for the network,
run in a thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import tally
from newsletter.db import restore_guard
from newsletter.db import session as sessions
from newsletter.db.engine import is_sqlite
from newsletter.db.restore_guard import Restored
from newsletter.errors import DatabaseBusy, DatabaseUnavailable
from newsletter.ledger import dead_addresses, queue, registry
from newsletter.ledger.dead_addresses import SuppressionRules
from newsletter.ledger.holding import Hold
from newsletter.ledger.queue import Verdict
from newsletter.ledger.registry import Registration
from newsletter.ledger.retry import Policy
from newsletter.sender.claiming import Claiming

T = TypeVar("T")

#: The work of a request in a transaction, given its Session and time. It is repeated with the whole
#: transaction while the database is unavailable.
Work = Callable[[Session, datetime], T]

#: Seconds for which outcomes of messages that servers have accepted are written again after errors.
PATIENCE_SECONDS = 120
_PAUSE_SECONDS = 0.5
#: The first and the longest wait while another process has SQLite's write lock.
_BUSY_SECONDS = 0.001, 0.05
#: Time for which requests are collected before a commit, for each connection: fewer, larger
#: transactions save a third of the processor time, for at most 2 ms of waiting.
_GATHER_SECONDS = 40e-6
#: The share of connections whose marks suffice to commit at once. It is not 1, because a connection
#: that waits for a slow server would delay the others.
_ENOUGH = 0.9


@dataclass
class _Cycle:
    """The requests between two commits."""

    verdicts: list[Verdict] = field(default_factory=list)
    marks: dict[int, asyncio.Future[bool]] = field(default_factory=dict)
    #: The claims to give back, each with its blocked domain, or none.
    returned: dict[int, str | None] = field(default_factory=dict)
    works: list[tuple[Work[Any], asyncio.Future[Any]]] = field(default_factory=list)
    is_last: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.verdicts or self.marks or self.returned or self.works or self.is_last)

    def ended(self) -> set[int]:
        """Return the rows that the worker does not hold after this cycle."""
        return {verdict.delivery_id for verdict in self.verdicts} | self.returned.keys()


@dataclass
class _Answers:
    """The results of a cycle's transaction; delivered only after its commit."""

    marked: set[int] = field(default_factory=set)
    results: list[Any] = field(default_factory=list)
    renewed_at: datetime | None = None
    #: Crashed workers whose rows were taken over.
    dead: list[Registration] = field(default_factory=list)


class Committer:
    """Writes for one worker; its methods are called from the event loop only.

    Raises LeaseLost, in every waiting future and in `close`, once another worker has taken this one
    for dead.
    """

    def __init__(
        self,
        engine: Engine,
        registration: Registration,
        *,
        hold: Hold,
        claiming: Claiming,
        loop: asyncio.AbstractEventLoop,
        policy: Policy,
        suppression: SuppressionRules,
        connections: int,
        ended_at: Callable[[], datetime | None],
        on_commit: Callable[[], object] | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._writer = sessions.Writer(engine, busy_seconds=0)
        self._thread = None if is_sqlite(engine) else ThreadPoolExecutor(1, "committer")
        self._registration = registration
        self._hold = hold
        self._claiming = claiming
        self._policy: Policy = policy
        self._suppression = suppression
        self._gather_seconds = min(connections - 1, 50) * _GATHER_SECONDS
        self._enough = max(1, round(_ENOUGH * connections))
        #: When a mail server last replied about a reader.
        self._ended_at = ended_at
        self._on_commit = on_commit
        self._clock = clock
        self._loop = loop
        self._next = _Cycle()
        #: Set when there is a request, and when there are enough marks to commit at once.
        self._is_wanted, self._is_full = asyncio.Event(), asyncio.Event()
        self._renewed_at = clock()
        self._failure: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task that commits requests."""
        self._task = self._loop.create_task(self._run())

    def mark(self, delivery_id: int) -> asyncio.Future[bool]:
        """Commit the mark of a message; False means that it must not be sent."""
        waiter: asyncio.Future[bool] = self._loop.create_future()
        marks = self._open().marks
        marks[delivery_id] = waiter
        if len(marks) == self._enough:
            self._is_full.set()
        return waiter

    def record(self, verdict: Verdict) -> None:
        """Write a verdict with the next commit."""
        self._open().verdicts.append(verdict)

    def put_back(self, delivery_id: int, blocked_domain: str | None = None) -> None:
        """Give back a claim that cannot be sent yet, under its blocked domain if there is one."""
        self._open().returned[delivery_id] = blocked_domain

    def submit(self, work: Work[T]) -> asyncio.Future[T]:
        """Do some work in the next transaction, after verdicts and marks, in the order of calls."""
        waiter: asyncio.Future[T] = self._loop.create_future()
        self._open().works.append((work, waiter))
        return waiter

    def has_lapsed(self) -> bool:
        """Return whether the lease has expired: another worker may have taken over the rows.

        The wall clock decides, because the monotonic clock stops while a machine is suspended.
        """
        return self._clock() - self._renewed_at > registry.LEASE

    async def close(self) -> None:
        """Write all pending requests and end the task; raise the failure that prevented it."""
        assert self._task is not None
        if self._failure is None:
            self._open().is_last = True
            self._is_full.set()
        # Not awaited directly, because a cancelled caller would cancel the task, too.
        await asyncio.wait((self._task,))
        if self._failure is not None:
            raise self._failure

    def _open(self) -> _Cycle:
        """Return the cycle that collects requests."""
        if self._failure is not None:
            raise self._failure
        self._is_wanted.set()
        return self._next

    async def _run(self) -> None:
        cycle = _Cycle()
        try:
            while not cycle.is_last:
                cycle = await self._take()
                answers = await self._commit(cycle)
                if self._on_commit is not None:
                    self._on_commit()
                _answer(cycle.marks.values(), (one in answers.marked for one in cycle.marks))
                _answer((waiter for _, waiter in cycle.works), answers.results)
        except Exception as exc:  # noqa: BLE001 - raised by every waiting future and by close
            self._failure = exc
            _refuse(cycle, exc)
            _refuse(self._next, exc)
        finally:
            if self._thread is not None:
                self._thread.shutdown()
            self._writer.close()

    async def _take(self) -> _Cycle:
        """Wait for requests, at most until the lease is to be renewed; then collect more."""
        await self._until(self._is_wanted, registry.RENEWAL.total_seconds())
        await self._until(self._is_full, self._gather_seconds)
        self._is_wanted.clear()
        self._is_full.clear()
        cycle, self._next = self._next, _Cycle()
        return cycle

    async def _until(self, event: asyncio.Event, seconds: float) -> None:
        if not event.is_set():
            timer = self._loop.call_later(seconds, event.set)
            await event.wait()
            timer.cancel()

    async def _commit(self, cycle: _Cycle) -> _Answers:
        """Commit a cycle; retry for PATIENCE_SECONDS while the database is unavailable or full."""
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        busy_seconds, longest = _BUSY_SECONDS
        is_repeated = False
        while True:
            try:
                if self._thread is None:
                    return self._transact(cycle, is_repeated)
                return await self._loop.run_in_executor(
                    self._thread, self._transact, cycle, is_repeated
                )
            except DatabaseUnavailable as exc:
                if time.monotonic() > give_up_at:
                    raise
                pause = _PAUSE_SECONDS
                if isinstance(exc, DatabaseBusy):
                    pause, busy_seconds = busy_seconds, min(2 * busy_seconds, longest)
                else:
                    is_repeated = True
            await asyncio.sleep(pause)

    def _transact(self, cycle: _Cycle, is_repeated: bool) -> _Answers:  # noqa: FBT001 - executors pass no keywords
        """Try once to commit a cycle."""
        begun_at = self._clock()
        is_due = begun_at - self._renewed_at >= registry.RENEWAL
        with restore_guard.sending(
            self._engine,
            Restored.IGNORED,
            advance_at=begun_at if is_due else None,
            writer=self._writer,
        ) as session:
            # The time is read again, because waiting for locks may have taken a minute.
            now = self._clock()
            if is_due:
                registry.renew(session, self._registration, now=now)
                registry.note_end(session, self._ended_at())
            self._hold.begin(
                session, ended=cycle.ended(), marked=cycle.marks, is_repeated=is_repeated
            )
            answers = self._write(session, cycle, now, is_due=is_due)
            self._hold.store(session)
        self._hold.keep()
        self._renewed_at = answers.renewed_at or self._renewed_at
        registry.forget(self._engine, (one.name for one in answers.dead))
        return answers

    def _write(self, session: Session, cycle: _Cycle, now: datetime, *, is_due: bool) -> _Answers:
        answers = _Answers()
        if cycle.verdicts:
            dead_addresses.suppress_dead(session, cycle.verdicts, rules=self._suppression, now=now)
        if is_due:
            # Lock order: suppressions before deliveries, as in an erasure, or the two deadlock.
            answers.renewed_at = now
            answers.dead = registry.take_over_dead(session, policy=self._policy, now=now)
            tally.fold(session)
        if cycle.verdicts:
            queue.record(session, self._hold, verdicts=cycle.verdicts, now=now)
        if cycle.marks:
            answers.marked = queue.mark(session, self._hold, ids=cycle.marks.keys(), now=now)
        if cycle.returned:
            queue.put_back(session, self._hold, blocked_domains=cycle.returned, now=now)
        if cycle.verdicts:
            # Lock order: after the last delivery row for which this transaction may wait, because
            # every claim of every worker locks the pace row.
            self._claiming.learn(session, cycle.verdicts, now)
        # Stored before claims, so that rows that were given back can be claimed again.
        self._hold.store(session)
        answers.results = [work(session, now) for work, _ in cycle.works]
        return answers


def _answer(waiters: Iterable[asyncio.Future[T]], answers: Iterable[T]) -> None:
    for waiter, answer in zip(waiters, answers, strict=True):
        if not waiter.done():
            waiter.set_result(answer)


def _refuse(cycle: _Cycle, exc: Exception) -> None:
    for waiter in (*cycle.marks.values(), *(waiter for _, waiter in cycle.works)):
        if not waiter.done():
            waiter.set_exception(exc)
