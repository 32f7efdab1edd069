"""An announcement reaches the readers that were chosen, once, and no digest changes by it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from contextlib import suppress as suppress_errors
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import claimants
import histories
import pytest
from examples import examples
from freezing import meanwhile
from histories import CATCH_UP, History
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import col, select

from newsletter import audit
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.editions import (
    announce,
    announcements,
    archive,
    drafts,
    lifecycle,
    mailings,
    pruning,
    store,
)
from newsletter.editions import plan as planning
from newsletter.editions.announce import AnnouncementPlan, Text
from newsletter.editions.summaries import Summary
from newsletter.errors import Conflict, InvalidInput, NotFound
from newsletter.explain import page
from newsletter.explain import store as explaining
from newsletter.ledger import holding
from newsletter.ledger.reasons import Reason
from newsletter.models import (
    Announcement,
    Delivery,
    Edition,
    Kind,
    Mailing,
    MailingArticle,
    State,
    Subscriber,
)
from newsletter.sender.forecast import Capacity
from newsletter.sender.limits import Limits
from newsletter.settings import Settings
from newsletter.smtp import outcome
from newsletter.subscribers import forget, suppress
from newsletter.suppression import Cause, Grounds

if TYPE_CHECKING:
    from tests.integration.editions.conftest import World

FIRST = "extra-2026-06-01"


def text(words: str = "We move.", *, to: str = "all") -> Text:
    return announce.parse(words, audience=to, subject="News")


def freeze(world: World, said: Text | None = None, **more: Any) -> Summary:
    made = announce.freeze(
        world.engine,
        said or text(),
        now=world.now,
        publication=world.publication,
        actor="cli:mia",
        **more,
    )
    world.check_books()
    return made


def plan(world: World, said: Text | None = None) -> AnnouncementPlan:
    return announce.plan(
        world.engine,
        said or text(),
        now=world.now,
        publication=world.publication,
        capacity=Capacity(Limits.of(world.settings), connections=1),
    )


def left(found: AnnouncementPlan) -> dict[Reason, int]:
    return {one.reason: one.readers for one in found.without}


def ledger(world: World) -> tuple[Any, ...]:
    """Return everything that an announcement could have written."""
    with sessions.reading(world.engine) as session:
        return (
            session.exec(select(Edition.id)).all(),
            session.exec(select(Mailing.id)).all(),
            session.exec(select(Delivery.id)).all(),
            session.exec(select(Announcement.id)).all(),
            session.exec(select(Subscriber.public_id, Subscriber.status)).all(),
        )


# Who gets it


@pytest.mark.parametrize("to", ["all", "weekly", "daily"])
def test_those_who_can_be_mailed_get_it_and_the_others_are_counted_with_why(
    world: World, to: str
) -> None:
    weekly, daily = world.readers(7, "weekly"), world.readers(2, "daily")
    world.leave(weekly[0])
    world.pause_reader(weekly[1])
    world.pause_reader(weekly[2], days=1)
    with sessions.writing(world.engine) as session:
        address = session.exec(
            select(Subscriber.address).where(Subscriber.public_id == weekly[3])
        ).one()
        suppress.suppress(
            session,
            address,
            grounds=Grounds(Cause.OPERATOR, "asked by phone", source="a test"),
            now=world.now,
            keyring=world.settings.keyring(),
        )
    world.tick(days=2)

    before, planned = ledger(world), plan(world, text(to=to))

    assert ledger(world) == before
    gone = {Reason.UNSUBSCRIBED: 1, Reason.PAUSED: 1, Reason.SUPPRESSED: 1}
    assert left(planned) == ({} if to == "daily" else gone)
    made = freeze(world, text(to=to))
    assert asdict(made) == asdict(planned.summary)
    reached = {"weekly": {*weekly[2:3], *weekly[4:]}, "daily": {*daily}}
    reached["all"] = reached["weekly"] | reached["daily"]
    assert set(world.states(made.edition)) == reached[to]
    assert planned.domains.total() == len(reached[to])


def test_those_who_got_an_edition_get_it_and_nobody_else(world: World) -> None:
    had, refused, later = world.reader(), world.reader(), "weekly-2026-06-01"
    gone = world.reader()
    world.article()
    world.send(outcomes={refused: outcome.Kind.REFUSED})
    world.reader()
    with sessions.writing(world.engine) as session:
        address = session.exec(select(Subscriber.address).where(Subscriber.public_id == gone)).one()
        forget.forget(session, address, now=world.now, keyring=world.settings.keyring())
    world.move(had, "daily")

    planned = plan(world, text(to=later))
    made = freeze(world, text(to=later))

    assert left(planned) == {Reason.FORGOTTEN: 1}
    assert set(world.states(made.edition)) == {had}
    world.deliver()
    second = freeze(world, text("It was wrong.", to=made.edition))
    assert (second.edition, set(world.states(second.edition))) == ("extra-2-2026-06-01", {had})


def test_readers_to_whom_the_edition_is_still_to_be_sent_are_counted(world: World) -> None:
    world.readers(3)
    world.article()
    made = world.freeze()
    world.deliver(limit=1)

    planned = plan(world, text(to=made.edition))

    assert (planned.summary.audience, planned.coming) == (1, 2)


@pytest.mark.parametrize("to", ["all", "monthly", "weekly-2026-06-01"])
def test_what_nobody_would_get_is_not_made(world: World, to: str) -> None:
    world.leave(world.reader())
    world.article()
    world.freeze()
    before = ledger(world)

    with pytest.raises(Conflict, match="Nobody would get it"):
        freeze(world, text(to=to))

    assert ledger(world) == before


def test_an_edition_that_does_not_exist_is_said(world: World) -> None:
    world.reader()

    for act in (plan, freeze):
        with pytest.raises(NotFound, match="no edition weekly-2026-05-25"):
            act(world, text(to="weekly-2026-05-25"))


# Once


def test_the_same_text_to_the_same_readers_is_made_once(world: World) -> None:
    world.readers(2)

    first = freeze(world)
    world.deliver(limit=1)
    world.reader()
    world.tick(days=1)
    again = freeze(world)

    assert (again.edition, again.audience, again.accepted) == (first.edition, 2, 1)
    assert plan(world).is_made
    assert plan(world).summary == again
    assert freeze(world, text("We do not move.")).edition == "extra-2026-06-02"
    assert freeze(world, text(to="weekly")).edition == "extra-2-2026-06-02"


def test_two_who_announce_at_once_make_one(world: World) -> None:
    world.readers(3)

    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: freeze(world), range(2)))

    assert {one.edition for one in made} == {FIRST}
    with sessions.reading(world.engine) as session:
        assert len(session.exec(select(Delivery)).all()) == 3
        assert len(session.exec(select(Announcement)).all()) == 1


def test_its_mail_is_frozen_and_the_page_shows_it(world: World) -> None:
    reader = world.reader()
    made = freeze(world, text("We move to **B**."))
    (mailing,) = world.mailings(made.edition)

    assert (mailing.kind, mailing.subject) == (Kind.ANNOUNCEMENT, "News")
    with sessions.reading(world.engine) as session:
        assert "<strong>B</strong>" in archive.page(session, mailing.public_id)
        assert archive.listing(session, limit=10) == []
        assert archive.latest(session) is None
        with pytest.raises(NotFound):
            archive.by_slug(session, made.edition)
        assert not session.exec(select(MailingArticle)).all()
    assert world.states(made.edition) == {reader: "queued"}


def test_who_announced_it_is_recorded(world: World) -> None:
    world.reader()
    made = freeze(world)
    freeze(world)

    with sessions.reading(world.engine) as session:
        (row,) = audit.of(session, [f"edition:{made.edition}"])
    assert (row.actor, row.action, row.detail, row.after) == (
        "cli:mia",
        "announce.send",
        "News",
        "to all",
    )


# On its way


def test_a_reader_who_leaves_or_pauses_meanwhile_does_not_get_it(world: World) -> None:
    leaves, pauses, stays = world.readers(3)
    made = freeze(world)
    world.leave(leaves)
    world.pause_reader(pauses)
    world.deliver()

    assert world.states(made.edition) == {
        leaves: "cancelled",
        pauses: "cancelled",
        stays: "accepted",
    }
    assert lifecycle.finish(world.engine, now=world.now) == [made.edition]


def test_a_run_of_cron_would_go_on_with_it(world: World) -> None:
    world.readers(2)
    made = freeze(world)
    world.deliver(limit=1)

    planned = planning.due(
        world.engine,
        now=world.now,
        publication=world.publication,
        capacity=Capacity(Limits.of(world.settings), connections=1),
    )

    (one,) = (one for one in planned if one.is_made)
    assert (one.summary.edition, one.due_at) == (made.edition, world.now)


def test_it_can_be_paused_resumed_and_cancelled(world: World) -> None:
    world.readers(3)
    made = freeze(world)
    lifecycle.pause(world.engine, made.edition, now=world.now, actor="cli:mia")
    world.deliver()
    assert world.summary(made.edition).queued == 3
    lifecycle.resume(world.engine, made.edition, now=world.now, actor="cli:mia")
    world.deliver(limit=1)

    cancelled, _ = lifecycle.cancel(
        world.engine, made.edition, now=world.now, reason="It was wrong.", actor="cli:mia"
    )

    assert (cancelled.state, cancelled.accepted, cancelled.cancelled) == ("cancelled", 1, 2)
    # The same text is not sent after all by another run.
    assert freeze(world).state == "cancelled"


def test_what_could_not_be_sent_for_a_week_is_given_up(world: World) -> None:
    reader = world.reader()
    made = freeze(world)
    world.deliver({reader: outcome.Kind.DEFERRED})
    times = world.settings.send_times
    world.tick(days=7)
    assert lifecycle.expire(world.engine, now=world.now, times=times) == []

    world.tick(minutes=1)

    assert lifecycle.expire(world.engine, now=world.now, times=times) == [made.edition]
    assert world.summary(made.edition).state == "finished"
    assert world.states(made.edition) == {reader: "skipped"}


def test_an_uncertain_one_can_be_sent_again(world: World) -> None:
    reader = world.reader()
    made = freeze(world)
    world.deliver({reader: outcome.Kind.UNKNOWN})
    lifecycle.finish(world.engine, now=world.now)

    asked, retried = lifecycle.retry(
        world.engine,
        ids=(),
        state=State.UNKNOWN,
        edition=made.edition,
        actor="cli:mia",
        now=world.now,
        times=world.settings.send_times,
    )

    assert (asked, retried, world.summary(made.edition).state) == (1, 1, "open")
    world.deliver()
    assert world.states(made.edition) == {reader: "accepted"}
    with sessions.reading(world.engine) as session:
        assert store.by_slug(session, made.edition).settled_at is not None


def test_its_rows_are_pruned_and_it_is_not_sent_again(world: World) -> None:
    world.readers(2)
    made = freeze(world)
    world.deliver()
    lifecycle.finish(world.engine, now=world.now)
    world.tick(days=94)

    found = pruning.prunable(
        world.engine, older_than=93, now=world.now, publication=world.publication
    )
    pruning.prune(world.engine, found)

    assert found.editions == 1
    assert world.summary(made.edition).accepted == 2
    assert freeze(world).accepted == 2
    assert plan(world, text("Another.", to=made.edition)).pruned == 2
    with pytest.raises(Conflict, match="Nobody would get it"):
        freeze(world, text("Another.", to=made.edition))


# What is said of it


def explained(world: World, reference: str, edition: str | None = None) -> page.Page:
    with sessions.reading(world.engine) as session:
        address = session.exec(
            select(Subscriber.address).where(Subscriber.public_id == reference)
        ).one()
        facts = explaining.read(
            session,
            address,
            publication=world.publication,
            limits=Limits.of(world.settings),
            now=world.now,
            edition=store.by_slug(session, edition) if edition else None,
        )
    return page.about(facts) if edition else page.of(facts)


def test_the_page_of_a_reader_names_it_and_still_says_why_they_got_no_digest(world: World) -> None:
    reader = world.reader("weekly")
    world.article()
    world.send("weekly", {reader: outcome.Kind.REFUSED})
    world.tick(hours=1)
    made = freeze(world)
    world.deliver()

    said = explained(world, reader)

    assert "weekly-2026-06-01: refused for good" in " ".join(said.answer)
    (entry,) = (one for one in said.entries if one.name == made.edition)
    assert entry.sentence.startswith("the mail server took it")


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("daily", "the reader had chosen another cadence, weekly"),
        ("daily-2026-06-01", "it was for those who got another edition, daily-2026-06-01"),
        ("all", "the reader had unsubscribed"),
    ],
)
def test_why_a_reader_did_not_get_it_is_said(world: World, to: str, why: str) -> None:
    reader, other = world.reader("weekly"), world.reader("daily")
    world.article()
    world.send("daily")
    if to == "all":
        world.leave(reader)
    made = freeze(world, text(to=to))

    assert why in explained(world, reader, made.edition).answer[0]
    assert "is due since" in explained(world, other, made.edition).answer[0]


# Drafts


def save(world: World, words: str, number: int | None = None, **more: Any) -> int:
    said = {"subject": "News", "audience": "all"} | more
    return drafts.save(
        world.engine, number=number, text=words, now=world.now, actor="desk:mia", **said
    )


def test_a_draft_is_kept_changed_and_sent_as_what_it_then_is(world: World) -> None:
    world.readers(2)
    number = save(world, "", subject="")
    with sessions.reading(world.engine) as session:
        (draft,) = announcements.drafts(session, limit=9)
    with pytest.raises(InvalidInput):
        drafts.complete(draft)
    assert save(world, "We move.", number, audience="weekly") == number
    with sessions.reading(world.engine) as session:
        said = drafts.complete(announcements.by_id(session, number))

    made = freeze(world, said, draft=number)

    assert said == text(to="weekly")
    assert freeze(world, said, draft=number).edition == made.edition
    with sessions.reading(world.engine) as session:
        assert announcements.drafts(session, limit=9) == []
        ((sent, edition),) = announcements.sent(session, limit=10)
        assert (sent.id, edition.name) == (number, made.edition)
    for act in (save, lambda *_: discard(world, number)):
        with pytest.raises(Conflict, match="was sent"):
            act(world, "Another.", number)


def discard(world: World, number: int) -> None:
    drafts.discard(world.engine, number, now=world.now, actor="desk:mia")


def test_a_draft_of_what_was_sent_already_is_refused(world: World) -> None:
    world.reader()
    made = freeze(world)
    number = save(world, "We move.")

    with pytest.raises(Conflict, match=made.edition):
        freeze(world, text(), draft=number)

    discard(world, number)
    with pytest.raises(NotFound):
        discard(world, number)


def test_each_change_of_a_draft_is_recorded_and_no_save_of_the_same(world: World) -> None:
    number = save(world, "One.")
    save(world, "One.", number)
    save(world, "Two.", number)
    discard(world, number)

    with sessions.reading(world.engine) as session:
        rows = audit.of(session, [f"announcement:{number}"])
    assert [(row.action, row.actor, row.before, row.after) for row in rows] == [
        ("announce.write", "desk:mia", "", "One."),
        ("announce.change", "desk:mia", "One.", "Two."),
        ("announce.discard", "desk:mia", "Two.", ""),
    ]


def test_a_draft_that_is_saved_while_it_is_sent_stays_as_it_was_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.reader()
    number = save(world, "We move.")

    def change() -> None:
        with pytest.raises(Conflict, match="was sent"):
            save(world, "Another.", number)

    with meanwhile(monkeypatch, change, step="announcement"):
        made = freeze(world, text(), draft=number)

    with sessions.reading(world.engine) as session:
        stored = announcements.by_id(session, number)
        assert (stored.text, store.by_slug(session, made.edition).id) == (
            "We move.",
            stored.edition_id,
        )


# No digest changes


@pytest.fixture
def quick(tmp_path: Path, settings: Callable[..., Settings]) -> Settings:
    """Settings with templates that are quickly rendered."""
    return settings(
        templates=histories.quick_templates(tmp_path),
        catch_up_days=CATCH_UP.days,
        catch_up_articles=500,
    )


@examples(
    4,
    many=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    plan=st.lists(histories.steps, min_size=8, max_size=20),
    at=st.sets(st.integers(0, 20), min_size=2, max_size=6),
)
def test_an_announcement_within_a_history_changes_no_digest_no_watermark_and_no_plan(
    plan: list[tuple[Any, ...]],
    at: set[int],
    quick: Settings,
    fresh: Callable[[], AbstractContextManager[Engine]],
    open_world: Callable[..., World],
) -> None:
    with fresh() as opened:
        history = History(open_world(opened, quick), "hold")
        for number, step in enumerate(plan):
            if number in at:
                before = digests(history.world)
                announce_and_end(history, number)
                assert digests(history.world) == before
            history.do(*step)


def announce_and_end(history: History, number: int) -> None:
    """Announce something, with another outcome for each mail, and cancel what is left."""
    world, kinds = history.world, list(outcome.Kind)
    said = ("all", "weekly", "daily", "newest")[number % 4]
    with suppress_errors(Conflict, NotFound):
        history.announce(said)
        with sessions.reading(world.engine) as session:
            ((_, edition),) = announcements.sent(session, limit=1)
        claims = claimants.claim(
            world.engine, 2, limit=4, now=world.now, mailings=mailings.of(edition)
        )
        claimants.mark(world.engine, [claim.id for claim in claims], 2, now=world.now)
        fates = {one.reference: kinds[n % len(kinds)] for n, one in enumerate(claims)}
        world.record(claims, fates, worker=2)
        lifecycle.cancel(
            world.engine, edition.name, now=world.now, reason="A test.", actor="cli:mia"
        )


def digests(world: World) -> tuple[Any, ...]:
    """Return the digests, their deliveries, the readers' watermarks, and the next digests."""
    upcoming = planning.upcoming(
        world.engine,
        list(Cadence),
        now=world.now,
        publication=world.publication,
        capacity=Capacity(Limits.of(world.settings), connections=1),
    )
    rows = select(Delivery.id, holding.state(), Delivery.reason, Delivery.due_at).join(
        Mailing, col(Mailing.id) == Delivery.mailing_id
    )
    with sessions.reading(world.engine) as session:
        return (
            [one.model_dump() for one in session.exec(select(Edition).where(store.is_digest()))],
            session.exec(rows.where(Mailing.kind == Kind.DIGEST).order_by(Delivery.id)).all(),
            session.exec(select(Subscriber.id, Subscriber.watermark)).all(),
            [(one.summary, one.without, one.domains) for one in upcoming],
            [
                (mail.subject, mail.readers, [to_second(at) for at in mail.starts], mail.articles)
                for one in upcoming
                for mail in one.mailings
            ],
        )


def to_second(instant: datetime) -> str:
    """Return an instant to the second: each action under the freeze lock has one of its own."""
    return f"{instant:%Y-%m-%d %H:%M:%S}"
