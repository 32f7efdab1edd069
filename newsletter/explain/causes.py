"""Decides why a reader has no delivery of an edition, by pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from newsletter import suppression
from newsletter.cadences import Cadence
from newsletter.explain.facts import Facts, Made, Mail
from newsletter.ledger.reasons import Reason
from newsletter.models import Consent, EditionState, State, Status
from newsletter.subscribers.consent import Action

_BY_STATUS = {
    Status.PENDING: Reason.PENDING,
    Status.PAUSED: Reason.PAUSED,
    Status.UNSUBSCRIBED: Reason.UNSUBSCRIBED,
    Status.SUPPRESSED: Reason.SUPPRESSED,
}
#: States of mail that has arrived or may have arrived.
_GONE = (State.ACCEPTED, State.UNKNOWN)
#: Actions that change neither status nor cadence of a reader.
_ASIDE = frozenset({Action.ASKED.value, Action.ADDRESS.value})


@dataclass(frozen=True)
class Cause:
    """Why no delivery was made, and since when this reason applied."""

    #: None if the edition was skipped, or the reason is no longer known.
    reason: Reason | None
    clause: str
    since: datetime | None = None


def of(made: Made, facts: Facts) -> Cause:
    """Return why the reader has no delivery of an edition."""
    if made.state == EditionState.SKIPPED:
        return Cause(None, f"nobody got it: {(made.reason or 'it was skipped').rstrip('.')}")
    standing = facts.standing(made.at)
    if standing is None:
        return _cause(Reason.JOINED_LATER, next(iter(_begun(facts)), None))
    return _of_reader(standing, made, facts) or (
        _of_announcement(made) if made.is_announcement else _of_articles(made, facts)
    )


def _of_reader(standing: Consent, made: Made, facts: Facts) -> Cause | None:
    """Return why the reader was not in the audience; None if they were."""
    if (reason := _BY_STATUS.get(Status(standing.status))) is not None:
        since = _since(standing, facts, "status")
        return _paused(made, since, facts) if reason is Reason.PAUSED else _cause(reason, since)
    wanted = made.audience if made.is_announcement else made.cadence
    if wanted in set(Cadence) and standing.cadence != wanted:
        clause = f"{Reason.OTHER_CADENCE.meaning}, {standing.cadence}"
        return Cause(Reason.OTHER_CADENCE, clause, _since(standing, facts, "cadence").at)
    if (held := facts.suppression) is not None and held.created_at <= made.at:
        meaning = suppression.RULES[suppression.Cause(held.cause)].meaning
        return Cause(Reason.SUPPRESSED, f"{Reason.SUPPRESSED.meaning}: {meaning}", held.created_at)
    return None


def _of_announcement(made: Made) -> Cause:
    """Return why a reader who could be mailed had no delivery of an announcement."""
    if made.pruned:
        return _pruned(made)
    if made.audience is None or made.audience == "all" or made.audience in set(Cadence):
        return Cause(None, "they were not among its readers when it was made")
    return Cause(Reason.NOT_AMONG, f"{Reason.NOT_AMONG.meaning}, {made.audience}")


def _pruned(made: Made) -> Cause:
    known = "whether this reader's was among them is not known any more"
    return Cause(None, f"some of its deliveries were pruned ({made.pruned:,}); {known}")


def _of_articles(made: Made, facts: Facts) -> Cause:
    """Return why a reader in the audience had no delivery, by their other mail."""
    if made.pruned:
        return _pruned(made)
    earlier = [mail for mail in facts.mails if mail.is_digest and mail.created_at < made.at]
    if (waiting := next((one for one in earlier if one.was_open(made.at)), None)) is not None:
        return Cause(Reason.UNDER_WAY, f"{Reason.UNDER_WAY.meaning}: {_name(waiting)}")
    arrived = next((one for one in earlier if one.state in _GONE), None)
    clause = Reason.NOTHING_NEW.meaning
    if arrived is not None:
        clause += f"; the last that they had was {_name(arrived)}"
    return Cause(Reason.NOTHING_NEW, clause)


def _cause(reason: Reason, since: Consent | None) -> Cause:
    if since is None:
        return Cause(reason, reason.meaning)
    said = since.wording.rstrip(".") if reason is Reason.SUPPRESSED else ""
    return Cause(reason, f"{reason.meaning}: {said}" if said else reason.meaning, since.at)


def _paused(made: Made, since: Consent, facts: Facts) -> Cause:
    """Return the cause for a paused reader, with the end if the pause still lasts."""
    later = [row for row in facts.consents if row.at > made.at]
    lasts = all(row.status == Status.PAUSED for row in later)
    until = facts.reader.paused_until if lasts and facts.reader else None
    clause = Reason.PAUSED.meaning + (f" until {facts.local(until)}" if until else "")
    return Cause(Reason.PAUSED, clause, since.at)


def _since(standing: Consent, facts: Facts, what: str) -> Consent:
    """Return the consent row that set the field `what` to its value in `standing`."""
    found = standing
    for row in reversed(facts.consents):
        if row.at > standing.at:
            continue
        if getattr(row, what) != getattr(standing, what):
            break
        if row.action not in _ASIDE:
            found = row
    return found


def _begun(facts: Facts) -> Iterator[Consent]:
    return (row for row in facts.consents if row.status == Status.ACTIVE)


def _name(mail: Mail) -> str:
    assert mail.edition is not None
    return mail.edition.name
