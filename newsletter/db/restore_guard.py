"""A witness beside the database: it says how far the sending had come when it was last seen.

A database that knows less than its witness is a backup that was restored: what it has waiting may
have been sent since. By a number, which goes up whenever mail is being sent: clocks go back. The
witness of a SQLite file lies next to it, that of a PostgreSQL database
with this user's other state, on every machine that sends.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from datetime import UTC, datetime
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
from newsletter.db.engine import is_sqlite
from newsletter.errors import Conflict

#: A larger number is no witness's.
_LARGEST = 2**62

_id: ColumnClause[int] = column("id", Integer())
_serial: ColumnClause[int] = column("serial", BigInteger())
_worked_until: ColumnClause[datetime] = column("worked_until", DateTime(timezone=True))
_progress = table("progress", _id, _serial, _worked_until)


class SendSerial(NamedTuple):
    """How far the sending has come: the number of times that it was noted, and when the last."""

    serial: int
    worked_until: datetime


def is_known_better(session: Session, engine: Engine) -> bool:
    """Tell whether there is a witness, and the database knows at least as much."""
    seen, known = recall(engine), _known(session)
    return seen is not None and _knows(known, seen)


def check(session: Session, engine: Engine) -> None:
    """Raise Conflict if more was sent than this database knows of."""
    # In this order: what the witness knows was committed before.
    seen = recall(engine)
    known = _known(session)
    if seen is None or _knows(known, seen):
        return
    since = f"{known.worked_until:%Y-%m-%d %H:%M:%S} UTC" if known else "it was made"
    raise Conflict(
        f"The database knows of nothing since {since}, but mail was sent until "
        f"{seen.worked_until:%Y-%m-%d %H:%M:%S} UTC: it seems to be a backup that was restored.",
        hint="`newsletter database restored` goes on from here and mails nobody twice; "
        "`newsletter send CADENCE --force` sends what this backup has waiting.",
    )


def advance(session: Session, now: datetime, *, beyond: int = 0) -> SendSerial:
    """Have the database know that it was worked with until now; `remember` it after the commit."""
    row = {"id": 1, "serial": 0, "worked_until": _stored(session, now)}
    first = dialects.insert_into(session, _progress).values(row)
    session.execute(first.on_conflict_do_nothing(index_elements=[_id]))
    serial = case((_serial < beyond, beyond), else_=_serial) + 1
    moved = update(_progress).values(serial=serial, worked_until=_stored(session, now))
    return SendSerial(session.execute(moved.returning(_serial)).scalar_one(), now)


def accept(session: Session, engine: Engine, now: datetime) -> SendSerial:
    """Take the database for what it should be, whatever the witness says."""
    seen = recall(engine)
    return advance(session, now, beyond=seen.serial if seen else 0)


def remember(engine: Engine, mark: SendSerial) -> None:
    """Have the witness know it, too. One that cannot be written is done without."""
    seen = recall(engine)
    if seen is not None and seen.serial > mark.serial:
        # Another worker was faster.
        return
    with suppress(OSError):
        path = _path(engine)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        partial.write_text(f"{mark.serial} {mark.worked_until.astimezone(UTC).isoformat()}\n")
        partial.replace(path)


def forget(engine: Engine) -> None:
    """Let a new database have no witness of one that was in its place."""
    with suppress(OSError):
        _path(engine).unlink()


def recall(engine: Engine) -> SendSerial | None:
    """Return what the witness knows; None if there is none."""
    with suppress(OSError, ValueError):
        serial, _, instant = _path(engine).read_text(encoding="ascii").partition(" ")
        found = SendSerial(int(serial), datetime.fromisoformat(instant.strip()))
        if 0 <= found.serial < _LARGEST and found.worked_until.tzinfo:
            return found
    return None


def _knows(known: SendSerial | None, seen: SendSerial) -> bool:
    return known is not None and known.serial >= seen.serial


def _known(session: Session) -> SendSerial | None:
    found = session.execute(select(_serial, _worked_until)).one_or_none()
    if found is None:
        return None
    # SQLite, which has no time zones, answers in UTC without saying so.
    instant = found.worked_until
    return SendSerial(found.serial, instant.replace(tzinfo=instant.tzinfo or UTC))


def _stored(session: Session, instant: datetime) -> datetime:
    utc = instant.astimezone(UTC)
    return utc.replace(tzinfo=None) if is_sqlite(session.connection()) else utc


def _path(engine: Engine) -> Path:
    if is_sqlite(engine):
        return Path(f"{engine.url.database}-sent")
    name = engine.url.render_as_string(hide_password=True)
    return paths.state_folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.sent"
