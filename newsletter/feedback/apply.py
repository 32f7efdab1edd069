"""Applies what came back: a batch of mails or events in one transaction, each of them once.

Nothing has an effect on the strength of an address, which can be forged: a report counts if it
names a delivery by our Message-ID, or its reader by a return path that we have signed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import suppression
from newsletter.db import session as sessions
from newsletter.errors import InvalidToken
from newsletter.feedback import placing
from newsletter.feedback.placing import Mails, Placed
from newsletter.feedback.reports import Arrival, Kind, Report, Source, Verdict
from newsletter.ledger import books, dead_addresses, message_ids, reports
from newsletter.ledger.dead_addresses import Failure, SuppressionRules
from newsletter.models import Cause
from newsletter.publication import Publication
from newsletter.settings import Settings
from newsletter.smtp import reply as replies
from newsletter.smtp.outcome import Phase
from newsletter.smtp.reply import Reply
from newsletter.subscribers import store, suppress, unsubscribe
from newsletter.subscribers.consent import Origin
from newsletter.subscribers.unsubscribe import Goodbye
from newsletter.suppression import Grounds
from newsletter.tokens import Bearer, Purpose

#: Senders of unsigned requests that are listed; all are counted.
NAMED = 100
#: Of one mail: it had one recipient, and forwarders name a few more.
_REPORTS_AT_MOST = 20
#: Characters of a server's words that are stored.
_REPLY_LENGTH = 512
_ADDRESS_LENGTH = 254
_STATUS_LENGTH = 12
#: Codes of replies (RFC 5321 4.2).
_CODES = range(200, 600)
_SETTLED = "what came back shows that it was accepted"


@dataclass(frozen=True)
class FeedbackRules:
    """What reports are applied by."""

    publication: Publication
    suppression: SuppressionRules

    @classmethod
    def of(cls, settings: Settings, publication: Publication) -> FeedbackRules:
        """Return the rules that the settings describe."""
        return cls(publication, SuppressionRules(publication.keyring, settings.full_mailboxes))


@dataclass
class FeedbackTally:
    """The mails and events by result: `read` is the sum of those up to `other`."""

    read: int = 0
    unsubscribed: int = 0
    #: The reader was unsubscribed before.
    already: int = 0
    #: Of an earlier consent: the reader has subscribed again since.
    outdated: int = 0
    #: The token is not ours, or damaged.
    invalid: int = 0
    #: Asks to unsubscribe without a token: the sender may be forged.
    unsigned: int = 0
    bounced: int = 0
    complained: int = 0
    delayed: int = 0
    delivered: int = 0
    #: Automatic replies.
    automatic: int = 0
    #: Names no mail of ours: kept for the operator, without effect.
    unplaced: int = 0
    #: Seen before.
    repeated: int = 0
    #: Nothing of these.
    other: int = 0

    #: Addresses that were not suppressed before.
    suppressed: int = 0
    #: Forged or replayed ones, by source and cause.
    rejected: Counter[str] = field(default_factory=Counter)
    #: Refusals of our mail or set-up, by what they are about.
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


#: The result that a mail or an event counts as, by its kind.
_RESULTS = {
    Kind.BOUNCE: "bounced",
    Kind.COMPLAINT: "complained",
    Kind.DELAYED: "delayed",
    Kind.DELIVERED: "delivered",
    Kind.AUTO: "automatic",
}


class _Case:
    """An arrival, its reports with the deliveries that they are of, and what it comes to."""

    def __init__(self, arrival: Arrival, placed: Sequence[Placed]) -> None:
        self.arrival = arrival
        self.placed = placed
        #: The name of the result that it counts as, once that is known.
        self.result = ""

    @property
    def key(self) -> str:
        """What its receipt is kept by; empty if it leaves none."""
        one = self.arrival
        if not one.is_nonce and not any(placed.is_kept for placed in self.placed):
            return ""
        octets = f"{one.source} {one.id}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(octets, digest_size=24).hexdigest()


def apply_all(
    engine: Engine, arrivals: Sequence[Arrival], *, rules: FeedbackRules, now: datetime
) -> FeedbackTally:
    """Apply arrivals; idempotent, also for one that stands twice among them."""
    with sessions.reading(engine) as session:
        cases = _cases(session, arrivals)
    # Before the rows that say that it was done, and each in a transaction of its own.
    goodbyes = [_leave(engine, case, rules, now) for case in cases]
    tally = FeedbackTally(read=len(arrivals))
    with sessions.writing(engine) as session:
        # Once more: rows may have been pruned meanwhile.
        cases = _cases(session, arrivals)
        for case, goodbye in zip(cases, goodbyes, strict=True):
            case.result = goodbye
        _Transaction(session, tally, rules, now).apply(cases)
    return tally


def _cases(session: Session, arrivals: Sequence[Arrival]) -> list[_Case]:
    """Return arrivals with the deliveries that their reports are of."""
    said = [one for arrival in arrivals for one in arrival.returned.reports[:_REPORTS_AT_MOST]]
    named = {pair for report in said if (pair := message_ids.search(report.message_id))}
    signed = {reference for arrival in arrivals for reference in arrival.references}
    by_message_id = reports.find(session, named)
    latest = reports.latest_accepted(session, signed)
    readers = {sent.reference for sent in (*by_message_id.values(), *latest.values())}
    mails = Mails(by_message_id, latest, store.present(session, readers))
    return [_Case(one, _placed(one, mails)) for one in arrivals]


def _placed(arrival: Arrival, mails: Mails) -> list[Placed]:
    # A token names its reader and says all.
    said = () if arrival.token else arrival.returned.reports[:_REPORTS_AT_MOST]
    return [placing.place(arrival, _storable(report), mails) for report in said]


def _storable(report: Report) -> Report:
    """Return a report within the bounds of its columns, in characters that both engines take."""
    return replace(
        report,
        recipient=_legible(report.recipient, _ADDRESS_LENGTH).strip(),
        status=_legible(report.status, _STATUS_LENGTH) if report.status else None,
        text=_legible(report.text, _REPLY_LENGTH),
        code=report.code if report.code in _CODES else None,
    )


def _legible(text: str, length: int) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:length])


def _leave(engine: Engine, case: _Case, rules: FeedbackRules, now: datetime) -> str:
    """Unsubscribe the reader of a token or an opt-out; return the result, empty for no such."""
    token = case.arrival.token
    if token is not None:
        try:
            bearer = rules.publication.keyring.read(Purpose.UNSUBSCRIBE, token, now=now)
        except InvalidToken:
            return "invalid"
        return _unsubscribe(engine, bearer, "unsubscribe mail", rules, now)
    for one in case.placed:
        if one.sent is not None and one.is_effective and one.verdict is Verdict.OPT_OUT:
            bearer = Bearer(one.sent.reference, one.sent.generation)
            return _unsubscribe(engine, bearer, _source(case.arrival), rules, now)
    return ""


def _unsubscribe(
    engine: Engine, bearer: Bearer, source: str, rules: FeedbackRules, now: datetime
) -> str:
    with sessions.writing(engine) as session:
        result = unsubscribe.by_link(
            session, bearer, origin=Origin(source), publication=rules.publication, now=now
        )
    return "unsubscribed" if result is Goodbye.DONE else result.value


def _source(arrival: Arrival) -> str:
    """Return where a report came from, for the record of a consent or a suppression."""
    of_mail = "bounce" if arrival.returned.kind is Kind.BOUNCE else "report"
    return f"{of_mail} mail" if arrival.source is Source.MAIL else f"{arrival.source} event"


class _Transaction:
    """What one transaction does: what is new is recorded, and has its effects."""

    def __init__(
        self, session: Session, tally: FeedbackTally, rules: FeedbackRules, now: datetime
    ) -> None:
        self._session = session
        self._tally = tally
        self._rules = rules
        self._now = now

    def apply(self, cases: Sequence[_Case]) -> None:
        """Apply cases; those with a result have had their effects, and are only recorded."""
        new = reports.receive(self._session, {c.key for c in cases if c.key}, now=self._now)
        fresh: list[_Case] = []
        for case in cases:
            is_new = not case.key or case.key in new
            # Another one with the same key is not.
            new.discard(case.key)
            if is_new:
                fresh.append(case)
            else:
                self._reject(case, "replayed", int(case.arrival.is_nonce))
            self._reject(case, "return path", case.arrival.forged)
            self._reject(case, "token", int(case.result == "invalid"))
            self._tally.count(self._result(case) if is_new else "repeated")
        kept = [(case.arrival, one) for case in fresh for one in case.placed if one.is_kept]
        self._suppress(kept)
        settled = {one.sent.id: _SETTLED for _, one in kept if one.sent and one.settles}
        if settled:
            books.reconcile(self._session, replies=settled, now=self._now)
        self._record(kept)
        counts = {_named(name): n for name, n in self._tally.rejected.items()}
        reports.reject(self._session, counts, now=self._now)

    def _reject(self, case: _Case, cause: str, count: int) -> None:
        if count:
            self._tally.rejected[f"{case.arrival.source}: {cause}"] += count

    def _result(self, case: _Case) -> str:
        kind = case.arrival.returned.kind
        if case.result:
            return case.result
        if kind is Kind.UNSUBSCRIBE:
            self._tally.senders.append(case.arrival.sender)
            return "unsigned"
        is_placed = any(one.sent is not None for one in case.placed)
        if kind in {Kind.BOUNCE, Kind.COMPLAINT} and not is_placed:
            return "unplaced"
        return _RESULTS.get(kind, "other")

    def _suppress(self, kept: Sequence[tuple[Arrival, Placed]]) -> None:
        """Suppress the addresses that are dead, and those of readers who have complained."""
        each: dict[str, Grounds] = {}
        failed: dict[int, tuple[Arrival, Placed]] = {}
        for arrival, one in kept:
            if one.sent is None or not one.is_effective or not one.sent.address:
                continue
            if one.verdict is Verdict.COMPLAINT:
                grounds = Grounds(Cause.COMPLAINT, _answer(one.report), _source(arrival))
                # They may have changed their address since.
                each |= dict.fromkeys({one.sent.address, one.present or one.sent.address}, grounds)
            elif one.verdict in placing.FAILURES:
                failed[one.sent.id] = (arrival, one)
        for sent_id, (cause, reason) in self._dead(kept, failed).items():
            arrival, one = failed[sent_id]
            assert one.sent is not None
            grounds = Grounds(cause or Cause.BOUNCE, reason, _source(arrival))
            each.setdefault(one.sent.address, grounds)
        self._tally.suppressed += suppress.suppress_each(
            self._session, each, now=self._now, keyring=self._rules.suppression.keyring
        )

    def _dead(
        self,
        kept: Sequence[tuple[Arrival, Placed]],
        failed: Mapping[int, tuple[Arrival, Placed]],
    ) -> dict[int, tuple[Cause | None, str]]:
        failures = {
            one.sent.id: Failure(
                dead_addresses.reaction_to(one.verdict), _answer(one.report), at=one.sent.at
            )
            for _, one in failed.values()
            if one.sent is not None
        }
        bounced = {
            one.sent.id: one.verdict.value
            for _, one in kept
            if one.sent is not None and one.kind is Kind.BOUNCE
        }
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
        for _, one in kept:
            if one.verdict is Verdict.OURS:
                self._tally.ours[_advice(one.report)] += 1
        self._keep_unplaced([(arrival, one) for arrival, one in kept if one.sent is None])

    def _keep_unplaced(self, unplaced: Sequence[tuple[Arrival, Placed]]) -> None:
        """Keep for the operator what may be true, within bounds."""
        if not unplaced:
            return
        # Nothing is to be done about an address that is suppressed; it may be of an erased person.
        keyring = self._rules.suppression.keyring
        named = {one.report.recipient.lower() for _, one in unplaced}
        settled = suppression.suppressed_among(self._session, named, keyring=keyring)
        rows = [
            _row(arrival, one, self._now)
            for arrival, one in unplaced
            if one.report.recipient.lower() not in settled
        ]
        room = reports.UNPLACED_AT_MOST - reports.count_unplaced(self._session)
        reports.add(self._session, rows[: max(0, room)])


def _row(arrival: Arrival, one: Placed, now: datetime) -> dict[str, Any]:
    report, sent = one.report, one.sent
    is_erased = sent is not None and not sent.address
    return {
        "delivery_id": sent.id if sent else None,
        "mailing_id": sent.mailing_id if sent and one.counts else None,
        "source": arrival.source,
        "kind": one.kind,
        "verdict": one.verdict,
        "recipient": "" if is_erased else report.recipient,
        "code": report.code,
        "enhanced": report.status,
        "phase": report.phase,
        "reply": None if is_erased else report.text,
        "reason": one.reason,
        "at": now,
    }


def _answer(report: Report) -> str:
    words = (str(report.code or ""), report.status or "", report.text)
    return " ".join(word for word in words if word)


def _advice(report: Report) -> str:
    """Return what of ours a refusal is about."""
    reply = Reply(report.code or 550, f"{report.status or ''} {report.text}".strip())
    outcome = replies.classify(report.phase or Phase.RCPT, reply)
    return replies.advice(outcome) or _answer(report)


def _named(key: str) -> tuple[str, str]:
    source, _, cause = key.partition(": ")
    return source, cause
