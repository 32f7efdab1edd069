"""The migration that begins to keep counts counts all that is there, pruned rows included."""

from __future__ import annotations

from datetime import timedelta

import counts
import ledgers
from alembic import command
from ledgers import NOW
from sqlalchemy import Engine, select, text
from sqlmodel import col

from newsletter import suppression, tally
from newsletter.cadences import Cadence
from newsletter.db import schema
from newsletter.db import session as sessions
from newsletter.ledger import books, reports
from newsletter.models import Cause, Mailing, State, Status
from newsletter.subscribers import store
from newsletter.suppression import Grounds
from newsletter.tokens import Keyring

_STATES = ("accepted", "accepted", "accepted", "refused", "skipped", "unknown", "deferred")


def test_what_was_there_before_is_counted(engine: Engine) -> None:
    mailing = ledgers.fill(engine, 8)
    with sessions.writing(engine) as session:
        for number, state in enumerate(_STATES, start=1):
            session.execute(
                text("UPDATE delivery SET state = :state WHERE id = :id"),
                {"state": state, "id": number},
            )
        books.prune(session, mailing_id=mailing, after="", limit=4)
        columns = {
            "public_id": [f"reader{number:010}" for number in range(3)],
            "address": [f"reader{number}@x.org" for number in range(3)],
            "cadence": ["daily", "daily", "weekly"],
        }
        store.insert_missing(session, columns, status=Status.ACTIVE, now=NOW)
        suppression.suppress(
            session,
            "ann@x.org",
            grounds=Grounds(Cause.COMPLAINT, "A test.", "a test"),
            now=NOW,
            keyring=Keyring([ledgers.SECRET]),
        )
        reports.add_unplaced(session, [_report("bounce"), _report("other")])

    with engine.connect() as connection, connection.begin():
        config = schema._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0024")
    schema.upgrade(engine)

    with sessions.reading(engine) as session:
        assert books.count_states(session, select(col(Mailing.id))) == {
            State.ACCEPTED: 3,
            State.REFUSED: 1,
            State.SKIPPED: 1,
            State.UNKNOWN: 1,
            State.DEFERRED: 1,
            State.QUEUED: 1,
        }
        assert books.ended(session)["digest", State.UNKNOWN] == 1
        assert tally.readers(session) == {
            (Cadence.DAILY, Status.ACTIVE): 2,
            (Cadence.WEEKLY, Status.ACTIVE): 1,
        }
        assert tally.suppressions(session) == {"complaint": 1}
        assert tally.reports(session) == {("mail", "bounce"): 1, ("mail", "other"): 1}
        assert tally.unplaced_reports(session) == {"mail": 2}
    counts.assert_counts_are_true(engine)
    with sessions.writing(engine) as session:
        assert tally.correct(session, now=NOW) == []


def _report(kind: str) -> dict[str, object]:
    return {
        "delivery_id": None, "mailing_id": None, "source": "mail", "kind": kind,
        "verdict": "other", "recipient": "", "code": None, "enhanced": None, "phase": None,
        "reply": None, "reason": None, "is_void": True, "at": NOW - timedelta(days=1),
    }  # fmt: skip
