"""The queries of editions and lists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from newsletter.articles import store
from newsletter.db import session as sessions
from newsletter.errors import NotFound
from newsletter.models import Article, ArticleState

NOW = datetime(2026, 11, 22, 7, tzinfo=UTC)


def add(engine: Engine, name: str, **values: Any) -> None:
    row: dict[str, Any] = {
        "link": f"https://a.example/{name}",
        "title": name,
        "standfirst": "",
        "categories": [],
        "minutes": 1,
        "content_hash": "",
        "seen_at": NOW,
        "created_at": NOW,
        "updated_at": NOW,
    }
    with sessions.writing(engine) as session:
        store.add_articles(session, [row | values])


def titles(articles: list[Article]) -> list[str]:
    return [one.title for one in articles]


def hours(number: float) -> datetime:
    return NOW + timedelta(hours=number)


def test_coverage_begins_after_its_start_and_ends_with_its_end(engine: Engine) -> None:
    for number in range(4):
        add(engine, str(number), seen_at=hours(number))
    add(engine, "waits", seen_at=None)

    with sessions.reading(engine) as session:
        found = store.between(session, start=hours(0), end=hours(2), limit=9)

        assert titles(found) == ["2", "1"]
        assert store.count_between(session, start=hours(0), end=hours(2)) == 2
        assert titles(store.between(session, start=hours(0), end=hours(2), limit=1)) == ["2"]


def test_the_newest_stand_first_by_publication_but_not_by_a_date_ahead(engine: Engine) -> None:
    add(engine, "no date", seen_at=hours(5))
    add(engine, "from tomorrow", seen_at=hours(4), published_at=hours(40))
    add(engine, "late", seen_at=hours(6), published_at=hours(3))
    add(engine, "early", seen_at=hours(6), published_at=hours(1))

    with sessions.reading(engine) as session:
        found = store.between(session, start=NOW, end=hours(9), limit=9)

    assert titles(found) == ["no date", "from tomorrow", "late", "early"]


def test_each_feed_has_a_fair_share_of_the_limit(engine: Engine) -> None:
    with sessions.writing(engine) as session:
        flood, small, other = (
            store.add_feed(session, url=f"https://{n}.example/", title="", now=NOW).id
            for n in range(3)
        )
    for number in range(40):
        add(engine, f"flood {number}", feed_id=flood, seen_at=hours(5 + number / 100))
    for number in range(3):
        add(engine, f"small {number}", feed_id=small, seen_at=hours(1 + number))
    add(engine, "other", feed_id=other, seen_at=hours(0.5))
    add(engine, "by hand", seen_at=hours(4.5))

    with sessions.reading(engine) as session:

        def found(limit: int) -> list[str]:
            return titles(store.between(session, start=NOW, end=hours(9), limit=limit))

        assert found(10) == [*(f"flood {n}" for n in range(39, 34, -1)),
                             "by hand", "small 2", "small 1", "small 0", "other"]  # fmt: skip
        assert found(4) == ["flood 39", "by hand", "small 2", "other"]
        assert found(2) == ["flood 39", "by hand"]
        assert len(found(100)) == store.count_between(session, start=NOW, end=hours(9)) == 45


def test_articles_of_one_document_keep_its_order(engine: Engine) -> None:
    for name in "abc":
        add(engine, name)

    with sessions.reading(engine) as session:
        assert titles(store.between(session, start=hours(-1), end=NOW, limit=9)) == ["a", "b", "c"]


def test_related_articles_share_a_category_and_are_not_excluded(engine: Engine) -> None:
    add(engine, "quoted", categories=['Heart "and" lungs', "Über_uns 100%"], seen_at=hours(1))
    add(engine, "heart", categories=["Heart"], seen_at=hours(2))
    add(engine, "newer", categories=["Sleep", "Heart"], seen_at=hours(3))
    add(engine, "too new", categories=["Heart"], seen_at=hours(9))
    add(engine, "waits", categories=["Heart"], seen_at=None)
    add(engine, "hearty", categories=["Hearty"], seen_at=hours(1))

    def related(*categories: str, exclude: tuple[int, ...] = (), limit: int = 9) -> list[str]:
        with sessions.reading(engine) as session:
            found = store.earlier_in_categories(
                session, categories=categories, before=hours(5), exclude_ids=exclude, limit=limit
            )
            return titles(found)

    assert related("Heart") == ["newer", "heart"]
    assert related("Heart", "Hearty", limit=1) == ["newer"]
    assert related("Heart", exclude=(3,), limit=1) == ["heart"]
    assert related('Heart "and" lungs') == ["quoted"]
    assert related("Über_uns 100%") == ["quoted"]
    assert related("Über uns 100%") == []
    assert related() == []


def test_lists_are_paged_and_those_that_wait_are_listed_alone(engine: Engine) -> None:
    for number in range(5):
        add(engine, f"out {number}", seen_at=hours(number))
    add(engine, "waits", seen_at=None, created_at=hours(2.5), quarantine_reason="flood")

    with sessions.reading(engine) as session:
        page, total = store.articles(session, limit=3, offset=1)
        waiting, waiting_total = store.articles(session, state=ArticleState.QUARANTINED)
        _, out = store.articles(session, state=ArticleState.OUT)

    assert (titles(page), total) == (["out 3", "waits", "out 2"], 6)
    assert (titles(waiting), waiting_total, out) == (["waits"], 1, 5)


def test_a_thousand_approvals_are_one_call(engine: Engine) -> None:
    with sessions.writing(engine) as session:
        rows = [
            {"link": f"https://a.example/{n}", "title": "T", "categories": [], "minutes": 1,
             "standfirst": "", "content_hash": "", "created_at": NOW, "updated_at": NOW}
            for n in range(1_100)
        ]  # fmt: skip
        store.add_articles(session, rows)
        waiting, _ = store.articles(session, state=ArticleState.QUARANTINED, limit=2_000)
        ids = [one.id for one in waiting if one.id]

        assert store.missing(session, [*ids, 5_000]) == [5_000]
        assert store.let_out(session, ids, state=ArticleState.QUARANTINED, seen_at=NOW) == sorted(
            ids
        )
        assert store.articles(session, state=ArticleState.QUARANTINED)[1] == 0


def test_what_is_not_there_is_not_found(engine: Engine) -> None:
    with sessions.reading(engine) as session:
        with pytest.raises(NotFound, match="no article 7"):
            store.article(session, 7)
        with pytest.raises(NotFound, match="no feed 7"):
            store.feed(session, 7)
