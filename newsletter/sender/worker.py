"""The worker: claims deliveries and sends them over several connections until none is due.

Order on each connection: the mark is committed, then the body leaves, then the verdict is
committed, together with the next mark. So a crash leaves at most one uncertain message per
connection, and everything else is safe to send again.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache, partial
from itertools import groupby, islice
from typing import Any

from sqlalchemy import Engine, Select

from newsletter.clock import utc_now
from newsletter.db import restore_guard
from newsletter.db import session as sessions
from newsletter.errors import (
    ConfigurationError,
    NewsletterError,
    RenderError,
    TransportUnavailable,
)
from newsletter.ledger import dead_addresses, queue, registry, retry
from newsletter.ledger.queue import Claim, Verdict
from newsletter.ledger.registry import Registration, Trouble
from newsletter.rendering.message import CompiledMessage
from newsletter.sender import limits
from newsletter.sender.budget import PATIENCE_SECONDS, Budget, RatePermit
from newsletter.sender.committer import Committer
from newsletter.sender.limits import Limits, domain_of
from newsletter.sender.loop import loop_time
from newsletter.sender.personalize import Filler, SlotValues
from newsletter.sender.prefetch import Job, Prefetch
from newsletter.sender.processor import Processor
from newsletter.sender.run_state import RunState
from newsletter.sender.shutdown import Shutdown, on_signals
from newsletter.settings import Settings, SmtpServer
from newsletter.smtp import pool, reply
from newsletter.smtp.relays import Connection, Relay, Relays
from newsletter.smtp.reply import Kind, Outcome, Phase, Reaction, Scope
from newsletter.smtp.session import Envelope, Mail, Session

try:
    from uvloop import new_event_loop
except ImportError:
    # Where there is no wheel of it, asyncio's own loop does the same, slower.
    from asyncio import new_event_loop  # type: ignore[assignment]

#: Rows claimed at a time, per connection: few enough that neither the marks of others nor the loop
#: have to wait long for them. And with how many left more are claimed, so that none runs dry.
_CLAIMS_PER_CONNECTION = 4
#: Yet at least so many: what a claim takes, whatever it finds, is shared by them.
_CLAIMS_AT_LEAST = 16
_ENOUGH_PER_CONNECTION = 2
#: Messages composed at a time, before the loop goes round again.
_COMPOSED_AT_ONCE = 50
#: Conversations that a message which is not to blame gets before it goes back to the queue.
_TRIES = 3
_BEFORE_THE_MARK = frozenset({Phase.MAIL, Phase.RCPT})
#: The first wait after a failure; it doubles with each further one in a row.
BACKOFF_SECONDS = 0.5
#: How often a worker that stays looks for new rows.
_IDLE_SECONDS = 1.0
#: How often a claim is looked at whose domain has as many messages under way as it takes.
_PARKED_SECONDS = 0.05
#: Mails in a row that a domain's policy refuses before nothing more goes there for a while.
_REFUSALS = 20
#: What only a mailbox can be.
_OF_THE_READER = frozenset({Reaction.SUPPRESS, Reaction.SUSPECT, Reaction.COUNT})
#: How often a worker tells what it did, and looks whether it is to stop: at once, as a rule.
_LOOK_SECONDS = 0.2
#: Every how many of these looks it sees whether an edition or a domain has been paused.
_POLLS_OF_PAUSES = 10
#: And every how many it lets the kernel choose its processor anew, until the next.
_LOOKS_AT_PROCESSOR = 25


#: What is said when a signal ends the sending.
TOLD_TO_STOP = "Told to stop: what is under way is finished, the rest goes back."


@dataclass
class SendTally:
    """What one worker did: outcomes of tries, by kind; uncharged ones apart."""

    counts: Counter[str] = field(default_factory=Counter)
    #: A signal ended it before nothing was due.
    was_stopped: bool = False
    #: A limit ended it: when there is leave to send again.
    limited_until: datetime | None = None

    def add(self, outcome: Outcome) -> None:
        """Count one try."""
        self.counts[outcome.kind if outcome.is_charged else "returned"] += 1

    @property
    def settled(self) -> int:
        """Tries that ended with an answer about the reader."""
        return sum(count for kind, count in self.counts.items() if kind != "returned")


@dataclass(frozen=True)
class Plan:
    """How a worker works; made from the settings by a door."""

    servers: Sequence[SmtpServer]
    connections: int
    return_path: str
    filler: Filler
    retries: retry.RetryRules
    suppression: dead_addresses.SuppressionRules
    limits: Limits = field(default_factory=Limits)
    trust: ssl.SSLContext | None = None

    @classmethod
    def of(cls, settings: Settings) -> Plan:
        """Take what a worker needs from the settings."""
        return cls(
            servers=settings.smtp_servers(),
            connections=settings.smtp_connections,
            return_path=settings.bounce_address,
            filler=Filler(settings.keyring()),
            retries=retry.RetryRules(settings.unknown_policy, settings.retry_waits),
            suppression=dead_addresses.SuppressionRules(
                settings.keyring(), settings.full_mailboxes
            ),
            limits=Limits.of(settings),
        )


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
    clock: Callable[[], datetime] = utc_now,
) -> SendTally:
    """Send what is due and return what came of it; with `stays`, wait for more until told to stop.

    SIGTERM and SIGINT drain, or `shutdown` does, where it is given: nothing more is claimed, what
    is under way is finished, what is left is given back.

    Raises TransportUnavailable or ConfigurationError when no server can be used; everything not
    sent is then back in the queue. `on_trouble` is told what the operator should know at once, such
    as a relay that refuses us while others go on: a sentence, and the way out.
    """
    name = registry.new_name()
    with registry.liveness_lock(engine, name, on_trouble=on_trouble), on_signals() as heard:
        now = clock()
        try:
            with sessions.writing(engine) as session:
                restore_guard.check(session, engine)
                dead = registry.take_over_dead(session, policy=plan.retries.policy, now=now)
                registration = registry.sign_in(session, name=name, now=now)
                mark = restore_guard.advance(session, now)
        except BaseException:
            # It holds nothing, so nobody has to see that it is dead.
            registry.forget(engine, [name])
            raise
        restore_guard.remember(engine, mark)
        registry.forget(engine, (other.name for other in dead))
        worker = Worker(
            engine,
            plan,
            registration,
            stays=stays,
            shutdown=shutdown or heard,
            on_tally=on_tally,
            on_trouble=on_trouble,
            clock=clock,
        )
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(worker.work(mailings, excluded))
        finally:
            with sessions.writing(engine) as session:
                policy = plan.retries.policy
                queue.take_over(session, dead=[registration.id], policy=policy, now=clock())
                mark = restore_guard.advance(session, clock())
            registry.forget(engine, [name])
            restore_guard.remember(engine, mark)
            if on_tally is not None:
                on_tally(worker.tally)
        worker.drain_if_told()
    return worker.tally


def post(plan: Plan, recipient: str, message: bytes) -> Outcome:
    """Hand over one message that is in no ledger: a preview that the operator sends to a mailbox.

    Raises TransportUnavailable or ConfigurationError when no server can be used.
    """

    async def go() -> bool:
        return True

    async def converse() -> Outcome:
        session = await _any(plan)
        try:
            mail = Mail(Envelope(plan.return_path, recipient), message)
            outcome = await session.send(mail, may_send=go)
        finally:
            await session.quit()
        assert outcome is not None
        return outcome

    return asyncio.run(converse())


async def _any(plan: Plan) -> Session:
    """Return a session with the first relay that takes us."""
    relays = Relays(plan.servers, rng=random.Random())  # noqa: S311 - chance needs no secrecy
    while (failure := relays.failure(loop_time())) is None:
        relay = relays.pick(loop_time())
        assert relay is not None, "what does not rest can be tried"
        try:
            return await pool.connect(
                relay.server, trust=plan.trust, has_others=not relays.is_single
            )
        except (ConfigurationError, TransportUnavailable) as exc:
            relays.put_aside(relay, exc, now=loop_time())
    raise failure


class Worker:
    """One process's sending: some connections, one committer, a few claims in hand."""

    def __init__(
        self,
        engine: Engine,
        plan: Plan,
        registration: Registration,
        *,
        stays: bool,
        shutdown: Shutdown,
        on_tally: Callable[[SendTally], None] | None,
        on_trouble: Trouble | None,
        clock: Callable[[], datetime],
        rng: random.Random | None = None,
    ) -> None:
        self.tally = SendTally()
        self._engine = engine
        self._plan = plan
        self._presence = registration
        self._stays = stays
        self._shutdown = shutdown
        self._on_tally = on_tally
        self._state = RunState(connections=plan.connections, on_trouble=on_trouble)
        self._rng = rng or random.Random()  # noqa: S311 - jitter needs no secrecy
        self._relays = Relays(plan.servers, rng=self._rng)
        self._clock = clock
        self._refill = asyncio.Lock()
        self._prefetching: asyncio.Task[None] | None = None
        #: Whether the last mark was denied: goodbyes come together, as of a cancelled edition, and
        #: each would cost a connection.
        self._is_denied = False
        #: Conversations that a claim in hand has lost without being to blame.
        self._returns: Counter[int] = Counter()
        #: Messages in a row that the policy of a domain refused.
        self._refusals: Counter[str] = Counter()
        #: Domains of which the operator was told that our mail is too large.
        self._alarmed: set[str] = set()
        self._processor = Processor()
        # A mailing is some 100 kB; a worker that stays sees hundreds in a year.
        self._mailing = lru_cache(maxsize=64)(self._read_mailing)

    async def work(self, mailings: Select[Any] | None, excluded: Select[Any] | None) -> None:
        """Run every connection until nothing is left, then write what is still to be written."""
        self._committer = Committer(
            self._engine,
            self._presence,
            policy=self._plan.retries.policy,
            suppression=self._plan.suppression,
            rules=self._plan.limits,
            connections=self._plan.connections,
            clock=self._clock,
            mailings=mailings,
            excluded=excluded,
        )
        self._prefetch = Prefetch(
            allowed=lambda: self._committer.allowed,
            put_back=self._committer.put_back,
            clock=self._clock,
        )
        self._budget = Budget(
            self._plan.limits,
            connections=self._plan.connections,
            reserve=self._committer.reserve,
            send_times=self._committer.send_times,
            stopping=self._state.stopping,
            clock=self._clock,
            on_exhausted=self._leave_to_later,
        )
        loop = asyncio.get_running_loop()

        def wake() -> None:
            # Another thread may say it while the loop ends by itself.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self.drain_if_told)

        with self._shutdown.heeded_by(wake):
            watching = asyncio.create_task(self._watch())
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._plan.connections):
                        group.create_task(self._connection())
            except* NewsletterError as failed:
                self._state.stop(_first(failed))
            finally:
                watching.cancel()
                # First of all: whatever this thread starts later would inherit its one processor.
                self._processor.leave()
                await self._end()
        if self._state.failure is not None:
            raise self._state.failure

    async def _end(self) -> None:
        """Give back what leave is left, and have everything written."""
        if unused := self._budget.unused():
            with contextlib.suppress(NewsletterError):
                await self._committer.reserve(0, unused)
        await self._committer.close()

    def drain_if_told(self) -> None:
        """Drain if that was asked for, and say so to whoever sent a signal.

        Where it is urgent, wait for no answer any more: what is in flight is uncertain.
        """
        if not self._shutdown.is_wanted:
            return
        is_news = self._shutdown.is_by_signal and not self._state.is_stopping
        self.tally.was_stopped = True
        self._state.stop()
        if is_news:
            self._state.tell(TOLD_TO_STOP)
        if self._shutdown.is_urgent:
            for relay in self._relays:
                for connection in relay.connections:
                    connection.session.abandon()

    async def _watch(self) -> None:
        """Heed the brakes while there is something in hand, and the word to stop.

        A hand is emptied in a second by a fast server, and in minutes by a slow one. Whoever wants
        to know of the tally is told meanwhile.
        """
        looks = 0
        while True:
            self.drain_if_told()
            if looks % _LOOKS_AT_PROCESSOR == 0:
                self._processor.share(self._committer.thread)
            looks += 1
            if looks % _LOOKS_AT_PROCESSOR == 0:
                self._processor.leave()
            if looks % _POLLS_OF_PAUSES == 0 and (self._prefetch or self._prefetch.is_waiting):
                await self._poll_pauses()
            if self._on_tally is not None:
                self._on_tally(self.tally)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _poll_pauses(self) -> None:
        """Give back what belongs to a paused edition, and hear which domains want nothing now."""
        try:
            pauses = await self._committer.poll_pauses(
                self._prefetch.mailings(), self._prefetch.holding()
            )
        except NewsletterError as exc:
            self._state.stop(exc)
            return
        self._prefetch.pause(pauses.domains)
        self._prefetch.give_back(pauses.mailings)

    async def _connection(self) -> None:
        """Send one claim after the other; reconnect as often as the server wants."""
        connection: Connection | None = None
        job: Job | None = None
        failed: Relay | None = None
        refusals = 0
        try:
            while (job := self._kept(job) or await self._take()) is not None:
                if connection is not None and (
                    connection.is_leaving or not connection.session.is_open
                ):
                    # It has carried nothing: what it refused is better tried elsewhere.
                    failed = None if connection.session.carried else connection.relay
                    await self._hang_up(connection)
                    connection = None
                if connection is None:
                    connection = await self._connect(failed)
                if connection is None:
                    # Another connection may have it.
                    self._lay_down(job)
                    self._prefetch.requeue(job)
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
                await self._hang_up(connection)

    def _kept(self, job: Job | None) -> Job | None:
        """Return a job that was announced to a server, unless the worker is to stop."""
        if job is not None and self._state.is_stopping:
            self._lay_down(job)
            return None
        return job

    async def _take(self) -> Job | None:
        """Return the next job; None when nothing is due, or the worker is to stop."""
        while not self._state.is_stopping:
            permit = await self._budget.permit() if self._prefetch else None
            if permit is not None and (job := self._pop(permit)) is not None:
                return job
            async with self._refill:
                if not self._prefetch and self._prefetch.may_look():
                    await self._fill_hand()
            if self._prefetch or self._state.is_stopping:
                continue
            if self._prefetch.is_waiting:
                await self._state.wait(_PARKED_SECONDS)
            elif self._prefetch.look_at < math.inf:
                await self._state.wait(min(self._prefetch.look_at - loop_time(), _IDLE_SECONDS))
            else:
                return None
        return None

    def _ready(self) -> Job | None:
        """Return a job that can go at this moment, if there is one."""
        if not self._prefetch or self._state.is_stopping:
            return None
        permit = self._budget.ready()
        return self._pop(permit) if permit else None

    def _pop(self, permit: RatePermit) -> Job | None:
        """Return a job out of the hand, if one of them may go and the worker is not to stop.

        A hand that grows short is filled meanwhile.
        """
        job = None if self._state.is_stopping else self._prefetch.pop()
        if self._is_short() and self._prefetch.may_look():
            self._claim_ahead()
        if job is None:
            self._budget.give_back(permit)
            return None
        if job.mail is None:
            envelope = Envelope(self._plan.return_path, job.claim.address)
            job.mail = Mail(envelope, job.compiled.fill(job.values))
        job.permit = permit
        return job

    def _lay_down(self, job: Job) -> None:
        """Count a job as not begun: nothing was said to a server about it."""
        self._prefetch.free(job)
        if job.permit is not None:
            self._budget.give_back(job.permit)
            job.permit = None

    def _leave_to_later(self, until: datetime) -> None:
        """Stop where a limit is used up for longer than it is worth waiting for."""
        if not self._stays:
            self.tally.limited_until = until
            self._state.stop()

    def _is_short(self) -> bool:
        return len(self._prefetch) < self._plan.connections * _ENOUGH_PER_CONNECTION

    def _claim_ahead(self) -> None:
        async def fill() -> None:
            try:
                async with self._refill:
                    if self._is_short() and not self._state.is_stopping:
                        await self._fill_hand()
            except NewsletterError as exc:
                self._state.stop(exc)

        if self._prefetching is None or self._prefetching.done():
            self._prefetching = asyncio.create_task(fill())

    async def _fill_hand(self) -> None:
        self._relays.rebalance(loop_time())
        limit = max(self._plan.connections * _CLAIMS_PER_CONNECTION, _CLAIMS_AT_LEAST)
        self._prefetch.look_at = math.inf
        held = self._prefetch.holding()
        claims, again_at = await self._committer.claim(limit, held)
        for mailing_id, group in groupby(claims, key=lambda claim: claim.mailing_id):
            while some := list(islice(group, _COMPOSED_AT_ONCE)):
                self._prefetch.add(self._compose(mailing_id, some))
                await asyncio.sleep(0)
        self._prefetch.unpark()
        # What a domain takes goes by what is held of it, and some of that may have gone meanwhile.
        holding = self._prefetch.holding()
        is_outdated = any(held[one] != holding[one] for one in self._committer.allowed)
        self._prefetch.look_by(loop_time() if claims or is_outdated else self._next_look(again_at))

    def _next_look(self, again_at: datetime | None) -> float:
        """Return when to look for new rows, on the loop's clock, if there were none."""
        wait = math.inf
        if again_at is not None:
            wait = max((again_at - self._clock()).total_seconds(), 0.0)
        if self._stays:
            wait = min(wait, _IDLE_SECONDS)
        elif wait > PATIENCE_SECONDS:
            # What is left is the next run's.
            wait = math.inf
        return loop_time() + wait

    def _compose(self, mailing_id: int, claims: list[Claim]) -> list[Job]:
        """Make jobs of the claims of one mailing."""
        slot_values, compiled = self._mailing(mailing_id)
        try:
            values = self._plan.filler.values(compiled, slot_values=slot_values, claims=claims)
        except Exception as exc:  # noqa: BLE001 - one reader's message must not keep others from theirs
            if len(claims) > 1:
                return [job for one in claims for job in self._compose(mailing_id, [one])]
            # It stays claimed, so that it is not tried again and again, until this worker ends.
            failure = RenderError(
                f"The message to {claims[0].reference} could not be composed: {exc}",
                hint="Nobody is blamed; it waits in the queue for a version that can compose it.",
            )
            self._state.keep(failure)
            self._state.count_failure(failure)
            return []
        return [Job(claim, compiled, each) for claim, each in zip(claims, values, strict=True)]

    async def _connect(self, failed: Relay | None) -> Connection | None:
        """Return a new connection; None if there is none to be had now, or the worker is to stop.

        Where one relay refuses us, the next is asked.
        """
        while not self._state.is_stopping:
            relay = self._relays.pick(loop_time(), failed=failed)
            connection = await self._call(relay) if relay else None
            if connection is not None or relay is None or self._relays.is_single:
                return connection
        return None

    async def _call(self, relay: Relay) -> Connection | None:
        relay.calls += 1
        opening = asyncio.create_task(
            pool.connect(
                relay.server, trust=self._plan.trust, has_others=not self._relays.is_single
            )
        )
        stopping = asyncio.create_task(self._state.stopping.wait())
        connection: Connection | None = None
        try:
            await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not self._state.is_stopping:
                connection = self._relays.opened(relay, opening.result(), now=loop_time())
        except ConfigurationError as exc:
            self._put_aside(relay, exc)
        except TransportUnavailable as exc:
            self._count_refusal(relay, exc)
        finally:
            relay.calls -= 1
            stopping.cancel()
            if connection is None:
                await _call_off(opening)
        return connection

    async def _hang_up(self, connection: Connection) -> None:
        try:
            await connection.session.quit()
        finally:
            self._relays.closed(connection)

    def _count_refusal(self, relay: Relay, refusal: TransportUnavailable) -> None:
        """Give up when nobody gets through; a server that takes some of us is only busy."""
        if self._relays.is_single:
            if not relay.taken:
                self._state.count_failure(refusal)
        elif relay.taken or relay.calls > 1:
            self._relays.is_full(relay, now=loop_time())
        else:
            self._put_aside(relay, refusal)

    def _put_aside(self, relay: Relay, refusal: NewsletterError) -> None:
        """Go on by the other relays, and stop where there is none."""
        is_news = self._relays.put_aside(relay, refusal, now=loop_time())
        if (failure := self._relays.failure(loop_time())) is not None:
            self._state.stop(failure)
        elif is_news:
            self._state.tell(f"{refusal.message} It is put aside, and the others go on.")

    async def _back_off(self, failures: int) -> None:
        """Wait exponentially longer with each failure in a row, with jitter."""
        await self._state.wait(BACKOFF_SECONDS * 2 ** min(failures, 4) * self._rng.uniform(0.5, 1))

    async def _deliver(self, job: Job, connection: Connection) -> Job | None:
        """Try one job, and have its verdict recorded or try it once more.

        Returns the one that was announced to the server behind it, if it was: the next to be tried.
        """
        assert job.mail is not None
        claim, upcoming = job.claim, None

        def following() -> Mail | None:
            nonlocal upcoming
            upcoming = None if self._is_denied or connection.is_leaving else self._ready()
            return upcoming.mail if upcoming else None

        outcome = await connection.session.send(
            job.mail,
            may_send=partial(self._may_send, job),
            following=following,
            in_steps=self._is_denied,
        )
        self._prefetch.free(job)
        if job.permit is not None:
            # It was refused before its body; that counts as well.
            self._budget.stop_waiting()
            job.permit = None
        if outcome is None:
            return upcoming
        outcome = self._doubt(outcome, connection, claim)
        self._judge(outcome, connection)
        if outcome.reaction is not Reaction.NOTHING or self._refusals:
            outcome = self._heed(domain_of(claim.address), outcome)
        if self._is_worth_another(claim, outcome):
            self._prefetch.requeue(job)
        else:
            self._returns.pop(claim.id, None)
            self._settle(claim, outcome)
        return upcoming

    async def _may_send(self, job: Job) -> bool:
        """Mark a message, as soon as the limits let its body go; False if it must not leave."""
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
            # A commit took so long that its leave lapsed, and there is no other.
            self._settle(claim, reply.lost(Phase.DATA, "the limit was used up before it could go"))
        elif self._committer.has_lapsed():
            # Somebody may have settled it, and even cancelled its edition, since it was marked.
            self._settle(claim, reply.lost(Phase.DATA, "the worker's lease lapsed before it left"))
        else:
            return True
        return False

    def _is_worth_another(self, claim: Claim, outcome: Outcome) -> bool:
        """Tell whether to try again at once, on another connection.

        Some servers take so many messages on a connection and then leave. Not once the message
        was marked: a verdict says that it has not left after all. What a relay says to all of our
        mail is nothing to the others.
        """
        if outcome.phase not in _BEFORE_THE_MARK:
            return False
        if outcome.scope is Scope.RELAY and self._state.is_stopping:
            return False
        if outcome.scope not in {Scope.CONNECTION, Scope.RELAY}:
            return False
        self._returns[claim.id] += 1
        return self._returns[claim.id] < _TRIES

    def _settle(self, claim: Claim, outcome: Outcome) -> None:
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
        self.tally.add(outcome)

    def _doubt(self, outcome: Outcome, connection: Connection, claim: Claim) -> Outcome:
        """Return what an outcome comes to at a relay that refuses one reader after the other.

        That is no reader's fault, whatever it says.
        """
        if outcome.kind is Kind.ACCEPTED:
            connection.relay.doubts.clear()
            return outcome
        is_of_us = outcome.kind is Kind.REFUSED or outcome.reaction is Reaction.PAUSE
        if not is_of_us or outcome.reaction in _OF_THE_READER:
            return outcome
        if not self._relays.refused(connection, domain_of(claim.address)):
            return outcome
        return outcome._replace(kind=Kind.DEFERRED, scope=Scope.RELAY, reaction=Reaction.STOP)

    def _judge(self, outcome: Outcome, connection: Connection) -> None:
        """Stop where every further try would fail the same way, by this relay or by all."""
        relay = connection.relay
        if outcome.scope is Scope.RELAY:
            self._put_aside(
                relay,
                ConfigurationError(
                    f"{self._name(relay)} refuses our mail: {_quoted(outcome)}.",
                    setting="smtp_url",
                    hint=f"Nobody is blamed and nobody is lost: {_to_mend(outcome)}, then run the "
                    "same command again.",
                ),
            )
        elif outcome.scope is Scope.DOMAIN:
            # It says nothing about the mail server.
            return
        elif outcome.is_charged and outcome.kind is not Kind.UNKNOWN:
            self._state.failures = 0
            if (relay.failures or relay.refusals) and self._relays.succeeded(connection):
                self._state.tell(f"{self._name(relay)} takes our mail again.")
        else:
            failure = TransportUnavailable(
                f"{self._name(relay)} keeps ending conversations: {_quoted(outcome)}.",
                hint="Nobody is lost: the same command goes on where this one stopped.",
            )
            if self._relays.is_single:
                self._state.count_failure(failure)
                return
            self._state.failures += 1
            if self._relays.failed(connection):
                self._put_aside(relay, failure)

    def _name(self, relay: Relay) -> str:
        return "The mail server" if self._relays.is_single else f"The mail server {relay.server}"

    def _heed(self, domain: str, outcome: Outcome) -> Outcome:
        """Slow down or stop where a domain wants that, and say so; return what it comes to.

        A policy that refuses one mail after the other refuses us, not the readers.
        """
        if outcome.reaction is Reaction.BREAK:
            self._refusals[domain] += 1
            if self._refusals[domain] >= _REFUSALS:
                outcome = outcome._replace(reaction=Reaction.PAUSE)
        else:
            self._refusals.pop(domain, None)
        if outcome.reaction is Reaction.PAUSE and not self._prefetch.is_paused(domain):
            self._refusals.pop(domain, None)
            self._prefetch.pause({domain: self._clock() + limits.PAUSE})
            self._state.tell(
                f"{domain} has had enough of us: {_quoted(outcome)}.",
                f"Nothing goes there for ten minutes, then it begins slowly; {_to_mend(outcome)}.",
            )
        if outcome.reaction is Reaction.ALARM and domain not in self._alarmed:
            self._alarmed.add(domain)
            self._state.tell(
                f"{domain} takes no mail as large as ours: {_quoted(outcome)}.",
                "Its readers have not got it: fewer articles or shorter ones make it smaller.",
            )
        return outcome

    def _read_mailing(self, mailing_id: int) -> tuple[SlotValues, CompiledMessage]:
        with sessions.reading(self._engine) as session:
            row = queue.mailing(session, mailing_id)
        return SlotValues.of(row), CompiledMessage.load(row.subject, row.body, row.fields)


async def _call_off(opening: asyncio.Task[Session]) -> None:
    """End an attempt to connect, however far it has come."""
    while not opening.done():
        # Once is not enough: what asyncio.wait_for has just received, it returns all the same.
        opening.cancel()
        await asyncio.wait((opening,), timeout=0.1)
    if not opening.cancelled() and opening.exception() is None:
        opening.result().abandon()


def _quoted(outcome: Outcome) -> str:
    return f"{outcome.code or ''} {outcome.text}".strip().rstrip(".")


def _to_mend(outcome: Outcome) -> str:
    advice = reply.advice(outcome)
    return f"look at {advice}" if advice else "mend what the server names"


def _first(failed: BaseExceptionGroup[NewsletterError]) -> NewsletterError:
    found: BaseException = failed
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, NewsletterError)
    return found
