"""The connections of a worker: chooses relays, and reacts to failures of relays.

A relay that refuses connections or mail is suspended while there are others to use; the run stops
when none is left.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

from newsletter.errors import ConfigurationError, NewsletterError, TransportUnavailable
from newsletter.logs import events
from newsletter.logs.event import DEBUG, INFO, WARNING
from newsletter.sender import reactions
from newsletter.sender.loop import loop_time
from newsletter.sender.plan import Plan
from newsletter.sender.reactions import Sign
from newsletter.sender.run_state import RunState
from newsletter.smtp import pool
from newsletter.smtp.outcome import Kind, Outcome
from newsletter.smtp.relays import Connection, Relay, Relays
from newsletter.smtp.server import SmtpServer
from newsletter.smtp.session import Envelope, Mail, Session
from newsletter.smtp.tls import Trust


class Connections:
    """The open connections of one worker, by relay; used from its event loop only."""

    def __init__(
        self,
        servers: Iterable[SmtpServer],
        *,
        state: RunState,
        rng: random.Random,
    ) -> None:
        self._relays = Relays(servers, rng=rng)
        self._trust = Trust()
        self._state = state
        #: The events that were logged at level INFO in this run, with their relays.
        self._logged: set[tuple[str, Relay]] = set()

    async def open(self, *, failed: Relay | None) -> Connection | None:
        """Return a new connection; None if no relay can be tried now, or the worker is to stop.

        If a relay refuses, the next one is tried; the one that has just `failed` comes last.
        """
        while not self._state.is_stopping:
            relay = self._relays.pick(loop_time(), failed=failed)
            connection = await self._connect(relay) if relay else None
            if connection is not None or relay is None or self._relays.is_single:
                return connection
        return None

    async def close(self, connection: Connection) -> None:
        """Send QUIT to the server, and remove the connection from the counts."""
        try:
            await connection.session.quit()
        finally:
            self._relays.closed(connection)

    def abandon(self) -> None:
        """Drop all connections without waiting for replies; messages in flight become uncertain."""
        for relay in self._relays:
            for connection in relay.connections:
                connection.session.abandon()

    def rebalance(self) -> None:
        """Let a connection end if it should be replaced by one to a relay below its share."""
        self._relays.rebalance(loop_time())

    def refuses_all(self, connection: Connection, outcome: Outcome, domain: str) -> bool:
        """Count a refusal that may be about us; return whether the relay refuses all our mail.

        It does if readers at many domains were refused consecutively, and none was accepted.
        """
        return reactions.may_be_about_us(outcome) and self._relays.refused(connection, domain)

    def learn(self, connection: Connection, outcome: Outcome) -> None:
        """Update the state of the relay after an outcome; stop the run if no relay is left."""
        relay = connection.relay
        if outcome.kind is Kind.ACCEPTED:
            relay.doubts.clear()
        match reactions.sign(outcome):
            case Sign.WORKS:
                self._state.failures = 0
                if (relay.failures or relay.refusals) and self._relays.succeeded(connection):
                    said = f"{self._name(relay)} takes our mail again."
                    self._state.tell(events.RELAY_RECOVERED, said, relay=relay.server)
            case Sign.REFUSES:
                self._suspend(relay, reactions.relay_refuses(self._name(relay), outcome))
            case Sign.FAILS:
                self._log_lost(relay, outcome)
                self._count_failure(connection, reactions.relay_fails(self._name(relay), outcome))

    async def _connect(self, relay: Relay) -> Connection | None:
        opening = asyncio.create_task(
            pool.connect(relay.server, trust=self._trust, has_others=not self._relays.is_single)
        )
        relay.calls.append(opening)
        stopping = asyncio.create_task(self._state.stopping.wait())
        connection: Connection | None = None
        try:
            await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not self._state.is_stopping:
                connection = self._relays.opened(relay, opening.result(), now=loop_time())
                self._log_connected(connection)
        except ConfigurationError as exc:
            self._suspend(relay, exc)
        except TransportUnavailable as exc:
            self._count_refusal(relay, exc, is_oldest=relay.calls[0] is opening)
        finally:
            relay.calls.remove(opening)
            stopping.cancel()
            if connection is None:
                await _call_off(opening)
        return connection

    def _count_refusal(
        self, relay: Relay, refusal: TransportUnavailable, *, is_oldest: bool
    ) -> None:
        """Count a refused connection; a relay that keeps other connections of ours is only full.

        A relay that has not yet replied to an older attempt may be only full, too: servers may
        delay their greeting for minutes, but refuse excess connections immediately.
        """
        if self._relays.is_single:
            if is_oldest and not relay.taken:
                self._count(relay, refusal)
        elif relay.taken or len(relay.calls) > 1:
            self._relays.is_full(relay, now=loop_time())
        else:
            self._suspend(relay, refusal)

    def _count_failure(self, connection: Connection, failure: TransportUnavailable) -> None:
        """Count a session that a relay ended."""
        if self._relays.is_single:
            self._count(connection.relay, failure)
            return
        self._state.failures += 1
        if self._relays.failed(connection):
            self._suspend(connection.relay, failure)

    def _count(self, relay: Relay, failure: TransportUnavailable) -> None:
        """Count a failure of the only relay; too many in a row stop the run."""
        was_stopping = self._state.is_stopping
        self._state.count_failure(failure)
        level = WARNING if self._state.is_stopping and not was_stopping else DEBUG
        events.RELAY_REFUSED(level, relay=relay.server, message=failure.message)

    def _suspend(self, relay: Relay, refusal: NewsletterError) -> None:
        """Suspend a relay; stop the run if all relays are suspended."""
        is_news = self._relays.suspend(relay, refusal, now=loop_time())
        if (failure := self._relays.failure(loop_time())) is not None:
            events.RELAY_REFUSED(relay=relay.server, message=refusal.message)
            self._state.stop(failure)
        elif is_news:
            said = f"{refusal.message} It is put aside, and the others go on."
            self._state.tell(events.RELAY_REFUSED, said, relay=relay.server)

    def _log_connected(self, connection: Connection) -> None:
        tls = connection.session.tls or "none"
        events.RELAY_CONNECTED(
            self._level("connected", connection.relay), relay=connection.relay.server, tls=tls
        )

    def _log_lost(self, relay: Relay, outcome: Outcome) -> None:
        events.RELAY_LOST(
            self._level("lost", relay),
            relay=relay.server,
            phase=outcome.phase,
            code=outcome.code,
            reply=outcome.text,
        )

    def _level(self, what: str, relay: Relay) -> int:
        """Return the level of an event that may recur per message: INFO the first time in a run."""
        is_first = (what, relay) not in self._logged
        self._logged.add((what, relay))
        return INFO if is_first else DEBUG

    def _name(self, relay: Relay) -> str:
        return "The mail server" if self._relays.is_single else f"The mail server {relay.server}"


def post(plan: Plan, recipient: str, message: bytes) -> Outcome:
    """Send one message outside the ledger: a preview to a mailbox of the operator's choice.

    Raises TransportUnavailable or ConfigurationError when no server can be used.
    """

    async def may_send() -> bool:
        return True

    async def converse() -> Outcome:
        session = await _any(plan)
        try:
            mail = Mail(Envelope(plan.return_path.plain, recipient), message)
            outcome = await session.send(mail, may_send=may_send)
        finally:
            await session.quit()
        assert outcome is not None
        return outcome

    return asyncio.run(converse())


async def _any(plan: Plan) -> Session:
    """Return a session with the first relay that accepts a connection."""
    relays = Relays(plan.servers, rng=random.Random())  # noqa: S311 - chance needs no secrecy
    while (failure := relays.failure(loop_time())) is None:
        relay = relays.pick(loop_time())
        assert relay is not None, "a relay that is not suspended can be tried"
        try:
            return await pool.connect(relay.server, trust=Trust(), has_others=not relays.is_single)
        except (ConfigurationError, TransportUnavailable) as exc:
            relays.suspend(relay, exc, now=loop_time())
    raise failure


async def _call_off(opening: asyncio.Task[Session]) -> None:
    """Cancel an attempt to connect, at any stage."""
    while not opening.done():
        # Repeated, because asyncio.wait_for ignores a cancellation that arrives with the result.
        opening.cancel()
        await asyncio.wait((opening,), timeout=0.1)
    if not opening.cancelled() and opening.exception() is None:
        opening.result().abandon()
