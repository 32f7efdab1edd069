"""A witness beside the database: it says how far the sending had come when it was last seen.

A database that knows less than its witness is a backup that was restored: what it has waiting may
have been sent since. The witness of a SQLite file lies next to it, that of a PostgreSQL database
with this user's other state, on every machine that sends.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import (
    ColumnClause,
    DateTime,
    Engine,
    Integer,
    column,
    select,
    table,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session

from newsletter import paths
from newsletter.db.engine import is_sqlite
from newsletter.errors import Conflict

#: There is no place for it, or this user has no home.
_NOWHERE = (OSError, RuntimeError)

_id: ColumnClause[int] = column("id", Integer())
_worked_until: ColumnClause[datetime] = column("worked_until", DateTime(timezone=True))
_progress = table("progress", _id, _worked_until)


def is_known_better(session: Session, engine: Engine) -> bool:
    """Tell whether there is a witness, and the database knows at least as much."""
    seen, known = recall(engine), _known(session)
    return seen is not None and known is not None and known >= seen


def check(session: Session, engine: Engine) -> None:
    """Raise Conflict if more was sent than this database knows of."""
    seen, known = recall(engine), _known(session)
    if seen is None or is_known_better(session, engine):
        return
    since = f"{known:%Y-%m-%d %H:%M} UTC" if known else "it was made"
    raise Conflict(
        f"The database knows of nothing since {since}, but mail was sent until "
        f"{seen:%Y-%m-%d %H:%M} UTC: it seems to be a backup that was restored.",
        hint="`newsletter database restored` goes on from here and mails nobody twice; "
        "`newsletter send CADENCE --force` sends what this backup has waiting.",
    )


def advance(session: Session, now: datetime) -> datetime:
    """Have the database know that it was worked with until now; `remember` it after the commit."""
    insert = sqlite.insert if is_sqlite(session.connection()) else postgresql.insert
    first = insert(_progress).values(id=1, worked_until=_stored(session, now))
    # Another worker may begin at this moment; with the row in hand, the later instant stays.
    session.execute(first.on_conflict_do_nothing(index_elements=[_id]))
    session.execute(update(_progress).values(worked_until=_worked_until))
    latest = max(now, _known(session) or now)
    session.execute(update(_progress).values(worked_until=_stored(session, latest)))
    return latest


def accept(session: Session, engine: Engine, now: datetime) -> datetime:
    """Take the database for what it should be, whatever the witness says."""
    return advance(session, max(now, recall(engine) or now))


def remember(engine: Engine, worked_until: datetime) -> None:
    """Have the witness know it, too. One that cannot be written is done without."""
    with suppress(*_NOWHERE):
        path = _path(engine)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        partial.write_text(worked_until.astimezone(UTC).isoformat())
        partial.replace(path)


def forget(engine: Engine) -> None:
    """Let a new database have no witness of one that was in its place."""
    with suppress(*_NOWHERE):
        _path(engine).unlink()


def recall(engine: Engine) -> datetime | None:
    """Return what the witness knows; None if there is none."""
    with suppress(*_NOWHERE, ValueError):
        found = datetime.fromisoformat(_path(engine).read_text())
        return found if found.tzinfo else None
    return None


def _known(session: Session) -> datetime | None:
    found: datetime | None = session.execute(select(_worked_until)).scalar()
    # SQLite, which has no time zones, answers in UTC without saying so.
    return found and found.replace(tzinfo=found.tzinfo or UTC)


def _stored(session: Session, instant: datetime) -> datetime:
    utc = instant.astimezone(UTC)
    return utc.replace(tzinfo=None) if is_sqlite(session.connection()) else utc


def _path(engine: Engine) -> Path:
    if is_sqlite(engine):
        return Path(f"{engine.url.database}-sent")
    name = engine.url.render_as_string(hide_password=True)
    return paths.state_folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.sent"
