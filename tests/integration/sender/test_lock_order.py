"""The transactions of a worker lock the progress row before all other rows.

So the start, the renewals and the end of several workers take turns.
"""

from __future__ import annotations

from datetime import timedelta

import ledgers
import pytest
from interleave import locked_table
from scripted_smtp import ScriptedServer, running
from sqlalchemy import Connection, Engine, event

from newsletter.ledger import registry
from newsletter.sender import worker


def test_the_progress_row_is_the_first_lock(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "RENEWAL", timedelta(0))
    ledgers.fill(engine, 3)
    done: list[list[str]] = []
    begun: dict[Connection, list[str]] = {}

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        begun[connection] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(connection: Connection, _cursor: object, sql: str, *_: object) -> None:
        if table := locked_table(sql):
            begun[connection].append(table)

    @event.listens_for(engine, "commit")
    def commit(connection: Connection) -> None:
        done.append(begun[connection])

    with running(ScriptedServer()) as server:
        worker.run(engine, ledgers.plan(server.port))

    of_progress = [tables for tables in done if "progress" in tables]
    start, *renewals, end = [tables[0] for tables in of_progress]
    assert renewals
    assert {start, *renewals, end} == {"progress"}
    assert any("delivery" in tables for tables in of_progress)
    assert "delivery" in of_progress[-1]
