"""The editor's words and order: what the next mails have, and what never changes by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlmodel import select

from newsletter import audit
from newsletter.articles import store as articles
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.editions import arranging, editor, publish, store, summaries
from newsletter.errors import Conflict, InvalidInput, NotFound
from newsletter.models import Article, Mailing, MailingArticle
from newsletter.smtp.outcome import Kind
from tests.integration.editions.conftest import contents

if TYPE_CHECKING:
    from tests.integration.editions.conftest import World

WEEKLY, DAILY = Cadence.WEEKLY, Cadence.DAILY


def editing(world: World) -> dict[str, Any]:
    return {"now": world.now, "actor": "cli:mia"}


def ordered(world: World, *ids: int, cadence: Cadence = WEEKLY) -> list[int | None]:
    found = arranging.order(
        world.engine, cadence, ids, publication=world.publication, **editing(world)
    )
    return [one.id for one in found]


def moved(world: World, article: int, to: int) -> list[int | None]:
    found = arranging.move(
        world.engine, WEEKLY, article, to=to, publication=world.publication, **editing(world)
    )
    return [one.id for one in found]


def sent(world: World, cadence: str = "weekly", place: int = 0) -> list[int]:
    """Freeze an edition, and return the articles of one of its variants."""
    mailing = world.mailings(world.send(cadence).edition)[place]
    with sessions.reading(world.engine) as session:
        assert mailing.id is not None
        return contents(session, mailing.id)


def newest(world: World, number: int) -> list[int]:
    """Store articles; return them as a mail without an order has them, the newest first."""
    return world.articles(number)[::-1]


def acts(world: World, subject: str) -> list[tuple[str, str, str, str]]:
    with sessions.reading(world.engine) as session:
        found = audit.of(session, [subject])
        return [(one.action, one.detail, one.before, one.after) for one in found]


def test_the_mail_has_the_editors_words_and_the_feeds_update_keeps_them(world: World) -> None:
    world.reader()
    article = world.article(title="The feed's")

    arranging.edit(
        world.engine, article, title=" Ours\n", standfirst="Said by us.", **editing(world)
    )
    with sessions.writing(world.engine) as session:
        change = {"title": "The feed's update", "standfirst": "More.", "content_hash": "1" * 64}
        articles.change_article(session, article, change)

    (mailing,) = world.mailings(world.send().edition)
    assert mailing.subject.startswith("Ours")
    assert "Said by us." in mailing.html
    assert "update" not in mailing.html
    with sessions.reading(world.engine) as session:
        placed = session.exec(select(MailingArticle)).one()
        assert placed.title == "Ours"
    assert acts(world, f"article:{article}") == [
        ("articles.edit", "title", "The feed's", "Ours"),
        ("articles.edit", "standfirst", "What article 2 says.", "Said by us."),
    ]


def test_words_hold_for_every_cadence_until_they_are_reset(world: World) -> None:
    world.reader("daily")
    world.reader("weekly")
    article = world.article(title="The feed's")
    arranging.edit(world.engine, article, title="Ours", **editing(world))

    assert world.mailings(world.send("daily").edition)[0].subject == "Ours"
    found = arranging.reset(world.engine, article, **editing(world))
    assert (found.mail_title, found.shown_title) == (None, "The feed's")
    assert world.mailings(world.send("weekly").edition)[0].subject == "The feed's"
    arranging.reset(world.engine, article, **editing(world))
    assert len(acts(world, f"article:{article}")) == 2


def test_words_that_equal_the_feeds_are_not_kept(world: World) -> None:
    article = world.article(title="The feed's")

    arranging.edit(world.engine, article, title="Ours", **editing(world))
    found = arranging.edit(world.engine, article, title="The feed's", **editing(world))

    assert found.mail_title is None


def test_an_empty_standfirst_leaves_it_out(world: World) -> None:
    world.reader()
    article = world.article()

    arranging.edit(world.engine, article, standfirst=" ", **editing(world))

    (mailing,) = world.mailings(world.send().edition)
    assert f"What article {article + 1} says." not in mailing.html


@pytest.mark.parametrize(
    "words", [{"title": ""}, {"title": " \n"}, {"title": "x" * 301}, {"standfirst": "x" * 421}]
)
def test_words_that_no_mail_can_have_are_refused(world: World, words: dict[str, str]) -> None:
    article = world.article()

    with pytest.raises(InvalidInput):
        arranging.edit(world.engine, article, **words, **editing(world))
    with pytest.raises(NotFound):
        arranging.edit(world.engine, 99, title="x", **editing(world))
    world.edit("reject", article)
    with pytest.raises(Conflict):
        arranging.edit(world.engine, article, title="x", **editing(world))


def test_words_written_after_the_freeze_change_no_mail_and_are_seen(world: World) -> None:
    world.reader()
    article = world.article(title="The feed's")
    slug = world.send().edition

    arranging.edit(world.engine, article, standfirst="Ours.", **editing(world))

    (mailing,) = world.mailings(slug)
    assert "Ours." not in mailing.html
    with sessions.reading(world.engine) as session:
        assert mailing.id is not None
        (placed,) = summaries.placed(session, mailing.id)
        assert placed.is_edited


def test_an_article_edited_before_the_freeze_is_not_edited_since(world: World) -> None:
    world.reader()
    arranging.edit(world.engine, world.article(), title="Ours", **editing(world))
    (mailing,) = world.mailings(world.send().edition)

    with sessions.reading(world.engine) as session:
        assert mailing.id is not None
        assert not summaries.placed(session, mailing.id)[0].is_edited


def test_related_headlines_have_the_editors_words(world: World) -> None:
    early = world.article(title="The feed's")
    world.reader()
    world.send()
    arranging.edit(world.engine, early, title="Ours", **editing(world))
    world.tick(days=7)
    world.article()
    world.send()
    world.tick(days=7)
    world.article()

    (mailing,) = world.mailings(world.send().edition)

    assert "Ours" in mailing.html
    assert "The feed&#39;s" not in mailing.html


def test_an_order_is_followed_and_the_rest_is_by_date(world: World) -> None:
    world.reader()
    one, two, three, four = newest(world, 4)

    assert ordered(world, two, four) == [two, four, one, three]
    assert sent(world) == [two, four, one, three]
    assert acts(world, "order:weekly") == [("articles.order", "", "", f"{two}, {four}")]


def test_an_order_is_for_one_edition_of_one_cadence(world: World) -> None:
    world.reader("weekly")
    world.reader("daily")
    one, two = newest(world, 2)
    ordered(world, two, one)

    assert sent(world, "daily") == [one, two]
    assert sent(world, "weekly") == [two, one]
    with sessions.reading(world.engine) as session:
        assert store.waiting_order(session, WEEKLY) == ()


def test_a_pinned_article_leads_whatever_the_order(world: World) -> None:
    world.reader()
    one, two, three = newest(world, 3)
    ordered(world, two, one)
    world.edit("pin", three)

    assert sent(world) == [three, two, one]


def test_an_order_waits_for_an_edition_that_is_skipped(world: World) -> None:
    world.reader()
    one, two = newest(world, 2)
    ordered(world, two, one)
    world.tick(minutes=1)
    editor.skip(world.engine, WEEKLY, publication=world.publication, **editing(world))
    world.tick(days=14)

    assert sent(world) == [two, one]


def test_an_order_changes_nothing_of_which_articles_come(world: World) -> None:
    """A reader who catches up gets the ordered ones first, and misses none of the others."""
    early, late = world.reader(), world.reader()
    old = world.article()
    world.send(outcomes={early: Kind.REFUSED})
    world.tick(days=7)
    one, two = newest(world, 2)
    ordered(world, two)

    slug = world.send().edition

    assert world.mails(early) == [[two, one, old]]
    assert world.mails(late) == [[old], [two, one]]
    assert len(world.mailings(slug)) == 2


def test_an_order_names_each_article_once_and_only_those_to_come(world: World) -> None:
    world.reader()
    gone = world.article()
    world.send()
    world.tick(days=1)
    one, two = newest(world, 2)

    with pytest.raises(InvalidInput):
        ordered(world, one, one)
    with pytest.raises(InvalidInput):
        ordered(world, *range(1, 200))
    with pytest.raises(NotFound):
        ordered(world, 999)
    with pytest.raises(Conflict, match="will not have"):
        ordered(world, gone)
    world.edit("reject", two)
    with pytest.raises(Conflict):
        ordered(world, two)
    assert acts(world, "order:weekly") == []


def test_a_held_article_has_its_place_when_it_is_released(world: World) -> None:
    world.reader()
    one, two = newest(world, 2)
    world.edit("hold", two)
    assert ordered(world, two, one) == [one]
    world.edit("release", two)

    assert sent(world) == [two, one]


def test_a_move_keeps_the_places_down_to_it_and_later_articles_follow(world: World) -> None:
    world.reader()
    one, two, three, four = newest(world, 4)

    assert moved(world, three, 2) == [one, three, two, four]
    assert moved(world, one, 99) == [three, two, four, one]
    assert moved(world, one, 1) == [one, three, two, four]
    assert moved(world, two, 1) == [two, one, three, four]
    world.tick(hours=1)
    late = world.article()

    assert sent(world) == [two, one, three, four, late]


def test_articles_that_come_after_a_move_go_below_the_places_that_it_has_set(world: World) -> None:
    world.reader()
    one, two, three = newest(world, 3)
    moved(world, two, 1)
    world.tick(hours=1)
    late = world.article()

    assert sent(world) == [two, one, late, three]


def test_nothing_is_moved_above_a_pinned_article(world: World) -> None:
    world.reader()
    one, two, three = newest(world, 3)
    world.edit("pin", two)

    assert moved(world, three, 2) == [two, three, one]
    with pytest.raises(Conflict, match="is pinned, and leads"):
        moved(world, three, 1)
    with pytest.raises(Conflict, match="is pinned, and leads"):
        moved(world, two, 3)
    editor.unpin(world.engine, **editing(world))
    assert sent(world) == [three, one, two]


def test_none_resets_an_order(world: World) -> None:
    one, two = newest(world, 2)
    ordered(world, two, one)

    assert ordered(world) == [one, two]
    assert ordered(world) == [one, two]
    assert len(acts(world, "order:weekly")) == 2


def test_the_preview_shows_words_and_order(world: World) -> None:
    one, two = newest(world, 2)
    ordered(world, two)
    arranging.edit(world.engine, two, title="Ours", **editing(world))
    world.tick(minutes=1)

    shown = publish.preview(world.engine, WEEKLY, now=world.now, publication=world.publication)

    assert shown.message.subject.startswith("Ours")
    assert one != two


def test_the_audit_and_the_row_stand_in_one_transaction(world: World) -> None:
    article = world.article()
    with sessions.reading(world.engine) as session:
        before = session.exec(select(Article.updated_at)).one()
    world.tick(hours=1)

    arranging.edit(world.engine, article, title="Ours", **editing(world))

    with sessions.reading(world.engine) as session:
        assert session.exec(select(Article.updated_at)).one() > before
        assert session.exec(select(Mailing)).all() == []
