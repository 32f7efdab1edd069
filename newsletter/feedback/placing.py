"""Finds the delivery that a report is about, and decides about its effect. Pure.

A signed return path identifies the reader whose mail bounced, but not the address that failed; our
Message-ID identifies the mail. An address alone counts for nothing, because it can be forged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from newsletter.feedback.reports import Arrival, Kind, Report, Source, Verdict
from newsletter.ledger import message_ids
from newsletter.ledger.reports import Sent
from newsletter.subscribers.store import Present

#: Reasons for which a report has less effect than its verdict, as `feedback list` shows them.
NO_MAIL = "names no mail of ours"
CONTRADICTION = "names two readers"
ANOTHER = "another recipient"
OUTDATED = "an earlier consent"
NOT_ACCEPTED = "not accepted before"

#: Tolerance for the Date of a mail: clocks of servers differ, and it has no fractions of a second.
_SKEW = timedelta(minutes=5)
#: Verdicts that are recorded, in addition to those of bounces; others require no action.
_KEPT = frozenset({Verdict.COMPLAINT, Verdict.OPT_OUT, Verdict.OURS, Verdict.DELAYED})
#: Verdicts that may suppress an address.
FAILURES = frozenset({Verdict.DEAD, Verdict.MAYBE, Verdict.FULL})
_ABOUT_READER = FAILURES | {Verdict.COMPLAINT, Verdict.OPT_OUT}


class Mails(NamedTuple):
    """The deliveries and readers that the reports of a batch may be about."""

    by_message_id: Mapping[tuple[str, str], Sent]
    #: Accepted deliveries by the reference of their reader, the latest first.
    accepted: Mapping[str, Sequence[Sent]]
    #: The current state of readers, by reference.
    readers: Mapping[str, Present]


class Placed(NamedTuple):
    """A report, the delivery that it is about, and its effective verdict."""

    kind: Kind
    report: Report
    sent: Sent | None
    verdict: Verdict
    #: Why the report has less effect than its verdict.
    reason: str | None = None
    #: The current address of the reader; empty if the reader no longer exists.
    present: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether the report is recorded."""
        if self.sent is None and self.verdict is Verdict.DELAYED:
            return False
        return self.kind is Kind.BOUNCE or self.verdict in _KEPT

    @property
    def counts(self) -> bool:
        """Whether the report is counted with its mailing, if the delivery was accepted."""
        return self.sent is not None and self.kind in {Kind.BOUNCE, Kind.COMPLAINT}

    @property
    def settles(self) -> bool:
        """Whether the report proves that a delivery with unknown outcome was accepted."""
        return self.sent is not None and self.sent.is_uncertain

    @property
    def is_void(self) -> bool:
        """Whether the report has no effect, although it is about a mail of ours."""
        return self.reason in {OUTDATED, NOT_ACCEPTED}

    @property
    def is_effective(self) -> bool:
        """Whether the report may unsubscribe or suppress a reader."""
        is_about_reader = self.verdict in _ABOUT_READER
        return self.sent is not None and is_about_reader and not self.is_void


def place(arrival: Arrival, report: Report, mails: Mails) -> Placed:
    """Return a report with its delivery and its effective verdict.

    The report's recipient must be normalised as readers' addresses are.
    """
    kind, verdict = arrival.returned.kind, report.verdict
    sent, reason = _sent(arrival, report, mails)
    if sent is None:
        return Placed(kind, report, None, verdict, reason)
    is_theirs = report.recipient == sent.address
    if not is_theirs and arrival.source is not Source.MAIL:
        # An event of a provider counts only if both Message-ID and recipient are known.
        return Placed(kind, report, None, verdict, ANOTHER)
    if not is_theirs and verdict is Verdict.DEAD:
        # The dead address may be one to which the reader forwards, or a former address.
        verdict, reason = Verdict.MAYBE, ANOTHER
    reader = mails.readers.get(sent.reference)
    # A confirmation letter has the generation of the consent that it asks for, so only a later
    # consent makes the report outdated.
    if reader is not None and reader.generation > sent.generation:
        reason = OUTDATED
    if not sent.has_left and kind is Kind.BOUNCE:
        reason = NOT_ACCEPTED
    return Placed(kind, report, sent, verdict, reason, reader.address if reader else "")


def _sent(arrival: Arrival, report: Report, mails: Mails) -> tuple[Sent | None, str | None]:
    named = message_ids.search(report.message_id)
    sent = mails.by_message_id.get(named) if named else None
    readers = {*arrival.references, *([sent.reference] if sent else [])}
    if len(readers) > 1:
        return None, CONTRADICTION
    # Not for requests to unsubscribe: anybody to whom the reader forwards the mail can write to its
    # return path.
    if sent is None and readers and arrival.returned.kind is not Kind.UNSUBSCRIBE:
        theirs = mails.accepted.get(readers.pop(), ())
        before = (one for one in theirs if arrival.at is None or one.at <= arrival.at + _SKEW)
        sent = next(before, None)
    return sent, None if sent else NO_MAIL
