"""Which articles are quarantined."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newsletter.articles import quarantine
from newsletter.articles.item import ParsedArticle
from newsletter.articles.quarantine import Arrivals, Background, Reason

NOW = datetime(2026, 11, 22, 7, tzinfo=UTC)
LATER = Background(is_first=False)
FIRST = Background(is_first=True)


def article(title: str = "T", *, days_old: float | None = 0) -> ParsedArticle:
    return ParsedArticle(
        guid=title,
        link=f"https://a.example/{title}",
        title=title,
        standfirst="",
        image=None,
        author=None,
        source=None,
        categories=(),
        minutes=1,
        published_at=None if days_old is None else NOW - timedelta(days=days_old),
    )


def why(*articles: ParsedArticle, background: Background = LATER) -> list[Reason | None]:
    return quarantine.reasons(articles, background, now=NOW)


@pytest.mark.parametrize(
    ("days_old", "expected"),
    [
        (0, None),
        (None, None),
        (30.9, None),
        (31.1, Reason.ANCIENT),
        (9_000, Reason.ANCIENT),
        (-0.9, None),
        (-1.1, Reason.FUTURE),
        (-9_000, Reason.FUTURE),
    ],
)
def test_articles_with_dates_far_from_now_are_quarantined(
    days_old: float | None, expected: Reason | None
) -> None:
    assert why(article(days_old=days_old)) == [expected]


def test_a_first_fetch_brings_the_newest_twenty_of_an_archive() -> None:
    archive = [article(f"old {n}", days_old=100 + n) for n in range(30)]

    reasons = why(article("fresh"), *reversed(archive), background=FIRST)

    assert reasons[0] is None
    assert reasons[1:] == [Reason.ARCHIVE] * 11 + [None] * 19


def test_a_first_fetch_still_holds_the_future_back() -> None:
    assert why(article(days_old=-3), background=FIRST) == [Reason.FUTURE]


def test_a_first_fetch_without_dates_brings_the_twenty_that_stand_first() -> None:
    undated = [article(str(n), days_old=None) for n in range(60)]

    assert why(*undated, background=FIRST) == [None] * 20 + [Reason.ARCHIVE] * 40


def test_a_first_fetch_of_fresh_articles_brings_the_newest_twenty_too() -> None:
    oldest_first = [article(str(n), days_old=(200 - n) / 10) for n in range(200)]

    assert why(*oldest_first, background=FIRST) == [Reason.ARCHIVE] * 180 + [None] * 20


def test_a_first_fetch_is_taken_in_whole_so_that_its_archive_is_known() -> None:
    undated = [article(str(n), days_old=None) for n in range(5_000)]
    reasons = why(*undated, background=FIRST)

    assert quarantine.admitted(undated, reasons, FIRST) == list(range(5_000))


def test_a_title_that_is_there_already_under_other_names_is_republished() -> None:
    background = Background(is_first=False, titles=frozenset({"the same title"}))

    assert why(article("The SAME title!"), article("Other"), background=background) == [
        Reason.REPUBLISHED,
        None,
    ]


def test_a_title_twice_in_one_document_goes_out_once() -> None:
    assert why(article("Same"), article("same.")) == [None, Reason.REPUBLISHED]


def test_a_repeated_title_that_went_out_twice_is_a_column() -> None:
    name = frozenset({"letters to the editor"})
    background = Background(is_first=False, titles=name, columns=name)

    assert why(article("Letters to the Editor"), background=background) == [None]


def test_more_than_twenty_unknown_at_once_are_a_flood_whatever_else_is_known() -> None:
    articles = [article(str(n)) for n in range(20)] + [article("old", days_old=50)]

    assert why(*articles) == [Reason.FLOOD] * 20 + [Reason.ANCIENT]
    assert why(*articles[:20]) == [None] * 20


def brought(*, out: int = 0, waiting: int = 0, days_ago: float = 0.5) -> Background:
    arrived = Arrivals(NOW - timedelta(days=days_ago), out, waiting)
    return Background(is_first=False, traffic=quarantine.traffic([arrived], now=NOW))


def test_more_than_fifty_in_a_day_are_a_flood_however_few_come_at_once() -> None:
    few = [article(str(n), days_old=n / 100) for n in range(10)]

    assert why(*few, background=brought(out=40)) == [None] * 10
    assert why(*few, background=brought(out=43)) == [None] * 7 + [Reason.FLOOD] * 3
    assert why(*few, background=brought(out=50)) == [Reason.FLOOD] * 10
    assert why(*few, background=brought(out=50, days_ago=1.1)) == [None] * 10


def test_as_many_as_were_let_out_on_one_day_before_are_no_flood() -> None:
    thirty = [article(str(n)) for n in range(30)]

    assert why(*thirty, background=brought(out=30, days_ago=5)) == [None] * 30
    assert why(*thirty, background=brought(out=29, days_ago=5)) == [Reason.FLOOD] * 30
    assert why(*thirty, background=brought(waiting=30, days_ago=5)) == [Reason.FLOOD] * 30


@given(st.lists(st.integers(1, 400), max_size=20))
@settings(deadline=None)
def test_a_feed_never_raises_its_own_limits(sizes: list[int]) -> None:
    # Every six hours another document of that many new articles; none are approved.
    arrivals: list[Arrivals] = []
    for step, size in enumerate(sizes):
        now = NOW + step * timedelta(hours=6)
        past = quarantine.traffic(arrivals, now=now)
        background = Background(is_first=False, traffic=past)
        articles = [article(f"{step}.{n}", days_old=None) for n in range(size)]
        reasons = quarantine.reasons(articles, background, now=now)
        admitted = quarantine.admitted(articles, reasons, background)
        out = sum(reasons[position] is None for position in admitted)
        arrivals.append(Arrivals(now, out, len(admitted) - out))

        today = quarantine.traffic(arrivals, now=now)
        assert reasons.count(None) == out
        assert today.out_today <= 50
        assert today.waiting_today <= 200


def test_of_what_waits_the_newest_is_taken_in_until_a_day_is_full() -> None:
    flood = [article(str(n), days_old=10 - n / 100) for n in range(500)]
    reasons = why(*flood)

    assert quarantine.admitted(flood, reasons, LATER) == list(range(300, 500))
    assert quarantine.admitted(flood, reasons, brought(waiting=190)) == list(range(490, 500))
    assert quarantine.admitted(flood, reasons, brought(waiting=200)) == []
    assert len(quarantine.admitted(flood, reasons, brought(waiting=200, days_ago=1.1))) == 200


def test_what_goes_out_is_taken_in_even_when_no_more_may_wait() -> None:
    articles = [article("old", days_old=50), article("new")]
    full = brought(waiting=200)

    assert quarantine.admitted(articles, why(*articles, background=full), full) == [1]
