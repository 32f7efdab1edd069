"""Signing up: from a stranger, or a reader who had left, to an active reader.

Every new consent after a goodbye counts the generation up, so that links made under the earlier one
no longer act, and starts the reader at the next edition, without a watermark of old.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlmodel import Session

from newsletter import suppression, tokens
from newsletter.cadence import Cadence
from newsletter.errors import Conflict
from newsletter.models import Status, Subscriber
from newsletter.subscribers import consent, preferences, store
from newsletter.subscribers.consent import Action, Origin
from newsletter.tokens import Keyring

#: What an operator's word stands for in the record.
VOUCHED = "The operator says that this reader has asked for the newsletter."


class Signup(StrEnum):
    """What adding an address came to."""

    ADDED = "added"
    CONFIRMED = "confirmed"
    AGAIN = "again"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


def add(
    session: Session,
    address: str,
    *,
    cadence: Cadence | None,
    origin: Origin,
    now: datetime,
    keyring: Keyring,
    again: bool = False,
) -> tuple[Subscriber, Signup]:
    """Make an active reader of an address, in its one spelling, on the operator's word.

    A reader who is there gets the cadence, if one is given. One who has left needs `again`: a new
    consent. Raises Conflict for those, and for an address that must never be mailed.
    """
    if suppression.is_suppressed(session, address, keyring=keyring):
        raise Conflict(
            f"{address} is suppressed: it must never be mailed.",
            hint=f"If it may be mailed again, run `newsletter suppression remove {address}` first.",
        )
    subscriber, is_new = _found_or_made(session, address, cadence or Cadence.WEEKLY, now)
    if is_new:
        return subscriber, _begin(session, subscriber, Signup.ADDED, origin, now)
    if subscriber.status in {Status.ACTIVE, Status.PAUSED}:
        return subscriber, _keep(session, subscriber, cadence, origin, now)
    if subscriber.status != Status.PENDING:
        _check_again(subscriber, again=again)
    return subscriber, _rejoin(session, subscriber, cadence, origin, now)


def _found_or_made(
    session: Session, address: str, cadence: Cadence, now: datetime
) -> tuple[Subscriber, bool]:
    """Return the subscriber of an address, held, and whether this made it."""
    public_id = tokens.new_public_id()
    row = {"public_id": public_id, "address": address, "cadence": cadence}
    store.insert_missing(session, [row], status=Status.PENDING, now=now)
    subscriber = store.find(session, address, locked=True)
    assert subscriber is not None
    return subscriber, subscriber.public_id == public_id


def _begin(
    session: Session, subscriber: Subscriber, signup: Signup, origin: Origin, now: datetime
) -> Signup:
    """Start an active consent now."""
    subscriber.status = Status.ACTIVE
    subscriber.watermark = None
    subscriber.paused_until = None
    subscriber.subscribed_at = now
    action = Action.CONFIRMED if signup is Signup.CONFIRMED else Action.ADDED
    consent.record(session, subscriber, action, origin=origin, now=now)
    return signup


def _keep(
    session: Session,
    subscriber: Subscriber,
    cadence: Cadence | None,
    origin: Origin,
    now: datetime,
) -> Signup:
    if cadence is None:
        return Signup.UNCHANGED
    changed = preferences.change_cadence(session, subscriber, cadence, origin=origin, now=now)
    return Signup.CHANGED if changed else Signup.UNCHANGED


def _check_again(subscriber: Subscriber, *, again: bool) -> None:
    if not again:
        raise Conflict(
            f"{subscriber.address} has unsubscribed.",
            hint="If they have asked for the newsletter anew, add them with --again.",
        )


def _rejoin(
    session: Session,
    subscriber: Subscriber,
    cadence: Cadence | None,
    origin: Origin,
    now: datetime,
) -> Signup:
    subscriber.cadence = cadence or subscriber.cadence
    if subscriber.status == Status.PENDING:
        return _begin(session, subscriber, Signup.CONFIRMED, origin, now)
    subscriber.generation += 1
    return _begin(session, subscriber, Signup.AGAIN, origin, now)
