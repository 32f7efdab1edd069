"""The only functions that lock subscriber rows, so that the lock order is in one place.

Lock order: freeze lock before subscriber rows, and these by id. Otherwise a running freeze, or
another change of the same readers, may deadlock. tests/house/test_locks.py checks that no other
package locks these rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, false
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from newsletter.db import session as sessions
from newsletter.models import Status, Subscriber
from newsletter.subscribers import store

_id = col(Subscriber.id)


def locked_subscriber(
    session: Session, chosen: ColumnElement[bool], *, ends: bool
) -> Subscriber | None:
    """Lock a subscriber's row and return its current values; None if there is none.

    With `ends`, the reader may leave the audience of a running freeze: a consent may end, pause or
    be erased, or the cadence change. Then the freeze lock is held, too, so that all deliveries of
    that freeze are visible, and no reader misses both the superseded edition and the new one. Other
    changes must not wait for a freeze.
    """
    _hold(session, ends=ends)
    return session.exec(_locked(chosen)).one_or_none()


def find_subscriber(
    session: Session, chosen: ColumnElement[bool], *, ends: bool | None
) -> Subscriber | None:
    """Return a subscriber, locked as `locked_subscriber` does unless `ends` is None."""
    if ends is None:
        return session.exec(select(Subscriber).where(chosen)).one_or_none()
    return locked_subscriber(session, chosen, ends=ends)


def locked_subscribers(
    session: Session, chosen: ColumnElement[bool], *, ends: bool, limit: int | None = None
) -> Sequence[Row[Any]]:
    """Lock many rows as `locked_subscriber` does; return id, public_id, address and status."""
    _hold(session, ends=ends)
    return session.execute(
        select_columns(
            _id,
            col(Subscriber.public_id),
            col(Subscriber.address),
            col(Subscriber.status),
        )
        .where(chosen)
        .order_by(_id)
        .limit(limit)
        .with_for_update()
    ).all()


def inserted_subscriber(
    session: Session,
    row: Mapping[str, Any],
    *,
    now: datetime,
    ends: bool,
    beside: ColumnElement[bool] | None = None,
) -> Subscriber:
    """Insert a pending subscriber if the address is unknown; lock it and the rows `beside`.

    Returns the subscriber of the address, which is new if it has the `public_id` of `row`.
    """
    _hold(session, ends=ends)
    address = row["address"]
    columns = {name: [value] for name, value in row.items()}
    chosen = store.with_address(address) | (false() if beside is None else beside)
    while True:
        # Repeated, because a row that exists at the insert may be deleted before it is locked.
        store.insert_missing(session, columns, status=Status.PENDING, now=now)
        for found in session.exec(_locked(chosen)).all():
            if found.address == address:
                return found


def _hold(session: Session, *, ends: bool) -> None:
    if ends:
        sessions.hold_freeze(session)


def _locked(chosen: ColumnElement[bool]) -> SelectOfScalar[Subscriber]:
    return (
        select(Subscriber)
        .where(chosen)
        .order_by(_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
