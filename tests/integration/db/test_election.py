"""Leader election: one process holds the lock, and its end releases it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import holders
import pytest
from journey import until
from sqlalchemy import Engine, text

from newsletter.db import engine as engines
from newsletter.db.election import LeaderLock
from newsletter.errors import DatabaseUnavailable

#: A process that is elected, prints a line, and runs until it is ended.
PROGRAM = """
import sys
from newsletter.db import engine
from newsletter.db.election import LeaderLock

with LeaderLock(engine.open(sys.argv[1]), "schedule") as candidate:
    print(candidate.is_elected(), flush=True)
    sys.stdin.read()
"""

on_postgresql = pytest.mark.parametrize("database_kind", ["postgresql"])


def running(engine: Engine) -> AbstractContextManager[subprocess.Popen[str]]:
    """Run a leader in a process of its own."""
    url = engine.url.render_as_string(hide_password=False)
    return holders.holding(PROGRAM, url, says="True")


def cut_off(engine: Engine) -> int:
    """End the connections that hold an advisory lock in this database; return how many."""
    locks = text(
        "SELECT pid, pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with engine.connect() as connection:
        return len(connection.execute(locks).all())


def is_elected_at_last(candidate: LeaderLock) -> bool:
    """Ask once more if the first answer is that the connection is gone."""
    try:
        return candidate.is_elected()
    except DatabaseUnavailable:
        return candidate.is_elected()


def test_of_two_processes_one_is_the_leader_and_stays_it(
    engine: Engine, another: Callable[[], Engine]
) -> None:
    with LeaderLock(engine, "schedule") as first, LeaderLock(another(), "schedule") as second:
        asked = [(first.is_elected(), second.is_elected()) for _ in range(3)]

    assert asked == [(True, False)] * 3


def test_the_other_process_is_elected_after_a_resignation(
    engine: Engine, another: Callable[[], Engine]
) -> None:
    with LeaderLock(another(), "schedule") as second:
        with LeaderLock(engine, "schedule") as first:
            assert first.is_elected()
            assert not second.is_elected()
        assert second.is_elected()

        with LeaderLock(engine, "schedule") as first:
            assert not first.is_elected()


def test_a_process_that_was_never_elected_can_resign(
    engine: Engine, another: Callable[[], Engine]
) -> None:
    with LeaderLock(engine, "schedule"):
        pass
    with LeaderLock(engine, "schedule") as first:
        assert first.is_elected()
        with LeaderLock(another(), "schedule") as second:
            assert not second.is_elected()
        assert first.is_elected()


def test_each_database_has_an_election_of_its_own(
    sqlite_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = engines.open(f"sqlite:///{tmp_path_factory.mktemp('other') / 'newsletter.db'}")

    with (
        LeaderLock(sqlite_engine, "schedule") as first,
        LeaderLock(elsewhere, "schedule") as second,
    ):
        assert first.is_elected()
        assert second.is_elected()
    elsewhere.dispose()


def test_elections_with_different_names_are_independent(
    engine: Engine, another: Callable[[], Engine]
) -> None:
    with LeaderLock(engine, "schedule") as first, LeaderLock(another(), "fetch") as second:
        assert first.is_elected()
        with LeaderLock(engine, "fetch") as third:
            assert third.is_elected()
            assert not second.is_elected()
        # Resigning from one releases no lock of the other on the same engine.
        assert first.is_elected()
        with LeaderLock(another(), "schedule") as fourth:
            assert not fourth.is_elected()
        assert second.is_elected()


def test_without_a_lock_file_each_process_is_a_leader(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "newsletter.db-fetch.lock").mkdir()

    with LeaderLock(sqlite_engine, "fetch") as candidate:
        assert candidate.is_elected()


def test_the_lock_of_a_killed_process_is_free_at_once(engine: Engine) -> None:
    with LeaderLock(engine, "schedule") as waiting, running(engine) as elected:
        assert not waiting.is_elected()
        elected.kill()
        elected.wait(timeout=60)

        # The server detects it a moment later.
        until(waiting.is_elected)


def test_a_left_over_lock_file_does_not_prevent_an_election(engine: Engine) -> None:
    for _ in range(2):
        with LeaderLock(engine, "schedule") as candidate:
            # PostgreSQL releases the lock when it has detected the end of the connection.
            until(candidate.is_elected)


@on_postgresql
def test_a_leader_that_loses_its_connection_has_to_be_elected_again(
    engine: Engine, another: Callable[[], Engine]
) -> None:
    with LeaderLock(engine, "schedule") as first, LeaderLock(another(), "schedule") as second:
        assert first.is_elected()
        assert cut_off(another()) == 1
        assert second.is_elected()

        with pytest.raises(DatabaseUnavailable):
            first.is_elected()
        assert [first.is_elected(), second.is_elected()] == [False, True]

        assert cut_off(another()) == 1
        assert is_elected_at_last(first)
        assert not is_elected_at_last(second)


@on_postgresql
def test_a_process_with_a_lost_connection_can_resign(
    engine: Engine, another: Callable[[], Engine]
) -> None:
    with LeaderLock(engine, "schedule") as first:
        assert first.is_elected()
        assert cut_off(another()) == 1
        with pytest.raises(DatabaseUnavailable):
            first.is_elected()

    with LeaderLock(engine, "schedule") as second:
        assert second.is_elected()
        assert cut_off(another()) == 1
        # It resigns without having detected the loss.


@on_postgresql
def test_neither_an_election_nor_its_end_leaves_a_connection_that_holds_the_lock(
    engine: Engine, another: Callable[[], Engine]
) -> None:
    for _ in range(3):
        with LeaderLock(engine, "schedule") as candidate:
            assert candidate.is_elected()

    assert cut_off(another()) == 0
