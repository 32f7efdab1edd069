"""Computes the time of a reader's next digest, for pages and letters."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta

from sqlalchemy import select
from sqlmodel import Session, col

from newsletter import cadences
from newsletter.cadences import Cadence, SendTimes
from newsletter.models import Edition, EditionState, Status, Subscriber

#: Skipped future periods by cadence.
Skipped = Mapping[Cadence, frozenset[date]]
NONE_SKIPPED: Skipped = {cadence: frozenset() for cadence in Cadence}


def skipped_ahead(session: Session, *, now: datetime) -> Skipped:
    """Return the future periods of each cadence that an editor has skipped."""
    found = session.execute(
        select(col(Edition.cadence), col(Edition.period)).where(
            col(Edition.state) == EditionState.SKIPPED,
            # One day earlier, since the local date differs from the UTC date by at most one day.
            col(Edition.period) >= now.date() - timedelta(days=1),
        )
    ).all()
    return {
        cadence: frozenset(period for name, period in found if name == cadence)
        for cadence in Cadence
    }


def next_at(cadence: Cadence, *, after: datetime, times: SendTimes, skipped: Skipped) -> datetime:
    """Return when the first edition after an instant is due, in the publication's time zone.

    Periods in `skipped`, as returned by `skipped_ahead`, are left out.
    """
    period = cadences.next_due(cadence, after, times, skipped=skipped[cadence])
    return cadences.due_at(cadence, period, times).astimezone(times.zone)


def of(
    subscriber: Subscriber, *, now: datetime, times: SendTimes, skipped: Skipped
) -> datetime | None:
    """Return when this reader's next digest is due, after their pause if there is one.

    None if the pause has no end, or the subscriber is no reader.
    """
    after = now
    if subscriber.status == Status.PAUSED and subscriber.paused_until is not None:
        after = max(now, subscriber.paused_until)
    elif subscriber.status != Status.ACTIVE:
        return None
    return next_at(Cadence(subscriber.cadence), after=after, times=times, skipped=skipped)


def resumes_at(subscriber: Subscriber, now: datetime) -> datetime | None:
    """Return when mail resumes: now, or the end of a pause; None if the pause has no end."""
    return subscriber.paused_until if is_paused(subscriber, now) else now


def is_paused(subscriber: Subscriber, now: datetime) -> bool:
    """Return whether the reader has paused and the pause has not ended."""
    until = subscriber.paused_until
    return subscriber.status == Status.PAUSED and (until is None or until > now)
