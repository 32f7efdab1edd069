"""What is particular to SQLite: failed commits, and the size of its statements."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import counts
import pytest
import readers
from sqlalchemy import Connection, Engine, event, text

from newsletter.db import dialects
from newsletter.db import session as sessions
from newsletter.errors import DatabaseUnavailable
from newsletter.models import Suppression


def test_after_a_commit_that_failed_the_next_transaction_begins_anew(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    change = text("UPDATE progress SET serial = serial + 1")
    with closing(sessions.Writer(sqlite_engine)) as writer:
        with monkeypatch.context() as broken:
            broken.setattr(sqlite_engine.dialect, "do_commit", failing)
            with pytest.raises(DatabaseUnavailable), writer.transaction() as session:
                session.execute(change)

        with writer.transaction() as session:
            session.execute(change)


def test_inserts_of_any_number_of_rows_are_few_different_statements(
    sqlite_engine: Engine,
) -> None:
    seen: set[str] = set()

    def note(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT"):
            seen.add(statement)

    event.listen(sqlite_engine, "before_cursor_execute", note)
    with sessions.writing(sqlite_engine) as session:
        for count in range(1, 300, 7):
            columns = {
                "address_hash": [f"{count}:{row}" for row in range(count)],
                "source": ["test"] * count,
                "cause": ["operator"] * count,
                "reason": [""] * count,
                "created_at": [readers.NOW] * count,
            }
            dialects.insert_missing(session, Suppression, columns, constants={})
        found = session.execute(text("SELECT count(*) FROM suppression")).scalar_one()

    assert found == sum(range(1, 300, 7))
    assert len(seen) <= 9  # 1, 2, 4 ... 256
    with sessions.writing(sqlite_engine) as session:
        counts.recount(session)
