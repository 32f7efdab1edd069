"""The books of the queue: counts of rows by state, pruning, retries and reconciliation.

The counts of a mailing by state, including pruned rows, sum to the number of its readers at any
time.

Every function takes the Session of a transaction that its caller owns and commits.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    and_,
    delete,
    func,
    union_all,
    update,
)
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from newsletter import tally
from newsletter.db import dialects
from newsletter.ledger import holding, reports, statements
from newsletter.models import Attempt, Delivery, Mailing, State, TallyPart
from newsletter.models.columns import Instant
from newsletter.tally import Name

_id = col(Delivery.id)
_state = col(Delivery.state)
_mailing = col(Delivery.mailing_id)
_reference = col(Delivery.reference)
_reason = col(Delivery.reason)
_INSTANT = Instant()

#: States in which a delivery can still be sent, including the derived ones of `holding.state`.
OPEN = (State.QUEUED, State.CLAIMED, State.IN_FLIGHT, State.DEFERRED)
#: Final states: such rows can be pruned.
FINAL = tuple(tally.PRUNED)


class Batch(NamedTuple):
    """The result of one pruning transaction."""

    #: Deleted rows by state.
    rows: Counter[State]
    #: The reference after which the next batch begins; None at the end.
    after: str | None


def of(mailings: Select[Any]) -> Subquery:
    """Select mailing_id, state and rows: the number of rows, including pruned ones.

    The kept counts are corrected by the rows that workers hold: these are moved from their stored
    state to the state of their try. One statement reads both, so that they agree.
    """
    # The + 0 keeps the query planner from the index over all rows of a mailing, as few rows are
    # held.
    is_held = (holding.is_held(), (_mailing + 0).in_(mailings))
    moved = [
        select_columns(_mailing, state, rows).where(*is_held).group_by(_mailing, state)
        for state, rows in ((holding.state(), func.count()), (_state, -func.count()))
    ]
    kept = tally.of(Name.DELIVERY).where(col(TallyPart.mailing_id).in_(mailings))
    part = union_all(kept, *moved).subquery("part")
    mailing_id, state, change = part.c
    rows = func.sum(change)
    summed = select_columns(mailing_id, state.label("state"), rows.label("rows"))
    return summed.group_by(mailing_id, state).having(rows != 0).subquery("books")


def left(states: Mapping[Any, int]) -> int:
    """Return how many deliveries are still to be sent, of counts by state."""
    return sum(states.get(state, 0) for state in OPEN)


def size() -> ColumnElement[int]:
    """Return the SQL expression for the number of rows of a mailing, pruned ones included."""
    change = func.coalesce(func.sum(col(TallyPart.change)), 0)
    its = col(TallyPart.mailing_id) == col(Mailing.id)
    kept = select_columns(change).where(its, col(TallyPart.name) == Name.DELIVERY.value)
    found: ColumnElement[int] = kept.correlate(Mailing).scalar_subquery()
    return found


def by_kind(session: Session) -> dict[tuple[str, State], int]:
    """Return the number of rows by kind of mailing and state, pruned ones included."""
    books = of(select_columns(col(Mailing.id))).c
    kind, state = col(Mailing.kind), books.state
    found = session.execute(
        select_columns(kind, state, func.sum(books.rows))
        .join(Mailing, col(Mailing.id) == books.mailing_id)
        .group_by(kind, state)
        .order_by(kind, state)
    )
    return {(kind, State(state)): int(count) for kind, state, count in found if count}


def ended(session: Session) -> dict[tuple[str, State], int]:
    """Return how often deliveries ended, by kind of mailing and state; never decreases.

    A delivery that was unknown and later gets another final state counts twice.
    """
    part = union_all(
        tally.of(Name.DELIVERY).where(col(TallyPart.key).in_([one.value for one in FINAL])),
        tally.of(Name.ENDED),
    ).subquery("part")
    mailing_id, key, change = part.c
    kind = col(Mailing.kind)
    found = session.execute(
        select_columns(kind, key, func.sum(change))
        .join(Mailing, col(Mailing.id) == mailing_id)
        .group_by(kind, key)
        .order_by(kind, key)
    )
    return {(kind, State(state)): int(count) for kind, state, count in found if count}


def count_states(session: Session, mailings: Select[Any]) -> Mapping[State, int]:
    """Return the number of rows of `mailings` by state; their sum is the audience."""
    books = of(mailings).c
    found = session.execute(select_columns(books.state, func.sum(books.rows)).group_by(books.state))
    return {State(state): int(count) for state, count in found}


def count_in(session: Session, state: State, mailings: Select[Any] | None = None) -> int:
    """Return the number of rows in a stored state, of `mailings` if given, pruned ones included."""
    kept = tally.of(Name.DELIVERY).where(col(TallyPart.key) == state.value)
    if mailings is not None:
        kept = kept.where(col(TallyPart.mailing_id).in_(mailings))
    return int(session.execute(select_columns(func.sum(kept.subquery().c.change))).scalar() or 0)


def accepted(session: Session, mailings: Collection[int]) -> dict[int, int]:
    """Return the number of accepted rows by mailing, pruned ones included."""
    mailing, change = col(TallyPart.mailing_id), func.sum(col(TallyPart.change))
    found = session.execute(
        select_columns(mailing, change)
        .where(
            col(TallyPart.name) == Name.DELIVERY.value,
            col(TallyPart.key) == State.ACCEPTED.value,
            mailing.in_(mailings),
        )
        .group_by(mailing)
    )
    return {one: int(count) for one, count in found}


def count_prunable(session: Session, mailings: Select[Any]) -> dict[int, Counter[State]]:
    """Return how many rows of `mailings` can be pruned, by mailing and final state."""
    found = session.execute(
        select_columns(_mailing, _state, func.count())
        .where(_mailing.in_(mailings), _state.in_(FINAL))
        .group_by(_mailing, _state)
        .order_by(_mailing)
    )
    counts: dict[int, Counter[State]] = {}
    for mailing_id, state, count in found:
        counts.setdefault(mailing_id, Counter())[State(state)] = count
    return counts


def prune(session: Session, *, mailing_id: int, after: str, limit: int) -> Batch:
    """Delete up to `limit` final rows of a mailing with their attempts, and count them in it.

    Keyset pagination by reference, beginning after `after` (at first empty), so that no batch scans
    again what an earlier one deleted or skipped.
    """
    chosen = session.execute(
        select_columns(_id, _reference, _state)
        .where(_mailing == mailing_id, _reference > after, _state.in_(FINAL))
        .order_by(_reference)
        .limit(limit)
        # Rows that another process is pruning are skipped, and counted by that process.
        .with_for_update(skip_locked=True)
    ).all()
    if not chosen:
        return Batch(Counter(), None)
    ids = [row.id for row in chosen]
    rows = Counter(State(row.state) for row in chosen)
    counted = {pruned: pruned + rows[state] for state, pruned in tally.PRUNED.items()}
    returned = reports.forget(session, ids)
    counted |= {pruned: pruned + returned.get(k, 0) for k, pruned in reports.PRUNED.items()}
    for statement in (
        delete(Attempt).where(col(Attempt.delivery_id).in_(ids)),
        delete(Delivery).where(_id.in_(ids)),
        update(Mailing).where(col(Mailing.id) == mailing_id).values(counted),
    ):
        session.execute(statement.execution_options(synchronize_session=False))
    return Batch(rows, chosen[-1].reference if len(chosen) == limit else None)


def retry_now(
    session: Session,
    *,
    now: datetime,
    ids: Sequence[int] = (),
    state: State | None = None,
    mailings: Select[Any] | None = None,
    excluded: Select[Any] | None = None,
) -> int:
    """Make deferred or unknown rows due now, on the operator's request; return how many.

    These are the rows `ids`, or all rows in `state`; of `mailings` if given, and not of `excluded`.
    Rows that were refused, or that have a reason not to be sent, are not changed.
    """
    chosen = [
        _id.in_(ids) if state is None else _state == state,
        _state.in_((State.DEFERRED, State.UNKNOWN, State.QUEUED)),
        _reason.is_(None),
        # Rows of erased readers have no address.
        col(Delivery.address) != "",
    ]
    if mailings is not None:
        chosen.append(_mailing.in_(mailings))
    if excluded is not None:
        chosen.append(_mailing.not_in(excluded))
    values = {"state": State.QUEUED, "due_at": now, "state_at": now}
    return tally.update_deliveries(session, and_(*chosen), values)


def find(
    session: Session, message_ids: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], tuple[int, State]]:
    """Return id and state of the rows of some Message-IDs, which are (mailing, reference) pairs."""
    found = statements.FIND.run(session, rows=json.dumps(message_ids))
    return {(mailing, reference): (one, State(state)) for mailing, reference, one, state in found}


def replies(session: Session) -> Iterator[tuple[int, State, str]]:
    """Yield id, state and reply of every row that ever was unknown, and of each of its tries."""
    tried = select_columns(col(Attempt.delivery_id)).where(
        col(Attempt.outcome) == State.UNKNOWN.value
    )
    said = union_all(
        select_columns(_id, _state, col(Delivery.reply).label("reply")).where(_id.in_(tried)),
        select_columns(_id, _state, col(Attempt.reply).label("reply"))
        .join(Attempt, col(Attempt.delivery_id) == _id)
        .where(_id.in_(tried)),
    ).subquery()
    found = session.execute(select_columns(said).where(said.c.reply.is_not(None)))
    return ((row.id, State(row.state), row.reply) for row in found)


def reconcile(session: Session, *, replies: Mapping[int, str], now: datetime) -> set[int]:
    """Settle unknown rows as accepted, each with its reply, and return their ids.

    Attempts, and rows in other states, are not changed.
    """
    return statements.RECONCILE.run(
        session,
        worker=None,
        now=dialects.stored(session, _INSTANT, now),
        ids=json.dumps(list(replies)),
        rows=json.dumps(list(replies.items())),
    )


def mailing(session: Session, mailing_id: int) -> Mailing:
    """Return one mailing."""
    return session.exec(select(Mailing).where(Mailing.id == mailing_id)).one()
