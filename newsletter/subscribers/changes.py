"""Queries of the rows of address changes: find, expire and delete them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete
from sqlmodel import Session, col, select

from newsletter.ledger import erasure
from newsletter.models import AddressChange, Subscriber
from newsletter.subscribers import store


def prune(session: Session, *, now: datetime) -> int:
    """Delete the changes whose links have expired, with their addresses; return how many."""
    expired = session.exec(select(AddressChange).where(col(AddressChange.expires_at) <= now)).all()
    return drop(session, list(expired), now=now)


def forget(session: Session, subscriber: Subscriber | None, address: str, *, now: datetime) -> None:
    """Delete the changes of an erased reader, and those of others to the erased address."""
    mine = of(session, subscriber) if subscriber else []
    theirs = session.exec(select(AddressChange).where(AddressChange.address == address)).all()
    drop(session, [*mine, *theirs], now=now)


def of(session: Session, subscriber: Subscriber) -> list[AddressChange]:
    """Return the changes requested for a reader."""
    chosen = select(AddressChange).where(AddressChange.subscriber_id == subscriber.id)
    return list(session.exec(chosen))


def drop(session: Session, changes: list[AddressChange], *, now: datetime) -> int:
    """Delete changes, and erase the recipients of their letters in the ledger."""
    theirs = store.deliveries_of([change.public_id for change in changes])
    erasure.erase(session, theirs, now=now)
    ids = [change.id for change in changes]
    session.execute(delete(AddressChange).where(col(AddressChange.id).in_(ids)))
    return len(ids)
