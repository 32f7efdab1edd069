"""Selects the readers of an edition or a correction in SQL, never row by row in Python.

The audience of an edition: readers who are active, have its cadence and are not suppressed. Readers
with a delivery in flight of an earlier edition are left out, and catch up with the next one.

The audience of a correction: the readers for whom the corrected article was accepted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    type_coerce,
    update,
)
from sqlmodel import Session, col

from newsletter.cadences import Cadence
from newsletter.ledger import queue
from newsletter.models import (
    Delivery,
    Edition,
    Mailing,
    State,
    Status,
    Subscriber,
    Suppression,
)
from newsletter.models.columns import Instant

#: Arrived, or can no longer be cancelled.
_GONE = (State.IN_FLIGHT, State.ACCEPTED, State.UNKNOWN)

_watermark = col(Subscriber.watermark)
_reference = col(Subscriber.public_id)


@dataclass(frozen=True, kw_only=True)
class Audience:
    """The readers of one cadence, and the bounds of their coverage."""

    cadence: Cadence
    #: Coverage start of readers without a watermark.
    coverage_start: datetime
    #: Earliest coverage start of all readers.
    window_start: datetime
    #: Unsettled mailings of earlier editions, of any cadence.
    earlier: Sequence[int]


def count_active(session: Session, cadence: Cadence) -> int:
    """Return the number of readers of a cadence."""
    found: int = session.execute(
        select(func.count()).select_from(Subscriber).where(*_active(cadence))
    ).scalar_one()
    return found


def count_by_start(session: Session, audience: Audience) -> dict[datetime, int]:
    """Return the number of readers by coverage start."""
    begins = select(_start(audience).label("start")).where(*_readers(audience, _GONE)).subquery()
    found = session.execute(
        select(begins.c.start, func.count().label("readers")).group_by(begins.c.start)
    )
    return {row.start: row.readers for row in found}


def references(audience: Audience, starts: Collection[datetime]) -> Select[Any]:
    """Select the readers with a coverage start in `starts` whose open deliveries are superseded.

    Without readers with an open delivery that their watermark has passed (retried by an operator):
    its articles are in no newer edition, so it is sent as well.
    """
    passed = _has_row(audience, col(Delivery.state).in_(queue.OPEN), ~_is_ahead())
    return select(_reference).where(
        *_readers(audience, _GONE), ~passed, _start(audience).in_(starts)
    )


def recipients(audience: Audience, starts: Collection[datetime]) -> Select[Any]:
    """Select the readers with a coverage start in `starts`, with the columns of `queue.enqueue`.

    Without readers with a row of an earlier edition that arrived or is open: a row that a worker
    held when the others were superseded may be in any state now.
    """
    everyone = _readers(audience, (*_GONE, *queue.OPEN))
    return _as_recipients(*everyone, _start(audience).in_(starts))


def corrected(mailings: Select[Any], *, correction: int) -> Select[Any]:
    """Select the readers for whom one of `mailings` was accepted, as `queue.enqueue` expects.

    Only active readers without a row of that correction, so that enqueuing is idempotent.
    """
    has_it = exists().where(
        col(Delivery.mailing_id) == correction, col(Delivery.reference) == _reference
    )
    arrived = select(col(Delivery.reference)).where(*_accepted(mailings))
    return _as_recipients(*_mailable(), _reference.in_(arrived), ~has_it.correlate(Subscriber))


def standings(session: Session, mailings: Select[Any]) -> Counter[str]:
    """Count the readers for whom one of `mailings` was accepted, by their present status.

    `forgotten` counts those who were erased since.
    """
    standing = case(
        (col(Subscriber.id).is_(None), "forgotten"),
        (_is_suppressed(), Status.SUPPRESSED.value),
        else_=col(Subscriber.status),
    )
    found = (
        select(standing.label("standing"))
        .select_from(Delivery)
        .outerjoin(Subscriber, _reference == col(Delivery.reference))
        .where(*_accepted(mailings))
        .subquery()
    )
    counts = select(found.c.standing, func.count().label("readers")).group_by(found.c.standing)
    return Counter({row.standing: row.readers for row in session.execute(counts)})


def remember(session: Session, audience: Audience) -> None:
    """Restore the watermark of readers who subscribed again after unsubscribing.

    A new consent has no watermark, but they may have received articles that the edition covers.
    """
    arrived = (
        col(Delivery.reference) == _reference,
        col(Delivery.state).in_((State.ACCEPTED, State.UNKNOWN)),
        col(Mailing.id) == col(Delivery.mailing_id),
        col(Edition.id) == col(Mailing.edition_id),
        col(Edition.coverage_end) > audience.coverage_start,
    )
    newest = select(func.max(col(Edition.coverage_end))).where(*arrived).correlate(Subscriber)
    session.execute(
        update(Subscriber)
        .where(
            *_active(audience.cadence),
            _watermark.is_(None),
            exists().where(*arrived).correlate(Subscriber),
        )
        .values(watermark=newest.scalar_subquery())
        .execution_options(synchronize_session=False)
    )


def begin(session: Session, audience: Audience) -> None:
    """Set the watermark of readers without one to the edition's coverage start.

    A new reader whose first mail fails then catches up from there.
    """
    session.execute(
        update(Subscriber)
        .where(*_active(audience.cadence), _watermark.is_(None))
        .values(watermark=audience.coverage_start)
        .execution_options(synchronize_session=False)
    )


def _start(audience: Audience) -> ColumnElement[datetime]:
    """Coverage start of a reader: the watermark, but not before the catch-up window."""
    window = literal(audience.window_start, Instant())
    new = literal(audience.coverage_start, Instant())
    begins = case((_watermark < window, window), else_=func.coalesce(_watermark, new))
    return type_coerce(begins, Instant())


def _readers(audience: Audience, states: Sequence[State]) -> tuple[ColumnElement[bool], ...]:
    """Conditions for the audience without readers with an earlier row in one of `states`."""
    in_states = or_(col(Delivery.state).in_(states), _is_uncertain())
    return (*_active(audience.cadence), ~_has_row(audience, in_states, _is_ahead()))


def _has_row(audience: Audience, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Condition: the reader has a row of an earlier, unsettled edition with `conditions`."""
    return (
        exists()
        .where(
            col(Delivery.mailing_id).in_(audience.earlier),
            col(Delivery.reference) == _reference,
            col(Mailing.id) == col(Delivery.mailing_id),
            col(Edition.id) == col(Mailing.edition_id),
            *conditions,
        )
        .correlate(Subscriber)
    )


def _is_uncertain() -> ColumnElement[bool]:
    """Condition: the delivery is open, and may have arrived at an earlier try.

    It is not superseded, because its articles could then arrive twice.
    """
    return and_(col(Delivery.state).in_(queue.OPEN), queue.may_have_arrived())


def _is_ahead() -> ColumnElement[bool]:
    """Condition: the reader's watermark is before the coverage end of the delivery's edition."""
    return or_(_watermark.is_(None), _watermark < col(Edition.coverage_end))


def _as_recipients(*conditions: ColumnElement[bool]) -> Select[Any]:
    columns: list[ColumnElement[Any]] = [
        col(Subscriber.address).label("address"),
        _reference.label("reference"),
        col(Subscriber.generation).label("generation"),
        col(Subscriber.subscribed_at).label("since_at"),
    ]
    return select(*columns).where(*conditions)


def _accepted(mailings: Select[Any]) -> tuple[ColumnElement[bool], ...]:
    return col(Delivery.mailing_id).in_(mailings), col(Delivery.state) == State.ACCEPTED


def _active(cadence: Cadence) -> tuple[ColumnElement[bool], ...]:
    return (col(Subscriber.cadence) == cadence, *_mailable())


def _mailable() -> tuple[ColumnElement[bool], ...]:
    return col(Subscriber.status) == Status.ACTIVE, ~_is_suppressed()


def _is_suppressed() -> ColumnElement[bool]:
    found = exists().where(col(Suppression.address) == col(Subscriber.address))
    return found.correlate(Subscriber)
