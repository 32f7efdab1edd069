"""Growth from counts that use cases keep, and from those that the migration makes of their rows."""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta

import counts
import pytest
from alembic import command
from readers import NOW, Readers
from sqlalchemy import Engine
from sqlmodel import Session

from newsletter.cadences import Cadence
from newsletter.db import schema
from newsletter.db import session as sessions
from newsletter.models import Status, Subscriber
from newsletter.subscribers import (
    forget,
    growth,
    locking,
    preferences,
    suppress,
    unconfirmed,
    unsubscribe,
)
from newsletter.subscribers.consent import ONE_CLICK, Origin
from newsletter.subscribers.growth import Growth
from newsletter.suppression import Cause, Grounds

DAYS = [NOW + timedelta(n) for n in range(6)]
TODAY = DAYS[-1].date()


@pytest.fixture
def readers(engine: Engine) -> Readers:
    return Readers(engine)


def live(readers: Readers) -> None:
    """Six days: four readers come, and each does something else."""
    for name in ("ann", "bob", "cy", "dee"):
        readers.add(f"{name}@x.org", Cadence.WEEKLY, now=DAYS[0])
    with sessions.writing(readers.engine) as session:
        row = {"public_id": "reader0000000009", "address": "eve@x.org", "cadence": "daily"}
        locking.inserted_subscriber(session, row, now=DAYS[1], ends=False)
    _leave(readers, "ann@x.org", "unsubscribe link", DAYS[2])
    _leave(readers, "bob@x.org", ONE_CLICK, DAYS[2])
    readers.add("ann@x.org", Cadence.DAILY, again=True, now=DAYS[3])

    def slow_down(session: Session, reader: Subscriber) -> bool:
        origin = Origin("preferences page")
        return preferences.change_cadence(
            session, reader, Cadence.MONTHLY, origin=origin, now=DAYS[3]
        )

    readers.change("cy@x.org", slow_down)
    for address, cause in (("cy@x.org", Cause.COMPLAINT), ("dee@x.org", Cause.BOUNCE)):
        with sessions.writing(readers.engine) as session:
            grounds = Grounds(cause, "said", "report mail")
            suppress.suppress(
                session, address, grounds=grounds, now=DAYS[4], keyring=readers.keyring
            )


def _leave(readers: Readers, address: str, source: str, now: datetime) -> None:
    reader = readers.get(address)
    with sessions.writing(readers.engine) as session:
        unsubscribe.unsubscribe(
            session, reader.public_id, generation=None, origin=Origin(source), now=now
        )


def found(engine: Engine, days: int | None = None) -> Growth:
    with sessions.snapshot(engine) as session:
        return growth.find(session, days=days, today=TODAY)


def test_days_have_the_readers_and_events_of_what_happened(readers: Readers) -> None:
    live(readers)

    seen = found(readers.engine)

    active = [[step.count(Status.ACTIVE, one) for one in Cadence] for step in seen.steps]
    assert active == [[0, 4, 0], [0, 4, 0], [0, 2, 0], [1, 1, 1], [1, 0, 0], [1, 0, 0]]
    assert [step.count(Status.PENDING) for step in seen.steps] == [0, 1, 1, 1, 1, 1]
    assert [step.events for step in seen.steps] == [
        {"added": 4},
        {},
        {"unsubscribed link": 1, "unsubscribed one-click": 1},
        {"added": 1, "cadence": 1},
        {"suppressed complaint": 1, "suppressed bounce": 1},
        {},
    ]
    assert seen.before == {}


def test_a_span_of_days_begins_with_the_readers_before_it(readers: Readers) -> None:
    live(readers)

    seen = found(readers.engine, days=2)

    assert [step.begins for step in seen.steps] == [DAYS[4].date(), TODAY]
    assert seen.before["monthly active"] == 1


def test_a_reader_who_is_forgotten_was_one_until_then(readers: Readers) -> None:
    live(readers)
    with sessions.writing(readers.engine) as session:
        forget.forget(session, "ann@x.org", now=DAYS[5], keyring=readers.keyring)

    *_, before, last = found(readers.engine).steps

    assert (before.count(Status.ACTIVE), last.count(Status.ACTIVE)) == (1, 0)
    assert last.events == {"forgotten": 1}


def test_one_who_never_confirms_is_gone_again(readers: Readers) -> None:
    with sessions.writing(readers.engine) as session:
        row = {"public_id": "reader0000000009", "address": "eve@x.org", "cadence": "daily"}
        locking.inserted_subscriber(session, row, now=NOW - timedelta(40), ends=False)
    unconfirmed.delete(readers.engine, now=DAYS[5])

    seen = found(readers.engine)

    assert [step.count(Status.PENDING) for step in seen.steps[-2:]] == [1, 0]
    assert seen.steps[0].begins == (NOW - timedelta(40)).date()


def test_the_migration_counts_the_same_from_the_rows_that_are_there(readers: Readers) -> None:
    live(readers)
    before = found(readers.engine)
    with readers.engine.connect() as connection, connection.begin():
        config = schema._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0027")

    schema.upgrade(readers.engine)

    after = found(readers.engine)
    assert [step.events for step in after.steps] == [step.events for step in before.steps]
    # A reader without consents, as after a test, is dated by their row.
    assert after.steps == before.steps
    assert after.exact_since is not None


def test_folding_leaves_a_row_for_each_key_of_a_day(readers: Readers) -> None:
    from newsletter import tally

    live(readers)
    before = found(readers.engine)
    with sessions.writing(readers.engine) as session:
        tally.fold(session)

    assert found(readers.engine) == before
    with sessions.reading(readers.engine) as session:
        rows = session.connection().exec_driver_sql(
            "SELECT count(*) FROM tally WHERE name IN ('day', 'event')"
        )
        kept = sum(len(step.events) for step in before.steps)
        assert rows.scalar_one() <= kept + 12


def test_readers_changed_by_hand_are_of_the_day_of_the_correction(readers: Readers) -> None:
    from newsletter import tally

    live(readers)
    with sessions.writing(readers.engine) as session:
        session.connection().exec_driver_sql(
            "UPDATE subscriber SET status = 'paused' WHERE address = 'ann@x.org'"
        )
        wrong = tally.correct(session, now=DAYS[5])

    assert {one.name for one in wrong} == {"reader", "day"}
    *_, before, last = found(readers.engine).steps
    assert (before.count(Status.PAUSED), last.count(Status.PAUSED)) == (0, 1)
    counts.assert_counts_are_true(readers.engine)


def test_a_database_without_readers_has_one_empty_day(engine: Engine) -> None:
    (step,) = found(engine, days=90).steps

    assert (step.begins, step.ends, step.readers, step.events) == (TODAY, TODAY, {}, {})


def test_a_change_is_dated_by_the_day_in_utc() -> None:
    from datetime import timezone

    from newsletter.tally import of_day_key

    tokyo = datetime(2026, 12, 1, 8, tzinfo=timezone(timedelta(hours=9)))
    assert of_day_key(tokyo, "confirmed") == f"{date(2026, 11, 30)} confirmed"


def test_a_source_is_counted_as_the_way_of_a_goodbye() -> None:
    from newsletter.subscribers.consent import Action, event

    sources = ("api", "import a.csv", "ses event", "unsubscribe mail", "command line", "desk Mia")
    ways = [event(Action.UNSUBSCRIBED, Origin(one)).split()[1] for one in sources]
    assert ways == ["api", "import", "mail", "mail", "operator", "operator"]
    for action, cause in itertools.product(Action, [None, *Cause]):
        key = event(action, Origin("x", cause=cause))
        assert len(f"2026-12-01 {key}") <= 40
