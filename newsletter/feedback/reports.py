"""What comes back, as values: a report of one recipient, and the mail or event that has some."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from newsletter.smtp.outcome import Phase


class Kind(StrEnum):
    """What a mail or an event is."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    AUTO = "auto"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    OTHER = "other"


class Verdict(StrEnum):
    """What a report comes to."""

    #: There is no such address.
    DEAD = "dead"
    #: There may be none.
    MAYBE = "maybe"
    #: The mailbox is full.
    FULL = "full"
    #: A failure that passes.
    LATER = "later"
    DELAYED = "delayed"
    #: Our set-up, our mail or the policy of a server: nothing about the reader.
    OURS = "ours"
    COMPLAINT = "complaint"
    OPT_OUT = "opt-out"
    AUTO = "auto"
    DELIVERED = "delivered"
    OTHER = "other"


class Source(StrEnum):
    """Where reports come from."""

    MAIL = "mail"
    SES = "ses"
    SENDGRID = "sendgrid"
    POSTMARK = "postmark"
    MAILGUN = "mailgun"
    RESEND = "resend"
    #: Our own form, for any other provider.
    GENERIC = "generic"


@dataclass(frozen=True)
class Report:
    """What a mail or an event says of one recipient."""

    #: Empty if it does not name one.
    recipient: str
    verdict: Verdict
    code: int | None = None
    #: The enhanced status code (RFC 3463).
    status: str | None = None
    #: The command that was answered, where it is known.
    phase: Phase | None = None
    text: str = ""
    #: Of the mail that came back, as it is written; empty if its headers are not known.
    message_id: str = ""


@dataclass(frozen=True)
class Returned:
    """A mail that came back, by its kind, and what it says."""

    kind: Kind
    reports: tuple[Report, ...] = ()


@dataclass(frozen=True)
class Arrival:
    """One mail or event that has come back, and where from."""

    source: Source
    #: Identifies it at its source: its Message-ID, or the event's id. The same one counts once.
    id: str
    returned: Returned
    #: Readers whose signed return paths the mail was sent to; more than one is a contradiction.
    references: tuple[str, ...] = ()
    #: When it was written, by itself; None if it does not say.
    at: datetime | None = None
    #: Return paths in it with a foreign signature.
    forged: int = 0
    #: The signed token of a reader who unsubscribes by mail.
    token: str | None = None
    #: The From header of a mail, to show to the operator; it may be forged.
    sender: str = ""
    #: Whether a signature covers the id but not the content: then any with the same id is rejected.
    is_nonce: bool = False
