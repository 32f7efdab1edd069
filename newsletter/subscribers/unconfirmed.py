"""Deletes who has not confirmed: after 30 days nothing is left that names them.

As in an erasure, but without a hash: an address that nobody confirmed may be entered again. One
that was suppressed meanwhile stays so.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter.db import session as sessions
from newsletter.subscribers import store

#: How long an address stays pending after it was last asked to confirm, or was imported.
KEPT = timedelta(days=30)
#: Readers that one transaction deletes.
_BATCH = 500


def delete(engine: Engine, *, now: datetime) -> int:
    """Delete all who have been pending for too long, a batch at a time; return how many."""
    deleted = 0
    while True:
        with sessions.writing(engine) as session:
            batch = _delete_some(session, now=now)
        deleted += batch
        if batch < _BATCH:
            return deleted


def _delete_some(session: Session, *, now: datetime) -> int:
    # Lock order: the freeze lock before readers, as whoever changes a reader takes them.
    sessions.hold_freeze(session)
    readers = store.lock_pending(session, until=now - KEPT, limit=_BATCH)
    if readers:
        theirs = store.deliveries_of([reader.public_id for reader in readers])
        store.erase_deliveries(session, theirs, now=now)
        store.erase(session, [reader.id for reader in readers])
    return len(readers)
