"""Stored reports about deliveries (bounces, complaints), their counts, and receipts of all reports.

A report never changes the outcome of a delivery: one that bounced stays accepted. Every function
takes the Session of a transaction that its caller owns and commits.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    delete,
    func,
    literal,
    or_,
    union_all,
    update,
)
from sqlalchemy import select as select_columns
from sqlalchemy.orm import Mapped
from sqlmodel import Session, col

from newsletter import tally
from newsletter.db import dialects
from newsletter.ledger import cancellation, holding, statements
from newsletter.models import Delivery, Mailing, Receipt, Rejection, Report, State
from newsletter.models.delivery import OPEN
from newsletter.tally import Name

#: Time for which receipts and unplaced reports are kept.
KEPT = timedelta(days=30)
#: Number of a reader's latest accepted deliveries that a bounce without a Message-ID may be about.
_LATEST = 40
#: Maximum number of unplaced reports that are kept, because anybody can send some.
UNPLACED_AT_MOST = 10_000
#: Kinds of reports that are counted for each mailing.
BOUNCE, COMPLAINT = "bounce", "complaint"
#: The columns of a mailing that count the reports of its pruned rows, by kind.
PRUNED = {BOUNCE: col(Mailing.pruned_bounced), COMPLAINT: col(Mailing.pruned_complained)}
#: Columns that a repeated report replaces; the others are its key.
_REPLACED = (
    "mailing_id", "source", "kind", "recipient", "code", "enhanced", "phase", "reply", "reason",
    "is_void", "at",
)  # fmt: skip
#: Maximum rows of one INSERT, because SQLite limits the parameters of a statement.
_AT_ONCE = 1_000
#: Maximum rows deleted in one transaction.
_BATCH = 5_000

T = TypeVar("T")

_id = col(Delivery.id)
# Tables instead of classes for inserts, so that a statement is compiled once for any number of
# rows.
_reports = Report.metadata.tables["report"]
_receipts = Report.metadata.tables["receipt"]


class Sent(NamedTuple):
    """A delivery that a report is about."""

    id: int
    mailing_id: int
    #: The address; empty if the person was erased.
    address: str
    reference: str
    generation: int
    #: The state, including claimed and in flight (see `holding.state`).
    state: str
    #: The time of the last change of state.
    at: datetime
    #: Whether the message of an earlier try may have arrived.
    may_have_arrived: bool

    @property
    def is_uncertain(self) -> bool:
        """Whether a server may have accepted the message, without a reply to us."""
        is_open = self.state in {State.QUEUED, State.DEFERRED, State.CLAIMED}
        return self.state == State.UNKNOWN or (is_open and self.may_have_arrived)

    @property
    def has_left(self) -> bool:
        """Whether a server has or may have accepted the message."""
        return self.state in {State.ACCEPTED, State.IN_FLIGHT} or self.is_uncertain


_COLUMNS = (
    _id,
    col(Delivery.mailing_id),
    col(Delivery.address),
    col(Delivery.reference),
    col(Delivery.generation),
    holding.state(),
    col(Delivery.state_at),
    cancellation.may_have_arrived(),
)


def find(session: Session, message_ids: Collection[tuple[str, str]]) -> dict[tuple[str, str], Sent]:
    """Return the deliveries of some Message-IDs, which are (mailing, reference) pairs."""
    if not message_ids:
        return {}
    rows = statements.FIND.run(session, rows=json.dumps(list(message_ids)))
    pairs = {one: (mailing, reference) for mailing, reference, one, _ in rows}
    found = session.execute(select_columns(*_COLUMNS).where(_id.in_(pairs)))
    return {pairs[row[0]]: Sent(*row) for row in found}


def accepted(session: Session, references: Collection[str]) -> dict[str, list[Sent]]:
    """Return the last accepted deliveries of each recipient, by reference, the latest first."""
    if not references:
        return {}
    latest_first = (col(Delivery.state_at).desc(), _id.desc())
    place = func.row_number().over(partition_by=col(Delivery.reference), order_by=latest_first)
    numbered = (
        select_columns(_id, place.label("place"))
        .where(col(Delivery.reference).in_(references), col(Delivery.state) == State.ACCEPTED)
        .subquery()
    )
    latest = select_columns(numbered.c.id).where(numbered.c.place <= _LATEST)
    rows = session.execute(select_columns(*_COLUMNS).where(_id.in_(latest)).order_by(*latest_first))
    found: dict[str, list[Sent]] = {}
    for row in rows:
        found.setdefault(row[3], []).append(Sent(*row))
    return found


def settle(session: Session, ids: Collection[int], *, reply: str) -> None:
    """Settle deliveries with an unknown outcome as accepted, because a report proves it.

    Their times do not change, because they order the mails to a reader.
    """
    if not ids:
        return
    # A mail that was returned must have arrived. Rows that a worker holds end with their own
    # outcome.
    state = col(Delivery.state)
    has_arrived = state.in_(OPEN) & cancellation.may_have_arrived() & ~holding.is_held()
    values = {
        "state": State.ACCEPTED, "reason": None, "blocked_domain": None,
        "code": 250, "enhanced": None, "reply": reply,
    }  # fmt: skip
    chosen = _id.in_(ids) & or_(state == State.UNKNOWN, has_arrived)
    tally.update_deliveries(session, chosen, values)


def recorded(session: Session, ids: Collection[int]) -> set[tuple[int, str]]:
    """Return delivery id and verdict of the reports about deliveries that have taken effect."""
    found = session.execute(
        select_columns(col(Report.delivery_id), col(Report.verdict)).where(
            col(Report.delivery_id).in_(ids), col(Report.is_void).is_(False)
        )
    )
    return {(row.delivery_id, row.verdict) for row in found}


def receive(session: Session, keys: Collection[str], *, now: datetime) -> set[str]:
    """Store receipts with these keys; return the keys that are new.

    Lock order: to be called first in its transaction, and once.
    """
    if not keys:
        return set()
    # Sorted, because otherwise two transactions with the same keys could deadlock.
    rows = [{"key": key, "at": now} for key in sorted(keys)]
    added = dialects.insert_into(session, _receipts).on_conflict_do_nothing()
    found = session.connection().execute(added.returning(_receipts.c.key), rows)
    return set(found.scalars())


def add(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert reports about deliveries, each verdict once.

    A stored report that had no effect is replaced. Reports about deliveries that were pruned
    meanwhile are dropped; for an erased person, recipient and reply are not stored.

    Lock order: after subscribers and suppressions.
    """
    if not rows:
        return
    ordered = sorted(rows, key=lambda row: (row["delivery_id"], row["verdict"]))
    locked = session.execute(
        select_columns(_id, col(Delivery.address))
        .where(_id.in_({row["delivery_id"] for row in rows}))
        .order_by(_id)
        .with_for_update(read=True, key_share=True)
    )
    addresses = {row.id: row.address for row in locked}
    kept = [
        row if addresses[row["delivery_id"]] else {**row, "recipient": "", "reply": None}
        for row in ordered
        if row["delivery_id"] in addresses
    ]
    added = dialects.insert_into(session, _reports)
    again = added.on_conflict_do_update(
        index_elements=["delivery_id", "verdict"],
        set_={name: added.excluded[name] for name in _REPLACED},
        # A bounce or complaint also replaces a report that is not counted for its mailing.
        where=_reports.c.is_void.is_(True)
        | (_reports.c.mailing_id.is_(None) & added.excluded.mailing_id.is_not(None)),
    )
    written = again.returning(_reports.c.source, _reports.c.kind)
    while kept:
        # A statement may contain each pair of delivery and verdict only once.
        batch = {(row["delivery_id"], row["verdict"]): row for row in reversed(kept)}
        _count(session, session.connection().execute(written, [*batch.values()]).all())
        first = {id(row) for row in batch.values()}
        kept = [row for row in kept if id(row) not in first]


def add_unplaced(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert reports without a known delivery; delete the oldest ones if there are too many."""
    if not rows:
        return
    session.connection().execute(dialects.insert_into(session, _reports), list(rows))
    _count(session, [(row["source"], row["kind"]) for row in rows])
    tally.add(session, Name.UNPLACED, Counter(row["source"] for row in rows))
    latest_first = (col(Report.at).desc(), col(Report.id).desc())
    chosen = select_columns(col(Report.id)).where(_is_unplaced()).order_by(*latest_first)
    too_many = chosen.offset(UNPLACED_AT_MOST).limit(_BATCH)
    session.execute(
        delete(Report)
        .where(col(Report.id).in_(too_many))
        .execution_options(synchronize_session=False)
    )


def _count(session: Session, seen: Sequence[Any]) -> None:
    tally.add(session, Name.REPORT, Counter(f"{source} {kind}" for source, kind in seen))


def reject(session: Session, counts: Mapping[tuple[str, str], int], *, now: datetime) -> None:
    """Count rejected reports, by source and cause."""
    for (source, cause), count in sorted(counts.items()):
        values = {"source": source, "cause": cause, "count": count, "at": now}
        added = dialects.insert_into(session, Rejection).values(**values)
        session.execute(
            added.on_conflict_do_update(
                index_elements=["source", "cause"],
                set_={"count": col(Rejection.count) + count, "at": now},
            )
        )


def rejections(session: Session) -> list[Rejection]:
    """Return the counts of rejected reports."""
    chosen = select_columns(Rejection).order_by(col(Rejection.source), col(Rejection.cause))
    return list(session.execute(chosen).scalars())


# Counts and lists


def of(mailings: Select[Any]) -> Subquery:
    """Select mailing_id, kind and rows: the number of accepted deliveries with such a report.

    Pruned ones are part of the same statement, so that none is counted twice.
    """
    standing = (
        select_columns(
            col(Report.mailing_id),
            col(Report.kind),
            func.count(col(Report.delivery_id).distinct()).label("rows"),
        )
        .join(Delivery, _id == col(Report.delivery_id))
        .where(
            col(Report.mailing_id).in_(mailings),
            col(Report.kind).in_(PRUNED),
            col(Delivery.state) == State.ACCEPTED,
        )
        .group_by(col(Report.mailing_id), col(Report.kind))
    )
    gone = [
        select_columns(col(Mailing.id), literal(kind), pruned).where(
            col(Mailing.id).in_(mailings), pruned > 0
        )
        for kind, pruned in PRUNED.items()
    ]
    return union_all(standing, *gone).subquery("returned")


def count(session: Session, mailings: Collection[int]) -> dict[tuple[int, str], int]:
    """Return how many reports there are by mailing and kind: an upper bound of `of`, but fast.

    The cost depends on the number of reports, not on the number of deliveries.
    """
    mailing, kind = col(Report.mailing_id), col(Report.kind)
    found = session.execute(
        select_columns(mailing, kind, func.count())
        .where(mailing.in_(mailings), kind.in_(PRUNED))
        .group_by(mailing, kind)
    )
    return {(one, what): int(number) for one, what, number in found}


def lost_sources(session: Session, *, since: datetime, at_least: int) -> dict[str, int]:
    """Return the sources all of whose reports are unplaced, with the number of reports."""
    source, is_recent = col(Report.source), col(Report.at) >= since
    unplaced = session.execute(
        select_columns(source, func.count()).where(_is_unplaced(), is_recent).group_by(source)
    )
    lost = {one: rows for one, rows in unplaced if rows >= at_least}
    if not lost:
        # Mostly so, and found by the index of unplaced reports alone.
        return {}
    placed = session.execute(
        select_columns(source)
        .where(source.in_(lost), is_recent, col(Report.delivery_id).is_not(None))
        .distinct()
    )
    return {one: rows for one, rows in lost.items() if one not in set(placed.scalars())}


def last_verdict() -> ColumnElement[str | None]:
    """Select the verdict of the last report about a delivery; NULL if there is none."""
    return _last(col(Report.verdict))


def last_reply() -> ColumnElement[str | None]:
    """Select the reply in the last report about a delivery; NULL if there is none."""
    return _last(col(Report.reply))


def _last(column: Mapped[T]) -> ColumnElement[T]:
    return (
        select_columns(column)
        .where(col(Report.delivery_id) == _id)
        .order_by(col(Report.id).desc())
        .limit(1)
        .scalar_subquery()
    )


def listing(
    session: Session,
    *,
    unplaced: bool = False,
    reference: str | None = None,
    limit: int | None,
    before: int | None = None,
) -> Iterator[Mapping[str, object]]:
    """Yield reports, the latest first, each with the address of its delivery.

    With `before`, only those with a smaller id, which came before.
    """
    wanted = select_columns(Report, col(Delivery.address), col(Mailing.subject)).join_from(
        Report, Delivery, _id == col(Report.delivery_id), isouter=True
    )
    wanted = wanted.join(Mailing, col(Mailing.id) == col(Delivery.mailing_id), isouter=True)
    if unplaced:
        wanted = wanted.where(_is_unplaced())
    if reference is not None:
        wanted = wanted.where(col(Delivery.reference) == reference)
    if before is not None:
        wanted = wanted.where(col(Report.id) < before)
    wanted = wanted.order_by(col(Report.id).desc()).limit(limit)
    for report, address, subject in session.execute(wanted):
        yield {
            "id": report.id,
            "at": report.at,
            "source": report.source,
            "kind": report.kind,
            "verdict": report.verdict,
            "address": address,
            "recipient": report.recipient,
            "code": report.code,
            "enhanced": report.enhanced,
            "phase": report.phase,
            "reply": report.reply,
            "reason": report.reason,
            "delivery": report.delivery_id,
            "subject": subject,
        }


# Pruning and erasure


def prune(session: Session, *, now: datetime) -> int:
    """Delete a batch of old receipts and unplaced reports; return how many rows."""
    before = now - KEPT
    total = 0
    unplaced = select_columns(col(Report.id)).where(_is_unplaced(), col(Report.at) < before)
    received = select_columns(col(Receipt.key)).where(col(Receipt.at) < before)
    for old in (
        delete(Report).where(col(Report.id).in_(unplaced.limit(_BATCH))),
        delete(Receipt).where(col(Receipt.key).in_(received.limit(_BATCH))),
    ):
        result = session.execute(old.execution_options(synchronize_session=False))
        total += statements.row_count(result)
    return total


def forget(session: Session, ids: Sequence[int]) -> Mapping[str, int]:
    """Delete the reports about pruned deliveries; return the number of counted ones by kind."""
    found = session.execute(
        select_columns(col(Report.kind), func.count(col(Report.delivery_id).distinct()))
        .join(Delivery, _id == col(Report.delivery_id))
        .where(_id.in_(ids), col(Delivery.state) == State.ACCEPTED)
        .group_by(col(Report.kind))
    )
    counts = {kind: int(count) for kind, count in found}
    session.execute(
        delete(Report)
        .where(col(Report.delivery_id).in_(ids))
        .execution_options(synchronize_session=False)
    )
    return counts


def erase(session: Session, ids: Sequence[int]) -> None:
    """Erase personal data from the reports about deliveries."""
    session.execute(
        update(Report)
        .where(col(Report.delivery_id).in_(ids))
        .values(recipient="", reply=None)
        .execution_options(synchronize_session=False)
    )


def erase_recipient(session: Session, address: str) -> None:
    """Erase the personal data of an address from all reports, whoever received the mail."""
    named = func.lower(col(Report.recipient)) == address
    for statement in (
        delete(Report).where(_is_unplaced(), named),
        update(Report).where(named).values(recipient="", reply=None),
    ):
        session.execute(statement.execution_options(synchronize_session=False))


def _is_unplaced() -> ColumnElement[bool]:
    return col(Report.delivery_id).is_(None)
