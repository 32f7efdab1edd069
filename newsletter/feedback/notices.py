"""Time of the last scheduled read of the mailbox, and the scheduler's notices if reading fails.

Notices are given on the first failure, then daily, and on recovery, as for feeds. Both times are
rows of the table `receipt`, so that all machines share them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Engine, delete
from sqlmodel import Session, col, select

from newsletter.db import dialects
from newsletter.db import session as sessions
from newsletter.errors import NewsletterError
from newsletter.models import Receipt

_READ, _FAILING = "mailbox:read", "mailbox:failing"
#: Two minutes less than a day, because a cron job starts some seconds early or late.
_DAILY = timedelta(days=1, minutes=-2)


def is_due(engine: Engine, every: timedelta, *, now: datetime) -> bool:
    """Return whether the last scheduled read was at least `every` ago; if so, record a new one.

    To be called by the process that holds the leader lock of the mailbox.
    """
    with sessions.reading(engine) as session:
        if _is_recent(session, _READ, now - every, now):
            return False
    with sessions.writing(engine) as session:
        _record(session, _READ, now)
    return True


def take(engine: Engine, failure: NewsletterError | None, *, now: datetime) -> str | None:
    """Return the notice for a success or failure, if one is due, and record that it was given."""
    with sessions.reading(engine) as session:
        was_failing = session.get(Receipt, _FAILING) is not None
        is_said = _is_recent(session, _FAILING, now - _DAILY, now)
    if is_said if failure else not was_failing:
        return None
    with sessions.writing(engine) as session:
        if failure is None:
            session.execute(delete(Receipt).where(col(Receipt.key) == _FAILING))
            return "The mailbox of returned mails can be read again."
        _record(session, _FAILING, now)
    return f"Still: {failure.message}" if was_failing else failure.message


def is_failing(session: Session, *, now: datetime) -> bool:
    """Return whether the scheduler's last read of the mailbox failed."""
    # A failure is recorded anew each day; an older record is of a mailbox no longer in the
    # settings.
    return _is_recent(session, _FAILING, now - 2 * _DAILY, now)


def heard_at(session: Session) -> datetime | None:
    """Return the time of the last returned mail or provider's event; None if there is none."""
    ours = col(Receipt.key).in_((_READ, _FAILING))
    newest = select(Receipt.at).where(~ours).order_by(col(Receipt.at).desc()).limit(1)
    return session.exec(newest).first()


def _is_recent(session: Session, key: str, since: datetime, now: datetime) -> bool:
    found = session.get(Receipt, key)
    # A time in the future was written before the clock was set back.
    return found is not None and since < found.at <= now


def _record(session: Session, key: str, now: datetime) -> None:
    added = dialects.insert_into(session, Receipt).values(key=key, at=now)
    session.execute(added.on_conflict_do_update(index_elements=["key"], set_={"at": now}))
