"""A database that knows less than its witness is a restored backup; any other is not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import ledgers
import pytest
from scripted_smtp import ScriptedServer, running
from sqlalchemy import Engine, update

from newsletter.clock import utc_now
from newsletter.db import engine as engines
from newsletter.db import schema, witness
from newsletter.db import session as sessions
from newsletter.delivery import worker
from newsletter.errors import Conflict
from newsletter.models import Progress


def go_back(engine: Engine, **by: float) -> None:
    """Have the database know what it knew then, as a restored backup does."""
    with sessions.writing(engine) as session:
        session.execute(update(Progress).values(worked_until=utc_now() - timedelta(**by)))


def send(engine: Engine) -> None:
    with running(ScriptedServer()) as server:
        worker.run(engine, ledgers.plan(server.port))


def test_what_is_restored_sends_nothing(engine: Engine) -> None:
    ledgers.fill(engine, 3)
    send(engine)
    ledgers.fill(engine, 3, public_id="mailing000000002")
    go_back(engine, hours=5)

    with pytest.raises(Conflict, match="it seems to be a backup that was restored") as refused:
        send(engine)

    assert "newsletter database restored" in (refused.value.hint or "")
    assert ledgers.states(engine) == {"accepted": 3, "queued": 3}


def test_one_that_is_accepted_goes_on(engine: Engine) -> None:
    ledgers.fill(engine, 3)
    send(engine)
    ledgers.fill(engine, 3, public_id="mailing000000002")
    go_back(engine, hours=5)

    with sessions.writing(engine) as session:
        worked_until = witness.accept(session, engine, utc_now())
    witness.remember(engine, worked_until)
    send(engine)

    assert ledgers.states(engine) == {"accepted": 6}


def test_a_clock_that_is_set_back_makes_no_backup_of_a_database(engine: Engine) -> None:
    with sessions.writing(engine) as session:
        later = witness.advance(session, utc_now() + timedelta(days=2))
    witness.remember(engine, later)

    ledgers.fill(engine, 3)
    send(engine)
    send(engine)

    assert ledgers.states(engine) == {"accepted": 3}


@pytest.mark.parametrize("content", ["", "yesterday", "\x00" * 50, "2026-11-23T07:00:00"])
def test_a_witness_that_makes_no_sense_is_none(sqlite_engine: Engine, content: str) -> None:
    Path(f"{sqlite_engine.url.database}-sent").write_text(content)

    assert witness.recall(sqlite_engine) is None
    ledgers.fill(sqlite_engine, 1)
    send(sqlite_engine)


def test_a_new_database_has_no_witness_of_the_one_before(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    (tmp_path / "new.db-sent").write_text("2030-01-01T00:00:00+00:00")
    engine = engines.open(url)
    schema.upgrade(engine)

    with sessions.reading(engine) as session:
        witness.check(session, engine)
    engine.dispose()
