"""Storing the articles of feeds, on both databases."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from examples import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sqlalchemy import Engine, delete
from sqlmodel import select

from newsletter.articles import ingest, store
from newsletter.articles.fetch import Fetched, Validators
from newsletter.articles.ingest import Counts, Draft
from newsletter.articles.item import ParsedArticle, ParsedFeed
from newsletter.articles.limits import Limits
from newsletter.db import session as sessions
from newsletter.errors import Conflict, FeedError, InvalidInput, NotFound
from newsletter.models import Article, Feed

from .conftest import SAMPLES, Answer, Web

NOW = datetime(2026, 11, 22, 7, tzinfo=UTC)
OPEN = Limits(allow_private=True, timeout_seconds=20)
SAMPLE = str(SAMPLES / "mias-feed.rss.xml")


def item(
    name: str, *, guid: str | None = "", title: str = "", published_at: datetime | None = NOW
) -> ParsedArticle:
    return ParsedArticle(
        guid=name if guid == "" else guid,
        link=f"https://a.example/{name}",
        title=title or f"Title of {name}",
        standfirst="",
        image=None,
        author=None,
        source=None,
        categories=("Health",),
        minutes=1,
        published_at=published_at,
    )


def document(*items: ParsedArticle) -> ParsedFeed:
    return ParsedFeed("A feed", None, items)


def new_feed(engine: Engine, url: str = "https://a.example/feed") -> int:
    with sessions.writing(engine) as session:
        feed_id = store.add_feed(session, url=url, title="", now=NOW).id
    assert feed_id is not None
    return feed_id


def stored(engine: Engine) -> list[Article]:
    with sessions.reading(engine) as session:
        return list(session.exec(select(Article).order_by("id")))


def feeds(engine: Engine) -> list[Feed]:
    with sessions.reading(engine) as session:
        return store.feeds(session)


def test_the_sample_feed_is_new_once_and_known_ever_after(engine: Engine) -> None:
    added = ingest.add_feed(engine, SAMPLE, OPEN, NOW)

    [again] = ingest.fetch_all(engine, OPEN, NOW + timedelta(hours=1))

    assert added.counts == Counts(new=5)
    assert again.counts == Counts(known=5)
    assert [one.seen_at for one in stored(engine)] == [stored(engine)[0].seen_at] * 5
    [feed] = feeds(engine)
    assert (feed.title, feed.items, feed.error) == ("Mia's Feed", 5, None)


def test_an_edit_updates_the_article_and_is_not_new(engine: Engine) -> None:
    feed = new_feed(engine)
    ingest.take_in(engine, feed, document(item("a")), NOW)
    [before] = stored(engine)

    later = NOW + timedelta(days=1)
    counts = ingest.take_in(engine, feed, document(item("a", title="Better title")), later)

    [after] = stored(engine)
    assert counts == Counts(updated=1)
    assert (after.title, after.seen_at) == ("Better title", before.seen_at)
    assert after.updated_at >= later
    assert after.content_hash != before.content_hash


def test_new_guids_for_old_links_are_the_same_articles(engine: Engine) -> None:
    feed = new_feed(engine)
    names = [f"n{number}" for number in range(20)]
    ingest.take_in(engine, feed, document(*map(item, names)), NOW)

    churned = [item(name, guid=f"new-{name}") for name in names]
    counts = ingest.take_in(engine, feed, document(*churned), NOW)

    assert counts == Counts(known=20)
    moved = [item(f"moved/{name}", guid=f"new-{name}", title=f"Title of {name}") for name in names]
    assert ingest.take_in(engine, feed, document(*moved), NOW) == Counts(updated=20)


def test_seen_at_is_later_than_any_instant_given_before_even_if_the_clock_steps_back(
    engine: Engine,
) -> None:
    feed = new_feed(engine)
    with sessions.writing(engine) as session:
        coverage_end = sessions.freeze_lock(session, NOW)

    ingest.take_in(engine, feed, document(item("a")), NOW - timedelta(hours=3))

    [article] = stored(engine)
    assert article.seen_at is not None
    assert article.seen_at > coverage_end


def test_a_quarantined_article_has_no_seen_at_until_it_is_approved(engine: Engine) -> None:
    feed = new_feed(engine)
    future = item("a", published_at=NOW + timedelta(days=9))
    assert ingest.take_in(engine, feed, document(future), NOW) == Counts(quarantined=1)
    [waiting] = stored(engine)
    assert (waiting.seen_at, waiting.quarantine_reason) == (None, "future")
    assert waiting.id is not None
    with sessions.writing(engine) as session:
        coverage_end = sessions.freeze_lock(session, NOW)

    assert ingest.approve(engine, {waiting.id}, NOW, actor="cli:mia") == [waiting.id]

    [out] = stored(engine)
    assert out.seen_at is not None
    assert out.seen_at > coverage_end
    assert (out.quarantined_at, out.quarantine_reason) == (None, None)


def test_a_quarantined_article_that_comes_again_stays_quarantined(engine: Engine) -> None:
    feed = new_feed(engine)
    future = document(item("a", published_at=NOW + timedelta(days=9)))
    ingest.take_in(engine, feed, future, NOW)

    assert ingest.take_in(engine, feed, future, NOW + timedelta(days=30)) == Counts(known=1)
    assert stored(engine)[0].seen_at is None


def test_approving_twice_gives_no_second_seen_at(engine: Engine) -> None:
    feed = new_feed(engine)
    ingest.take_in(engine, feed, document(item("a", published_at=NOW + timedelta(days=9))), NOW)
    [released] = ingest.approve(engine, None, NOW, actor="cli:mia")
    [before] = stored(engine)

    assert ingest.approve(engine, {released}, NOW + timedelta(days=1), actor="cli:mia") == []

    assert stored(engine)[0].seen_at == before.seen_at


def test_approving_what_is_not_there_changes_nothing(engine: Engine) -> None:
    feed = new_feed(engine)
    ingest.take_in(engine, feed, document(item("a", published_at=NOW + timedelta(days=9))), NOW)
    [waiting] = stored(engine)
    assert waiting.id is not None

    with pytest.raises(NotFound, match="no article 999"):
        ingest.approve(engine, {waiting.id, 999}, NOW, actor="cli:mia")

    assert stored(engine)[0].seen_at is None


def test_a_first_fetch_brings_the_newest_twenty_of_an_archive(engine: Engine) -> None:
    feed = new_feed(engine)
    old = [item(f"n{n}", published_at=NOW - timedelta(days=100 + n)) for n in range(30)]

    assert ingest.take_in(engine, feed, document(*old), NOW) == Counts(new=20, quarantined=10)
    assert ingest.take_in(engine, feed, document(*old), NOW) == Counts(known=30)


def test_an_old_article_waits_after_the_first_fetch(engine: Engine) -> None:
    feed = new_feed(engine)
    ingest.take_in(engine, feed, document(item("a")), NOW)

    old = item("b", published_at=NOW - timedelta(days=32))

    assert ingest.take_in(engine, feed, document(item("a"), old), NOW) == Counts(
        known=1, quarantined=1
    )
    assert stored(engine)[1].quarantine_reason == "ancient"


def test_a_feed_that_republishes_everything_under_new_names_sends_nothing(engine: Engine) -> None:
    feed = new_feed(engine)
    names = [f"n{number}" for number in range(30)]
    ingest.take_in(engine, feed, document(*map(item, names)), NOW)

    for generation in "xyz":
        again = [item(f"{generation}{name}", title=f"title of {name}!") for name in names]
        counts = ingest.take_in(engine, feed, document(*again), NOW)

        assert counts == Counts(quarantined=30)
    assert {one.quarantine_reason for one in stored(engine)[30:]} == {"republished"}


def test_a_flood_of_new_articles_is_quarantined(engine: Engine) -> None:
    feed = new_feed(engine)
    ingest.take_in(engine, feed, document(item("a")), NOW)
    flood = [item(f"n{number}") for number in range(21)]

    assert ingest.take_in(engine, feed, document(*flood), NOW) == Counts(quarantined=21)
    assert {one.quarantine_reason for one in stored(engine)[1:]} == {"flood"}


def test_a_flood_waits_whatever_else_is_known(engine: Engine) -> None:
    feed = new_feed(engine)
    ingest.take_in(engine, feed, document(item("a")), NOW)
    flood = [item("a"), *(item(f"n{number}") for number in range(60))]

    assert ingest.take_in(engine, feed, document(*flood), NOW) == Counts(quarantined=60, known=1)
    assert {one.quarantine_reason for one in stored(engine)[1:]} == {"flood"}


def fresh(step: int, count: int = 4_990) -> list[ParsedArticle]:
    """One item that is always the same, and many new ones."""
    return [
        item("constant"),
        *(item(f"{step}.{number}", published_at=None) for number in range(count)),
    ]


@pytest.mark.mainly_on("sqlite")
def test_a_flood_of_fresh_items_brings_two_hundred_a_day_and_none_goes_out(engine: Engine) -> None:
    feed = new_feed(engine)
    ingest.take_in(engine, feed, document(item("constant")), NOW)

    found = [
        ingest.take_in(engine, feed, document(*fresh(hour)), NOW + timedelta(hours=hour))
        for hour in range(3)
    ]

    assert found == [
        Counts(known=1, quarantined=200, left_out=4_790),
        Counts(known=1, left_out=4_990),
        Counts(known=1, left_out=4_990),
    ]
    assert [one.title for one in stored(engine) if one.seen_at] == ["Title of constant"]
    # The newest are stored, and known articles stay.
    assert [one.guid for one in stored(engine)[1:3]] == ["0.0", "0.1"]


def test_what_was_left_out_is_taken_in_on_another_day(engine: Engine) -> None:
    feed = new_feed(engine)
    ingest.take_in(engine, feed, document(item("constant")), NOW)
    moved = fresh(0, 450)

    found = [
        ingest.take_in(engine, feed, document(*moved), NOW + timedelta(days=day, hours=day))
        for day in range(4)
    ]

    assert [(one.quarantined, one.left_out) for one in found] == [
        (200, 250), (200, 50), (50, 0), (0, 0),
    ]  # fmt: skip
    news = item("news")
    later = NOW + timedelta(days=5)
    assert ingest.take_in(engine, feed, document(news, *moved), later) == Counts(new=1, known=451)


@pytest.mark.mainly_on("sqlite")
def test_a_feed_of_which_something_was_left_out_is_asked_for_all_of_it_again(
    engine: Engine, web: Web
) -> None:
    def answer(items: int) -> Answer:
        body = "".join(
            f"<item><title>T {number}</title><link>https://a.example/{number}</link></item>"
            for number in range(items)
        )
        feed = f"<rss version='2.0'><channel><title>T</title>{body}</channel></rss>"
        return Answer(feed.encode(), headers={"ETag": f'"{items}"'})

    web.answers["/feed"] = answer(1)
    ingest.add_feed(engine, web.url("/feed"), OPEN, NOW)
    for items, is_whole in ((100, True), (400, False), (400, False)):
        web.answers["/feed"] = answer(items)
        ingest.fetch_all(engine, OPEN, NOW)
        assert (feeds(engine)[0].etag is not None) == is_whole

    [result] = ingest.fetch_all(engine, OPEN, NOW + timedelta(days=2))

    assert (result.counts.quarantined, result.counts.left_out) == (199, 0)
    assert feeds(engine)[0].etag == '"400"'


@pytest.mark.mainly_on("sqlite")
def test_thirty_a_day_go_out_when_they_come_little_by_little(engine: Engine) -> None:
    feed = new_feed(engine)
    ingest.take_in(engine, feed, document(item("a")), NOW)

    for hour in range(10 * 24):
        news = [item(f"{hour}")] if hour % 24 else [item(f"{hour}.{n}") for n in range(7)]
        now = NOW + timedelta(hours=hour + 1)
        assert ingest.take_in(engine, feed, document(*news), now).quarantined == 0


def test_thirty_once_a_day_go_out_from_the_first_approval_on(engine: Engine) -> None:
    feed = new_feed(engine)
    ingest.take_in(engine, feed, document(item("a")), NOW)

    def a_day(day: int) -> Counts:
        news = [item(f"{day}.{number}") for number in range(30)]
        return ingest.take_in(engine, feed, document(*news), NOW + timedelta(days=day))

    assert a_day(1) == Counts(quarantined=30)
    ingest.approve(engine, None, NOW + timedelta(days=1, hours=1), actor="cli:mia")
    assert [a_day(day) for day in range(2, 6)] == [Counts(new=30)] * 4


def test_drops_in_one_day_are_a_flood_together(engine: Engine) -> None:
    feed = new_feed(engine)
    ingest.take_in(engine, feed, document(item("constant")), NOW)

    for hour in range(1, 20):
        ingest.take_in(engine, feed, document(*fresh(hour, 15)), NOW + timedelta(hours=hour))

    assert sum(one.seen_at is not None for one in stored(engine)) == 51
    assert len(stored(engine)) == 1 + 50 + 200


def test_a_feed_that_was_empty_at_first_is_still_on_its_first_fetch(engine: Engine) -> None:
    feed = new_feed(engine)
    ingest.take_in(engine, feed, document(), NOW)

    counts = ingest.take_in(engine, feed, document(*(item(f"n{n}") for n in range(40))), NOW)

    assert counts == Counts(new=20, quarantined=20)
    assert {one.quarantine_reason for one in stored(engine)[20:]} == {"archive"}


def test_a_first_fetch_without_dates_brings_the_twenty_that_stand_first(engine: Engine) -> None:
    feed = new_feed(engine)
    undated = document(*(item(f"n{n}", published_at=None) for n in range(60)))

    assert ingest.take_in(engine, feed, undated, NOW) == Counts(new=20, quarantined=40)
    assert [one.guid for one in stored(engine) if one.seen_at] == [f"n{n}" for n in range(20)]
    # The archive is known now: later it is neither a flood nor new.
    later = NOW + timedelta(hours=1)
    news = document(item("news", published_at=None), *undated.items)
    assert ingest.take_in(engine, feed, news, later) == Counts(new=1, known=60)


def test_doubles_in_one_document_are_one_article(engine: Engine) -> None:
    feed = new_feed(engine)
    moved = item("b", guid="a", title="Title of a")
    twice = document(item("a"), item("a", guid="other"), moved, item("c"))

    assert ingest.take_in(engine, feed, twice, NOW) == Counts(new=2)
    assert ingest.take_in(engine, feed, twice, NOW) == Counts(known=2)


def episode(number: int, *, guid: str = "", link: str = "https://show.example/") -> ParsedArticle:
    return replace(item(f"ep-{number}", guid=guid or f"ep-{number}"), link=link)


def test_episodes_that_link_one_page_are_each_an_article_and_the_next_one_goes_out(
    engine: Engine,
) -> None:
    feed = new_feed(engine)
    episodes = [episode(number) for number in (3, 2, 1)]
    assert ingest.take_in(engine, feed, document(*episodes), NOW) == Counts(new=3)

    later = ingest.take_in(engine, feed, document(episode(4), *episodes), NOW)
    alone = ingest.take_in(engine, feed, document(episode(5)), NOW)

    assert (later, alone) == (Counts(new=1, known=3), Counts(new=1))
    assert [one.title for one in stored(engine)] == [f"Title of ep-{n}" for n in (3, 2, 1, 4, 5)]
    churned = [episode(number, guid=f"new-{number}") for number in (5, 4, 3)]
    assert ingest.take_in(engine, feed, document(*churned), NOW) == Counts(known=3)


def test_what_waits_keeps_up_with_its_title_and_so_with_a_new_guid(engine: Engine) -> None:
    feed = new_feed(engine)
    future = item("a", published_at=NOW + timedelta(days=9))
    ingest.take_in(engine, feed, document(future), NOW)
    edited = replace(future, title="Better title")
    ingest.take_in(engine, feed, document(edited), NOW)

    counts = ingest.take_in(engine, feed, document(replace(edited, guid="new")), NOW)

    assert counts == Counts(known=1)
    [waiting] = stored(engine)
    assert (waiting.title, waiting.guid, waiting.seen_at) == ("Better title", "new", None)


def test_episodes_know_their_articles_when_their_feed_returns(engine: Engine) -> None:
    feed = new_feed(engine)
    episodes = document(*(episode(number) for number in range(3)))
    ingest.take_in(engine, feed, episodes, NOW)
    with sessions.writing(engine) as session:
        store.remove_feed(session, feed)

    assert ingest.take_in(engine, new_feed(engine), episodes, NOW) == Counts(known=3)


def test_the_entries_of_a_changelog_keep_their_anchors(engine: Engine) -> None:
    feed = new_feed(engine)
    page = "https://a.example/changelog"
    versions = [episode(number, link=f"{page}#v{number}") for number in (3, 2, 1)]
    double = replace(versions[0], link=f"{page}#top", guid="double")

    first = ingest.take_in(engine, feed, document(double, *versions), NOW)
    alone = ingest.take_in(engine, feed, document(episode(4, link=f"{page}#v4")), NOW)

    assert (first, alone) == (Counts(new=3), Counts(new=1))
    assert [one.link for one in stored(engine)] == [
        f"{page}#{n}" for n in ("top", "v2", "v1", "v4")
    ]


def test_a_fragment_that_distinguishes_no_articles_is_dropped(engine: Engine) -> None:
    first, second = new_feed(engine), new_feed(engine, "https://b.example/feed")

    for feed, link in ((first, "https://a.example/a#top"), (second, "https://a.example/a")):
        ingest.take_in(engine, feed, document(replace(item("a"), link=link)), NOW)

    assert [one.link for one in stored(engine)] == ["https://a.example/a"]


def test_a_link_that_another_feed_has_costs_no_later_item_that_shares_it(engine: Engine) -> None:
    blog, show = new_feed(engine), new_feed(engine, "https://show.example/feed")
    post = replace(item("post"), link="https://show.example/")
    ingest.take_in(engine, blog, document(post), NOW)

    assert ingest.take_in(engine, show, document(episode(1)), NOW) == Counts(known=1)
    # The first item is no longer in the document, but its alias is stored.
    assert ingest.take_in(engine, show, document(episode(2)), NOW) == Counts(new=1)
    both = document(episode(2), episode(1))
    assert ingest.take_in(engine, show, both, NOW) == Counts(known=2)
    assert stored(engine)[0].title == "Title of post"


@pytest.mark.parametrize(
    "moved",
    [
        "http://a.example/n",
        "https://www.a.example/n",
        "https://a.example/n/",
        "http://a.example/n/",
    ],
)
@pytest.mark.parametrize("guid", [None, "new"])
def test_a_site_that_moves_its_pages_brings_nothing_new(
    engine: Engine, moved: str, guid: str | None
) -> None:
    feed, other = new_feed(engine), new_feed(engine, "https://b.example/feed")
    ingest.take_in(engine, feed, document(item("n", guid=guid and "n")), NOW)

    there = document(replace(item("n", guid=guid), link=moved))

    assert ingest.take_in(engine, feed, there, NOW) == Counts(updated=1)
    assert ingest.take_in(engine, feed, there, NOW) == Counts(known=1)
    assert [(one.link, one.guid) for one in stored(engine)] == [(moved, guid)]
    assert ingest.take_in(engine, other, document(item("n", guid="x")), NOW) == Counts(known=1)


def test_two_stories_of_a_page_that_moves_stay_two(engine: Engine) -> None:
    feed = new_feed(engine)
    ingest.take_in(engine, feed, document(item("n", guid="1", title="One")), NOW)
    two = replace(item("n", guid="2", title="Two"), link="http://a.example/n/")

    assert ingest.take_in(engine, feed, document(two), NOW) == Counts(new=1)


def test_a_story_of_two_feeds_whose_links_name_the_feed_is_one(engine: Engine) -> None:
    for name in ("medium-user", "medium-tag"):
        ingest.add_feed(engine, str(SAMPLES / f"{name}.xml"), OPEN, NOW)
    ingest.fetch_all(engine, OPEN, NOW)

    assert [one.link for one in stored(engine)] == ["https://medium.com/@l/tide-0123"]


def test_links_keep_their_tracking_where_that_is_wanted(engine: Engine) -> None:
    kept = replace(OPEN, strip_tracking=False)

    ingest.add_feed(engine, str(SAMPLES / "medium-user.xml"), kept, NOW)

    assert stored(engine)[0].link.endswith("?source=rss-aa11------2")
    ingest.fetch_all(engine, OPEN, NOW)
    assert stored(engine)[0].link == "https://medium.com/@l/tide-0123"


def test_an_article_by_hand_may_share_its_link_with_episodes(engine: Engine) -> None:
    ingest.take_in(engine, new_feed(engine), document(episode(1), episode(2)), NOW)
    draft = Draft(title="About the show", link="https://show.example/")

    made = ingest.add_article(engine, draft, NOW, actor="cli:mia")

    assert made.title == "About the show"
    with pytest.raises(Conflict, match="About the show"):
        ingest.add_article(engine, draft, NOW, actor="cli:mia")


def test_the_same_article_in_two_feeds_is_one(engine: Engine) -> None:
    first, second = new_feed(engine), new_feed(engine, "https://b.example/feed")
    ingest.take_in(engine, first, document(item("a")), NOW)

    other = document(item("a", title="Another headline"))

    assert ingest.take_in(engine, second, other, NOW) == Counts(known=1)
    assert stored(engine)[0].title == "Title of a"


def test_guid_and_link_of_two_articles_at_once_crash_nothing(engine: Engine) -> None:
    feed = new_feed(engine)
    ingest.take_in(engine, feed, document(item("a"), item("b")), NOW)

    for crossed in ([("a", "b")], [("b", "a"), ("a", "b")], [("a", "b"), ("new", "a")]):
        items = [item(link, guid=guid) for guid, link in crossed]

        counts = ingest.take_in(engine, feed, document(*items), NOW)

        assert counts.new == 0
    assert len(stored(engine)) == 2


def test_a_removed_feed_leaves_its_articles_and_knows_them_when_it_returns(engine: Engine) -> None:
    added = ingest.add_feed(engine, SAMPLE, OPEN, NOW)
    with sessions.writing(engine) as session:
        store.remove_feed(session, added.feed_id)
    assert [one.feed_id for one in stored(engine)] == [None] * 5

    again = ingest.add_feed(engine, SAMPLE, OPEN, NOW)

    assert again.counts == Counts(known=5)
    assert {one.feed_id for one in stored(engine)} == {again.feed_id}


def test_fetches_at_the_same_time_give_each_article_once(engine: Engine) -> None:
    feed = new_feed(engine)
    parsed = document(*(item(f"n{number}") for number in range(20)))

    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda _: ingest.take_in(engine, feed, parsed, NOW), range(4)))

    assert sum(counts, Counts()) == Counts(new=20, known=60)


def test_articles_of_a_feed_removed_in_the_meantime_are_not_taken_in(engine: Engine) -> None:
    with pytest.raises(NotFound):
        ingest.take_in(engine, 999, document(item("a")), NOW)

    assert stored(engine) == []


def test_one_bad_feed_never_stops_the_others(engine: Engine, web: Web) -> None:
    sample = (SAMPLES / "mias-feed.rss.xml").read_bytes()
    web.answers["/good"] = Answer(sample)
    web.answers["/page"] = Answer((SAMPLES / "page.html").read_bytes())
    for path in ("/missing", "/page", "/good"):
        new_feed(engine, web.url(path))

    missing, page, good = ingest.fetch_all(engine, OPEN, NOW)

    assert good.counts == Counts(new=5)
    assert missing.error is not None
    assert "does not have it" in missing.error
    assert page.error is not None
    assert page.hint is not None
    assert "/feed.xml" in page.hint
    first, _, last = feeds(engine)
    assert (first.error, first.failures, first.succeeded_at) == (missing.error, 1, None)
    assert (last.error, last.failures) == (None, 0)


def test_failures_are_counted_until_one_fetch_goes_well(engine: Engine, web: Web) -> None:
    new_feed(engine, web.url("/feed"))
    ingest.fetch_all(engine, OPEN, NOW)
    ingest.fetch_all(engine, OPEN, NOW)
    assert feeds(engine)[0].failures == 2
    web.answers["/feed"] = Answer((SAMPLES / "atom-1.0.xml").read_bytes())

    ingest.fetch_all(engine, OPEN, NOW)

    [feed] = feeds(engine)
    assert (feed.failures, feed.error, feed.title) == (0, None, "Lab & Life")


def test_a_bug_in_reading_one_feed_does_not_stop_the_others(
    sqlite_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    new_feed(sqlite_engine, "https://bad.example/")
    new_feed(sqlite_engine, "https://good.example/")
    body = (SAMPLES / "mias-feed.rss.xml").read_bytes()

    def fetcher(url: str, _limits: Limits, _validators: Validators) -> Fetched:
        if "bad" in url:
            raise ZeroDivisionError
        return Fetched(body, "", None, None, url, not_modified=False)

    with caplog.at_level(logging.CRITICAL):
        bad, good = ingest.fetch_all(sqlite_engine, OPEN, NOW, fetcher=fetcher)

    assert bad.error == "The feed could not be read: ZeroDivisionError."
    assert good.counts == Counts(new=5)


def test_while_the_network_is_slow_no_transaction_is_open(engine: Engine) -> None:
    new_feed(engine)

    def fetcher(url: str, _limits: Limits, _validators: Validators) -> Fetched:
        # On SQLite this would deadlock if the caller held the write lock.
        with sessions.writing(engine) as session:
            store.add_feed(session, url="https://added.meanwhile.example/", title="", now=NOW)
        return Fetched(b"<rss version='2.0'/>", "", None, None, url, not_modified=False)

    [result] = ingest.fetch_all(engine, OPEN, NOW, fetcher=fetcher)

    assert result.error is None
    assert len(feeds(engine)) == 2


def test_a_feed_removed_while_it_is_fetched_is_no_failure(engine: Engine) -> None:
    feed = new_feed(engine)

    def fetcher(url: str, _limits: Limits, _validators: Validators) -> Fetched:
        with sessions.writing(engine) as session:
            store.remove_feed(session, feed)
        body = (SAMPLES / "mias-feed.rss.xml").read_bytes()
        return Fetched(body, "", None, None, url, not_modified=False)

    [result] = ingest.fetch_all(engine, OPEN, NOW, fetcher=fetcher)

    assert (result.counts, result.error) == (Counts(), None)
    assert stored(engine) == []


def test_an_unchanged_feed_is_asked_conditionally_and_counts_as_known(
    engine: Engine, web: Web
) -> None:
    body = (SAMPLES / "mias-feed.rss.xml").read_bytes()
    web.answers["/feed"] = Answer(body, headers={"ETag": '"1"', "Last-Modified": "today"})
    ingest.add_feed(engine, web.url("/feed"), OPEN, NOW)
    web.answers["/feed"] = Answer(status=304)

    for _ in range(2):
        [result] = ingest.fetch_all(engine, OPEN, NOW)

        assert (result.counts, result.error) == (Counts(known=5), None)
        assert web.asked[-1][1]["if-none-match"] == '"1"'
        assert web.asked[-1][1]["if-modified-since"] == "today"


def test_a_file_is_a_feed_by_its_absolute_path(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "feed.xml").write_bytes((SAMPLES / "atom-1.0.xml").read_bytes())
    monkeypatch.chdir(tmp_path)
    ingest.add_feed(engine, "feed.xml", OPEN, NOW)
    monkeypatch.chdir("/")

    [result] = ingest.fetch_all(engine, OPEN, NOW)

    assert (result.url, result.counts) == (str(tmp_path / "feed.xml"), Counts(known=2))


def test_a_feed_is_added_once(engine: Engine) -> None:
    ingest.add_feed(engine, SAMPLE, OPEN, NOW)

    with pytest.raises(Conflict, match="Mia's Feed"):
        ingest.add_feed(engine, f" {SAMPLE} ", OPEN, NOW)


def test_a_feed_that_cannot_be_read_is_not_added(engine: Engine) -> None:
    with pytest.raises(FeedError):
        ingest.add_feed(engine, str(SAMPLES / "page.html"), OPEN, NOW)
    with pytest.raises(InvalidInput):
        ingest.add_feed(engine, "gopher://a.example/", OPEN, NOW)

    assert feeds(engine) == []


def test_a_feed_may_be_noted_without_being_read(engine: Engine) -> None:
    result = ingest.add_feed(engine, "https://a.example/f", OPEN, NOW, is_fetched=False)

    assert (result.title, result.counts) == ("a.example", Counts())
    assert feeds(engine)[0].fetched_at is None


def test_an_article_is_added_by_hand_under_its_canonical_link(engine: Engine) -> None:
    with sessions.writing(engine) as session:
        coverage_end = sessions.freeze_lock(session, NOW)
    draft = Draft(
        title=" By\x07 hand ",
        link="https://A.example/x?utm_source=y#z",
        standfirst="Words.",
        image="https://a.example/i.png",
        categories=("One", "Two", "One"),
    )

    made = ingest.add_article(engine, draft, NOW, actor="cli:mia")

    assert (made.title, made.link) == ("By hand", "https://a.example/x")
    assert (made.categories, made.image_url) == (["One", "Two"], "https://a.example/i.png")
    assert made.seen_at is not None
    assert made.seen_at > coverage_end
    with pytest.raises(Conflict, match="By hand"):
        ingest.add_article(engine, draft, NOW, actor="cli:mia")


@pytest.mark.parametrize(
    "draft",
    [
        Draft(title="T", link="javascript:alert(1)"),
        Draft(title="\u202e", link="https://a.example/"),
        Draft(title="T", link="https://a.example/", image="data:x"),
    ],
)
def test_an_article_that_could_not_be_shown_is_refused(engine: Engine, draft: Draft) -> None:
    with pytest.raises(InvalidInput):
        ingest.add_article(engine, draft, NOW, actor="cli:mia")


def test_a_feed_finds_its_article_that_was_added_by_hand(engine: Engine) -> None:
    ingest.add_article(
        engine, Draft(title="Mine", link="https://a.example/a"), NOW, actor="cli:mia"
    )

    counts = ingest.take_in(engine, new_feed(engine), document(item("a"), item("b")), NOW)

    assert counts == Counts(new=1, known=1)
    assert stored(engine)[0].title == "Mine"


# Changes of an item between two documents, one at a time.
_CHANGES = st.sampled_from(["", "guid", "link", "title", "date"])
_APPEARANCES = st.lists(
    st.tuples(st.integers(0, 7), _CHANGES), max_size=8, unique_by=lambda one: one[0]
)
_property = examples(15, many=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _empty(engine: Engine) -> int:
    with sessions.writing(engine) as session:
        session.execute(delete(Article))
        session.execute(delete(Feed))
    return new_feed(engine)


def _seen(engine: Engine) -> dict[int | None, datetime | None]:
    return {one.id: one.seen_at for one in stored(engine) if one.seen_at}


@given(documents=st.lists(_APPEARANCES, max_size=8))
@_property
def test_over_any_sequence_of_documents_no_article_is_given_twice(
    sqlite_engine: Engine, documents: list[list[tuple[int, str]]]
) -> None:
    feed = _empty(sqlite_engine)
    versions: dict[int, dict[str, int]] = {}
    given_out = 0

    for step, appearances in enumerate(documents):
        for number, change in appearances:
            story = versions.setdefault(number, dict.fromkeys(["guid", "link", "title", "date"], 0))
            story |= {change: story[change] + 1} if change else {}
        items: Iterable[ParsedArticle] = [
            item(
                f"{number}/{versions[number]['link']}",
                guid=f"{number}-{versions[number]['guid']}",
                title=f"Story {number}, version {versions[number]['title']}",
                published_at=NOW + timedelta(days=20 * versions[number]["date"] * (-1) ** number),
            )
            for number, _ in appearances
        ]
        before = _seen(sqlite_engine)

        counts = ingest.take_in(sqlite_engine, feed, document(*items), NOW + timedelta(days=step))

        given_out += counts.new + counts.quarantined
        assert given_out == len(versions)
        assert before.items() <= _seen(sqlite_engine).items()


@given(
    documents=st.lists(
        st.lists(
            st.tuples(st.none() | st.sampled_from("abcd"), st.sampled_from("abcd")), max_size=6
        ),
        max_size=6,
    )
)
@_property
def test_over_any_mess_of_names_nothing_crashes_and_nothing_known_is_new(
    sqlite_engine: Engine, documents: list[list[tuple[str | None, str]]]
) -> None:
    feed = _empty(sqlite_engine)

    for pairs in documents:
        parsed = document(*(item(link, guid=guid) for guid, link in pairs))
        before = _seen(sqlite_engine)
        ingest.take_in(sqlite_engine, feed, parsed, NOW)

        again = ingest.take_in(sqlite_engine, feed, parsed, NOW)

        assert (again.new, again.quarantined) == (0, 0)
        assert before.items() <= _seen(sqlite_engine).items()


_LINKS = st.sampled_from(
    ["", "https://show.example/", "https://a.example/p", "https://a.example/p#x",
     "https://a.example/p#y"]
)  # fmt: skip
_HISTORY = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.lists(
            st.tuples(st.integers(0, 7), _LINKS, st.sampled_from([None, -40, -1, 0, 9])),
            max_size=6,
            unique_by=lambda one: one[0],
        ),
    ),
    max_size=8,
)


@given(history=_HISTORY)
@_property
def test_over_any_history_of_distinct_guids_and_titles_every_item_is_one_article(
    sqlite_engine: Engine, history: list[tuple[int, list[tuple[int, str, int | None]]]]
) -> None:
    """Whatever links and dates do; each feed has items and titles of its own.

    An item may be another feed's article, by a link that was nobody else's then: it is known from
    its first time on, and never takes another item's place.
    """
    feeds_of_it = [_empty(sqlite_engine), new_feed(sqlite_engine, "https://show.example/feed")]
    met: dict[int, set[int]] = {0: set(), 1: set()}
    joined = 0

    for step, (feed, appearances) in enumerate(history):
        items = [
            replace(
                item(f"{feed}.{number}", title=f"Story {feed}.{number}"),
                link=link or f"https://a.example/{feed}.{number}",
                published_at=None if days is None else NOW + timedelta(days=days),
            )
            for number, link, days in appearances
        ]
        parsed = ParsedFeed("A feed", "https://show.example/", tuple(items))
        now = NOW + timedelta(hours=step)
        before = _seen(sqlite_engine)

        counts = ingest.take_in(sqlite_engine, feeds_of_it[feed], parsed, now)

        unmet = {number for number, _, _ in appearances} - met[feed]
        met[feed] |= unmet
        made = counts.new + counts.quarantined
        assert made <= len(unmet)
        joined += len(unmet) - made
        # A single feed never loses an item, and two feeds share one page at most.
        assert joined == 0 or all(met.values())
        assert len(stored(sqlite_engine)) == len(met[0]) + len(met[1]) - joined
        assert before.items() <= _seen(sqlite_engine).items()
        again = ingest.take_in(sqlite_engine, feeds_of_it[feed], parsed, now)
        assert (again.new, again.quarantined) == (0, 0)
    own = [(one.feed_id, one.guid) for one in stored(sqlite_engine)]
    assert len(set(own)) == len(own)


@given(
    documents=st.lists(
        st.lists(st.integers(0, 7), max_size=6, unique=True), min_size=1, max_size=8
    ),
    is_shared=st.booleans(),
)
@_property
def test_guids_that_churn_under_the_same_links_and_titles_make_no_article(
    sqlite_engine: Engine, documents: list[list[int]], is_shared: bool
) -> None:
    feed = _empty(sqlite_engine)

    for step, numbers in enumerate(documents):
        link = "https://show.example/" if is_shared else "https://a.example/{}"
        items = [episode(n, guid=f"{step}.{n}", link=link.format(n)) for n in numbers]
        ingest.take_in(sqlite_engine, feed, document(*items), NOW + timedelta(hours=step))

    assert len(stored(sqlite_engine)) == len({n for numbers in documents for n in numbers})
