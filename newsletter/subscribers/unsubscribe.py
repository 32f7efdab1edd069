"""Unsubscribing: takes effect immediately, is idempotent, and cancels open deliveries.

A link of an earlier consent cannot end a newer one, because its generation differs.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlmodel import Session

from newsletter.ledger import cancellation
from newsletter.ledger.reasons import Reason
from newsletter.models import Status
from newsletter.publication import Publication
from newsletter.subscribers import consent, letters, store
from newsletter.subscribers.consent import Action, Origin
from newsletter.subscribers.locking import locked_subscriber
from newsletter.tokens import Bearer


class Goodbye(StrEnum):
    """The result of unsubscribing."""

    DONE = "done"
    #: The reader had unsubscribed before, or was erased.
    ALREADY = "already"
    #: The link belongs to an earlier consent, and the reader has subscribed again since.
    OUTDATED = "outdated"


def by_link(
    session: Session, bearer: Bearer, *, origin: Origin, publication: Publication, now: datetime
) -> Goodbye:
    """End the consent of a link, and queue the goodbye letter if the settings enable it."""
    result = unsubscribe(
        session, bearer.public_id, generation=bearer.generation, origin=origin, now=now
    )
    if result is Goodbye.DONE and publication.goodbye_letter:
        reader = store.find_public(session, bearer.public_id)
        assert reader is not None
        letters.goodbye(session, reader, publication=publication, now=now)
    return result


def unsubscribe(
    session: Session,
    public_id: str,
    *,
    generation: int | None,
    origin: Origin,
    now: datetime,
) -> Goodbye:
    """End the consent of a generation; None for the present one, whichever it is."""
    subscriber = locked_subscriber(session, store.with_public_id(public_id), ends=True)
    if subscriber is None:
        return Goodbye.ALREADY
    if generation is not None and generation != subscriber.generation:
        return Goodbye.OUTDATED
    if subscriber.status == Status.UNSUBSCRIBED:
        return Goodbye.ALREADY
    if subscriber.status == Status.SUPPRESSED:
        # Recorded, because the suppression may be lifted later, and the unsubscribe must still
        # hold.
        if not store.has_left(session, subscriber):
            consent.record(session, subscriber, Action.UNSUBSCRIBED, origin=origin, now=now)
        return Goodbye.ALREADY
    store.move(session, subscriber, status=Status.UNSUBSCRIBED, now=now)
    consent.record(session, subscriber, Action.UNSUBSCRIBED, origin=origin, now=now)
    cancellation.cancel(
        session, references=[subscriber.public_id], reason=Reason.UNSUBSCRIBED, now=now
    )
    return Goodbye.DONE
