"""A change of address: requested with a reader's link, confirmed from the new address.

Anybody with a forwarded mail has a reader's link and can request a change. So nothing changes
until the owner of the new address has opened the link in a letter sent there and pressed its
button, and the present address is notified. The response, and as far as possible the work, does not
depend on whether the new address is known, so it does not disclose who subscribes. Two readers are
never merged.

A change is no new consent: cadence, watermark, pause and generation stay, and links in earlier mail
stay valid. Digests queued for the old address are cancelled; their articles are part of the next
edition, sent to the new address.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlmodel import Session, col, select

from newsletter import address as addresses
from newsletter import suppression, throttle, tokens
from newsletter.cadences import Cadence
from newsletter.errors import Conflict, OutdatedToken, TooManyRequests
from newsletter.ledger import cancellation
from newsletter.ledger.reasons import Reason
from newsletter.models import BULK, AddressChange, Consent, Mailing, Status, Subscriber
from newsletter.publication import Publication
from newsletter.subscribers import (
    changes,
    consent,
    letters,
    next_digest,
    preferences,
    signup,
    store,
)
from newsletter.subscribers.consent import Action, Origin
from newsletter.subscribers.locking import inserted_subscriber, locked_subscriber
from newsletter.throttle import Limit
from newsletter.tokens import CONFIRM_LIFETIME, Bearer, Keyring

#: Rate limit of requests to change one reader's address.
CHANGES = Limit("change", 5, timedelta(hours=24))
#: Rate limit of notices to the present address that a change was requested.
NOTES = Limit("note", 1, timedelta(hours=24))

_READING = frozenset({Status.ACTIVE, Status.PAUSED})


class Asked(StrEnum):
    """The result of a request; for the operator and for tests, never shown to a visitor."""

    LINK = "link"
    #: The address is subscribed already, by this reader (SAME) or another one (READER), and its
    #: owner gets a letter that says so.
    SAME = "same"
    READER = "reader"
    SUPPRESSED = "suppressed"
    #: No letter was sent, because the mailbox is over its rate limit.
    NOTHING = "nothing"


class Obstacle(StrEnum):
    """Why a change cannot be made; shown to the owner of the new address."""

    READER = "reader"
    SUPPRESSED = "suppressed"


@dataclass(frozen=True)
class Awaited:
    """The change that a confirmation link belongs to."""

    change: AddressChange
    subscriber: Subscriber
    obstacle: Obstacle | None = None

    @property
    def is_done(self) -> bool:
        """Whether the owner of the new address has confirmed the change."""
        return self.change.done_at is not None


def ask(
    session: Session,
    subscriber: Subscriber,
    address: str,
    *,
    publication: Publication,
    now: datetime,
) -> Asked:
    """Send a confirmation link to a normalised new address of a reader; locks the reader's row.

    1. Count against the rate limits of the reader and of the new mailbox.
    2. Store the request, whether the address is known or not.
    3. Write to the new and to the present address, each at most once a day.

    Raises Conflict if the subscriber is no reader, and TooManyRequests for the
    limit of this reader alone: that of the new mailbox would disclose what others have requested.
    """
    keyring, generation = publication.keyring, subscriber.generation
    # Lock order: throttle rows of the mailbox before the subscriber row, as in a sign-up.
    if not throttle.take(session, CHANGES, subscriber.public_id, now=now, keyring=keyring):
        raise TooManyRequests(retry_after=CHANGES.window)
    may_write = bool(signup.may_write_to(session, address, now=now, keyring=keyring))
    public_id = subscriber.public_id
    reader = locked_subscriber(session, store.with_public_id(public_id), ends=False)
    if reader is None or reader.generation != generation:
        raise OutdatedToken
    if reader.status not in _READING:
        raise Conflict(f"{reader.address} is {reader.status}: no mail goes there.")
    mailbox = addresses.mailbox(address)
    may_write = may_write and throttle.take(
        session, signup.UNCONFIRMED, mailbox, now=now, keyring=keyring
    )
    owner = store.find(session, address)
    is_suppressed = suppression.is_suppressed(session, address, keyring=keyring)
    change = _keep(session, subscriber, address, now=now)
    if throttle.take(session, NOTES, subscriber.public_id, now=now, keyring=keyring):
        letters.old_address(session, subscriber, publication=publication, now=now)
    skipped = next_digest.skipped_ahead(session, now=now)
    if owner is not None and owner.status in _READING:
        letters.present(
            session,
            owner,
            is_sent=may_write,
            skipped=skipped,
            publication=publication,
            now=now,
        )
        return Asked.SAME if owner.id == subscriber.id else Asked.READER
    is_suppressed |= owner is not None and owner.status == Status.SUPPRESSED
    letters.new_address(
        session,
        change,
        generation=subscriber.generation,
        is_sent=may_write and not is_suppressed,
        publication=publication,
        now=now,
    )
    if is_suppressed:
        return Asked.SUPPRESSED
    return Asked.LINK if may_write else Asked.NOTHING


def awaited(session: Session, bearer: Bearer, *, keyring: Keyring) -> Awaited:
    """Return the change of a confirmation link; raises OutdatedToken if it is gone or void."""
    change = _find(session, col(AddressChange.public_id) == bearer.public_id)
    subscriber = session.get(Subscriber, change.subscriber_id) if change else None
    if change is None or subscriber is None:
        raise OutdatedToken
    if subscriber.generation != bearer.generation or subscriber.status not in _READING:
        raise OutdatedToken
    if change.done_at is not None:
        return Awaited(change, subscriber)
    owner = store.find(session, change.address)
    obstacle = _obstacle(session, change, owner, keyring=keyring)
    return Awaited(change, subscriber, obstacle)


def confirm(
    session: Session, bearer: Bearer, *, origin: Origin, publication: Publication, now: datetime
) -> Awaited:
    """Give a reader the confirmed new address; idempotent.

    The old address always gets a notice: the one of that day may have been about another request.
    A pending or unsubscribed subscriber of the new address is deleted. Raises OutdatedToken as
    `awaited` does.
    """
    keyring = publication.keyring
    change = _find(session, col(AddressChange.public_id) == bearer.public_id)
    if change is None:
        raise OutdatedToken
    owner, is_new = _lock(session, change, now=now)
    session.expire_all()
    found = awaited(session, bearer, keyring=keyring)
    if found.is_done or found.obstacle is not None:
        if is_new:
            store.erase(session, [owner.id], now=now)
        return found
    letters.old_address(session, found.subscriber, is_done=True, publication=publication, now=now)
    _move(session, found, owner, origin=origin, now=now)
    throttle.reset(session, signup.UNCONFIRMED, addresses.mailbox(change.address), keyring=keyring)
    return found


def call_off(session: Session, subscriber: Subscriber, *, now: datetime) -> None:
    """Delete the changes requested with a reader's link."""
    changes.drop(session, changes.of(session, subscriber), now=now)


def pending(session: Session, subscriber: Subscriber, *, now: datetime) -> AddressChange | None:
    """Return the unconfirmed, unexpired change of a reader, if there is one."""
    return _find(
        session,
        col(AddressChange.subscriber_id) == subscriber.id,
        col(AddressChange.done_at).is_(None),
        col(AddressChange.expires_at) > now,
    )


def has_moved_since(session: Session, subscriber: Subscriber, then: datetime) -> bool:
    """Return whether a reader's address has changed at or after `then`."""
    moved = select(Consent.id).where(
        Consent.subscriber_id == subscriber.id,
        Consent.action == Action.ADDRESS,
        col(Consent.at) >= then,
    )
    return session.exec(moved.limit(1)).first() is not None


def _keep(
    session: Session, subscriber: Subscriber, address: str, *, now: datetime
) -> AddressChange:
    """Store the newest request; the same one again extends the first, so its link stays valid."""
    expires_at = now + CONFIRM_LIFETIME
    before = pending(session, subscriber, now=now)
    if before is not None and before.address == address:
        before.expires_at = expires_at
        session.add(before)
        return before
    changes.drop(session, changes.of(session, subscriber), now=now)
    assert subscriber.id is not None
    change = AddressChange(
        public_id=tokens.new_public_id(),
        subscriber_id=subscriber.id,
        address=address,
        asked_at=now,
        expires_at=expires_at,
    )
    session.add(change)
    session.flush()
    return change


def _obstacle(
    session: Session, change: AddressChange, owner: Subscriber | None, *, keyring: Keyring
) -> Obstacle | None:
    if suppression.is_suppressed(session, change.address, keyring=keyring):
        return Obstacle.SUPPRESSED
    if owner is None or owner.status not in _READING | {Status.SUPPRESSED}:
        return None
    return Obstacle.READER if owner.status in _READING else Obstacle.SUPPRESSED


def _lock(session: Session, change: AddressChange, *, now: datetime) -> tuple[Subscriber, bool]:
    """Lock the reader and the row of the new address; return the latter, and whether it is new.

    The row is inserted if missing: its lock keeps others from signing up with that address.
    """
    public_id = tokens.new_public_id()
    row = {"public_id": public_id, "address": change.address, "cadence": Cadence.WEEKLY}
    reader = store.with_ids([change.subscriber_id])
    owner = inserted_subscriber(session, row, now=now, ends=True, beside=reader)
    return owner, owner.public_id == public_id


def _move(
    session: Session, found: Awaited, owner: Subscriber, *, origin: Origin, now: datetime
) -> None:
    change, subscriber = found.change, found.subscriber
    cancellation.cancel(
        session, references=[owner.public_id], reason=Reason.ADDRESS_CHANGED, now=now
    )
    changes.drop(session, changes.of(session, owner), now=now)
    store.erase(session, [owner.id], now=now)
    session.expunge(owner)
    # Letters are not cancelled: one of them notifies the old address of this change.
    cancellation.cancel(
        session,
        references=[subscriber.public_id],
        reason=Reason.ADDRESS_CHANGED,
        now=now,
        mailings=select(Mailing.id).where(col(Mailing.kind).in_(BULK)),
    )
    preferences.settle_watermark(session, subscriber)
    subscriber.address = change.address
    consent.record(session, subscriber, Action.ADDRESS, origin=origin, now=now)
    change.done_at = now
    session.add(change)
    session.flush()


def _find(session: Session, *chosen: object) -> AddressChange | None:
    return session.exec(select(AddressChange).where(*chosen)).one_or_none()  # type: ignore[arg-type]  # columns
