"""Selects the readers of an edition or correction, in SQL instead of passing them through Python.

The audience of an edition are the readers who are active, have chosen the cadence and are not
suppressed. A reader to whom an earlier edition may be on its way at the moment is left out, and
catches up with the next edition.

The audience of a correction are the readers for whom the corrected edition was accepted.
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
from newsletter.ledger import cancellation, holding
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
from newsletter.models.delivery import OPEN

#: States of deliveries that have arrived, or may have.
_GONE = (State.ACCEPTED, State.UNKNOWN)

_watermark = col(Subscriber.watermark)
_reference = col(Subscriber.public_id)


@dataclass(frozen=True, kw_only=True)
class Audience:
    """The readers of one cadence, with the values that determine the start of their coverage."""

    cadence: Cadence
    #: The start of coverage for a reader without a watermark.
    coverage_start: datetime
    #: The earliest start of coverage for any reader.
    window_start: datetime
    #: Mailings of earlier editions of any cadence that are not settled yet.
    earlier: Sequence[int]


def count_active(session: Session, cadence: Cadence) -> int:
    """Return how many readers of a cadence can be mailed."""
    found: int = session.execute(
        select(func.count()).select_from(Subscriber).where(*_active(cadence))
    ).scalar_one()
    return found


def count_by_start(session: Session, audience: Audience) -> dict[datetime, int]:
    """Return the number of readers for each start of coverage."""
    begins = select(_start(audience).label("start")).where(*_readers(audience, _GONE)).subquery()
    found = session.execute(
        select(begins.c.start, func.count().label("readers")).group_by(begins.c.start)
    )
    return {row.start: row.readers for row in found}


def references(audience: Audience, starts: Collection[datetime]) -> Select[Any]:
    """Select the readers with one of `starts` whose earlier open deliveries are superseded.

    Readers are left out if an open delivery is of an edition that their watermark has passed, as
    after a retry by the operator: no newer edition has its articles, so it must still be sent.
    """
    passed = _has_row(audience, col(Delivery.state).in_(OPEN), ~_is_ahead())
    return select(_reference).where(
        *_readers(audience, _GONE), ~passed, _start(audience).in_(starts)
    )


def recipients(audience: Audience, starts: Collection[datetime]) -> Select[Any]:
    """Select the recipients for `queue.enqueue`: the readers with one of `starts`.

    Readers are left out if a delivery of an earlier edition has arrived or may still arrive: a row
    that a worker held when the others were superseded may be in any state by now.
    """
    everyone = _readers(audience, (*_GONE, *OPEN))
    return _as_recipients(*everyone, _start(audience).in_(starts))


def corrected(mailings: Select[Any], *, correction: int) -> Select[Any]:
    """Select the recipients of a correction: the readers for whom one of `mailings` was accepted.

    They must be mailable now, and have no delivery of the correction yet.
    """
    has_it = exists().where(
        col(Delivery.mailing_id) == correction, col(Delivery.reference) == _reference
    )
    arrived = select(col(Delivery.reference)).where(*_accepted(mailings))
    return _as_recipients(*_mailable(), _reference.in_(arrived), ~has_it.correlate(Subscriber))


def standings(session: Session, mailings: Select[Any]) -> Counter[str]:
    """Count the readers for whom one of `mailings` was accepted, by their present status.

    `forgotten` counts those whose data was erased.
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
    """Give returned readers the watermark of the last edition that they got before they left.

    A new consent begins without a watermark, but articles of the edition may have reached the
    reader under the earlier consent.
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
    """Set the watermark of readers without one to the start of the edition's coverage.

    So a new reader whose first mail fails can catch up from there.
    """
    session.execute(
        update(Subscriber)
        .where(*_active(audience.cadence), _watermark.is_(None))
        .values(watermark=audience.coverage_start)
        .execution_options(synchronize_session=False)
    )


def _start(audience: Audience) -> ColumnElement[datetime]:
    """Return the start of a reader's coverage: the watermark, but not before the window's start."""
    window = literal(audience.window_start, Instant())
    new = literal(audience.coverage_start, Instant())
    begins = case((_watermark < window, window), else_=func.coalesce(_watermark, new))
    return type_coerce(begins, Instant())


def _readers(audience: Audience, states: Sequence[State]) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of the audience, without readers who have certain earlier rows.

    Those are rows in one of `states`, in flight, or uncertain.
    """
    in_states = or_(col(Delivery.state).in_(states), holding.is_in_flight(), _is_uncertain())
    return (*_active(audience.cadence), ~_has_row(audience, in_states, _is_ahead()))


def _has_row(audience: Audience, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition that a reader has a row of an earlier, unsettled edition."""
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
    """Return the condition that a delivery is to be sent again, but may have arrived already.

    Such a delivery is not superseded: if a newer mail had its articles, the reader might get them
    twice.
    """
    return and_(col(Delivery.state).in_(OPEN), cancellation.may_have_arrived())


def _is_ahead() -> ColumnElement[bool]:
    """Return the condition that a reader's watermark is before the end of a delivery's edition."""
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
