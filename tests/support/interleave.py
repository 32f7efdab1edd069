"""Interleaves two transactions on PostgreSQL at a chosen statement or lock."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, get_ident
from typing import Any, Self, TypeVar
from unittest import mock

import pytest
from sqlalchemy import Engine, event, text
from sqlmodel import Session

from newsletter.db import session as sessions
from newsletter.db.dialects import Statement
from newsletter.db.engine import is_sqlite
from newsletter.errors import NewsletterError

T = TypeVar("T")

_LOCKS = re.compile(
    r"(?:INSERT INTO|UPDATE|DELETE FROM) (\w+)|SELECT .*?FROM (\w+).* FOR (?:UPDATE|SHARE)"
    r"|WITH .*?(?:UPDATE|DELETE FROM) (\w+) (?:SET|WHERE)",
    re.DOTALL,
)
_BLOCKED = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
)


def locked_table(sql: str) -> str | None:
    """Return the table whose rows a statement locks."""
    found = _LOCKS.match(sql)
    return found and (found[1] or found[2] or found[3])


def interleave(
    engine: Engine,
    first: Callable[[Session], object],
    then: Callable[[], object],
    *,
    between: tuple[str, str],
) -> bool:
    """Run `then` while a transaction of `first` is stopped between its locks of two tables.

    `first` continues when `then` waits for one of its locks, or has ended; returns whether it
    waited. Raises the error of either, which is DatabaseUnavailable for a deadlock.
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


def stopped_before(
    engine: Engine, step: int, first: Callable[[], T], then: Callable[[], object]
) -> tuple[bool, T | Exception]:
    """Run `then` while `first` is stopped before its statement number `step`, or before its commit.

    `first` continues when `then` has ended, or waits for one of its locks. Returns whether `first`
    has that many statements, and its result or error. On SQLite, where transactions are serialised,
    `then` runs before the first statement, or after the last.
    """
    if is_sqlite(engine):
        if step == 0:
            then()
        result = _result(first)
        if step:
            then()
        return step == 0, result
    with _Stop(engine, step) as stop, ThreadPoolExecutor(2) as pool:
        one = pool.submit(stop.run, first)
        assert stop.reached.wait(60)
        other = pool.submit(then)
        _has_to_wait(engine, other)
        stop.go_on.set()
        other.result()
        result = one.result()
    return stop.count > step, result


def _result(first: Callable[[], T]) -> T | Exception:
    try:
        return first()
    except NewsletterError as exc:
        return exc


class _Stop:
    """Stops one thread before a statement, of SQLAlchemy or the driver, or before a commit."""

    def __init__(self, engine: Engine, step: int) -> None:
        self.count = 0
        self.reached, self.go_on = Event(), Event()
        self._engine = engine
        self._step = step
        self._threads: list[int] = []
        self._original = Statement._execute

    def __enter__(self) -> Self:
        def execute(statement: Statement, session: Session, parameters: Any) -> Any:
            self._look()
            return self._original(statement, session, parameters)

        self._patch = mock.patch.object(Statement, "_execute", execute)
        self._patch.start()
        for name in ("before_cursor_execute", "commit"):
            event.listen(self._engine, name, self._look)
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("before_cursor_execute", "commit"):
            event.remove(self._engine, name, self._look)
        self._patch.stop()

    def run(self, first: Callable[[], T]) -> T | Exception:
        self._threads.append(get_ident())
        try:
            return _result(first)
        finally:
            # Cleared, because the same thread may run the other transaction next.
            self._threads.clear()
            self.reached.set()

    def _look(self, *_: object) -> None:
        if get_ident() in self._threads:
            if self.count == self._step:
                self.reached.set()
                assert self.go_on.wait(60)
            self.count += 1
