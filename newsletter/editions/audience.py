"""Selects the readers of an edition or correction, in SQL instead of passing them through Python.

The audience of an edition are the readers who are active, have chosen the cadence and are not
suppressed. A reader to whom an earlier edition may be on its way at the moment is left out, and
catches up with the next edition.

The audience of a correction are the readers for whom the corrected edition was accepted, and that
of an announcement all readers, those of a cadence, or those for whom an edition was accepted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    and_,
    case,
    exists,
    false,
    func,
    inspect,
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
    Kind,
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
_table: FromClause = inspect(Subscriber).local_table


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
    #: Mailings in `earlier` that are given up before the freeze, so that only their rows in flight
    #: are open. Only a plan has them: for a freeze they are closed already.
    given_up: Sequence[int] = ()
    #: The readers, with the columns of `subscriber`: in a freeze, the table itself, after pauses
    #: were resumed and watermarks settled; in a plan, a query with the same result.
    readers: FromClause = field(default=_table)


@dataclass(frozen=True)
class Addressees:
    """The readers of an announcement, whether they can be mailed or not."""

    #: Only those of one cadence.
    cadence: Cadence | None = None
    #: Only those for whom one of these mailings was accepted.
    mailings: Select[Any] | None = None

    def conditions(self) -> tuple[ColumnElement[bool], ...]:
        """Return the conditions on the table of readers."""
        if self.mailings is not None:
            arrived = select(col(Delivery.reference)).where(*_accepted(self.mailings))
            return (_reference.in_(arrived),)
        return () if self.cadence is None else (col(Subscriber.cadence) == self.cadence,)


def count_active(session: Session, cadence: Cadence) -> int:
    """Return how many readers of a cadence can be mailed."""
    found: int = session.execute(
        select(func.count()).select_from(Subscriber).where(*_active(cadence))
    ).scalar_one()
    return found


def count_by_start(session: Session, audience: Audience) -> dict[datetime, int]:
    """Return the number of readers for each start of coverage."""
    begins = select(start(audience).label("start")).where(*_readers(audience)).subquery()
    found = session.execute(
        select(begins.c.start, func.count().label("readers")).group_by(begins.c.start)
    )
    return {row.start: row.readers for row in found}


def references(audience: Audience, starts: Collection[datetime]) -> Select[Any]:
    """Select the readers with one of `starts` whose earlier open deliveries are superseded.

    Readers are left out if an open delivery is of an edition that their watermark has passed, as
    after a retry by the operator: no newer edition has its articles, so it must still be sent.
    """
    return select(audience.readers.c.public_id).where(
        *_readers(audience), ~_has_passed_row(audience), start(audience).in_(starts)
    )


def recipients(audience: Audience, starts: Collection[datetime]) -> Select[Any]:
    """Select the recipients for `queue.enqueue`: the readers with one of `starts`.

    Readers are left out if a delivery of an earlier edition has arrived or may still arrive: a row
    that a worker held when the others were superseded may be in any state by now.
    """
    still_open = _has_row(audience, _is_open(audience), _is_ahead(audience))
    return _as_recipients(*_readers(audience), ~still_open, start(audience).in_(starts))


def addressed(addressees: Addressees) -> Select[Any]:
    """Select the recipients of an announcement: those who can be mailed now."""
    return _as_recipients(*_mailable(), *addressees.conditions())


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
    arrived = arrived_after(audience.coverage_start)
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


def arrived_after(
    coverage_start: datetime, readers: FromClause = _table
) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of a reader's rows that arrived, of digests after `coverage_start`."""
    return (
        col(Delivery.reference) == readers.c.public_id,
        col(Delivery.state).in_(_GONE),
        col(Mailing.id) == col(Delivery.mailing_id),
        col(Mailing.kind) == Kind.DIGEST,
        col(Edition.id) == col(Mailing.edition_id),
        col(Edition.coverage_end) > coverage_start,
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


def start(audience: Audience) -> ColumnElement[datetime]:
    """Return the start of a reader's coverage: the watermark, but not before the window's start."""
    watermark = audience.readers.c.watermark
    window = literal(audience.window_start, Instant())
    new = literal(audience.coverage_start, Instant())
    begins = case((watermark < window, window), else_=func.coalesce(watermark, new))
    return type_coerce(begins, Instant())


def is_under_way(audience: Audience) -> ColumnElement[bool]:
    """Return the condition that an earlier edition has arrived or may still arrive."""
    may_arrive = or_(col(Delivery.state).in_(_GONE), holding.is_in_flight(), _is_uncertain())
    return _has_row(audience, may_arrive, _is_ahead(audience))


def goes_on_beside(audience: Audience) -> ColumnElement[bool]:
    """Return the condition that an earlier edition is open and not superseded (`references`)."""
    still_open = _has_row(audience, _is_open(audience), _is_ahead(audience))
    return and_(_has_passed_row(audience), still_open)


def _readers(audience: Audience) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of the audience, without readers who are `is_under_way`."""
    return (*_active(audience.cadence, audience.readers), ~is_under_way(audience))


def _has_passed_row(audience: Audience) -> ColumnElement[bool]:
    return _has_row(audience, _is_open(audience), ~_is_ahead(audience))


def _has_row(audience: Audience, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition that a reader has a row of an earlier, unsettled edition."""
    if not audience.earlier:
        return false()
    return (
        exists()
        .where(
            col(Delivery.mailing_id).in_(audience.earlier),
            col(Delivery.reference) == audience.readers.c.public_id,
            col(Mailing.id) == col(Delivery.mailing_id),
            col(Edition.id) == col(Mailing.edition_id),
            *conditions,
        )
        .correlate(audience.readers)
    )


def _is_open(audience: Audience) -> ColumnElement[bool]:
    is_open: ColumnElement[bool] = col(Delivery.state).in_(OPEN)
    if audience.given_up:
        is_left = col(Delivery.mailing_id).not_in(audience.given_up)
        is_open &= or_(is_left, holding.is_in_flight())
    return is_open


def _is_uncertain() -> ColumnElement[bool]:
    """Return the condition that a delivery is to be sent again, but may have arrived already.

    Such a delivery is not superseded: if a newer mail had its articles, the reader might get them
    twice.
    """
    return and_(col(Delivery.state).in_(OPEN), cancellation.may_have_arrived())


def _is_ahead(audience: Audience) -> ColumnElement[bool]:
    """Return the condition that a reader's watermark is before the end of a delivery's edition."""
    watermark = audience.readers.c.watermark
    return or_(watermark.is_(None), watermark < col(Edition.coverage_end))


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


def _active(cadence: Cadence, readers: FromClause = _table) -> tuple[ColumnElement[bool], ...]:
    return (readers.c.cadence == cadence, *_mailable(readers))


def _mailable(readers: FromClause = _table) -> tuple[ColumnElement[bool], ...]:
    return readers.c.status == Status.ACTIVE, ~_is_suppressed(readers)


def _is_suppressed(readers: FromClause = _table) -> ColumnElement[bool]:
    found = exists().where(col(Suppression.address) == readers.c.address)
    return found.correlate(readers)
