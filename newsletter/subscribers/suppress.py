"""Suppress and release addresses together with their subscribers and open deliveries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row
from sqlmodel import Session

from newsletter import suppression
from newsletter.ledger import cancellation
from newsletter.ledger.reasons import Reason
from newsletter.models import Status
from newsletter.subscribers import consent, store
from newsletter.subscribers.consent import Action, Origin
from newsletter.subscribers.locking import locked_subscriber, locked_subscribers
from newsletter.suppression import Cause, Chosen, Grounds
from newsletter.tokens import Keyring

#: Subscribers per transaction.
_BATCH = 500
_MAILABLE = [status for status in Status if status != Status.SUPPRESSED]


def suppress(
    session: Session, address: str, *, grounds: Grounds, now: datetime, keyring: Keyring
) -> bool:
    """Suppress an address; return False if it was suppressed already."""
    return suppress_each(session, {address: grounds}, now=now, keyring=keyring) == 1


def suppress_all(
    session: Session,
    addresses: Collection[str],
    *,
    grounds: Grounds,
    now: datetime,
    keyring: Keyring,
) -> int:
    """Suppress addresses for the same cause; return how many were not suppressed before."""
    each = dict.fromkeys(addresses, grounds)
    return suppress_each(session, each, now=now, keyring=keyring)


def suppress_each(
    session: Session, each: Mapping[str, Grounds], *, now: datetime, keyring: Keyring
) -> int:
    """Suppress each address for its own cause; return how many were not suppressed before.

    Their subscribers become suppressed, whatever their status, and open deliveries are cancelled.
    """
    if not each:
        return 0
    # Lock order: subscribers before suppressions, as in an erasure, or the two may deadlock.
    # Suppressed subscribers are locked too, or a concurrent confirmation would lift the new cause.
    readers = locked_subscribers(session, store.are_in(list(each), list(Status)), ends=True)
    added = suppression.suppress_each(session, each, now=now, keyring=keyring)
    ended = [reader for reader in readers if reader.status != Status.SUPPRESSED]
    grounds = [each[reader.address] for reader in ended]
    origins = [Origin(one.source, wording=one.reason, cause=one.cause) for one in grounds]
    _end(session, ended, origins, now)
    return added


def catch_up(session: Session, *, now: datetime) -> int:
    """Suppress one batch of subscribers whose address the sender has suppressed; return how many.

    This is needed because the sender suppresses addresses, but cannot change subscribers.
    """
    addresses = store.suppressed_late(session, limit=_BATCH)
    if not addresses:
        return 0
    readers = locked_subscribers(session, store.are_in(addresses, _MAILABLE), ends=True)
    origin = Origin("mail server", wording="The address takes no mail.", cause=Cause.DEAD)
    _end(session, readers, [origin] * len(readers), now)
    return len(readers)


def _end(
    session: Session, readers: Sequence[Row[Any]], origins: Sequence[Origin], now: datetime
) -> None:
    """Suppress readers, in one statement for all; `origins` are in the order of `readers`."""
    if not readers:
        return
    theirs = store.with_ids([reader.id for reader in readers])
    # The end of a pause is not cleared, because the suppression may be lifted before it.
    store.change(session, theirs, {"status": Status.SUPPRESSED}, now=now)
    by_address = {reader.address: one for reader, one in zip(readers, origins, strict=True)}
    consent.record_each(session, theirs, Action.SUPPRESSED, origins=by_address, now=now)
    gone = [reader.public_id for reader in readers]
    cancellation.cancel(session, references=gone, reason=Reason.SUPPRESSED, now=now)


def release(
    session: Session, address: str, *, origin: Origin, now: datetime, keyring: Keyring
) -> bool:
    """Lift the suppression of an address; return False if it was not suppressed.

    If a mail server was the only cause, the subscriber gets their earlier status back. Otherwise
    they are unsubscribed until they sign up again, because a release is no consent.
    """
    subscriber = locked_subscriber(session, store.with_address(address), ends=False)
    cause = suppression.release(session, address, keyring=keyring)
    if subscriber is not None and subscriber.status == Status.SUPPRESSED:
        assert subscriber.id is not None
        status = Status(_restored(session, [subscriber.id], cause)[subscriber.id])
        store.move(session, subscriber, status=status, now=now)
        if subscriber.status != Status.PAUSED:
            subscriber.paused_until = None
        consent.record(session, subscriber, Action.RELEASED, origin=origin, now=now)
    elif subscriber is not None and cause is not None:
        consent.record(session, subscriber, Action.RELEASED, origin=origin, now=now)
    return cause is not None


def release_all(
    session: Session,
    cause: Cause,
    *,
    since: datetime | None,
    after: int,
    origin: Origin,
    now: datetime,
) -> tuple[int, int | None]:
    """Lift a batch of suppressions for a cause, as `release` does, beginning after id `after`.

    Suppressions of erased persons stay. Returns how many were lifted, and the last id; None at the
    end.
    """
    chosen = Chosen(cause, since)
    listed = suppression.listing(session, limit=_BATCH, after=after, chosen=chosen)
    if not listed:
        return 0, None
    addresses = [row.address for row in listed if row.address is not None]
    # Lock order: subscribers before suppressions.
    suppressed = store.are_in(addresses, [Status.SUPPRESSED])
    readers = locked_subscribers(session, suppressed, ends=False)
    # Addresses that have got a graver cause meanwhile are not lifted.
    lifted = suppression.release_all(session, addresses, cause=cause)
    by_status: dict[str, list[int]] = {}
    restored = _restored(session, [one.id for one in readers if one.address in lifted], cause)
    for one, status in restored.items():
        by_status.setdefault(status, []).append(one)
    for status, alike in by_status.items():
        theirs = store.with_ids(alike)
        cleared = {} if status == Status.PAUSED else {"paused_until": None}
        store.change(session, theirs, {"status": status, **cleared}, now=now)
        consent.record_all(session, theirs, Action.RELEASED, origin=origin, now=now)
    return len(lifted), listed[-1].id


def _restored(session: Session, ids: Sequence[int], cause: Cause | None) -> dict[int, str]:
    """Return the status of readers whose suppression for a cause is lifted, by id."""
    before = store.before_suppression(session, ids) if cause in suppression.OF_SERVERS else {}
    return {one: before.get(one, Status.UNSUBSCRIBED) for one in ids}
