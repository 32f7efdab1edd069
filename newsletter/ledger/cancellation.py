"""Ends open rows of the queue without sending them, and undoes that.

A row in flight cannot be cancelled: its body may be leaving. Its reason is set instead, and unless
that try ends it, it is cancelled rather than tried again.

A row that ends without a reply but may have arrived at an earlier try becomes unknown, never
cancelled or skipped: its reader counts as having received it.

Every function takes the Session of a transaction that its caller owns and commits.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    case,
    exists,
    or_,
    text,
    update,
)
from sqlmodel import Session, col

from newsletter.ledger import statements
from newsletter.models import Attempt, Delivery, State
from newsletter.models.delivery import BLOCKED, CLAIMABLE, HELD

_id = col(Delivery.id)
_state = col(Delivery.state)
_mailing = col(Delivery.mailing_id)
_reference = col(Delivery.reference)
_reason = col(Delivery.reason)

#: Open states that can be cancelled: the body is not leaving.
_REVOCABLE = (State.QUEUED, State.CLAIMED, State.DEFERRED)


def cancel(
    session: Session,
    *,
    reference: str,
    reason: str,
    now: datetime,
    mailings: Select[Any] | None = None,
) -> int:
    """Cancel a recipient's open rows, all or those of `mailings`.

    Rows in flight and rows held as unknown get the reason, and are not tried again.
    """
    chosen = _reference == reference
    if mailings is not None:
        chosen &= _mailing.in_(mailings)
    cancelled = _cancel(session, reason, now, chosen)
    session.execute(
        update(Delivery)
        .where(chosen, _state == State.UNKNOWN, _reason.is_(None))
        .values(reason=reason)
        .execution_options(synchronize_session=False)
    )
    return cancelled


def lift(
    session: Session,
    *,
    references: Select[Any] | Collection[str],
    reasons: Collection[str],
    instead: str | None = None,
) -> None:
    """Clear or replace these reasons; without one, rows in flight or unknown are tried again."""
    session.execute(
        update(Delivery)
        .where(
            _reference.in_(references),
            _state.in_((State.UNKNOWN.value, State.IN_FLIGHT.value)),
            _reason.in_(reasons),
        )
        .values(reason=instead)
        .execution_options(synchronize_session=False)
    )


def cancel_mailings(session: Session, *, mailings: Select[Any], reason: str, now: datetime) -> int:
    """Cancel the open rows of `mailings`; rows in flight are not tried again."""
    return _cancel(session, reason, now, _mailing.in_(mailings))


def skip_mailings(session: Session, *, mailings: Select[Any], reason: str, now: datetime) -> int:
    """Skip the open rows of `mailings`, except those in flight."""
    return close(session, State.SKIPPED, reason, now, _mailing.in_(mailings))


def supersede(
    session: Session, *, references: Select[Any], mailings: Select[Any], now: datetime
) -> int:
    """Skip the open rows of `mailings` for `references`: a newer mailing has their articles."""
    chosen = _mailing.in_(mailings) & _reference.in_(references)
    return close(session, State.SKIPPED, "superseded", now, chosen)


def mark_open_unknown(session: Session, *, now: datetime) -> int:
    """Make every open row unknown, for a database that may be older than what was sent."""
    marked = session.execute(
        update(Delivery)
        .where(_is_open())
        .values(state=State.UNKNOWN, worker_id=None, blocked_domain=None, state_at=now)
        .execution_options(synchronize_session=False)
    )
    return statements.row_count(marked)


def may_have_arrived() -> ColumnElement[bool]:
    """Return the SQL condition that an earlier try of a row may have arrived."""
    tried = exists().where(
        col(Attempt.delivery_id) == _id, col(Attempt.outcome) == State.UNKNOWN.value
    )
    return tried.correlate(Delivery)


def is_open(mailings: Select[Any]) -> ColumnElement[bool]:
    """Return the SQL condition that any row of `mailings` is open."""
    waits = exists().where(text(CLAIMABLE), _mailing.in_(mailings))
    is_blocked = exists().where(text(BLOCKED), _mailing.in_(mailings))
    # The + 0 keeps the planner from the index over all rows of a mailing: few rows are held.
    return or_(waits, is_blocked, exists().where(text(HELD), (_mailing + 0).in_(mailings)))


def _cancel(session: Session, reason: str, now: datetime, chosen: ColumnElement[bool]) -> int:
    cancelled = close(session, State.CANCELLED, reason, now, chosen)
    session.execute(
        update(Delivery)
        .where(text(HELD), _state == State.IN_FLIGHT, chosen)
        .values(reason=reason)
        .execution_options(synchronize_session=False)
    )
    return cancelled


def close(
    session: Session, state: State, reason: str, now: datetime, chosen: ColumnElement[bool]
) -> int:
    closed = session.execute(
        update(Delivery)
        .where(_is_open(), _state.in_(_REVOCABLE), chosen)
        .values(
            state=case((may_have_arrived(), State.UNKNOWN.value), else_=state.value),
            reason=reason,
            worker_id=None,
            blocked_domain=None,
            state_at=now,
        )
        .execution_options(synchronize_session=False)
    )
    return statements.row_count(closed)


def _is_open() -> ColumnElement[bool]:
    return or_(text(CLAIMABLE), text(BLOCKED), text(HELD))
