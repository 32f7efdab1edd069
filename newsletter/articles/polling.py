"""Decides when a feed is fetched next, and which feeds a run fetches. Pure functions.

A feed is fetched about once an hour, or later if the feed asks for it (RSS `ttl`, `skipHours`,
`skipDays`). After a failure it is fetched with exponential back-off, or when the server allows it
(`Retry-After`, RFC 9110 10.2.3), and never again after 410. Before an edition, all feeds are
fetched that do not wait after a failure.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Protocol

#: Two minutes less than an hour, because a cron job starts some seconds early or late.
HOURLY = timedelta(minutes=58)
#: Back-off after the first failure; each further failure doubles it, up to LONGEST_RETRY.
FIRST_RETRY = timedelta(minutes=10)
LONGEST_RETRY = timedelta(hours=6)
#: The maximum of a feed's `ttl`, and of a server's Retry-After.
LONGEST_TTL = timedelta(days=1)
LONGEST_RETRY_AFTER = timedelta(days=7)

_HOURS_A_WEEK = 7 * 24
#: A later `next_fetch_at` was written before the clock was set back, and is ignored.
_FARTHEST = LONGEST_RETRY_AFTER + timedelta(days=2)


class WaitsFor(StrEnum):
    """Why a feed that failed is not fetched now."""

    BACK_OFF = "back_off"
    RETRY_AFTER = "retry_after"
    #: The server has responded with 410: never fetched again.
    GONE = "gone"


class Polled(Protocol):
    """The columns of a feed that decide when to fetch it."""

    id: int | None
    fetched_at: datetime | None
    next_fetch_at: datetime | None
    waits_for: str | None
    #: Hours of the week in UTC; 0 is the first hour of Monday.
    skip_hours: list[int] | None


@dataclass(frozen=True)
class Occasion:
    """The reason for a fetch, which decides the feeds to be fetched."""

    #: Feeds last fetched before this instant are fetched even if `next_fetch_at` is later.
    since: datetime | None = None
    #: Whether back-off applies.
    heeds_back_off: bool = True
    #: The one feed to fetch, in any state; None for all feeds.
    feed_id: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether this is a fetch of all feeds, and not only of those that are due."""
        return self.since is not None and self.feed_id is None


#: The regular run: all feeds that are due.
ROUTINE = Occasion()
#: By a command of the operator: all feeds whose server allows it.
BY_HAND = Occasion(since=datetime.max.replace(tzinfo=UTC), heeds_back_off=False)


def before_edition(due_at: datetime) -> Occasion:
    """Return the occasion of an edition: each feed is fetched once after the edition is due."""
    return Occasion(since=due_at)


def is_wanted(feed: Polled, occasion: Occasion, *, now: datetime) -> bool:
    """Return whether a feed is fetched now."""
    if occasion.feed_id is not None:
        return feed.id == occasion.feed_id
    if feed.waits_for == WaitsFor.GONE:
        return False
    if feed.next_fetch_at is None or not now < feed.next_fetch_at <= now + _FARTHEST:
        return occasion != ROUTINE or _hour_of_week(now) not in (feed.skip_hours or ())
    if feed.waits_for == WaitsFor.RETRY_AFTER:
        return False
    if occasion.since is None or (feed.waits_for and occasion.heeds_back_off):
        return False
    return feed.fetched_at is None or feed.fetched_at < occasion.since


def after_success(now: datetime, *, ttl_minutes: int | None = None) -> datetime:
    """Return when a feed is fetched next after a success."""
    # Limited before the conversion, because a very large number would overflow a timedelta.
    ttl = timedelta(minutes=min(ttl_minutes or 0, LONGEST_TTL // timedelta(minutes=1)))
    return now + max(HOURLY, ttl)


def after_failure(
    now: datetime, failures: int, *, retry_after: timedelta | None = None
) -> tuple[datetime, WaitsFor]:
    """Return when a feed is fetched next after consecutive `failures`, and why it waits.

    A Retry-After of the server has precedence over back-off, except that a feed that fails
    repeatedly is fetched once an hour at most.
    """
    back_off = min(FIRST_RETRY * 2 ** min(failures - 1, 16), LONGEST_RETRY)
    if retry_after is None:
        return now + back_off, WaitsFor.BACK_OFF
    asked = min(retry_after, LONGEST_RETRY_AFTER)
    return now + max(asked, min(back_off, HOURLY)), WaitsFor.RETRY_AFTER


def retry_after(value: str, *, date: str = "", now: datetime) -> timedelta | None:
    """Parse a Retry-After header: seconds or a date (RFC 9110 10.2.3); None if it is neither.

    A date is relative to the server's clock, its Date header, if that is valid.
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return timedelta(seconds=min(int(value[:12]), LONGEST_RETRY_AFTER.total_seconds()))
    until = _http_date(value)
    if until is None:
        return None
    return max(until - (_http_date(date) or now), timedelta(0))


def skipped_hours(hours: Collection[int], days: Collection[int]) -> list[int]:
    """Return the hours of the week to skip, from hours of the day and days (0 is Monday).

    None are skipped if all of them would be.
    """
    found = [hour for hour in range(_HOURS_A_WEEK) if hour % 24 in hours or hour // 24 in days]
    return found if len(found) < _HOURS_A_WEEK else []


def _hour_of_week(at: datetime) -> int:
    at = at.astimezone(UTC)
    return at.weekday() * 24 + at.hour


def _http_date(value: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(value[:100])
    except (ValueError, TypeError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
