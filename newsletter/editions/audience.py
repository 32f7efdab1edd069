"""Says in SELECTs who gets an edition, so that a million readers never pass through Python.

A reader is in the audience who is active, has chosen the cadence and is not suppressed. Left out,
to catch up next time, is whoever may at this very moment be getting an earlier edition.

And who gets a correction: the readers for whom what it corrects was accepted.
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

#: Mail that has arrived, or may have.
_GONE = (State.ACCEPTED, State.UNKNOWN)

_watermark = col(Subscriber.watermark)
_reference = col(Subscriber.public_id)


@dataclass(frozen=True, kw_only=True)
class Audience:
    """The readers of one cadence, and where each of them begins."""

    cadence: Cadence
    #: Where a reader without a watermark begins.
    coverage_start: datetime
    #: Where everyone begins at the earliest.
    window_start: datetime
    #: Mailings of earlier editions of any cadence that are not settled yet.
    earlier: Sequence[int]


def count_active(session: Session, cadence: Cadence) -> int:
    """Return how many readers a cadence has."""
    found: int = session.execute(
        select(func.count()).select_from(Subscriber).where(*_active(cadence))
    ).scalar_one()
    return found


def count_by_start(session: Session, audience: Audience) -> dict[datetime, int]:
    """Return how many readers begin at each instant."""
    begins = select(_start(audience).label("start")).where(*_readers(audience, _GONE)).subquery()
    found = session.execute(
        select(begins.c.start, func.count().label("readers")).group_by(begins.c.start)
    )
    return {row.start: row.readers for row in found}


def references(audience: Audience, starts: Collection[datetime]) -> Select[Any]:
    """Select the references of the readers who begin at one of `starts`: what is superseded.

    Without those to whom an operator lets something go again that their watermark has passed: its
    articles ride in no newer edition, so it goes on beside it.
    """
    passed = _has_row(audience, col(Delivery.state).in_(OPEN), ~_is_ahead())
    return select(_reference).where(
        *_readers(audience, _GONE), ~passed, _start(audience).in_(starts)
    )


def recipients(audience: Audience, starts: Collection[datetime]) -> Select[Any]:
    """Select, as the ledger takes them, the readers who begin at one of `starts`.

    Without those who have anything of an earlier edition that arrived or may still arrive: a row
    that a worker held when the others were superseded may by now be in any state.
    """
    everyone = _readers(audience, (*_GONE, *OPEN))
    return _as_recipients(*everyone, _start(audience).in_(starts))


def corrected(mailings: Select[Any], *, correction: int) -> Select[Any]:
    """Select, as the ledger takes them, the readers for whom one of `mailings` was accepted.

    Only those who want mail now, and whom that correction does not have yet.
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
    """Give readers who came back after a goodbye the watermark of what they got before it.

    A new consent begins without one; what the edition covers may have reached them already.
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
    """Give readers without a watermark that of the edition's start.

    So that a new reader whose first mail fails has a place from which to catch up.
    """
    session.execute(
        update(Subscriber)
        .where(*_active(audience.cadence), _watermark.is_(None))
        .values(watermark=audience.coverage_start)
        .execution_options(synchronize_session=False)
    )


def _start(audience: Audience) -> ColumnElement[datetime]:
    """Start of a reader's coverage: the watermark, but not before the catch-up window."""
    window = literal(audience.window_start, Instant())
    new = literal(audience.coverage_start, Instant())
    begins = case((_watermark < window, window), else_=func.coalesce(_watermark, new))
    return type_coerce(begins, Instant())


def _readers(audience: Audience, states: Sequence[State]) -> tuple[ColumnElement[bool], ...]:
    """The audience without readers of whom an earlier row is in one of `states`, or in flight."""
    in_states = or_(col(Delivery.state).in_(states), holding.is_in_flight(), _is_uncertain())
    return (*_active(audience.cadence), ~_has_row(audience, in_states, _is_ahead()))


def _has_row(audience: Audience, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """The reader has a row of an earlier, unsettled edition for which `conditions` hold."""
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
    """The delivery waits to be sent again, and may have arrived the first time.

    It stays separate: if another mail included its articles, the reader might get them twice.
    """
    return and_(col(Delivery.state).in_(OPEN), cancellation.may_have_arrived())


def _is_ahead() -> ColumnElement[bool]:
    """The delivery's edition is not yet in the reader's watermark."""
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
