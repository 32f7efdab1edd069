"""Determines the periods whose edition is due, and the start of their coverage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import cadences
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.editions import assemble, store, summaries
from newsletter.editions.summaries import Summary
from newsletter.publication import Publication


@dataclass(frozen=True)
class Due:
    """A period whose edition is to be made."""

    cadence: Cadence
    period: date
    due_at: datetime


def due_editions(engine: Engine, *, now: datetime, publication: Publication) -> list[Due]:
    """Return the periods whose edition is due, not too late, and not made yet."""
    with sessions.reading(engine) as session:
        return due(session, now=now, publication=publication)


def due(session: Session, *, now: datetime, publication: Publication) -> list[Due]:
    """Return the due editions, in the caller's transaction."""
    found = [_due(session, cadence, now=now, publication=publication) for cadence in Cadence]
    return [one for one in found if one is not None]


def upcoming(
    session: Session, cadence: Cadence, *, now: datetime, publication: Publication
) -> date:
    """Return the period whose edition is made next: one that is due, or the next one."""
    due = _due(session, cadence, now=now, publication=publication)
    return due.period if due else cadences.next_due(cadence, now, publication.send_times)


def coverage_start(
    session: Session, cadence: Cadence, *, end: datetime, publication: Publication
) -> datetime:
    """Return the start of coverage for readers without a watermark, in an edition made at `end`."""
    return assemble.coverage_start(
        cadence,
        end=end,
        covered=store.last_covered(session, cadence),
        catch_up=publication.catch_up,
    )


def current(
    engine: Engine, cadence: Cadence, *, now: datetime, publication: Publication
) -> Summary | None:
    """Return the edition of the newest due period, if it was made or skipped."""
    with sessions.reading(engine) as session:
        period = cadences.newest_due(cadence, now, publication.send_times)
        edition = store.find(session, cadence, period)
        return summaries.of(session, edition) if edition else None


def skip_period(
    session: Session,
    cadence: Cadence,
    period: date,
    *,
    reason: str,
    now: datetime,
    publication: Publication,
) -> bool:
    """Record the edition of a period as skipped; return False if it exists already."""
    end = sessions.freeze_lock(session, now)
    edition = store.create(
        session,
        cadence,
        period,
        coverage_start=coverage_start(session, cadence, end=end, publication=publication),
        coverage_end=end,
        now=now,
    )
    if edition is not None:
        store.skip(session, edition, reason=reason, now=now)
    return edition is not None


def _due(
    session: Session, cadence: Cadence, *, now: datetime, publication: Publication
) -> Due | None:
    times = publication.send_times
    is_due = assemble.is_due(
        cadence,
        now=now,
        times=times,
        tolerance=publication.tolerance,
        since=store.began_at(session),
    )
    period = cadences.newest_due(cadence, now, times)
    if not is_due or store.find(session, cadence, period) is not None:
        return None
    return Due(cadence, period, cadences.due_at(cadence, period, times))
