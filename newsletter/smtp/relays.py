"""Chooses the relay of the next connection, by weight and with fail-over. Pure: no I/O.

A relay that refuses us is not used for a back-off that doubles with each consecutive refusal; then
it is tried with one connection. If a relay only refuses another connection, its open ones are kept.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from newsletter.errors import ConfigurationError, NewsletterError, TransportUnavailable
from newsletter.smtp.server import SmtpServer
from newsletter.smtp.session import Session

#: Back-off of a relay after its first refusal, and its maximum.
BACKOFF_SECONDS = 30.0
LONGEST_BACKOFF_SECONDS = 600.0
#: Consecutive sessions that a relay may end, per connection, before that counts as a refusal.
PATIENCE = 5
#: This many consecutive refusals, for readers at this many domains, count as a refusal of us.
_REFUSALS = 20
_DOMAINS = 5


@dataclass(slots=True, eq=False)
class Connection:
    """One open connection to a relay."""

    relay: Relay
    session: Session
    #: Whether the connection is closed after its current message.
    is_leaving: bool = False


@dataclass(slots=True, eq=False)
class Relay:
    """One mail server, its connections and its recent failures."""

    server: SmtpServer
    connections: set[Connection] = field(default_factory=set)
    #: Attempts to connect that have not ended, the oldest first.
    calls: list[object] = field(default_factory=list)
    #: Consecutive refusals of us; each doubles the back-off.
    refusals: int = 0
    #: The error of the last refusal.
    refusal: NewsletterError | None = None
    #: Consecutive sessions that the relay has ended.
    failures: int = 0
    #: Refusals since the last accepted message that may concern us, by domain of the reader.
    doubts: Counter[str] = field(default_factory=Counter)
    #: The known maximum of connections that the relay accepts; one more is tried at `next_try_at`.
    limit: float = math.inf
    next_try_at: float = -math.inf

    @property
    def taken(self) -> int:
        """The number of open connections, without those that are closing."""
        return sum(
            connection.session.is_open and not connection.is_leaving
            for connection in self.connections
        )

    @property
    def busy(self) -> int:
        """The number of connections, including those being opened, but not those closing."""
        return len(self.calls) + sum(not connection.is_leaving for connection in self.connections)

    def is_suspended(self, now: float) -> bool:
        """Return whether the relay's back-off is still running."""
        return self.refusals > 0 and now < self.next_try_at

    def has_room(self, now: float) -> bool:
        """Return whether one more connection may be tried."""
        return self.busy < self.limit + (now >= self.next_try_at)


class Relays:
    """The relays of one worker; `now` is a monotonic clock in seconds."""

    def __init__(self, servers: Iterable[SmtpServer], *, rng: random.Random) -> None:
        self._relays = [Relay(server) for server in servers]
        self._rng = rng
        #: Whether there is no other relay to fail over to.
        self.is_single = len(self._relays) == 1

    def __iter__(self) -> Iterator[Relay]:
        return iter(self._relays)

    def pick(self, now: float, *, failed: Relay | None = None) -> Relay | None:
        """Return the relay that is furthest below its share; None if none may be tried now.

        The Sainte-Laguë method decides, which is neutral between small and large weights. The relay
        whose connection has just `failed` is returned only if there is no other.
        """
        found = [relay for relay in self._relays if self.is_single or relay.has_room(now)]
        # Ties are broken at random, so that workers with one connection each do not all take the
        # first relay.
        return min(
            found,
            key=lambda each: (each is failed, _load(each, 0.5), self._rng.random()),
            default=None,
        )

    def opened(self, relay: Relay, session: Session, *, now: float) -> Connection:
        """Add a new connection; it closes early if the relay's back-off has begun meanwhile."""
        connection = Connection(relay, session, is_leaving=relay.is_suspended(now))
        relay.connections.add(connection)
        if not relay.refusals:
            relay.limit = max(relay.limit, len(relay.connections))
        return connection

    def closed(self, connection: Connection) -> None:
        """Remove a connection."""
        connection.relay.connections.discard(connection)

    def is_full(self, relay: Relay, *, now: float) -> None:
        """Limit a relay that refused another connection to its open ones, for a while."""
        relay.limit = relay.taken + len(relay.calls) - 1
        relay.next_try_at = now + BACKOFF_SECONDS

    def suspend(self, relay: Relay, refusal: NewsletterError, *, now: float) -> bool:
        """Begin the back-off of a relay and close its connections; return whether it was in use.

        Refusals during the back-off are not counted: their connections were opened before it.
        """
        if relay.is_suspended(now):
            return False
        relay.refusals += 1
        relay.refusal, relay.failures, relay.limit = refusal, 0, 0
        relay.doubts.clear()
        backoff = BACKOFF_SECONDS * 2 ** min(relay.refusals - 1, 10)
        relay.next_try_at = now + min(backoff, LONGEST_BACKOFF_SECONDS)
        for connection in relay.connections:
            connection.is_leaving = True
        return relay.refusals == 1

    def failed(self, connection: Connection) -> bool:
        """Count a session that a relay ended; return whether that amounts to a refusal of us.

        The first sessions do not: some servers close a connection after a number of messages, and
        some messages make any server close it.
        """
        if connection.is_leaving:
            return False
        connection.is_leaving = True
        relay = connection.relay
        relay.failures += 1
        return relay.refusals > 0 or relay.failures >= PATIENCE * len(relay.connections)

    def refused(self, connection: Connection, domain: str) -> bool:
        """Count a refusal that is not about the reader; return whether it is a refusal of us.

        A few refusals may have other reasons; many consecutive ones, at several domains and with no
        message accepted in between, do not. After a back-off, and until a message is accepted, the
        first refusal suffices.
        """
        relay = connection.relay
        relay.doubts[domain] += 1
        if relay.refusals:
            return True
        return relay.doubts.total() >= _REFUSALS and len(relay.doubts) >= _DOMAINS

    def succeeded(self, connection: Connection) -> bool:
        """Reset the failures of a relay; return whether that ends its back-off."""
        if connection.is_leaving:
            return False
        relay = connection.relay
        was_refusing = relay.refusals > 0
        relay.failures = relay.refusals = 0
        if was_refusing:
            relay.limit, relay.refusal = math.inf, None
        return was_refusing

    def rebalance(self, now: float) -> None:
        """Close a connection after its message if another relay is further below its share.

        Connections are moved one at a time, so that a relay that has just recovered is not flooded.
        """
        crowded = max(self._relays, key=lambda each: _load(each, -0.5))
        if any(connection.is_leaving for connection in crowded.connections):
            return
        wanted = self.pick(now)
        if wanted is None or _load(wanted, 0.5) >= _load(crowded, -0.5):
            return
        for connection in crowded.connections:
            connection.is_leaving = True
            return

    def failure(self, now: float) -> NewsletterError | None:
        """Return the error if every relay is in back-off; None if any may be tried."""
        refusals = [
            each.refusal for each in self._relays if each.refusal and each.is_suspended(now)
        ]
        if len(refusals) < len(self._relays):
            return None
        if self.is_single:
            return refusals[0]
        message = "All mail servers refuse us. " + " ".join(each.message for each in refusals)
        hints = dict.fromkeys(each.hint for each in refusals if each.hint)
        hint = " ".join(hints)
        if all(isinstance(each, ConfigurationError) for each in refusals):
            return ConfigurationError(message, setting="smtp_url", hint=hint)
        # At least one failure may be temporary.
        return TransportUnavailable(message, hint=hint)


def _load(relay: Relay, one_more: float) -> float:
    return (relay.busy + one_more) / relay.server.weight
