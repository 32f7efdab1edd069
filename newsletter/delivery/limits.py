"""Limits: how many messages may go, in all and to one domain; the same for every worker.

What was let go stands in the database, so that a limit holds over restarts, on any number of
machines. A worker takes leave for several messages at a time (a lease), not a row's lock for each.

A limit holds in every window of its length, wherever that begins. An hour or a day is cut into
slices: a lease counts in the slice in which it is taken, and for as long as a window with any of it
could last. A second is too short for that: there each message has its own instant.

Functions take the Session of a transaction that their caller owns and commits.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, func, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from newsletter.db.engine import is_sqlite
from newsletter.delivery.ledger import Claim, Verdict
from newsletter.models import Pace, Spending, State, Worker
from newsletter.models.pace import EVERYONE
from newsletter.settings import DomainLimit, Settings
from newsletter.smtp.reply import Act

#: How long leave to send is good for.
LEASE = timedelta(seconds=10)
#: Into how many slices a window is cut; one of them, and a lease, is what a limit leaves unused.
_SLICES = 60
#: A lease is at most such a part of a limit: a worker that is killed takes its lease with it.
_LARGEST_LEASE = 1_000
#: Of a limit by the second: how late a message may be, how much of the limit is used so that not
#: even then a second has too many, and how far ahead leave is given.
PUNCTUALITY = timedelta(seconds=0.04)
_USED = 0.96
_AHEAD = timedelta(seconds=0.25)

#: How long nothing goes to a domain that has had enough of us (Gmail's 4.7.28).
PAUSE = timedelta(minutes=10)
#: Messages a second on each connection to a domain that had enough.
_PER_CONNECTION = 5.0
#: For one connection more: so many messages accepted on each of them.
_SUCCESSES = 10
#: How many connections a domain has that has no limit of its own and never had trouble.
_CEILING = 16
#: One trouble makes many replies: the first one counts.
_ONE_TROUBLE = timedelta(minutes=1)
#: A claim of a slow domain is kept if its turn comes so soon; else it goes back until then.
_SOON = timedelta(seconds=2)
#: Those that go back are spread over so long at most.
_SPREAD = timedelta(minutes=10)
#: How long another worker's turn lasts at a domain that has fewer connections than we are workers.
_TURN = timedelta(seconds=5)


@dataclass(frozen=True)
class Limits:
    """What the operator has set."""

    per_second: float | None = None
    per_hour: int | None = None
    per_day: int | None = None
    #: Messages a day, one day after the other from `warm_up_from` on.
    warm_up: Sequence[int] = ()
    warm_up_from: date | None = None
    domains: Mapping[str, DomainLimit] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Take the limits from the settings."""
        return cls(
            per_second=settings.limit_per_second,
            per_hour=settings.limit_per_hour,
            per_day=settings.limit_per_day,
            warm_up=settings.warm_up,
            warm_up_from=settings.warm_up_from,
            domains=settings.domain_limits,
        )

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit for all mail."""
        return bool(self.per_second or self.per_hour or self.per_day or self.warm_up_from)

    def windows(self, now: datetime) -> list[tuple[str, timedelta, int]]:
        """Return name, length and size of the windows that are counted."""
        found = []
        if self.per_hour:
            found.append(("hour", timedelta(hours=1), self.per_hour))
        of_day = [most for most in (self.per_day, self._warm_up_of(now)) if most is not None]
        if of_day:
            found.append(("day", timedelta(days=1), min(of_day)))
        return found

    def of_domain(self, domain: str) -> DomainLimit | None:
        """Return the limit that was set for a domain, or for all that have none."""
        return self.domains.get(domain, self.domains.get(EVERYONE))

    def _warm_up_of(self, now: datetime) -> int | None:
        if self.warm_up_from is None:
            return None
        day = (now.astimezone(UTC).date() - self.warm_up_from).days
        return self.warm_up[max(day, 0)] if day < len(self.warm_up) else None


class Lease(NamedTuple):
    """Leave for some messages, the first at `first_at` and the others `spacing` apart."""

    messages: int
    first_at: datetime
    spacing: timedelta
    #: Where there is none: when to ask again.
    retry_at: datetime
    granted_at: datetime


# All mail


def lease(session: Session, limits: Limits, *, wanted: int, now: datetime) -> Lease:
    """Take leave for up to `wanted` messages."""
    everyone = _lock(session, now)
    granted, retry_at = wanted, now
    windows = limits.windows(now)
    for name, window, most in windows:
        free, free_at = _free(session, name, window, most, now)
        granted = min(granted, free, max(1, most // _LARGEST_LEASE))
        retry_at = max(retry_at, free_at)
    first_at, spacing = now, timedelta()
    if granted and limits.per_second:
        spacing = timedelta(seconds=1 / (limits.per_second * _USED))
        first_at = max(everyone.next_at, now)
        if first_at > now + 2 * _AHEAD + 3 * spacing:
            # Nobody was given leave so far ahead: the clock has been set back.
            first_at = now
        if first_at > now + _AHEAD + spacing:
            granted, retry_at = 0, max(retry_at, first_at - _AHEAD)
        granted = min(granted, max(1, int(_AHEAD / spacing)))
        if granted:
            _set(session, EVERYONE, next_at=first_at + granted * spacing, changed_at=now)
    if granted:
        for name, window, _ in windows:
            _spend(session, name, _slice(now, window), granted)
    return Lease(granted, first_at, spacing, retry_at, now)


def give_back(
    session: Session, limits: Limits, *, unused: Iterable[tuple[datetime, int]], now: datetime
) -> None:
    """Take back what leases of some instants were not used for."""
    for granted_at, count in unused:
        for name, window, _ in limits.windows(now):
            session.execute(
                update(Spending)
                .where(
                    col(Spending.name) == name,
                    col(Spending.began_at) == _slice(granted_at, window),
                    col(Spending.count) >= count,
                )
                .values(count=col(Spending.count) - count)
                .execution_options(synchronize_session=False)
            )


def _free(
    session: Session, name: str, window: timedelta, most: int, now: datetime
) -> tuple[int, datetime]:
    """Return how many may go now, and when more may, if none."""
    # From here on, a message of a slice could be in one window with one that goes now.
    lasts = window + window / _SLICES + LEASE
    session.execute(
        delete(Spending)
        .where(col(Spending.name) == name, col(Spending.began_at) <= now - 2 * lasts)
        .execution_options(synchronize_session=False)
    )
    counted = (col(Spending.name) == name, col(Spending.began_at) > now - lasts)
    spent, oldest = session.exec(
        select(
            func.coalesce(func.sum(col(Spending.count)), 0), func.min(col(Spending.began_at))
        ).where(*counted, col(Spending.count) > 0)
    ).one()
    free = max(most - int(spent), 0)
    return free, now if free else oldest + lasts


def _spend(session: Session, name: str, began_at: datetime, count: int) -> None:
    insert = sqlite.insert if is_sqlite(session.connection()) else postgresql.insert
    session.execute(
        insert(Spending)
        .values(name=name, began_at=began_at, count=count)
        .on_conflict_do_update(
            index_elements=[col(Spending.name), col(Spending.began_at)],
            set_={"count": col(Spending.count) + count},
        )
    )


def _slice(now: datetime, window: timedelta) -> datetime:
    length = window.total_seconds() / _SLICES
    return datetime.fromtimestamp(math.floor(now.timestamp() / length) * length, UTC)


# Domains


def domain_of(address: str) -> str:
    """Return the domain of an address, as limits are kept by it."""
    return address.rpartition("@")[2].lower()


def restrain(
    session: Session, claims: Sequence[Claim], limits: Limits, *, worker_id: int, now: datetime
) -> tuple[dict[int, datetime], dict[str, int]]:
    """Decide which claims have to wait, and until when; and how many of each domain go at a time.

    Only domains that are limited are in the second. Of a domain's connections every worker has a
    share.
    """
    of_domain: dict[str, list[Claim]] = defaultdict(list)
    for claim in claims:
        of_domain[domain_of(claim.address)].append(claim)
    slow = _slow(session, of_domain)
    limited = sorted(domain for domain in of_domain if domain in slow or limits.of_domain(domain))
    if not limited:
        return {}, {}
    _lock(session, now)
    slow = _slow(session, limited)
    workers = list(session.exec(select(Worker.id).order_by(col(Worker.id))))
    waiting: dict[int, datetime] = {}
    shares: dict[str, int] = {}
    for domain in limited:
        turn = _Turn.of(slow.get(domain), limits.of_domain(domain), now)
        shares[domain] = _share(turn.connections, workers, worker_id, domain)
        next_at = max(turn.next_at, now)
        left = deque(of_domain[domain])
        while left and shares[domain] and next_at <= now + _SOON:
            left.popleft()
            next_at += turn.spacing
        begin_at = next_at if shares[domain] else max(next_at, now + _TURN)
        # No further ahead than this, for the domain may be faster by then.
        spacing = min(turn.spacing, _SPREAD / max(len(left), 1))
        waiting |= {claim.id: begin_at + i * spacing for i, claim in enumerate(left)}
        if turn.spacing:
            _set(session, domain, next_at=next_at, changed_at=turn.changed_at or now)
    return waiting, shares


def paused(session: Session, now: datetime) -> dict[str, datetime]:
    """Return the domains to which nothing goes now, and until when."""
    found = session.exec(
        select(col(Pace.key), col(Pace.paused_until)).where(
            col(Pace.paused_until) > now, col(Pace.key) != EVERYONE
        )
    )
    return {key: until for key, until in found if until is not None}


def learn(
    session: Session,
    verdicts: Sequence[Verdict],
    limits: Limits,
    *,
    slow: Collection[str],
    now: datetime,
) -> None:
    """Slow down where a domain has trouble with us, and speed up where it takes what comes.

    `slow` are the domains that were restrained; of no other a success matters.
    """
    troubles = {
        domain_of(verdict.address): verdict.outcome
        for verdict in verdicts
        if verdict.outcome.act in {Act.SLOW, Act.PAUSE}
    }
    successes = Counter(
        domain
        for verdict in verdicts
        if slow
        and verdict.decision.state is State.ACCEPTED
        and (domain := domain_of(verdict.address)) in slow
    )
    if not troubles and not successes:
        return
    _lock(session, now)
    known = _slow(session, {*troubles, *successes})
    for domain, outcome in sorted(troubles.items()):
        values = _slowed_down(known.get(domain), limits.of_domain(domain), outcome.act, now)
        if values:
            _set(session, domain, **values, reply=outcome.text, successes=0, changed_at=now)
    for domain, count in sorted(successes.items()):
        if domain not in troubles and (pace := known.get(domain)) is not None:
            _speed_up(session, pace, limits.of_domain(domain), count, now)


def _slowed_down(
    pace: Pace | None, limit: DomainLimit | None, act: Act, now: datetime
) -> dict[str, object]:
    """Return what becomes of a domain's pace; nothing if this trouble was heard of already."""
    learned = pace.connections if pace else None
    paused_until = pace.paused_until if pace else None
    if act is Act.PAUSE:
        if paused_until is not None and paused_until > now:
            return {}
        return {"connections": 1, "paused_until": now + PAUSE, "next_at": now + PAUSE}
    if pace is not None and learned is not None and now - pace.changed_at < _ONE_TROUBLE:
        return {}
    return {
        "connections": max(1, (learned or _ceiling(limit)) // 2),
        "paused_until": paused_until,
        "next_at": now,
    }


def _speed_up(
    session: Session, pace: Pace, limit: DomainLimit | None, count: int, now: datetime
) -> None:
    if pace.connections is None:
        return
    connections, successes = pace.connections, pace.successes + count
    while successes >= _SUCCESSES * connections and connections <= _ceiling(limit):
        successes -= _SUCCESSES * connections
        connections += 1
    if connections > _ceiling(limit):
        # As fast as ever; what the operator has set goes on by itself.
        session.execute(delete(Pace).where(col(Pace.key) == pace.key))
        return
    _set(
        session,
        pace.key,
        connections=connections,
        successes=successes,
        next_at=pace.next_at,
        changed_at=now,
    )


class _Turn(NamedTuple):
    """What holds for a domain at this moment."""

    connections: int
    spacing: timedelta
    next_at: datetime
    changed_at: datetime | None

    @classmethod
    def of(cls, pace: Pace | None, limit: DomainLimit | None, now: datetime) -> _Turn:
        """Join what was learned about a domain and what was set for it."""
        learned = pace.connections if pace else None
        connections = min(learned or _ceiling(limit), _ceiling(limit))
        rates = [limit.per_minute / 60] if limit and limit.per_minute else []
        if learned:
            rates.append(learned * _PER_CONNECTION)
        spacing = timedelta(seconds=1 / min(rates)) if rates else timedelta()
        if pace is None:
            return cls(connections, spacing, now, None)
        # A clock that was set back must not make a pause longer than a pause is.
        next_at = min(max(pace.next_at, pace.paused_until or now), now + PAUSE)
        return cls(connections, spacing, next_at, pace.changed_at)


def _ceiling(limit: DomainLimit | None) -> int:
    return (limit and limit.connections) or _CEILING


def _share(connections: int, workers: Sequence[int | None], worker_id: int, domain: str) -> int:
    """Return how many of a domain's connections are this worker's; all shares are their sum."""
    if worker_id not in workers:
        return connections
    # Another worker's turn is first at another domain.
    rank = (workers.index(worker_id) + sum(domain.encode())) % len(workers)
    each, left = divmod(connections, len(workers))
    return each + (rank < left)


def _slow(session: Session, domains: Collection[str]) -> dict[str, Pace]:
    found = select(Pace).where(col(Pace.key).in_(domains), col(Pace.key) != EVERYONE)
    fresh = found.execution_options(populate_existing=True)
    return {pace.key: pace for pace in session.exec(fresh)}


def _lock(session: Session, now: datetime) -> Pace:
    """Have all others who ask for leave wait until this transaction ends."""
    insert = sqlite.insert if is_sqlite(session.connection()) else postgresql.insert
    session.execute(
        insert(Pace)
        .values(key=EVERYONE, next_at=now, successes=0, reply="", changed_at=now)
        .on_conflict_do_nothing()
    )
    found = select(Pace).where(col(Pace.key) == EVERYONE).with_for_update()
    return session.exec(found.execution_options(populate_existing=True)).one()


def _set(session: Session, key: str, **values: object) -> None:
    insert = sqlite.insert if is_sqlite(session.connection()) else postgresql.insert
    session.execute(
        insert(Pace)
        .values({"key": key, "successes": 0, "reply": "", **values})
        .on_conflict_do_update(index_elements=[col(Pace.key)], set_=values)
    )
