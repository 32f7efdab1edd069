"""An edition after its freeze: finished, stale, paused, resumed, cancelled, due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlmodel import select, update

from newsletter.cadences import Cadence
from newsletter.db import restore_guard
from newsletter.db import session as sessions
from newsletter.editions import correct, lifecycle, mailings, periods, restore, store, summaries
from newsletter.errors import Conflict, InvalidInput, NotFound
from newsletter.ledger import books
from newsletter.models import Delivery, FreezeLock, State
from newsletter.smtp.outcome import Kind
from newsletter.subscribers import forget, suppress
from newsletter.suppression import Cause, Grounds

if TYPE_CHECKING:
    from tests.integration.editions.conftest import World

WEEKLY = "weekly-2026-06-01"


def test_an_edition_is_finished_only_when_no_row_is_open(world: World) -> None:
    first, second = world.readers(2)
    world.article()
    world.freeze()
    world.record(world.take(limit=1))
    world.deliver({first: Kind.DEFERRED, second: Kind.DEFERRED})

    assert lifecycle.finish(world.engine, now=world.now) == []
    world.tick(hours=1)
    world.deliver()

    assert lifecycle.finish(world.engine, now=world.now) == [WEEKLY]
    assert lifecycle.finish(world.engine, now=world.now) == []
    assert world.summary(WEEKLY).state == "finished"


@pytest.mark.parametrize("ended", ["left", "paused", "suppressed", "forgotten", "came back"])
def test_what_is_held_is_not_let_go_to_those_who_have_left_since(world: World, ended: str) -> None:
    gone, stays = world.reader("weekly", "gone@example.org"), world.reader()
    world.article()
    world.send(outcomes={gone: Kind.UNKNOWN, stays: Kind.UNKNOWN})
    ids = held(world)
    with sessions.writing(world.engine) as session:
        keyring = world.settings.keyring()
        if ended == "suppressed":
            suppress.suppress(
                session,
                "gone@example.org",
                grounds=Grounds(Cause.OPERATOR, "no", "test"),
                now=world.now,
                keyring=keyring,
            )
        elif ended == "forgotten":
            forget.forget(session, "gone@example.org", now=world.now, keyring=keyring)
    if ended == "paused":
        world.pause_reader(gone)
    elif ended in {"left", "came back"}:
        world.leave(gone)
    if ended == "came back":
        world.reader("weekly", "gone@example.org")

    with sessions.writing(world.engine) as session:
        assert books.retry_now(session, ids=ids, now=world.now) == 1
        store.reopen(session)

    assert [claim.reference for claim in world.take()] == [stays]


def test_what_is_held_of_a_cancelled_edition_stays_held(world: World) -> None:
    reader, other = world.readers(2)
    first = world.article()
    world.freeze()
    world.record(world.take(limit=1), {reader: Kind.UNKNOWN, other: Kind.UNKNOWN})
    lifecycle.cancel(world.engine, WEEKLY, now=world.now, reason="A mistake.", actor="cli:mia")

    with sessions.writing(world.engine) as session:
        excluded = mailings.cancelled()
        assert books.retry_now(session, ids=held(world), now=world.now, excluded=excluded) == 0

    assert not world.summary(WEEKLY).is_open
    world.tick(days=7)
    second = world.article()
    assert world.send().audience == 2
    assert sorted(world.mails(reader) + world.mails(other)) == [[first], [second], [second, first]]


def held(world: World) -> list[int]:
    """Return the unknown deliveries."""
    with sessions.reading(world.engine) as session:
        found = session.exec(select(Delivery.id).where(Delivery.state == State.UNKNOWN))
        return [one for one in found if one is not None]


def test_a_stale_edition_is_given_up_and_its_readers_catch_up(world: World) -> None:
    had, missed = world.readers(2)
    first = world.article()
    world.send(outcomes={missed: Kind.DEFERRED})
    world.tick(days=6)
    assert lifecycle.expire(world.engine, now=world.now, times=world.settings.send_times) == []
    world.tick(days=1, hours=1)

    expired = lifecycle.expire(world.engine, now=world.now, times=world.settings.send_times)

    assert expired == [WEEKLY]
    summary = world.summary(WEEKLY)
    assert (summary.state, summary.accepted, summary.skipped) == ("finished", 1, 1)
    assert world.states(WEEKLY)[missed] == "skipped"
    second = world.article()
    world.send()
    assert world.mails(missed) == [[second, first]]
    assert world.mails(had) == [[first], [second]]


def test_what_is_leaving_while_its_edition_grows_stale_keeps_it_open(world: World) -> None:
    world.reader()
    world.article()
    world.freeze()
    held = world.take()
    world.tick(days=8)

    lifecycle.expire(world.engine, now=world.now, times=world.settings.send_times)

    assert world.summary(WEEKLY).state == "open"
    world.record(held)
    assert lifecycle.finish(world.engine, now=world.now) == [WEEKLY]
    assert world.summary(WEEKLY).accepted == 1


def test_no_worker_claims_from_a_paused_edition_until_it_is_resumed(world: World) -> None:
    world.readers(2)
    world.article()
    world.freeze()
    world.record(world.take(limit=1))

    assert lifecycle.pause(world.engine, WEEKLY, now=world.now, actor="cli:mia").state == "paused"
    assert world.take() == []
    assert lifecycle.finish(world.engine, now=world.now) == []
    assert lifecycle.resume(world.engine, WEEKLY, now=world.now, actor="cli:mia").state == "open"

    world.deliver()
    assert world.summary(WEEKLY).accepted == 2


def test_pausing_twice_is_pausing_once(world: World) -> None:
    world.reader()
    world.article()
    world.freeze()
    lifecycle.pause(world.engine, WEEKLY, now=world.now, actor="cli:mia")

    assert lifecycle.pause(world.engine, WEEKLY, now=world.now, actor="cli:mia").state == "paused"


def test_a_paused_edition_is_superseded_like_any_other(world: World) -> None:
    reader = world.reader()
    first = world.article()
    world.freeze()
    lifecycle.pause(world.engine, WEEKLY, now=world.now, actor="cli:mia")
    world.tick(days=7)
    second = world.article()

    world.send()

    assert world.mails(reader) == [[second, first]]
    assert world.summary(WEEKLY).state == "finished"


def test_a_cancelled_edition_stops_and_its_readers_catch_up(world: World) -> None:
    world.readers(3)
    first = world.article()
    world.freeze()
    world.record(world.take(limit=1))

    summary, _ = lifecycle.cancel(
        world.engine, WEEKLY, now=world.now, reason="A wrong headline.", actor="cli:mia"
    )

    assert (summary.state, summary.reason) == ("cancelled", "A wrong headline.")
    assert (summary.accepted, summary.cancelled) == (1, 2)
    assert world.take() == []
    world.tick(days=7)
    second = world.article()
    world.send()
    (had, *missed) = sorted(world.states(WEEKLY).items(), key=lambda one: one[1])
    assert had[1] == "accepted"
    assert world.mails(had[0]) == [[first], [second]]
    assert [world.mails(one) for one, _ in missed] == [[[second, first]]] * 2


def test_what_was_leaving_when_its_edition_was_cancelled_is_not_tried_again(world: World) -> None:
    reader = world.reader()
    world.article()
    world.freeze()
    held = world.take()
    lifecycle.cancel(
        world.engine, WEEKLY, now=world.now, reason="A wrong headline.", actor="cli:mia"
    )

    world.record(held, {reader: Kind.DEFERRED})

    world.tick(days=1)
    assert world.take() == []
    assert world.states(WEEKLY) == {reader: "cancelled"}


@pytest.mark.parametrize("act", ["pause", "resume", "cancel"])
def test_a_finished_edition_has_no_brakes(world: World, act: str) -> None:
    world.reader()
    world.article()
    world.send()
    acts: dict[str, Callable[[], object]] = {
        "pause": lambda: lifecycle.pause(world.engine, WEEKLY, now=world.now, actor="cli:mia"),
        "resume": lambda: lifecycle.resume(world.engine, WEEKLY, now=world.now, actor="cli:mia"),
        "cancel": lambda: lifecycle.cancel(
            world.engine, WEEKLY, now=world.now, reason="No.", actor="cli:mia"
        ),
    }

    with pytest.raises(Conflict, match="weekly-2026-06-01 is finished"):
        acts[act]()

    assert world.summary(WEEKLY).state == "finished"


def _corrected(world: World) -> int:
    article = world.article()
    world.send()
    notice = correct.notice(WEEKLY, str(article), "The dose is 5 mg.")
    return correct.enqueue(
        world.engine, notice, now=world.now, actor="cli:mia", publication=world.publication
    ).mailing_id


def _correction_states(world: World, mailing_id: int) -> set[str]:
    with sessions.reading(world.engine) as session:
        return set(
            session.exec(select(Delivery.state).where(Delivery.mailing_id == mailing_id)).all()
        )


def test_a_finished_editions_correction_can_be_cancelled(world: World) -> None:
    world.readers(3)
    correction = _corrected(world)

    summary, stopped = lifecycle.cancel(
        world.engine, WEEKLY, now=world.now, reason="No.", actor="cli:mia"
    )

    assert (summary.state, stopped) == ("finished", 3)
    assert _correction_states(world, correction) == {"cancelled"}
    with pytest.raises(Conflict, match="is finished"):
        lifecycle.cancel(world.engine, WEEKLY, now=world.now, reason="No.", actor="cli:mia")


def test_a_correction_waits_with_its_edition_and_not_for_a_cancelled_one(world: World) -> None:
    had, late = world.readers(2)
    article = world.article()
    world.send(outcomes={late: Kind.DEFERRED})
    notice = correct.notice(WEEKLY, str(article), "The dose is 5 mg.")
    lifecycle.pause(world.engine, WEEKLY, now=world.now, actor="cli:mia")
    correct.enqueue(
        world.engine, notice, now=world.now, actor="cli:mia", publication=world.publication
    )

    assert world.take() == []
    lifecycle.cancel(
        world.engine, WEEKLY, now=world.now, reason="A wrong headline.", actor="cli:mia"
    )
    other = correct.notice(WEEKLY, str(article), "It is 6 mg.")
    correct.enqueue(
        world.engine, other, now=world.now, actor="cli:mia", publication=world.publication
    )

    assert [claim.reference for claim in world.take()] == [had]


def test_nothing_of_a_restored_backup_grows_stale_before_it_is_known_for_one(
    world: World,
) -> None:
    """Its mail may have been sent: if skipped as stale, readers would get it twice."""
    late = world.reader()
    world.article()
    world.send(outcomes={late: Kind.DEFERRED})
    with sessions.writing(world.engine) as session:
        serial = restore_guard.advance(session, world.now)
    restore_guard.remember(world.engine, serial._replace(serial=serial.serial + 1))
    world.tick(days=15)

    with pytest.raises(Conflict, match="it seems to be a backup"):
        lifecycle.expire(world.engine, now=world.now, times=world.settings.send_times)

    assert world.states(WEEKLY) == {late: "deferred"}
    done = restore.accept(world.engine, now=world.now, publication=world.publication)
    assert done.unknown == 1


def test_an_edition_that_is_not_there_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        lifecycle.pause(world.engine, WEEKLY, now=world.now, actor="cli:mia")
    with pytest.raises(InvalidInput):
        lifecycle.pause(world.engine, "weekly", now=world.now, actor="cli:mia")


def test_due_is_what_was_not_made_and_is_not_too_late(world: World) -> None:
    world.reader()
    world.article()
    world.tick(hours=2)
    assert _due(world) == ["daily", "weekly", "monthly"]

    world.freeze()
    assert _due(world) == ["daily", "monthly"]

    world.tick(hours=4, minutes=1)
    assert _due(world) == []


def test_a_skipped_edition_is_not_due_again(world: World) -> None:
    world.freeze("daily")

    assert "daily" not in _due(world)


def test_a_fresh_install_never_surprises_readers_with_an_old_period(world: World) -> None:
    with sessions.writing(world.engine) as session:
        session.execute(update(FreezeLock).values(created_at=world.now + timedelta(minutes=1)))
    world.tick(hours=1)
    assert _due(world) == []

    world.tick(days=1)

    assert _due(world) == ["daily"]


def test_current_is_the_edition_of_the_newest_due_period(world: World) -> None:
    world.reader()
    world.article()
    assert _current(world) is None
    world.freeze()
    found = _current(world)
    assert found is not None
    assert found.edition == WEEKLY

    world.tick(days=7)

    assert _current(world) is None


def test_the_latest_editions_come_first(world: World) -> None:
    world.reader()
    for _ in range(3):
        world.article()
        world.send()
        world.freeze("daily")
        world.tick(days=7)

    with sessions.reading(world.engine) as session:
        weekly = summaries.recent(session, cadence=Cadence.WEEKLY, limit=2)
        everything = summaries.recent(session)

    assert [one.edition for one in weekly] == ["weekly-2026-06-15", "weekly-2026-06-08"]
    assert len(everything) == 6
    assert [one.accepted for one in weekly] == [1, 1]


def _due(world: World) -> list[str]:
    found = periods.due_editions(world.engine, now=world.now, publication=world.publication)
    return [one.cadence for one in found]


def _current(world: World) -> summaries.Summary | None:
    return periods.current(
        world.engine, Cadence.WEEKLY, now=world.now, publication=world.publication
    )
