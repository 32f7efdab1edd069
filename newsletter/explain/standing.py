"""Describes a reader's status, its origin, and what comes next, by pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from newsletter import suppression
from newsletter.explain import coming, mails, suppressed
from newsletter.explain.coming import Coming
from newsletter.explain.facts import Facts
from newsletter.models import Consent, Kind, State, Status, Subscriber, Suppression
from newsletter.subscribers import evidence, signup, unconfirmed
from newsletter.subscribers.consent import Action
from newsletter.tokens import CONFIRM_LIFETIME

_ACTIONS = {
    Action.ADDED: "added, {cadence}",
    Action.ASKED: "signed up, {cadence}, to be confirmed by a letter",
    Action.IMPORTED: "imported, {cadence}, {status}",
    Action.CONFIRMED: "confirmed, {cadence}",
    Action.CADENCE: "chose {cadence}",
    Action.ADDRESS: "moved to this address",
    Action.PAUSED: "paused",
    Action.RESUMED: "reads again, {cadence}",
    Action.UNSUBSCRIBED: "unsubscribed",
    Action.RETURNED: "came back, {cadence}",
    Action.SUPPRESSED: "the address was suppressed",
    Action.RELEASED: "the suppression was lifted, {status} since",
}


def sentences(facts: Facts) -> Iterator[str]:
    """Yield sentences on the status of the address, and why it gets no mail if so."""
    reader = facts.reader
    if reader is None:
        yield from _no_reader(facts)
    elif reader.status == Status.PENDING:
        yield from _pending(reader, facts)
    elif facts.suppression is None or reader.status != Status.SUPPRESSED:
        yield f"{_who(reader, facts)}."
        yield from _asked_again(reader, facts)
    if (held := facts.suppression) is not None:
        yield f"{suppressed.sentence(held, facts.address)} {_way_out(held)}"
    if reader is not None and (change := facts.change) is not None:
        until = facts.local(change.expires_at)
        yield f"A change of address to {change.address} waits to be confirmed there, until {until}."


def coming_edition(facts: Facts) -> Coming | None:
    """Return the next edition of the reader, None if there is none."""
    if facts.reader is None or facts.suppression is not None:
        return None
    return coming.edition(facts.reader, now=facts.now, times=facts.times, skipped=facts.skipped)


def coming_sentence(facts: Facts) -> str:
    """Return a sentence on the next edition."""
    if (held := facts.suppression) is not None and not _may_confirm(facts, held):
        return "Next: nothing, while the address is suppressed."
    if facts.reader is None:
        return "Next: nothing, before they have confirmed."
    if _has_asked_again(facts.reader, facts):
        return "Next: nothing, before they have confirmed."
    return coming.sentence(facts.reader, now=facts.now, times=facts.times, skipped=facts.skipped)


def consent(row: Consent, facts: Facts) -> str:
    """Describe a consent: the action, its origin, and the wording that the reader saw."""
    known = row.action in set(Action)
    said = _ACTIONS[Action(row.action)] if known else row.action
    parts = [said.format(cadence=row.cadence, status=row.status)]
    reader = facts.reader
    if row.action == Action.PAUSED and reader and reader.paused_until and row is facts.consents[-1]:
        parts[0] += f" until {facts.local(reader.paused_until)}"
    if row.source:
        parts.append(f"by: {row.source}" + (f" from {row.remote}" if row.remote else ""))
    if row.wording:
        parts.append(f"words: {row.wording.rstrip('.')}")
    if stated := evidence.sentence(evidence.from_json(row.evidence)):
        parts.append(f"the file says: {stated}")
    return "; ".join(parts)


def _no_reader(facts: Facts) -> Iterator[str]:
    if facts.change is not None:
        until = facts.local(facts.change.expires_at)
        yield (
            f"A reader wants their mail to come to {facts.address}. The link in the letter there "
            f"confirms it, until {until}."
        )
    else:
        yield f"{facts.address} is no reader."


def _who(reader: Subscriber, facts: Facts) -> str:
    is_ = f"{reader.address} is {reader.cadence}, {reader.status}"
    rows = [row for row in facts.consents if row.status == reader.status]
    since = facts.consents[-1].at if facts.consents else reader.created_at
    for row in reversed(facts.consents):
        if row not in rows:
            break
        since = row.at
    until = reader.paused_until if reader.status == Status.PAUSED else None
    return f"{is_} since {facts.local(since)}" + (f", until {facts.local(until)}" if until else "")


def _asked_again(reader: Subscriber, facts: Facts) -> Iterator[str]:
    """Yield a sentence if a former reader has signed up again without confirming."""
    if _has_asked_again(reader, facts):
        last = facts.consents[-1]
        yield f"They signed up again {facts.local(last.at)} and have not confirmed."
        yield from _letter(facts)


def _has_asked_again(reader: Subscriber, facts: Facts) -> bool:
    has_left = reader.status == Status.UNSUBSCRIBED and bool(facts.consents)
    return has_left and facts.consents[-1].action == Action.ASKED


def _pending(reader: Subscriber, facts: Facts) -> Iterator[str]:
    since = facts.consents[-1].at if facts.consents else reader.created_at
    gone = facts.local(reader.updated_at + unconfirmed.KEPT)
    yield (
        f"{reader.address} is {reader.cadence}, pending since {facts.local(since)}: they have not "
        f"confirmed. If they never do, all of it is deleted {gone}."
    )
    yield from _letter(facts)


def _letter(facts: Facts) -> Iterator[str]:
    letter = next((one for one in facts.mails if one.kind == Kind.CONFIRM), None)
    if letter is None:
        yield "No letter has asked them to confirm; signing up again sends one."
        return
    ends_at = letter.created_at + CONFIRM_LIFETIME
    yield f"{mails.name(letter).capitalize()}: {mails.sentence(letter, facts)}."
    if letter.state == State.ACCEPTED:
        works = "works until" if ends_at > facts.now else "has expired"
        yield f"Its link {works} {facts.local(ends_at)}; they may look into their spam folder."
    day, month = signup.LETTERS, signup.UNCONFIRMED
    yield (
        f"Signing up again sends another letter: {day.count} a day at most, and {month.count} in "
        f"{month.window.days} days."
    )


def _may_confirm(facts: Facts, held: Suppression) -> bool:
    is_pending = facts.reader is not None and facts.reader.status == Status.PENDING
    return is_pending and suppression.is_liftable(held.cause)


def _way_out(held: Suppression) -> str:
    remove = f"`newsletter suppression remove {held.address}`"
    if suppression.is_liftable(held.cause):
        return f"They may sign up again and confirm; {remove} lifts it, too."
    return f"Only {remove} lifts it."
