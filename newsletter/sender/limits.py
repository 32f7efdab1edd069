"""Limits: how many messages may go, in all and to one domain; the same for every worker.

What was let go stands in the database, so that a limit holds over restarts, on any number of
machines. A worker takes leave for several messages at a time (a lease), not a row's lock for each.

A limit holds in every window of its length, wherever that begins. An hour or a day is cut into
slices: a lease counts in the slice in which it is taken, and for as long as a window with any of it
could last. A second is too short for that: there each message has its own instant.

What a clock that was set back has left in the future counts as of now: it may not stop everything
until then, nor be forgotten.

Functions take the Session of a transaction that their caller owns and commits.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, func, update
from sqlmodel import Session, col, select

from newsletter.db import dialects
from newsletter.ledger import statements
from newsletter.ledger.queue import Verdict
from newsletter.models import Pace, ProcessKind, RateWindow, State, Worker
from newsletter.models.pace import EVERYONE
from newsletter.settings import DomainLimit, Settings
from newsletter.smtp.reply import Outcome, Reaction

#: How long leave to send is good for.
RESERVED = timedelta(seconds=10)
#: Into how many slices a window is cut; one of them, and a lease, is what a limit leaves unused.
_SLICES = 60
#: A lease is at most such a part of a limit: a worker that is killed takes its lease with it.
_LARGEST_LEASE = 1_000
#: Of a limit by the second: how late a message may be, how much of the limit is used so that not
#: even then a second has too many, and how far ahead instants are given.
PUNCTUALITY = timedelta(seconds=0.04)
_USED = 0.96
AHEAD = timedelta(seconds=0.25)
#: So slow may a database be that commits each lease: the instants are given so far ahead.
LONGEST_LEAD = timedelta(seconds=5)

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
#: How far ahead of its pace a domain's messages are claimed.
_SOON = timedelta(seconds=2)
#: Messages that a worker holds of a domain, for each one that goes there at a time.
_IN_HAND = 16
#: How long the same workers may send to a domain that takes fewer messages at a time than there
#: are workers.
_TURN = timedelta(seconds=30)


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
        return self.has_windows or bool(self.per_second)

    @property
    def has_windows(self) -> bool:
        """Whether messages are counted by the hour or the day."""
        return bool(self.per_hour or self.per_day or self.warm_up_from)

    @property
    def spacing(self) -> timedelta:
        """How far apart messages go; nothing where there is no limit by the second."""
        return timedelta(seconds=1 / (self.per_second * _USED)) if self.per_second else timedelta()

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


class Reservation(NamedTuple):
    """Leave for some messages in the windows that are counted, until LEASE has passed."""

    messages: int
    granted_at: datetime
    #: Where there is none: when to ask again.
    retry_at: datetime


class SendSlots(NamedTuple):
    """When some messages may go: the first at `first_at`, the others as far apart as is set."""

    number: int
    first_at: datetime
    #: Where there are none: when to ask again.
    retry_at: datetime


# All mail


def reserve(
    session: Session,
    limits: Limits,
    *,
    wanted: int,
    unused: Iterable[tuple[datetime, int]] = (),
    now: datetime,
) -> Reservation:
    """Take leave for up to `wanted` messages; give back what earlier leases were not used for."""
    _lock(session, now)
    windows = limits.windows(now)
    for granted_at, count in unused:
        for name, window, _ in windows:
            _take_back(session, name, _slice(granted_at, window), count)
    granted, retry_at = wanted, now
    for name, window, most in windows:
        free, free_at = _free(session, name, window, most, now)
        granted = min(granted, free, max(1, most // _LARGEST_LEASE))
        retry_at = max(retry_at, free_at)
    if granted:
        for name, window, _ in windows:
            _spend(session, name, _slice(now, window), granted)
    return Reservation(granted, now, retry_at)


def opens_at(session: Session, limits: Limits, now: datetime) -> datetime | None:
    """Return when the limits for all mail let more go; None if they do now. Changes nothing."""
    found = [
        _left(session, name, _lasts(window), most, now)
        for name, window, most in limits.windows(now)
    ]
    return max((free_at for free, free_at in found if not free), default=None)


def send_times(session: Session, limits: Limits, *, lead: timedelta, now: datetime) -> SendSlots:
    """Take instants of a limit by the second, none of them before `lead` has passed.

    That is how long it takes until the worker knows of them, and they cannot wait.
    """
    everyone = _lock(session, now)
    lead = min(lead, LONGEST_LEAD)
    spacing = limits.spacing
    next_at = everyone.next_at
    if next_at > now + 3 * LONGEST_LEAD + 2 * AHEAD + 3 * spacing:
        # Nobody was given instants so far ahead: the clock has been set back.
        next_at = now
    first_at = max(next_at, now + lead)
    if first_at > now + lead + AHEAD + spacing:
        return SendSlots(0, first_at, first_at - lead - AHEAD)
    # While more of them are on their way, these are used up.
    count = max(1, int(max(AHEAD, 2 * lead) / spacing))
    _set(session, EVERYONE, next_at=first_at + count * spacing, changed_at=now)
    return SendSlots(count, first_at, now)


def _free(
    session: Session, name: str, window: timedelta, most: int, now: datetime
) -> tuple[int, datetime]:
    """Return how many may go now, and when more may, if none."""
    lasts = _lasts(window)
    session.execute(
        delete(RateWindow)
        .where(col(RateWindow.name) == name, col(RateWindow.began_at) <= now - 2 * lasts)
        .execution_options(synchronize_session=False)
    )
    _bring_back(session, name, window, now)
    return _left(session, name, lasts, most, now)


def _lasts(window: timedelta) -> timedelta:
    """Return for how long a message of a slice can be in one window with one that goes now."""
    return window + window / _SLICES + RESERVED


def _left(
    session: Session, name: str, lasts: timedelta, most: int, now: datetime
) -> tuple[int, datetime]:
    counted = (col(RateWindow.name) == name, col(RateWindow.began_at) > now - lasts)
    spent, oldest = session.exec(
        select(
            func.coalesce(func.sum(col(RateWindow.count)), 0), func.min(col(RateWindow.began_at))
        ).where(*counted, col(RateWindow.count) > 0)
    ).one()
    free = max(most - int(spent), 0)
    return free, now if free else oldest + lasts


def _bring_back(session: Session, name: str, window: timedelta, now: datetime) -> None:
    """Count as of now what was let go at a later time: the clock has been set back since."""
    later = (col(RateWindow.name) == name, col(RateWindow.began_at) > now + window / _SLICES)
    count = session.exec(select(func.sum(col(RateWindow.count))).where(*later)).one()
    if count is not None:
        session.execute(
            delete(RateWindow).where(*later).execution_options(synchronize_session=False)
        )
        _spend(session, name, _slice(now, window), int(count))


def _take_back(session: Session, name: str, began_at: datetime, count: int) -> None:
    session.execute(
        update(RateWindow)
        .where(
            col(RateWindow.name) == name,
            col(RateWindow.began_at) == began_at,
            col(RateWindow.count) >= count,
        )
        .values(count=col(RateWindow.count) - count)
        .execution_options(synchronize_session=False)
    )


def _spend(session: Session, name: str, began_at: datetime, count: int) -> None:
    session.execute(
        dialects.insert_into(session, RateWindow)
        .values(name=name, began_at=began_at, count=count)
        .on_conflict_do_update(
            index_elements=[col(RateWindow.name), col(RateWindow.began_at)],
            set_={"count": col(RateWindow.count) + count},
        )
    )


def _slice(now: datetime, window: timedelta) -> datetime:
    length = window.total_seconds() / _SLICES
    return datetime.fromtimestamp(math.floor(now.timestamp() / length) * length, UTC)


# Domains


def domain_of(address: str) -> str:
    """Return the domain of an address, as limits are kept by it."""
    return address.rpartition("@")[2].lower()


@dataclass
class Allowance:
    """What one worker may have of a domain that is limited."""

    #: How many messages at a time.
    share: int
    #: How many it may claim now.
    messages: int
    #: When it may claim more; None for as soon as one of those that it holds has gone.
    again_at: datetime | None
    spacing: timedelta
    next_at: datetime
    changed_at: datetime | None
    #: How many it has claimed.
    claimed: int = 0

    def take(self, count: int) -> None:
        """Claim so many."""
        self.messages -= count
        self.claimed += count


def allowances(
    session: Session,
    domains: Collection[str],
    limits: Limits,
    *,
    holding: Mapping[str, int],
    worker_id: int,
    now: datetime,
) -> dict[str, Allowance]:
    """Return what a worker may have of those of some domains that are limited.

    `holding` is how many messages to each domain it has in hand. Of the messages that go to a
    domain at a time every worker has a share, and what it has in hand follows from that.
    """
    if not domains:
        return {}
    paced = {key for (key,) in statements.PACED.run(session, domains=json.dumps(list(domains)))}
    limited = [domain for domain in domains if domain in paced or limits.of_domain(domain)]
    if not limited:
        return {}
    _lock(session, now)
    slow = _slow(session, limited)
    senders = select(Worker.id).where(Worker.kind == ProcessKind.WORKER)
    workers = list(session.exec(senders.order_by(col(Worker.id))))
    found = {}
    for domain in limited:
        rate = _Turn.of(slow.get(domain), limits.of_domain(domain), now)
        share = _share(rate.connections, workers, worker_id, domain, now)
        room = max(share * _IN_HAND - holding.get(domain, 0), 0)
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
    """Write down what was claimed of the domains that have a pace."""
    for domain, one in sorted(allowed.items()):
        if one.claimed and one.spacing:
            next_at = one.next_at + one.claimed * one.spacing
            _set(session, domain, next_at=next_at, changed_at=one.changed_at or now)


def is_paused(until: datetime | None, now: datetime) -> bool:
    """Tell whether nothing goes to a domain that was paused until then.

    No pause ends so late as one seems to if the clock has been set back since.
    """
    return until is not None and now < until <= now + 2 * PAUSE


def paused(session: Session, now: datetime) -> dict[str, datetime]:
    """Return the domains to which nothing goes now, and until when."""
    found = session.exec(
        select(col(Pace.key), col(Pace.paused_until)).where(
            col(Pace.paused_until) > now, col(Pace.key) != EVERYONE
        )
    )
    return {key: until for key, until in found if until is not None and is_paused(until, now)}


def learn(
    session: Session,
    verdicts: Sequence[Verdict],
    limits: Limits,
    *,
    slow: Collection[str],
    now: datetime,
) -> set[str]:
    """Slow down where a domain has trouble with us, and speed up where it takes what comes.

    `slow` are the domains that are limited; of no other a success matters. Returns those that had
    trouble.
    """
    troubles: dict[str, Outcome] = {}
    for verdict in verdicts:
        reaction, domain = verdict.outcome.reaction, domain_of(verdict.address)
        # The first one says most, but for one that has had enough.
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
    _lock(session, now)
    known = _slow(session, {*troubles, *successes})
    for domain, outcome in sorted(troubles.items()):
        values = _slowed_down(known.get(domain), limits.of_domain(domain), outcome.reaction, now)
        if values:
            _set(session, domain, **values, reply=outcome.text, successes=0, changed_at=now)
    for domain, count in sorted(successes.items()):
        if domain not in troubles and (pace := known.get(domain)) is not None:
            _speed_up(session, pace, limits.of_domain(domain), count)
    return set(troubles)


def _slowed_down(
    pace: Pace | None, limit: DomainLimit | None, reaction: Reaction, now: datetime
) -> dict[str, object]:
    """Return what becomes of a domain's pace; nothing if this trouble was heard of already."""
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
        # As fast as ever; what the operator has set goes on by itself.
        session.execute(delete(Pace).where(col(Pace.key) == pace.key))
        return
    _set(
        session,
        pace.key,
        connections=connections,
        successes=successes,
        next_at=pace.next_at,
        # Of the last trouble: successes do not make the next one the same.
        changed_at=pace.changed_at,
    )


class _Turn(NamedTuple):
    """What holds for a domain at this moment."""

    connections: int
    spacing: timedelta
    #: When the next message may go, in step with the others.
    next_at: datetime
    #: When anything may go.
    opens_at: datetime
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
            return cls(connections, spacing, now, now, None)
        opens_at = now
        if pace.paused_until is not None and is_paused(pace.paused_until, now):
            opens_at = pace.paused_until
        next_at = pace.next_at
        if next_at > now + 2 * PAUSE + spacing:
            # Nothing was let go so far ahead: the clock has been set back.
            next_at = now
        return cls(connections, spacing, max(next_at, opens_at), opens_at, pace.changed_at)

    def ahead(self, now: datetime) -> int:
        """Return how many messages may be claimed now, for their turn comes soon."""
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
    """Return how many of a domain's connections are this worker's; all shares are their sum."""
    if worker_id not in workers:
        return connections
    # Another worker's turn is first at another domain, and nobody's for good: one may be idle.
    rate = int(now.timestamp() // _TURN.total_seconds())
    rank = (workers.index(worker_id) + sum(domain.encode()) + rate) % len(workers)
    each, left = divmod(connections, len(workers))
    return each + (rank < left)


def _end_of_turn(now: datetime) -> datetime:
    seconds = _TURN.total_seconds()
    return datetime.fromtimestamp((now.timestamp() // seconds + 1) * seconds, UTC)


def _slow(session: Session, domains: Collection[str]) -> dict[str, Pace]:
    found = select(Pace).where(col(Pace.key).in_(domains), col(Pace.key) != EVERYONE)
    fresh = found.execution_options(populate_existing=True)
    return {pace.key: pace for pace in session.exec(fresh)}


def _lock(session: Session, now: datetime) -> Pace:
    """Have all others who ask for leave wait until this transaction ends."""
    session.execute(
        dialects.insert_into(session, Pace)
        .values(key=EVERYONE, next_at=now, successes=0, reply="", changed_at=now)
        .on_conflict_do_nothing()
    )
    found = select(Pace).where(col(Pace.key) == EVERYONE).with_for_update()
    return session.exec(found.execution_options(populate_existing=True)).one()


def _set(session: Session, key: str, **values: object) -> None:
    session.execute(
        dialects.insert_into(session, Pace)
        .values({"key": key, "successes": 0, "reply": "", **values})
        .on_conflict_do_update(index_elements=[col(Pace.key)], set_=values)
    )
