"""An editor's actions: hold, release, reject, pin, skip, note; and excluded categories."""

from __future__ import annotations

import quopri
from collections.abc import Callable, Sequence
from datetime import time, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from freezing import meanwhile
from sqlmodel import Session, select

from newsletter import audit
from newsletter.articles import ingest
from newsletter.articles import store as articles
from newsletter.articles.item import ParsedArticle, ParsedFeed
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.editions import editor, leading, lifecycle, periods, publish
from newsletter.editions import store as editions
from newsletter.errors import Conflict, InvalidInput, NotFound
from newsletter.models import Article, ArticleState, Audit, Edition, Note
from newsletter.smtp.outcome import Kind

pytestmark = pytest.mark.mainly_on("sqlite")

if TYPE_CHECKING:
    from tests.integration.editions.conftest import World

ACTOR = "cli:mia"
STATES = list(ArticleState)


def article(world: World, number: int) -> Article:
    with sessions.reading(world.engine) as session:
        return articles.article(session, number)


def in_state(world: World, state: ArticleState) -> int:
    """Store an article and bring it into a state."""
    number = world.article()
    if state is ArticleState.QUARANTINED:
        with sessions.writing(world.engine) as session:
            waiting = {"seen_at": None, "quarantined_at": world.now, "quarantine_reason": "flood"}
            articles.change_article(session, number, waiting)
    elif state is not ArticleState.OUT:
        world.edit({"held": "hold", "rejected": "reject"}[state], number)
    assert article(world, number).state is state
    return number


def acts(world: World, subject: str) -> list[tuple[str, str]]:
    with sessions.reading(world.engine) as session:
        return [(one.action, one.actor) for one in audit.of(session, [subject])]


def everything(session: Session) -> Sequence[Audit]:
    return session.exec(select(Audit)).all()


# Held, released, rejected


def test_what_is_held_is_in_no_edition_until_it_is_released(world: World) -> None:
    reader = world.reader("daily")
    kept, held = world.articles(2)
    world.edit("hold", held)
    world.send("daily")
    world.tick(days=1)
    world.edit("release", held)
    world.send("daily")

    assert world.mails(reader) == [[kept], [held]]
    assert acts(world, f"article:{held}") == [
        ("articles.hold", ACTOR),
        ("articles.release", ACTOR),
    ]


def test_what_is_released_is_new_to_every_cadence_however_long_it_was_held(world: World) -> None:
    readers = {cadence: world.reader(cadence) for cadence in Cadence}
    held = world.article()
    world.edit("hold", held)
    for cadence in Cadence:
        world.send(cadence)
    world.tick(days=40)
    world.edit("release", held)
    world.tick(days=31)
    for cadence in Cadence:
        world.send(cadence)

    assert [world.mails(reader) for reader in readers.values()] == [[[held]]] * 3


def test_a_release_stands_before_every_coverage_end_even_if_the_clock_stands_behind(
    world: World,
) -> None:
    held = world.article()
    world.edit("hold", held)
    with sessions.writing(world.engine) as session:
        end = sessions.freeze_lock(session, world.now + timedelta(hours=1))

    world.edit("release", held)

    seen_at = article(world, held).seen_at
    assert seen_at is not None
    assert seen_at > end


@pytest.mark.mainly_on("sqlite", "postgresql")
def test_a_hold_waits_for_a_freeze_and_is_then_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.reader("daily")
    number = world.article()

    with (
        pytest.raises(AssertionError, match="is in daily-2026-06-01"),
        meanwhile(monkeypatch, lambda: world.edit("hold", number)),
    ):
        world.freeze("daily")

    assert article(world, number).state is ArticleState.OUT


@pytest.mark.parametrize("act", ["hold", "reject"])
def test_what_an_edition_has_cannot_be_taken_back(world: World, act: str) -> None:
    world.reader("monthly")
    number = world.article()
    world.freeze("monthly")

    with pytest.raises(Conflict, match=f"Article {number} is in monthly-2026-06-01") as caught:
        world.edit(act, number)

    assert "newsletter editions cancel monthly-2026-06-01" in str(caught.value.hint)
    assert article(world, number).state is ArticleState.OUT
    assert acts(world, f"article:{number}") == []


def test_a_mistake_that_was_stopped_is_rejected_before_the_next_edition(world: World) -> None:
    first, second = world.reader("daily"), world.reader("daily")
    mistake, other = world.articles(2)
    name = world.freeze("daily").edition
    world.deliver(limit=1)
    lifecycle.cancel(world.engine, name, now=world.now, reason="A mistake.", actor="cli:mia")
    world.edit("reject", mistake)
    with pytest.raises(Conflict):
        world.edit("hold", other)  # one reader had it, and would have it twice
    world.tick(days=1)
    world.send("daily")

    had = [
        sorted(one for mail in world.mails(reader) for one in mail) for reader in (first, second)
    ]
    assert sorted(had) == [[mistake, other], [other]]


def test_what_is_only_related_in_an_edition_can_still_be_held(world: World) -> None:
    world.reader("daily")
    earlier = world.article()
    world.tick(days=3)
    world.article()
    world.freeze("daily")

    world.edit("hold", earlier)

    assert article(world, earlier).state is ArticleState.HELD


def test_what_is_held_or_rejected_is_no_related_article(
    world: World, mailing_articles: Callable[..., list[int]]
) -> None:
    from newsletter.models import Role

    world.reader("daily")
    held, rejected, kept = world.articles(3)
    world.edit("hold", held)
    world.edit("reject", rejected)
    world.tick(days=3)
    world.article()
    (mailing,) = world.mailings(world.freeze("daily").edition)

    with sessions.reading(world.engine) as session:
        assert mailing.id is not None
        assert mailing_articles(session, mailing.id, Role.RELATED) == [kept]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    ("act", "becomes", "refused"),
    [
        ("hold", ArticleState.HELD, {ArticleState.QUARANTINED, ArticleState.REJECTED}),
        ("release", ArticleState.OUT, {ArticleState.QUARANTINED, ArticleState.REJECTED}),
        ("reject", ArticleState.REJECTED, set()),
    ],
)
def test_each_act_from_each_state_is_done_or_refused_in_words(
    make_world: Callable[..., World],
    state: ArticleState,
    act: str,
    becomes: ArticleState,
    refused: set[ArticleState],
) -> None:
    world = make_world()
    number = in_state(world, state)
    before = len(acts(world, f"article:{number}"))

    if state in refused:
        with pytest.raises(Conflict, match=f"Article {number} "):
            world.edit(act, number)
        becomes = state
    else:
        world.edit(act, number)

    assert article(world, number).state is becomes
    # Idempotent: a second run changes nothing and is not recorded.
    assert len(acts(world, f"article:{number}")) - before == (becomes is not state)


def test_of_several_articles_all_are_changed_or_none(world: World) -> None:
    fine, waiting = world.article(), in_state(world, ArticleState.QUARANTINED)

    for numbers, error in (([fine, waiting], Conflict), ([fine, 999], NotFound)):
        with pytest.raises(error):
            editor.hold(world.engine, numbers, now=world.now, actor=ACTOR)

    assert article(world, fine).state is ArticleState.OUT
    with sessions.reading(world.engine) as session:
        assert everything(session) == []


@pytest.mark.parametrize("state", [ArticleState.HELD, ArticleState.REJECTED])
def test_approving_does_not_undo_what_an_editor_did(world: World, state: ArticleState) -> None:
    number, waiting = in_state(world, state), in_state(world, ArticleState.QUARANTINED)

    with pytest.raises(Conflict, match=f"Article {number} is {state}"):
        ingest.approve(world.engine, [number, waiting], world.now, actor=ACTOR)
    assert ingest.approve(world.engine, None, world.now, actor=ACTOR) == [waiting]

    assert article(world, number).state is state
    assert acts(world, f"article:{waiting}") == [("articles.approve", ACTOR)]


# The lead


def leads(world: World, name: str) -> set[str]:
    return {one.subject.partition(", and")[0] for one in world.mailings(name)}


def test_a_pinned_article_leads_the_next_edition_of_each_cadence_and_no_other(
    world: World,
) -> None:
    for cadence in Cadence:
        world.reader(cadence)
    pinned = world.article(title="Pinned")
    world.tick(hours=1)
    world.article(title="Newer")
    world.edit("pin", pinned)

    made = {cadence: world.freeze(cadence).edition for cadence in Cadence}

    assert [leads(world, name) for name in made.values()] == [{"Pinned"}] * 3
    assert acts(world, f"article:{pinned}") == [("articles.pin", ACTOR)]
    with sessions.reading(world.engine) as session:
        assert leading.of(session, now=world.now, publication=world.publication) is None


def test_the_last_article_that_was_pinned_leads(world: World) -> None:
    world.reader("daily")
    first, second, _ = world.article(title="A"), world.article(title="B"), world.article()
    world.edit("pin", first)
    world.edit("pin", second)

    assert leads(world, world.freeze("daily").edition) == {"B"}


def test_who_catches_up_later_gets_the_article_in_its_place(world: World) -> None:
    reader = world.reader("daily")
    pinned = world.article(title="Pinned")
    world.edit("pin", pinned)
    world.send("daily", {reader: Kind.REFUSED})
    world.tick(days=1)
    world.article(title="Newer")

    assert leads(world, world.freeze("daily").edition) == {"Newer"}


def test_a_pin_outlives_an_edition_that_was_skipped(make_world: Callable[..., World]) -> None:
    world = make_world(min_articles=2)
    world.reader("daily")
    world.edit("pin", world.article(title="Pinned"))
    assert world.freeze("daily").state == "skipped"
    world.tick(days=1)
    world.article(title="Newer")

    assert leads(world, world.freeze("daily").edition) == {"Pinned"}


def test_a_pinned_article_is_not_cut_off_by_newer_ones(make_world: Callable[..., World]) -> None:
    world = make_world(catch_up_articles=3)
    world.reader("daily")
    pinned = world.article(title="Pinned")
    for _ in range(5):
        world.tick(minutes=1)
        world.article()
    world.edit("pin", pinned)

    assert leads(world, world.freeze("daily").edition) == {"Pinned"}


def test_what_no_edition_to_come_has_cannot_be_pinned(make_world: Callable[..., World]) -> None:
    world = make_world(skip_categories=["sport"])
    for cadence in Cadence:
        world.reader(cadence)
    old = world.article()
    for cadence in Cadence:
        world.freeze(cadence)
    sport = world.article(categories=["Sport"])
    waiting = in_state(world, ArticleState.QUARANTINED)
    rejected = in_state(world, ArticleState.REJECTED)

    for number, words in (
        (old, "No edition is to come"),
        (sport, "its category Sport is left out"),
        (waiting, "waits in quarantine"),
        (rejected, "is rejected"),
    ):
        with pytest.raises(Conflict, match=words):
            world.edit("pin", number)
        assert article(world, number).pinned_at is None


def test_a_pin_is_taken_back_and_goes_with_what_is_rejected(world: World) -> None:
    world.reader("daily")
    first, _ = world.article(title="A"), world.tick(hours=1)
    world.article(title="B")
    world.edit("pin", first)

    found = editor.unpin(world.engine, now=world.now, actor=ACTOR)
    assert found is not None
    assert found.id == first
    assert editor.unpin(world.engine, now=world.now, actor=ACTOR) is None
    world.edit("pin", first)
    world.edit("reject", first)

    assert article(world, first).pinned_at is None
    assert leads(world, world.freeze("daily").edition) == {"B"}


def test_a_held_article_that_was_pinned_leads_once_it_is_released(world: World) -> None:
    world.reader("daily")
    number = world.article(title="Pinned")
    world.edit("hold", number)
    world.edit("pin", number)
    world.edit("release", number)
    world.tick(minutes=5)
    world.article()

    assert leads(world, world.freeze("daily").edition) == {"Pinned"}


# Categories


def test_categories_that_are_left_out_are_in_no_edition_in_whatever_case(
    make_world: Callable[..., World],
) -> None:
    world = make_world(skip_categories=["sport", "ÉTÉ", "in 'quotes'", 'a "b"', "50%_"])
    reader = world.reader("daily")
    for name in ("Sport", "SPORT", "été", "In 'Quotes'", 'A "B"', "50%_"):
        world.article(categories=["Medicine", name])
    kept = [
        world.article(categories=[name])
        for name in ("Sports", "Medicine", "50 %", "a b", "in quotes")
    ]
    kept.append(world.article(categories=[]))

    world.send("daily")

    assert sorted(world.mails(reader)[0]) == kept


def test_an_edition_of_categories_that_are_left_out_is_skipped(
    make_world: Callable[..., World],
) -> None:
    world = make_world(skip_categories=["Medicine"])
    world.reader("daily")
    world.article()

    assert world.freeze("daily").reason == "There are no new articles."


# Skipping


def skip(world: World, cadence: str = "weekly") -> editor.Skipped:
    return editor.skip(
        world.engine, Cadence(cadence), now=world.now, actor=ACTOR, publication=world.publication
    )


def unskip(world: World, cadence: str = "weekly") -> editor.Skipped:
    return editor.unskip(
        world.engine, Cadence(cadence), now=world.now, actor=ACTOR, publication=world.publication
    )


def due(world: World) -> list[Any]:
    found = periods.due_editions(world.engine, now=world.now, publication=world.publication)
    return [(one.cadence, str(one.period)) for one in found]


def test_after_a_week_off_the_next_edition_has_all_that_came(world: World) -> None:
    reader = world.reader("weekly")
    first = world.article()
    world.send("weekly")
    world.tick(days=1)
    second = world.article()

    found = skip(world)

    assert (found.edition, found.following, found.is_new) == (
        "weekly-2026-06-08",
        "weekly-2026-06-15",
        True,
    )
    world.tick(days=6)
    assert (Cadence.WEEKLY, "2026-06-08") not in due(world)
    assert world.freeze("weekly").state == "skipped"
    world.tick(days=1)
    third = world.article()
    world.tick(days=6)
    assert (Cadence.WEEKLY, "2026-06-15") in due(world)
    world.send("weekly")
    assert world.mails(reader) == [[first], [third, second]]
    assert acts(world, "edition:weekly-2026-06-08") == [("editions.skip", ACTOR)]


def test_a_week_off_is_one_week_however_often_it_is_said(world: World) -> None:
    world.send("weekly")
    found = [skip(world) for _ in range(3)]

    assert [one.is_new for one in found] == [True, False, False]
    assert {one.edition for one in found} == {"weekly-2026-06-08"}
    assert len(acts(world, "edition:weekly-2026-06-08")) == 1


def test_an_edition_that_is_due_and_not_made_yet_is_the_one_that_is_skipped(world: World) -> None:
    world.tick(minutes=5)

    assert skip(world).edition == "weekly-2026-06-01"
    assert (Cadence.WEEKLY, "2026-06-01") not in due(world)


def test_a_week_off_is_taken_back_before_its_time(world: World) -> None:
    reader = world.reader("weekly")
    number = world.article()
    world.tick(minutes=-10)
    skip(world)

    assert unskip(world).edition == "weekly-2026-06-01"

    world.tick(minutes=10)
    assert (Cadence.WEEKLY, "2026-06-01") in due(world)
    world.send("weekly")
    assert world.mails(reader) == [[number]]
    with pytest.raises(Conflict, match="weekly-2026-06-08, is not skipped"):
        unskip(world)


def test_an_edition_that_was_made_is_neither_skipped_nor_made_again(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.reader("weekly")
    world.article()
    world.send("weekly")
    # Its period is due once more: the edition moves to the evening.
    world.settings = world.settings.model_copy(update={"weekly_at": time(20)})

    with pytest.raises(Conflict, match="weekly-2026-06-01 is made already"):
        skip(world)
    with pytest.raises(Conflict, match="is not skipped"):
        unskip(world)


def test_nobody_is_told_of_an_edition_that_is_skipped(world: World) -> None:
    world.reader("daily")
    world.article()
    world.tick(minutes=-10)
    skip(world, "daily")  # that of 07:00 today
    world.tick(minutes=10)
    skip(world, "daily")  # that of tomorrow

    summary = world.freeze("daily", force=True)

    (mailing,) = world.mailings(summary.edition)
    assert "Wednesday, June 3, 2026" in mailing.html or "Wednesday, 3 June 2026" in mailing.html


def test_the_first_edition_after_weeks_off_begins_where_the_first_would_have(
    world: World,
) -> None:
    reader = world.reader("weekly")
    world.tick(days=-1)
    number = world.article()
    skip(world)
    world.tick(days=8)
    world.send("weekly")

    assert world.mails(reader) == [[number]]


# Notes


def write(world: World, text: str, cadence: str = "weekly") -> Note:
    return editor.write_note(world.engine, Cadence(cadence), text, now=world.now, actor=ACTOR)


def test_a_note_stands_in_one_edition_of_its_cadence_in_every_part(world: World) -> None:
    world.reader("weekly")
    world.reader("daily")
    world.article()
    write(world, "Dear **all**, see [this](https://a.example/x).")
    world.send("daily")
    first = world.send("weekly").edition
    world.tick(days=7)
    world.article()
    second = world.send("weekly").edition

    (mailing,) = world.mailings(first)
    assert "Dear <strong>all</strong>, see <a " in mailing.html
    body = quopri.decodestring(mailing.body).decode(errors="replace")
    assert "Dear all, see this [1]." in body
    assert "<strong>all</strong>" in body
    assert not any(b"Dear" in one.body for one in world.mailings(second))
    with sessions.reading(world.engine) as session:
        note = editions.note_of(session, editions.by_slug(session, first))
        assert note is not None
        assert editions.waiting_note(session, Cadence.WEEKLY) is None
    assert acts(world, "note:weekly") == [("note.write", ACTOR)]


def test_each_variant_of_an_edition_has_its_note(world: World) -> None:
    world.reader("weekly", "late@example.org")
    world.article()
    late = world.reader("weekly", "early@example.org")
    world.send("weekly", {late: Kind.REFUSED})
    world.tick(days=7)
    world.article()
    write(world, "To all of you.")

    mailings = world.mailings(world.freeze("weekly").edition)

    assert [b"To all of you." in one.body for one in mailings] == [True, True]


def test_a_note_waits_while_editions_are_skipped_or_only_previewed(world: World) -> None:
    world.reader("weekly")
    write(world, "At last.")
    assert world.freeze("weekly").state == "skipped"
    world.tick(days=7)
    world.article()
    shown = publish.preview(
        world.engine, Cadence.WEEKLY, now=world.now, publication=world.publication
    )

    (mailing,) = world.mailings(world.freeze("weekly").edition)

    assert "At last." in shown.html
    assert "At last." in mailing.html


def test_the_last_note_that_was_written_is_the_one_and_it_can_be_taken_back(world: World) -> None:
    world.reader("weekly")
    world.article()
    write(world, "The first.")
    write(world, "The second.")
    assert _waiting(world) == ["The second."]

    assert editor.remove_note(world.engine, Cadence.WEEKLY, now=world.now, actor=ACTOR)
    assert not editor.remove_note(world.engine, Cadence.WEEKLY, now=world.now, actor=ACTOR)

    (mailing,) = world.mailings(world.freeze("weekly").edition)
    assert "The first." not in mailing.html
    assert "The second." not in mailing.html
    assert [action for action, _ in acts(world, "note:weekly")] == [
        "note.write",
        "note.write",
        "note.remove",
    ]


@pytest.mark.parametrize("text", ["🎈" * 5_000, "- a\n" * 200, "[a](https://a.example/) *b* " * 80])
def test_the_largest_note_leaves_room_for_the_articles(
    make_world: Callable[..., World], text: str
) -> None:
    world = make_world()
    world.reader("weekly")
    world.articles(30)
    write(world, text)

    assert world.freeze("weekly").audience == 1


def test_a_note_that_cannot_be_sent_changes_nothing(world: World) -> None:
    write(world, "Fine.")
    with pytest.raises(InvalidInput):
        write(world, "Not \x1b fine.")

    assert _waiting(world) == ["Fine."]


def _waiting(world: World) -> list[str]:
    with sessions.reading(world.engine) as session:
        return list(session.exec(select(Note.text).where(Note.edition_id == None)))  # noqa: E711


# The cover line


def test_a_first_edition_holds_what_its_cover_line_says(world: World) -> None:
    world.reader("weekly")
    number = world.article()
    with sessions.writing(world.engine) as session:
        old = {"published_at": world.now - timedelta(days=21)}
        articles.change_article(session, number, old)

    (first,) = world.mailings(world.send("weekly").edition)
    world.tick(days=7)
    later = world.article()
    with sessions.writing(world.engine) as session:
        articles.change_article(session, later, old)
    (second,) = world.mailings(world.send("weekly").edition)

    assert "11–31 May 2026" in first.html
    assert "1–7 June 2026" in second.html


def test_an_edition_that_was_skipped_before_leaves_the_next_one_the_first(world: World) -> None:
    world.reader("daily")
    assert world.send("daily").state == "skipped"
    world.tick(days=1)
    number = world.article()
    with sessions.writing(world.engine) as session:
        old = {"published_at": world.now - timedelta(days=21)}
        articles.change_article(session, number, old)

    (first,) = world.mailings(world.send("daily").edition)

    assert "12 May\u2009–\u20091 June 2026" in first.html
    with sessions.reading(world.engine) as session:
        assert len(session.exec(select(Edition)).all()) == 2


# Items that the feed repeats


def take_in(world: World, feed: int, *items: tuple[str, str, str]) -> ingest.Counts:
    """Ingest a feed's document: a GUID, a title and a standfirst for each item."""
    parsed = [
        ParsedArticle(
            guid=guid,
            link=f"https://miasfeed.example/{guid}",
            title=title,
            standfirst=standfirst,
            image=None,
            author=None,
            source=None,
            categories=("Health",),
            minutes=1,
            published_at=world.now,
        )
        for guid, title, standfirst in items
    ]
    return ingest.take_in(world.engine, feed, ParsedFeed("Mia", None, tuple(parsed)), world.now)


def fed(world: World, *items: tuple[str, str, str]) -> tuple[int, dict[str, int]]:
    """Return a feed with some items, and the ids of its articles by GUID."""
    with sessions.writing(world.engine) as session:
        feed = articles.add_feed(
            session, url="https://miasfeed.example/feed", title="", now=world.now
        )
        assert feed.id is not None
    take_in(world, feed.id, *items)
    with sessions.reading(world.engine) as session:
        found = session.exec(select(Article)).all()
    return feed.id, {one.guid or "": one.id or 0 for one in found}


@pytest.mark.parametrize(
    "again",
    [
        ("a", "Alpha", "About it."),
        ("a", "Alpha", "More about it."),
        ("a", "Alpha, continued", "About it."),
        ("another", "Alpha", "About it."),
    ],
    ids=["the same", "edited", "with another title", "under another name"],
)
def test_what_was_rejected_is_not_brought_back_by_its_feed(
    world: World, again: tuple[str, str, str]
) -> None:
    reader = world.reader("daily")
    feed, numbers = fed(world, ("a", "Alpha", "About it."), ("b", "Beta", "About b."))
    world.edit("reject", numbers["a"])
    world.tick(hours=1)

    take_in(world, feed, again, ("b", "Beta", "About b."))
    world.send("daily")

    assert world.mails(reader) == [[numbers["b"]]]
    assert article(world, numbers["a"]).state is ArticleState.REJECTED


def test_what_is_held_goes_out_as_its_feed_has_corrected_it(world: World) -> None:
    world.reader("daily")
    feed, numbers = fed(world, ("a", "Alhpa", "About it."))
    world.edit("hold", numbers["a"])
    world.tick(hours=1)

    take_in(world, feed, ("a", "Alpha", "About it."))

    assert article(world, numbers["a"]).state is ArticleState.HELD
    world.edit("release", numbers["a"])
    assert leads(world, world.freeze("daily").edition) == {"Alpha"}
