"""Transactions: one that reads, one that writes, and the lock under which instants are given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnClause, Connection, DateTime, Engine, column, select, table, update
from sqlmodel import Session

from newsletter.db.engine import WRITING, explained
from newsletter.errors import SchemaOutOfDate

# One row; this floor has no other table.
_latest: ColumnClause[datetime] = column("latest_instant", DateTime(timezone=True))
_lock = table("freeze_lock", _latest)
_TICK = timedelta(microseconds=1)


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """Give a session that only reads; whatever it changes is rolled back."""
    with (
        explained(),
        engine.connect() as connection,
        Session(connection, expire_on_commit=False) as session,
    ):
        yield session


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """Give a session whose transaction commits at the end and rolls back on any error."""
    with closing(Writer(engine)) as writer, writer.transaction() as session:
        yield session


class Writer:
    """One writing transaction after the other, on one connection: for who makes many."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        #: One for all transactions: to make it costs as much as many a transaction.
        self._kept: Session | None = None

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Give a session whose transaction commits at the end and rolls back on any error.

        A connection that was lost is replaced at the next transaction.
        """
        with explained():
            if self._kept is None:
                connection = self._engine.connect().execution_options(**{WRITING: True})
                self._kept = Session(connection, expire_on_commit=False)
            with _connection(self._kept).begin():
                try:
                    yield self._kept
                    self._kept.flush()
                finally:
                    # Statements that go to the driver as they are leave nothing to forget.
                    if self._kept.in_transaction():
                        self._kept.close()

    def close(self) -> None:
        """Give the connection back."""
        if self._kept is not None:
            _connection(self._kept).close()


def _connection(session: Session) -> Connection:
    assert isinstance(session.bind, Connection)
    return session.bind


def freeze_lock(session: Session, now: datetime) -> datetime:
    """Take the freeze lock and return an instant later than any that was given under it.

    It is `now`, or a microsecond past the last one if a clock (this one or another machine's)
    stands behind. Held until the transaction ends, so no article can appear behind a watermark.
    """
    # The update itself takes the row's lock on PostgreSQL (SQLite has the write lock already).
    session.execute(update(_lock).values(latest_instant=_latest))
    latest: datetime | None = session.execute(select(_latest)).scalar_one_or_none()
    if latest is None:
        raise SchemaOutOfDate("The database is empty.", hint="Run `newsletter database upgrade`.")
    # SQLite, which has no time zones, answers in UTC without saying so.
    latest = latest.replace(tzinfo=latest.tzinfo or UTC)
    instant = max(now.astimezone(UTC), latest + _TICK)
    session.execute(update(_lock).values(latest_instant=instant))
    return instant


def hold_freeze(session: Session) -> None:
    """Wait until no freeze is running, and keep the next one waiting for this transaction.

    Whoever ends a consent or pauses it does this first: it then sees every delivery that a freeze
    has made, and the next freeze sees that the reader is gone. Any number of sessions may hold it
    at once.
    """
    session.execute(select(_latest).select_from(_lock).with_for_update(read=True)).all()
