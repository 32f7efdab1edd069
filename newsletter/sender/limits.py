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

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, func, update
from sqlmodel import Session, col, select

from newsletter.db import dialects
from newsletter.models import Pace, RateWindow
from newsletter.models.pace import EVERYONE
from newsletter.settings import DomainLimit, Settings

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
    lock(session, now)
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
    everyone = lock(session, now)
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
    set_pace(session, EVERYONE, next_at=first_at + count * spacing, changed_at=now)
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


# The table that both kinds of limits share


def lock(session: Session, now: datetime) -> Pace:
    """Have all others who ask for leave wait until this transaction ends."""
    session.execute(
        dialects.insert_into(session, Pace)
        .values(key=EVERYONE, next_at=now, successes=0, reply="", changed_at=now)
        .on_conflict_do_nothing()
    )
    found = select(Pace).where(col(Pace.key) == EVERYONE).with_for_update()
    return session.exec(found.execution_options(populate_existing=True)).one()


def set_pace(session: Session, key: str, **values: object) -> None:
    session.execute(
        dialects.insert_into(session, Pace)
        .values({"key": key, "successes": 0, "reply": "", **values})
        .on_conflict_do_update(index_elements=[col(Pace.key)], set_=values)
    )
