"""What waits for the operator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from newsletter.articles import quarantine
from newsletter.articles.item import ParsedArticle
from newsletter.articles.quarantine import Background, Reason

NOW = datetime(2026, 11, 22, 7, tzinfo=UTC)
LATER = Background(is_first=False, knows_any=True)
FIRST = Background(is_first=True, knows_any=False)


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
def test_dates_far_from_now_wait(days_old: float | None, expected: Reason | None) -> None:
    assert why(article(days_old=days_old)) == [expected]


def test_a_first_fetch_brings_the_newest_twenty_of_an_archive() -> None:
    archive = [article(f"old {n}", days_old=100 + n) for n in range(30)]

    reasons = why(article("fresh"), *reversed(archive), background=FIRST)

    assert reasons[0] is None
    assert reasons[1:] == [Reason.ANCIENT] * 10 + [None] * 20


def test_a_first_fetch_still_holds_the_future_back() -> None:
    assert why(article(days_old=-3), background=FIRST) == [Reason.FUTURE]


def test_a_first_fetch_is_no_flood() -> None:
    assert set(why(*(article(str(n)) for n in range(200)), background=FIRST)) == {None}


def test_a_title_that_is_there_already_under_other_names_is_republished() -> None:
    background = Background(is_first=False, knows_any=True, titles=frozenset({"the same title"}))

    assert why(article("The SAME title!"), article("Other"), background=background) == [
        Reason.REPUBLISHED,
        None,
    ]


def test_a_title_twice_in_one_document_goes_out_once() -> None:
    assert why(article("Same"), article("same.")) == [None, Reason.REPUBLISHED]


def test_a_column_may_bear_its_name_every_week() -> None:
    name = frozenset({"letters to the editor"})
    background = Background(is_first=False, knows_any=True, titles=name, columns=name)

    assert why(article("Letters to the Editor"), background=background) == [None]


def test_many_articles_of_which_none_is_known_are_a_flood() -> None:
    articles = [article(str(n)) for n in range(20)] + [article("old", days_old=50)]
    stranger = Background(is_first=False, knows_any=False)

    assert why(*articles, background=stranger) == [Reason.FLOOD] * 20 + [Reason.ANCIENT]
    assert why(*articles[:20], background=stranger) == [None] * 20
    assert why(*articles, background=LATER)[:20] == [None] * 20
