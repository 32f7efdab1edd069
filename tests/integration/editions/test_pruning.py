"""Pruning deletes old rows, and changes neither the books nor any reader's mail."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import counts
import ledgers
import pytest
from sqlalchemy import Engine, event, func, update
from sqlmodel import col, select

from newsletter.db import session as sessions
from newsletter.editions import lifecycle, pruning, store, summaries
from newsletter.editions.pruning import Rows
from newsletter.errors import InvalidInput
from newsletter.ledger import books
from newsletter.models import Attempt, Delivery, State, Subscriber
from newsletter.smtp.outcome import Kind
from newsletter.subscribers import forget

if TYPE_CHECKING:
    from tests.integration.editions.conftest import World

FIRST, SECOND = "weekly-2026-06-01", "weekly-2026-06-08"
#: The fewest days with the settings of these tests, where catch_up_days is 62.
DAYS = 93


def prunable(world: World, days: int = DAYS) -> Rows:
    return pruning.prunable(
        world.engine, older_than=days, now=world.now, publication=world.publication
    )


def prune(world: World, days: int = DAYS, **how: Any) -> Rows:
    pruned = pruning.prune(world.engine, prunable(world, days), **how)
    world.check_books()
    return pruned


def weeks(world: World, number: int) -> None:
    """Advance by weeks, each with an article and an edition that everyone accepts."""
    for _ in range(number):
        world.tick(days=7)
        world.article()
        world.send()


def everything(world: World) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the summaries of all editions, and the readers' watermarks."""
    with sessions.reading(world.engine) as session:
        editions = [
            {
                **asdict(summary),
                "mailings": [
                    asdict(mailing)
                    for mailing in summaries.contents(
                        session, store.by_slug(session, summary.edition)
                    )
                ],
            }
            for summary in summaries.recent(session, limit=1_000)
        ]
        places = dict(session.exec(select(Subscriber.public_id, Subscriber.watermark)).all())
    return editions, places


def rows(world: World) -> int:
    with sessions.reading(world.engine) as session:
        return session.exec(select(func.count()).select_from(Delivery)).one()


def attempts(world: World) -> Counter[str]:
    """Count attempts by the state of the row that they were made for."""
    with sessions.reading(world.engine) as session:
        tried = select(Delivery.state).join(Attempt, col(Attempt.delivery_id) == Delivery.id)
        return Counter(session.exec(tried).all())


def held(world: World) -> int:
    with sessions.reading(world.engine) as session:
        found = session.exec(select(Delivery.id).where(Delivery.state == State.UNKNOWN)).one()
    assert found is not None
    return found


@pytest.fixture
def history(world: World) -> World:
    """Five editions, long ago; the second has two variants and every end there is.

    All but the last are settled.
    """
    _, missed = world.readers(2)
    world.article()
    world.send(outcomes={missed: Kind.REFUSED})
    refused, unknown, waiting, leaving, *_ = world.readers(7)
    world.tick(days=7)
    world.article()
    world.freeze()
    world.leave(leaving)
    world.deliver({refused: Kind.REFUSED, unknown: Kind.UNKNOWN, waiting: Kind.DEFERRED})
    weeks(world, 3)
    world.tick(days=100)
    return world


def test_the_books_say_after_it_what_they_said_before(history: World) -> None:
    before = everything(history)
    second = history.summary(SECOND)
    ends = (second.accepted, second.refused, second.skipped, second.cancelled, second.unknown)
    assert (ends, second.variants) == ((5, 1, 1, 1, 1), 2)
    standing = rows(history)

    pruned = prune(history)

    assert everything(history) == before
    assert pruned.editions == 4
    assert pruned.states.keys() == set(books.FINAL)
    assert pruned.states.total() == standing - rows(history)


def test_uncertain_rows_and_unsettled_editions_stay_with_their_attempts(history: World) -> None:
    last = "weekly-2026-06-29"
    newest = history.states(last)
    assert attempts(history) == {State.REFUSED: 2, State.UNKNOWN: 1, State.SKIPPED: 1}

    prune(history)

    assert list(history.states(SECOND).values()) == [State.UNKNOWN]
    assert history.states(FIRST) == {}
    assert history.states(last) == newest
    assert attempts(history) == {State.UNKNOWN: 1}


def test_an_uncertain_row_can_still_be_tried_again_and_goes_the_next_time(history: World) -> None:
    prune(history)
    before = history.summary(SECOND)
    with sessions.writing(history.engine) as session:
        assert books.retry_now(session, ids=[held(history)], now=history.now) == 1
        assert store.reopen(session) == [SECOND]

    assert prune(history).states == {}
    history.deliver()
    lifecycle.finish(history.engine, now=history.now)
    assert prune(history).states == {}
    weeks(history, 1)
    prune(history)

    after = history.summary(SECOND)
    assert (after.accepted, after.unknown) == (before.accepted + 1, 0)
    assert history.states(SECOND) == {}


def test_an_edition_with_an_open_row_stays_whole(world: World) -> None:
    world.readers(2)
    world.article()
    world.freeze()
    world.deliver(limit=1)
    lifecycle.pause(world.engine, FIRST, now=world.now, actor="cli:mia")
    # No later edition supersedes the open row.
    world.tick(days=200)
    world.freeze("daily")

    assert prune(world).states == {}
    assert sorted(world.states(FIRST).values()) == [State.ACCEPTED, State.QUEUED]


def test_letters_and_what_is_young_stay(world: World) -> None:
    ledgers.fill(world.engine, 3)
    with sessions.writing(world.engine) as session:
        session.execute(update(Delivery).values(state=State.ACCEPTED))
        counts.recount(session)
    world.reader()
    world.article()
    world.send()
    weeks(world, 2)
    with sessions.reading(world.engine) as session:
        end = store.by_slug(session, FIRST).coverage_end

    world.now = end + timedelta(days=DAYS)
    assert prune(world).states == {}
    world.tick(seconds=1)

    assert prune(world).states == {State.ACCEPTED: 1}
    assert rows(world) == 3 + 2


def test_too_few_days_are_refused_with_the_number_and_the_setting(world: World) -> None:
    with pytest.raises(InvalidInput, match="younger than 93 days") as caught:
        prunable(world, days=DAYS - 1)

    assert "catch_up_days (62)" in str(caught.value.hint)
    assert prunable(world, days=DAYS).states == {}


def test_a_reader_who_comes_back_gets_no_article_twice(world: World) -> None:
    stays, leaves, left = world.readers(3)
    world.article()
    world.send()
    world.leave(left)
    weeks(world, 20)
    before = {reader: dict(world.arrived(reader)) for reader in (stays, leaves, left)}
    assert [len(mails) for mails in before.values()] == [21, 21, 1]

    prune(world)
    assert world.mails(left) == []
    world.leave(leaves)
    for reader, cadence in ((leaves, "weekly"), (left, "monthly")):
        with world.subscriber(reader) as (_, subscriber):
            address = subscriber.address
        assert world.reader(cadence, address) == reader
    # Where a reader begins who moves before the first edition is looked up in these rows, too.
    world.move(left, "daily")
    weeks(world, 2)
    world.send("daily")

    for reader, mails in before.items():
        after = {of: mail for of, mail in world.arrived(reader) if of not in mails}
        assert after
        articles = [article for mail in (*mails.values(), *after.values()) for article in mail]
        assert len(articles) == len(set(articles))


def test_a_reader_whose_only_mail_was_pruned_begins_after_it(
    make_world: Callable[..., World],
) -> None:
    """With the shortest catch-up and the longest period, there is still a month between them."""
    world = make_world(catch_up_days=1)
    reader = world.reader("daily", "reader@example.org")
    had = world.article()
    world.send("daily")
    world.leave(reader)
    world.tick(hours=1)
    world.freeze("weekly")
    world.tick(days=32)
    assert prune(world, days=32).states == {State.ACCEPTED: 1}
    # The worker looks for more, as it does every second.
    assert world.take() == []

    world.reader("monthly", "reader@example.org")
    new = world.article()
    world.send("monthly")

    assert world.mails(reader) == [[new]]
    assert new != had


def test_a_prune_that_is_interrupted_is_finished_by_the_next_one(history: World) -> None:
    before, whole = everything(history), prunable(history).states

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune(history, batch=2, progress=interrupt)

    assert everything(history) == before
    assert prunable(history).states.total() == whole.total() - 2
    steps: list[int] = []
    rest = prune(history, batch=2, progress=steps.append)
    assert everything(history) == before
    assert steps == sorted(steps)
    assert steps[-1] == rest.states.total() == whole.total() - 2


def test_a_batch_that_fails_leaves_rows_and_counts_as_they_were(history: World) -> None:
    before, standing = everything(history), rows(history)

    def fail(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("UPDATE mailing"):
            raise ZeroDivisionError

    event.listen(history.engine, "before_cursor_execute", fail)
    with pytest.raises(ZeroDivisionError):
        prune(history)
    event.remove(history.engine, "before_cursor_execute", fail)

    assert rows(history) == standing
    assert everything(history) == before


def test_twice_is_nothing(history: World) -> None:
    found = prunable(history)
    prune(history)
    before = everything(history)

    assert prune(history) == Rows({}, found.edition_of)
    # Nor if another process has deleted the rows meanwhile.
    assert pruning.prune(history.engine, found).states == {}
    assert everything(history) == before


def test_two_at_once_count_nothing_twice_and_the_books_balance_all_the_while(
    history: World,
) -> None:
    before, found = everything(history), prunable(history)
    together = threading.Barrier(3)

    def run(_: int) -> Rows:
        together.wait()
        return pruning.prune(history.engine, found, batch=1)

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(run, number) for number in range(2)]
        together.wait()
        while not all(one.done() for one in running):
            assert everything(history) == before
        pruned = [one.result().states for one in running]

    assert sum(pruned, Counter()) == found.states
    assert everything(history) == before


def test_whose_rows_were_pruned_can_leave_and_be_forgotten(history: World) -> None:
    address = "forgotten@example.org"
    reader = history.reader(address=address)
    weeks(history, 2)
    history.tick(days=100)
    prune(history)
    assert history.mails(reader) == history.mails(reader)[-1:]
    history.leave(reader)

    with sessions.writing(history.engine) as session:
        forgotten = forget.forget(
            session, address, now=history.now, keyring=history.settings.keyring()
        )

    assert forgotten.deliveries == 1
    history.check_books()


def test_a_batch_costs_the_same_wherever_in_a_mailing_it_is(
    sqlite_engine: Engine, counting: Callable[..., Any]
) -> None:
    mailing_id = ledgers.fill(sqlite_engine, 20)
    with counting(sqlite_engine) as statements, sessions.writing(sqlite_engine) as session:
        books.prune(session, mailing_id=mailing_id, after="", limit=10)
        chosen = statements[-1]
        plan = session.connection().exec_driver_sql(
            f"EXPLAIN QUERY PLAN {chosen}", (mailing_id, "", *books.FINAL, 10, 0)
        )
        steps = [row.detail for row in plan]

    assert len(steps) == 1, steps
    assert steps[0].endswith("(mailing_id=? AND reference>?)")
