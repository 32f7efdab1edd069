"""Letters to one reader: written once for all who get the same words, and queued like any mail.

Equal letters share a mailing, found by its key; each reader's letter is one row of the ledger,
ahead of every digest. So to write to somebody is a lookup and an insert, whoever they are, and a
letter is retried, taken back and accounted for like a digest.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import jinja2
from sqlalchemy import ColumnElement, Select, String, cast, func, literal
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from newsletter import throttle, tokens
from newsletter.cadences import Cadence
from newsletter.db import dialects
from newsletter.ledger import queue
from newsletter.models import AddressChange, Delivery, Kind, Mailing, Subscriber
from newsletter.models.columns import Instant
from newsletter.rendering import environment, letter
from newsletter.rendering.content import Brand, Links
from newsletter.rendering.letter import (
    Confirm,
    Data,
    Draft,
    Erase,
    Goodbye,
    Latest,
    Letter,
    NewAddress,
    OldAddress,
    Present,
    Welcome,
)
from newsletter.rendering.message import Markers, Slot
from newsletter.settings import Settings
from newsletter.subscribers import next_digest
from newsletter.throttle import Limit
from newsletter.tokens import Keyring

#: Whoever leaves and comes back all day is written to once.
GOODBYES = Limit("goodbye", 1, timedelta(hours=24))
#: Who has a forwarded mail can ask for these letters, again and again.
ERASURES = Limit("erase", 1, timedelta(hours=24))
COPIES = Limit("data", 1, timedelta(hours=24))
#: Letters leave before digests.
_PRIORITY = 0


@dataclass(frozen=True)
class Publication:
    """What the mails of one publication have in common, made once and used for each of them."""

    settings: Settings

    @cached_property
    def templates(self) -> jinja2.Environment:
        """The templates, the publisher's own before ours."""
        return environment.build(self.settings.templates, self.settings.language)

    @cached_property
    def keyring(self) -> Keyring:
        """What signs the links."""
        return self.settings.keyring()

    @cached_property
    def brand(self) -> Brand:
        """Who writes."""
        return self.settings.brand()

    @property
    def frozen(self) -> dict[str, str]:
        """What a mailing keeps of the settings: with it each copy's slots are written."""
        return {
            "domain": self.settings.sender_domain,
            "timezone": self.settings.timezone,
            "language": self.settings.language,
            "signing_key": self.keyring.newest,
        }

    def draft(self, content: Letter) -> Draft:
        """Write a letter in words, with markers for what differs from reader to reader."""
        markers = Markers(secrets.token_hex(16))
        return letter.draft(
            content,
            brand=self.brand,
            links=replace(
                self.links(markers),
                confirm=f"{self.settings.base_url}/confirm/{markers.of(Slot.CONFIRM)}",
                erase=f"{self.settings.base_url}/erase/{markers.of(Slot.ERASE)}",
                data=f"{self.settings.base_url}/data/{markers.of(Slot.DATA)}",
                new_address=f"{self.settings.base_url}/new-address/{markers.of(Slot.NEW_ADDRESS)}",
            ),
            markers=markers,
            environment=self.templates,
        )

    def links(self, markers: Markers) -> Links:
        """Return the links that every mail has, with markers for the tokens in them."""
        base, leaving = self.settings.base_url, markers.of(Slot.UNSUBSCRIBE)
        return Links(
            unsubscribe=f"{base}/unsubscribe/{leaving}",
            manage=f"{base}/preferences/{markers.of(Slot.MANAGE)}",
            unsubscribe_mailto=(
                f"mailto:{self.settings.sender_address}?subject=unsubscribe%20{leaving}"
            ),
        )


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
    """Ask a reader whether it was they who signed up; the link begins that generation.

    Does the same work for nobody unless it `is_sent`.
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
    """Tell a new reader when the first digest comes, and what they may read now."""
    cadence = Cadence(subscriber.cadence)
    times, skipped = publication.settings.send_times, next_digest.skipped_ahead(session, now=now)
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
    """Tell a reader who signed up again that they are subscribed, and where to change it.

    Does the same work for nobody unless it `is_sent`. `skipped` are the periods without an edition:
    read by the caller for whoever asks, so that a reader costs no statement more than a stranger.
    """
    times = publication.settings.send_times
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
    """Tell a reader that they have left, and how to undo it; at most once a day."""
    address, keyring = subscriber.address, publication.keyring
    if throttle.take(session, GOODBYES, address, now=now, keyring=keyring):
        _send(session, subscriber, Goodbye(), publication=publication, now=now)


def erase(
    session: Session, subscriber: Subscriber, *, publication: Publication, now: datetime
) -> None:
    """Ask a reader whether it was they who asked to be erased; at most once a day."""
    if throttle.take(session, ERASURES, subscriber.public_id, now=now, keyring=publication.keyring):
        _send(session, subscriber, Erase(), publication=publication, now=now)


def data(
    session: Session, subscriber: Subscriber, *, publication: Publication, now: datetime
) -> None:
    """Send a reader the link to a copy of their data; at most once a day."""
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
    """Ask the owner of an address whether a reader's mail may go there from now on."""
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
    """Tell a reader that somebody has asked to send their mail elsewhere, or that it goes there."""
    content = OldAddress(cadence=subscriber.cadence, is_done=is_done)
    _send(session, subscriber, content, publication=publication, now=now)


@dataclass(frozen=True)
class _Recipient:
    """What the ledger keeps of whom a letter goes to."""

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
    """Queue one letter; a reader who gets the same words again gets another mailing.

    One mailing is sent to one reader once, and Message-IDs and links are made from the two.
    """
    copies = _count(session, recipient, content.kind)
    mailing_id = _mailing(session, publication, content, copies, now=now)
    recipients = _row(recipient).where(literal(is_sent))
    queue.enqueue(
        session, mailing_id=mailing_id, recipients=recipients, priority=_PRIORITY, now=now
    )


def _mailing(
    session: Session, publication: Publication, content: Letter, copies: int, *, now: datetime
) -> int:
    """Return the mailing of a letter, compiled now if these words are new."""
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
    # Somebody else may compile the same words at this moment: one of the two stays.
    dialects.insert_missing(session, Mailing, [row], constants={})
    made = _find(session, key)
    assert made is not None
    return made


def _find(session: Session, key: str) -> int | None:
    return session.exec(select(Mailing.id).where(Mailing.key == key)).one_or_none()


def _count(session: Session, recipient: _Recipient, kind: str) -> int:
    """Return how many letters of a kind a reader has been sent."""
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
