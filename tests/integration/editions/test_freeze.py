"""Freezing an edition: audience, articles, variants and coverage of each reader."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filling import filled
from sqlmodel import insert, select, update

from newsletter import suppression
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.editions import lifecycle, publish, store, summaries
from newsletter.errors import NotFound, RenderError
from newsletter.ledger import books, reconcile
from newsletter.models import (
    Article,
    Delivery,
    Edition,
    Feed,
    Mailing,
    MailingArticle,
    Role,
    State,
)
from newsletter.rendering.message import CompiledMessage, Slot
from newsletter.smtp.outcome import Kind
from newsletter.subscribers import forget, imports, signup
from newsletter.subscribers import store as readers
from newsletter.subscribers.consent import Origin
from newsletter.subscribers.imports import Import
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Bearer, Purpose

if TYPE_CHECKING:
    from tests.integration.editions.conftest import World

READER = "ann@example.org"


def test_everyone_of_a_cadence_gets_the_edition_of_its_period(world: World) -> None:
    weekly, daily = world.readers(3), world.reader("daily")
    articles = world.articles(2)

    summary = world.send("weekly")

    assert (summary.edition, summary.state) == ("weekly-2026-06-01", "finished")
    assert (summary.audience, summary.variants, summary.accepted) == (3, 1, 3)
    assert all(world.mails(one) == [articles[::-1]] for one in weekly)
    assert world.mails(daily) == []


def test_sending_again_makes_no_second_edition(world: World) -> None:
    world.reader()
    world.article()
    world.send()
    world.article()
    world.tick(hours=3)

    again = world.send()

    assert (again.edition, again.audience, again.accepted) == ("weekly-2026-06-01", 1, 1)


def test_coverage_ends_at_the_instant_of_the_freeze(world: World) -> None:
    reader = world.reader()
    before = world.article()
    world.tick(hours=9)
    world.send()
    after = world.article()
    world.tick(days=7)

    world.send()

    assert world.mails(reader) == [[before], [after]]


def test_an_article_of_the_same_clock_reading_is_behind_no_watermark(world: World) -> None:
    reader = world.reader()
    first = world.article()
    world.send()
    second = world.article()
    with sessions.reading(world.engine) as session:
        seen_at = session.exec(select(Article.seen_at).where(Article.id == second)).one()

    assert seen_at > world.now
    world.tick(days=7)
    world.send()
    assert world.mails(reader) == [[first], [second]]


def test_readers_with_the_same_watermark_get_the_same_bytes(world: World) -> None:
    world.readers(3)
    late = world.reader()
    world.article()
    world.send(outcomes={late: Kind.REFUSED})
    world.tick(days=7)
    world.article()

    summary = world.send()

    assert (summary.variants, summary.audience) == (2, 4)
    assert len(world.mailings("weekly-2026-06-08")) == 2


def test_watermarks_with_nothing_between_them_share_a_variant(world: World) -> None:
    world.reader()
    late = world.reader()
    world.article()
    world.send(outcomes={late: Kind.REFUSED})
    world.tick(days=70)  # what the other one missed is out of the catch-up window
    world.article()

    assert world.send().variants == 1


def test_a_daily_reader_who_moves_to_weekly_reads_nothing_twice(world: World) -> None:
    reader = world.reader("daily")
    monday = world.article()
    world.send("daily")
    world.move(reader, "weekly")
    world.tick(days=6)
    sunday = world.article()
    world.tick(days=1)

    world.send("weekly")

    assert world.mails(reader) == [[monday], [sunday]]


def test_a_monthly_reader_who_moves_to_daily_misses_nothing(world: World) -> None:
    reader, other = world.reader("monthly"), world.reader("daily")
    world.article()
    world.send("monthly")
    world.send("daily")
    world.tick(days=10)
    tenth = world.article()
    world.send("daily")
    world.tick(days=10)
    world.move(reader, "daily")
    twentieth = world.article()

    summary = world.send("daily")

    assert summary.variants == 2
    assert world.mails(reader)[1:] == [[twentieth, tenth]]
    assert world.mails(other)[1:] == [[tenth], [twentieth]]


def test_a_paused_reader_catches_up(world: World) -> None:
    reader = world.reader()
    missed = []
    world.article()
    world.send()
    world.pause_reader(reader, days=10)
    for _ in range(2):
        world.tick(days=7)
        missed.append(world.article())
        world.send()

    assert world.mails(reader)[1:] == [missed[::-1]]


def test_a_paused_reader_gets_nothing_before_the_pause_ends(world: World) -> None:
    world.reader()
    reader = world.reader()
    world.pause_reader(reader, days=10)
    world.article()

    assert world.send().audience == 1
    assert world.mails(reader) == []


@pytest.mark.parametrize("kind", [Kind.REFUSED, Kind.DEFERRED])
def test_a_reader_whose_mail_failed_catches_up(world: World, kind: Kind) -> None:
    reader = world.reader()
    first = world.article()
    world.send(outcomes={reader: kind})
    world.tick(days=7)
    second = world.article()

    world.send()

    assert world.mails(reader) == [[second, first]]


def test_a_new_reader_starts_with_the_editions_own_coverage(world: World) -> None:
    world.reader()
    world.article()
    world.send()
    world.tick(days=3)
    covered = world.article()
    world.tick(days=4)
    reader = world.reader()

    world.send()

    assert world.mails(reader) == [[covered]]


def test_the_first_edition_covers_one_period(world: World) -> None:
    reader = world.reader()
    world.now -= timedelta(days=8)
    world.article()
    world.tick(days=2)
    recent = world.article()
    world.tick(days=6)

    world.send()

    assert world.mails(reader) == [[recent]]


def test_a_new_reader_whose_first_mail_fails_catches_up(world: World) -> None:
    reader = world.reader()
    first = world.article()
    world.send(outcomes={reader: Kind.REFUSED})
    world.tick(days=7)
    second = world.article()
    world.send(outcomes={reader: Kind.REFUSED})
    world.tick(days=7)

    world.send()

    assert world.mails(reader) == [[second, first]]


def test_a_reader_who_left_and_came_back_reads_nothing_twice(world: World) -> None:
    reader = world.reader("daily", "back@example.org")
    seen = world.article()
    world.send("daily")
    world.tick(days=1)
    world.send("daily")
    world.leave(reader)
    world.reader("weekly", "back@example.org")
    world.tick(days=5)
    new = world.article()

    world.send("weekly")

    assert world.mails(reader) == [[seen], [new]]


def test_a_held_unknown_counts_as_accepted(world: World) -> None:
    reader = world.reader()
    world.article()
    world.send(outcomes={reader: Kind.UNKNOWN})
    world.tick(days=7)
    second = world.article()

    world.send()

    assert world.mails(reader)[1:] == [[second]]


def test_an_edition_still_open_when_another_is_frozen_is_settled_later(world: World) -> None:
    reader = world.reader("weekly")
    world.reader("daily")
    first = world.article()
    world.send("weekly", outcomes={reader: Kind.DEFERRED})
    world.tick(days=1)
    world.freeze("daily")
    world.deliver()
    world.tick(days=6)
    second = world.article()

    world.send("weekly")

    assert world.mails(reader) == [[first], [second]]


def test_open_deliveries_of_earlier_editions_are_superseded(world: World) -> None:
    reader = world.reader()
    first = world.article()
    world.freeze()
    world.tick(days=7)
    second = world.article()

    world.send()

    assert world.states("weekly-2026-06-01") == {reader: "skipped"}
    assert world.mails(reader) == [[second, first]]


def test_an_edition_of_another_cadence_supersedes_too(world: World) -> None:
    reader = world.reader("daily")
    world.article()
    world.freeze("daily")
    world.move(reader, "weekly")

    world.send("weekly")

    assert world.states("daily-2026-06-01") == {reader: "skipped"}
    assert len(world.mails(reader)) == 1


def test_nothing_is_superseded_by_an_edition_that_the_reader_does_not_get(
    make_world: Callable[..., World],
) -> None:
    world = make_world(catch_up_days=1)
    reader = world.reader("daily")
    world.article()
    world.freeze("daily")
    world.tick(days=2)
    world.settings = world.settings.model_copy(update={"min_articles": 2})

    assert world.freeze("daily").state == "skipped"

    assert world.states("daily-2026-06-01") == {reader: "queued"}


def test_a_reader_whose_mail_is_leaving_right_now_is_left_out_and_catches_up(world: World) -> None:
    reader, other = world.readers(2)
    first = world.article()
    world.freeze()
    held = [claim for claim in world.take() if claim.reference == reader]
    world.tick(days=7)
    second = world.article()

    assert world.freeze().audience == 0 or other
    world.record(held)
    world.deliver()
    world.tick(days=7)
    third = world.article()
    world.send()

    assert world.mails(reader) == [[first], [third, second]]


def test_a_mail_that_may_have_arrived_is_not_superseded(world: World) -> None:
    reader = world.reader()
    first = world.article()
    world.freeze()
    world.record(world.take(), {reader: Kind.UNKNOWN}, policy="resend")
    world.tick(days=7)
    second = world.article()
    world.freeze()
    assert world.states("weekly-2026-06-01") == {reader: "deferred"}
    world.deliver()
    world.tick(days=7)

    world.send()

    assert world.mails(reader) == [[first], [second]]


def test_a_reader_who_comes_back_and_moves_gets_nothing_twice(world: World) -> None:
    """A new consent has no watermark; the one it gets is after what the reader already had."""
    reader = world.reader("daily", READER)
    world.reader("weekly")
    first = world.article()
    world.send("daily")
    world.send("weekly")
    world.leave(reader)
    assert world.reader("weekly", READER) == reader
    world.move(reader, "monthly")
    world.tick(days=1)
    second = world.article()

    world.send("monthly")

    assert world.mails(reader) == [[first], [second]]


def test_a_pause_that_ends_while_the_mail_is_leaving_is_no_reason_against_another_try(
    world: World,
) -> None:
    reader = world.reader()
    world.article()
    world.freeze()
    held = world.take()
    world.pause_reader(reader)
    world.resume_reader(reader)

    world.record(held, {reader: Kind.UNKNOWN}, policy="resend")

    assert world.states("weekly-2026-06-01") == {reader: "deferred"}


@pytest.mark.parametrize(
    ("pause", "state"), [(None, "unknown"), (0.5, "deferred")], ids=["still paused", "pause over"]
)
def test_an_undo_leaves_no_reason_against_another_try_but_a_pause(
    world: World, pause: float | None, state: str
) -> None:
    """Paused, unsubscribed and subscribed again, all while the mail is in flight."""
    reader = world.reader()
    world.article()
    world.freeze()
    held = world.take()
    world.pause_reader(reader, days=pause)
    world.leave(reader)
    world.tick(hours=20)
    with sessions.writing(world.engine) as session:
        signup.come_back(session, Bearer(reader, 1), origin=Origin("a test"), now=world.now)

    world.record(held, {reader: Kind.UNKNOWN}, policy="resend")

    assert world.states("weekly-2026-06-01") == {reader: state}
    if state == "unknown":
        world.resume_reader(reader)
        with sessions.writing(world.engine) as session:
            assert books.retry_now(session, ids=[held[0].id], now=world.now) == 1


def test_an_edition_that_was_skipped_and_is_made_after_all_begins_where_it_began(
    make_world: Callable[..., World],
) -> None:
    world = make_world(min_articles=2)
    world.tick(days=-7)
    reader = world.reader()
    world.tick(hours=1)
    first = world.article()
    world.tick(days=7, hours=-1)
    assert world.freeze(force=True).state == "skipped"
    world.tick(days=2)
    second = world.article()

    assert world.freeze(force=True).state == "open"
    world.deliver()

    assert world.mails(reader) == [[second, first]]


def test_who_is_imported_as_paused_catches_up_after_the_pause(world: World) -> None:
    world.reader()
    first = world.article()
    world.send()
    until = (world.now + timedelta(days=17)).date()
    csv_rows = f"address,cadence,status,paused_until\n{READER},weekly,paused,{until}\n"
    how = Import(source="a test", now=world.now, keyring=world.settings.keyring(), confirmed=True)
    imports.run(world.engine, BytesIO(csv_rows.encode()), how, reject=pytest.fail)
    with sessions.reading(world.engine) as session:
        found = readers.find(session, READER)
    assert found
    came = []
    for _ in range(3):
        world.tick(days=7)
        came.append(world.article())
        world.send()

    # And, as every new reader, articles of a period before the sign-up.
    assert world.mails(found.public_id) == [[*came[::-1], first]]


def test_a_mail_that_is_leaving_while_its_reader_is_forgotten_keeps_its_outcome(
    world: World,
) -> None:
    world.reader(address=READER)
    world.article()
    world.freeze()
    held = world.take()

    with sessions.writing(world.engine) as session:
        forget.forget(session, READER, now=world.now, keyring=world.settings.keyring())
    world.record(held)

    assert list(world.states("weekly-2026-06-01").values()) == ["accepted"]
    world.check_books()


def _pauses(world: World, reader: str) -> None:
    world.pause_reader(reader, days=1)


def _leaves_and_comes_back(world: World, reader: str) -> None:
    world.leave(reader)
    world.reader(address=READER)


def _is_cancelled(world: World, _reader: str) -> None:
    lifecycle.cancel(
        world.engine,
        "weekly-2026-06-01",
        now=world.now,
        reason="A wrong headline.",
        actor="cli:mia",
    )


def _grows_stale(world: World, _reader: str) -> None:
    world.tick(days=8)
    lifecycle.expire(world.engine, now=world.now, times=world.settings.send_times)


@pytest.mark.parametrize("call_off", [_pauses, _leaves_and_comes_back, _is_cancelled, _grows_stale])
def test_what_may_have_arrived_and_is_called_off_rides_in_no_newer_edition(
    world: World, call_off: Callable[[World, str], None]
) -> None:
    """It may have arrived and waits for a retry that is then cancelled."""
    reader = world.reader(address=READER)
    first = world.article()
    world.freeze()
    world.record(world.take(), {reader: Kind.UNKNOWN}, policy="resend")

    call_off(world, reader)
    assert world.states("weekly-2026-06-01") == {reader: "unknown"}
    world.check_books()
    world.tick(days=7)
    second = world.article()
    world.send()

    assert world.mails(reader) == [[first], [second]]


def test_a_held_unknown_that_is_let_go_again_goes_on_beside_the_next_edition(world: World) -> None:
    reader = world.reader()
    first = world.article()
    world.send(outcomes={reader: Kind.UNKNOWN})
    world.tick(days=7)
    world.article()
    world.send(outcomes={reader: Kind.REFUSED})
    with sessions.writing(world.engine) as session:
        held = session.exec(select(Delivery.id).where(Delivery.state == State.UNKNOWN)).all()
        books.retry_now(session, ids=[one for one in held if one], now=world.now)
        assert store.reopen(session) == ["weekly-2026-06-01"]
    world.tick(days=7)
    world.article()

    world.freeze()

    assert world.states("weekly-2026-06-01") == {reader: "queued"}
    assert world.states("weekly-2026-06-15") == {reader: "queued"}
    world.deliver()
    assert world.mails(reader)[0] == [first]
    assert [len(mail) for mail in world.mails(reader)] == [1, 2]


@pytest.mark.parametrize("is_settled", [False, True])
def test_an_unknown_that_the_relay_has_accepted_moves_no_watermark_twice(
    world: World, *, is_settled: bool
) -> None:
    reader, other = world.readers(2)
    first = world.article()
    world.send(outcomes={reader: Kind.UNKNOWN, other: Kind.UNKNOWN})
    (mailing,) = world.mailings("weekly-2026-06-01")
    mails = [[first]]
    if is_settled:
        world.tick(days=7)
        mails.append([world.article()])
        world.send()
    before = world.watermark(reader)

    named = f"{mailing.public_id}.{reader}@{mailing.domain}\n".encode()
    assert reconcile.run(world.engine, BytesIO(named), now=world.now, actor="test").accepted == 1
    assert lifecycle.finish(world.engine, now=world.now) == []

    assert world.states("weekly-2026-06-01") == {reader: "accepted", other: "unknown"}
    assert world.watermark(reader) == before
    world.check_books()
    world.tick(days=7)
    mails.append([world.article()])
    world.send()
    assert world.mails(reader) == world.mails(other) == mails


@pytest.mark.parametrize("is_settled", [False, True])
def test_an_unknown_that_is_sent_again_and_refused_comes_again_unless_it_had_counted(
    world: World, *, is_settled: bool
) -> None:
    reader = world.reader()
    first = world.article()
    world.send(outcomes={reader: Kind.UNKNOWN})
    if is_settled:
        world.tick(days=7)
        world.article()
        world.send()
    with sessions.writing(world.engine) as session:
        assert books.retry_now(session, state=State.UNKNOWN, now=world.now) == 1
        store.reopen(session)
    world.deliver({reader: Kind.REFUSED})
    assert lifecycle.finish(world.engine, now=world.now) == ["weekly-2026-06-01"]
    world.tick(days=7)
    last = world.article()

    world.send()

    assert world.mails(reader)[-1] == ([last] if is_settled else [last, first])


def test_catch_up_is_bounded_in_age(make_world: Callable[..., World]) -> None:
    world = make_world(catch_up_days=20)
    reader = world.reader()
    world.article()
    world.send()
    world.pause_reader(reader)
    world.article()
    world.tick(days=21)
    young = world.article()
    world.tick(days=7)
    world.resume_reader(reader)

    world.send()

    assert world.mails(reader)[1:] == [[young]]


def test_a_short_catch_up_never_cuts_a_periods_own_coverage(
    make_world: Callable[..., World],
) -> None:
    world = make_world(catch_up_days=1)
    reader = world.reader()
    world.article()
    world.send()
    world.tick(days=2)
    early = world.article()
    world.tick(days=5)

    world.send()

    assert world.mails(reader)[1:] == [[early]]


def test_catch_up_is_bounded_in_number_and_the_newest_stay(
    make_world: Callable[..., World],
) -> None:
    world = make_world(catch_up_articles=3)
    reader = world.reader()
    articles = []
    for _ in range(5):
        articles.append(world.article())
        world.tick(minutes=1)

    world.send()

    assert world.mails(reader) == [articles[:1:-1]]
    world.tick(days=7)
    assert world.send().reason == "There are no new articles."


def test_a_digest_says_how_many_articles_it_left_out(make_world: Callable[..., World]) -> None:
    world = make_world(catch_up_articles=2)
    world.reader()
    world.articles(7)
    world.send()

    (mailing,) = world.mailings("weekly-2026-06-01")

    assert "and 5 more on miasfeed.example" in " ".join(mailing.html.split())


def test_ten_thousand_articles_of_one_feed_never_fill_a_digest(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.reader()
    early = [world.article(title=f"Early {number}") for number in range(5)]
    world.tick(hours=1)
    with sessions.writing(world.engine) as session:
        seen_at = sessions.freeze_lock(session, world.now)
        session.add(Feed(id=1, url="https://flood.example/", title="Flood", added_at=seen_at))
        session.flush()
        session.execute(
            insert(Article),
            [
                {
                    "feed_id": 1,
                    "link": f"https://flood.example/{number}",
                    "title": f"Flood {number}",
                    "standfirst": "",
                    "categories": [],
                    "minutes": 1,
                    "published_at": seen_at,
                    "seen_at": seen_at,
                    "content_hash": f"{number:064d}",
                    "created_at": seen_at,
                    "updated_at": seen_at,
                }
                for number in range(10_000)
            ],
        )

    previewed = publish.preview(
        world.engine, Cadence.WEEKLY, now=world.now, publication=world.publication
    )
    world.send()

    (mailing,) = world.mailings("weekly-2026-06-01")
    for page in (previewed.page, mailing.html):
        assert page is not None
        assert all(f"Early {number}" in page for number in range(5))
        assert " more on miasfeed.example" in " ".join(page.split())
    with sessions.reading(world.engine) as session:
        placed = set(session.exec(select(MailingArticle.article_id)))
    assert set(early) < placed
    assert len(placed) == world.settings.catch_up_articles == 200


def test_without_articles_the_edition_is_skipped_and_the_watermark_stays(world: World) -> None:
    reader = world.reader()
    first = world.article()
    world.send(outcomes={reader: Kind.REFUSED})
    watermark = world.watermark(reader)
    world.tick(days=70)

    summary = world.send()

    assert (summary.state, summary.reason) == ("skipped", "There are no new articles.")
    assert (summary.audience, summary.variants) == (0, 0)
    assert world.watermark(reader) == watermark
    assert first


def test_a_skipped_edition_gives_new_readers_no_watermark(world: World) -> None:
    reader = world.reader()
    world.send()
    assert world.watermark(reader) is None
    world.tick(days=3)
    early = world.article()
    world.tick(days=4)

    world.send()

    assert world.mails(reader) == [[early]]


def test_fewer_than_min_articles_skip_the_edition_with_the_reason(
    make_world: Callable[..., World],
) -> None:
    world = make_world(min_articles=3)
    reader = world.reader()
    two = world.articles(2)

    summary = world.send()

    assert summary.state == "skipped"
    assert summary.reason == "New articles: 2. An edition needs at least 3 (min_articles)."
    world.tick(days=7)
    third = world.article()
    world.send()
    assert [sorted(mail) for mail in world.mails(reader)] == [[*two, third]]


def test_a_reader_with_too_few_articles_waits_while_others_get_theirs(
    make_world: Callable[..., World],
) -> None:
    world = make_world(min_articles=2)
    new, behind = world.readers(2)
    world.articles(2)
    world.send(outcomes={behind: Kind.REFUSED})
    world.tick(days=7)
    world.article()

    summary = world.send()

    assert (summary.state, summary.audience) == ("finished", 1)
    assert [len(mail) for mail in world.mails(behind)] == [3]
    world.tick(days=7)
    world.article()
    world.send()
    assert [len(mail) for mail in world.mails(new)] == [2, 2]


def test_without_readers_the_edition_is_skipped_with_the_reason(world: World) -> None:
    world.article()

    assert world.send().reason == "No active reader has chosen weekly."


def test_an_edition_is_skipped_when_everyone_is_being_sent_an_earlier_one(world: World) -> None:
    world.reader()
    world.article()
    world.freeze()
    world.take()
    world.tick(days=7)
    world.article()

    reason = world.freeze().reason

    assert reason == "An earlier edition is still on its way to every weekly reader."


def test_force_makes_an_edition_that_was_skipped(world: World) -> None:
    reader = world.reader()
    world.send()
    article = world.article()
    assert world.freeze().state == "skipped"

    assert world.freeze(force=True).state == "open"

    world.deliver()
    assert world.mails(reader) == [[article]]


def test_force_makes_no_second_edition(world: World) -> None:
    world.reader()
    world.article()
    world.send()
    world.article()

    assert world.freeze(force=True).accepted == 1
    assert len(world.mailings("weekly-2026-06-01")) == 1


def test_a_suppressed_address_is_not_in_the_audience(world: World) -> None:
    world.reader(address="never@example.org")
    world.reader()
    with sessions.writing(world.engine) as session:
        suppression.suppress(
            session,
            "never@example.org",
            grounds=Grounds(Cause.DEAD, "hard bounce", "a test"),
            now=world.now,
            keyring=world.settings.keyring(),
        )
    world.article()

    assert world.send().audience == 1


def test_a_reader_who_left_is_not_in_the_audience(world: World) -> None:
    world.leave(world.reader())
    world.reader()
    world.article()

    assert world.send().audience == 1


def test_one_missed_window_after_an_outage_makes_one_edition_for_the_newest_period(
    world: World,
) -> None:
    reader = world.reader("daily")
    world.article()
    world.send("daily")
    missed = []
    for _ in range(3):
        world.tick(days=1)
        missed.append(world.article())

    summary = world.send("daily")

    assert summary.edition == "daily-2026-06-04"
    assert world.mails(reader)[1:] == [missed[::-1]]


def test_an_article_edited_after_the_freeze_does_not_change_the_mailing(world: World) -> None:
    world.reader()
    article = world.article(title="As it was")
    world.freeze()
    (before,) = world.mailings("weekly-2026-06-01")
    with sessions.writing(world.engine) as session:
        session.execute(
            update(Article)
            .where(Article.id == article)
            .values(title="As it is", content_hash="e" * 64)
        )

    world.freeze()

    (after,) = world.mailings("weekly-2026-06-01")
    assert (after.subject, after.body, after.html) == (before.subject, before.body, before.html)
    assert b"As it was" in after.body
    with sessions.reading(world.engine) as session:
        (mailing,) = summaries.contents(session, store.by_slug(session, "weekly-2026-06-01"))
    assert [one.is_edited for one in mailing.articles] == [True]


def test_the_snapshot_records_each_article_its_role_and_its_hash(world: World) -> None:
    world.reader()
    old = world.article()
    world.send()
    world.tick(days=7)
    world.reader()
    world.articles(2)
    world.send()
    world.tick(days=7)
    world.articles(2)
    world.send()

    with sessions.reading(world.engine) as session:
        edition = store.by_slug(session, "weekly-2026-06-15")
        (mailing,) = summaries.contents(session, edition)

    assert [one.role for one in mailing.articles] == ["lead", "story", "related"]
    assert mailing.articles[-1].article_id == old
    assert [one.position for one in mailing.articles] == [1, 2, 3]
    assert not any(one.is_edited for one in mailing.articles)


def test_related_articles_are_earlier_ones_of_the_leads_subject_not_just_sent(
    world: World, mailing_articles: Callable[..., list[int]]
) -> None:
    world.reader()
    related = [world.article(categories=["Heart"]) for _ in range(2)]
    world.article(categories=["Lungs"])
    world.send()
    world.tick(days=7)
    world.article(categories=["Heart"])  # sent just before the edition under test
    world.send()
    world.tick(days=7)
    world.article(categories=["Heart", "Trials"])
    world.send()

    (mailing,) = world.mailings("weekly-2026-06-15")
    with sessions.reading(world.engine) as session:
        found = mailing_articles(session, mailing.id, Role.RELATED)

    assert sorted(found) == related


def test_a_publication_without_a_template_freezes_nothing(
    make_world: Callable[..., World], tmp_path: Path
) -> None:
    folder = tmp_path / "email" / "digest"
    folder.mkdir(parents=True)
    (folder / "subject.txt").write_text("{{ nothing.of.the.kind }}")
    world = make_world(templates=tmp_path)
    world.reader()
    world.article()

    with pytest.raises(RenderError):
        world.freeze()

    with sessions.reading(world.engine) as session:
        assert session.exec(select(Edition)).all() == []


def test_a_preview_is_the_mail_of_a_new_reader_and_changes_nothing(world: World) -> None:
    world.article(title="A headline to look at")

    rendered = publish.preview(
        world.engine, Cadence.WEEKLY, now=world.now, publication=world.publication
    )

    assert "A headline to look at" in rendered.text
    with sessions.reading(world.engine) as session:
        assert session.exec(select(Mailing)).all() == []


def test_a_preview_without_articles_says_what_to_do(world: World) -> None:
    with pytest.raises(NotFound) as caught:
        publish.preview(world.engine, Cadence.DAILY, now=world.now, publication=world.publication)

    assert "feeds fetch" in (caught.value.hint or "")


def test_the_frozen_message_carries_the_publications_links(world: World) -> None:
    world.reader()
    world.article()
    world.freeze()
    (mailing,) = world.mailings("weekly-2026-06-01")

    message = _filled(mailing)

    base = b"https://news.miasfeed.example"
    assert b"List-Unsubscribe: <" + base + b"/unsubscribe/TOKEN>," in message
    assert b"<mailto:digest@miasfeed.example?subject=unsubscribe%20TOKEN>" in message
    assert b"Feedback-ID: weekly-2026-06-01:weekly:digest:" in message
    assert b"List-Id: Mia's Feed <digest.miasfeed.example>" in message
    assert b"/preferences/" in message.replace(b"=\r\n", b"")
    view = world.settings.keyring().issue(Purpose.VIEW, mailing.public_id, 0)
    assert b"/view/" + view.encode() in message.replace(b"=\r\n", b"")


def _filled(mailing: Mailing) -> bytes:
    compiled = CompiledMessage.load(mailing.subject, mailing.body, mailing.fields)
    values = dict.fromkeys(Slot, "TOKEN") | {Slot.ADDRESS: "reader@example.org"}
    return filled(compiled, values)
