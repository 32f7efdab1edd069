"""Decides when refusals mean that an address is dead, and suppresses it.

A refusal that says the address does not exist suppresses it at once. A refusal that may be
temporary is counted, in the ledger itself, back to the last accepted mail.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import select as select_columns
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from newsletter import suppression
from newsletter.ledger.queue import Verdict
from newsletter.models import Delivery, State
from newsletter.smtp import reply
from newsletter.smtp.outcome import Kind, Outcome, Phase, Reaction
from newsletter.smtp.reply import Reply
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Keyring

#: Reactions that concern the address.
_ABOUT_ADDRESS = frozenset({Reaction.SUPPRESS, Reaction.SUSPECT, Reaction.COUNT})
#: States in which earlier deliveries have a reply that counts.
_ANSWERED = (State.ACCEPTED, State.REFUSED, State.SKIPPED)
_SOURCE = "mail server"


class SuppressionRules(NamedTuple):
    """When a temporary failure counts as permanent."""

    keyring: Keyring
    #: Full-mailbox failures in a row that suppress an address; 0 for never.
    full_mailboxes: int


class Earlier(NamedTuple):
    """How an earlier mail to the same reader ended."""

    was_accepted: bool
    reaction: Reaction
    day: date


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
    earlier = _earlier(session, ids) if ids else {}
    dead = {
        verdict.address: grounds
        for verdict in relevant
        if (grounds := _grounds(verdict, earlier, rules=rules, now=now)) is not None
    }
    return suppression.suppress_each(session, dead, now=now, keyring=rules.keyring)


def _grounds(
    verdict: Verdict,
    earlier: Mapping[int, list[Earlier]],
    *,
    rules: SuppressionRules,
    now: datetime,
) -> Grounds | None:
    before = earlier.get(verdict.delivery_id, [])
    return why_dead(verdict.outcome, before, now=now, full_mailboxes=rules.full_mailboxes)


def why_dead(
    outcome: Outcome, before: Sequence[Earlier], *, now: datetime, full_mailboxes: int
) -> Grounds | None:
    """Return why an address is dead, by this outcome and earlier ones (the latest first).

    None if it may still exist.
    """
    answer = f"{outcome.code} {outcome.enhanced or ''} {outcome.text}".replace("  ", " ").strip()
    if outcome.reaction is Reaction.SUPPRESS:
        return Grounds(Cause.DEAD, answer, _SOURCE)
    alike = list(_in_a_row(before, outcome.reaction))
    if outcome.reaction is Reaction.SUSPECT and any(one.day != now.date() for one in alike):
        return Grounds(Cause.DEAD, f"on two days: {answer}", _SOURCE)
    full = len(alike) + (outcome.kind is Kind.REFUSED)
    if outcome.reaction is Reaction.COUNT and 0 < full_mailboxes <= full:
        return Grounds(Cause.FULL, f"{full} mails in a row: {answer}", _SOURCE)
    return None


def _in_a_row(before: Sequence[Earlier], reaction: Reaction) -> Iterator[Earlier]:
    for one in before:
        if one.was_accepted:
            return
        if one.reaction is reaction:
            yield one


def _earlier(session: Session, ids: Sequence[int]) -> Mapping[int, list[Earlier]]:
    """Return how earlier mails to the same readers ended, by delivery id, the latest first."""
    this = aliased(Delivery)
    found = session.execute(
        select_columns(
            col(this.id),
            col(Delivery.state),
            col(Delivery.code),
            col(Delivery.enhanced),
            col(Delivery.reply),
            col(Delivery.state_at),
        )
        .join(Delivery, col(Delivery.reference) == col(this.reference))
        .where(
            col(this.id).in_(ids),
            col(Delivery.id) != col(this.id),
            col(Delivery.address) == col(this.address),
            col(Delivery.state).in_(_ANSWERED),
            col(Delivery.code).is_not(None),
        )
        .order_by(col(Delivery.state_at).desc())
    )
    earlier: dict[int, list[Earlier]] = defaultdict(list)
    for delivery_id, state, code, enhanced, words, state_at in found:
        text = f"{enhanced} {words}" if enhanced else words or ""
        reaction = reply.classify(Phase.RCPT, Reply(code, text)).reaction
        earlier[delivery_id].append(Earlier(state == State.ACCEPTED, reaction, state_at.date()))
    return earlier
