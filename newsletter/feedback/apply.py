"""Applies returned mails and provider events in batches, one transaction each; idempotent.

An address alone has no effect, because it can be forged: a report counts only if it contains the
Message-ID of one of our deliveries, or was sent to a return path that we have signed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import address, suppression
from newsletter.db import session as sessions
from newsletter.errors import InvalidAddress, InvalidToken
from newsletter.feedback import mime, placing
from newsletter.feedback.placing import Mails, Placed
from newsletter.feedback.reports import Arrival, Kind, Report, Source, Verdict
from newsletter.feedback.status import ADDRESS
from newsletter.ledger import dead_addresses, message_ids, reports
from newsletter.ledger.dead_addresses import Failure, SuppressionRules
from newsletter.logs import events
from newsletter.models import Cause
from newsletter.publication import Publication
from newsletter.settings import Settings
from newsletter.smtp import reply as replies
from newsletter.smtp.outcome import Phase
from newsletter.smtp.reply import Reply
from newsletter.subscribers import endings, store
from newsletter.subscribers.consent import Origin
from newsletter.subscribers.unsubscribe import Goodbye
from newsletter.suppression import Grounds, gravity
from newsletter.tokens import Bearer, Keyring, Purpose

#: Senders of unsigned requests are listed up to this number; all requests are counted.
NAMED = 100
#: Arrivals per transaction.
_AT_ONCE = 200
#: Reports per mail: our mails have one recipient each, and forwarders add a few more.
_REPORTS_AT_MOST = 20
#: Maximum characters of a server's reply that are stored.
_REPLY_LENGTH = 512
_ADDRESS_LENGTH = 254
_STATUS_LENGTH = 12
#: Valid SMTP reply codes (RFC 5321 4.2).
_CODES = range(200, 600)
_SETTLED = "what came back shows that it was accepted"


@dataclass(frozen=True)
class FeedbackRules:
    """Settings for applying reports: the publication, and when failures suppress an address."""

    publication: Publication
    suppression: SuppressionRules

    @classmethod
    def of(cls, settings: Settings, publication: Publication) -> FeedbackRules:
        """Return the rules that the settings describe."""
        return cls(publication, SuppressionRules(publication.keyring, settings.full_mailboxes))


@dataclass
class FeedbackTally:
    """Counts of mails and events by result; `read` is the sum of the counts down to `other`."""

    read: int = 0
    unsubscribed: int = 0
    #: The reader was unsubscribed before.
    already: int = 0
    #: The request belongs to an earlier consent; the reader has subscribed again since.
    outdated: int = 0
    #: The token is damaged, or not signed by us.
    invalid: int = 0
    #: Requests to unsubscribe without a token; their senders may be forged.
    unsigned: int = 0
    bounced: int = 0
    complained: int = 0
    delayed: int = 0
    delivered: int = 0
    #: Automatic replies.
    automatic: int = 0
    #: Bounces and complaints without a known delivery; kept for the operator, without effect.
    unplaced: int = 0
    #: Mails and events that were processed before.
    repeated: int = 0
    #: None of the results above.
    other: int = 0

    #: Addresses that were not suppressed before.
    suppressed: int = 0
    #: Forged or replayed mails and events, by source and cause.
    rejected: Counter[str] = field(default_factory=Counter)
    #: Refusals caused by our mail or set-up, by the advice for each.
    ours: Counter[str] = field(default_factory=Counter)
    #: The From headers of the first unsigned requests.
    senders: list[str] = field(default_factory=list)

    def count(self, result: str) -> None:
        """Count one mail or event by the name of its result."""
        setattr(self, result, getattr(self, result) + 1)

    def add(self, other: FeedbackTally) -> None:
        """Add the counts of another batch."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        del self.senders[NAMED:]


#: The count of FeedbackTally for each kind of mail or event.
_RESULTS = {
    Kind.BOUNCE: "bounced",
    Kind.COMPLAINT: "complained",
    Kind.DELAYED: "delayed",
    Kind.DELIVERED: "delivered",
    Kind.AUTO: "automatic",
}


_MAILS = {Kind.BOUNCE: "bounce mail", Kind.UNSUBSCRIBE: "unsubscribe mail"}


class _Case:
    """An arrival, its reports with their deliveries, and the result."""

    def __init__(self, arrival: Arrival, placed: Sequence[Placed], bearer: Bearer | None) -> None:
        self.arrival = arrival
        self.placed = placed
        #: The reader whose token the arrival contains; None without a valid token.
        self.bearer = bearer
        #: The reports that take effect now.
        self.effective: list[Placed] = []
        self.goodbye: Goodbye | None = None

    @property
    def is_invalid(self) -> bool:
        """Whether the arrival has an invalid token."""
        return self.arrival.token is not None and self.bearer is None

    @property
    def key(self) -> str:
        """The key of the stored receipt; empty if none is stored, as the arrival has no effect."""
        one = self.arrival
        is_rejected = self.is_invalid or one.forged > 0
        if not (one.is_nonce or is_rejected or any(placed.is_kept for placed in self.placed)):
            return ""
        octets = f"{one.source} {one.id}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(octets, digest_size=24).hexdigest()

    @property
    def leaver(self) -> Bearer | None:
        """The reader who unsubscribes, by a token or an opt-out; None if nobody does."""
        for one in self.effective:
            if one.sent is not None and one.verdict is Verdict.OPT_OUT:
                return Bearer(one.sent.reference, one.sent.generation)
        return self.bearer

    @property
    def result(self) -> str:
        """The name of the count of FeedbackTally to which the arrival adds."""
        kind = self.arrival.returned.kind
        if self.is_invalid:
            return "invalid"
        if self.goodbye is not None:
            return "unsubscribed" if self.goodbye is Goodbye.DONE else self.goodbye.value
        is_placed = any(one.sent is not None for one in self.placed)
        if kind is Kind.UNSUBSCRIBE:
            is_outdated = any(one.reason == placing.OUTDATED for one in self.placed)
            said_before = "outdated" if is_outdated else "already"
            return said_before if is_placed else "unsigned"
        if kind in {Kind.BOUNCE, Kind.COMPLAINT} and not is_placed:
            return "unplaced"
        return _RESULTS.get(kind, "other")


def apply_all(
    engine: Engine, arrivals: Sequence[Arrival], *, rules: FeedbackRules, now: datetime
) -> FeedbackTally:
    """Apply arrivals in several transactions; idempotent, also if an arrival occurs twice."""
    tally = FeedbackTally()
    for at in range(0, len(arrivals), _AT_ONCE):
        some = arrivals[at : at + _AT_ONCE]
        with sessions.writing(engine) as session:
            tally.add(_Transaction(session, rules, now).apply(some))
    return tally


def _cases(
    session: Session, arrivals: Sequence[Arrival], keyring: Keyring, now: datetime
) -> list[_Case]:
    """Return arrivals with the deliveries that their reports are about."""
    # A token identifies its reader, so the reports of such an arrival are not needed.
    said = [() if one.token else one.returned.reports[:_REPORTS_AT_MOST] for one in arrivals]
    named = [{message_ids.search(one.message_id) for one in of} - {None} for of in said]
    by_message_id = reports.find(session, {pair for of in named for pair in of if pair})
    # Return paths are looked up only for arrivals without a known Message-ID, which are few.
    unnamed = [one for one, of in zip(arrivals, named, strict=True) if of.isdisjoint(by_message_id)]
    accepted = reports.accepted(session, {path for one in unnamed for path in one.references})
    readers = {sent.reference for sent in by_message_id.values()} | accepted.keys()
    mails = Mails(by_message_id, accepted, store.present(session, readers))
    return [
        _Case(
            arrival,
            [placing.place(arrival, _storable(report), mails) for report in of],
            _bearer(arrival, keyring, now),
        )
        for arrival, of in zip(arrivals, said, strict=True)
    ]


def _bearer(arrival: Arrival, keyring: Keyring, now: datetime) -> Bearer | None:
    if arrival.token is None:
        return None
    try:
        return keyring.read(Purpose.UNSUBSCRIBE, arrival.token, now=now)
    except InvalidToken:
        return None


def _storable(report: Report) -> Report:
    """Return a report that fits its columns, with characters that both databases can store."""
    return replace(
        report,
        recipient=_spelled(mime.printable(report.recipient[:_ADDRESS_LENGTH]).strip()),
        status=mime.printable(report.status[:_STATUS_LENGTH]) if report.status else None,
        text=mime.printable(report.text[:_REPLY_LENGTH]),
        code=report.code if report.code in _CODES else None,
    )


def _spelled(recipient: str) -> str:
    """Return the normalised address of a recipient, or the text in lower case if it is none."""
    with suppress(InvalidAddress):
        return address.normalise(recipient, local=True)[:_ADDRESS_LENGTH]
    return recipient.lower()[:_ADDRESS_LENGTH]


def _source(arrival: Arrival) -> str:
    """Return where a report came from, for the record of a consent or a suppression."""
    if arrival.source is not Source.MAIL:
        return f"{arrival.source} event"
    return _MAILS.get(arrival.returned.kind, "report mail")


class _Transaction:
    """One transaction: records new reports and applies their effects."""

    def __init__(self, session: Session, rules: FeedbackRules, now: datetime) -> None:
        self._session = session
        self._tally = FeedbackTally()
        self._rules = rules
        self._now = now

    def apply(self, arrivals: Sequence[Arrival]) -> FeedbackTally:
        """Apply arrivals and return the counts of their results."""
        cases = _cases(self._session, arrivals, self._rules.publication.keyring, self._now)
        fresh = self._receive(cases)
        self._choose(fresh)
        self._end(fresh)
        kept = [(case.arrival, one) for case in fresh for one in case.placed if one.is_kept]
        uncertain = {one.sent.id for _, one in kept if one.sent and one.settles}
        reports.settle(self._session, uncertain, reply=_SETTLED)
        self._record(kept)
        self._count(cases, fresh)
        return self._tally

    def _receive(self, cases: Sequence[_Case]) -> list[_Case]:
        """Return the cases that were not processed before, and store their receipts."""
        new = reports.receive(self._session, {c.key for c in cases if c.key}, now=self._now)
        fresh = []
        for case in cases:
            if not case.key or case.key in new:
                fresh.append(case)
            # A second case with the same key in this batch is not new.
            new.discard(case.key)
        return fresh

    def _choose(self, fresh: Sequence[_Case]) -> None:
        """Select the reports that take effect now: each delivery and verdict does so only once."""
        placed = [one for case in fresh for one in case.placed if one.is_effective]
        seen = reports.recorded(self._session, {one.sent.id for one in placed if one.sent})
        for case in fresh:
            for one in case.placed:
                said = (one.sent.id, one.verdict.value) if one.sent else None
                # A reader who has subscribed again may opt out once more.
                is_new = said not in seen or one.verdict is Verdict.OPT_OUT
                if one.is_effective and said is not None and is_new:
                    case.effective.append(one)
                    seen.add(said)

    def _end(self, fresh: Sequence[_Case]) -> None:
        """Unsubscribe readers, and suppress dead addresses and those of complainants."""
        leaving = [(case, leaver) for case in fresh if (leaver := case.leaver) is not None]
        goodbyes = [(leaver, Origin(_source(case.arrival))) for case, leaver in leaving]
        results, self._tally.suppressed = endings.end_all(
            self._session,
            goodbyes=goodbyes,
            suppressed=self._suppressed(fresh),
            publication=self._rules.publication,
            now=self._now,
        )
        for (case, _), result in zip(leaving, results, strict=True):
            case.goodbye = result

    def _count(self, cases: Sequence[_Case], fresh: Sequence[_Case]) -> None:
        tally, new = self._tally, set(map(id, fresh))
        for case in cases:
            tally.read += 1
            is_new = id(case) in new
            tally.count(case.result if is_new else "repeated")
            if not is_new:
                self._reject(case, "replayed", int(case.arrival.is_nonce))
                continue
            self._log(case)
            self._reject(case, "return path", case.arrival.forged)
            self._reject(case, "token", int(case.is_invalid))
            if case.result == "unsigned":
                tally.senders.append(case.arrival.sender)
            for one in case.placed:
                if one.sent is not None and one.verdict is Verdict.OURS:
                    tally.ours[_advice(one.report)] += 1
        counts = {_named(name): count for name, count in tally.rejected.items()}
        reports.reject(self._session, counts, now=self._now)

    def _log(self, case: _Case) -> None:
        """Log a report, once for each of its deliveries."""
        said = {"result": case.result, "source": case.arrival.source}
        for one in case.placed or (None,):
            report = one.report if one else None
            fields = {
                "domain": (report.recipient.rpartition("@")[2] or None) if report else None,
                "status": report.status if report else None,
            }
            event = partial(events.REPORT_RECEIVED, **said, **fields)
            sessions.after_commit(self._session, event)

    def _reject(self, case: _Case, cause: str, count: int) -> None:
        if count:
            self._tally.rejected[f"{case.arrival.source}: {cause}"] += count

    def _suppressed(self, fresh: Sequence[_Case]) -> dict[str, Grounds]:
        """Return the addresses to suppress: dead ones, and those of readers who complained."""
        each: dict[str, Grounds] = {}
        failed: dict[int, tuple[Arrival, Placed]] = {}
        for arrival, one in ((case.arrival, one) for case in fresh for one in case.effective):
            if one.sent is None or not one.sent.address:
                continue
            if one.verdict is Verdict.COMPLAINT:
                grounds = Grounds(Cause.COMPLAINT, _answer(one.report), _source(arrival))
                # Both addresses, if the reader has changed their address since.
                each |= dict.fromkeys({one.sent.address, one.present or one.sent.address}, grounds)
            elif one.verdict in placing.FAILURES:
                known = failed.get(one.sent.id)
                if known is None or _says_more(one, known[1]):
                    failed[one.sent.id] = (arrival, one)
        for sent_id, (cause, reason) in self._dead(fresh, failed).items():
            arrival, one = failed[sent_id]
            assert one.sent is not None
            grounds = Grounds(cause or Cause.BOUNCE, reason, _source(arrival))
            said = each.get(one.sent.address)
            if said is None or gravity(grounds.cause) > gravity(said.cause):
                each[one.sent.address] = grounds
        return each

    def _dead(
        self,
        fresh: Sequence[_Case],
        failed: Mapping[int, tuple[Arrival, Placed]],
    ) -> dict[int, tuple[Cause | None, str]]:
        failures = {
            one.sent.id: Failure(
                dead_addresses.reaction_to(one.verdict), _answer(one.report), at=one.sent.at
            )
            for _, one in failed.values()
            if one.sent is not None
        }
        bounced: dict[int, str] = {}
        for one in (one for case in fresh for one in case.placed if one.kind is Kind.BOUNCE):
            if one.sent is not None and not one.is_void:
                verdicts = (one.verdict.value, bounced.get(one.sent.id, one.verdict.value))
                bounced[one.sent.id] = min(verdicts, key=dead_addresses.weight)
        return dead_addresses.returned_dead(
            self._session,
            failures,
            returned=bounced,
            rules=self._rules.suppression,
            now=self._now,
        )

    def _record(self, kept: Sequence[tuple[Arrival, Placed]]) -> None:
        rows = [_row(arrival, one, self._now) for arrival, one in kept if one.sent is not None]
        reports.add(self._session, rows)
        self._keep_unplaced([(arrival, one) for arrival, one in kept if one.sent is None])

    def _keep_unplaced(self, unplaced: Sequence[tuple[Arrival, Placed]]) -> None:
        """Store reports without a known delivery for the operator, one of each mail."""
        # Reports about suppressed addresses are dropped: the operator need do nothing about them,
        # and the address may belong to an erased person.
        keyring = self._rules.suppression.keyring
        named = {one.report.recipient for _, one in unplaced}
        settled = suppression.suppressed_among(self._session, named, keyring=keyring)
        rows: dict[int, dict[str, Any]] = {}
        for arrival, one in unplaced:
            if one.report.recipient not in settled:
                row = _row(arrival, one, self._now)
                # Addresses in the reply are masked: they may belong to a person who was or will be
                # erased.
                rows.setdefault(id(arrival), {**row, "reply": _without_addresses(row["reply"])})
        reports.add_unplaced(self._session, list(rows.values()))


def _says_more(one: Placed, other: Placed) -> bool:
    return dead_addresses.weight(one.verdict) < dead_addresses.weight(other.verdict)


def _without_addresses(text: str) -> str:
    return ADDRESS.sub("…", text)


def _row(arrival: Arrival, one: Placed, now: datetime) -> dict[str, Any]:
    report, sent = one.report, one.sent
    return {
        "delivery_id": sent.id if sent else None,
        "mailing_id": sent.mailing_id if sent and one.counts else None,
        "source": arrival.source,
        "kind": one.kind,
        "verdict": one.verdict,
        "recipient": report.recipient,
        "code": report.code,
        "enhanced": report.status,
        "phase": report.phase,
        "reply": report.text,
        "reason": one.reason,
        "is_void": one.is_void,
        "at": now,
    }


def _answer(report: Report) -> str:
    words = (str(report.code or ""), report.status or "", report.text)
    return " ".join(word for word in words if word)


def _advice(report: Report) -> str:
    """Return the advice for a refusal that our mail or set-up has caused, or else the reply."""
    reply = Reply(report.code or 550, f"{report.status or ''} {report.text}".strip())
    outcome = replies.classify(report.phase or Phase.RCPT, reply)
    return replies.advice(outcome) or _answer(report)


def _named(key: str) -> tuple[str, str]:
    source, _, cause = key.partition(": ")
    return source, cause
