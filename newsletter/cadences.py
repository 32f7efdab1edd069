"""Calendar arithmetic of editions: cadences, periods and send times. Pure functions.

A period is the local calendar date on which an edition is due, so `weekly 2026-11-23` is the same
edition for every caller, however late. Clock changes are handled only here: a send time inside a
gap moves to the first instant after it, an ambiguous one is the first of the two, and on a date
that a time zone left out (Samoa's 30 December 2011) the edition moves to the next date. Instants
are aware, and UTC in results.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from calendar import monthrange
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import count
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from newsletter.errors import InvalidInput

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

#: In place of the cadence of an announcement; a newspaper calls such an edition an extra.
EXTRA = "extra"
_EXTRA = re.compile(rf"{EXTRA}(?:-(?:[2-9]|[1-9][0-9]))?")
_SECOND = timedelta(seconds=1)


class Cadence(StrEnum):
    """How often a reader wants a digest."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"

    @property
    def slower(self) -> Cadence | None:
        """The next slower cadence, offered before unsubscribing; None for the slowest."""
        return {Cadence.DAILY: Cadence.WEEKLY, Cadence.WEEKLY: Cadence.MONTHLY}.get(self)

    @property
    def length(self) -> timedelta:
        """The age at which an edition is stale."""
        return timedelta(days={Cadence.DAILY: 1, Cadence.WEEKLY: 7, Cadence.MONTHLY: 31}[self])


@dataclass(frozen=True, kw_only=True)
class SendTimes:
    """The local times and days at which editions of a publication are due.

    Raises InvalidInput for an unknown time zone, and for impossible days and times.
    """

    #: A name of the IANA time zone database, such as "Europe/Berlin".
    timezone: str = "UTC"
    daily_at: time = time(7)
    #: Day of the week: 0 is Monday, 6 is Sunday.
    weekly_on: int = 0
    weekly_at: time = time(7)
    #: Day of the month, 1 to 31; in a shorter month, the last day.
    monthly_on: int = 1
    monthly_at: time = time(7)

    def __post_init__(self) -> None:
        parse_timezone(self.timezone)
        if not 0 <= self.weekly_on <= 6:
            raise InvalidInput(f"A weekday is 0 (Monday) to 6 (Sunday), not {self.weekly_on}.")
        if not 1 <= self.monthly_on <= 31:
            raise InvalidInput(f"A day of the month is 1 to 31, not {self.monthly_on}.")
        if any(self.at(cadence).tzinfo is not None for cadence in Cadence):
            raise InvalidInput("A send time is a time on the publication's own clock, no offset.")

    @property
    def zone(self) -> ZoneInfo:
        """The time zone as an object."""
        return ZoneInfo(self.timezone)

    def at(self, cadence: Cadence) -> time:
        """Return the local time of day at which editions of this cadence are due."""
        if cadence is Cadence.DAILY:
            return self.daily_at
        return self.weekly_at if cadence is Cadence.WEEKLY else self.monthly_at


def newest_due(cadence: Cadence, now: datetime, times: SendTimes) -> date:
    """Return the current period: the newest one that was due at or before now."""
    # The search begins with tomorrow, because a clock that is set back over midnight shows
    # yesterday's date again.
    tomorrow = now.astimezone(times.zone).date() + timedelta(days=1)
    periods = (_period(cadence, n, times) for n in count(_number(cadence, tomorrow), -1))
    return next(period for period in periods if due_at(cadence, period, times) <= now)


def next_due(
    cadence: Cadence, now: datetime, times: SendTimes, *, skipped: Collection[date] = ()
) -> date:
    """Return the first period that is due strictly after now and is not in `skipped`."""
    newest = newest_due(cadence, now, times)
    periods = (_period(cadence, n, times) for n in count(_number(cadence, newest)))
    return next(
        period
        for period in periods
        if due_at(cadence, period, times) > now and period not in skipped
    )


def due_at(cadence: Cadence, period: date, times: SendTimes) -> datetime:
    """Return the UTC instant at which this period's edition is due.

    Any date is valid, because editions that were made under other send times keep their periods.
    """
    return _instant(datetime.combine(period, times.at(cadence)), times.zone)


def lateness(cadence: Cadence, period: date, *, now: datetime, times: SendTimes) -> timedelta:
    """Return the time since this period was due; negative before it is due."""
    return now - due_at(cadence, period, times)


def is_stale(cadence: Cadence, period: date, *, now: datetime, times: SendTimes) -> bool:
    """Return whether an edition is late by more than the length of its cadence.

    The newest due edition is never stale, although a day may have 25 hours.
    """
    late = lateness(cadence, period, now=now, times=times)
    return late > cadence.length and period < newest_due(cadence, now, times)


def covered_dates(start: datetime, end: datetime, times: SendTimes) -> tuple[date, date]:
    """Return the first and the last local date whose noon is covered, for the dateline.

    So a week from Monday 07:00 to Monday 07:00 has seven dates, not eight. For coverage without a
    noon, both are the date on which it ends.
    """
    half = timedelta(hours=12)
    first, last = (
        (instant.astimezone(times.zone)).replace(tzinfo=None) for instant in (start, end)
    )
    first_on, last_on = (first + half - timedelta.resolution).date(), (last - half).date()
    return (first_on, last_on) if first_on <= last_on else (last.date(), last.date())


def slug(cadence: str, period: date) -> str:
    """Return the name of an edition in URLs and files: `weekly-2026-11-23`."""
    return f"{cadence}-{period.isoformat()}"


def parse_slug(text: str) -> tuple[Cadence, date]:
    """Parse the name of a digest; raise InvalidInput for anything else."""
    name, period = parse_name(text)
    if is_extra(name):
        raise _not_a_slug(text)
    return Cadence(name), period


def parse_name(text: str) -> tuple[str, date]:
    """Parse the name of an edition, of a digest or an announcement: `extra-2026-11-23`.

    Returns what stands in place of the cadence, and the date; raises InvalidInput.
    """
    name, day = text[: -len("-2026-11-23")], text[-len("2026-11-23") :]
    try:
        period = date.fromisoformat(day)
    except ValueError:
        raise _not_a_slug(text) from None
    # An edition has one name, but fromisoformat also accepts 2026-W48-1.
    if slug(name, period) != text or not (name in set(Cadence) or is_extra(name)):
        raise _not_a_slug(text)
    return name, period


def extra_named(number: int) -> str:
    """Return what an announcement has in place of a cadence: `extra`, and `extra-2` for the second.

    So the names of several announcements of one date differ.
    """
    return EXTRA if number == 1 else f"{EXTRA}-{number}"


def is_extra(name: str) -> bool:
    """Return whether a name stands in place of the cadence of an announcement."""
    return _EXTRA.fullmatch(name) is not None


def parse_cadence(text: str) -> Cadence:
    """Parse a cadence that a person typed; raise InvalidInput for anything else."""
    try:
        return Cadence(text.strip().lower())
    except ValueError:
        raise InvalidInput(
            f"{text!r} is not a cadence.", hint=f"Use one of: {', '.join(Cadence)}."
        ) from None


def parse_weekday(value: str | int) -> int:
    """Parse "monday", "mon", "0" or 0 as 0, up to Sunday as 6; raise InvalidInput otherwise."""
    word = str(value).strip().lower()
    for number, name in enumerate(WEEKDAYS):
        if word == str(number) or (len(word) >= 3 and name.startswith(word)):
            return number
    raise InvalidInput(
        f"{value!r} is not a weekday.", hint="Use a name, such as monday, or 0 (Monday) to 6."
    )


def parse_timezone(name: str) -> ZoneInfo:
    """Return the time zone of a name; raise InvalidInput if it is unknown."""
    try:
        return ZoneInfo(name)
    # ValueError is raised for a name outside the database's folder, OSError for one of a folder.
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(
            f"{name!r} is not a known time zone.", hint="Use a name such as Europe/Berlin or UTC."
        ) from None


def _number(cadence: Cadence, day: date) -> int:
    """Return the number of the day, week (from Monday) or month in which a date is."""
    if cadence is Cadence.DAILY:
        return day.toordinal()
    if cadence is Cadence.WEEKLY:
        return (day.toordinal() - 1) // 7
    return day.year * 12 + day.month - 1


def _period(cadence: Cadence, number: int, times: SendTimes) -> date:
    """Return the due date in the day, week or month of a number, or the next existing date."""
    if cadence is Cadence.DAILY:
        day = date.fromordinal(number)
    elif cadence is Cadence.WEEKLY:
        day = date.fromordinal(number * 7 + 1 + times.weekly_on)
    else:
        year, month = number // 12, number % 12 + 1
        day = date(year, month, min(times.monthly_on, monthrange(year, month)[1]))
    midnight = _instant(datetime.combine(day, time.min), times.zone)
    return midnight.astimezone(times.zone).date()


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant at which the zone's clocks show this time, or a later one."""
    # PEP 495: with fold=0 an ambiguous time is the first of the two, and one in a gap is read
    # with the offset before it, which gives an instant after it; fold=1 gives one before it.
    after = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if after.astimezone(zone).replace(tzinfo=None) == wall:
        return after
    before = wall.replace(tzinfo=zone, fold=1, microsecond=0).astimezone(UTC)
    seconds = range((after - before) // _SECOND)
    jump = bisect_left(
        seconds, _offset(after, zone), key=lambda n: _offset(before + n * _SECOND, zone)
    )
    return before + jump * _SECOND


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _not_a_slug(text: str) -> InvalidInput:
    return InvalidInput(
        f"{text!r} is not the name of an edition.", hint="It looks like weekly-2026-11-23."
    )
