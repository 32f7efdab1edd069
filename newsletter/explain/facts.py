"""Everything known about one address, as values; the input of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from newsletter import cadences
from newsletter.cadences import SendTimes
from newsletter.models import AddressChange, Consent, Subscriber, Suppression
from newsletter.subscribers import next_digest


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A server's reply to a try or its connection error, or a report that came back later."""

    at: datetime
    #: The outcome of the try, or the verdict of the report.
    result: str
    phase: str | None = None
    code: int | None = None
    enhanced: str | None = None
    text: str | None = None
    #: Why a report has less effect than its verdict suggests.
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Made:
    """An edition that was made or skipped."""

    #: Or what stands in its place for an announcement.
    cadence: str
    period: date
    state: str
    #: Why the edition was skipped, paused by an alarm, or cancelled.
    reason: str | None
    #: The instant of the freeze.
    at: datetime
    #: Number of pruned deliveries.
    pruned: int = 0
    #: The audience of an announcement: "all", a cadence or the name of an edition.
    audience: str | None = None

    @property
    def name(self) -> str:
        """The name of the edition, such as weekly-2026-11-23."""
        return cadences.slug(self.cadence, self.period)

    @property
    def is_announcement(self) -> bool:
        """Whether the edition is an announcement, and no digest."""
        return cadences.is_extra(self.cadence)


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One delivery to the reader: of an edition, a correction or a letter."""

    id: int
    kind: str
    subject: str
    address: str
    message_id: str
    edition: Made | None
    #: The name of the edition that a correction corrects; otherwise None.
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
    #: Reports about the mail, oldest first.
    returned: Sequence[Reply] = ()

    @property
    def is_digest(self) -> bool:
        """Whether the mail is of an edition with articles."""
        return self.edition is not None and not self.edition.is_announcement

    @property
    def is_open(self) -> bool:
        """Whether the mail may still be sent."""
        return self.state in {"queued", "claimed", "in_flight", "deferred"}

    def was_open(self, at: datetime) -> bool:
        """Return whether the delivery was open at an instant."""
        return self.created_at < at and (self.is_open or self.state_at >= at)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All values that a page needs, read at once."""

    address: str
    now: datetime
    times: SendTimes
    #: None if the address has no reader.
    reader: Subscriber | None = None
    #: The suppression stored with the address itself; keyed hashes of erased people are not
    #: searched.
    suppression: Suppression | None = None
    #: An unconfirmed change of address, from or to this address.
    change: AddressChange | None = None
    #: Oldest first.
    consents: Sequence[Consent] = ()
    #: Newest first.
    mails: Sequence[Mail] = ()
    #: The total number of mails, if `mails` does not have all.
    mails_in_all: int = 0
    #: Editions of all cadences that the reader has had, newest first.
    editions: Sequence[Made] = ()
    #: Future periods without an edition.
    skipped: next_digest.Skipped = field(default_factory=lambda: next_digest.NONE_SKIPPED)
    #: When the publication was set up; earlier periods were never due.
    began_at: datetime | None = None
    #: Domains to which nothing is sent now, and until when.
    domains_paused: Mapping[str, datetime] = field(default_factory=dict)
    #: When the limits for all mail allow more; None if they do so now.
    opens_at: datetime | None = None

    @property
    def is_known(self) -> bool:
        """Whether anything is known about the address."""
        return any((self.reader, self.suppression, self.change))

    def local(self, instant: datetime) -> str:
        """Format an instant in the publication's time zone, to the minute."""
        return f"{instant.astimezone(self.times.zone):%Y-%m-%d %H:%M}"

    def standing(self, at: datetime) -> Consent | None:
        """Return the newest consent row at an instant; None before the first one."""
        return next((row for row in reversed(self.consents) if row.at <= at), None)
