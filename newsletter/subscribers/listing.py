"""Lists of subscribers by pages, the newest first; every page is found by an index."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from sqlalchemy import Select, tuple_, union_all
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from newsletter.cadences import Cadence
from newsletter.models import Status, Subscriber

_id = col(Subscriber.id)
_LARGEST = 2**63 - 1


def newest(
    session: Session,
    *,
    status: Status | None = None,
    cadence: Cadence | None = None,
    before: int | None = None,
    limit: int,
) -> Sequence[Subscriber]:
    """Return subscribers with an id below `before`, the highest id first."""
    chosen = select(Subscriber).order_by(_id.desc()).limit(limit)
    if status is None and cadence is None:
        return session.exec(chosen if before is None else chosen.where(_id < before)).all()
    # One walk through the index ix_subscriber_newest for each pair: a single statement for several
    # pairs would sort all rows that have them.
    pairs = product([cadence] if cadence else Cadence, [status] if status else Status)
    walks = [_walk(*pair, before=before, limit=limit) for pair in pairs]
    ids = session.execute(union_all(*walks)).scalars()
    return session.exec(chosen.where(_id.in_(sorted(ids, reverse=True)[:limit]))).all()


def _walk(
    cadence: Cadence, status: Status, *, before: int | None, limit: int
) -> Select[tuple[int]]:
    # Compared and sorted as rows of the index: by equality and id alone, PostgreSQL would walk the
    # primary key, past all readers who are newer than those of a rare status.
    row = tuple_(col(Subscriber.cadence), col(Subscriber.status), _id)
    end = _LARGEST if before is None else before
    found = (
        select_columns(_id)
        .where(
            row >= tuple_(cadence.value, status.value, 0),
            row < tuple_(cadence.value, status.value, end),
        )
        .order_by(col(Subscriber.cadence).desc(), col(Subscriber.status).desc(), _id.desc())
    )
    # SQLite takes an order and a limit in a part of UNION only within a subquery.
    return select_columns(found.limit(limit).subquery().c.id)
