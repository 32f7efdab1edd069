"""Contents of an edition and its due time, on plain values."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from newsletter.cadences import Cadence, SendTimes
from newsletter.editions import assemble
from newsletter.editions.assemble import Batch, Variant
from newsletter.models import Article
from newsletter.rendering.content import DigestContent

NOW = datetime(2026, 6, 1, 7, tzinfo=UTC)
DAY = timedelta(days=1)
TIMES = SendTimes(timezone="Europe/Berlin")


def article(number: int, **values: object) -> Article:
    known = {
        "id": number,
        "link": f"https://miasfeed.example/{number}",
        "title": f"Article {number}",
        "categories": ["Medicine", "Heart"],
        "minutes": 4,
        "content_hash": "0" * 64,
        "seen_at": NOW,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Article(**(known | values))


def batch(days_ago: float, readers: int, *articles: Article, total: int | None = None) -> Batch:
    return Batch(
        start=NOW - days_ago * DAY,
        readers=readers,
        articles=articles,
        total=len(articles) if total is None else total,
    )


def content(variant: Variant, **changes: Any) -> DigestContent:
    values: dict[str, Any] = {
        "cadence": Cadence.WEEKLY,
        "period": date(2026, 6, 1),
        "end": NOW,
        "related": [],
        "times": SendTimes(),
    }
    return assemble.content(variant, **{**values, **changes})


def test_what_a_mail_can_show_stands_as_it_comes() -> None:
    articles = [article(n, feed_id=1 if n < 40 else 2) for n in range(48)]

    assert assemble.in_turns(articles) == articles


def test_of_more_than_a_mail_can_show_each_feed_has_its_turn() -> None:
    flood = [article(n, feed_id=1) for n in range(60)]
    others = [article(n, feed_id=2) for n in (70, 71)] + [article(80), article(90, feed_id=3)]

    found = [one.id for one in assemble.in_turns([*flood, *others])]

    assert found == [0, 70, 80, 90, 1, 71, *range(2, 60)]


def test_batches_with_equal_articles_are_one_variant() -> None:
    one, two = article(1), article(2)

    found = assemble.variants(
        [batch(1, 5, two), batch(9, 2, two, one), batch(3, 4, two)], min_articles=1
    )

    assert [(v.readers, len(v.articles), len(v.starts)) for v in found] == [(9, 1, 2), (2, 2, 1)]


def test_the_starts_of_a_variant_are_in_order() -> None:
    found = assemble.variants([batch(1, 1, article(1)), batch(3, 1, article(1))], min_articles=1)

    assert found[0].starts == (NOW - 3 * DAY, NOW - DAY)


def test_the_order_of_articles_makes_another_variant() -> None:
    one, two = article(1), article(2)

    assert (
        len(assemble.variants([batch(1, 1, one, two), batch(2, 1, two, one)], min_articles=1)) == 2
    )


@pytest.mark.parametrize(("minimum", "count"), [(1, 2), (2, 1), (3, 0)])
def test_too_few_articles_make_no_variant(minimum: int, count: int) -> None:
    batches = [batch(1, 1, article(1)), batch(2, 1, article(1), article(2)), batch(3, 1)]

    assert len(assemble.variants(batches, min_articles=minimum)) == count


def test_a_minimum_counts_articles_that_were_cut_too() -> None:
    assert assemble.variants([batch(1, 1, article(1), total=5)], min_articles=5)


@pytest.mark.parametrize(
    ("batches", "readers", "reason"),
    [
        ([], 0, "No active reader has chosen daily."),
        ([], 3, "An earlier edition is still on its way to every daily reader."),
        ([batch(1, 3)], 3, "There are no new articles."),
        (
            [batch(1, 3, article(1)), batch(2, 1, article(1), article(2))],
            4,
            "New articles: 2. An edition needs at least 5 (min_articles).",
        ),
    ],
    ids=["nobody", "in flight", "nothing", "too little"],
)
def test_a_skipped_edition_says_why(batches: list[Batch], readers: int, reason: str) -> None:
    found = assemble.why_skipped(Cadence.DAILY, batches, readers=readers, min_articles=5)

    assert found == reason


@pytest.mark.parametrize(
    ("covered", "start"),
    [
        (None, NOW - 7 * DAY),
        (NOW - 7 * DAY, NOW - 7 * DAY),
        (NOW - 20 * DAY, NOW - 20 * DAY),
        (NOW - 90 * DAY, NOW - 62 * DAY),
    ],
    ids=["first edition", "on time", "after an outage", "past the window"],
)
def test_coverage_starts_where_the_last_edition_ended(
    covered: datetime | None, start: datetime
) -> None:
    found = assemble.coverage_start(
        Cadence.WEEKLY, end=NOW, covered=covered, catch_up=timedelta(days=62)
    )

    assert found == start


def test_the_window_is_never_shorter_than_a_period() -> None:
    assert assemble.window_start(Cadence.MONTHLY, end=NOW, catch_up=DAY) == NOW - 31 * DAY


@pytest.mark.parametrize(
    ("now", "since", "due"),
    [
        (NOW, NOW - DAY, True),
        (NOW + timedelta(hours=6), NOW - DAY, True),
        (NOW + timedelta(hours=6, seconds=1), NOW - DAY, False),
        (NOW + timedelta(hours=1), NOW, True),
        (NOW + timedelta(hours=1), NOW + timedelta(seconds=1), False),
    ],
    ids=["at once", "at the tolerance", "too late", "began at its instant", "fresh install"],
)
def test_an_edition_is_made_unasked_when_due_and_not_too_late(
    now: datetime, since: datetime, due: bool
) -> None:
    found = assemble.is_due(
        Cadence.WEEKLY, now=now, times=SendTimes(), tolerance=timedelta(hours=6), since=since
    )

    assert found is due


def test_the_content_is_in_the_publications_own_dates() -> None:
    start = datetime(2026, 5, 25, 22, 30, tzinfo=UTC)  # 00:30 of the 26th in Berlin
    variant = Variant(starts=(start,), articles=(article(1),), total=7, readers=3)

    found = assemble.content(
        variant,
        cadence=Cadence.WEEKLY,
        period=date(2026, 6, 1),
        end=NOW,
        related=[article(9)],
        times=TIMES,
    )

    assert (found.covers_from, found.covers_to) == (date(2026, 5, 26), date(2026, 5, 31))
    assert (found.total, found.next_on) == (7, date(2026, 6, 8))
    assert [one.title for one in found.related] == ["Article 9"]


def test_an_edition_that_is_sent_early_announces_the_one_that_is_due() -> None:
    variant = Variant(starts=(NOW,), articles=(article(1),), total=1, readers=1)
    early = datetime(2026, 6, 8, 4, 59, tzinfo=UTC)

    found = assemble.content(
        variant,
        cadence=Cadence.WEEKLY,
        period=date(2026, 6, 1),
        end=early,
        related=[],
        times=SendTimes(timezone="Europe/Berlin", weekly_at=time(7)),
    )

    assert found.next_on == date(2026, 6, 8)


@pytest.mark.parametrize("cadence", list(Cadence))
def test_the_cover_line_of_a_first_edition_names_the_days_of_what_it_holds(
    cadence: Cadence,
) -> None:
    days_ago = [article(n, published_at=NOW - n * DAY) for n in (0, 1, 21, 45)]
    variant = Variant(starts=(NOW - DAY,), articles=tuple(days_ago), total=4, readers=3)

    found = content(variant, cadence=cadence, is_first=True)

    days = [one.published_on for one in found.stories]
    assert found.reaches_back
    assert (found.covers_from, found.covers_to) == (min(days), max(days))


def test_the_cover_line_of_a_first_edition_is_its_period_where_that_holds_all() -> None:
    variant = Variant(starts=(NOW - 7 * DAY,), articles=(article(1),), total=1, readers=3)

    found = content(variant, is_first=True)

    assert (found.covers_from, found.reaches_back) == (date(2026, 5, 25), False)


def test_the_cover_line_of_a_later_edition_is_what_it_covers() -> None:
    late = article(1, published_at=NOW - 9 * DAY)
    variant = Variant(starts=(NOW - 7 * DAY,), articles=(late,), total=1, readers=3)

    found = content(variant)

    assert (found.covers_from, found.covers_to) == (date(2026, 5, 25), date(2026, 5, 31))


def test_a_date_to_come_does_not_lengthen_the_cover_line() -> None:
    early = article(1, published_at=NOW + DAY)
    variant = Variant(starts=(NOW - 7 * DAY,), articles=(early,), total=1, readers=3)

    assert content(variant, is_first=True).covers_to == date(2026, 6, 1)


def test_a_skipped_period_is_not_announced() -> None:
    variant = Variant(starts=(NOW,), articles=(article(1),), total=1, readers=1)

    found = content(variant, skipped=[date(2026, 6, 8)])

    assert found.next_on == date(2026, 6, 15)


def test_an_article_that_was_pinned_since_the_edition_before_leads() -> None:
    pinned = article(60, pinned_at=NOW, feed_id=1)
    articles = [article(n, feed_id=1) for n in range(50)] + [pinned]

    since = assemble.in_order(articles, pinned_after=NOW - DAY)
    before = assemble.in_order(articles, pinned_after=NOW)

    assert [one.id for one in since[:2]] == [60, 0]
    assert [one.id for one in before] == [one.id for one in articles]


@pytest.mark.parametrize(
    ("skipped", "found"),
    [
        ([], None),
        (["Sport"], None),
        (["medicine"], "Medicine"),
        ([" HEART "], "Heart"),
        (["Med"], None),
    ],
)
def test_a_category_is_left_out_in_any_case_and_only_whole(
    skipped: list[str], found: str | None
) -> None:
    assert assemble.left_out(["Medicine", "Heart"], skipped) == found


def test_a_story_has_what_a_mail_shows() -> None:
    found = assemble.story(
        article(
            1,
            standfirst="Why.",
            source="The Lancet",
            image_url="https://miasfeed.example/1.jpg",
            image_width=1200,
            image_height=630,
            published_at=datetime(2026, 5, 31, 22, 30, tzinfo=UTC),
        ),
        TIMES,
    )

    assert (found.title, found.url, found.minutes) == ("Article 1", "https://miasfeed.example/1", 4)
    assert (found.category, found.source, found.standfirst) == ("Medicine", "The Lancet", "Why.")
    assert found.published_on == date(2026, 6, 1)
    assert found.image is not None
    assert (found.image.width, found.image.height, found.image.alt) == (1200, 630, "")


def test_a_story_without_a_date_or_a_picture_has_none() -> None:
    found = assemble.story(article(1, seen_at=None, categories=[]), TIMES)

    assert (found.published_on, found.image, found.category) == (None, None, None)
