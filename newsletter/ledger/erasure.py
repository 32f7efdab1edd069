"""Erases personal data from deliveries; the rows stay, so that counts do not change."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, String, case, cast, literal, select, update
from sqlmodel import Session, col

from newsletter import tally
from newsletter.ledger import cancellation, reports
from newsletter.ledger.reasons import Reason
from newsletter.models import Attempt, Delivery, State
from newsletter.models.columns import Instant
from newsletter.models.delivery import OPEN

_id = col(Delivery.id)
_state = col(Delivery.state)


def erase(session: Session, chosen: ColumnElement[bool], *, now: datetime) -> int:
    """Erase personal data from the chosen deliveries, cancel open ones, and return how many.

    The rows stay, so that the states of every edition still sum to its audience. A row in flight
    ends with its outcome, but its reply is not stored.
    """
    # The rows are locked first, so that an earlier outcome has already written its attempt.
    locked = select(_id).where(chosen).order_by(_id).with_for_update()
    ids = session.execute(locked).scalars().all()
    session.execute(
        update(Attempt)
        .where(col(Attempt.delivery_id).in_(ids))
        .values(reply=None)
        .execution_options(synchronize_session=False)
    )
    reports.erase(session, ids)
    is_open = _state.in_(OPEN)
    values = {
        "address": "",
        # No public id contains "~", and the row's id keeps the reference unique.
        "reference": literal("~") + cast(_id, String),
        "since_at": None,
        "reply": None,
        "blocked_domain": None,
        "reason": case((is_open, literal(Reason.FORGOTTEN.value)), else_=col(Delivery.reason)),
        "state_at": case((is_open, literal(now, Instant())), else_=col(Delivery.state_at)),
        "state": case(
            (is_open & cancellation.may_have_arrived(), literal(State.UNKNOWN.value)),
            (is_open, literal(State.CANCELLED.value)),
            else_=_state,
        ),
    }
    erased = tally.update_deliveries(session, _id.in_(ids), values)
    cancellation.spare_in_flight(session, (), reason=Reason.FORGOTTEN, now=now, keeps=True)
    return erased
