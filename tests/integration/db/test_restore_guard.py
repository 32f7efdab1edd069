"""A database behind its restore guard is a restored backup; any other is not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import ledgers
import pytest
from scripted_smtp import ScriptedServer, running
from sqlalchemy import Engine, update

from newsletter.clock import utc_now
from newsletter.db import engine as engines
from newsletter.db import restore_guard, schema
from newsletter.db import session as sessions
from newsletter.db.restore_guard import Restored
from newsletter.errors import Conflict
from newsletter.models import Progress
from newsletter.sender import worker


def go_back(engine: Engine) -> None:
    """Set the database's serial back, as a restored backup has it."""
    with sessions.writing(engine) as session:
        session.execute(update(Progress).values(serial=Progress.serial - 1))


def send(engine: Engine) -> None:
    with running(ScriptedServer()) as server:
        worker.run(engine, ledgers.plan(server.port))


def test_a_restored_backup_sends_nothing(engine: Engine) -> None:
    ledgers.fill(engine, 3)
    send(engine)
    ledgers.fill(engine, 3, public_id="mailing000000002")
    go_back(engine)

    with pytest.raises(Conflict, match="it seems to be a backup that was restored") as refused:
        send(engine)

    assert "newsletter database restored" in (refused.value.hint or "")
    assert ledgers.states(engine) == {"accepted": 3, "queued": 3}


def test_an_accepted_backup_is_current(engine: Engine) -> None:
    ledgers.fill(engine, 3)
    send(engine)
    ledgers.fill(engine, 3, public_id="mailing000000002")
    go_back(engine)

    with restore_guard.sending(engine, Restored.ACCEPTED, advance_at=utc_now()):
        pass
    send(engine)

    assert ledgers.states(engine) == {"accepted": 6}


def test_a_clock_that_was_ahead_does_not_confuse_the_guard(
    engine: Engine,
) -> None:
    with restore_guard.sending(engine, advance_at=utc_now() + timedelta(days=365)):
        pass

    ledgers.fill(engine, 3)
    send(engine)
    send(engine)
    assert ledgers.states(engine) == {"accepted": 3}

    go_back(engine)
    with pytest.raises(Conflict):
        send(engine)


def test_a_slower_worker_does_not_lower_the_serial_in_the_file(engine: Engine) -> None:
    with sessions.writing(engine) as session:
        first = restore_guard.advance(session, utc_now())
    with sessions.writing(engine) as session:
        second = restore_guard.advance(session, utc_now())

    restore_guard.remember(engine, second)
    restore_guard.remember(engine, first)

    assert restore_guard.recall(engine) == second


@pytest.mark.parametrize(
    "content",
    [
        "",
        "yesterday",
        "\x00" * 50,
        "2026-11-23T07:00:00+00:00",
        "5 2026-11-23T07:00:00",
        f"{10**40} 2026-11-23T07:00:00+00:00",
        "-1 2026-11-23T07:00:00+00:00",
    ],
)
def test_an_invalid_file_counts_as_missing(sqlite_engine: Engine, content: str) -> None:
    Path(f"{sqlite_engine.url.database}-sent").write_text(content)

    assert restore_guard.recall(sqlite_engine) is None
    ledgers.fill(sqlite_engine, 1)
    send(sqlite_engine)


def test_a_new_database_removes_the_file_of_the_one_before(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    (tmp_path / "new.db-sent").write_text("7 2030-01-01T00:00:00+00:00")
    engine = engines.open(url)
    schema.upgrade(engine)

    with sessions.reading(engine) as session:
        restore_guard.check(session, engine)
    engine.dispose()
