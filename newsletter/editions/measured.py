"""Measures of the last editions: their size, and the rate at which they were sent."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, union_all
from sqlmodel import Session, col

from newsletter.cadences import Cadence
from newsletter.models import (
    Delivery,
    Edition,
    EditionState,
    Mailing,
    MailingArticle,
    Role,
    State,
)

#: The rate is measured by so many finished editions, each with at least so many readers.
_EDITIONS = 3
_LEAST = 100
#: Every fourth of the 64 characters with which random references begin.
_PROBES = "-37BFJNRVZbfjnrvz"


@dataclass(frozen=True, kw_only=True)
class Past:
    """The last edition of a cadence, by its first mailing, which has the most readers."""

    edition: str
    readers: int
    variants: int
    #: Number of articles of the first mailing without related ones, and its size.
    articles: int
    octets: int


def last(session: Session, cadence: Cadence) -> Past | None:
    """Return the newest edition of a cadence that was not skipped."""
    edition = session.execute(
        select(Edition)
        .where(col(Edition.cadence) == cadence, col(Edition.state) != EditionState.SKIPPED)
        .order_by(col(Edition.coverage_end).desc())
        .limit(1)
    ).scalar()
    if edition is None:
        return None
    found = session.execute(
        select(func.min(col(Mailing.id)), func.count()).where(col(Mailing.edition_id) == edition.id)
    ).one()
    mailing_id, variants = found
    octets = select(func.length(col(Mailing.body))).where(col(Mailing.id) == mailing_id)
    articles = select(func.count()).where(
        col(MailingArticle.mailing_id) == mailing_id, col(MailingArticle.role) != Role.RELATED
    )
    return Past(
        edition=edition.name,
        readers=edition.audience,
        variants=variants,
        articles=session.execute(articles).scalar_one(),
        octets=session.execute(octets).scalar() or 0,
    )


def per_second(session: Session) -> float | None:
    """Return the messages per second of the last editions; None if there are too few."""
    editions = session.execute(
        select(func.min(col(Mailing.id)))
        .join(Edition, col(Edition.id) == col(Mailing.edition_id))
        .where(col(Edition.state) == EditionState.FINISHED, col(Edition.audience) >= _LEAST)
        .group_by(col(Edition.id))
        .order_by(func.max(col(Edition.coverage_end)).desc())
        .limit(_EDITIONS)
    ).scalars()
    rates = [rate for mailing_id in editions.all() for rate in _rates(session, mailing_id)]
    return statistics.median(rates) if rates else None


def _rates(session: Session, mailing_id: int) -> Iterator[float]:
    """Yield the rates between pairs of accepted deliveries, half of the mailing apart.

    Ids of deliveries are consecutive in the order of their random references, and so are their
    times of sending, so a few rows are enough to estimate the rate.
    """
    found = _probed(session, mailing_id)
    half = len(found) // 2
    for (first, began), (second, ended) in zip(found, found[half:], strict=False):
        seconds = (ended - began).total_seconds()
        if second - first >= _LEAST // 4 and seconds > 0:
            yield (second - first) / seconds


def _probed(session: Session, mailing_id: int) -> Sequence[tuple[int, datetime]]:
    """Return id and time of some evenly spread accepted deliveries, in the order of ids."""
    probes = [
        select(col(Delivery.id), col(Delivery.state_at))
        .where(
            col(Delivery.mailing_id) == mailing_id,
            col(Delivery.reference) >= probe,
            col(Delivery.state) == State.ACCEPTED,
        )
        .order_by(col(Delivery.reference))
        .limit(1)
        .subquery()
        for probe in _PROBES
    ]
    rows = session.execute(union_all(*(select(probe.c.id, probe.c.state_at) for probe in probes)))
    return sorted({(row.id, row.state_at) for row in rows})
