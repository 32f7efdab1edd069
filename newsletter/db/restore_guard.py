"""Restore guard: detects a database restored from a backup, whose open rows may have been sent.

The database has a serial number that increases while mail is sent; a file outside the database has
a copy. A copy that is ahead of the database means that a backup was restored. A time would not do
instead of a number, because clocks may be set back. For SQLite the file is beside the database, for
PostgreSQL in this user's state folder, on every machine that sends.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnClause,
    DateTime,
    Engine,
    Integer,
    case,
    column,
    select,
    table,
    update,
)
from sqlmodel import Session

from newsletter import paths
from newsletter.db import dialects
from newsletter.db import session as sessions
from newsletter.db.engine import is_sqlite
from newsletter.db.session import Writer
from newsletter.errors import Conflict

#: A larger number is not valid.
_LARGEST = 2**62

_id: ColumnClause[int] = column("id", Integer())
_serial: ColumnClause[int] = column("serial", BigInteger())
_worked_until: ColumnClause[datetime] = column("worked_until", DateTime(timezone=True))
_progress = table("progress", _id, _serial, _worked_until)


class SendSerial(NamedTuple):
    """The serial number of sending, and the time at which it was last advanced."""

    serial: int
    worked_until: datetime


class Restored(Enum):
    """What `sending` does if the database seems to be a restored backup."""

    #: Raise Conflict.
    REFUSED = "refused"
    #: Skip the check, as a worker has done it at its start.
    IGNORED = "ignored"
    #: Continue with the restored database.
    ACCEPTED = "accepted"
    #: Continue, but raise Conflict if the database is certainly not a restored backup.
    EXPECTED = "expected"


@contextmanager
def sending(
    engine: Engine,
    restored: Restored = Restored.REFUSED,
    *,
    advance_at: datetime | None = None,
    writer: Writer | None = None,
) -> Iterator[Session]:
    """Yield the session of a transaction that sends, or queues what is sent.

    1. Check for a restored backup.
    2. With `advance_at`, increase the serial.
    3. After the commit, write the serial to the file.

    A `writer` provides the connection if the caller has one already.

    Lock order: the progress row before all other rows, so workers that start, end or renew their
    lease take turns. A freeze does not lock that row, as it may take longer than a lease.
    """
    serial = None
    with writer.transaction() if writer else sessions.writing(engine) as session:
        if advance_at is not None:
            session.execute(select(_id).select_from(_progress).with_for_update()).all()
        if restored is Restored.REFUSED:
            check(session, engine)
        elif restored is Restored.EXPECTED and _is_known_better(session, engine):
            raise Conflict(
                "This database is no restored backup: it knows of all that was sent from here.",
                hint="Nothing has to be done; `newsletter cron` goes on.",
            )
        if advance_at is not None:
            goes_on = restored in {Restored.ACCEPTED, Restored.EXPECTED}
            copy = recall(engine) if goes_on else None
            serial = advance(session, advance_at, beyond=copy.serial if copy else 0)
        yield session
    if serial is not None:
        remember(engine, serial)


def problem(session: Session, engine: Engine) -> Conflict | None:
    """Return the error that `check` raises, for the doctor's findings; None without one."""
    try:
        check(session, engine)
    except Conflict as exc:
        return exc
    return None


def _is_known_better(session: Session, engine: Engine) -> bool:
    """Return whether the file exists and the database is not behind it."""
    copy, stored = recall(engine), _read(session)
    return copy is not None and _is_current(stored, copy)


def check(session: Session, engine: Engine) -> None:
    """Raise Conflict if the database is behind the file."""
    # The file is read first, because it is written only after the commit of its serial.
    copy = recall(engine)
    stored = _read(session)
    if copy is None or _is_current(stored, copy):
        return
    since = f"{stored.worked_until:%Y-%m-%d %H:%M:%S} UTC" if stored else "it was made"
    raise Conflict(
        f"The database knows of nothing since {since}, but mail was sent until "
        f"{copy.worked_until:%Y-%m-%d %H:%M:%S} UTC: it seems to be a backup that was restored.",
        hint="`newsletter database restored` goes on from here and mails nobody twice; "
        "`newsletter send CADENCE --force` sends what this backup has waiting.",
    )


def advance(session: Session, now: datetime, *, beyond: int = 0) -> SendSerial:
    """Increase the serial in the database and return it; `remember` it after the commit."""
    row = {"id": 1, "serial": 0, "worked_until": _as_utc(session, now)}
    first = dialects.insert_into(session, _progress).values(row)
    session.execute(first.on_conflict_do_nothing(index_elements=[_id]))
    serial = case((_serial < beyond, beyond), else_=_serial) + 1
    moved = update(_progress).values(serial=serial, worked_until=_as_utc(session, now))
    return SendSerial(session.execute(moved.returning(_serial)).scalar_one(), now)


def remember(engine: Engine, serial: SendSerial) -> None:
    """Write a committed serial to the file. A failed write is ignored: the guard is best effort."""
    copy = recall(engine)
    if copy is not None and copy.serial > serial.serial:
        # Another worker has written a later serial.
        return
    with suppress(OSError):
        path = _path(engine)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        partial.write_text(f"{serial.serial} {serial.worked_until.astimezone(UTC).isoformat()}\n")
        partial.replace(path)


def forget(engine: Engine) -> None:
    """Remove the file of an earlier database in the same place, after a new one was created."""
    with suppress(OSError):
        _path(engine).unlink()


def recall(engine: Engine) -> SendSerial | None:
    """Return the serial in the file; None if it is missing or not valid."""
    with suppress(OSError, ValueError):
        serial, _, instant = _path(engine).read_text(encoding="ascii").partition(" ")
        found = SendSerial(int(serial), datetime.fromisoformat(instant.strip()))
        if 0 <= found.serial < _LARGEST and found.worked_until.tzinfo:
            return found
    return None


def _is_current(stored: SendSerial | None, copy: SendSerial) -> bool:
    return stored is not None and stored.serial >= copy.serial


def _read(session: Session) -> SendSerial | None:
    found = session.execute(select(_serial, _worked_until)).one_or_none()
    if found is None:
        return None
    # SQLite returns naive datetimes, which are in UTC.
    instant = found.worked_until
    return SendSerial(found.serial, instant.replace(tzinfo=instant.tzinfo or UTC))


def _as_utc(session: Session, instant: datetime) -> datetime:
    utc = instant.astimezone(UTC)
    return utc.replace(tzinfo=None) if is_sqlite(session.connection()) else utc


def _path(engine: Engine) -> Path:
    if is_sqlite(engine):
        return Path(f"{engine.url.database}-sent")
    name = engine.url.render_as_string(hide_password=True)
    return paths.state_folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.sent"
