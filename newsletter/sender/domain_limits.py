"""Limits of one domain, set by the operator or learned: concurrent messages, and rate per minute.

Functions take the Session of a transaction that their caller owns and commits.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple

from sqlalchemy import Select, String, bindparam, delete
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from newsletter.ledger import statements
from newsletter.ledger.queue import Verdict
from newsletter.models import Pace, ProcessKind, State, Worker
from newsletter.models.columns import Instant, sql
from newsletter.models.pace import EVERYONE
from newsletter.sender import limits
from newsletter.sender.limits import Limits
from newsletter.settings.values import DomainLimit
from newsletter.smtp.outcome import Outcome, Reaction

#: Length of a domain's pause after a reply that we exceed its rate limit (Gmail's 4.7.28).
PAUSE = timedelta(minutes=10)
#: Messages a second for each connection to a domain that had trouble.
_PER_CONNECTION = 5.0
#: Accepted messages per connection after which one more is allowed.
_SUCCESSES = 10
#: Connections to a domain that has no limit of its own.
_CEILING = 16
#: Time during which only the first failure counts, because one incident causes many replies.
_ONE_TROUBLE = timedelta(minutes=1)
#: Time ahead of a domain's pace at which its messages are claimed.
_SOON = timedelta(seconds=2)
#: Messages that a worker holds for a domain, for each connection of its share.
_PREFETCHED = 16
#: Time after which other workers may send to a domain that accepts fewer connections than there are
#: workers.
_TURN = timedelta(seconds=30)

_PAUSED = sql(
    "SELECT key, paused_until FROM pace WHERE paused_until > :now AND key <> :everyone", "now"
).columns(key=String(), paused_until=Instant())


def domain_of(address: str) -> str:
    """Return the domain of an address, in the form in which limits are stored."""
    return address.rpartition("@")[2].lower()


class DomainRate(NamedTuple):
    """The limits of a domain: simultaneous connections, and the time between two messages."""

    connections: int
    spacing: timedelta


@dataclass
class Allowance:
    """The messages that one worker may claim for a domain with a limit."""

    #: Maximum number of concurrent messages of the worker to the domain.
    share: int
    #: Number of messages that the worker may claim now.
    messages: int
    #: The time at which the worker may claim more; None for as soon as one of its messages is done.
    again_at: datetime | None
    spacing: timedelta
    next_at: datetime
    changed_at: datetime | None
    #: Number of messages that the worker has claimed.
    claimed: int = 0

    def take(self, count: int) -> None:
        """Count messages as claimed."""
        self.messages -= count
        self.claimed += count


def rates(
    session: Session, domains: Collection[str], rules: Limits, *, now: datetime
) -> dict[str, DomainRate]:
    """Return the limits of those of the domains that have any. Changes nothing."""
    slow = _slow(session, domains)
    limited = [domain for domain in domains if domain in slow or rules.of_domain(domain)]
    found = {one: _Rate.of(slow.get(one), rules.of_domain(one), now) for one in limited}
    return {domain: DomainRate(rate.connections, rate.spacing) for domain, rate in found.items()}


def allowances(
    session: Session,
    domains: Collection[str],
    rules: Limits,
    *,
    holding: Mapping[str, int],
    worker_id: int,
    now: datetime,
) -> dict[str, Allowance]:
    """Return the allowance of a worker for each of these domains that is limited.

    `holding` counts the messages that the worker holds for each domain. Each worker has a share of
    the connections to a domain, and may hold messages in proportion.
    """
    if not domains:
        return {}
    paced = {key for (key,) in statements.PACED.run(session, domains=json.dumps(list(domains)))}
    limited = [domain for domain in domains if domain in paced or rules.of_domain(domain)]
    if not limited:
        return {}
    limits.lock(session, now)
    slow = _slow(session, limited)
    workers = list(session.execute(_workers()).scalars())
    found = {}
    for domain in limited:
        rate = _Rate.of(slow.get(domain), rules.of_domain(domain), now)
        share = _share(rate.connections, workers, worker_id, domain, now)
        room = max(share * _PREFETCHED - holding.get(domain, 0), 0)
        messages = min(room, rate.ahead(now))
        again_at = None
        if not share:
            again_at = max(rate.next_at, _end_of_turn(now))
        elif messages < room:
            again_at = max(rate.next_at + messages * rate.spacing - _SOON / 2, rate.opens_at)
        found[domain] = Allowance(
            share, messages, again_at, rate.spacing, rate.next_at, rate.changed_at
        )
    return found


def spend(session: Session, allowed: Mapping[str, Allowance], now: datetime) -> None:
    """Store the next send time of each domain with a pace, after messages were claimed."""
    for domain, one in sorted(allowed.items()):
        if one.claimed and one.spacing:
            next_at = one.next_at + one.claimed * one.spacing
            limits.set_pace(session, domain, next_at=next_at, changed_at=one.changed_at or now)


def is_paused(until: datetime | None, now: datetime) -> bool:
    """Return whether a domain that was paused until `until` is paused now.

    If the end is farther away than the length of a pause, the clock has been set back since.
    """
    return until is not None and now < until <= now + 2 * PAUSE


def paused(session: Session, now: datetime) -> dict[str, datetime]:
    """Return the domains that are paused now, with the end of each pause."""
    found = session.execute(_PAUSED, {"now": now, "everyone": EVERYONE})
    return {key: until for key, until in found if is_paused(until, now)}


def learn(
    session: Session,
    verdicts: Sequence[Verdict],
    rules: Limits,
    *,
    slow: Collection[str],
    now: datetime,
) -> set[str]:
    """Slow a domain down after trouble, and speed it up again after accepted messages.

    `slow` are the domains that are limited: only their successes matter. Returns the domains that
    had trouble.
    """
    troubles: dict[str, Outcome] = {}
    for verdict in verdicts:
        reaction, domain = verdict.outcome.reaction, domain_of(verdict.address)
        # The first failure counts, unless a later one requires a pause.
        if reaction is Reaction.PAUSE or (reaction is Reaction.SLOW and domain not in troubles):
            troubles[domain] = verdict.outcome
    successes = Counter(
        domain
        for verdict in verdicts
        if slow
        and verdict.decision.state is State.ACCEPTED
        and (domain := domain_of(verdict.address)) in slow
    )
    if not troubles and not successes:
        return set()
    limits.lock(session, now)
    known = _slow(session, {*troubles, *successes})
    for domain, outcome in sorted(troubles.items()):
        values = _slowed_down(known.get(domain), rules.of_domain(domain), outcome.reaction, now)
        if values:
            limits.set_pace(
                session, domain, **values, reply=outcome.text, successes=0, changed_at=now
            )
    for domain, count in sorted(successes.items()):
        if domain not in troubles and (pace := known.get(domain)) is not None:
            _speed_up(session, pace, rules.of_domain(domain), count)
    return set(troubles)


def _slowed_down(
    pace: Pace | None, limit: DomainLimit | None, reaction: Reaction, now: datetime
) -> dict[str, object]:
    """Return the changes of a domain's pace; none if this incident was counted before."""
    learned = pace.connections if pace else None
    paused_until = pace.paused_until if pace else None
    if reaction is Reaction.PAUSE:
        if is_paused(paused_until, now):
            return {}
        return {"connections": 1, "paused_until": now + PAUSE, "next_at": now + PAUSE}
    if pace is not None and learned is not None and abs(now - pace.changed_at) < _ONE_TROUBLE:
        return {}
    return {
        "connections": max(1, (learned or _ceiling(limit)) // 2),
        "paused_until": paused_until,
        "next_at": now,
    }


def _speed_up(session: Session, pace: Pace, limit: DomainLimit | None, count: int) -> None:
    if pace.connections is None:
        return
    connections, successes = pace.connections, pace.successes + count
    while successes >= _SUCCESSES * connections and connections <= _ceiling(limit):
        successes -= _SUCCESSES * connections
        connections += 1
    if connections > _ceiling(limit):
        # The domain has recovered, so only the operator's limit applies.
        session.execute(delete(Pace).where(col(Pace.key) == pace.key))
        return
    limits.set_pace(
        session,
        pace.key,
        connections=connections,
        successes=successes,
        next_at=pace.next_at,
        # The time of the last failure is not changed by a success, so that the next failure is not
        # taken for the same incident.
        changed_at=pace.changed_at,
    )


class _Rate(NamedTuple):
    """The effective limit of a domain at this moment."""

    connections: int
    spacing: timedelta
    #: The time of the next message, one spacing after the last one.
    next_at: datetime
    #: The end of a pause; the current time if there is none.
    opens_at: datetime
    changed_at: datetime | None

    @classmethod
    def of(cls, pace: Pace | None, limit: DomainLimit | None, now: datetime) -> _Rate:
        """Return the stricter of a domain's learned limit and the operator's."""
        learned = pace.connections if pace else None
        connections = min(learned or _ceiling(limit), _ceiling(limit))
        rates = [limit.per_minute / 60] if limit and limit.per_minute else []
        if learned:
            rates.append(learned * _PER_CONNECTION)
        spacing = timedelta(seconds=1 / min(rates)) if rates else timedelta()
        if pace is None:
            return cls(connections, spacing, now, now, None)
        opens_at = now
        if pace.paused_until is not None and is_paused(pace.paused_until, now):
            opens_at = pace.paused_until
        next_at = pace.next_at
        if next_at > now + 2 * PAUSE + spacing:
            # The clock has been set back, as no message is planned so far ahead.
            next_at = now
        return cls(connections, spacing, max(next_at, opens_at), opens_at, pace.changed_at)

    def ahead(self, now: datetime) -> int:
        """Return how many messages may be claimed now, to be sent within _SOON."""
        if self.opens_at > now or self.next_at > now + _SOON:
            return 0
        if not self.spacing:
            return sys.maxsize
        return int((now + _SOON - self.next_at) / self.spacing) + 1


def _ceiling(limit: DomainLimit | None) -> int:
    return (limit and limit.connections) or _CEILING


def _share(
    connections: int, workers: Sequence[int | None], worker_id: int, domain: str, now: datetime
) -> int:
    """Return this worker's share of a domain's connections; all shares sum to `connections`."""
    if worker_id not in workers:
        return connections
    # The shares rotate with time and domain, so that an idle worker does not keep a domain's only
    # connection.
    rate = int(now.timestamp() // _TURN.total_seconds())
    rank = (workers.index(worker_id) + sum(domain.encode()) + rate) % len(workers)
    each, left = divmod(connections, len(workers))
    return each + (rank < left)


def _end_of_turn(now: datetime) -> datetime:
    seconds = _TURN.total_seconds()
    return datetime.fromtimestamp((now.timestamp() // seconds + 1) * seconds, UTC)


def _slow(session: Session, domains: Collection[str]) -> dict[str, Pace]:
    found = session.execute(_paces(), {"domains": list(domains)})
    return {pace.key: pace for pace in found.scalars()}


# Cached, because building these statements takes longer than running them.
@cache
def _paces() -> Select[Pace]:
    of = col(Pace.key).in_(bindparam("domains", expanding=True))
    found = select_columns(Pace).where(of, col(Pace.key) != EVERYONE)
    return found.execution_options(populate_existing=True)


@cache
def _workers() -> Select[int | None]:
    of_senders = col(Worker.kind) == ProcessKind.WORKER
    return select_columns(col(Worker.id)).where(of_senders).order_by(col(Worker.id))
