"""A PostgreSQL that somebody has locked up, or that takes no writes for a while."""

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
    """How long a transaction may say nothing, as the server sees it."""
    with (sessions.writing if is_writing else sessions.reading)(engine) as session:
        found: str = session.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()
    return found


def test_only_who_writes_may_not_be_silent_for_long(
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
    """Lock a row, and once more after somebody else got it."""
    with sessions.writing(engine) as session:
        session.execute(_LOCK)
        # Without the time-out, each would wait for the other for ever.
        lock(other, "LOCAL statement_timeout = '60s'")
        session.execute(_LOCK)


def test_a_writer_that_was_suspended_keeps_its_locks_no_longer_than_its_silence_may_last(
    engine: Engine, another: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_IDLE_MILLISECONDS", 200)
    with pytest.raises(DatabaseUnavailable, match="idle-in-transaction"):
        lock_twice(another(), engine)


def test_a_server_that_takes_no_writes_is_one_that_cannot_be_used_now(engine: Engine) -> None:
    with pytest.raises(DatabaseUnavailable, match="read-only"):
        lock(engine, "TRANSACTION READ ONLY")
