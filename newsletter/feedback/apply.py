"""Does what mails ask for: each goodbye at once, in a transaction of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from newsletter.db import session as sessions
from newsletter.errors import InvalidToken
from newsletter.feedback import report
from newsletter.feedback.report import Unsubscription
from newsletter.subscribers import unsubscribe
from newsletter.subscribers.consent import Origin
from newsletter.subscribers.letters import Publication
from newsletter.subscribers.unsubscribe import Goodbye
from newsletter.tokens import Purpose

#: So many of those who asked in words are named; all are counted.
NAMED = 100


@dataclass
class FeedbackTally:
    """What the mails came to."""

    read: int = 0
    unsubscribed: int = 0
    #: They had left before.
    already: int = 0
    #: The token is of an earlier consent: they have subscribed again since.
    outdated: int = 0
    #: The token is not ours, or damaged.
    invalid: int = 0
    #: Asked in words, without a token: that can be anybody, so it needs a person.
    unsigned: int = 0
    #: About something else.
    other: int = 0
    #: Who the first of the unsigned say they are.
    senders: list[str] = field(default_factory=list)


def apply(
    engine: Engine, mails: Iterable[bytes], *, publication: Publication, now: datetime
) -> FeedbackTally:
    """Read the headers of each of `mails` and do what they ask; doing it again changes nothing."""
    tally = FeedbackTally()
    for headers in mails:
        tally.read += 1
        asked = report.read(headers)
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
        came_to = unsubscribe.leave(
            session, bearer, origin=Origin("unsubscribe mail"), publication=publication, now=now
        )
    match came_to:
        case Goodbye.DONE:
            tally.unsubscribed += 1
        case Goodbye.ALREADY:
            tally.already += 1
        case Goodbye.OUTDATED:
            tally.outdated += 1
