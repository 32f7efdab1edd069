"""Applies the requests of mails: each unsubscribe in a transaction of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from newsletter.db import session as sessions
from newsletter.errors import InvalidToken
from newsletter.feedback import unsubscription
from newsletter.feedback.unsubscription import Unsubscription
from newsletter.publication import Publication
from newsletter.subscribers import unsubscribe
from newsletter.subscribers.consent import Origin
from newsletter.subscribers.unsubscribe import Goodbye
from newsletter.tokens import Purpose

#: Senders of unsigned requests that are listed; all are counted.
NAMED = 100


@dataclass
class FeedbackTally:
    """The mails by result; `read` is the sum of all others."""

    read: int = 0
    unsubscribed: int = 0
    #: The reader was unsubscribed before.
    already: int = 0
    #: The token is of an earlier consent: the reader has subscribed again since.
    outdated: int = 0
    #: The token is not ours, or damaged.
    invalid: int = 0
    #: Without a token: the sender may be forged, so the operator has to decide.
    unsigned: int = 0
    #: No request to unsubscribe.
    other: int = 0
    #: The From headers of the first unsigned requests.
    senders: list[str] = field(default_factory=list)


def apply(
    engine: Engine, mails: Iterable[bytes], *, publication: Publication, now: datetime
) -> FeedbackTally:
    """Apply the requests in the headers of each of `mails`; idempotent."""
    tally = FeedbackTally()
    for headers in mails:
        tally.read += 1
        asked = unsubscription.read(headers)
        if asked is None:
            tally.other += 1
        elif asked.token is None:
            tally.unsigned += 1
            tally.senders += [asked.sender][: NAMED - len(tally.senders)]
        else:
            _apply(engine, asked, tally, publication=publication, now=now)
    return tally


def _apply(
    engine: Engine,
    asked: Unsubscription,
    tally: FeedbackTally,
    *,
    publication: Publication,
    now: datetime,
) -> None:
    assert asked.token is not None
    try:
        bearer = publication.keyring.read(Purpose.UNSUBSCRIBE, asked.token, now=now)
    except InvalidToken:
        tally.invalid += 1
        return
    with sessions.writing(engine) as session:
        result = unsubscribe.by_link(
            session, bearer, origin=Origin("unsubscribe mail"), publication=publication, now=now
        )
    match result:
        case Goodbye.DONE:
            tally.unsubscribed += 1
        case Goodbye.ALREADY:
            tally.already += 1
        case Goodbye.OUTDATED:
            tally.outdated += 1
