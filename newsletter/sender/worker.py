"""The worker: claims deliveries and sends them over several connections until none is due.

Order on each connection: the mark is committed, then the body is sent, then the verdict is
committed, together with the next mark. So a crash leaves at most one uncertain message per
connection, and everything else is safe to send again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Engine, Select

from newsletter.clock import utc_now
from newsletter.db import restore_guard
from newsletter.db.restore_guard import Restored
from newsletter.errors import NewsletterError
from newsletter.ledger import recovery, registry, retry
from newsletter.ledger.holding import Hold
from newsletter.ledger.queue import Claim, Verdict
from newsletter.ledger.registry import Registration, Trouble
from newsletter.ledger.retry import Policy
from newsletter.logs import events
from newsletter.models import ProcessKind
from newsletter.sender import domain_limits, limits, reactions
from newsletter.sender.budget import Budget, Unused
from newsletter.sender.claiming import Claiming
from newsletter.sender.committer import Committer
from newsletter.sender.connections import Connections
from newsletter.sender.domain_limits import domain_of
from newsletter.sender.limits import Reservation, SendSlots
from newsletter.sender.loop import loop_time
from newsletter.sender.plan import Plan
from newsletter.sender.prefetch import Job
from newsletter.sender.reports import Reports, reporting
from newsletter.sender.run_state import RunState
from newsletter.sender.shutdown import Shutdown, on_signals
from newsletter.sender.supply import Supply
from newsletter.smtp import reply
from newsletter.smtp.outcome import Kind, Outcome, Phase, Reaction
from newsletter.smtp.relays import Connection, Relay
from newsletter.smtp.session import Mail

try:
    from uvloop import new_event_loop
except ImportError:
    # Without uvloop, asyncio's own event loop is used, which is slower.
    from asyncio import new_event_loop  # type: ignore[assignment]

#: The first wait after a failure; it doubles with each further consecutive failure.
BACKOFF_SECONDS = 0.5
#: An exhausted rate limit is logged again if its end moves by this much.
_NEWS_OF_LIMIT = timedelta(minutes=10)
#: Interval of reporting the tally and polling for a request to stop; a signal wakes the event loop.
_LOOK_SECONDS = 0.2
#: Number of such intervals between two polls for paused editions and domains.
_POLLS_OF_PAUSES = 10

#: The message to the operator when a signal ends the sending.
TOLD_TO_STOP = "Told to stop: what is under way is finished, the rest goes back."


@dataclass
class SendTally:
    """Counts of one run: outcomes of tries by kind, with uncharged tries counted separately."""

    counts: Counter[str] = field(default_factory=Counter)
    #: Whether a request to stop ended the run while rows were still due.
    was_stopped: bool = False
    #: The time at which more may be sent, if a rate limit ended the run.
    limited_until: datetime | None = None
    #: The time of the last reply about a reader.
    ended_at: datetime | None = None

    def add(self, outcome: Outcome, *, at: datetime) -> None:
        """Count one try."""
        self.counts[outcome.kind if outcome.is_charged else "returned"] += 1
        if outcome.is_charged:
            self.ended_at = at

    def copy(self) -> SendTally:
        """Return a copy of the present counts."""
        return replace(self, counts=self.counts.copy())

    @property
    def settled(self) -> int:
        """The number of tries that ended with a reply about the reader."""
        return sum(count for kind, count in self.counts.items() if kind != "returned")


def run(
    engine: Engine,
    plan: Plan,
    *,
    mailings: Select[Any] | None = None,
    excluded: Select[Any] | None = None,
    stays: bool = False,
    shutdown: Shutdown | None = None,
    on_tally: Callable[[SendTally], None] | None = None,
    on_trouble: Trouble | None = None,
    on_commit: Callable[[], object] | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> SendTally:
    """Send due rows and return the tally; with `stays`, wait for more until a request to stop.

    After SIGTERM, SIGINT or a request by `shutdown`, the worker drains: nothing more is claimed,
    current messages are finished, and the other claims are given back.

    Raises TransportUnavailable or ConfigurationError if no server can be used; everything not sent
    is then back in the queue. `on_trouble` gets sentence and hint of urgent problems, such as a
    relay that refuses us while others are used. `on_commit` is called after each commit cycle, of
    which there is one at least every `registry.RENEWAL`.
    """
    name, tally = registry.new_name(), SendTally()
    with (
        reporting(on_tally, on_trouble) as reports,
        registry.liveness_lock(engine, name, on_trouble=on_trouble),
        on_signals() as signals,
    ):
        with _registered(engine, name, tally, plan.retries.policy, clock) as registration:
            try:
                with asyncio.Runner(loop_factory=new_event_loop) as runner:
                    worker = Worker(
                        engine,
                        plan,
                        registration,
                        loop=runner.get_loop(),
                        tally=tally,
                        mailings=mailings,
                        excluded=excluded,
                        stays=stays,
                        shutdown=shutdown or signals,
                        reports=reports,
                        on_commit=on_commit,
                        clock=clock,
                    )
                    runner.run(worker.work())
            finally:
                reports.show(tally, is_last=True)
                _log_end(name, tally)
        # A signal may have arrived after the loop ended.
        worker.drain_if_told()
    return tally


def _log_end(name: str, tally: SendTally) -> None:
    kinds = ("accepted", "deferred", "refused", "unknown")
    counts = {kind: tally.counts.get(kind, 0) for kind in kinds}
    events.WORKER_SIGNED_OUT(worker=registry.shown(name), kind=ProcessKind.WORKER, **counts)


@contextmanager
def _registered(
    engine: Engine, name: str, tally: SendTally, policy: Policy, clock: Callable[[], datetime]
) -> Iterator[Registration]:
    """Register a worker and take over the rows of crashed ones; at the end give back its rows."""
    now = clock()
    try:
        with restore_guard.sending(engine, advance_at=now) as session:
            dead = registry.take_over_dead(session, policy=policy, now=now)
            registration = registry.sign_in(session, name=name, now=now)
    except BaseException:
        # The worker holds no rows, so no other process needs the lock file to detect its end.
        registry.forget(engine, [name])
        raise
    registry.forget(engine, (other.name for other in dead))
    try:
        yield registration
    finally:
        now = clock()
        with restore_guard.sending(engine, Restored.IGNORED, advance_at=now) as session:
            registry.note_end(session, tally.ended_at)
            recovery.take_over(session, dead=[registration.id], policy=policy, now=now)
        registry.forget(engine, [name])


class Worker:
    """The sender of one process: several connections, one supply of jobs, one committer."""

    def __init__(
        self,
        engine: Engine,
        plan: Plan,
        registration: Registration,
        *,
        loop: asyncio.AbstractEventLoop,
        tally: SendTally,
        mailings: Select[Any] | None,
        excluded: Select[Any] | None,
        stays: bool,
        shutdown: Shutdown,
        reports: Reports[SendTally],
        on_commit: Callable[[], object] | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._plan = plan
        self._tally = tally
        self._stays = stays
        self._shutdown = shutdown
        self._reports = reports
        self._clock = clock
        self._rng = random.Random()  # noqa: S311 - jitter needs no secrecy
        self._state = RunState(connections=plan.connections, on_trouble=reports.tell)
        self._connections = Connections(plan.servers, state=self._state, rng=self._rng)
        hold = Hold(registration.id)
        claiming = Claiming(hold, plan.limits, mailings=mailings, excluded=excluded)
        self._committer = Committer(
            engine,
            registration,
            hold=hold,
            claiming=claiming,
            loop=loop,
            policy=plan.retries.policy,
            suppression=plan.suppression,
            connections=plan.connections,
            ended_at=lambda: tally.ended_at,
            on_commit=on_commit,
            clock=clock,
        )
        self._budget = Budget(
            plan.limits,
            connections=plan.connections,
            reserve=self._reserve,
            send_times=self._send_times,
            stopping=self._state.stopping,
            clock=clock,
            on_exhausted=self._stop_at_limit,
        )
        self._supply = Supply(
            engine,
            plan,
            committer=self._committer,
            claiming=claiming,
            budget=self._budget,
            state=self._state,
            stays=stays,
            clock=clock,
            before_claim=self._connections.rebalance,
        )
        #: Whether the last mark was denied. Denials often come in a row, as when an edition is
        #: cancelled, and with pipelining each one costs a connection.
        self._is_denied = False
        #: The number of failed tries of each claim that its message did not cause.
        self._returns: Counter[int] = Counter()
        #: The number of consecutive messages that the policy of each domain has refused.
        self._refusals: Counter[str] = Counter()
        #: The end of the exhausted rate limit that was logged last.
        self._limited_until: datetime | None = None
        #: Whether each try is logged.
        self._logs_tries = events.SMTP_TRY.is_on()
        #: Domains whose refusal of our messages' size was reported to the operator.
        self._alarmed: set[str] = set()

    async def work(self) -> None:
        """Run all connections until no row is due, then commit what is still to be written."""
        loop = asyncio.get_running_loop()

        def wake() -> None:
            # Another thread may call this when the loop has just ended.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self.drain_if_told)

        self._committer.start()
        with self._shutdown.heeded_by(wake):
            watching = asyncio.create_task(self._watch())
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._plan.connections):
                        group.create_task(self._send_all())
            except* NewsletterError as failed:
                self._state.stop(_first(failed))
            finally:
                watching.cancel()
                await self._end()
        if self._state.failure is not None:
            raise self._state.failure

    def drain_if_told(self) -> None:
        """Stop if this was requested, and acknowledge a signal to the operator.

        If it is urgent, replies are not awaited any more, and messages in flight become uncertain.
        """
        if not self._shutdown.is_wanted:
            return
        is_news = self._shutdown.is_by_signal and not self._state.is_stopping
        self._tally.was_stopped = True
        self._state.stop()
        if is_news:
            self._state.tell(events.WORKER_STOPPING, TOLD_TO_STOP)
        if self._shutdown.is_urgent:
            self._connections.abandon()

    async def _end(self) -> None:
        """Give unused permits of the rate limit back, and wait until everything is written."""
        if unused := self._budget.unused():
            with contextlib.suppress(NewsletterError):
                await self._reserve(0, unused)
        await self._committer.close()

    async def _watch(self) -> None:
        """Poll for pauses and for a request to stop, and report the tally.

        Pauses are polled because with a slow server, the prefetched messages may take minutes.
        """
        looks = 0
        while True:
            self.drain_if_told()
            looks += 1
            if looks % _POLLS_OF_PAUSES == 0:
                await self._supply.poll_pauses()
            self._reports.show(self._tally.copy())
            await asyncio.sleep(_LOOK_SECONDS)

    def _reserve(self, wanted: int, unused: Unused) -> asyncio.Future[Reservation]:
        """Reserve permits for up to `wanted` messages, and give back `unused` ones."""
        return self._committer.submit(
            lambda session, now: limits.reserve(
                session, self._plan.limits, wanted=wanted, unused=unused, now=now
            )
        )

    def _send_times(self, lead: timedelta) -> asyncio.Future[SendSlots]:
        """Reserve send times for a limit per second, none before `lead` has passed."""
        return self._committer.submit(
            lambda session, now: limits.send_times(session, self._plan.limits, lead=lead, now=now)
        )

    def _stop_at_limit(self, until: datetime) -> None:
        """Stop if a rate limit is exhausted for longer than a run waits."""
        if self._limited_until is None or until - self._limited_until >= _NEWS_OF_LIMIT:
            self._limited_until = until
            events.LIMIT_REACHED(until=until)
        if not self._stays:
            self._tally.limited_until = until
            self._state.stop()

    # The loop of one connection

    async def _send_all(self) -> None:
        """Send one job after another; reconnect whenever the server closes the connection."""
        connection: Connection | None = None
        job: Job | None = None
        failed: Relay | None = None
        refusals = 0
        try:
            while (job := self._kept(job) or await self._supply.take()) is not None:
                if connection is not None and (
                    connection.is_leaving or not connection.session.is_open
                ):
                    # A relay that accepted no message is the last choice for the next connection.
                    failed = None if connection.session.carried else connection.relay
                    await self._connections.close(connection)
                    connection = None
                if connection is None:
                    connection = await self._connections.open(failed=failed)
                if connection is None:
                    # Another connection may send the job.
                    self._supply.release(job)
                    self._supply.requeue(job)
                    job = None
                    refusals += 1
                    await self._back_off(refusals)
                    continue
                refusals = 0
                job = await self._deliver(job, connection)
                if failures := self._state.repeated_failures:
                    await self._back_off(failures)
        finally:
            self._state.working -= 1
            if connection is not None:
                await self._connections.close(connection)

    def _kept(self, job: Job | None) -> Job | None:
        """Return a job that was announced to a server; if the worker is to stop, release it."""
        if job is not None and self._state.is_stopping:
            self._supply.release(job)
            return None
        return job

    async def _back_off(self, failures: int) -> None:
        """Wait with exponential back-off and jitter, by the number of consecutive failures."""
        await self._state.wait(BACKOFF_SECONDS * 2 ** min(failures, 4) * self._rng.uniform(0.5, 1))

    async def _deliver(self, job: Job, connection: Connection) -> Job | None:
        """Try one job, and record its verdict or requeue it.

        Returns the job whose envelope was pipelined after it, if any, which must be tried next.
        """
        assert job.mail is not None
        claim, upcoming = job.claim, None

        def following() -> Mail | None:
            nonlocal upcoming
            upcoming = None if self._is_denied or connection.is_leaving else self._supply.ready()
            return upcoming.mail if upcoming else None

        began = loop_time() if self._logs_tries else 0.0
        outcome = await connection.session.send(
            job.mail,
            may_send=partial(self._may_send, job),
            following=following,
            in_steps=self._is_denied,
        )
        self._supply.done(job)
        if outcome is None:
            return upcoming
        if self._logs_tries:
            _log_try(claim, outcome, seconds=loop_time() - began)
        outcome = self._react(claim, outcome, connection)
        if self._may_retry_at_once(claim, outcome):
            self._supply.requeue(job)
        else:
            self._returns.pop(claim.id, None)
            self._settle(claim, outcome)
        return upcoming

    async def _may_send(self, job: Job) -> bool:
        """Mark a message as soon as the rate limits allow it; False if it must not be sent."""
        claim = job.claim
        assert job.permit is not None
        slot = await self._budget.wait_for_slot(job.permit)
        job.permit = None
        if slot is None:
            self._committer.put_back(claim.id)
            return False
        self._is_denied = not await self._committer.mark(claim.id)
        if self._is_denied:
            self._budget.give_back(slot.permit)
            return False
        if not await self._budget.go(slot):
            # The permit expired during a slow commit, and there is no other.
            self._settle(claim, reply.lost(Phase.DATA, "the limit was used up before it could go"))
        elif self._committer.has_lapsed():
            # Since the mark, another worker may have settled the row, or its edition been
            # cancelled.
            self._settle(claim, reply.lost(Phase.DATA, "the worker's lease lapsed before it left"))
        else:
            return True
        return False

    # Consequences of a reply

    def _react(self, claim: Claim, outcome: Outcome, connection: Connection) -> Outcome:
        """React to an outcome for relay and domain; return the outcome that counts."""
        if outcome.kind is Kind.ACCEPTED and not self._refusals:
            self._connections.learn(connection, outcome)
            return outcome
        domain = domain_of(claim.address)
        reaction = reactions.react(
            outcome,
            relay_refuses_all=self._connections.refuses_all(connection, outcome, domain),
            domain_refusals=self._refusals.get(domain, 0),
        )
        if outcome.reaction is Reaction.BREAK and reaction is not Reaction.STOP:
            self._refusals[domain] += 1
        else:
            self._refusals.pop(domain, None)
        outcome = reactions.revised(outcome, reaction)
        self._connections.learn(connection, outcome)
        self._heed(domain, outcome)
        return outcome

    def _heed(self, domain: str, outcome: Outcome) -> None:
        """Pause a domain if the outcome requires it, and report problems to the operator."""
        if outcome.reaction is Reaction.PAUSE and not self._supply.is_paused(domain):
            self._refusals.pop(domain, None)
            until = self._clock() + domain_limits.PAUSE
            self._supply.pause({domain: until})
            said, hint = reactions.domain_paused(domain, outcome)
            self._state.tell(
                events.DOMAIN_PAUSED, said, hint, domain=domain, until=until, code=outcome.code
            )
        if outcome.reaction is Reaction.ALARM and domain not in self._alarmed:
            self._alarmed.add(domain)
            said, hint = reactions.mail_too_large(domain, outcome)
            self._state.tell(
                events.DOMAIN_REFUSED_SIZE, said, hint, domain=domain, code=outcome.code
            )

    def _may_retry_at_once(self, claim: Claim, outcome: Outcome) -> bool:
        """Return whether to requeue a message in this worker, and count tries without its fault."""
        if not reactions.may_retry_at_once(outcome, is_stopping=self._state.is_stopping):
            return False
        self._returns[claim.id] += 1
        return self._returns[claim.id] < reactions.TRIES

    def _settle(self, claim: Claim, outcome: Outcome) -> None:
        """Write the verdict on a claim with the next commit."""
        now = self._clock()
        decision = retry.decide(
            outcome,
            attempts=claim.attempts,
            rules=self._plan.retries,
            give_up_at=claim.give_up_at,
            now=now,
            rng=self._rng,
        )
        self._committer.record(Verdict(claim.id, claim.address, outcome, decision))
        self._tally.add(outcome, at=now)


def _log_try(claim: Claim, outcome: Outcome, *, seconds: float) -> None:
    events.SMTP_TRY(
        delivery=claim.id,
        domain=domain_of(claim.address),
        outcome=outcome.kind,
        phase=outcome.phase,
        code=outcome.code,
        status=outcome.enhanced,
        ms=round(seconds * 1_000, 1),
        reply=outcome.text,
    )


def _first(failed: BaseExceptionGroup[NewsletterError]) -> NewsletterError:
    found: BaseException = failed
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, NewsletterError)
    return found
