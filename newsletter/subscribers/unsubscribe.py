"""The goodbye: it works at once, works twice, and takes back what was on its way.

A link of an earlier consent cannot end a newer one: the generation guards it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlmodel import Session

from newsletter.db import session as sessions
from newsletter.ledger import queue
from newsletter.models import Status
from newsletter.subscribers import consent, letters, store
from newsletter.subscribers.consent import Action, Origin
from newsletter.subscribers.letters import Publication
from newsletter.tokens import Bearer

#: Why the ledger's rows of a reader who has left were taken back.
REASON = "unsubscribed"


class Goodbye(StrEnum):
    """What a goodbye came to."""

    DONE = "done"
    #: They had left before, or were forgotten.
    ALREADY = "already"
    #: The link was made under an earlier consent; they have subscribed again since.
    OUTDATED = "outdated"


def leave(
    session: Session, bearer: Bearer, *, origin: Origin, publication: Publication, now: datetime
) -> Goodbye:
    """End the consent that a link was made under, and write to the reader if that is wanted."""
    came_to = unsubscribe(
        session, bearer.public_id, generation=bearer.generation, origin=origin, now=now
    )
    if came_to is Goodbye.DONE and publication.settings.goodbye_letter:
        reader = store.find_public(session, bearer.public_id)
        assert reader is not None
        letters.goodbye(session, reader, publication=publication, now=now)
    return came_to


def unsubscribe(
    session: Session,
    public_id: str,
    *,
    generation: int | None,
    origin: Origin,
    now: datetime,
) -> Goodbye:
    """End the consent of that generation (None: the present one, on the operator's word)."""
    sessions.hold_freeze(session)
    subscriber = store.find_public(session, public_id, locked=True)
    if subscriber is None:
        return Goodbye.ALREADY
    if generation is not None and generation != subscriber.generation:
        return Goodbye.OUTDATED
    if subscriber.status in {Status.UNSUBSCRIBED, Status.SUPPRESSED}:
        return Goodbye.ALREADY
    subscriber.status = Status.UNSUBSCRIBED
    consent.record(session, subscriber, Action.UNSUBSCRIBED, origin=origin, now=now)
    queue.cancel(session, reference=subscriber.public_id, reason=REASON, now=now)
    return Goodbye.DONE
