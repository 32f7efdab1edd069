"""Rate limits with a counter per window, as rows of the database.

Shared by all processes and machines, and durable across restarts. A window begins with its first
use, not at fixed times, so "one a day" is never two within 24 hours. The subject of a limit is
stored as a keyed hash. Functions take the Session of a transaction that their caller owns.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, delete, literal
from sqlmodel import Session, col, select

from newsletter.db import dialects
from newsletter.models import Throttle
from newsletter.models.columns import Instant
from newsletter.tokens import Keyring

_key = col(Throttle.key)
_count = col(Throttle.count)
_ends_at = col(Throttle.ends_at)


@dataclass(frozen=True)
class Limit:
    """A rate limit: at most `count` uses in `window`."""

    #: A part of the row's key.
    name: str
    count: int
    window: timedelta

    def key(self, subject: str, keyring: Keyring) -> str:
        """Return the key of the row that counts the uses by `subject`."""
        return f"{self.name}:{keyring.fingerprints(f'{self.name}:{subject}')[0]}"


def take(session: Session, limit: Limit, subject: str, *, now: datetime, keyring: Keyring) -> bool:
    """Count one use; return False, and count nothing, if the limit is used up.

    One statement, so that concurrent sessions together cannot exceed the limit.
    """
    is_over = _ends_at <= literal(now, Instant())
    statement = dialects.insert_into(session, Throttle).values(
        key=limit.key(subject, keyring), began_at=now, ends_at=now + limit.window, count=1
    )
    taken = statement.on_conflict_do_update(
        index_elements=[_key],
        set_={
            "began_at": case((is_over, literal(now, Instant())), else_=col(Throttle.began_at)),
            "ends_at": case((is_over, literal(now + limit.window, Instant())), else_=_ends_at),
            "count": case((is_over, 1), else_=_count + 1),
        },
        where=is_over | (_count < limit.count),
    ).returning(_key)
    return session.execute(taken).first() is not None


def spent_until(
    session: Session, limit: Limit, subject: str, *, now: datetime, keyring: Keyring
) -> datetime | None:
    """Return when a used up limit may be used again, None if it may be used now; reads only."""
    return session.exec(
        select(Throttle.ends_at).where(
            _key == limit.key(subject, keyring), _ends_at > now, _count >= limit.count
        )
    ).one_or_none()


def reset(session: Session, limit: Limit, *subjects: str, keyring: Keyring) -> None:
    """Delete the counters of `subjects`. Lock order: by key, or two imports deadlock."""
    keys = [limit.key(subject, keyring) for subject in subjects]
    chosen = select(Throttle.key).where(_key.in_(keys)).order_by(_key).with_for_update()
    session.execute(delete(Throttle).where(_key.in_(session.exec(chosen).all())))


def prune(session: Session, *, now: datetime) -> int:
    """Delete the rows of windows that have ended, and return how many."""
    pruned = session.execute(delete(Throttle).where(_ends_at <= now))
    return int(getattr(pruned, "rowcount", 0))
