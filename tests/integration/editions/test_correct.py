"""Corrections reach exactly the readers who got the mistake, once each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import counts
import pytest
from freezing import meanwhile
from sqlalchemy import update
from sqlmodel import col, select

from newsletter.db import session as sessions
from newsletter.editions import correct, mailings, pruning, store, summaries
from newsletter.editions.correct import Correction, Notice
from newsletter.errors import Conflict, InvalidInput, NotFound
from newsletter.ledger import books
from newsletter.models import Article, Delivery, Edition, Kind, Mailing, State, Subscriber
from newsletter.publication import Publication
from newsletter.settings import Settings
from newsletter.smtp import outcome
from newsletter.subscribers import forget, letters, next_digest, suppress
from newsletter.suppression import Cause, Grounds

pytestmark = pytest.mark.mainly_on("sqlite")

if TYPE_CHECKING:
    from tests.integration.editions.conftest import World

FIRST, SECOND, THIRD = "weekly-2026-06-01", "weekly-2026-06-08", "weekly-2026-06-15"
TEXT = "We wrote 50 mg.\n\nThe dose is 5 mg."


def said(article: int | str, *, edition: str = FIRST, text: str = TEXT, **more: Any) -> Notice:
    return correct.notice(edition, str(article), text, **more)


def enqueue(world: World, notice: Notice) -> Correction:
    correction = correct.enqueue(
        world.engine, notice, now=world.now, actor="cli:mia", publication=world.publication
    )
    world.check_books()
    return correction


def told(world: World) -> list[tuple[str, str]]:
    """Return reader and state of every row of every correction."""
    query = (
        select(Delivery.reference, Delivery.state)
        .join(Mailing, col(Mailing.id) == Delivery.mailing_id)
        .where(Mailing.kind == Kind.CORRECTION)
    )
    with sessions.reading(world.engine) as session:
        return sorted(session.exec(query).all())


def queued(*readers: str) -> list[tuple[str, str]]:
    return sorted((reader, "queued") for reader in readers)


def test_it_goes_to_those_for_whom_the_edition_was_accepted(world: World) -> None:
    had, later, refused, uncertain = world.readers(4)
    other = world.reader("daily")
    article = world.article()
    world.send(
        outcomes={
            later: outcome.Kind.DEFERRED,
            refused: outcome.Kind.REFUSED,
            uncertain: outcome.Kind.UNKNOWN,
        }
    )
    world.send("daily")
    newcomer = world.reader()

    correction = enqueue(world, said(article))

    assert told(world) == queued(had)
    assert (correction.readers, correction.uncertain, correction.coming) == (1, 1, 1)
    assert correction.left_out == 0
    assert world.status(other) == world.status(newcomer) == "active"


def test_every_variant_with_the_article_is_told_and_no_other(world: World) -> None:
    refused, had = world.readers(2)
    first = world.article()
    world.send(outcomes={refused: outcome.Kind.REFUSED})
    world.tick(days=7)
    second = world.article()
    world.send()
    assert len(world.mailings(SECOND)) == 2

    enqueue(world, said(first, edition=SECOND))
    assert told(world) == queued(refused)

    enqueue(world, said(second, edition=SECOND))
    assert told(world) == queued(refused, refused, had)


def test_a_related_headline_is_not_the_article(world: World) -> None:
    world.reader()
    first = world.article()
    world.send()
    world.tick(days=7)
    world.article()
    world.send()
    world.tick(days=7)
    third = world.article()
    world.send()
    with sessions.reading(world.engine) as session:
        placed = mailings.placements(session, store.by_slug(session, THIRD))
    assert {(one.article_id, one.role) for one in placed} == {
        (first, "related"),
        (third, "lead"),
    }

    with pytest.raises(NotFound, match="only as a related headline"):
        enqueue(world, said(first, edition=THIRD))

    assert told(world) == []


def test_who_wants_no_more_mail_gets_none_and_is_counted(world: World) -> None:
    had, left, returning, paused, over, suppressed, forgotten, back = world.readers(8)
    article = world.article()
    world.send()
    for reader in (left, returning, back):
        world.leave(reader)
    with sessions.writing(world.engine) as session:
        addresses = dict(session.exec(select(Subscriber.public_id, Subscriber.address)).all())
        keyring = world.settings.keyring()
        forget.forget(session, addresses[forgotten], now=world.now, keyring=keyring)
        grounds = Grounds(Cause.OPERATOR, "asked by phone", source="a test")
        suppress.suppress(
            session, addresses[suppressed], grounds=grounds, now=world.now, keyring=keyring
        )
        # Signed up again and has not confirmed.
        asked = update(Subscriber).where(col(Subscriber.public_id) == returning)
        session.execute(asked.values(status="pending"))
        counts.recount(session)
    world.pause_reader(paused)
    world.pause_reader(over, days=1)
    world.reader(address=addresses[back])
    world.tick(days=2)

    correction = enqueue(world, said(article))

    assert told(world) == queued(had, over, back)
    assert (
        correction.unsubscribed,
        correction.paused,
        correction.suppressed,
        correction.forgotten,
    ) == (2, 1, 1, 1)
    assert correction.readers + correction.left_out == 8


def test_the_same_words_reach_nobody_twice_and_other_words_are_another_correction(
    world: World,
) -> None:
    reader = world.reader()
    article = world.article()
    world.send()
    enqueue(world, said(article))
    world.deliver()

    again = enqueue(
        world, said("https://miasfeed.example/2", text=TEXT.replace("\n", "\r\n") + "\n")
    )
    assert (again.readers, again.books) == (1, {State.ACCEPTED: 1})
    assert told(world) == [(reader, "accepted")]

    enqueue(world, said(article, text="The dose is 6 mg."))
    enqueue(world, said(article, subject="Read this at once"))
    assert told(world) == sorted([(reader, "accepted"), *queued(reader, reader)])


def test_run_again_it_takes_in_who_got_the_edition_since(world: World) -> None:
    early, late = world.readers(2)
    article = world.article()
    world.send(outcomes={late: outcome.Kind.DEFERRED})
    enqueue(world, said(article))
    assert told(world) == queued(early)
    world.tick(hours=8)
    world.deliver()

    enqueue(world, said(article))

    assert told(world) == sorted([(early, "accepted"), (late, "queued")])


@pytest.mark.mainly_on("sqlite", "postgresql")
def test_fifty_at_once_make_one_correction_and_one_mail_per_reader(world: World) -> None:
    readers = world.readers(5)
    article = world.article()
    world.send()
    together = threading.Barrier(12)

    def run(number: int) -> int:
        if number < 12:
            together.wait()
        notice = said(article)
        return correct.enqueue(
            world.engine, notice, now=world.now, actor="cli:mia", publication=world.publication
        ).mailing_id

    with ThreadPoolExecutor(12) as pool:
        made = set(pool.map(run, range(50)))

    assert len(made) == 1
    assert told(world) == queued(*readers)


@pytest.mark.mainly_on("sqlite", "postgresql")
def test_a_goodbye_beside_it_takes_it_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    leaving, staying = world.readers(2)
    article = world.article()
    world.send()

    with meanwhile(monkeypatch, lambda: world.leave(leaving), step="correction"):
        enqueue(world, said(article))

    assert told(world) == sorted([(leaving, "cancelled"), (staying, "queued")])


def test_the_books_and_watermarks_of_editions_know_nothing_of_it(world: World) -> None:
    reader = world.reader()
    article = world.article()
    before = world.send()
    watermark = world.watermark(reader)
    enqueue(world, said(article))
    world.deliver()

    assert world.summary(FIRST) == before
    assert world.watermark(reader) == watermark
    world.tick(days=7)
    following = world.article()
    world.send()
    assert world.mails(reader) == [[article], [following]]
    with sessions.reading(world.engine) as session:
        (one,) = summaries.corrections(session, store.by_slug(session, FIRST))
        assert summaries.corrections(session, store.by_slug(session, SECOND)) == []
    assert (one.subject, one.readers) == ("Correction: Article 2", 1)
    assert one.states == {"accepted": 1}


def test_it_names_the_article_as_its_readers_know_it(world: World) -> None:
    world.reader()
    article = world.article(title="Take 50 mg & <rest>")
    world.send()
    with sessions.writing(world.engine) as session:
        session.execute(
            update(Article)
            .where(col(Article.id) == article)
            .values(title="Take 5 mg", link="https://miasfeed.example/new", content_hash="x")
        )

    by_its_new_link = enqueue(world, said("https://miasfeed.example/new?utm_source=a"))

    assert by_its_new_link.article.title == "Take 50 mg & <rest>"
    assert by_its_new_link.article.link == "https://miasfeed.example/2"
    assert by_its_new_link.message.subject == "Correction: Take 50 mg & <rest>"
    assert (
        enqueue(world, said("https://miasfeed.example/2")).mailing_id == by_its_new_link.mailing_id
    )


def test_a_link_that_several_articles_have_asks_for_a_number(world: World) -> None:
    world.reader()
    ids = [world.article() for _ in range(2)]
    with sessions.writing(world.engine) as session:
        session.execute(update(Article).values(link="https://miasfeed.example/show"))
    world.send()

    with pytest.raises(InvalidInput, match=f"{ids[0]}, {ids[1]}") as caught:
        enqueue(world, said("https://miasfeed.example/show"))

    assert "numbers" in str(caught.value.hint)
    assert enqueue(world, said(ids[1])).article.article_id == ids[1]


def test_a_link_is_known_with_a_fragment_of_the_readers_own(world: World) -> None:
    world.reader()
    world.article()
    world.send()

    found = enqueue(world, said("https://miasfeed.example/2#section"))

    assert found.article.link == "https://miasfeed.example/2"


def test_it_leaves_after_letters_and_before_digests(world: World) -> None:
    reader = world.reader()
    article = world.article()
    world.send()
    world.tick(days=7)
    world.article()
    world.freeze()
    world.tick(minutes=1)
    enqueue(world, said(article))
    world.tick(minutes=1)
    with world.subscriber(reader) as (session, subscriber):
        publication = Publication.of(world.settings)
        letters.present(
            session,
            subscriber,
            is_sent=True,
            skipped=next_digest.skipped_ahead(session, now=world.now),
            publication=publication,
            now=world.now,
        )

    claims = world.take()

    with sessions.reading(world.engine) as session:
        kinds = [books.mailing(session, claim.mailing_id).kind for claim in claims]
    assert kinds == ["present", "correction", "digest"]


def test_of_pruned_deliveries_it_says_that_their_readers_are_not_known(world: World) -> None:
    world.readers(2)
    article = world.article()
    world.send()
    world.tick(days=7)
    world.article()
    world.send()
    world.tick(days=200)
    rows = pruning.prunable(
        world.engine, older_than=100, now=world.now, publication=world.publication
    )
    pruning.prune(world.engine, rows)

    with pytest.raises(Conflict, match="pruned"):
        enqueue(world, said(article))


def test_a_rehearsal_counts_and_changes_nothing(world: World) -> None:
    reader, over = world.readers(2)
    article = world.article()
    world.send()
    world.pause_reader(over, days=1)
    world.tick(days=2)

    correction = correct.rehearse(
        world.engine, said(article), now=world.now, publication=world.publication
    )

    assert correction.books == {State.QUEUED: 2}
    assert (told(world), world.status(over), world.status(reader)) == ([], "paused", "active")


@pytest.mark.mainly_on("sqlite", "postgresql")
def test_the_number_of_statements_does_not_grow_with_the_readers(
    make_world: Callable[..., World], counting: Callable[..., Any]
) -> None:
    world = make_world()
    world.readers(2)
    first = world.article()
    world.send()
    with counting(world.engine) as few:
        enqueue(world, said(first))
    world.deliver()
    world.tick(days=7)
    world.readers(30)
    second = world.article()
    world.send()

    with counting(world.engine) as many:
        correction = enqueue(world, said(second, edition=SECOND))

    assert correction.readers == 32
    assert len(many) == len(few)


@pytest.mark.parametrize(
    ("article", "edition", "message"),
    [
        ("2", "weekly-2031-06-02", "There is no edition weekly-2031-06-02"),
        ("99", FIRST, "There is no article 99"),
        ("9" * 40, FIRST, f"There is no article {'9' * 40}"),
        ("https://miasfeed.example/none", FIRST, "There is no article https://"),
        ("Article 2", FIRST, "There is no article Article 2"),
        ("3", FIRST, f"The article 3 was not in {FIRST}"),
    ],
)
def test_what_is_not_there_is_named(
    make_world: Callable[..., World], article: str, edition: str, message: str
) -> None:
    world = make_world()
    world.reader()
    world.article()
    world.send()
    world.article()
    world.article()
    if article.isdecimal() and len(article) == 1:
        with sessions.reading(world.engine) as session:
            ids = session.exec(select(Article.id).order_by(col(Article.id))).all()
        article, message = str(ids[-1]), message.replace("article 3", f"article {ids[-1]}")

    with pytest.raises(NotFound, match=message) as caught:
        enqueue(world, said(article, edition=edition))

    assert caught.value.hint


def test_where_nobody_can_be_told_it_says_why(make_world: Callable[..., World]) -> None:
    world = make_world()
    reader = world.reader()
    article = world.article()
    world.freeze()
    with pytest.raises(Conflict, match="still on its way"):
        enqueue(world, said(article))
    world.deliver({reader: outcome.Kind.REFUSED})
    with pytest.raises(Conflict, match="accepted for nobody"):
        enqueue(world, said(article))
    gone = world.reader()
    world.tick(days=7)
    article = world.article()
    world.send(outcomes={reader: outcome.Kind.REFUSED})
    world.leave(gone)

    with pytest.raises(Conflict, match="has left, paused"):
        enqueue(world, said(article, edition=SECOND))

    assert told(world) == []


@pytest.mark.parametrize("text", ["", " \n\n\t\n", "a" * 5_001])
def test_an_empty_or_enormous_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        correct.notice(FIRST, "1", text)


@pytest.mark.parametrize("subject", ["", "  ", "s" * 201])
def test_an_empty_or_enormous_subject_is_refused(subject: str) -> None:
    with pytest.raises(InvalidInput, match="subject"):
        correct.notice(FIRST, "1", TEXT, subject=subject)


def test_a_text_becomes_paragraphs() -> None:
    text = "\ufeffOne line\nand more of it.\n \t\n\n\nTwo\x07.\r\n\r\nThree."[1:]

    assert correct.notice(FIRST, "1", text).paragraphs == (
        "One line and more of it.",
        "Two .",
        "Three.",
    )


def test_a_text_of_many_small_paragraphs_that_would_be_clipped_is_refused(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.reader()
    article = world.article()
    world.send()

    with pytest.raises(InvalidInput, match="cut off"):
        enqueue(world, said(article, text="a\n\n" * 1_600))


def test_the_settings_of_today_change_nothing_of_what_was_queued(
    world: World, settings: Callable[..., Settings]
) -> None:
    world.reader()
    article = world.article()
    world.send()
    first = enqueue(world, said(article))
    world.settings = settings(language="de", name="Another")

    assert enqueue(world, said(article)).mailing_id == first.mailing_id


def test_it_is_of_no_edition(world: World) -> None:
    world.reader()
    article = world.article()
    world.send()

    correction = enqueue(world, said(article))

    with sessions.reading(world.engine) as session:
        mailing = books.mailing(session, correction.mailing_id)
        edition = session.exec(select(Edition.id)).one()
    assert (mailing.edition_id, mailing.corrects_id, mailing.html) == (None, edition, "")
