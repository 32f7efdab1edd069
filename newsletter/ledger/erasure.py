"""Erases what deliveries hold of a person; the rows stay, so that the books still balance."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, CursorResult, String, case, cast, literal, select, update
from sqlmodel import Session, col

from newsletter.ledger import queue
from newsletter.models import Attempt, Delivery, State
from newsletter.models.columns import Instant

_id = col(Delivery.id)
_state = col(Delivery.state)


def erase(session: Session, chosen: ColumnElement[bool], *, now: datetime) -> int:
    """Erase personal data from the chosen deliveries, cancel open ones, and return how many.

    The rows stay, so that the states of every edition still sum to its audience.
    """
    session.execute(
        update(Attempt)
        .where(col(Attempt.delivery_id).in_(select(_id).where(chosen)))
        .values(reply=None)
        .execution_options(synchronize_session=False)
    )
    is_open = _state.in_(queue.OPEN)
    erased = session.execute(
        update(Delivery)
        .where(chosen)
        .values(
            address="",
            # No public id has this character; the row's id keeps the reference unique.
            reference=literal("~") + cast(_id, String),
            since_at=None,
            reply=None,
            worker_id=None,
            reason=case((is_open, literal("forgotten")), else_=col(Delivery.reason)),
            state_at=case((is_open, literal(now, Instant())), else_=col(Delivery.state_at)),
            state=case(
                # The message may have been sent, and its outcome will not be recorded.
                (_state == State.IN_FLIGHT, literal(State.UNKNOWN.value)),
                (is_open, literal(State.CANCELLED.value)),
                else_=_state,
            ),
        )
        .execution_options(synchronize_session=False)
    )
    assert isinstance(erased, CursorResult)
    return erased.rowcount
