"""Erases a person everywhere, except for a keyed hash of the address, which keeps it suppressed.

Their deliveries stay as rows without an address, so that the counts of past editions still balance.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import suppression, tally
from newsletter.db import engine as engines
from newsletter.ledger import cancellation, erasure, reports
from newsletter.ledger.reasons import Reason
from newsletter.subscribers import changes, store
from newsletter.subscribers.locking import locked_subscriber
from newsletter.tokens import Keyring


@dataclass(frozen=True)
class Forgotten:
    """Counts of what was erased."""

    subscriber: bool
    consents: int
    deliveries: int


def forget(session: Session, address: str, *, now: datetime, keyring: Keyring) -> Forgotten:
    """Erase the person of an address, and their earlier addresses; cancel open deliveries.

    A message in flight may still arrive; its row no longer has the address.
    """
    subscriber = locked_subscriber(session, store.with_address(address), ends=True)
    public_id = subscriber.public_id if subscriber else None
    # Lock order: suppressions before deliveries, as the sender takes them, or the two deadlock.
    former = store.former_addresses(session, subscriber) if subscriber else set()
    known = suppression.suppressed_among(session, former, keyring=keyring)
    for one in sorted({address, *known}):
        suppression.forget(session, one, now=now, keyring=keyring)
    if public_id is not None:
        cancellation.cancel(session, references=[public_id], reason=Reason.FORGOTTEN, now=now)
    changes.forget(session, subscriber, address, now=now)
    theirs = store.deliveries_of([public_id] if public_id else [], address=address)
    deliveries = erasure.erase(session, theirs, now=now)
    reports.erase_recipient(session, address)
    consents = store.erase(session, [subscriber.id], now=now) if subscriber else 0
    if subscriber is not None:
        tally.add_events(session, {"forgotten": 1}, now=now)
    return Forgotten(subscriber=subscriber is not None, consents=consents, deliveries=deliveries)


def sweep(engine: Engine, *, patience_seconds: float = 5) -> bool:
    """Checkpoint SQLite's write-ahead log, which still has the erased data, after the commit.

    Returns False if a reader of the database blocked it; then a later checkpoint removes the data.
    """
    return engines.checkpoint(engine, patience_seconds=patience_seconds)
