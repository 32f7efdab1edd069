"""Deletes subscribers who have not confirmed for 30 days, with their personal data.

This is like an erasure, but no hash is kept, so the address may be signed up again. Suppressions
stay.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter.db import session as sessions
from newsletter.ledger import erasure
from newsletter.subscribers import store
from newsletter.subscribers.locking import locked_subscribers

#: Time for which a subscriber stays pending after the last sign-up or import.
KEPT = timedelta(days=30)
#: Subscribers per transaction.
_BATCH = 500


def delete(engine: Engine, *, now: datetime) -> int:
    """Delete all expired pending subscribers, one transaction per batch; return how many."""
    deleted = 0
    while True:
        with sessions.writing(engine) as session:
            batch = _delete_some(session, now=now)
        deleted += batch
        if batch < _BATCH:
            return deleted


def _delete_some(session: Session, *, now: datetime) -> int:
    expired = store.are_unconfirmed(until=now - KEPT)
    readers = locked_subscribers(session, expired, ends=True, limit=_BATCH)
    if readers:
        theirs = store.deliveries_of([reader.public_id for reader in readers])
        erasure.erase(session, theirs, now=now)
        store.erase(session, [reader.id for reader in readers], now=now)
    return len(readers)
