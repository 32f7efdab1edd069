"""PostgreSQL databases for tests: new ones, and one that is reset for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import psycopg

#: Maximum octets of rows and indexes, including dead ones, of a database that is used again.
GROWN = 2**21

# Objects that are not PostgreSQL's own have ids from 16384 on.
_LOOKS = """
    SELECT count(*), max(changed::text::bigint) FROM (
        SELECT xmin AS changed FROM pg_class WHERE oid >= 16384
        UNION ALL SELECT xmin FROM pg_attribute WHERE attrelid >= 16384
        UNION ALL SELECT xmin FROM pg_constraint WHERE oid >= 16384
        UNION ALL SELECT xmin FROM pg_trigger WHERE oid >= 16384
        UNION ALL SELECT xmin FROM pg_proc WHERE oid >= 16384
        UNION ALL SELECT xmin FROM pg_statistic WHERE starelid >= 16384
    ) AS objects
"""
_SIZE = "SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE oid >= 16384"
_NAMES = """
    SELECT relname FROM pg_class WHERE relkind = '{}' AND relnamespace = 'public'::regnamespace
"""
_END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def named(server: str, database: str) -> str:
    """Return the URL of a database of a server."""
    return server.replace("/postgres?", f"/{database}?", 1)


def as_admin(server: str, *statements: str) -> None:
    """Run statements on a cached connection, as connecting takes longer than most statements."""
    for statement in statements:
        try:
            connection(server).execute(statement)
        except psycopg.OperationalError:
            # A test has closed all connections of the server.
            connection.cache_clear()
            connection(server).execute(statement)


@cache
def connection(server: str) -> psycopg.Connection[Any]:
    """Return the connection of `as_admin`."""
    return psycopg.connect(server, autocommit=True)


@contextmanager
def new(server: str, *, template: str) -> Iterator[str]:
    """Yield the URL of a copy of a database that lives until the end of the block."""
    name = _copied(server, template)
    yield named(server, name)
    _drop(server, name)


class Refilled:
    """A copy of a template that is reset after each use, as a new copy takes ten times as long.

    After a use that has changed the schema or written much, a new copy is made.
    """

    def __init__(self, server: str, template: str) -> None:
        self._server = server
        self._template = template
        self._spare: str | None = None
        with psycopg.connect(named(server, template)) as connection:
            self._looks = connection.execute(_LOOKS).fetchone()
            self._size = _number(connection, _SIZE)
            self._refill = "; ".join(_refill(connection))

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yield the URL of a database that is reserved until the end of the block."""
        name, self._spare = self._spare or _copied(self._server, self._template), None
        url = named(self._server, name)
        yield url
        if self._put_back(url):
            self._spare = name
        else:
            _drop(self._server, name)

    def _put_back(self, url: str) -> bool:
        with psycopg.connect(url, autocommit=True) as connection:
            while connection.execute(_END_OTHERS).fetchall():
                pass
            if connection.execute(_LOOKS).fetchone() != self._looks:
                return False
            if _number(connection, _SIZE) > self._size + GROWN:
                return False
            connection.execute(self._refill)
            return True


def _copied(server: str, template: str) -> str:
    name = f"test_{uuid.uuid4().hex}"
    # FILE_COPY, because also writing each page to the log takes five times as long.
    as_admin(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    return name


def _drop(server: str, name: str) -> None:
    as_admin(server, f"DROP DATABASE {name} WITH (FORCE)")


def _refill(connection: psycopg.Connection[Any]) -> Iterator[str]:
    """Yield statements that give another database the rows and sequences of this one.

    Tables can be in any order, because foreign keys are not checked meanwhile.
    """
    yield "SET session_replication_role = replica"
    for (table,) in connection.execute(_NAMES.format("r")).fetchall():
        yield f'DELETE FROM "{table}"'
        insert = "INSERT INTO %I SELECT * FROM json_populate_recordset(NULL::%I, %L)"
        rows = connection.execute(
            f"SELECT format('{insert}', '{table}', '{table}', json_agg(t)) FROM \"{table}\" AS t "
            "HAVING count(*) > 0"
        )
        yield from (filled for (filled,) in rows)
    for (sequence,) in connection.execute(_NAMES.format("S")).fetchall():
        last, is_called = connection.execute(
            f'SELECT last_value, is_called FROM "{sequence}"'
        ).fetchone() or (1, False)
        yield f"SELECT setval('\"{sequence}\"', {last}, {is_called})"


def _number(connection: psycopg.Connection[Any], query: str) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])
