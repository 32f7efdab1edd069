"""Decides when failures mean that an address is dead, and suppresses it.

A reply that the address does not exist suppresses it immediately. A failure that may be temporary
is counted, by the replies in the ledger itself. The same rules apply to replies in an SMTP session
and to bounces of accepted mail.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import ColumnElement, case, or_
from sqlalchemy import select as select_columns
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from newsletter import suppression
from newsletter.ledger.queue import Verdict
from newsletter.ledger.reports import BOUNCE
from newsletter.models import Delivery, Report, State
from newsletter.smtp import reply
from newsletter.smtp.outcome import Kind, Outcome, Phase, Reaction
from newsletter.smtp.reply import Reply
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Keyring

#: Reactions that concern the address.
_COUNTED = frozenset({Reaction.SUSPECT, Reaction.COUNT})
_ABOUT_ADDRESS = _COUNTED | {Reaction.SUPPRESS}
#: States of earlier deliveries whose reply counts.
_ANSWERED = (State.ACCEPTED, State.REFUSED, State.SKIPPED)
_SOURCE = "mail server"
#: The reactions to a bounce by its verdict (see `feedback.reports.Verdict`).
_OF_VERDICT = {
    "dead": Reaction.SUPPRESS,
    "maybe": Reaction.SUSPECT,
    "full": Reaction.COUNT,
}
_NO_BOUNCES: Mapping[int, str] = MappingProxyType({})
#: Minimum time between two temporary failures that suppress an address; many are over the next day.
AGAIN_AFTER = timedelta(days=3)
#: Time after which an accepted mail without a bounce counts as arrived: mail servers stop trying
#: after five days (RFC 5321 4.5.4.1).
NOTHING_COMES_AFTER = timedelta(days=5)


class SuppressionRules(NamedTuple):
    """When a temporary failure counts as permanent."""

    keyring: Keyring
    #: Consecutive full-mailbox failures that suppress an address; 0 for never.
    full_mailboxes: int


class Failure(NamedTuple):
    """A failed mail, with the reason."""

    reaction: Reaction
    #: The reply on one line.
    answer: str
    #: The time at which the mail was tried.
    at: datetime
    #: Whether the delivery has ended, and will not be retried.
    is_final: bool = True


class Earlier(NamedTuple):
    """The outcome of another mail to the same reader."""

    at: datetime
    #: Whether the mail was accepted, and did not bounce.
    was_accepted: bool
    reaction: Reaction


def suppress_dead(
    session: Session, verdicts: Sequence[Verdict], *, rules: SuppressionRules, now: datetime
) -> int:
    """Suppress the addresses that these verdicts show to be dead; return how many.

    Lock order: suppressions before deliveries, so this runs before the verdicts are recorded.
    """
    relevant = [verdict for verdict in verdicts if verdict.outcome.reaction in _ABOUT_ADDRESS]
    if not relevant:
        return 0
    ids = [one.delivery_id for one in relevant if one.outcome.reaction is not Reaction.SUPPRESS]
    others = earlier(session, ids) if ids else {}
    dead = {
        verdict.address: grounds
        for verdict in relevant
        if (grounds := _grounds(verdict, others, rules=rules, now=now)) is not None
    }
    return suppression.suppress_each(session, dead, now=now, keyring=rules.keyring)


def returned_dead(
    session: Session,
    failures: Mapping[int, Failure],
    *,
    returned: Mapping[int, str],
    rules: SuppressionRules,
    now: datetime,
) -> dict[int, tuple[Cause | None, str]]:
    """Return cause and reason, as `why_dead` does, for each bounced delivery with a dead address.

    The result is by delivery id. `returned` has the verdicts of bounces that are not recorded yet.
    """
    doubtful = [one for one, found in failures.items() if found.reaction in _COUNTED]
    others = earlier(session, doubtful, returned) if doubtful else {}
    return {
        one: found
        for one, failure in failures.items()
        if (
            found := why_dead(
                failure, others.get(one, []), now=now, full_mailboxes=rules.full_mailboxes
            )
        )
    }


def _grounds(
    verdict: Verdict,
    others: Mapping[int, list[Earlier]],
    *,
    rules: SuppressionRules,
    now: datetime,
) -> Grounds | None:
    outcome = verdict.outcome
    failure = Failure(
        outcome.reaction, answer(outcome), at=now, is_final=outcome.kind is Kind.REFUSED
    )
    before = others.get(verdict.delivery_id, [])
    found = why_dead(failure, before, now=now, full_mailboxes=rules.full_mailboxes)
    return Grounds(found[0] or Cause.DEAD, found[1], _SOURCE) if found else None


def answer(outcome: Outcome) -> str:
    """Return code, enhanced code and text of a reply on one line."""
    return f"{outcome.code} {outcome.enhanced or ''} {outcome.text}".replace("  ", " ").strip()


def why_dead(
    failure: Failure, others: Sequence[Earlier], *, now: datetime, full_mailboxes: int
) -> tuple[Cause | None, str] | None:
    """Return cause and reason if a failure shows that its address is dead; None if it may exist.

    `others` are the outcomes of other mails to the address, the latest first. The cause is None if
    the caller's own one applies: DEAD for a reply in a session, BOUNCE for a bounce.
    """
    if failure.reaction is Reaction.SUPPRESS:
        return None, failure.answer
    before = [one for one in others if one.at < failure.at]
    if failure.reaction is Reaction.SUSPECT and _is_said_again(failure, before, now):
        return None, f"again after {AGAIN_AFTER.days} days or more: {failure.answer}"
    full = sum(_full_in_a_row(before)) + failure.is_final
    if failure.reaction is Reaction.COUNT and 0 < full_mailboxes <= full:
        return Cause.FULL, f"{full} mails in a row: {failure.answer}"
    return None


def _is_said_again(failure: Failure, before: Sequence[Earlier], now: datetime) -> bool:
    for one in before:
        if one.was_accepted and one.at <= now - NOTHING_COMES_AFTER:
            return False
        if one.reaction is Reaction.SUSPECT and one.at <= failure.at - AGAIN_AFTER:
            return True
    return False


def _full_in_a_row(before: Sequence[Earlier]) -> Iterator[bool]:
    for one in before:
        if one.was_accepted:
            return
        yield one.reaction is Reaction.COUNT


def reaction_to(verdict: str) -> Reaction:
    """Return the reaction to a bounce with that verdict."""
    return _OF_VERDICT.get(verdict, Reaction.NOTHING)


def weight(verdict: str) -> int:
    """Return the rank of a verdict; the one that is most specific about the mailbox is 0."""
    return list(_OF_VERDICT).index(verdict) if verdict in _OF_VERDICT else len(_OF_VERDICT)


def earlier(
    session: Session, ids: Sequence[int], returned: Mapping[int, str] = _NO_BOUNCES
) -> Mapping[int, list[Earlier]]:
    """Return the outcomes of other mails to the same readers, by delivery id, the latest first."""
    this = aliased(Delivery)
    found = session.execute(
        select_columns(
            col(this.id),
            col(Delivery.id),
            col(Delivery.state),
            col(Delivery.code),
            col(Delivery.enhanced),
            col(Delivery.reply),
            col(Delivery.state_at),
            _returned(),
        )
        .join(Delivery, col(Delivery.reference) == col(this.reference))
        .where(
            col(this.id).in_(ids),
            col(Delivery.id) != col(this.id),
            col(Delivery.address) == col(this.address),
            or_(
                col(Delivery.state).in_(_ANSWERED) & col(Delivery.code).is_not(None),
                col(Delivery.id).in_(returned),
            ),
        )
        .order_by(col(Delivery.state_at).desc())
    )
    others: dict[int, list[Earlier]] = defaultdict(list)
    for delivery_id, other, state, code, enhanced, words, at, recorded in found:
        verdict = min(
            (one for one in (returned.get(other), recorded) if one), key=weight, default=None
        )
        if verdict is not None:
            reaction = reaction_to(verdict)
        else:
            text = f"{enhanced} {words}" if enhanced else words or ""
            reaction = reply.classify(Phase.RCPT, Reply(code, text)).reaction
        was_accepted = state == State.ACCEPTED and verdict is None
        others[delivery_id].append(Earlier(at, was_accepted, reaction))
    return others


def _returned() -> ColumnElement[str]:
    """Select the verdict of the bounce of a delivery; NULL if there is none."""
    # If there are several bounces, the one with the lowest `weight` counts.
    weights = case(
        {verdict: weight(verdict) for verdict in _OF_VERDICT},
        value=col(Report.verdict),
        else_=len(_OF_VERDICT),
    )
    return (
        select_columns(col(Report.verdict))
        .where(
            col(Report.delivery_id) == col(Delivery.id),
            col(Report.kind) == BOUNCE,
            col(Report.is_void).is_(False),
        )
        .order_by(weights)
        .limit(1)
        .scalar_subquery()
    )
