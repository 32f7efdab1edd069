"""The migration that moves what workers hold out of the deliveries keeps a stopped send."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import ledgers
import pytest
from alembic import command
from scripted_smtp import ScriptedServer, running
from sqlalchemy import Engine, select, text

from newsletter.db import schema, session
from newsletter.ledger import books
from newsletter.models import Attempt, Delivery, Mailing
from newsletter.sender import worker

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
#: Number of the reader, state, worker, reason.
ROWS = [
    (1, "accepted", None, None),
    (2, "queued", None, None),
    (3, "deferred", None, None),
    (4, "claimed", 7, None),
    (5, "in_flight", 7, None),
    (6, "in_flight", 7, "unsubscribed"),
    # Of a worker whose registration is gone.
    (7, "claimed", 8, None),
    (8, "in_flight", 8, None),
]


@pytest.fixture
def stopped(engine: Engine) -> Engine:
    """An edition half-way, in the form of the version before."""
    ledgers.fill(engine, len(ROWS))
    with engine.connect() as connection, connection.begin():
        config = schema._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0020")
    with engine.connect() as connection, connection.begin():
        connection.execute(
            text(
                "INSERT INTO worker (id, name, kind, host, pid, started_at, lease_until)"
                " VALUES (7, 'died', 'worker', 'elsewhere', 1, :at, :at),"
                " (9, 'pages', 'web', 'elsewhere', 1, :at, :at)"
            ),
            {"at": LONG_AGO},
        )
        for number, state, holder, reason in ROWS:
            connection.execute(
                text(
                    "UPDATE delivery SET state = :state, worker_id = :worker, reason = :reason"
                    " WHERE id = :id"
                ),
                {"state": state, "worker": holder, "reason": reason, "id": number},
            )
    return engine


def test_a_send_that_was_stopped_keeps_its_books(stopped: Engine) -> None:
    schema.upgrade(stopped)

    assert ledgers.states(stopped) == {
        "accepted": 1, "queued": 1, "deferred": 1, "claimed": 2, "in_flight": 3
    }  # fmt: skip
    with session.reading(stopped) as opened:
        counts = books.count_states(opened, select(Mailing.id))
    assert counts == ledgers.states(stopped)


def test_what_was_in_flight_is_uncertain_and_the_rest_is_sent_once(stopped: Engine) -> None:
    schema.upgrade(stopped)

    with running(ScriptedServer()) as server:
        worker.run(stopped, ledgers.plan(server.port))

    assert Counter(server.recipients()) == {
        f"reader{number}@example.com": 1 for number in (2, 3, 4, 5, 7, 8)
    }
    assert ledgers.states(stopped) == {"accepted": 7, "unknown": 1}
    with session.reading(stopped) as opened:
        uncertain = opened.execute(select(Attempt.delivery_id, Attempt.outcome)).all()
        held = opened.get(Delivery, 6)
    assert sorted(map(tuple, uncertain)) == [(5, "unknown"), (6, "unknown"), (8, "unknown")]
    assert held is not None
    assert (held.state, held.reason) == ("unknown", "unsubscribed")


def test_the_version_before_finds_what_was_held(stopped: Engine) -> None:
    schema.upgrade(stopped)
    with stopped.connect() as connection, connection.begin():
        config = schema._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0020")

    with stopped.connect() as connection:
        rows = connection.execute(
            text("SELECT id, state, worker_id, reason FROM delivery ORDER BY id")
        ).all()
    assert list(map(tuple, rows)) == ROWS
