"""Every page of the desk at a publication of two years: it opens, is small, and scans nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import desk_pages
import pytest
import seeding
from operator_desk import OperatorDesk
from sqlalchemy import Engine, event
from visitor import NOW

from newsletter.db import engine as engines
from newsletter.db import schema
from newsletter.settings import Settings

PAGES = desk_pages.paths(NOW)

#: Maximum of statements of a page, as each takes about half a millisecond of the server's time.
MOST = 25
#: Pages that need more: they read the whole state, or the next edition of each cadence.
MOST_OF = {"/": 52, "/findings": 40, "/next": 34, "/editions/daily-2026-11-22": 26}


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A database with 2,000 readers, for all pages, which only read."""
    path: Path = tmp_path_factory.mktemp("seeded") / "newsletter.db"
    engine = engines.open(f"sqlite:///{path}")
    schema.upgrade(engine)
    seeding.seed(engine, readers=2_000, editions=100, now=NOW)
    yield engine
    engine.dispose()


@pytest.fixture
def full(seeded: Engine, settings: Callable[..., Settings]) -> OperatorDesk:
    return OperatorDesk(seeded, settings(timezone="Europe/Berlin")).sign_in()


@contextmanager
def statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    ran: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        ran.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    yield ran
    event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_of_a_large_publication_opens_and_is_under_60_kb(
    full: OperatorDesk, path: str
) -> None:
    answer = full.get(path)

    assert answer.status_code == 200
    assert len(answer.content) < 60_000


@pytest.mark.parametrize("path", PAGES)
def test_a_page_scans_no_table_that_grows_with_readers(full: OperatorDesk, path: str) -> None:
    with statements(full.engine) as ran:
        full.get(path)

    steps = []
    with full.engine.connect() as connection:
        for statement, parameters in ran:
            if statement.lstrip().startswith(("SELECT", "WITH")):
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                steps += [(row[3], statement) for row in plan]
    growing = re.compile(r"SCAN (delivery|subscriber|consent|report|attempt)\b")
    assert steps
    # A list by pages reads an index, or the rows by their ids, up to its limit.
    assert [one for one in steps if growing.match(one[0]) and " LIMIT " not in one[1]] == []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_runs_few_statements(full: OperatorDesk, path: str) -> None:
    with statements(full.engine) as ran:
        full.get(path)

    assert len(ran) <= MOST_OF.get(path, MOST)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_opens_at_a_publication_without_anything(desk: OperatorDesk, path: str) -> None:
    assert desk.get(path).status_code in {200, 404}
