"""Rate limits with a counter per window, as rows of the database.

The counters are shared by all processes and machines, and survive restarts. A window begins with
its first use, not at fixed times, so "one a day" is never two within 24 hours. The subject of a
limit is stored as a keyed hash. Functions take the Session of a transaction that their caller owns.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, select
from sqlmodel import Session, col

from newsletter.models import Throttle
from newsletter.models.columns import Instant, sql
from newsletter.tokens import Keyring

_TAKE = sql(
    """
    INSERT INTO throttle (key, began_at, ends_at, count) VALUES (:key, :now, :ends_at, 1)
    ON CONFLICT (key) DO UPDATE SET
        began_at = CASE WHEN throttle.ends_at <= :now THEN :now ELSE throttle.began_at END,
        ends_at = CASE WHEN throttle.ends_at <= :now THEN :ends_at ELSE throttle.ends_at END,
        count = CASE WHEN throttle.ends_at <= :now THEN 1 ELSE throttle.count + 1 END
    WHERE throttle.ends_at <= :now OR throttle.count < :most
    RETURNING key
    """,
    "now",
    "ends_at",
)
_SPENT_UNTIL = sql(
    "SELECT ends_at FROM throttle WHERE key = :key AND ends_at > :now AND count >= :most", "now"
).columns(ends_at=Instant())

_of_keys = col(Throttle.key).in_(bindparam("keys", expanding=True))
_CHOSEN = select(col(Throttle.key)).where(_of_keys).order_by(col(Throttle.key)).with_for_update()
_RESET = delete(Throttle).where(_of_keys).execution_options(synchronize_session=False)


@dataclass(frozen=True)
class Limit:
    """A rate limit: at most `count` uses in `window`."""

    #: The name of the limit, which is a part of the row's key.
    name: str
    count: int
    window: timedelta

    def key(self, subject: str, keyring: Keyring) -> str:
        """Return the key of the row that counts the uses by `subject`."""
        return f"{self.name}:{keyring.fingerprints(f'{self.name}:{subject}')[0]}"


def take(session: Session, limit: Limit, subject: str, *, now: datetime, keyring: Keyring) -> bool:
    """Count one use; return False, and count nothing, if the limit is used up.

    This is a single statement, so that concurrent sessions together cannot exceed the limit.
    """
    key, ends_at = limit.key(subject, keyring), now + limit.window
    taken = session.execute(
        _TAKE, {"key": key, "now": now, "ends_at": ends_at, "most": limit.count}
    )
    return taken.first() is not None


def spent_until(
    session: Session, limit: Limit, subject: str, *, now: datetime, keyring: Keyring
) -> datetime | None:
    """Return when an exhausted limit is available again, None if it is available; reads only."""
    key = limit.key(subject, keyring)
    found = session.execute(_SPENT_UNTIL, {"key": key, "now": now, "most": limit.count})
    return found.scalar_one_or_none()


def reset(session: Session, limit: Limit, *subjects: str, keyring: Keyring) -> None:
    """Delete the counters of `subjects`. Lock order: by key, or two imports may deadlock."""
    keys = [limit.key(subject, keyring) for subject in subjects]
    chosen = session.execute(_CHOSEN, {"keys": keys}).scalars().all()
    session.execute(_RESET, {"keys": chosen})


def prune(session: Session, *, now: datetime) -> int:
    """Delete the rows of windows that have ended, and return how many."""
    pruned = session.execute(delete(Throttle).where(col(Throttle.ends_at) <= now))
    return int(getattr(pruned, "rowcount", 0))
