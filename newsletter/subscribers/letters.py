"""Letters, the transactional mails to one reader: compiled once per content, queued in the ledger.

Equal letters share a mailing, found by a hash of the content; each reader's letter is one row of
the ledger with a higher priority than digests. So a letter costs one look-up and one insert, and is
retried, cancelled and counted like a digest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Select, String, cast, func, literal
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from newsletter import throttle, tokens
from newsletter.cadences import Cadence
from newsletter.db import dialects
from newsletter.db import session as sessions
from newsletter.ledger import queue
from newsletter.logs import events
from newsletter.models import AddressChange, Delivery, Kind, Mailing, Subscriber
from newsletter.models.columns import Instant
from newsletter.publication import Publication
from newsletter.rendering.letter import (
    Confirm,
    Data,
    Erase,
    Goodbye,
    Latest,
    Letter,
    NewAddress,
    OldAddress,
    Present,
    Welcome,
)
from newsletter.subscribers import next_digest
from newsletter.throttle import Limit

#: Rate limit of goodbye letters, because a reader may unsubscribe and return many times a day.
GOODBYES = Limit("goodbye", 1, timedelta(hours=24))
#: Rate limits of letters that anybody with a forwarded mail can request.
ERASURES = Limit("erase", 1, timedelta(hours=24))
COPIES = Limit("data", 1, timedelta(hours=24))
#: Letters are claimed before digests.
_PRIORITY = 0


def confirm(
    session: Session,
    subscriber: Subscriber,
    *,
    cadence: Cadence,
    generation: int,
    is_sent: bool,
    publication: Publication,
    now: datetime,
) -> None:
    """Queue the double opt-in letter; its link begins the consent of a generation.

    Unless `is_sent`, does the same work without queueing anything, so that timing is the same.
    """
    _send(
        session,
        subscriber,
        Confirm(cadence=cadence),
        generation=generation,
        is_sent=is_sent,
        publication=publication,
        now=now,
    )


def welcome(
    session: Session,
    subscriber: Subscriber,
    *,
    latest: Latest | None,
    publication: Publication,
    now: datetime,
) -> None:
    """Queue the welcome letter, with the time of the first digest and the latest edition."""
    cadence = Cadence(subscriber.cadence)
    times, skipped = publication.send_times, next_digest.skipped_ahead(session, now=now)
    first_at = next_digest.next_at(cadence, after=now, times=times, skipped=skipped)
    content = Welcome(cadence=cadence, first_at=first_at, latest=latest)
    _send(session, subscriber, content, publication=publication, now=now)


def present(
    session: Session,
    subscriber: Subscriber,
    *,
    is_sent: bool,
    skipped: next_digest.Skipped,
    publication: Publication,
    now: datetime,
) -> None:
    """Queue the letter to a reader who signs up again, with a link to the preferences.

    Unless `is_sent`, does the same work without queueing anything. `skipped` are the periods
    without an edition; the caller queries them for unknown addresses too, so that timing discloses
    nothing.
    """
    times = publication.send_times
    until = subscriber.paused_until
    content = Present(
        cadence=subscriber.cadence,
        next_at=next_digest.of(subscriber, now=now, times=times, skipped=skipped),
        is_paused=next_digest.is_paused(subscriber, now),
        paused_until=until.astimezone(times.zone).date() if until else None,
    )
    _send(session, subscriber, content, is_sent=is_sent, publication=publication, now=now)


def goodbye(
    session: Session, subscriber: Subscriber, *, publication: Publication, now: datetime
) -> None:
    """Queue the letter after an unsubscribe, with a link to undo it; at most once a day."""
    address, keyring = subscriber.address, publication.keyring
    if throttle.take(session, GOODBYES, address, now=now, keyring=keyring):
        _send(session, subscriber, Goodbye(), publication=publication, now=now)


def erase(
    session: Session, subscriber: Subscriber, *, publication: Publication, now: datetime
) -> None:
    """Queue the letter whose link confirms an erasure; at most once a day."""
    if throttle.take(session, ERASURES, subscriber.public_id, now=now, keyring=publication.keyring):
        _send(session, subscriber, Erase(), publication=publication, now=now)


def data(
    session: Session, subscriber: Subscriber, *, publication: Publication, now: datetime
) -> None:
    """Queue the letter with the link to a copy of a reader's data; at most once a day."""
    if throttle.take(session, COPIES, subscriber.public_id, now=now, keyring=publication.keyring):
        _send(session, subscriber, Data(), publication=publication, now=now)


def new_address(
    session: Session,
    change: AddressChange,
    *,
    generation: int,
    is_sent: bool,
    publication: Publication,
    now: datetime,
) -> None:
    """Queue the letter to a new address whose link confirms the change."""
    recipient = _Recipient(change.address, change.public_id, generation, since_at=None)
    _queue(session, recipient, NewAddress(), publication=publication, now=now, is_sent=is_sent)


def old_address(
    session: Session,
    subscriber: Subscriber,
    *,
    publication: Publication,
    now: datetime,
    is_done: bool = False,
) -> None:
    """Queue the notice to the old address that a change was requested, or `is_done`."""
    content = OldAddress(cadence=subscriber.cadence, is_done=is_done)
    _send(session, subscriber, content, publication=publication, now=now)


@dataclass(frozen=True)
class _Recipient:
    """The recipient of a letter, with the columns that the ledger stores."""

    address: str
    reference: str
    generation: int
    since_at: datetime | None


def _send(
    session: Session,
    subscriber: Subscriber,
    content: Letter,
    *,
    publication: Publication,
    now: datetime,
    generation: int | None = None,
    is_sent: bool = True,
) -> None:
    recipient = _Recipient(
        subscriber.address,
        subscriber.public_id,
        generation or subscriber.generation,
        subscriber.subscribed_at,
    )
    _queue(session, recipient, content, publication=publication, now=now, is_sent=is_sent)


def _queue(
    session: Session,
    recipient: _Recipient,
    content: Letter,
    *,
    publication: Publication,
    now: datetime,
    is_sent: bool = True,
) -> None:
    """Queue one letter; a repeated letter to one reader gets another mailing.

    A mailing has at most one delivery per reader: Message-IDs and links are derived from the two.
    """
    copies = _count(session, recipient, content.kind)
    mailing_id = _mailing(session, publication, content, copies, now=now)
    recipients = _row(recipient).where(literal(is_sent))
    queue.enqueue(
        session, mailing_id=mailing_id, recipients=recipients, priority=_PRIORITY, now=now
    )
    if is_sent:
        sessions.after_commit(session, partial(events.LETTER_ASKED, kind=content.kind))


def _mailing(
    session: Session, publication: Publication, content: Letter, copies: int, *, now: datetime
) -> int:
    """Return the id of the mailing of a letter, compiled now if its content is new."""
    draft, frozen = publication.draft(content), publication.frozen
    identity = " ".join([draft.key, str(copies), *frozen.values()])
    key = hashlib.sha256(identity.encode()).hexdigest()
    if (found := _find(session, key)) is not None:
        return found
    rendered = draft.compile()
    body, fields = rendered.message.dump()
    row = {
        "public_id": tokens.new_public_id(),
        "kind": Kind(draft.kind),
        "key": key,
        "subject": rendered.message.subject,
        "body": body,
        "fields": fields,
        **frozen,
        "html": rendered.page,
        "created_at": now,
    }
    # A concurrent transaction may insert the same letter; then only one of the rows stays.
    columns = {name: [value] for name, value in row.items()}
    dialects.insert_missing(session, Mailing, columns, constants={})
    made = _find(session, key)
    assert made is not None
    return made


def _find(session: Session, key: str) -> int | None:
    return session.exec(select(Mailing.id).where(Mailing.key == key)).one_or_none()


def _count(session: Session, recipient: _Recipient, kind: str) -> int:
    """Return how many letters of a kind were queued for a reader."""
    return session.exec(
        select(func.count())
        .select_from(Delivery)
        .join(Mailing, col(Mailing.id) == col(Delivery.mailing_id))
        .where(Delivery.reference == recipient.reference, Mailing.kind == kind)
    ).one()


def _row(recipient: _Recipient) -> Select[Any]:
    columns: list[ColumnElement[Any]] = [
        cast(literal(recipient.address), String).label("address"),
        cast(literal(recipient.reference), String).label("reference"),
        literal(recipient.generation).label("generation"),
        literal(recipient.since_at, Instant()).label("since_at"),
    ]
    return select_columns(*columns)
