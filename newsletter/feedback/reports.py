"""Values of feedback: a report about one recipient, and the mail or event that contains some."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from newsletter.smtp.outcome import Phase


class Kind(StrEnum):
    """The kind of a returned mail or an event."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    AUTO = "auto"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    OTHER = "other"


class Verdict(StrEnum):
    """The meaning of a report for its recipient or for us."""

    #: The address does not exist.
    DEAD = "dead"
    #: The address may not exist.
    MAYBE = "maybe"
    #: The mailbox is full.
    FULL = "full"
    #: A temporary failure.
    LATER = "later"
    DELAYED = "delayed"
    #: A refusal because of our set-up, our mail or the server's policy, not because of the reader.
    OURS = "ours"
    COMPLAINT = "complaint"
    OPT_OUT = "opt-out"
    AUTO = "auto"
    DELIVERED = "delivered"
    OTHER = "other"


class Source(StrEnum):
    """The source of a report: a mail, or a provider's events."""

    MAIL = "mail"
    SES = "ses"
    SENDGRID = "sendgrid"
    POSTMARK = "postmark"
    MAILGUN = "mailgun"
    RESEND = "resend"
    #: Our own format, for any other provider.
    GENERIC = "generic"


@dataclass(frozen=True)
class Report:
    """The report of a mail or an event about one recipient."""

    #: The recipient's address; empty if the report has none.
    recipient: str
    verdict: Verdict
    code: int | None = None
    #: The enhanced status code (RFC 3463).
    status: str | None = None
    #: The answered command; None if it is not known.
    phase: Phase | None = None
    text: str = ""
    #: The Message-ID of the mail that came back; empty if its headers are not known.
    message_id: str = ""


@dataclass(frozen=True)
class Returned:
    """The kind of a returned mail or an event, and its reports."""

    kind: Kind
    reports: tuple[Report, ...] = ()


@dataclass(frozen=True)
class Arrival:
    """One returned mail or event with its source."""

    source: Source
    #: The id of the mail or event at its source; an arrival with a known id is ignored.
    id: str
    returned: Returned
    #: Readers to whose signed return paths the mail was sent; more than one is a contradiction.
    references: tuple[str, ...] = ()
    #: The time in the Date header of a mail; None if there is none.
    at: datetime | None = None
    #: The number of return paths in it whose signature is not ours.
    forged: int = 0
    #: The signed token of a reader who unsubscribes by mail.
    token: str | None = None
    #: The From header of a mail, to show to the operator; it may be forged.
    sender: str = ""
    #: Whether the signature covers only the id and not the content, so that another arrival with
    #: the same id is counted as rejected.
    is_nonce: bool = False
