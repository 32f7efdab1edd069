"""What the last editions came to: how large they were, and how fast they went out."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, union_all
from sqlmodel import Session, col

from newsletter import cadences
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

#: Finished editions by which the rate is measured, and the least readers of each.
_EDITIONS = 3
_LEAST = 100
#: References begin with a random one of 64 characters: every fourth of them.
_PROBES = "-37BFJNRVZbfjnrvz"


@dataclass(frozen=True, kw_only=True)
class Past:
    """The last edition of a cadence; its first mailing has the most readers."""

    edition: str
    readers: int
    variants: int
    #: Of the first mailing: its articles without the related ones, and its size.
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
        edition=cadences.slug(cadence, edition.period),
        readers=edition.audience,
        variants=variants,
        articles=session.execute(articles).scalar_one(),
        octets=session.execute(octets).scalar() or 0,
    )


def per_second(session: Session) -> float | None:
    """Return the messages a second at which the last editions went out; None if too few did."""
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

    Their ids are consecutive, in the order of their random references, and they are sent in that
    order: so few of them tell the rate, and none but those is read.
    """
    found = _probed(session, mailing_id)
    half = len(found) // 2
    for (first, began), (second, ended) in zip(found, found[half:], strict=False):
        seconds = (ended - began).total_seconds()
        if second - first >= _LEAST // 4 and seconds > 0:
            yield (second - first) / seconds


def _probed(session: Session, mailing_id: int) -> Sequence[tuple[int, datetime]]:
    """Return id and time of some accepted deliveries, spread evenly, in the order of their ids."""
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
