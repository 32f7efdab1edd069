"""Decides whose mail a report is of, and how much it counts. Pure.

A signed return path says whose mail bounced, not who is dead; a Message-ID of ours says which mail.
An address alone says nothing: it can be forged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from newsletter.feedback.reports import Arrival, Kind, Report, Source, Verdict
from newsletter.ledger import message_ids
from newsletter.ledger.reports import Sent
from newsletter.subscribers.store import Present

#: Why a report has less effect than it says; a word for `feedback list`.
NO_MAIL = "names no mail of ours"
CONTRADICTION = "names two readers"
ANOTHER = "another recipient"
OUTDATED = "an earlier consent"
NOT_ACCEPTED = "not accepted before"

#: Clocks of mail servers differ, and a Date has no fractions of a second.
_SKEW = timedelta(minutes=5)
#: Verdicts that are kept, beside all of bounces: what can be done about the others is nothing.
_KEPT = frozenset({Verdict.COMPLAINT, Verdict.OPT_OUT, Verdict.OURS, Verdict.DELAYED})
#: Verdicts that may suppress an address.
FAILURES = frozenset({Verdict.DEAD, Verdict.MAYBE, Verdict.FULL})
_ABOUT_READER = FAILURES | {Verdict.COMPLAINT, Verdict.OPT_OUT}


class Mails(NamedTuple):
    """The deliveries that may be meant."""

    by_message_id: Mapping[tuple[str, str], Sent]
    #: The accepted ones of readers, by reference, the latest first.
    accepted: Mapping[str, Sequence[Sent]]
    #: The readers as they are now, by reference.
    readers: Mapping[str, Present]


class Placed(NamedTuple):
    """A report, the delivery it is of, and what it comes to."""

    kind: Kind
    report: Report
    sent: Sent | None
    verdict: Verdict
    #: Why it has less effect than it says.
    reason: str | None = None
    #: The address that its reader has now, if there is one.
    present: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether it is recorded."""
        if self.sent is None and self.verdict is Verdict.DELAYED:
            return False
        return self.kind is Kind.BOUNCE or self.verdict in _KEPT

    @property
    def counts(self) -> bool:
        """Whether it stands in the books of its mailing, if its delivery was accepted."""
        return self.sent is not None and self.kind in {Kind.BOUNCE, Kind.COMPLAINT}

    @property
    def settles(self) -> bool:
        """Whether it shows that a server has taken what may not have arrived."""
        return self.sent is not None and self.sent.is_uncertain

    @property
    def is_void(self) -> bool:
        """Whether it has no effect, although it names a mail of ours."""
        return self.reason in {OUTDATED, NOT_ACCEPTED}

    @property
    def is_effective(self) -> bool:
        """Whether it may end or suppress a reader."""
        is_about_reader = self.verdict in _ABOUT_READER
        return self.sent is not None and is_about_reader and not self.is_void


def place(arrival: Arrival, report: Report, mails: Mails) -> Placed:
    """Return the delivery that a report is of, and what it comes to.

    The report's recipient must be spelled as readers' addresses are.
    """
    kind, verdict = arrival.returned.kind, report.verdict
    sent, reason = _sent(arrival, report, mails)
    if sent is None:
        return Placed(kind, report, None, verdict, reason)
    is_theirs = report.recipient == sent.address
    if not is_theirs and arrival.source is not Source.MAIL:
        # An event counts only if it names both.
        return Placed(kind, report, None, verdict, ANOTHER)
    if not is_theirs and verdict is Verdict.DEAD:
        # A reader may forward to a mailbox that is gone, or have had another address.
        verdict, reason = Verdict.MAYBE, ANOTHER
    reader = mails.readers.get(sent.reference)
    # A confirm letter is of the consent to come.
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
    # A person who has the mail from its reader may write to its return path, too.
    if sent is None and readers and arrival.returned.kind is not Kind.UNSUBSCRIBE:
        theirs = mails.accepted.get(readers.pop(), ())
        before = (one for one in theirs if arrival.at is None or one.at <= arrival.at + _SKEW)
        sent = next(before, None)
    return sent, None if sent else NO_MAIL
