"""PostgreSQL with a suspended writer, or read-only for a while."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from newsletter.db import engine as engines
from newsletter.db import session as sessions
from newsletter.errors import DatabaseUnavailable

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"])
_LOCK = text("UPDATE freeze_lock SET latest_instant = latest_instant")


def silence(engine: Engine, *, is_writing: bool) -> str:
    """Return the server's idle-in-transaction time-out."""
    with (sessions.writing if is_writing else sessions.reading)(engine) as session:
        found: str = session.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()
    return found


def test_only_writing_transactions_have_an_idle_time_out(
    engine: Engine, another: Callable[[], Engine]
) -> None:
    assert silence(engine, is_writing=True) == "1min"
    assert silence(another(), is_writing=False) == "0"


def test_what_is_set_for_a_session_outlives_a_transaction_that_failed(
    another: Callable[[], Engine],
) -> None:
    other = another()
    with pytest.raises(ZeroDivisionError), sessions.writing(other):
        raise ZeroDivisionError
    assert silence(other, is_writing=True) == "1min"


def lock(engine: Engine, *settings: str) -> None:
    with sessions.writing(engine) as session:
        for setting in settings:
            session.execute(text(f"SET {setting}"))
        session.execute(_LOCK)


def lock_twice(engine: Engine, other: Engine) -> None:
    """Lock a row, and again after another session has had it."""
    with sessions.writing(engine) as session:
        session.execute(_LOCK)
        # Without the time-out this would be a deadlock between the session and its test.
        lock(other, "LOCAL statement_timeout = '60s'")
        session.execute(_LOCK)


def test_a_suspended_writer_loses_its_locks_after_the_idle_time_out(
    engine: Engine, another: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_IDLE_MILLISECONDS", 200)
    with pytest.raises(DatabaseUnavailable, match="idle-in-transaction"):
        lock_twice(another(), engine)


def test_a_read_only_server_is_unavailable(engine: Engine) -> None:
    with pytest.raises(DatabaseUnavailable, match="read-only"):
        lock(engine, "TRANSACTION READ ONLY")
