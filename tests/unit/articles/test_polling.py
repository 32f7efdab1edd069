"""When a feed is fetched next, and which feeds a run fetches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.articles import parse, polling
from newsletter.articles.item import ParsedFeed
from newsletter.articles.polling import (
    BY_HAND,
    HOURLY,
    LONGEST_RETRY,
    LONGEST_RETRY_AFTER,
    LONGEST_TTL,
    ROUTINE,
    Occasion,
    WaitsFor,
)

#: A Sunday.
NOW = datetime(2026, 11, 29, 6, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@dataclass
class Row:
    """The columns of a feed's row."""

    id: int | None = 1
    fetched_at: datetime | None = NOW - 10 * MINUTE
    next_fetch_at: datetime | None = NOW + 50 * MINUTE
    waits_for: str | None = None
    skip_hours: list[int] | None = None


BEFORE_EDITION = polling.before_edition(NOW)


@pytest.mark.parametrize(
    ("waits_for", "routine", "edition", "by_hand"),
    [
        (None, False, True, True),
        (WaitsFor.BACK_OFF, False, False, True),
        (WaitsFor.RETRY_AFTER, False, False, False),
    ],
)
def test_which_feeds_are_fetched_early_depends_on_the_occasion(
    waits_for: str | None, *, routine: bool, edition: bool, by_hand: bool
) -> None:
    row = Row(waits_for=waits_for)

    asked = [polling.is_wanted(row, one, now=NOW) for one in (ROUTINE, BEFORE_EDITION, BY_HAND)]

    assert asked == [routine, edition, by_hand]


@pytest.mark.parametrize("waits_for", [None, WaitsFor.BACK_OFF, WaitsFor.RETRY_AFTER])
@pytest.mark.parametrize("occasion", [ROUTINE, BEFORE_EDITION, BY_HAND])
def test_a_feed_that_is_due_is_fetched_on_every_occasion(
    waits_for: str | None, occasion: Occasion
) -> None:
    assert polling.is_wanted(Row(next_fetch_at=NOW, waits_for=waits_for), occasion, now=NOW)


@pytest.mark.parametrize("occasion", [ROUTINE, BEFORE_EDITION, BY_HAND, Occasion(feed_id=2)])
def test_a_feed_that_is_gone_is_fetched_only_by_name(occasion: Occasion) -> None:
    gone = Row(next_fetch_at=None, waits_for=WaitsFor.GONE)

    assert not polling.is_wanted(gone, occasion, now=NOW)
    assert polling.is_wanted(gone, Occasion(feed_id=1), now=NOW)


def test_an_edition_that_cannot_be_made_fetches_each_feed_once() -> None:
    asked_since = Row(fetched_at=NOW + MINUTE, next_fetch_at=NOW + HOUR)

    assert not polling.is_wanted(asked_since, BEFORE_EDITION, now=NOW + 5 * MINUTE)


def test_a_clock_set_back_does_not_block_a_feed() -> None:
    assert polling.is_wanted(Row(next_fetch_at=NOW + timedelta(days=400)), ROUTINE, now=NOW)


@pytest.mark.parametrize(
    ("ttl", "rest"),
    [
        (None, HOURLY),
        (0, HOURLY),
        (5, HOURLY),
        (60, HOUR),
        (180, 3 * HOUR),
        (100_000, LONGEST_TTL),
        (999_999_999, LONGEST_TTL),
    ],
)
def test_a_ttl_is_heeded_between_an_hour_and_a_day(ttl: int | None, rest: timedelta) -> None:
    assert polling.after_success(NOW, ttl_minutes=ttl) == NOW + rest


@pytest.mark.parametrize(
    ("hours", "days", "is_asked"),
    [
        ([6], [], False),
        ([5, 7], [], True),
        ([], [6], False),
        ([], [5, 0], True),
        (range(24), [], True),
        ([], range(7), True),
        (range(1, 24), [0], False),
    ],
)
def test_hours_and_days_that_a_feed_skips_are_skipped_but_for_an_edition_or_by_hand(
    hours: list[int], days: list[int], *, is_asked: bool
) -> None:
    row = Row(next_fetch_at=NOW, skip_hours=polling.skipped_hours(hours, days))

    assert polling.is_wanted(row, ROUTINE, now=NOW) == is_asked
    assert polling.is_wanted(row, BEFORE_EDITION, now=NOW)
    assert polling.is_wanted(row, BY_HAND, now=NOW)


def test_back_off_doubles_up_to_its_longest() -> None:
    waits = [polling.after_failure(NOW, failures)[0] - NOW for failures in (1, 2, 3, 6, 7, 10_000)]

    assert waits == [10 * MINUTE, 20 * MINUTE, 40 * MINUTE, 320 * MINUTE, *[LONGEST_RETRY] * 2]


@pytest.mark.parametrize(
    ("failures", "asked", "wait"),
    [
        (1, HOUR, HOUR),
        (9, HOUR, HOUR),
        (1, timedelta(days=2), timedelta(days=2)),
        (1, timedelta(days=4_000), LONGEST_RETRY_AFTER),
        (1, timedelta(seconds=1), 10 * MINUTE),
        (9, timedelta(seconds=1), HOURLY),
    ],
)
def test_retry_after_overrides_back_off_but_not_below_an_hour(
    failures: int, asked: timedelta, wait: timedelta
) -> None:
    found = polling.after_failure(NOW, failures, retry_after=asked)

    assert found == (NOW + wait, WaitsFor.RETRY_AFTER)


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("120", "", 120),
        (" 120 ", "", 120),
        ("0", "", 0),
        ("99999999999999999999999", "", LONGEST_RETRY_AFTER.total_seconds()),
        ("Sun, 29 Nov 2026 06:30:00 GMT", "", 1800),
        # The server's clock is an hour ahead: it still means five minutes.
        ("Sun, 29 Nov 2026 07:05:00 GMT", "Sun, 29 Nov 2026 07:00:00 GMT", 300),
        ("Sun, 29 Nov 2026 07:05:00 GMT", "today", 3900),
        ("Sun, 29 Nov 2020 06:30:00 GMT", "", 0),
        ("", "", None),
        ("-5", "", None),
        ("1e9", "", None),
        ("١٢٠", "", None),
        ("soon", "", None),
    ],
)
def test_a_retry_after_is_read_as_seconds_or_as_a_date(
    value: str, date: str, seconds: float | None
) -> None:
    found = polling.retry_after(value, date=date, now=NOW)

    assert found == (None if seconds is None else timedelta(seconds=seconds))


@given(st.text(), st.text())
def test_no_header_makes_a_wait_that_is_negative_or_no_wait_at_all(value: str, date: str) -> None:
    found = polling.retry_after(value, date=date, now=NOW)

    assert found is None or found >= timedelta(0)


def channel(parts: str) -> ParsedFeed:
    return parse.parse(
        f"<rss version='2.0'><channel><title>News</title>{parts}<item><title>One</title>"
        "<link>https://example.org/1</link><ttl>7</ttl><hour>9</hour></item></channel></rss>".encode()
    )


@pytest.mark.parametrize(
    ("parts", "ttl", "hours", "days"),
    [
        ("", None, [], []),
        ("<ttl>180</ttl>", 180, [], []),
        ("<ttl> 180\n</ttl>", 180, [], []),
        ("<ttl>-3</ttl>", None, [], []),
        ("<ttl>99999999999999999999</ttl>", None, [], []),
        ("<ttl>an hour</ttl>", None, [], []),
        ("<skipHours><hour>0</hour><hour>23</hour></skipHours>", None, [0, 23], []),
        ("<skipHours><hour>24</hour><hour>25</hour><hour>x</hour></skipHours>", None, [0], []),
        ("<skipDays><day>Sunday</day><day>monday</day><day>?</day></skipDays>", None, [], [0, 6]),
        ("<hour>3</hour><day>Sunday</day>", None, [], []),
    ],
)
def test_the_ttl_of_a_channel_is_read(
    parts: str, ttl: int | None, hours: list[int], days: list[int]
) -> None:
    found = channel(parts)

    assert found.ttl_minutes == ttl
    assert list(found.skip_hours) == polling.skipped_hours(hours, days)
