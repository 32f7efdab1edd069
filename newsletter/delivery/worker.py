"""The worker: claims deliveries and sends them over several connections until none is due.

Order on each connection: the mark is committed, then the body leaves, then the verdict is
committed, together with the next mark. So a crash leaves at most one uncertain message per
connection, and everything else is safe to send again.
"""

from __future__ import annotations

import asyncio
import random
import signal
import ssl
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Select

from newsletter.clock import utc_now
from newsletter.db import session as sessions
from newsletter.delivery import ledger, retry, roster
from newsletter.delivery.committer import Committer
from newsletter.delivery.ledger import Claim, Verdict
from newsletter.delivery.personalize import Filler
from newsletter.delivery.retry import Policy
from newsletter.delivery.roster import Presence
from newsletter.errors import ConfigurationError, NewsletterError, TransportUnavailable
from newsletter.rendering.message import CompiledMessage
from newsletter.settings import Settings, SmtpServer
from newsletter.smtp import pool
from newsletter.smtp.reply import Outcome, Scope
from newsletter.smtp.session import Envelope, Session

#: Rows claimed at a time, per connection: enough to outlast a commit, few enough to give back.
_CLAIMS_PER_CONNECTION = 16
#: Failed connections or conversations in a row, over all connections, before the worker gives up.
_PATIENCE = 5
#: Conversations that a message which is not to blame gets before it goes back to the queue.
_TRIES = 3
#: How often a worker that stays looks for new rows.
_IDLE_SECONDS = 1.0


@dataclass
class Tally:
    """What one worker did: outcomes of tries, by kind; uncharged ones apart."""

    counts: Counter[str] = field(default_factory=Counter)
    #: A signal ended it before nothing was due.
    was_stopped: bool = False

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

    server: SmtpServer
    connections: int
    return_path: str
    filler: Filler
    policy: Policy
    trust: ssl.SSLContext | None = None

    @classmethod
    def of(cls, settings: Settings) -> Plan:
        """Take what a worker needs from the settings."""
        filler = Filler(
            keyring=settings.keyring(),
            domain=settings.sender_domain,
            zone=settings.zone,
            language=settings.language,
        )
        return cls(
            server=settings.smtp(),
            connections=settings.smtp_connections,
            return_path=settings.bounce_address,
            filler=filler,
            policy=settings.unknown_policy,
        )


def run(
    engine: Engine,
    plan: Plan,
    *,
    mailings: Select[Any] | None = None,
    excluded: Select[Any] | None = None,
    stays: bool = False,
    on_try: Callable[[Tally], None] | None = None,
) -> Tally:
    """Send what is due and return what came of it; with `stays`, go on until a signal says stop.

    SIGTERM and SIGINT drain: nothing more is claimed, what is under way is finished, what is left
    is given back. Raises TransportUnavailable or ConfigurationError when the server cannot be
    used; everything not sent is then back in the queue.
    """
    name = roster.new_name()
    with roster.alive(name):
        now = utc_now()
        with sessions.writing(engine) as session:
            dead = roster.dead(session, now=now)
            ledger.take_over(session, dead=dead, policy=plan.policy, now=now)
            presence = roster.sign_in(session, name=name, now=now)
        worker = Worker(engine, plan, presence, stays=stays, on_try=on_try)
        try:
            asyncio.run(worker.work(mailings, excluded))
        finally:
            with sessions.writing(engine) as session:
                ledger.release(session, worker_id=presence.id, now=utc_now())
                ledger.take_over(session, dead=[presence.id], policy=plan.policy, now=utc_now())
    return worker.tally


class Worker:
    """One process's sending: some connections, one committer, a few claims in hand."""

    def __init__(
        self,
        engine: Engine,
        plan: Plan,
        presence: Presence,
        *,
        stays: bool,
        on_try: Callable[[Tally], None] | None,
        rng: random.Random | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.tally = Tally()
        self._engine = engine
        self._plan = plan
        self._presence = presence
        self._stays = stays
        self._on_try = on_try
        self._rng = rng or random.Random()  # noqa: S311 - jitter needs no secrecy
        self._clock = clock
        self._hand: deque[Claim] = deque()
        self._refill = asyncio.Lock()
        self._is_drained = False
        self._stopping = asyncio.Event()
        self._failures = 0
        self._failure: NewsletterError | None = None
        self._compiled: dict[int, tuple[str, CompiledMessage]] = {}

    async def work(self, mailings: Select[Any] | None, excluded: Select[Any] | None) -> None:
        """Run every connection until nothing is left, then write what is still to be written."""
        self._committer = Committer(
            self._engine,
            self._presence,
            clock=self._clock,
            mailings=mailings,
            excluded=excluded,
        )
        with self._signals():
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._plan.connections):
                        group.create_task(self._connection())
            except* NewsletterError as failed:
                self._stop(_first(failed))
            finally:
                await self._committer.close()
        if self._failure is not None:
            raise self._failure

    def _stop(self, failure: NewsletterError | None = None) -> None:
        """Claim nothing more; let what is under way finish."""
        self._failure = self._failure or failure
        self._stopping.set()

    def _drain(self) -> None:
        self.tally.was_stopped = True
        self._stop()

    async def _connection(self) -> None:
        """Send one claim after the other; reconnect as often as the server wants."""
        session: Session | None = None
        try:
            while (claim := await self._take()) is not None:
                session = await self._deliver(claim, session)
        finally:
            if session is not None:
                await session.quit()

    async def _take(self) -> Claim | None:
        """Return the next claim; None when nothing is due, or the worker is to stop."""
        while not self._stopping.is_set():
            async with self._refill:
                if not self._hand and not self._is_drained:
                    await self._fill_hand()
            if self._hand:
                return self._hand.popleft()
            if not self._stays:
                return None
            self._is_drained = False
            await self._pause(_IDLE_SECONDS)
        return None

    async def _fill_hand(self) -> None:
        limit = self._plan.connections * _CLAIMS_PER_CONNECTION
        claims = await self._committer.claim(limit)
        self._hand.extend(claims)
        self._is_drained = not claims

    async def _deliver(self, claim: Claim, session: Session | None) -> Session | None:
        """Try one claim and have its verdict recorded; return the session if it lives on."""
        outcome: Outcome | None = None
        for _ in range(_TRIES):
            if session is None or not session.is_open:
                session = await self._connect()
            if session is None:
                # Still claimed: given back when this worker ends.
                return None
            outcome = await self._send(claim, session)
            if outcome is None:
                break
            self._judge(outcome)
            if outcome.is_charged or outcome.scope is Scope.RUN:
                break
            # Not the reader's doing. Some servers take so many messages on a connection and then
            # leave, so the next try is at once, on a new one.
        if outcome is not None:
            self._settle(claim, outcome)
        return session

    async def _send(self, claim: Claim, session: Session) -> Outcome | None:
        mailing, compiled = self._mailing(claim.mailing_id)
        message = self._plan.filler.fill(compiled, mailing=mailing, claim=claim)
        envelope = Envelope(self._plan.return_path, claim.address)
        return await session.send(envelope, message, permit=lambda: self._committer.mark(claim.id))

    async def _connect(self) -> Session | None:
        """Return a new session, or None: then the claim goes back, and the worker may stop."""
        while not self._stopping.is_set():
            try:
                return await pool.connect(self._plan.server, trust=self._plan.trust)
            except ConfigurationError as exc:
                self._stop(exc)
            except TransportUnavailable as exc:
                self._failures += 1
                if self._failures >= _PATIENCE and not self._stays:
                    self._stop(exc)
                await self._pause(min(30.0, 0.5 * 2**self._failures) * self._rng.uniform(0.5, 1))
        return None

    async def _pause(self, seconds: float) -> None:
        """Wait, but not past the word to stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def _settle(self, claim: Claim, outcome: Outcome) -> None:
        now = self._clock()
        decision = retry.decide(
            outcome, attempts=claim.attempts, policy=self._plan.policy, now=now, rng=self._rng
        )
        self._committer.record(Verdict(claim.id, claim.attempts, outcome, decision))
        self.tally.add(outcome)
        if self._on_try is not None:
            self._on_try(self.tally)

    def _judge(self, outcome: Outcome) -> None:
        """Stop where every further try would fail the same way."""
        if outcome.scope is Scope.RUN:
            self._stop(
                ConfigurationError(
                    f"The mail server refuses our mail: {_quoted(outcome)}.",
                    setting="smtp_url",
                    hint="Nobody is blamed and nobody is lost: mend what the server names, then "
                    "run the same command again.",
                )
            )
        elif outcome.is_charged:
            self._failures = 0
        else:
            self._failures += 1
            if self._failures >= _PATIENCE * self._plan.connections and not self._stays:
                self._stop(
                    TransportUnavailable(
                        f"The mail server keeps ending conversations: {_quoted(outcome)}.",
                        hint="Nobody is lost: the same command goes on where this one stopped.",
                    )
                )

    def _mailing(self, mailing_id: int) -> tuple[str, CompiledMessage]:
        """Return a mailing, read once."""
        found = self._compiled.get(mailing_id)
        if found is None:
            with sessions.reading(self._engine) as session:
                row = ledger.mailing(session, mailing_id)
            compiled = CompiledMessage.load(row.subject, row.body, row.fields)
            found = self._compiled[mailing_id] = (row.public_id, compiled)
        return found

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Drain on SIGTERM and SIGINT; where this is not the main thread, its owner does that."""
        loop = asyncio.get_running_loop()
        wanted = (signal.SIGTERM, signal.SIGINT)
        try:
            for number in wanted:
                loop.add_signal_handler(number, self._drain)
        except (RuntimeError, ValueError):
            yield
            return
        try:
            yield
        finally:
            for number in wanted:
                loop.remove_signal_handler(number)


def _quoted(outcome: Outcome) -> str:
    return f"{outcome.code or ''} {outcome.text}".strip().rstrip(".")


def _first(failed: BaseExceptionGroup[NewsletterError]) -> NewsletterError:
    found: BaseException = failed
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, NewsletterError)
    return found
