"""Two transactions on PostgreSQL whose locks meet at a known place."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, get_ident

import pytest
from sqlalchemy import Engine, event, text
from sqlmodel import Session

from newsletter.db import session as sessions
from newsletter.db.engine import is_sqlite

_LOCKS = re.compile(
    r"(?:INSERT INTO|UPDATE|DELETE FROM) (\w+)|SELECT .*?FROM (\w+).* FOR (?:UPDATE|SHARE)",
    re.DOTALL,
)
_BLOCKED = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
)


def locked_table(sql: str) -> str | None:
    """Return the table whose rows a statement locks."""
    found = _LOCKS.match(sql)
    return found and (found[1] or found[2])


def interleave(
    engine: Engine,
    first: Callable[[Session], object],
    then: Callable[[], object],
    *,
    between: tuple[str, str],
) -> bool:
    """Run `then` while a transaction of `first` stands still between its locks of two tables.

    `first` goes on when `then` waits for one of its locks, or has ended; returns whether it
    waited. Raises what either raises: DatabaseUnavailable for a deadlock.
    """
    if is_sqlite(engine):
        pytest.skip("SQLite has one lock for all rows")
    reached, go_on, locked = Event(), Event(), set[str]()
    threads: list[int] = []

    @event.listens_for(engine, "before_cursor_execute")
    def stop(_connection: object, _cursor: object, sql: str, *_: object) -> None:
        if get_ident() not in threads:
            return
        locked.update({locked_table(sql)} & set(between))
        if len(locked) == len(between) and not reached.is_set():
            reached.set()
            assert go_on.wait(60)

    def run() -> None:
        threads.append(get_ident())
        with sessions.writing(engine) as session:
            first(session)

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(run)
        try:
            assert reached.wait(60)
            other = pool.submit(then)
            waited = _has_to_wait(engine, other)
        finally:
            go_on.set()
        one.result()
        other.result()
    return waited


def _has_to_wait(engine: Engine, other: Future[object]) -> bool:
    while not other.done():
        with sessions.reading(engine) as session:
            if session.execute(_BLOCKED).scalar_one():
                return True
        time.sleep(0.01)
    return False
