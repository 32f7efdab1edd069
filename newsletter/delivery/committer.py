"""One thread, one connection: every mark, verdict and claim of a worker, a transaction a cycle.

While one transaction is being committed, the next one's requests gather, so the cost of a durable
commit is shared by all connections. Within a cycle verdicts are written before marks: of one SMTP
connection at most one message is in flight in the database at any time.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Engine, Select
from sqlmodel import Session

from newsletter.db import session as sessions
from newsletter.db import witness
from newsletter.delivery import faults, ledger, limits, roster
from newsletter.delivery.faults import Rules
from newsletter.delivery.ledger import Claim, Verdict
from newsletter.delivery.limits import Lease, Limits
from newsletter.delivery.retry import Policy
from newsletter.delivery.roster import Presence
from newsletter.errors import DatabaseUnavailable, NewsletterError

#: How long to go on trying to write what the server has already accepted.
PATIENCE_SECONDS = 120
_PAUSE_SECONDS = 0.5
#: How long to let requests gather, for each connection that may have one: fewer, larger
#: transactions take a third of the processor's time from sending, and 2 ms at most of waiting.
_GATHER_SECONDS = 40e-6


#: How often, in one transaction, more is claimed because all of it had to wait.
_CLAIMS_AT_MOST = 20
#: Messages that leases of some instants were not used for.
Unused = list[tuple[datetime, int]]


class Brakes(NamedTuple):
    """What somebody has stopped: the operator an edition, or a worker a domain."""

    mailings: set[int]
    #: Until when.
    domains: dict[str, datetime]


@dataclass
class _Cycle:
    """What is asked for between two commits."""

    verdicts: list[Verdict] = field(default_factory=list)
    marks: dict[int, asyncio.Future[bool]] = field(default_factory=dict)
    claims: list[tuple[int, asyncio.Future[list[Claim]]]] = field(default_factory=list)
    leases: list[tuple[int, Unused, asyncio.Future[Lease]]] = field(default_factory=list)
    looks: list[tuple[frozenset[int], asyncio.Future[Brakes]]] = field(default_factory=list)
    returned: dict[int, datetime] = field(default_factory=dict)
    is_last: bool = False

    @property
    def is_empty(self) -> bool:
        return not (
            self.verdicts
            or self.marks
            or self.claims
            or self.leases
            or self.looks
            or self.returned
            or self.is_last
        )


@dataclass
class _Answers:
    """What a cycle's transaction found; told only after its commit."""

    marked: set[int] = field(default_factory=set)
    claimed: list[list[Claim]] = field(default_factory=list)
    #: How many messages at a time to each domain that is limited, of those that were claimed.
    shares: dict[str, int] = field(default_factory=dict)
    leased: list[Lease] = field(default_factory=list)
    brakes: list[Brakes] = field(default_factory=list)
    renewed_at: datetime | None = None
    worked_until: datetime | None = None
    #: Workers that have died and whose rows were taken over.
    dead: list[Presence] = field(default_factory=list)


class LeaseLost(NewsletterError):
    """Another worker has taken this one for dead and taken over its rows."""


class Committer:
    """Writes for one worker; its methods are called from the event loop only."""

    def __init__(
        self,
        engine: Engine,
        presence: Presence,
        *,
        policy: Policy,
        faults: Rules,
        rules: Limits,
        connections: int,
        clock: Callable[[], datetime],
        mailings: Select[tuple[int]] | None = None,
        excluded: Select[tuple[int]] | None = None,
    ) -> None:
        self._engine = engine
        self._writer = sessions.Writer(engine)
        self._presence = presence
        self._policy: Policy = policy
        self._faults = faults
        self._limits = rules
        #: How many messages at a time to each domain that is limited, as far as is known here.
        self.shares: dict[str, int] = {}
        self._gather_seconds = min(connections - 1, 50) * _GATHER_SECONDS
        self._clock = clock
        self._mailings = mailings
        self._excluded = excluded
        self._loop = asyncio.get_running_loop()
        self._next = _Cycle()
        self._lock = threading.Lock()
        self._wanted = threading.Condition(self._lock)
        # Between the two ends of a commit nobody has to be woken.
        self._is_awake = True
        self._renewed_at = clock()
        # Ids that were claimed here and neither marked nor given back, as far as was told.
        self._claimed: set[int] = set()
        self._failure: Exception | None = None
        self._done = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._thread.start()

    def claim(self, limit: int) -> asyncio.Future[list[Claim]]:
        """Claim up to `limit` due rows."""
        waiter: asyncio.Future[list[Claim]] = self._loop.create_future()
        with self._lock:
            self._open().claims.append((limit, waiter))
        return waiter

    def mark(self, delivery_id: int) -> asyncio.Future[bool]:
        """Commit that a message is in flight; False means that it must not leave."""
        waiter: asyncio.Future[bool] = self._loop.create_future()
        with self._lock:
            self._open().marks[delivery_id] = waiter
        return waiter

    def record(self, verdict: Verdict) -> None:
        """Have a verdict written with the next commit."""
        with self._lock:
            self._open().verdicts.append(verdict)

    def lease(self, wanted: int, unused: Unused) -> asyncio.Future[Lease]:
        """Take leave for up to `wanted` messages, and give back what was not used of it."""
        waiter: asyncio.Future[Lease] = self._loop.create_future()
        with self._lock:
            self._open().leases.append((wanted, unused, waiter))
        return waiter

    def look(self, mailings: frozenset[int]) -> asyncio.Future[Brakes]:
        """Ask which of some mailings, and mail to which domains, may not be sent now."""
        waiter: asyncio.Future[Brakes] = self._loop.create_future()
        with self._lock:
            self._open().looks.append((mailings, waiter))
        return waiter

    def put_back(self, delivery_id: int, until: datetime) -> None:
        """Give a claim back that cannot be sent yet."""
        with self._lock:
            self._open().returned[delivery_id] = until

    async def close(self) -> None:
        """Write what is left and end; raise what kept it from being written."""
        if self._failure is None:
            with self._lock:
                self._next.is_last = True
                self._wanted.notify()
        await self._done.wait()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _open(self) -> _Cycle:
        """Return the cycle that is not begun yet, and wake the thread if it is waiting for one."""
        if self._failure is not None:
            raise self._failure
        if not self._is_awake:
            self._is_awake = True
            self._wanted.notify()
        return self._next

    def _tell(self, cycle: _Cycle, answers: _Answers) -> None:
        for delivery_id, marked in cycle.marks.items():
            if not marked.done():
                marked.set_result(delivery_id in answers.marked)
        if cycle.claims:
            self.shares = answers.shares
        for (_, claimed), claims in zip(cycle.claims, answers.claimed, strict=True):
            if not claimed.done():
                claimed.set_result(claims)
        for (_, found), brakes in zip(cycle.looks, answers.brakes, strict=True):
            if not found.done():
                found.set_result(brakes)
        for (_, _, leased), lease in zip(cycle.leases, answers.leased, strict=True):
            if not leased.done():
                leased.set_result(lease)

    # In the thread.

    def _run(self) -> None:
        cycle = _Cycle()
        try:
            while not cycle.is_last:
                cycle = self._take()
                answers = self._commit(cycle)
                self._loop.call_soon_threadsafe(self._tell, cycle, answers)
        except Exception as exc:  # noqa: BLE001 - told to whoever waits, and raised by close
            self._fail(cycle, exc)
        finally:
            self._writer.close()
            self._loop.call_soon_threadsafe(self._done.set)

    def _take(self) -> _Cycle:
        """Wait for something to do, but not past the renewal of the lease; let more gather."""
        with self._lock:
            self._is_awake = not self._next.is_empty
            self._wanted.wait_for(
                lambda: not self._next.is_empty, timeout=roster.RENEWAL.total_seconds()
            )
            self._is_awake = True
        time.sleep(self._gather_seconds)
        with self._lock:
            cycle, self._next = self._next, _Cycle()
            return cycle

    def _commit(self, cycle: _Cycle) -> _Answers:
        """Commit a cycle; a database that is away or full is waited for, within bounds."""
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        is_repeated = False
        while True:
            try:
                with self._writer.transaction() as session:
                    if is_repeated:
                        self._release_untold(session)
                    answers = self._write(session, cycle, self._clock())
            except DatabaseUnavailable:
                if time.monotonic() > give_up_at:
                    raise
                is_repeated = True
                time.sleep(_PAUSE_SECONDS)
            else:
                self._remember(cycle, answers)
                return answers

    def _remember(self, cycle: _Cycle, answers: _Answers) -> None:
        self._renewed_at = answers.renewed_at or self._renewed_at
        if answers.worked_until is not None:
            witness.remember(self._engine, answers.worked_until)
        self._claimed.difference_update(cycle.marks)
        self._claimed.difference_update(verdict.delivery_id for verdict in cycle.verdicts)
        self._claimed.difference_update(cycle.returned)
        self._claimed.update(claim.id for batch in answers.claimed for claim in batch)
        roster.forget(presence.name for presence in answers.dead)

    def _release_untold(self, session: Session) -> None:
        """Give back claims of a commit that came through although its answer was lost."""
        worker_id = self._presence.id
        ledger.release(session, worker_id=worker_id, now=self._clock(), keep=self._claimed)

    def _write(self, session: Session, cycle: _Cycle, now: datetime) -> _Answers:
        answers = _Answers()
        worker_id = self._presence.id
        if now - self._renewed_at >= roster.RENEWAL:
            if not roster.renew(session, self._presence, now=now):
                raise LeaseLost
            answers.renewed_at = now
            answers.worked_until = witness.advance(session, now)
            answers.dead = roster.take_over_dead(session, policy=self._policy, now=now)
        if cycle.verdicts:
            faults.suppress_dead(session, cycle.verdicts, rules=self._faults, now=now)
            ledger.record(session, worker_id=worker_id, verdicts=cycle.verdicts, now=now)
            limits.learn(session, cycle.verdicts, self._limits, slow=self.shares, now=now)
        if cycle.marks:
            ids = list(cycle.marks)
            answers.marked = ledger.mark(session, worker_id=worker_id, ids=ids, now=now)
        ledger.put_back(session, worker_id=worker_id, until=cycle.returned, now=now)
        for limit, _ in cycle.claims:
            answers.claimed.append(self._claim(session, limit, answers.shares, now))
        for looked_at, _ in cycle.looks:
            withheld: set[int] = set()
            if self._excluded is not None:
                withheld = ledger.withheld(session, looked_at, self._excluded)
            answers.brakes.append(Brakes(withheld, limits.paused(session, now)))
        for wanted, unused, _ in cycle.leases:
            limits.give_back(session, self._limits, unused=unused, now=now)
            lease = limits.lease(session, self._limits, wanted=wanted, now=now)
            answers.leased.append(lease)
        return answers

    def _claim(
        self, session: Session, limit: int, shares: dict[str, int], now: datetime
    ) -> list[Claim]:
        """Claim rows; those of a domain that has to wait go back until their turn."""
        worker_id = self._presence.id
        for _ in range(_CLAIMS_AT_MOST):
            claimed = ledger.claim(
                session,
                worker_id=worker_id,
                limit=limit,
                now=now,
                mailings=self._mailings,
                excluded=self._excluded,
            )
            waiting, of_domains = limits.restrain(
                session, claimed, self._limits, worker_id=worker_id, now=now
            )
            shares.update(of_domains)
            ledger.put_back(session, worker_id=worker_id, until=waiting, now=now)
            if not waiting or len(waiting) < len(claimed):
                return [claim for claim in claimed if claim.id not in waiting]
        return []

    def _fail(self, cycle: _Cycle, exc: Exception) -> None:
        with self._lock:
            self._failure = exc
            left, self._next = self._next, _Cycle()
        for unanswered in (cycle, left):
            self._loop.call_soon_threadsafe(_refuse, unanswered, exc)


def _refuse(cycle: _Cycle, exc: Exception) -> None:
    waiters: list[asyncio.Future[Any]] = [
        *cycle.marks.values(),
        *(waiter for _, waiter in cycle.claims),
        *(waiter for *_, waiter in cycle.leases),
        *(waiter for _, waiter in cycle.looks),
    ]
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(exc)
