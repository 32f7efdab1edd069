"""The readiness check and the log of a server that cannot do its work."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from visitor import Visitor

from newsletter import tokens
from newsletter.db import engine as engines
from newsletter.errors import DatabaseUnavailable, DiskFull
from newsletter.settings import Settings
from newsletter.tokens import Purpose
from newsletter.web.outages import Outages

Make = Callable[..., Settings]


@pytest.fixture
def away(settings: Make) -> Iterator[Visitor]:
    """Pages whose database server is unavailable."""
    engine = engines.open("postgresql://mia:sesame@127.0.0.1:1/nowhere")
    yield Visitor(engine, settings())
    engine.dispose()


@contextmanager
def no_file_longer_than(octets: int) -> Iterator[None]:
    """Limit the size of files, so that writing fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_unavailable_database_is_not_ready_and_logged_once(
    away: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [away.get("/readyz") for _ in range(3)]

    assert {answer.status_code for answer in answers} == {503}
    assert answers[0].json() == {
        "status": "refused",
        "problem": "unavailable",
        "reason": "database_unavailable",
    }
    assert len(caplog.messages) == 1
    assert "Not ready: The database could not be used" in caplog.text
    assert "sesame" not in caplog.text


def test_requests_that_fail_without_the_database_are_logged_once(
    away: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    link = away.keyring.issue(Purpose.UNSUBSCRIBE, tokens.new_public_id(), 1)
    answers = [away.post(f"/unsubscribe/{link}") for _ in range(3)]

    assert {answer.status_code for answer in answers} == {503}
    assert len(caplog.messages) == 1
    assert "A request could not be answered: The database could not be used" in caplog.text
    assert link not in caplog.text


def test_a_full_disk_is_not_ready(
    sqlite_engine: Engine, settings: Make, caplog: pytest.LogCaptureFixture
) -> None:
    visitor = Visitor(sqlite_engine, settings())
    assert visitor.get("/readyz").status_code == 200

    with no_file_longer_than(40_000):
        answer = visitor.get("/readyz")

    assert (answer.status_code, answer.json()["reason"]) == (503, "disk_full")
    assert len(caplog.messages) == 1
    assert visitor.get("/readyz").status_code == 200


def test_the_readiness_check_leaves_no_file(
    sqlite_engine: Engine, settings: Make, tmp_path: Path
) -> None:
    visitor = Visitor(sqlite_engine, settings())
    visitor.get("/readyz")
    before = sorted(tmp_path.iterdir())

    visitor.get("/readyz")

    assert sorted(tmp_path.iterdir()) == before


def test_another_schema_is_not_ready(engine: Engine, settings: Make) -> None:
    visitor = Visitor(engine, settings())
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))

    answer = visitor.get("/readyz")

    assert (answer.status_code, answer.json()["reason"]) == (503, "schema_out_of_date")


def test_a_full_disk_and_an_unavailable_database_have_different_reasons(
    sqlite_engine: Engine,
) -> None:
    with sqlite_engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        with pytest.raises(DiskFull), engines.explained():
            connection.exec_driver_sql("CREATE TABLE filler AS SELECT randomblob(1000000) AS o")


def test_the_log_has_the_count_of_suppressed_lines(caplog: pytest.LogCaptureFixture) -> None:
    instants = iter([0.0, 10.0, 59.0, 61.0])
    outages = Outages(clock=lambda: next(instants))

    for _ in range(4):
        outages.note("A request could not be answered", DatabaseUnavailable())

    assert len(caplog.messages) == 2
    assert "(and 2 more times since this was last logged)" in caplog.messages[1]
