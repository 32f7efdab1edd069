"""Recovery after a crash: settles the rows that crashed workers had claimed or in flight.

The function takes the Session of a transaction that its caller owns and commits.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import and_, case, insert, literal, select, text, update
from sqlmodel import Session, col

from newsletter import tally
from newsletter.ledger import holding
from newsletter.ledger.retry import Policy
from newsletter.models import Attempt, Delivery, State
from newsletter.models.columns import Instant
from newsletter.models.delivery import BLOCKED, OPEN
from newsletter.smtp.outcome import Phase

_id = col(Delivery.id)
_state = col(Delivery.state)
_reason = col(Delivery.reason)


def take_over(session: Session, *, dead: Collection[int], policy: Policy, now: datetime) -> None:
    """Settle the rows of crashed workers, and delete their registrations.

    1. Claimed rows had not left, so nothing is written.
    2. Rows in flight may have arrived: an attempt with the outcome unknown is recorded, and the
       policy decides whether the row is queued again (same bytes and Message-ID) or becomes
       unknown, for the operator to settle.
    """
    if not dead:
        return
    # Blocked domains of the claimed rows are cleared, as when a row is given back; the next claim
    # sets them again if necessary.
    session.execute(
        update(Delivery)
        .where(_id.in_(holding.claimed(session, dead)), text(BLOCKED))
        .values(blocked_domain=None)
        .execution_options(synchronize_session=False)
    )
    uncertain = (_id.in_(holding.in_flight(session, dead)), _state.in_(OPEN))
    # The rows are locked first, so that exactly those whose state changes get an attempt.
    session.execute(select(_id).where(*uncertain).order_by(_id).with_for_update()).all()
    session.execute(
        insert(Attempt).from_select(
            ["delivery_id", "number", "at", "outcome", "phase", "reply"],
            select(
                _id,
                col(Delivery.attempts) + 1,
                literal(now, Instant()),
                literal(State.UNKNOWN.value),
                literal(Phase.BODY.value),
                literal("the worker died before it could record the reply"),
            ).where(*uncertain),
        )
    )
    state = State.UNKNOWN if policy == "hold" else State.QUEUED
    values = {
        "state": case((_reason.is_(None), state.value), else_=State.UNKNOWN.value),
        "blocked_domain": None,
        "attempts": col(Delivery.attempts) + 1,
        "due_at": now,
        "state_at": now,
    }
    tally.update_deliveries(session, and_(*uncertain), values)
    holding.delete_workers(session, dead)
