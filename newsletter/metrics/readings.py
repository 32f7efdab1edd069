"""Reads all metrics from the database, by indexes and kept counts, without scans of large tables.

All values are read in one transaction. Processes have no counters of their own, so the values do
not depend on the process that serves a scrape, or on restarts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, text
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from newsletter import tally
from newsletter.articles import link
from newsletter.articles import store as articles
from newsletter.cadences import Cadence
from newsletter.doctor import kept, standing
from newsletter.editions import mailings, scheduler
from newsletter.ledger import books, registry
from newsletter.logs import masking
from newsletter.metrics import catalog
from newsletter.metrics.catalog import Metric
from newsletter.models import Delivery, Edition, EditionState, Kind, Mailing, State, Status
from newsletter.models.delivery import CLAIMABLE
from newsletter.models.suppression import Cause
from newsletter.publication import Publication
from newsletter.sender import domain_limits, limits
from newsletter.sender.limits import Limits

#: The values of one metric, by the values of its labels.
Values = Mapping[tuple[str, ...], float]

#: The final states, and UNKNOWN, which needs a decision of the operator.
_OUTCOMES = (*books.FINAL, State.UNKNOWN)


def read(
    session: Session, *, publication: Publication, rules: Limits, now: datetime
) -> Iterator[tuple[Metric, Values]]:
    """Yield each metric of the catalog with its values; changes nothing."""
    yield catalog.DELIVERIES, _with_zeros(books.by_kind(session), Kind, State)
    yield catalog.ENDED, _with_zeros(books.ended(session), Kind, _OUTCOMES)
    yield catalog.REPLIES, _as_labels(tally.replies(session))
    yield catalog.OLDEST_DUE, _one(_oldest_due(session, rules, now) / timedelta(seconds=1))
    yield catalog.DOMAINS_PAUSED, _one(len(domain_limits.paused(session, now)))
    workers = registry.count(session, now=now)
    yield catalog.WORKERS, {("running",): workers.running, ("lost",): workers.lost}
    yield catalog.UNKNOWN, _one(standing.unknown(session, now))
    readers = {(status, cadence): n for (cadence, status), n in tally.readers(session).items()}
    yield catalog.SUBSCRIBERS, _with_zeros(readers, Status, Cadence)
    suppressed = {(cause,): count for cause, count in tally.suppressions(session).items()}
    yield catalog.SUPPRESSIONS, _with_zeros(suppressed, Cause)
    yield catalog.REPORTS, _as_labels(tally.reports(session))
    unplaced = tally.unplaced_reports(session)
    yield catalog.REPORTS_UNPLACED, {(source,): count for source, count in unplaced.items()}
    due = {one.cadence: now - one.due_at for one in standing.due(session, publication, now)}
    overdue = {(cadence,): late / timedelta(seconds=1) for cadence, late in due.items()}
    yield catalog.EDITION_OVERDUE, _with_zeros(overdue, Cadence)
    yield catalog.EDITION_FINISHED, _with_zeros(_finished(session), Cadence)
    run = scheduler.last(session)
    yield catalog.CRON_SUCCESS, _one(_seconds(run.succeeded_at if run else None))
    yield catalog.FEED_SUCCESS, _feeds(session)
    yield catalog.QUARANTINED, _one(standing.quarantined(session))
    found = Counter((one.finding.id, one.finding.level.value) for one in kept.all(session))
    yield catalog.FINDING, _as_labels(found)


def _with_zeros(counts: Mapping[Any, float], *labels: Any) -> Values:  # noqa: ANN401 - enums
    """Return counts with zeros for absent combinations, so that every series always exists."""
    combinations: list[tuple[str, ...]] = [()]
    for label in labels:
        combinations = [(*one, value) for one in combinations for value in label]
    return {one: counts.get(one, 0) for one in combinations}


def _as_labels(counts: Mapping[Any, float]) -> Values:
    return dict(counts)


def _one(value: float) -> Values:
    return {(): value}


def _seconds(instant: datetime | None) -> float:
    return instant.timestamp() if instant else 0


def _oldest_due(session: Session, rules: Limits, now: datetime) -> timedelta:
    """Return how long the oldest delivery has been due, by one index look-up per mailing.

    Zero while a rate limit is used up, because then everything waits for it.
    """
    if limits.opens_at(session, rules, now) is not None:
        return timedelta()
    theirs = (text(CLAIMABLE), col(Delivery.mailing_id) == col(Mailing.id))
    oldest = select_columns(func.min(col(Delivery.due_at))).where(*theirs).scalar_subquery()
    chosen = select_columns(func.min(oldest)).where(col(Mailing.id).not_in(mailings.withheld()))
    found: datetime | None = session.execute(chosen).scalar_one()
    return max(now - found, timedelta()) if found else timedelta()


def _finished(session: Session) -> dict[tuple[str, ...], float]:
    found = session.exec(
        select(Edition.cadence, func.max(col(Edition.finished_at)))
        .where(Edition.state == EditionState.FINISHED)
        .group_by(Edition.cadence)
    )
    return {(cadence,): _seconds(at) for cadence, at in found}


def _feeds(session: Session) -> Values:
    values: dict[tuple[str, ...], float] = {}
    for feed in articles.feeds(session):
        # The query of the URL may contain a key.
        label = (masking.masked(link.masked(feed.url)),)
        at = _seconds(feed.succeeded_at)
        values[label] = min(at, values.get(label, at))
    return values
