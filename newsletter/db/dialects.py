"""SQL for both SQLite and PostgreSQL where SQLAlchemy has a different construct for each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Select,
    TableClause,
    func,
    inspect,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine
from sqlmodel import Session, SQLModel

from newsletter.db.engine import is_sqlite

if TYPE_CHECKING:
    # The engine imports its own dialect; importing the other one takes 100 ms.
    from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")

#: Values that are safe to inline as SQL literals: words, numbers and instants.
_HARMLESS = re.compile(r"[a-z0-9_ .:+-]*")

_PARAMETER = re.compile(r":(\w+)")

#: Maximum parameters of an INSERT of many rows; SQLite allows 32,766.
_PARAMETERS = 8_000


class _Written(NamedTuple):
    """A statement in the parameter style of one driver."""

    sql: str
    #: Parameters with fixed values.
    constants: Mapping[str, object]


class Statement:
    """A statement that runs thousands of times a minute, written for each engine.

    Executed by the driver directly: SQLAlchemy's execution costs more than SQLite's. Parameters are
    written as `:name`; their values must be in the driver's form (see `stored`).
    """

    def __init__(self, *, sqlite: str, postgresql: str) -> None:
        self._query: Select[Any] | None = None
        #: The statement by the name of the dialect.
        self._written = {
            "sqlite": _Written(sqlite, {}),
            "postgresql": _Written(_PARAMETER.sub(r"%(\1)s", postgresql), {}),
        }

    @classmethod
    def of(cls, query: Select[Any]) -> Statement:
        """Build a statement from a query; `run` takes the values of its unbound parameters."""
        statement = cls(sqlite="", postgresql="")
        statement._query = query
        statement._written = {}
        return statement

    def run(self, session: Session, **parameters: object) -> list[Any]:
        """Execute the statement in the session's transaction and return its rows as tuples.

        The session must be one of `db.session`, bound to the connection of its transaction.
        """
        rows: list[Any] = self._execute(session, parameters).fetchall()
        return rows

    def change(self, session: Session, **parameters: object) -> int:
        """Execute the statement as `run` does, and return the number of changed rows.

        Only for statements that begin with INSERT, UPDATE or DELETE and return no rows: sqlite3
        does not count others.
        """
        return int(self._execute(session, parameters).rowcount)

    def _execute(self, session: Session, parameters: Mapping[str, object]) -> Any:  # noqa: ANN401 - a cursor of either driver
        connection = session.bind
        assert isinstance(connection, Connection)
        written = self._of_engine(connection.dialect)
        driver = connection.connection.driver_connection
        assert driver is not None
        try:
            return driver.execute(written.sql, {**written.constants, **parameters})
        except connection.dialect.loaded_dbapi.Error as exc:
            raise _as_of_sqlalchemy(connection, written.sql, exc) from exc

    def _of_engine(self, dialect: Dialect) -> _Written:
        if dialect.name not in self._written:
            assert self._query is not None
            named = "named" if dialect.name == "sqlite" else "pyformat"
            self._written[dialect.name] = _compiled(self._query, _dialect(dialect, named))
        return self._written[dialect.name]


def _dialect(dialect: Dialect, paramstyle: str) -> Dialect:
    kind: Callable[..., Dialect] = type(dialect)
    return kind(paramstyle=paramstyle)


def _compiled(query: Select[Any], dialect: Dialect) -> _Written:
    compiled = query.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    assert isinstance(compiled, SQLCompiler)
    known = {name: value for name, value in compiled.params.items() if value is not None}
    return _Written(compiled.string, {**known, **_as_stored(known, _converters(compiled))})


def _as_of_sqlalchemy(connection: Connection, sql: str, exc: Exception) -> BaseException:
    """Translate a driver's error as SQLAlchemy does."""
    dialect = connection.dialect
    is_lost = dialect.is_disconnect(exc, connection.connection.driver_connection, None)  # type: ignore[arg-type]
    if is_lost:
        connection.invalidate(exc)
    return DBAPIError.instance(
        sql,
        None,
        exc,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=is_lost,
        dialect=dialect,
    )


def stored(session: Session, kind: TypeEngine[Any], value: object) -> object:
    """Return a value in the driver's form for a column of that type."""
    assert isinstance(session.bind, Connection)
    convert = _converter(kind, session.bind.dialect)
    return convert(value) if convert else value


def insert_into(
    session: Session, table: type[SQLModel] | TableClause
) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT of the session's dialect, which supports ON CONFLICT."""
    if is_sqlite(session.connection()):
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - see above

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415

    return postgresql.insert(table)


def domain_of(session: Session, address: ColumnElement[str]) -> ColumnElement[str]:
    """Return the SQL expression for the domain of a stored address."""
    find = func.instr if is_sqlite(session.connection()) else func.strpos
    return func.substr(address, find(address, "@") + 1)


def insert_missing(
    session: Session,
    table: type[SQLModel],
    columns: Mapping[str, Sequence[Any]],
    *,
    constants: Mapping[str, Any],
    returning: str | None = None,
) -> list[Any]:
    """Insert rows with ON CONFLICT DO NOTHING: existing ones are not changed.

    Returns the values of the column `returning`, if given, of the rows that were inserted.

    `columns` has the values of each column, row by row; `constants` (instants, numbers, our own
    words) are equal in every row and inlined in the statement, so that they are not converted for
    each row.
    """
    if not any(columns.values()):
        return []
    connection = session.connection()
    literals = [_literal(session, table, name, value) for name, value in constants.items()]
    into = f"INSERT INTO {table.__tablename__} ({', '.join([*columns, *constants])})"
    placeholder, at_most = ("?" if is_sqlite(connection) else "%s"), 1
    if returning or is_sqlite(connection):
        # Many rows per statement, as fewer statements take less time. Without results, psycopg
        # sends many statements at once.
        at_most = _PARAMETERS // len(columns)
    row = f"({', '.join([*[placeholder] * len(columns), *literals])})"
    rows = _stored_rows(connection.dialect, table, columns)
    inserted: list[Any] = []
    for size, some in groupby(_chunks(rows, at_most), len):
        # Executed by the driver: SQLAlchemy's processing of the rows takes longer than the INSERT.
        statement = f"{into} VALUES {', '.join([row] * size)} ON CONFLICT DO NOTHING"
        flat = [tuple(chain.from_iterable(one)) for one in some]
        if returning is None:
            connection.exec_driver_sql(statement, flat)
            continue
        for values in flat:
            made = connection.exec_driver_sql(f"{statement} RETURNING {returning}", values)
            inserted += made.scalars()
    return inserted


def _chunks(rows: Sequence[T], at_most: int) -> Iterator[Sequence[T]]:
    """Yield the rows in chunks whose sizes are powers of two, the largest first.

    sqlite3 caches the statements of a connection, each of up to a megabyte, so only a few different
    sizes are used.
    """
    at = 0
    while at < len(rows):
        size = 1 << (min(at_most, len(rows) - at).bit_length() - 1)
        yield rows[at : at + size]
        at += size


def _stored_rows(
    dialect: Dialect, table: type[SQLModel], columns: Mapping[str, Sequence[Any]]
) -> list[tuple[Any, ...]]:
    """Return rows in the driver's form, with each value converted as it is stored."""
    types = {name: inspect(table).columns[name].type for name in columns}
    stored = (
        map(convert, values) if (convert := _converter(types[name], dialect)) else values
        for name, values in columns.items()
    )
    return list(zip(*stored, strict=True))


def _converters(compiled: SQLCompiler) -> dict[str, Callable[[Any], Any]]:
    """Return the converters of a statement's parameters, by name, where there is one."""
    return {
        name: convert
        for name, parameter in compiled.binds.items()
        if (convert := _converter(parameter.type, compiled.dialect)) is not None
    }


def _as_stored(
    values: Mapping[str, Any], converters: Mapping[str, Callable[[Any], Any]]
) -> dict[str, Any]:
    return {name: convert(values[name]) for name, convert in converters.items() if name in values}


@lru_cache(maxsize=64)
def _converter(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """Return the dialect's bind processor for a type: SQLite stores instants as text, for one."""
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _literal(session: Session, table: type[SQLModel], column: str, value: object) -> str:
    """Return a value as an SQL literal in the stored form of that column."""
    kind = inspect(table).columns[column].type
    convert = _converter(kind, session.connection().dialect)
    stored = str(convert(value) if convert else value)
    if not _HARMLESS.fullmatch(stored):
        raise ValueError(f"{stored!r} must be a parameter")
    return stored if isinstance(value, int) else f"'{stored}'"
