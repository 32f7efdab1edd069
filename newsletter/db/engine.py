"""Opens the database of a URL, configured so that a commit is on disk when it returns."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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

from newsletter.errors import (
    ConfigurationError,
    DatabaseBusy,
    DatabaseUnavailable,
    DiskFull,
    NewsletterError,
)

if TYPE_CHECKING:
    # Importing psycopg takes 50 ms; SQLAlchemy does it for PostgreSQL URLs only.
    import psycopg

#: Seconds for which a transaction waits for SQLite's write lock.
BUSY_SECONDS = 60
#: Time-out, in seconds, of connecting to PostgreSQL.
_CONNECT_SECONDS = 10
#: Time after which PostgreSQL ends an idle writing transaction and releases its locks: its process
#: may be suspended or cut off from the network.
_IDLE_MILLISECONDS = 60_000
#: TCP keepalives in seconds, by which the server detects a lost client and releases its locks.
_KEEPALIVE = b"""
    SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3
"""
#: Size of the test write of `check_writable`: more than the log of a small transaction.
_PROBE_OCTETS = 65_536
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
#: Execution option of connections that write; on SQLite they take the write lock at BEGIN.
WRITING = "newsletter_writing"


def open(url: str) -> Engine:  # noqa: A001 - called as engine.open
    """Return an engine for a `sqlite:///` or `postgresql://` URL, without connecting.

    The engine's errors do not contain parameters of statements: addresses do not belong in a log.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(parsed)
    timeout = {} if "connect_timeout" in parsed.query else {"connect_timeout": _CONNECT_SECONDS}
    engine = create_engine(
        parsed, hide_parameters=True, pool_pre_ping=True, max_overflow=40, connect_args=timeout
    )
    _check_options(engine)
    event.listen(engine, "connect", _prepare_postgresql)
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _check_options(engine: Engine) -> None:
    """Raise ConfigurationError for an option of the URL that libpq does not support."""
    psycopg: Any = engine.dialect.loaded_dbapi
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    if unknown := sorted(engine.url.query.keys() - known):
        raise ConfigurationError(
            f"PostgreSQL has no option {unknown[0][:100]!r}, which the database URL names.",
            setting="database_url",
            hint="Leave it out; PostgreSQL's manual lists the parameter key words of libpq.",
        )


def shown(engine: Engine) -> str:
    """Return the database's URL without the password and options, to be shown or logged.

    Options can be secrets, too (password, sslpassword, passfile).
    """
    url = engine.url
    if is_sqlite(engine):
        return f"sqlite:///{url.database}"
    # libpq also takes the host, or the folder of the server's socket, as an option.
    host = url.host or ",".join(_values(url.query.get("host")))
    port = f":{url.port}" if url.port else ""
    user = f"{url.username}@" if url.username else ""
    return f"postgresql://{user}{host}{port}/{url.database or ''}"


def _values(found: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (found,) if isinstance(found, str) else found or ()


def is_sqlite(engine: Engine | Connection) -> bool:
    """Return whether this is the embedded database."""
    return engine.dialect.name == "sqlite"


@contextmanager
def explained() -> Iterator[None]:
    """Translate driver errors if the database is unreachable, locked, full or unreadable."""
    try:
        yield
    # psycopg raises InternalError if the server is read-only during a fail-over, or has ended an
    # idle transaction: both are temporary.
    except (OperationalError, InternalError) as exc:
        raise _kind(exc)(
            f"The database could not be used: {_reason(exc)}.",
            hint="Look at NEWSLETTER_DATABASE_URL, at the folder or the server that it names, and "
            "at the space on its disk.",
        ) from exc
    except DatabaseError as exc:
        # SQLite raises the base class itself for a damaged file or one of another kind.
        if type(exc) is not DatabaseError:
            raise
        raise NewsletterError(
            f"The database cannot be read: {_reason(exc)}.",
            hint="NEWSLETTER_DATABASE_URL must name a database of this program; a damaged one has "
            "to be replaced by its backup.",
        ) from exc


def check_writable(engine: Engine) -> None:
    """Raise DatabaseUnavailable, or DiskFull, unless a transaction could write.

    Changes nothing in the database: an unnamed file is written beside a SQLite database. The free
    space of a PostgreSQL server cannot be checked from here.
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


def _kind(exc: DatabaseError) -> type[DatabaseUnavailable]:
    cause: Any = exc.orig
    # The primary result code, without the bits of the extended one.
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    # 53100 is PostgreSQL's disk_full (appendix A).
    if code == sqlite3.SQLITE_FULL or getattr(cause, "sqlstate", None) == "53100":
        return DiskFull
    return DatabaseBusy if code == sqlite3.SQLITE_BUSY else DatabaseUnavailable


def _reason(exc: DatabaseError) -> str:
    return next(iter(str(exc.orig or exc).strip().splitlines()), "no reason given").rstrip(".")


def checkpoint(engine: Engine, *, patience_seconds: float) -> bool:
    """Checkpoint and truncate SQLite's write-ahead log; False if a reader prevented it."""
    if not is_sqlite(engine):
        return True
    with engine.connect() as connection:
        limit_wait(connection, patience_seconds)
        try:
            checkpointing = _driver(connection).execute("PRAGMA wal_checkpoint(TRUNCATE)")
            busy: int = checkpointing.fetchone()[0]
        finally:
            limit_wait(connection, BUSY_SECONDS)
        return busy == 0


def limit_wait(connection: Connection, seconds: float) -> None:
    """Set how long a connection to SQLite waits for a lock, instead of BUSY_SECONDS."""
    if is_sqlite(connection):
        _driver(connection).execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")


def roll_back(connection: Connection) -> None:
    """Roll SQLite back if COMMIT or BEGIN has failed, after which SQLAlchemy does not roll back."""
    if is_sqlite(connection) and (driver := _driver(connection)).in_transaction:
        driver.rollback()


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


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
            # One connection per thread of the web server, so that threads wait for the write lock,
            # not for the pool.
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
    """Create a new database readable by its owner alone; SQLite copies the mode to its log."""
    # Errors are ignored, because SQLite fails to open the file for the same reason, and reports it.
    with suppress(OSError):
        os.close(os.open(arguments[0], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:  # noqa: ANN401 - SQLAlchemy's signature
    # None, because the driver would begin transactions only before the first write, not before the
    # first read.
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
    # A transaction that reads first and writes later fails with SQLITE_BUSY_SNAPSHOT if another one
    # wrote in between, so writing transactions take the write lock at BEGIN.
    writes = connection.get_execution_options().get(WRITING, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_postgresql(connection: psycopg.Connection[Any], _record: ConnectionPoolEntry) -> None:
    _set(connection, _KEEPALIVE)


def _begin_postgresql(connection: Connection) -> None:
    # Transactions that only read have no limit, since an export into a pager may be idle.
    writes = connection.get_execution_options().get(WRITING, False)
    if writes and not connection.info.get(WRITING):
        driver = connection.connection.driver_connection
        assert driver is not None
        idle = b"SET idle_in_transaction_session_timeout = %d" % _IDLE_MILLISECONDS
        try:
            _set(driver, idle)
        except connection.dialect.loaded_dbapi.Error as exc:
            # SQLAlchemy does not translate errors of listeners, so it is done here. The connection
            # was lost after its ping.
            connection.invalidate(exc)
            raise OperationalError(None, None, exc) from exc
        connection.info[WRITING] = True


def _set(connection: psycopg.Connection[Any], sql: bytes) -> None:
    """Change settings of a session, outside a transaction, whose rollback would undo them.

    Connection options are not used, as a connection pooler may refuse them.
    """
    connection.autocommit = True
    try:
        connection.execute(sql)
    finally:
        connection.autocommit = False
