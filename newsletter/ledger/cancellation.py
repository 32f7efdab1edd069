"""Ends open rows of the queue without sending them, and undoes that.

A row in flight cannot be cancelled, because its body may be leaving. Its reason is set instead, and
the row is cancelled after that try, unless the try ends it anyway.

The rows in flight are read in a statement after the one that locks the rows to be ended. On
PostgreSQL its snapshot includes all commits until then: a worker that marked one of the rows
earlier has committed by then, and one that marks it later waits for this transaction, and is
denied.

A row that ends without a reply but may have arrived at an earlier try becomes unknown, never
cancelled or skipped: its reader counts as having received it.

Every function takes the Session of a transaction that its caller owns and commits.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, case, exists, or_, text, update
from sqlmodel import Session, col

from newsletter import tally
from newsletter.ledger import holding
from newsletter.ledger.reasons import Reason
from newsletter.models import Attempt, Delivery, State
from newsletter.models.delivery import BLOCKED, CLAIMABLE, OPEN

_id = col(Delivery.id)
_state = col(Delivery.state)
_mailing = col(Delivery.mailing_id)
_reference = col(Delivery.reference)
_reason = col(Delivery.reason)

#: States into which `close` moves rows.
_ENDED = (State.CANCELLED, State.SKIPPED, State.UNKNOWN)


def cancel(
    session: Session,
    *,
    references: Collection[str],
    reason: Reason,
    now: datetime,
    mailings: Select[Any] | None = None,
) -> int:
    """Cancel the open rows of recipients, all or those of `mailings`; return how many.

    Rows in flight and rows held as unknown get the reason, and are not tried again.
    """
    chosen: ColumnElement[bool] = _reference.in_(references)
    if mailings is not None:
        chosen &= _mailing.in_(mailings)
    cancelled = close(session, State.CANCELLED, reason, now, chosen)
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
    reasons: Collection[Reason],
    instead: Reason | None = None,
) -> None:
    """Clear or replace these reasons; without one, rows in flight or unknown are tried again."""
    session.execute(
        update(Delivery)
        .where(
            _reference.in_(references),
            or_(_is_open(), _state == State.UNKNOWN),
            _reason.in_(reasons),
        )
        .values(reason=instead)
        .execution_options(synchronize_session=False)
    )


def cancel_mailings(
    session: Session, *, mailings: Select[Any], reason: Reason, now: datetime
) -> int:
    """Cancel the open rows of `mailings`; rows in flight are not tried again."""
    return close(session, State.CANCELLED, reason, now, _mailing.in_(mailings))


def skip_mailings(session: Session, *, mailings: Select[Any], reason: Reason, now: datetime) -> int:
    """Skip the open rows of `mailings`, except those in flight."""
    return close(session, State.SKIPPED, reason, now, _mailing.in_(mailings))


def supersede(
    session: Session, *, references: Select[Any], mailings: Select[Any], now: datetime
) -> int:
    """Skip the open rows of `mailings` for `references`, since a newer mailing has the articles."""
    chosen = _mailing.in_(mailings) & _reference.in_(references)
    return close(session, State.SKIPPED, Reason.SUPERSEDED, now, chosen)


def mark_open_unknown(session: Session, *, now: datetime) -> int:
    """Make every open row unknown, for a restored database, whose open rows may have been sent."""
    values = {"state": State.UNKNOWN, "blocked_domain": None, "state_at": now}
    marked = tally.update_deliveries(session, _is_open(), values)
    # Otherwise a row that the operator retries would become uncertain again when its former worker
    # is taken for crashed.
    holding.clear(session)
    return marked


def may_have_arrived() -> ColumnElement[bool]:
    """Return the SQL condition that the message of an earlier try of a row may have arrived."""
    tried = exists().where(
        col(Attempt.delivery_id) == _id, col(Attempt.outcome) == State.UNKNOWN.value
    )
    return tried.correlate(Delivery)


def is_open(mailings: Select[Any]) -> ColumnElement[bool]:
    """Return the SQL condition that any row of `mailings` is open."""
    waits = exists().where(text(CLAIMABLE), _mailing.in_(mailings))
    return or_(waits, exists().where(text(BLOCKED), _mailing.in_(mailings)))


def close(
    session: Session, state: State, reason: Reason, now: datetime, chosen: ColumnElement[bool]
) -> int:
    """End the `chosen` open rows, and return how many.

    Rows in flight stay open. If they are to be cancelled, they keep the reason and are not tried
    again.
    """
    before = holding.in_flight(session)
    keeps = state is State.CANCELLED
    if not keeps:
        # Open rows with a reason are in flight, and keep their reason.
        chosen &= _reason.is_(None)
    values = {
        "state": case((may_have_arrived(), State.UNKNOWN.value), else_=state.value),
        "reason": reason,
        "blocked_domain": None,
        "state_at": now,
    }
    closed = tally.update_deliveries(session, _is_open() & chosen, values)
    return closed - spare_in_flight(session, before, reason=reason, now=now, keeps=keeps)


def end_denied(session: Session, ids: Collection[int], *, now: datetime) -> None:
    """End the open ones of these rows that have a reason; their marks were denied.

    The rows got the reason after an earlier mark, and their message bodies were not sent.
    """
    chosen = _id.in_(ids) & _state.in_(OPEN) & _reason.is_not(None)
    ended = case((may_have_arrived(), State.UNKNOWN.value), else_=State.CANCELLED.value)
    tally.update_deliveries(session, chosen, {"state": ended, "state_at": now})


def spare_in_flight(
    session: Session, before: Collection[int], *, reason: Reason, now: datetime, keeps: bool
) -> int:
    """Reopen the rows just ended that are in flight; return how many.

    `before` are the rows that were in flight when the transaction began. If a worker was taken for
    crashed since then, its message may have arrived, and the row becomes unknown.
    """
    leaving = holding.in_flight(session)
    if not leaving.union(before):
        return 0
    is_ended = _id.in_(leaving.union(before)) & (_reason == reason)
    is_ended &= col(Delivery.state_at) == now
    is_leaving = _id.in_(leaving)
    is_ended &= _state.in_(_ENDED)
    opened = {"state": State.QUEUED, "reason": reason if keeps else None}
    spared = tally.update_deliveries(session, is_ended & is_leaving, opened, is_undone=True)
    uncertain = is_ended & ~is_leaving & may_have_arrived()
    tally.update_deliveries(session, uncertain, {"state": State.UNKNOWN})
    return spared


def _is_open() -> ColumnElement[bool]:
    return or_(text(CLAIMABLE), text(BLOCKED))
