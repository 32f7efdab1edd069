from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import pytest
from examples import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import select

from newsletter import throttle
from newsletter.db import session as sessions
from newsletter.models import Throttle
from newsletter.throttle import Limit
from newsletter.tokens import Keyring

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEYRING = Keyring(["0123456789abcdef0123456789abcdef-for-tests"])
THREE = Limit("three", 3, HOUR)
ONCE = Limit("once", 1, HOUR)


def take(engine: Engine, limit: Limit, subject: str = "mia", *, now: datetime = NOW) -> bool:
    with sessions.writing(engine) as session:
        return throttle.take(session, limit, subject, now=now, keyring=KEYRING)


def spent_until(engine: Engine, limit: Limit, subject: str = "mia") -> datetime | None:
    with sessions.reading(engine) as session:
        return throttle.spent_until(session, limit, subject, now=NOW, keyring=KEYRING)


def rows(engine: Engine) -> list[Throttle]:
    with sessions.reading(engine) as session:
        return list(session.exec(select(Throttle)))


def test_a_limit_is_reached_and_begins_anew_when_its_window_ends(engine: Engine) -> None:
    assert [take(engine, THREE) for _ in range(5)] == [True, True, True, False, False]
    assert not take(engine, THREE, now=NOW + HOUR - timedelta(microseconds=1))
    assert take(engine, THREE, now=NOW + HOUR)
    assert [row.count for row in rows(engine)] == [1]


def test_limits_and_those_they_bind_are_counted_apart(engine: Engine) -> None:
    assert take(engine, ONCE, "mia")
    assert take(engine, ONCE, "noa")
    assert take(engine, Limit("other", 1, HOUR), "mia")
    assert not take(engine, ONCE, "mia")


def test_a_limit_says_until_when_it_is_spent_and_changes_nothing(engine: Engine) -> None:
    assert spent_until(engine, ONCE) is None
    take(engine, ONCE)
    before = [row.model_dump() for row in rows(engine)]
    assert spent_until(engine, ONCE) == NOW + HOUR
    assert [row.model_dump() for row in rows(engine)] == before


def test_a_limit_can_be_forgotten(engine: Engine) -> None:
    take(engine, ONCE)
    with sessions.writing(engine) as session:
        throttle.reset(session, ONCE, "mia", keyring=KEYRING)
    assert take(engine, ONCE)


def test_a_row_says_nothing_of_whom_it_binds(engine: Engine) -> None:
    take(engine, ONCE, "mia@readers.example")
    (row,) = rows(engine)
    assert "mia" not in row.key
    assert row.key.startswith("once:")


def test_ended_windows_are_pruned_and_others_stay(engine: Engine) -> None:
    take(engine, ONCE, "early")
    take(engine, ONCE, "late", now=NOW + timedelta(minutes=30))
    with sessions.writing(engine) as session:
        assert throttle.prune(session, now=NOW + HOUR) == 1
    assert [row.began_at for row in rows(engine)] == [NOW + timedelta(minutes=30)]


def test_of_many_at_once_no_more_than_the_limit_get_through(engine: Engine) -> None:
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: take(engine, THREE), range(40)))
    assert sum(taken) == 3


@pytest.mark.parametrize("limit", [ONCE, THREE], ids=["once", "three"])
@examples(15, many=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.integers(0, 50), max_size=30))
def test_never_more_than_the_limit_in_a_window(
    sqlite_engine: Engine, limit: Limit, steps: list[int]
) -> None:
    now, windows, name = NOW, list[list[datetime]](), uuid4().hex
    for minutes in steps:
        now += timedelta(minutes=minutes)
        if take(sqlite_engine, limit, name, now=now):
            if not windows or now >= windows[-1][0] + limit.window:
                windows.append([])
            windows[-1].append(now)
        else:
            assert len(windows[-1]) == limit.count
    assert all(len(window) <= limit.count for window in windows)
    begins = [window[0] for window in windows]
    assert all(later - sooner >= limit.window for sooner, later in pairwise(begins))
