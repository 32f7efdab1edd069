"""What is judged of this machine and its database: right, wrong, missing and cannot-tell."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from newsletter.doctor import machine
from newsletter.doctor.findings import Finding, Level
from newsletter.doctor.machine import Disk, Polled, Returns

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
GOOD = "3f9c6f2f5d0a4d7c8e1b2a3948576a5b"


def levels(found: Iterable[Finding]) -> list[tuple[str, Level]]:
    return [(one.id, one.level) for one in found]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, []),
        (60, []),
        (-60, []),
        (61, [Level.WARNING]),
        (-299, [Level.WARNING]),
        (301, [Level.ERROR]),
        (-86_400, [Level.ERROR]),
    ],
)
def test_a_clock_may_be_a_minute_off(seconds: int, expected: list[Level]) -> None:
    found = list(machine.clock(timedelta(seconds=seconds), other="the database"))

    assert [one.level for one in found] == expected


def test_the_sentence_says_which_clock_is_ahead() -> None:
    (fast,) = machine.clock(timedelta(minutes=7), other="www.miasfeed.example")
    (slow,) = machine.clock(timedelta(seconds=-90), other="the database")

    assert "7 min ahead of that of www.miasfeed.example" in fast.sentence
    assert "90 s behind that of the database" in slow.sentence


def test_a_clock_that_could_not_be_compared_says_so() -> None:
    assert levels(machine.clock(None, other="x")) == [("clock", Level.NOT_CHECKED)]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([GOOD], []),
        ([GOOD, GOOD[::-1]], []),
        ([], [("keys", Level.ERROR)]),
        (["too short"], [("keys", Level.ERROR)]),
        (["changeme-changeme-changeme-changeme"], [("keys", Level.ERROR)]),
        ([GOOD, "a" * 40], [("keys", Level.ERROR)]),
        (["0123456789abcdef" * 2], [("keys.weak", Level.ERROR)]),
        ([GOOD, GOOD], [("keys.repeated", Level.WARNING)]),
    ],
)
def test_keys_that_can_be_guessed_are_found(
    keys: list[str], expected: list[tuple[str, Level]]
) -> None:
    found = list(machine.keys(keys))

    assert levels(found) == expected
    assert not any(key in one.sentence + one.hint for one in found for key in keys)


@pytest.mark.parametrize(
    ("free", "expected"),
    [(10_000_000_000, []), (3_000_000_000, [Level.WARNING]), (1_000_000_000, [Level.ERROR])],
)
def test_an_edition_for_all_readers_has_to_have_room(free: int, expected: list[Level]) -> None:
    found = machine.disk(Disk(folder="/srv", free=free), readers=1_000_000)

    assert [one.level for one in found] == expected


def test_room_that_could_not_be_read_says_so() -> None:
    assert levels(machine.disk(None, readers=1)) == [("disk", Level.NOT_CHECKED)]


def test_a_cron_that_never_ran_is_found() -> None:
    assert levels(machine.cron(has_run=True)) == []
    assert levels(machine.cron(has_run=False)) == [("cron", Level.WARNING)]


def polled(name: str, days: float, *, is_failing: bool = False) -> Polled:
    return Polled(name=name, read_at=NOW - timedelta(days=days), is_failing=is_failing)


def test_feeds_that_nobody_reads_any_more_are_named() -> None:
    stale = [polled(f"Feed {number}", 10) for number in range(5)]

    (found,) = machine.feeds([polled("Fresh", 1), *stale], has_articles=True, now=NOW)

    assert found.id == "feeds.unread"
    assert "5 feeds were last read days ago: Feed 0 (2026-11-20)" in found.sentence
    assert "and 2 more" in found.sentence


def test_a_feed_that_fails_is_found_elsewhere() -> None:
    old = polled("Gone", 10, is_failing=True)

    assert levels(machine.feeds([old], has_articles=True, now=NOW)) == []


def test_a_newsletter_needs_a_feed_or_articles_of_its_own() -> None:
    assert levels(machine.feeds([], has_articles=True, now=NOW)) == []
    assert levels(machine.feeds([], has_articles=False, now=NOW)) == [("feeds.none", Level.WARNING)]


def test_a_newsletter_needs_readers() -> None:
    assert levels(machine.readers(1)) == []
    assert levels(machine.readers(0)) == [("readers.none", Level.WARNING)]


def fresh(
    sent: int, heard: float | None, *, began: float = 100, is_read: bool = True
) -> list[Level]:
    returns = Returns(
        sent=sent,
        heard_at=NOW - timedelta(days=heard) if heard is not None else None,
        began_at=NOW - timedelta(days=began),
        is_read=is_read,
    )
    return [one.level for one in machine.fresh(returns, now=NOW)]


def test_something_comes_back_of_enough_mails() -> None:
    assert fresh(5_000, heard=1) == []
    assert fresh(5_000, heard=8) == [Level.WARNING]
    assert fresh(5_000, heard=None) == [Level.WARNING]


def test_of_a_few_mails_nothing_may_come_back() -> None:
    assert fresh(20, heard=None) == [Level.INFO]


def test_where_nothing_was_sent_nothing_has_to_come_back() -> None:
    assert fresh(0, heard=None) == []
    assert fresh(0, heard=None, is_read=False) == []


def test_in_its_first_week_a_newsletter_may_have_heard_nothing() -> None:
    assert fresh(5_000, heard=None, began=3) == []


def test_mails_whose_bounces_nobody_reads_are_a_warning() -> None:
    assert fresh(20, heard=None, is_read=False) == [Level.WARNING]
