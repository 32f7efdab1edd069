"""The state of sending as an operator looks at it: the queue, limits, slow domains, processes.

Reads only, and costs the same with any number of ended deliveries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from newsletter.ledger import books, listing, registry
from newsletter.models import Delivery, Mailing, Pace, State
from newsletter.models.pace import EVERYONE
from newsletter.models.worker import Worker
from newsletter.sender import limits as rates
from newsletter.sender import waiting
from newsletter.sender.limits import Limits
from newsletter.sender.waiting import Waiting

#: Maximum of domains and of unknown deliveries that are listed.
MOST = 50


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The state of sending at one instant."""

    at: datetime
    #: All deliveries, pruned ones included, by kind of mailing and state.
    books: Mapping[tuple[str, State], int]
    #: Why open deliveries wait, and how many for each reason.
    waiting: Sequence[Waiting]
    #: How many messages each limit of an hour or a day allows now.
    free: Mapping[str, int]
    #: When the limits for all mail allow more; None if they do so now.
    opens_at: datetime | None
    #: Domains with a limit that their replies have taught, the latest first.
    domains: Sequence[Pace]
    processes: Sequence[Worker]
    #: The latest deliveries that may or may not have arrived.
    unknown: Sequence[Delivery]
    #: The number of all of these.
    unknown_count: int


def look(session: Session, *, limits: Limits, now: datetime) -> Overview:
    """Return the state of sending."""
    return Overview(
        at=now,
        books=books.by_kind(session),
        waiting=waiting.of(session, select_columns(col(Mailing.id)), limits=limits, now=now),
        free=rates.free(session, limits, now),
        opens_at=rates.opens_at(session, limits, now),
        domains=_domains(session),
        processes=registry.listed(session),
        unknown=listing.unknown(session, limit=MOST),
        unknown_count=books.count_in(session, State.UNKNOWN),
    )


def _domains(session: Session) -> list[Pace]:
    chosen = select(Pace).where(Pace.key != EVERYONE).order_by(col(Pace.changed_at).desc())
    return list(session.exec(chosen.limit(MOST)))
