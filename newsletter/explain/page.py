"""The page about one address: status, mails received or not and why, and the next edition.

Pure functions turn facts into sentences. Every command and web page that explains a reader uses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby

from newsletter import cadences
from newsletter.cadences import Cadence
from newsletter.explain import causes, mails, standing, suppressed
from newsletter.explain.causes import Cause
from newsletter.explain.coming import Coming
from newsletter.explain.facts import Facts, Made, Mail
from newsletter.ledger.reasons import Reason
from newsletter.models import Consent, State, Status, Subscriber

#: Maximum of consents on a page, the newest ones.
_CONSENTS = 40
_GIVEN_UP = frozenset({State.REFUSED.value, State.SKIPPED.value, State.CANCELLED.value})
_AFTER_THAT = (
    "What became of it there stands in the mail server's log, by the Message-ID; the reader may "
    "look into their spam folder."
)
_NOT_HERE = (
    "Ask with which address they signed up: another spelling, an older mailbox, or one that "
    "forwards."
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One event of the page: a consent, a suppression, or a mail that was made or not."""

    at: datetime
    #: "consent", "suppression", or the kind of mail: "digest", "correction", "confirm" ...
    kind: str
    #: The name of the mail: weekly-2026-11-23, or the kind of letter; empty for a consent.
    name: str
    sentence: str
    #: A line for each try and report.
    details: tuple[str, ...] = ()
    #: State of the delivery; None if there was none.
    state: str | None = None
    #: A reason of `ledger.reasons`; None if the mail was sent or the reason is unknown.
    reason: str | None = None
    #: The Message-ID, for a search in the mail server's log.
    message_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Page:
    """The answer, and the entries that support it, newest first."""

    address: str
    is_known: bool
    #: Sentences on the reader's status, the last mail and the next edition.
    answer: tuple[str, ...]
    next: Coming | None
    entries: tuple[Entry, ...] = ()
    #: Sentences on omitted entries.
    left_out: tuple[str, ...] = ()


def of(facts: Facts) -> Page:
    """Return the page about an address."""
    if not facts.is_known:
        return _unknown(facts)
    return Page(
        address=facts.address,
        is_known=True,
        answer=(*standing.sentences(facts), *_latest(facts), standing.coming_sentence(facts)),
        next=standing.coming_edition(facts),
        entries=tuple(sorted(_entries(facts), key=lambda one: one.at, reverse=True)),
        left_out=tuple(_left_out(facts)),
    )


def about(facts: Facts) -> Page:
    """Return the page about the single edition in `facts`, with its entries."""
    if not facts.editions:
        # The address has no reader.
        return of(facts)
    (made,) = facts.editions
    own = [one for one in facts.mails if one.edition and one.edition.name == made.name]
    found = [_of_mail(one, facts) for one in own] or [
        _of_none([made], causes.of(made, facts), facts)
    ]
    corrections = [_of_mail(one, facts) for one in facts.mails if one.corrects == made.name]
    row = facts.standing(made.at)
    evidence = [_of_consent(row, facts)] if row is not None else []
    return Page(
        address=facts.address,
        is_known=True,
        answer=(f"{made.name}: {found[0].sentence}.", standing.coming_sentence(facts)),
        next=standing.coming_edition(facts),
        entries=(*corrections, *found, *evidence),
    )


def _unknown(facts: Facts) -> Page:
    said = (f"Nothing is known about {facts.address}.", _NOT_HERE)
    return Page(address=facts.address, is_known=False, answer=said, next=None)


def _latest(facts: Facts) -> Iterator[str]:
    """Yield sentences on the newest edition that was due for the reader, and on newer mail."""
    reader = facts.reader
    if reader is None or reader.status == Status.PENDING:
        return
    cadence = Cadence(reader.cadence)
    made = next((one for one in _due(facts) if one.cadence == cadence), None)
    period = cadences.newest_due(cadence, facts.now, facts.times)
    if (made is None or made.period < period) and _is_missed(facts, cadence):
        due_at = facts.local(cadences.due_at(cadence, period, facts.times))
        name = cadences.slug(cadence, period)
        yield f"{name} was due {due_at} and is not made yet; `newsletter status` says more."
    newest = next((one for one in facts.mails if one.is_digest), None)
    if made is not None and (newest is None or not _is_of(newest, made)):
        cause = causes.of(made, facts)
        if cause.reason is Reason.JOINED_LATER:
            yield f"They joined after {made.name} was made."
        else:
            yield f"{made.name}: {_none(cause, facts)}."
    if newest is not None and (made is None or newest.created_at >= made.at or newest.is_open):
        yield f"{mails.name(newest)}: {mails.sentence(newest, facts)}."
        if newest.state == State.ACCEPTED and not newest.returned:
            yield _AFTER_THAT
        if newest.state in _GIVEN_UP and newest.reason != Reason.SUPERSEDED and _reads(reader):
            yield "Its articles come with their next edition."


def _reads(reader: Subscriber) -> bool:
    return reader.status in {Status.ACTIVE, Status.PAUSED}


def _is_missed(facts: Facts, cadence: Cadence) -> bool:
    """Return whether a reader was active when the newest period was due."""
    period = cadences.newest_due(cadence, facts.now, facts.times)
    due_at = cadences.due_at(cadence, period, facts.times)
    row = facts.standing(due_at)
    began = facts.began_at is None or facts.began_at <= due_at
    return began and row is not None and (row.status, row.cadence) == (Status.ACTIVE, cadence)


def _is_of(mail: Mail, made: Made) -> bool:
    return mail.edition is not None and mail.edition.name == made.name


def _due(facts: Facts) -> Iterator[Made]:
    """Yield the editions that were due, newest first, without those skipped in advance."""
    newest: dict[str, date] = {
        each: cadences.newest_due(each, facts.now, facts.times) for each in Cadence
    }
    due = (one for one in facts.editions if one.period <= newest[one.cadence])
    return iter(sorted(due, key=lambda one: one.at, reverse=True))


def _entries(facts: Facts) -> Iterator[Entry]:
    yield from (_of_mail(mail, facts) for mail in facts.mails)
    yield from _never_made(facts)
    # Of consents at the same instant, the last one also comes first.
    yield from (_of_consent(row, facts) for row in reversed(facts.consents[-_CONSENTS:]))
    held, reader = facts.suppression, facts.reader
    # The consents of a suppressed reader already contain the suppression.
    if held is not None and (reader is None or reader.status != Status.SUPPRESSED):
        said = f"suppressed, {suppressed.cause(held)}"
        yield Entry(at=held.created_at, kind="suppression", name="", sentence=said)


def _never_made(facts: Facts) -> Iterator[Entry]:
    """Yield entries for editions that the reader did not get; equal reasons share one entry."""
    had = {one.edition.name for one in facts.mails if one.edition}
    oldest = facts.mails[-1].created_at if facts.mails_in_all > len(facts.mails) else None
    found = []
    for made in _due(facts):
        row = facts.standing(made.at)
        is_theirs = row is not None and row.cadence == made.cadence
        if is_theirs and made.name not in had and (oldest is None or made.at > oldest):
            found.append((made, causes.of(made, facts)))
    for cause, alike in groupby(found, key=lambda one: one[1]):
        yield _of_none([made for made, _ in alike], cause, facts)


def _of_none(alike: Sequence[Made], cause: Cause, facts: Facts) -> Entry:
    newest, oldest = alike[0], alike[-1]
    name = newest.name if len(alike) == 1 else f"{oldest.name} to {newest.name}"
    count = "" if len(alike) == 1 else f"{len(alike)} editions, "
    return Entry(
        at=newest.at,
        kind="digest",
        name=name,
        sentence=f"{count}{_none(cause, facts)}",
        reason=cause.reason,
    )


def _none(cause: Cause, facts: Facts) -> str:
    since = f" (since {facts.local(cause.since)})" if cause.since else ""
    return f"no mail for this reader: {cause.clause}{since}"


def _of_mail(mail: Mail, facts: Facts) -> Entry:
    own = facts.reader.address if facts.reader else facts.address
    to = f", to {mail.address}" if mail.address and mail.address != own else ""
    return Entry(
        at=mail.created_at,
        kind=mail.kind,
        name=f"{mails.name(mail)}{to}",
        sentence=mails.sentence(mail, facts),
        details=tuple(mails.details(mail, facts)),
        state=mail.state,
        reason=mail.reason,
        message_id=mail.message_id,
    )


def _of_consent(row: Consent, facts: Facts) -> Entry:
    return Entry(at=row.at, kind="consent", name="", sentence=standing.consent(row, facts))


def _left_out(facts: Facts) -> Iterator[str]:
    shown = len(facts.mails)
    all_of_it = f"`newsletter subscribers show {facts.address} --json` has all of them."
    if facts.mails_in_all > shown:
        yield f"The newest {shown} of {facts.mails_in_all:,} mails are shown; {all_of_it}"
    if len(facts.consents) > _CONSENTS:
        count = f"{len(facts.consents):,} changes of consent"
        yield f"The newest {_CONSENTS} of {count} are shown; {all_of_it}"
