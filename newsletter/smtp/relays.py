"""Which relay gets the next connection: by weight, and past those that refuse us. No I/O here.

A relay that refuses us is put aside for a time that doubles with each refusal in a row; then it is
tried with one connection. A relay that takes no more than it has is left at that for a while.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from newsletter.errors import ConfigurationError, NewsletterError, TransportUnavailable
from newsletter.settings import SmtpServer
from newsletter.smtp.session import Session

#: For how long a relay is put aside: at first, and at most.
REST_SECONDS = 30.0
LONGEST_REST_SECONDS = 600.0
#: Conversations that a relay may end in a row, for each of its connections, before that counts as a
#: refusal.
PATIENCE = 5
#: Refusals in a row, of readers at so many domains at least, that are taken for one of us.
_REFUSALS = 20
_DOMAINS = 5


@dataclass(slots=True, eq=False)
class Connection:
    """One open connection to a relay."""

    relay: Relay
    session: Session
    #: Whether it is to end after its current message: others may do better elsewhere.
    is_leaving: bool = False


@dataclass(slots=True, eq=False)
class Relay:
    """One mail server, and what it has made of us lately."""

    server: SmtpServer
    connections: set[Connection] = field(default_factory=set)
    #: Connections that are being made.
    calls: int = 0
    #: Refusals in a row, each of a relay that was put aside before and tried again.
    refusals: int = 0
    #: What it said to the last one.
    refusal: NewsletterError | None = None
    #: Conversations that it ended in a row.
    failures: int = 0
    #: Refusals since it last took a message that may be of us, by the domain of the reader.
    doubts: Counter[str] = field(default_factory=Counter)
    #: How many connections it takes, as far as is known; one more is tried at `rest_until`.
    limit: float = math.inf
    rest_until: float = -math.inf

    @property
    def taken(self) -> int:
        """Connections that it has taken, and that are there to stay."""
        return sum(
            connection.session.is_open and not connection.is_leaving
            for connection in self.connections
        )

    @property
    def busy(self) -> int:
        """Connections that are there to stay, and those being made."""
        return self.calls + sum(not connection.is_leaving for connection in self.connections)

    def rests(self, now: float) -> bool:
        """Tell whether it is put aside, and not to be tried yet."""
        return self.refusals > 0 and now < self.rest_until

    def has_room(self, now: float) -> bool:
        """Tell whether one more connection may be tried."""
        return self.busy < self.limit + (now >= self.rest_until)


class Relays:
    """The relays of one worker; `now` is any clock that only goes forward."""

    def __init__(self, servers: Iterable[SmtpServer], *, rng: random.Random) -> None:
        self._relays = [Relay(server) for server in servers]
        self._rng = rng
        #: Whether there is no other to go to: then nothing is put aside for another's sake.
        self.is_single = len(self._relays) == 1

    def __iter__(self) -> Iterator[Relay]:
        return iter(self._relays)

    def pick(self, now: float, *, failed: Relay | None = None) -> Relay | None:
        """Return the relay that is furthest below its share; None if none is to be tried now.

        By the divisors of Sainte-Laguë, which favour neither the light nor the heavy. The one that
        has `failed` a connection just now gets its next only if there is no other.
        """
        found = [relay for relay in self._relays if self.is_single or relay.has_room(now)]
        # Among equals by chance: of many workers with one connection each, not all take the first.
        return min(
            found,
            key=lambda each: (each is failed, _load(each, 0.5), self._rng.random()),
            default=None,
        )

    def opened(self, relay: Relay, session: Session, *, now: float) -> Connection:
        """Count a connection that was made, even if the relay was put aside meanwhile."""
        connection = Connection(relay, session, is_leaving=relay.rests(now))
        relay.connections.add(connection)
        if not relay.refusals:
            relay.limit = max(relay.limit, len(relay.connections))
        return connection

    def closed(self, connection: Connection) -> None:
        """Count a connection no more."""
        connection.relay.connections.discard(connection)

    def is_full(self, relay: Relay, *, now: float) -> None:
        """Leave a relay that has refused one connection at the others, made or being made."""
        relay.limit = relay.taken + relay.calls - 1
        relay.rest_until = now + REST_SECONDS

    def put_aside(self, relay: Relay, refusal: NewsletterError, *, now: float) -> bool:
        """Let a relay rest, and its connections end; return whether it was in use until now.

        What is heard from it while it rests was begun before, and counts no more.
        """
        if relay.rests(now):
            return False
        relay.refusals += 1
        relay.refusal, relay.failures, relay.limit = refusal, 0, 0
        relay.doubts.clear()
        rest = REST_SECONDS * 2 ** min(relay.refusals - 1, 10)
        relay.rest_until = now + min(rest, LONGEST_REST_SECONDS)
        for connection in relay.connections:
            connection.is_leaving = True
        return relay.refusals == 1

    def failed(self, connection: Connection) -> bool:
        """Count a conversation that a relay ended; return whether that amounts to a refusal.

        Not the first ones: some servers take so many messages on a connection and then leave, and
        some readers no server can bear.
        """
        if connection.is_leaving:
            return False
        connection.is_leaving = True
        relay = connection.relay
        relay.failures += 1
        return relay.refusals > 0 or relay.failures >= PATIENCE * len(relay.connections)

    def refused(self, connection: Connection, domain: str) -> bool:
        """Count a refusal that says nothing about the reader; return whether it is one of us.

        One policy may be against us, and one reader be odd; but not one after the other, and nobody
        taken between. A relay that is only just tried again has to take a message first.
        """
        relay = connection.relay
        relay.doubts[domain] += 1
        if relay.refusals:
            return True
        return relay.doubts.total() >= _REFUSALS and len(relay.doubts) >= _DOMAINS

    def succeeded(self, connection: Connection) -> bool:
        """Forget what a relay has refused; return whether it is back by that."""
        if connection.is_leaving:
            return False
        relay = connection.relay
        was_aside = relay.refusals > 0
        relay.failures = relay.refusals = 0
        if was_aside:
            relay.limit, relay.refusal = math.inf, None
        return was_aside

    def rebalance(self, now: float) -> None:
        """Tell a connection to end if it would do better at a relay that has room for it.

        One at a time: who has just come back is not run over.
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
        """Return what to say when all relays rest; None while one of them may be tried."""
        refusals = [each.refusal for each in self._relays if each.refusal and each.rests(now)]
        if len(refusals) < len(self._relays):
            return None
        if self.is_single:
            return refusals[0]
        message = "All mail servers refuse us. " + " ".join(each.message for each in refusals)
        hints = dict.fromkeys(each.hint for each in refusals if each.hint)
        hint = " ".join(hints)
        if all(isinstance(each, ConfigurationError) for each in refusals):
            return ConfigurationError(message, setting="smtp_url", hint=hint)
        # One of them may be there again, with nothing to mend.
        return TransportUnavailable(message, hint=hint)


def _load(relay: Relay, one_more: float) -> float:
    return (relay.busy + one_more) / relay.server.weight
