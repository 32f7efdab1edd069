"""Group commit: one thread writes every mark, verdict and claim of a worker, in cycles.

While one transaction is committed, requests for the next one gather, so that all connections share
the cost of a durable commit. Within a cycle verdicts are written before marks: in the database, at
most one message of an SMTP connection is in flight at any time.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Engine, Select
from sqlmodel import Session

from newsletter.db import restore_guard
from newsletter.db import session as sessions
from newsletter.db.restore_guard import Restored
from newsletter.errors import DatabaseUnavailable, NewsletterError
from newsletter.ledger import dead_addresses, queue, registry
from newsletter.ledger.dead_addresses import SuppressionRules
from newsletter.ledger.queue import BlockedDomain, Claim, Verdict
from newsletter.ledger.registry import Registration
from newsletter.ledger.retry import Policy
from newsletter.sender import domain_limits, limits
from newsletter.sender.budget import Unused
from newsletter.sender.domain_limits import Allowance
from newsletter.sender.limits import Limits, Reservation, SendSlots

T = TypeVar("T")

#: How long to retry writing what servers have already accepted.
PATIENCE_SECONDS = 120
_PAUSE_SECONDS = 0.5
#: How long requests gather before a commit, for each connection: fewer, larger transactions save a
#: third of the processor's time, for at most 2 ms of waiting.
_GATHER_SECONDS = 40e-6
#: The share of connections whose marks are enough to commit at once: meanwhile the server is busy
#: with the messages of the others.
_ENOUGH = 0.4

#: How often one transaction claims again because all rows belonged to blocked domains.
_CLAIMS_AT_MOST = 20
#: How many blocked domains one transaction looks at: there is no bound on how many there are.
_BLOCKED_DOMAINS_AT_MOST = 200


class Claimed(NamedTuple):
    """The claims, and when there may be more rows for which it is too early now."""

    claims: list[Claim]
    again_at: datetime | None


class Pauses(NamedTuple):
    """The mailings that the operator paused and the domains that a worker paused."""

    mailings: set[int]
    #: Until when each is paused.
    domains: dict[str, datetime]


@dataclass
class _Cycle:
    """The requests between two commits."""

    verdicts: list[Verdict] = field(default_factory=list)
    marks: dict[int, asyncio.Future[bool]] = field(default_factory=dict)
    claims: list[tuple[int, asyncio.Future[Claimed]]] = field(default_factory=list)
    #: How many messages the worker holds for each domain.
    holding: Mapping[str, int] = field(default_factory=dict)
    reservations: list[tuple[int, Unused, asyncio.Future[Reservation]]] = field(
        default_factory=list
    )
    send_times: list[tuple[timedelta, asyncio.Future[SendSlots]]] = field(default_factory=list)
    polls: list[tuple[frozenset[int], asyncio.Future[Pauses]]] = field(default_factory=list)
    #: The claims to give back, each with its blocked domain, or none.
    returned: dict[int, str | None] = field(default_factory=dict)
    is_last: bool = False

    @property
    def is_empty(self) -> bool:
        asked = (self.verdicts, self.marks, self.claims, self.reservations, self.send_times)
        return not (any(asked) or self.polls or self.returned or self.is_last)


@dataclass
class _Answers:
    """The results of a cycle's transaction; delivered only after its commit."""

    marked: set[int] = field(default_factory=set)
    claimed: list[Claimed] = field(default_factory=list)
    #: The allowance of each limited domain that this cycle read.
    allowed: dict[str, Allowance] = field(default_factory=dict)
    reserved: list[Reservation] = field(default_factory=list)
    send_times: list[SendSlots] = field(default_factory=list)
    pauses: list[Pauses] = field(default_factory=list)
    renewed_at: datetime | None = None
    #: Crashed workers whose rows were taken over.
    dead: list[Registration] = field(default_factory=list)


class LeaseLost(NewsletterError):
    """Another worker has taken this one for dead and taken over its rows."""


class Committer:
    """Writes for one worker; its methods are called from the event loop only."""

    def __init__(
        self,
        engine: Engine,
        registration: Registration,
        *,
        loop: asyncio.AbstractEventLoop,
        policy: Policy,
        suppression: SuppressionRules,
        rules: Limits,
        connections: int,
        clock: Callable[[], datetime],
        mailings: Select[tuple[int]] | None = None,
        excluded: Select[tuple[int]] | None = None,
    ) -> None:
        self._engine = engine
        self._writer = sessions.Writer(engine)
        self._registration = registration
        self._policy: Policy = policy
        self._suppression = suppression
        self._limits = rules
        #: The allowance of each limited domain, as last read.
        self.allowed: dict[str, Allowance] = {}
        self._gather_seconds = min(connections - 1, 50) * _GATHER_SECONDS
        self._enough = max(1, round(_ENOUGH * connections))
        self._clock = clock
        self._mailings = mailings
        self._excluded = excluded
        self._loop = loop
        self._next = _Cycle()
        self._lock = threading.Lock()
        self._wanted = threading.Condition(self._lock)
        # Whether the thread is running: then a request need not notify it.
        self._is_awake = True
        self._renewed_at = clock()
        #: Of a round through all blocked domains: the last one that was looked at, and when there
        #: may be more rows of those before it.
        self._domain_after: BlockedDomain | None = None
        self._again_at: list[datetime] = []
        # Ids of claims that were delivered to the worker and neither marked nor given back.
        self._claimed: set[int] = set()
        self._failure: Exception | None = None
        self._done = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    def start(self) -> None:
        """Begin to commit what is asked for."""
        self._thread.start()

    @property
    def thread(self) -> int:
        """The native id of its thread."""
        assert self._thread.native_id is not None
        return self._thread.native_id

    def claim(self, limit: int, holding: Mapping[str, int]) -> asyncio.Future[Claimed]:
        """Claim up to `limit` due rows; `holding` counts the messages held for each domain."""
        waiter: asyncio.Future[Claimed] = self._loop.create_future()
        with self._lock:
            cycle = self._open()
            cycle.claims.append((limit, waiter))
            cycle.holding = holding
        return waiter

    def mark(self, delivery_id: int) -> asyncio.Future[bool]:
        """Commit that a message is in flight; False means that it must not leave."""
        waiter: asyncio.Future[bool] = self._loop.create_future()
        with self._lock:
            marks = self._open().marks
            marks[delivery_id] = waiter
            if len(marks) == self._enough:
                self._wanted.notify()
        return waiter

    def record(self, verdict: Verdict) -> None:
        """Have a verdict written with the next commit."""
        with self._lock:
            self._open().verdicts.append(verdict)

    def reserve(self, wanted: int, unused: Unused) -> asyncio.Future[Reservation]:
        """Reserve permits for up to `wanted` messages, and give back `unused` ones."""
        waiter: asyncio.Future[Reservation] = self._loop.create_future()
        with self._lock:
            self._open().reservations.append((wanted, unused, waiter))
        return waiter

    def send_times(self, lead: timedelta) -> asyncio.Future[SendSlots]:
        """Reserve send times of a limit by the second, none before `lead` has passed."""
        waiter: asyncio.Future[SendSlots] = self._loop.create_future()
        with self._lock:
            self._open().send_times.append((lead, waiter))
        return waiter

    def poll_pauses(
        self, mailings: frozenset[int], holding: Mapping[str, int]
    ) -> asyncio.Future[Pauses]:
        """Read which of these mailings, and which domains, are paused now."""
        waiter: asyncio.Future[Pauses] = self._loop.create_future()
        with self._lock:
            cycle = self._open()
            cycle.polls.append((mailings, waiter))
            cycle.holding = holding
        return waiter

    def put_back(self, delivery_id: int, blocked_domain: str | None = None) -> None:
        """Give back a claim that cannot be sent yet, under its blocked domain if there is one."""
        with self._lock:
            self._open().returned[delivery_id] = blocked_domain

    def has_lapsed(self) -> bool:
        """Tell whether the lease ran out, so that another worker may have taken over the rows.

        By the wall clock: the monotonic one stands still while a machine is suspended.
        """
        return self._clock() - self._renewed_at > registry.LEASE

    async def close(self) -> None:
        """Write what is left and end the thread; raise the failure that prevented it."""
        if self._failure is None:
            with self._lock:
                self._next.is_last = True
                self._wanted.notify()
        await self._done.wait()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _open(self) -> _Cycle:
        """Return the cycle that gathers requests, and wake the thread if it waits for one."""
        if self._failure is not None:
            raise self._failure
        if not self._is_awake:
            self._is_awake = True
            self._wanted.notify()
        return self._next

    def _deliver(self, cycle: _Cycle, answers: _Answers) -> None:
        if cycle.claims:
            self.allowed = answers.allowed
        elif cycle.polls or answers.allowed:
            # Keep the allowances of domains that this cycle did not read.
            unseen = self.allowed.keys() - cycle.holding.keys()
            self.allowed = {domain: self.allowed[domain] for domain in unseen} | answers.allowed
        _answer(cycle.marks.values(), (one in answers.marked for one in cycle.marks))
        _answer((waiter for _, waiter in cycle.claims), answers.claimed)
        _answer((waiter for _, waiter in cycle.polls), answers.pauses)
        _answer((waiter for *_, waiter in cycle.reservations), answers.reserved)
        _answer((waiter for _, waiter in cycle.send_times), answers.send_times)

    # In the thread.

    def _run(self) -> None:
        cycle = _Cycle()
        try:
            while not cycle.is_last:
                cycle = self._take()
                answers = self._commit(cycle)
                self._loop.call_soon_threadsafe(self._deliver, cycle, answers)
        except Exception as exc:  # noqa: BLE001 - raised by every waiting future and by close
            self._fail(cycle, exc)
        finally:
            self._writer.close()
            self._loop.call_soon_threadsafe(self._done.set)

    def _take(self) -> _Cycle:
        """Wait for requests, but not past the renewal of the lease; let more gather."""
        with self._lock:
            self._is_awake = not self._next.is_empty
            self._wanted.wait_for(
                lambda: not self._next.is_empty, timeout=registry.RENEWAL.total_seconds()
            )
            self._is_awake = True
            self._wanted.wait_for(
                lambda: len(self._next.marks) >= self._enough or self._next.is_last,
                timeout=self._gather_seconds,
            )
            cycle, self._next = self._next, _Cycle()
            return cycle

    def _commit(self, cycle: _Cycle) -> _Answers:
        """Commit a cycle; retry for PATIENCE_SECONDS while the database is unavailable or full."""
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        is_repeated = False
        while True:
            begun_at = self._clock()
            is_due = begun_at - self._renewed_at >= registry.RENEWAL
            try:
                with restore_guard.sending(
                    self._engine,
                    Restored.IGNORED,
                    advance_at=begun_at if is_due else None,
                    writer=self._writer,
                ) as session:
                    # Not `begun_at`: SQLite's write lock may have taken a minute.
                    now = self._clock()
                    if is_due:
                        self._renew(session, now)
                    if is_repeated:
                        self._release_undelivered(session)
                    answers = self._write(session, cycle, now, is_due=is_due)
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
        self._claimed.difference_update(cycle.marks)
        self._claimed.difference_update(verdict.delivery_id for verdict in cycle.verdicts)
        self._claimed.difference_update(cycle.returned)
        self._claimed.update(claim.id for found in answers.claimed for claim in found.claims)
        registry.forget(self._engine, (registration.name for registration in answers.dead))

    def _release_undelivered(self, session: Session) -> None:
        """Give back claims of a commit that succeeded although its answer was lost."""
        worker_id = self._registration.id
        queue.release(session, worker_id=worker_id, now=self._clock(), keep=self._claimed)

    def _renew(self, session: Session, now: datetime) -> None:
        if not registry.renew(session, self._registration, now=now):
            raise LeaseLost(
                hint="Nobody is lost: another worker has what this one held. Run the same "
                "command again; if it comes back, look at this machine's clock, and whether it "
                "was suspended."
            )

    def _write(self, session: Session, cycle: _Cycle, now: datetime, *, is_due: bool) -> _Answers:
        answers = _Answers()
        worker_id = self._registration.id
        troubled: set[str] = set()
        if cycle.verdicts:
            dead_addresses.suppress_dead(session, cycle.verdicts, rules=self._suppression, now=now)
        if is_due:
            # Lock order: suppressions before deliveries, as in an erasure, or the two deadlock.
            answers.renewed_at = now
            answers.dead = registry.take_over_dead(session, policy=self._policy, now=now)
        if cycle.verdicts:
            queue.record(session, worker_id=worker_id, verdicts=cycle.verdicts, now=now)
            troubled = domain_limits.learn(
                session, cycle.verdicts, self._limits, slow=self.allowed, now=now
            )
        if cycle.marks:
            ids = list(cycle.marks)
            answers.marked = queue.mark(session, worker_id=worker_id, ids=ids, now=now)
        queue.put_back(session, worker_id=worker_id, blocked_domains=cycle.returned, now=now)
        answers.allowed = self._allowed(
            session, troubled | cycle.holding.keys(), cycle.holding, now
        )
        for limit, _ in cycle.claims:
            answers.claimed.append(self._claim(session, limit, answers.allowed, cycle.holding, now))
        for looked_at, _ in cycle.polls:
            withheld: set[int] = set()
            if self._excluded is not None:
                withheld = queue.withheld(session, looked_at, self._excluded)
            answers.pauses.append(Pauses(withheld, domain_limits.paused(session, now)))
        for wanted, unused, _ in cycle.reservations:
            answers.reserved.append(
                limits.reserve(session, self._limits, wanted=wanted, unused=unused, now=now)
            )
        for lead, _ in cycle.send_times:
            answers.send_times.append(limits.send_times(session, self._limits, lead=lead, now=now))
        return answers

    def _allowed(
        self, session: Session, domains: Collection[str], holding: Mapping[str, int], now: datetime
    ) -> dict[str, Allowance]:
        return domain_limits.allowances(
            session,
            domains,
            self._limits,
            holding=holding,
            worker_id=self._registration.id,
            now=now,
        )

    def _claim(
        self,
        session: Session,
        limit: int,
        allowed: dict[str, Allowance],
        holding: Mapping[str, int],
        now: datetime,
    ) -> Claimed:
        """Claim rows: first those of blocked domains that take more again, then all others.

        Rows of a domain that takes no more now are marked with it, so that later claims need not
        pass over them. `allowed` is added to and used up.
        """
        worker_id = self._registration.id
        blocked_domains = queue.blocked_domains(
            session,
            limit=_BLOCKED_DOMAINS_AT_MOST,
            after=self._domain_after,
            mailings=self._mailings,
            excluded=self._excluded,
        )
        is_round = len(blocked_domains) < _BLOCKED_DOMAINS_AT_MOST
        unknown = {blocked_domain.domain for blocked_domain in blocked_domains} - allowed.keys()
        allowed |= self._allowed(session, unknown, holding, now)
        claims: list[Claim] = []
        waiting: set[str] = set()
        last: BlockedDomain | None = None
        for blocked_domain in blocked_domains:
            wanted = limit - len(claims)
            if not wanted:
                is_round = False
                break
            last, allowance = blocked_domain, allowed.get(blocked_domain.domain)
            if allowance is not None and allowance.messages <= wanted:
                # Some of its rows may stay behind.
                waiting.add(blocked_domain.domain)
                wanted = allowance.messages
            if wanted:
                found = queue.claim_of_domain(
                    session, blocked_domain, worker_id=worker_id, limit=wanted, now=now
                )
                claims += found
                if allowance is not None:
                    allowance.take(len(found))
        is_exhausted = False
        for _ in range(_CLAIMS_AT_MOST):
            if len(claims) == limit or is_exhausted:
                break
            wanted = limit - len(claims)
            found = queue.claim(
                session,
                worker_id=worker_id,
                limit=wanted,
                now=now,
                mailings=self._mailings,
                excluded=self._excluded,
            )
            is_exhausted = len(found) < wanted
            excess = self._excess(session, found, allowed, holding, now)
            queue.put_back(session, worker_id=worker_id, blocked_domains=excess, now=now)
            waiting.update(excess.values())
            claims += [claim for claim in found if claim.id not in excess]
            if claims:
                break
        domain_limits.spend(session, allowed, now)
        times = [at for domain in waiting if (at := allowed[domain].again_at) is not None]
        again_at = self._again_at + times
        self._domain_after, self._again_at = (None, []) if is_round else (last, again_at)
        is_all = is_exhausted and is_round
        return Claimed(claims, min(again_at, default=None) if is_all else now)

    def _excess(
        self,
        session: Session,
        claims: Sequence[Claim],
        allowed: dict[str, Allowance],
        holding: Mapping[str, int],
        now: datetime,
    ) -> dict[int, str]:
        """Return the claims that their domains do not take now, each with its domain."""
        of_domain: dict[str, list[Claim]] = defaultdict(list)
        for claim in claims:
            of_domain[domain_limits.domain_of(claim.address)].append(claim)
        allowed |= self._allowed(session, of_domain.keys() - allowed.keys(), holding, now)
        excess = {}
        for domain in of_domain.keys() & allowed.keys():
            allowance, found = allowed[domain], of_domain[domain]
            taken = min(allowance.messages, len(found))
            allowance.take(taken)
            excess.update({claim.id: domain for claim in found[taken:]})
        return excess

    def _fail(self, cycle: _Cycle, exc: Exception) -> None:
        with self._lock:
            self._failure = exc
            left, self._next = self._next, _Cycle()
        for unanswered in (cycle, left):
            self._loop.call_soon_threadsafe(_refuse, unanswered, exc)


def _answer(waiters: Iterable[asyncio.Future[T]], answers: Iterable[T]) -> None:
    for waiter, answer in zip(waiters, answers, strict=True):
        if not waiter.done():
            waiter.set_result(answer)


def _refuse(cycle: _Cycle, exc: Exception) -> None:
    waiters: list[asyncio.Future[Any]] = [
        *cycle.marks.values(),
        *(waiter for _, waiter in cycle.claims),
        *(waiter for *_, waiter in cycle.reservations),
        *(waiter for _, waiter in cycle.send_times),
        *(waiter for _, waiter in cycle.polls),
    ]
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(exc)
