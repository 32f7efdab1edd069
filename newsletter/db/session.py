"""Transactions for reading and writing, and the freeze lock.

SQLite has one writer: `writing` takes the write lock at BEGIN, so its transactions cannot deadlock.
On PostgreSQL transactions take row locks, in this order, or they deadlock:

1. the freeze lock (the row of `freeze_lock`), exclusive by `freeze_lock`, shared by `hold_freeze`;
2. rows of `subscriber`;
3. rows of `suppression`;
4. rows of `delivery`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnClause, Connection, DateTime, Engine, column, select, table, update
from sqlmodel import Session

from newsletter.db.engine import (
    BUSY_SECONDS,
    WRITING,
    explained,
    is_sqlite,
    limit_wait,
    roll_back,
)
from newsletter.errors import SchemaOutOfDate

# The table of one row, declared again here because models are above this package.
_latest: ColumnClause[datetime] = column("latest_instant", DateTime(timezone=True))
_lock = table("freeze_lock", _latest)
_TICK = timedelta(microseconds=1)
#: Key of the functions to be called after the commit, in `Session.info`.
_AFTER = "newsletter.after_commit"


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """Yield a session that only reads; its transaction is rolled back."""
    with (
        explained(),
        engine.connect() as connection,
        Session(connection, expire_on_commit=False) as session,
    ):
        yield session


@contextmanager
def snapshot(engine: Engine) -> Iterator[Session]:
    """Yield a session that only reads, and sees the database as it is at one instant.

    Takes no lock, and waits for none: REPEATABLE READ on PostgreSQL; SQLite's transactions see one
    instant anyway.
    """
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with (
        explained(),
        engine.connect().execution_options(**({} if is_sqlite(engine) else options)) as connection,
        Session(connection, expire_on_commit=False) as session,
    ):
        yield session


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """Yield a session whose transaction commits at the end and rolls back on any error."""
    with closing(Writer(engine)) as writer, writer.transaction() as session:
        yield session


class Writer:
    """Writing transactions in sequence on one connection, for callers that make many.

    With `busy_seconds`, a transaction waits that long for SQLite's write lock, and then raises
    DatabaseBusy.
    """

    def __init__(self, engine: Engine, *, busy_seconds: float | None = None) -> None:
        self._engine = engine
        self._busy_seconds = busy_seconds
        #: One session for all transactions: creating one costs as much as a small transaction.
        self._kept: Session | None = None

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Yield a session whose transaction commits at the end and rolls back on any error.

        A lost connection is replaced at the next transaction.
        """
        with explained():
            if self._kept is None:
                connection = self._engine.connect().execution_options(**{WRITING: True})
                if self._busy_seconds is not None:
                    limit_wait(connection, self._busy_seconds)
                self._kept = Session(connection, expire_on_commit=False)
            self._kept.info.pop(_AFTER, None)
            try:
                with _connection(self._kept).begin():
                    try:
                        yield self._kept
                        self._kept.flush()
                    finally:
                        # Raw driver statements (`Statement`) do not begin a session transaction.
                        if self._kept.in_transaction():
                            self._kept.close()
            except BaseException:
                roll_back(_connection(self._kept))
                raise
        for act in self._kept.info.pop(_AFTER, ()):
            act()

    def close(self) -> None:
        """Return the connection to the pool."""
        if self._kept is not None:
            connection = _connection(self._kept)
            try:
                if self._busy_seconds is not None:
                    limit_wait(connection, BUSY_SECONDS)
            finally:
                connection.close()


def after_commit(session: Session, act: Callable[[], object]) -> None:
    """Call a function after the commit of `writing`; it is not called after a rollback.

    Used for log lines, which must not report changes that were rolled back.
    """
    session.info.setdefault(_AFTER, []).append(act)


def _connection(session: Session) -> Connection:
    assert isinstance(session.bind, Connection)
    return session.bind


def freeze_lock(session: Session, now: datetime) -> datetime:
    """Take the freeze lock and return an instant later than any that was returned before.

    The instant is `now`, or a microsecond after the last one if the clock of this or another
    machine is behind. The lock is held until the transaction ends, so the instants of `seen_at` and
    of freezes are committed in their order, and no article can appear behind a watermark.

    Lock order: first in its transaction, before any subscriber, suppression or delivery row.
    """
    # The UPDATE takes the row lock on PostgreSQL (SQLite holds the write lock since BEGIN).
    session.execute(update(_lock).values(latest_instant=_latest))
    instant = freeze_instant(session, now)
    session.execute(update(_lock).values(latest_instant=instant))
    return instant


def freeze_instant(session: Session, now: datetime) -> datetime:
    """Return the instant that `freeze_lock` would return; takes no lock."""
    latest: datetime | None = session.execute(select(_latest)).scalar_one_or_none()
    if latest is None:
        raise SchemaOutOfDate("The database is empty.", hint="Run `newsletter database upgrade`.")
    # SQLite returns naive datetimes, which are in UTC.
    latest = latest.replace(tzinfo=latest.tzinfo or UTC)
    return max(now.astimezone(UTC), latest + _TICK)


def hold_freeze(session: Session) -> None:
    """Take the freeze lock shared: waits for a running freeze, and blocks the next one.

    For transactions that end, pause or erase a consent: they then see every delivery that a freeze
    has inserted, and the next freeze sees the new status. Any number of sessions may hold it.

    Lock order: before the subscriber row, or a running freeze deadlocks.
    """
    session.execute(select(_latest).select_from(_lock).with_for_update(read=True)).all()
