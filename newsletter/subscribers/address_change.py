"""A change of address: asked for by one mailbox, confirmed by the other, noted to the first.

Whoever has a reader's link, or a mail that was forwarded to them, can ask. So nothing changes until
the owner of the new address has opened the link in a letter there and pressed its button, and a
note goes to the present address. The answer is the same whoever the new address belongs to, and so,
as far as can be, is the work; two readers are never merged.

A change is no new consent: cadence, watermark, pause and generation stay, and so do the links in
mail that the reader has. What was queued for the old address is called off and comes with the next
edition, to the new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlmodel import Session, col, select

from newsletter import address as addresses
from newsletter import suppression, throttle, tokens
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.errors import Conflict, OutdatedToken, TooManyRequests
from newsletter.ledger import queue
from newsletter.models import AddressChange, Consent, Kind, Mailing, Status, Subscriber
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
from newsletter.subscribers.letters import Publication
from newsletter.throttle import Limit
from newsletter.tokens import CONFIRM_LIFETIME, Bearer, Keyring

#: How often one reader's address may be asked to change.
CHANGES = Limit("change", 5, timedelta(hours=24))
#: How often a reader is told that somebody asked.
NOTES = Limit("note", 1, timedelta(hours=24))
#: Why the ledger's rows for the old address were taken back.
REASON = "address changed"

_READING = frozenset({Status.ACTIVE, Status.PAUSED})


class Asked(StrEnum):
    """What became of an asking; for the operator and for tests, never for a visitor."""

    LINK = "link"
    #: The address has mail from us already; its owner has been told so.
    SAME = "same"
    READER = "reader"
    SUPPRESSED = "suppressed"
    #: The mailbox has had a letter lately.
    NOTHING = "nothing"


class Obstacle(StrEnum):
    """Why a change cannot be made, for the owner of the new address."""

    READER = "reader"
    SUPPRESSED = "suppressed"


@dataclass(frozen=True)
class Awaited:
    """A change that a link was made for."""

    change: AddressChange
    subscriber: Subscriber
    obstacle: Obstacle | None = None

    @property
    def is_done(self) -> bool:
        """Whether the owner of the new address has confirmed it."""
        return self.change.done_at is not None


def ask(
    session: Session,
    subscriber: Subscriber,
    address: str,
    *,
    publication: Publication,
    now: datetime,
) -> Asked:
    """Ask the owner of an address, in its one spelling, whether a held reader's mail may go there.

    1. Count, by the reader and by the new mailbox. 2. Keep what was asked, whoever the address
    belongs to. 3. Write to the new address at most once a day, and to the present one too. Raises
    Conflict for who is no reader, and TooManyRequests by what this reader has asked for alone.
    """
    keyring = publication.keyring
    if subscriber.status not in _READING:
        raise Conflict(f"{subscriber.address} is {subscriber.status}: no mail goes there.")
    if not throttle.take(session, CHANGES, subscriber.public_id, now=now, keyring=keyring):
        raise TooManyRequests(retry_after=CHANGES.window)
    may_write = signup.may_ask(session, address, now=now, keyring=keyring)
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
    """Return the change that a link was made for; raises OutdatedToken if nothing is left of it."""
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
    """Give a reader the new address, on its owner's word; doing it again changes nothing.

    The old address is told so: the day's note about the asking may have been about another one. An
    address that somebody has only asked with, or has left with, is free: that row goes. Raises
    OutdatedToken as `awaited` does.
    """
    keyring = publication.keyring
    # Before any reader is held: a freeze that is running may want them.
    sessions.hold_freeze(session)
    change = _find(session, col(AddressChange.public_id) == bearer.public_id)
    if change is None:
        raise OutdatedToken
    owner, is_new = _hold(session, change, now=now)
    session.expire_all()
    found = awaited(session, bearer, keyring=keyring)
    if found.is_done or found.obstacle is not None:
        if is_new:
            store.erase(session, [owner.id])
        return found
    letters.old_address(session, found.subscriber, is_done=True, publication=publication, now=now)
    _move(session, found, owner, origin=origin, now=now)
    throttle.reset(session, signup.UNCONFIRMED, addresses.mailbox(change.address), keyring=keyring)
    return found


def call_off(session: Session, subscriber: Subscriber, *, now: datetime) -> None:
    """Forget what a reader, or somebody with their link, has asked for and nobody has confirmed."""
    changes.drop(session, changes.of(session, subscriber), now=now)


def pending(session: Session, subscriber: Subscriber, *, now: datetime) -> AddressChange | None:
    """Return the change that waits to be confirmed, if there is one."""
    return _find(
        session,
        col(AddressChange.subscriber_id) == subscriber.id,
        col(AddressChange.done_at).is_(None),
        col(AddressChange.expires_at) > now,
    )


def has_moved_since(session: Session, subscriber: Subscriber, then: datetime) -> bool:
    """Tell whether a reader's mail goes to another mailbox than it went to at that time."""
    moved = select(Consent.id).where(
        Consent.subscriber_id == subscriber.id,
        Consent.action == Action.ADDRESS,
        col(Consent.at) >= then,
    )
    return session.exec(moved.limit(1)).first() is not None


def _keep(
    session: Session, subscriber: Subscriber, address: str, *, now: datetime
) -> AddressChange:
    """Keep what was asked last; who asks the same again keeps the link that they may have."""
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


def _hold(session: Session, change: AddressChange, *, now: datetime) -> tuple[Subscriber, bool]:
    """Hold the reader and the row of the new address; return the latter, and whether it was made.

    With the row in hand nobody can sign up with that address meanwhile. Lock order: by id, so that
    two readers who take each other's address do not wait for each other.
    """
    public_id = tokens.new_public_id()
    row = {"public_id": public_id, "address": change.address, "cadence": Cadence.WEEKLY}
    chosen = (
        select(Subscriber)
        .where(
            (col(Subscriber.id) == change.subscriber_id)
            | (col(Subscriber.address) == change.address)
        )
        .order_by(col(Subscriber.id))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    # Who has the address at the insert may be gone by the time that the row can be held: another
    # reader was given the address, or it was erased.
    owner = None
    while owner is None:
        store.insert_missing(session, [row], status=Status.PENDING, now=now)
        held = session.exec(chosen).all()
        owner = next((one for one in held if one.address == change.address), None)
    return owner, owner.public_id == public_id


def _move(
    session: Session, found: Awaited, owner: Subscriber, *, origin: Origin, now: datetime
) -> None:
    change, subscriber = found.change, found.subscriber
    queue.cancel(session, reference=owner.public_id, reason=REASON, now=now)
    changes.drop(session, changes.of(session, owner), now=now)
    store.erase(session, [owner.id])
    session.expunge(owner)
    # Letters stay on their way: one of them says at the old address that this was asked for.
    queue.cancel(
        session,
        reference=subscriber.public_id,
        reason=REASON,
        now=now,
        mailings=select(Mailing.id).where(col(Mailing.kind).in_((Kind.DIGEST, Kind.CORRECTION))),
    )
    preferences.keep_place(session, subscriber)
    subscriber.address = change.address
    consent.record(session, subscriber, Action.ADDRESS, origin=origin, now=now)
    change.done_at = now
    session.add(change)
    session.flush()


def _find(session: Session, *chosen: object) -> AddressChange | None:
    return session.exec(select(AddressChange).where(*chosen)).one_or_none()  # type: ignore[arg-type]  # columns
