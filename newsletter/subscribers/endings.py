"""Unsubscribes readers and suppresses addresses in one transaction, in the required lock order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlmodel import Session

from newsletter.publication import Publication
from newsletter.subscribers import store, suppress, unsubscribe
from newsletter.subscribers.consent import Origin
from newsletter.subscribers.locking import locked_subscribers
from newsletter.subscribers.unsubscribe import Goodbye
from newsletter.suppression import Grounds
from newsletter.tokens import Bearer


def end_all(
    session: Session,
    *,
    goodbyes: Sequence[tuple[Bearer, Origin]],
    suppressed: Mapping[str, Grounds],
    publication: Publication,
    now: datetime,
) -> tuple[list[Goodbye], int]:
    """Unsubscribe readers, and suppress addresses; to be called once per transaction.

    Returns the result of each unsubscribe, and how many addresses were not suppressed before.
    """
    if not goodbyes and not suppressed:
        return [], 0
    public_ids = {bearer.public_id for bearer, _ in goodbyes}
    # Lock order: all subscribers by id before any is changed; suppressions before deliveries.
    locked_subscribers(session, store.are_any(public_ids, suppressed), ends=True)
    added = suppress.suppress_each(session, suppressed, now=now, keyring=publication.keyring)
    results = [
        unsubscribe.by_link(session, bearer, origin=origin, publication=publication, now=now)
        for bearer, origin in goodbyes
    ]
    return results, added
