"""What is known about one address, as values: the input of `words`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from newsletter import cadences
from newsletter.cadences import Cadence, SendTimes
from newsletter.models import AddressChange, Consent, Subscriber, Suppression
from newsletter.subscribers import next_digest


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A server's reply to a try, or what ended the connection; or what came back later."""

    at: datetime
    #: Outcome of the try, or verdict of a report.
    result: str
    phase: str | None = None
    code: int | None = None
    enhanced: str | None = None
    text: str | None = None
    #: Why a report has less effect than it says.
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Made:
    """An edition, or what is said of its period."""

    cadence: Cadence
    period: date
    state: str
    #: Why it was skipped, paused by an alarm, or cancelled.
    reason: str | None
    #: The instant of the freeze.
    at: datetime
    #: Deliveries that were pruned.
    pruned: int = 0

    @property
    def name(self) -> str:
        """Its name: weekly-2026-11-23."""
        return cadences.slug(self.cadence, self.period)


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One delivery to the reader: of an edition, a correction or a letter."""

    id: int
    kind: str
    subject: str
    address: str
    message_id: str
    edition: Made | None
    #: Corrections only: the name of the edition.
    corrects: str | None
    state: str
    created_at: datetime
    state_at: datetime
    due_at: datetime
    blocked_domain: str | None
    reason: str | None
    last: Reply | None
    #: Tries that did not end accepted, oldest first.
    tries: Sequence[Reply] = ()
    #: What came back of it, oldest first.
    returned: Sequence[Reply] = ()

    @property
    def is_open(self) -> bool:
        """Whether it may still be sent."""
        return self.state in {"queued", "claimed", "in_flight", "deferred"}

    def was_open(self, at: datetime) -> bool:
        """Return whether it was on its way at that instant."""
        return self.created_at < at and (self.is_open or self.state_at >= at)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that an answer needs; nothing of it is looked up again."""

    address: str
    now: datetime
    times: SendTimes
    #: None if the address has no reader.
    reader: Subscriber | None = None
    #: Of the address itself: what an erasure keeps of a person is not looked at.
    suppression: Suppression | None = None
    #: A change of address that waits to be confirmed: from this address, or to it.
    change: AddressChange | None = None
    #: Oldest first.
    consents: Sequence[Consent] = ()
    #: Newest first.
    mails: Sequence[Mail] = ()
    #: How many mails there are, if not all of them are here.
    mails_in_all: int = 0
    #: Of the cadences that the reader has had, newest first.
    editions: Sequence[Made] = ()
    #: Periods to come without an edition.
    skipped: next_digest.Skipped = field(default_factory=lambda: next_digest.NONE_SKIPPED)
    #: Since when there is a publication: periods before that were never due.
    began_at: datetime | None = None
    #: Domains to which nothing is sent now, and until when.
    domains_paused: Mapping[str, datetime] = field(default_factory=dict)
    #: When the limits of all mail allow more; None if they do now.
    opens_at: datetime | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is anything to say."""
        return any((self.reader, self.suppression, self.change))

    def local(self, instant: datetime) -> str:
        """Return a time of the publication's zone, to the minute."""
        return f"{instant.astimezone(self.times.zone):%Y-%m-%d %H:%M}"

    def standing(self, at: datetime) -> Consent | None:
        """Return the consent row that says what the reader was at an instant; None before all."""
        return next((row for row in reversed(self.consents) if row.at <= at), None)
