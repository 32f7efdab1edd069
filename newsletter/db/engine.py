"""Opens the database that a URL names, set up so that a commit means it is on the disk."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Dialect, Engine, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    InternalError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.pool import ConnectionPoolEntry

from newsletter.errors import ConfigurationError, DatabaseUnavailable, DiskFull, NewsletterError

if TYPE_CHECKING:
    # SQLAlchemy imports it where there is a PostgreSQL; to others it would cost 50 ms a command.
    import psycopg

#: How long a transaction waits for SQLite's one writer before it gives up.
BUSY_SECONDS = 60
#: How long a PostgreSQL server may take to answer at first.
_CONNECT_SECONDS = 10
#: How long a PostgreSQL transaction that writes may say nothing, in milliseconds: whoever was
#: suspended or cut off in the middle of one keeps its locks, and everybody else waiting, no longer.
_SILENCE_MILLISECONDS = 60_000
#: When the server looks whether a silent client is still there, and gives its locks away if not.
_KEEPALIVE = b"""
    SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3
"""
#: What is written to see whether anything can be: more than a small transaction's log.
_PROBE_OCTETS = 65_536
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
#: The execution option of a connection that writes: it asks for SQLite's write lock at BEGIN.
WRITING = "newsletter_writing"


def open(url: str) -> Engine:  # noqa: A001 - called as engine.open
    """Return an engine for a `sqlite:///` or `postgresql://` URL; nothing is connected yet.

    Its errors do not repeat what a statement was about: addresses do not belong in a log.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(parsed)
    # A server that answers nothing at all is away, not slow.
    patience = {} if "connect_timeout" in parsed.query else {"connect_timeout": _CONNECT_SECONDS}
    engine = create_engine(
        parsed, hide_parameters=True, pool_pre_ping=True, max_overflow=40, connect_args=patience
    )
    _check_options(engine)
    event.listen(engine, "connect", _prepare_postgresql)
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _check_options(engine: Engine) -> None:
    """Raise ConfigurationError for an option of the URL that libpq does not know."""
    psycopg: Any = engine.dialect.loaded_dbapi
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    if unknown := sorted(engine.url.query.keys() - known):
        raise ConfigurationError(
            f"PostgreSQL has no option {unknown[0][:100]!r}, which the database URL names.",
            setting="database_url",
            hint="Leave it out; PostgreSQL's manual lists the parameter key words of libpq.",
        )


def shown(engine: Engine) -> str:
    """Return the database's URL as anybody may read it: without the password, or any option.

    Options may hold secrets, too (password, sslpassword, passfile).
    """
    url = engine.url
    if is_sqlite(engine):
        return f"sqlite:///{url.database}"
    # libpq takes the host, or the folder of the server's socket, as an option, too.
    host = url.host or ",".join(_values(url.query.get("host")))
    port = f":{url.port}" if url.port else ""
    user = f"{url.username}@" if url.username else ""
    return f"postgresql://{user}{host}{port}/{url.database or ''}"


def _values(found: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (found,) if isinstance(found, str) else found or ()


def is_sqlite(engine: Engine | Connection) -> bool:
    """Tell whether this is the embedded database."""
    return engine.dialect.name == "sqlite"


@contextmanager
def explained() -> Iterator[None]:
    """Say in our words that a database cannot be reached, is locked or full, or is none."""
    try:
        yield
    # What psycopg calls internal is a server that takes no writes (it is failing over), or that has
    # ended a silent transaction: both pass.
    except (OperationalError, InternalError) as exc:
        raise (DiskFull if _is_disk_full(exc) else DatabaseUnavailable)(
            f"The database could not be used: {_reason(exc)}.",
            hint="Look at NEWSLETTER_DATABASE_URL, at the folder or the server that it names, and "
            "at the space on its disk.",
        ) from exc
    except DatabaseError as exc:
        # SQLite's own word for a file of another kind, or a damaged one; not what derives from it.
        if type(exc) is not DatabaseError:
            raise
        raise NewsletterError(
            f"The database cannot be read: {_reason(exc)}.",
            hint="NEWSLETTER_DATABASE_URL must name a database of this program; a damaged one has "
            "to be replaced by its backup.",
        ) from exc


def check_writable(engine: Engine) -> None:
    """Raise DatabaseUnavailable, or DiskFull, unless a transaction could write something.

    Nothing in the database is changed. A file without a name is written beside a SQLite database,
    as its log would be; whether a PostgreSQL server has space left, only the server can tell.
    """
    if not is_sqlite(engine):
        with explained(), engine.connect() as connection:
            if connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on":
                raise DatabaseUnavailable("The database takes no writes.")
        return
    folder = os.path.dirname(os.path.abspath(engine.url.database or ""))  # noqa: PTH100, PTH120 - a path as SQLite has it
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE_OCTETS))
            probe.flush()
    except OSError as exc:
        kind = DiskFull if exc.errno in _NO_SPACE else DatabaseUnavailable
        raise kind(f"The database could not be written: {exc.strerror}.") from exc


def _is_disk_full(exc: DatabaseError) -> bool:
    # SQLITE_FULL, and disk_full of PostgreSQL (appendix A).
    cause: Any = exc.orig
    is_full = getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return is_full or getattr(cause, "sqlstate", None) == "53100"


def _reason(exc: DatabaseError) -> str:
    return next(iter(str(exc.orig or exc).strip().splitlines()), "no reason given").rstrip(".")


def checkpoint(engine: Engine, *, patience_seconds: float) -> bool:
    """Write SQLite's log into its file and empty it; False if somebody's reading prevented it."""
    if not is_sqlite(engine):
        return True
    with closing(engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(f"PRAGMA busy_timeout = {int(patience_seconds * 1000)}")
        busy: int = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        return busy == 0


def _parse(url: str) -> URL:
    hint = "Use sqlite:///newsletter.db or postgresql://user:password@host/database."
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as exc:
        raise ConfigurationError(
            "The database URL cannot be read.", setting="database_url", hint=hint
        ) from exc
    backend = parsed.drivername.partition("+")[0]
    if backend in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ConfigurationError(
            f"There is no support for {backend!r} databases.", setting="database_url", hint=hint
        )
    if parsed.database in {None, "", ":memory:"}:
        raise ConfigurationError(
            "The database needs a file: a digest is sent by several connections at once.",
            setting="database_url",
            hint=hint,
        )
    if "?" in url:
        raise ConfigurationError(
            "A SQLite URL takes no options.",
            setting="database_url",
            hint="Write %3F for a question mark in a name.",
        )
    return parsed


def _open_sqlite(url: URL) -> Engine:
    try:
        engine = create_engine(
            url,
            hide_parameters=True,
            connect_args={"timeout": BUSY_SECONDS},
            # As many as a web server has threads: they wait for the one writer, not for each other.
            max_overflow=40,
        )
    except (ArgumentError, NoSuchModuleError) as exc:
        raise ConfigurationError(
            "The database URL cannot be read.", setting="database_url"
        ) from exc
    event.listen(engine, "do_connect", _make_private)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_private(
    _dialect: Dialect, _record: ConnectionPoolEntry, arguments: list[Any], _options: dict[str, Any]
) -> None:
    """Make a new database its owner's alone; SQLite gives its log the same rights."""
    # What cannot be made here SQLite cannot open either, and says why.
    with suppress(OSError):
        os.close(os.open(arguments[0], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:  # noqa: ANN401 - SQLAlchemy's signature
    # The driver's own transactions begin too late (before the first write, not the first read).
    connection.isolation_level = None
    connection.executescript(
        f"""
        PRAGMA busy_timeout = {BUSY_SECONDS * 1000};
        PRAGMA journal_mode = WAL;
        PRAGMA synchronous = FULL;
        PRAGMA foreign_keys = ON;
        PRAGMA secure_delete = ON;
        PRAGMA cache_size = -8000;
        """
    )


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait for another writer
    # (SQLITE_BUSY_SNAPSHOT): one that will write takes the lock at its beginning.
    writes = connection.get_execution_options().get(WRITING, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_postgresql(connection: psycopg.Connection[Any], _record: ConnectionPoolEntry) -> None:
    _set(connection, _KEEPALIVE)


def _begin_postgresql(connection: Connection) -> None:
    # Whoever only reads may take its time: an export into a pager holds nobody up.
    writes = connection.get_execution_options().get(WRITING, False)
    if writes and not connection.info.get(WRITING):
        driver = connection.connection.driver_connection
        assert driver is not None
        silence = b"SET idle_in_transaction_session_timeout = %d" % _SILENCE_MILLISECONDS
        try:
            _set(driver, silence)
        except connection.dialect.loaded_dbapi.Error as exc:
            # SQLAlchemy translates no error of a listener; the connection was cut after its ping.
            connection.invalidate(exc)
            raise OperationalError(None, None, exc) from exc
        connection.info[WRITING] = True


def _set(connection: psycopg.Connection[Any], sql: bytes) -> None:
    """Change settings of a session, outside of any transaction, with which they would be undone.

    Not by options of the connection: a pooler may refuse those.
    """
    connection.autocommit = True
    try:
        connection.execute(sql)
    finally:
        connection.autocommit = False
