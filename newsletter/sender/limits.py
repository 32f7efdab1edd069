"""Rate limits for all mail, shared by all workers through the database.

Messages are counted in the database, so that a limit holds across restarts and on any number of
machines. A worker reserves permits in batches, so that several messages need only one row lock.

A limit holds in every window of its length, wherever the window begins. An hour or a day is divided
into slices; a reservation is counted in its slice, for as long as any window can contain a part of
the slice. A second is too short for slices, so each message gets a send time of its own.

If a clock was set back, some counts are in the future. They are moved to the present, so that they
neither stop all mail until then nor are lost.

Functions take the Session of a transaction that their caller owns and commits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import NamedTuple

from sqlalchemy import Select, TextClause, inspect
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from newsletter.models import Pace
from newsletter.models.columns import Instant, sql
from newsletter.models.pace import EVERYONE
from newsletter.settings import Settings
from newsletter.settings.values import DomainLimit

#: Time for which a reservation is valid.
RESERVED = timedelta(seconds=10)
#: Slices per window. Windows are counted longer than the limit's by one slice and by RESERVED.
_SLICES = 60
#: A reservation is at most 1/1000 of a limit, because that of a killed worker is lost.
_LARGEST_LEASE = 1_000
#: Maximum delay of a message after its send time.
PUNCTUALITY = timedelta(seconds=0.04)
#: The used part of a limit per second, so that late messages do not exceed it in the next second.
_USED = 0.96
#: Time ahead for which send times are reserved.
AHEAD = timedelta(seconds=0.25)
#: Maximum duration of a commit that is taken into account for send times.
LONGEST_LEAD = timedelta(seconds=5)

_FORGET = sql("DELETE FROM rate_window WHERE name = :name AND began_at <= :until", "until")
_LEFT = sql(
    """
    SELECT COALESCE(SUM(count), 0) AS spent, MIN(began_at) AS oldest FROM rate_window
    WHERE name = :name AND began_at > :after AND count > 0
    """,
    "after",
).columns(oldest=Instant())
_LATER = sql("SELECT SUM(count) FROM rate_window WHERE name = :name AND began_at > :after", "after")
_FORGET_LATER = sql("DELETE FROM rate_window WHERE name = :name AND began_at > :after", "after")
_TAKE_BACK = sql(
    """
    UPDATE rate_window SET count = count - :count
    WHERE name = :name AND began_at = :began_at AND count >= :count
    """,
    "began_at",
)
_SPEND = sql(
    """
    INSERT INTO rate_window (name, began_at, count) VALUES (:name, :began_at, :count)
    ON CONFLICT (name, began_at) DO UPDATE SET count = rate_window.count + :count
    """,
    "began_at",
)
_MAKE_EVERYONE = sql(
    """
    INSERT INTO pace (key, next_at, successes, reply, changed_at) VALUES (:key, :now, 0, '', :now)
    ON CONFLICT DO NOTHING
    """,
    "now",
)


@dataclass(frozen=True)
class Limits:
    """The limits that the operator set."""

    per_second: float | None = None
    per_hour: int | None = None
    per_day: int | None = None
    #: Maximum messages of each day, beginning with the day `warm_up_from`.
    warm_up: Sequence[int] = ()
    warm_up_from: date | None = None
    domains: Mapping[str, DomainLimit] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return the limits in the settings."""
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
        """The time between two messages by `limit_per_second`; zero without that limit."""
        return timedelta(seconds=1 / (self.per_second * _USED)) if self.per_second else timedelta()

    def windows(self, now: datetime) -> list[tuple[str, timedelta, int]]:
        """Return name, length and maximum count of each window."""
        found = []
        if self.per_hour:
            found.append(("hour", timedelta(hours=1), self.per_hour))
        of_day = [most for most in (self.per_day, self._warm_up_of(now)) if most is not None]
        if of_day:
            found.append(("day", timedelta(days=1), min(of_day)))
        return found

    def of_domain(self, domain: str) -> DomainLimit | None:
        """Return the limit in the settings for a domain, or else the one for all other domains."""
        return self.domains.get(domain, self.domains.get(EVERYONE))

    def _warm_up_of(self, now: datetime) -> int | None:
        if self.warm_up_from is None:
            return None
        day = (now.astimezone(UTC).date() - self.warm_up_from).days
        return self.warm_up[max(day, 0)] if day < len(self.warm_up) else None


class Reservation(NamedTuple):
    """Permits for some messages, counted in all windows and valid for RESERVED."""

    messages: int
    granted_at: datetime
    #: The time to ask again if there are no permits.
    retry_at: datetime


class SendSlots(NamedTuple):
    """Send times: the first at `first_at`, the others one spacing apart."""

    number: int
    first_at: datetime
    #: The time to ask again if there are no send times.
    retry_at: datetime


# Limits for all mail


def reserve(
    session: Session,
    limits: Limits,
    *,
    wanted: int,
    unused: Iterable[tuple[datetime, int]] = (),
    now: datetime,
) -> Reservation:
    """Reserve permits for up to `wanted` messages; give back `unused` earlier ones."""
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
    """Return when the limits allow more mail; None if they allow it now. Read-only."""
    found = [
        _left(session, name, _lasts(window), most, now)
        for name, window, most in limits.windows(now)
    ]
    return max((free_at for free, free_at in found if not free), default=None)


def free(session: Session, limits: Limits, now: datetime) -> dict[str, int]:
    """Return how many messages each rate limit window allows now. Changes nothing."""
    return {
        name: _left(session, name, _lasts(window), most, now)[0]
        for name, window, most in limits.windows(now)
    }


def send_times(session: Session, limits: Limits, *, lead: timedelta, now: datetime) -> SendSlots:
    """Reserve send times for a limit per second, none before `lead` has passed.

    `lead` is the expected duration of the reservation: earlier send times would be missed.
    """
    next_at = lock(session, now)
    lead = min(lead, LONGEST_LEAD)
    spacing = limits.spacing
    if next_at > now + 3 * LONGEST_LEAD + 2 * AHEAD + 3 * spacing:
        # The clock has been set back, as no send time is reserved so far ahead.
        next_at = now
    first_at = max(next_at, now + lead)
    if first_at > now + lead + AHEAD + spacing:
        return SendSlots(0, first_at, first_at - lead - AHEAD)
    # Enough send times until the next reservation arrives.
    count = max(1, int(max(AHEAD, 2 * lead) / spacing))
    set_pace(session, EVERYONE, next_at=first_at + count * spacing, changed_at=now)
    return SendSlots(count, first_at, now)


def _free(
    session: Session, name: str, window: timedelta, most: int, now: datetime
) -> tuple[int, datetime]:
    """Return the number of messages that may be sent now; if none, also when more may be sent."""
    lasts = _lasts(window)
    session.execute(_FORGET, {"name": name, "until": now - 2 * lasts})
    _bring_back(session, name, window, now)
    return _left(session, name, lasts, most, now)


def _lasts(window: timedelta) -> timedelta:
    """Return how long after its beginning a slice can have messages in the current window."""
    return window + window / _SLICES + RESERVED


def _left(
    session: Session, name: str, lasts: timedelta, most: int, now: datetime
) -> tuple[int, datetime]:
    found = session.execute(_LEFT, {"name": name, "after": now - lasts}).one()
    free = max(most - int(found.spent), 0)
    return free, now if free else found.oldest + lasts


def _bring_back(session: Session, name: str, window: timedelta, now: datetime) -> None:
    """Move counts in the future to the present, after the clock has been set back."""
    later = {"name": name, "after": now + window / _SLICES}
    count = session.execute(_LATER, later).scalar()
    if count is not None:
        session.execute(_FORGET_LATER, later)
        _spend(session, name, _slice(now, window), int(count))


def _take_back(session: Session, name: str, began_at: datetime, count: int) -> None:
    session.execute(_TAKE_BACK, {"name": name, "began_at": began_at, "count": count})


def _spend(session: Session, name: str, began_at: datetime, count: int) -> None:
    session.execute(_SPEND, {"name": name, "began_at": began_at, "count": count})


def _slice(now: datetime, window: timedelta) -> datetime:
    length = window.total_seconds() / _SLICES
    return datetime.fromtimestamp(math.floor(now.timestamp() / length) * length, UTC)


# Rows of `pace`, shared with the limits of domains


def lock(session: Session, now: datetime) -> datetime:
    """Lock the row that serialises all changes of limits, until this transaction ends.

    Returns the time at which the next message may be sent, for a limit per second.
    """
    session.execute(_MAKE_EVERYONE, {"key": EVERYONE, "now": now})
    next_at: datetime = session.execute(_everyone()).scalar_one()
    return next_at


def set_pace(session: Session, key: str, **values: object) -> None:
    session.execute(_set(tuple(values)), {"key": key, "successes": 0, "reply": "", **values})


# A SQLAlchemy query and not text, because it omits FOR UPDATE, which SQLite does not have.
@cache
def _everyone() -> Select[datetime]:
    return select_columns(col(Pace.next_at)).where(col(Pace.key) == EVERYONE).with_for_update()


@cache
def _set(names: tuple[str, ...]) -> TextClause:
    columns = list(dict.fromkeys(["key", "successes", "reply", *names]))
    return sql(
        f"""
        INSERT INTO pace ({", ".join(columns)}) VALUES ({", ".join(f":{one}" for one in columns)})
        ON CONFLICT (key) DO UPDATE SET {", ".join(f"{one} = :{one}" for one in names)}
        """,  # noqa: S608 - names of columns
        *(one for one in names if isinstance(inspect(Pace).columns[one].type, Instant)),
    )
