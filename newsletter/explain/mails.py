"""Describes the outcome of one mail and the meaning of its replies, by pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from newsletter.explain import meanings
from newsletter.explain.facts import Facts, Mail, Reply
from newsletter.ledger import reasons
from newsletter.ledger.reasons import Reason
from newsletter.models import EditionState, Kind, State

#: Letters by their kind, as sentences name them.
_LETTERS = {
    Kind.CONFIRM: "the letter that asks to confirm",
    Kind.WELCOME: "the welcome letter",
    Kind.GOODBYE: "the goodbye letter",
    Kind.PRESENT: "the letter that says they are subscribed already",
    Kind.ERASE: "the letter that asks to confirm an erasure",
    Kind.DATA: "the letter with the link to their data",
    Kind.NEW_ADDRESS: "the letter that asks to confirm a new address",
    Kind.OLD_ADDRESS: "the note to the old address",
}


def name(mail: Mail) -> str:
    """Return the name of a mail: its edition, or the kind of letter."""
    if mail.edition is not None:
        return mail.edition.name
    if mail.corrects is not None:
        return f"a correction of {mail.corrects}"
    return _LETTERS.get(Kind(mail.kind), mail.kind) if mail.kind in set(Kind) else mail.kind


def sentence(mail: Mail, facts: Facts) -> str:
    """Return the outcome of a mail, as the end of a sentence that begins with its name."""
    return _BY_STATE.get(mail.state, _waiting)(mail, facts)


def details(mail: Mail, facts: Facts) -> Iterator[str]:
    """Yield a line for each try and report with its meaning, oldest first."""
    for each in mail.tries:
        yield f"{facts.local(each.at)} {_quoted(each)}"
    for each in mail.returned:
        said = meanings.words(each)
        aside = f"; counts less: {each.reason}" if each.reason else ""
        meaning = meanings.of_verdict(each.result)
        yield f"{facts.local(each.at)} came back: {meaning}{f' ({said})' if said else ''}{aside}"


def _accepted(mail: Mail, facts: Facts) -> str:
    if mail.returned:
        last = mail.returned[-1]
        came_to = meanings.of_verdict(last.result)
        return f"the mail server took it, and then, {facts.local(last.at)}: {came_to}"
    said = meanings.words(mail.last) if mail.last else ""
    return f"the mail server took it {facts.local(mail.state_at)}{f' ({said})' if said else ''}"


def _refused(mail: Mail, facts: Facts) -> str:
    last = mail.tries[-1] if mail.tries else mail.last
    if last is None:
        return "refused, and not tried again; the reply was not kept"
    if last.result == State.DEFERRED:
        return f"given up after the last try, {facts.local(last.at)}: {_quoted(last)}"
    return f"refused for good: {_quoted(last)}"


def _unknown(mail: Mail, _facts: Facts) -> str:
    if mail.reason:
        meaning = reasons.meaning(mail.reason)
        return f"may or may not have arrived, and is not sent again: {meaning}"
    was_lost = any(each.result == State.UNKNOWN for each in mail.tries)
    why = "the server's last answer is missing" if was_lost else "it was held for the operator"
    return (
        f"may or may not have arrived: {why}. `newsletter delivery reconcile` settles it by the "
        f"relay's log, `newsletter delivery retry {mail.id}` sends it again"
    )


def _claimed(_mail: Mail, _facts: Facts) -> str:
    return "a worker has it, and sends it next"


def _in_flight(mail: Mail, _facts: Facts) -> str:
    if mail.reason:
        return f"is being sent now, and not again if that fails: {reasons.meaning(mail.reason)}"
    return "is being sent now"


def _ended(mail: Mail, facts: Facts) -> str:
    meaning = f"{mail.state}: {reasons.meaning(mail.reason or 'no reason was kept')}"
    if mail.reason == Reason.SUPERSEDED:
        newer = _newer(mail, facts)
        return f"{meaning}: {newer.edition.name}" if newer and newer.edition else meaning
    if mail.reason == Reason.EDITION_CANCELLED and mail.edition and mail.edition.reason:
        return f"{meaning} ({mail.edition.reason.rstrip('.')})"
    return meaning


def _newer(mail: Mail, facts: Facts) -> Mail | None:
    """Return the mail that has the articles of a superseded mail."""
    later = (one for one in reversed(facts.mails) if one.created_at >= mail.state_at)
    return next((one for one in later if one.is_digest and one.id != mail.id), None)


def _waiting(mail: Mail, facts: Facts) -> str:
    """Return why an open mail waits, by the strongest cause."""
    if mail.edition and mail.edition.state == EditionState.PAUSED:
        by = f": {mail.edition.reason.rstrip('.')}" if mail.edition.reason else " by the operator"
        resume = f"`newsletter editions resume {mail.edition.name}`"
        return f"waits: the edition is paused{by}. {resume} lets it go on"
    last = mail.tries[-1] if mail.tries else None
    said = f"; the last try: {_quoted(last)}" if last else ""
    domain = mail.address.rpartition("@")[2]
    if (until := facts.domains_paused.get(mail.blocked_domain or domain)) is not None:
        return f"waits: nothing goes to {domain} until {facts.local(until)}{said}"
    if mail.blocked_domain:
        return f"waits: {mail.blocked_domain} takes only so much at a time{said}"
    if mail.due_at > facts.now:
        return f"is tried again from {facts.local(mail.due_at)} on{said}"
    if facts.opens_at is not None:
        return f"waits for a limit of all mail: more may go at {facts.local(facts.opens_at)}{said}"
    return (
        f"is due since {facts.local(mail.due_at)}, and goes with the next run; "
        f"`newsletter status` says whether anything sends{said}"
    )


def _quoted(said: Reply) -> str:
    words, meaning = meanings.words(said), meanings.of_reply(said)
    return f"{words}: {meaning}" if words else meaning


_BY_STATE: Mapping[str, Callable[[Mail, Facts], str]] = {
    State.ACCEPTED: _accepted,
    State.REFUSED: _refused,
    State.UNKNOWN: _unknown,
    State.SKIPPED: _ended,
    State.CANCELLED: _ended,
    State.CLAIMED: _claimed,
    State.IN_FLIGHT: _in_flight,
}
