"""Kept counts of deliveries and readers, updated with each change, so that no scan is needed.

A count is the sum of its rows in `tally`. Each transaction inserts rows for its own changes, so
transactions do not wait for each other, and a count is always exact, as it is committed together
with the counted change. A worker, which commits hundreds of times a second, updates its own rows
instead (`ledger.statements`), while it locks the row of its registration. `fold` replaces inserted
rows by their sums.

- delivery, by mailing and state: deliveries, including pruned ones. Open ones count as queued or
  deferred; the states claimed and in flight are derived (`ledger.holding`).
- ended, by mailing: how often a delivery became unknown. The other ends are final, and happened as
  often as there are deliveries in that state.
- reply, by phase, kind of outcome and reaction: recorded tries with this result. The try of a row
  that has ended meanwhile is not recorded.
- reader, by cadence and status: subscribers.
- day, by UTC day, cadence and status: by how much the count of readers changed on that day.
- event, by UTC day and event: what was recorded of readers' consents (`subscribers.consent.event`).
- since, by UTC day: from which day on days and events are exact, counted by the migration once.
- suppression, by cause: how often an address was suppressed, including again for a graver cause.
- report, by source and kind: reports that came back, including unplaced ones.
- unplaced, by source: reports that name no delivery of ours.

All counts except those of deliveries and readers are of events, and never decrease. A day has at
most some dozens of keys, and in practice a dozen: some thousands of rows a year. `ledger.books`
has the counts of deliveries with the states claimed and in flight.

Every function takes the Session of a transaction that its caller owns and commits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Select,
    delete,
    func,
    insert,
    literal,
    null,
    select,
    text,
    union_all,
)
from sqlalchemy import update as update_rows
from sqlmodel import Session, col

from newsletter.cadences import Cadence
from newsletter.db.engine import is_sqlite
from newsletter.models import Delivery, Mailing, State, Status, Subscriber, TallyPart

#: The worker id of the rows that `fold` inserts.
_FOLDED = 0
#: Maximum of rows that one `fold` replaces.
_FOLD = 10_000
#: Length of a day in a key: 2026-12-01.
_DAY = 10
#: Key of the advisory lock of PostgreSQL for `fold`, an arbitrary number.
_FOLDS = 0x6E6C_666F_6C64_7321


_tally = TallyPart.metadata.tables["tally"]
_subscribers = Subscriber.metadata.tables["subscriber"]


#: The counters of a mailing for its pruned deliveries, by final state.
PRUNED = {
    State.ACCEPTED: col(Mailing.pruned_accepted),
    State.REFUSED: col(Mailing.pruned_refused),
    State.SKIPPED: col(Mailing.pruned_skipped),
    State.CANCELLED: col(Mailing.pruned_cancelled),
}


class Name(StrEnum):
    """The names of the counts."""

    DELIVERY = "delivery"
    ENDED = "ended"
    REPLY = "reply"
    READER = "reader"
    DAY = "day"
    EVENT = "event"
    SINCE = "since"
    SUPPRESSION = "suppression"
    REPORT = "report"
    UNPLACED = "unplaced"


# Counting


def add(
    session: Session,
    name: Name,
    counts: Mapping[str, int],
    *,
    mailing_id: int = 0,
    with_zeros: bool = False,
) -> None:
    """Add changes, positive or negative, to counts by key; `with_zeros` also writes zeros."""
    _insert(session, _rows(name, counts, mailing_id, with_zeros=with_zeros))


def add_readers(
    session: Session, counts: Mapping[str, int], *, now: datetime, with_zeros: bool = False
) -> None:
    """Add changes to the counts of readers, and to those of the day, by key (see `reader`)."""
    of_day = {of_day_key(now, key): change for key, change in counts.items()}
    _insert(
        session,
        [
            *_rows(Name.READER, counts, with_zeros=with_zeros),
            *_rows(Name.DAY, of_day, with_zeros=with_zeros),
        ],
    )


def add_events(session: Session, counts: Mapping[str, int], *, now: datetime) -> None:
    """Count events of the day; writes zeros, too, for the same statements in each case."""
    add(session, Name.EVENT, {of_day_key(now, k): n for k, n in counts.items()}, with_zeros=True)


def of_day_key(now: datetime, key: str) -> str:
    """Return a key with its UTC day."""
    return f"{now.astimezone(UTC).date().isoformat()} {key}"


def _rows(
    name: Name, counts: Mapping[str, int], mailing_id: int = 0, *, with_zeros: bool
) -> list[dict[str, Any]]:
    return [
        {"name": name.value, "mailing_id": mailing_id, "key": key, "change": change}
        for key, change in sorted(counts.items())
        if change or with_zeros
    ]


def _insert(session: Session, rows: list[dict[str, Any]]) -> None:
    if rows:
        session.execute(insert(_tally).inline(), rows)


def reader(cadence: str, status: str) -> str:
    """Return the key for the count of readers."""
    return f"{cadence} {status}"


def update_deliveries(
    session: Session,
    chosen: ColumnElement[bool],
    values: Mapping[str, Any],
    *,
    is_undone: bool = False,
) -> int:
    """Change deliveries and count them; return how many rows match.

    Only this function and the statements of a worker may change states. With `is_undone`, a change
    of the same transaction is reverted, and so not counted as an event.
    """
    return _update(session, Delivery, chosen, values, lambda kept: _of_delivery(kept, is_undone))


def update_readers(
    session: Session, chosen: ColumnElement[bool], values: Mapping[str, Any], *, now: datetime
) -> int:
    """Change subscribers and count them; return how many rows match.

    For many rows; a single subscriber is changed by `subscribers.store`.
    """
    return _update(session, Subscriber, chosen, values, lambda kept: _of_reader(kept, now))


def delete_readers(session: Session, chosen: ColumnElement[bool], *, now: datetime) -> None:
    """Delete subscribers and count them."""
    session.flush()
    key = _reader_key(_subscribers.c.cadence, _subscribers.c.status)
    if is_sqlite(session.connection()):
        gone = select(key.label("key")).where(chosen).cte("gone")
        session.execute(_less(gone, now))
        session.execute(delete(_subscribers).where(chosen))
    else:
        deleted = delete(_subscribers).where(chosen).returning(key.label("key"))
        session.execute(_less(deleted.cte("gone"), now))


def _less(gone: CTE, now: datetime) -> Any:  # noqa: ANN401 - an INSERT
    rows = select(gone.c.key, func.count().label("rows")).group_by(gone.c.key).cte("moved")
    return _counting(lambda kept: _readers_of(kept.c.key, -kept.c.rows, now), rows)


_COLUMNS = ["name", "mailing_id", "key", "change"]

#: A function from groups of changed rows (see `_moved`) to the changes of counts.
_Parts = Callable[[FromClause], list[Select[Any]]]


def _update(
    session: Session,
    model: type[Delivery | Subscriber],
    chosen: ColumnElement[bool],
    values: Mapping[str, Any],
    parts: _Parts,
) -> int:
    """Change rows, and count them by their old and new values.

    On SQLite, the rows are counted before, under the write lock. On PostgreSQL, they are first
    locked in the order of their ids, and the old values are those of the locked version, as another
    transaction may have changed them since this statement began.
    """
    # Flushed explicitly, because Core statements, unlike those of the ORM, do not flush.
    session.flush()
    table = model.__table__  # type: ignore[union-attr]
    columns = table.c
    if is_sqlite(session.connection()):
        after = {name: _expression(values.get(name, columns[name])) for name in _GROUPED[model]}
        session.execute(_counting(parts, _moved(model, columns, after, chosen)))
        changed = session.execute(update_rows(table).where(chosen).values(values))
        return int(getattr(changed, "rowcount", 0))
    before = (
        select(columns.id, *(columns[name].label(f"old_{name}") for name in _GROUPED[model]))
        .where(chosen)
        .order_by(columns.id)
        .with_for_update(key_share=True)
        .cte("before")
    )
    old = [column for column in before.c if column.name != "id"]
    moving = (
        update_rows(table)
        .where(columns.id == before.c.id)
        .values(values)
        .returning(*old, *(columns[name] for name in _KEPT[model]))
        .cte("changed")
    )
    grouped = [*moving.c]
    moved = select(*grouped, func.count().label("rows")).group_by(*grouped).cte("moved")
    counted = _counting(parts, moved).cte("counted")
    total = select(func.count()).select_from(moving).add_cte(counted)
    return int(session.execute(total).scalar_one())


#: The columns by which rows are counted.
_GROUPED: Mapping[Any, tuple[str, ...]] = {
    Delivery: ("state",),
    Subscriber: ("cadence", "status"),
}
#: The same columns, with those that never change.
_KEPT: Mapping[Any, tuple[str, ...]] = {
    Delivery: ("mailing_id", "state"),
    Subscriber: ("cadence", "status"),
}


def _moved(
    model: Any,  # noqa: ANN401 - one of two tables
    columns: Any,  # noqa: ANN401 - its columns
    after: Mapping[str, ColumnElement[Any]],
    chosen: ColumnElement[bool],
) -> CTE:
    """Select groups of rows: old values (`old_` columns), new values, and number of rows."""
    old = [columns[name].label(f"old_{name}") for name in _GROUPED[model]]
    new = [after.get(name, columns[name]).label(name) for name in _KEPT[model]]
    rows = select(*old, *new).where(chosen).subquery()
    return select(*rows.c, func.count().label("rows")).group_by(*rows.c).cte("moved")


def _expression(value: Any) -> ColumnElement[Any]:  # noqa: ANN401 - a value or an expression
    return value if isinstance(value, ColumnElement) else literal(str(value))


def _counting(parts: _Parts, moved: CTE) -> Any:  # noqa: ANN401 - an INSERT
    part = union_all(*parts(moved)).subquery("part")
    by = [part.c.name, part.c.mailing_id, part.c.key]
    change = func.sum(part.c.change)
    counted = select(*by, change).group_by(*by).having(change != 0)
    return insert(_tally).from_select(_COLUMNS, counted)


def _part(
    name: Name,
    key: ColumnElement[Any],
    change: ColumnElement[Any],
    mailing_id: ColumnElement[Any] | None = None,
) -> Select[Any]:
    return select(
        literal(name.value).label("name"),
        (literal(0) if mailing_id is None else mailing_id).label("mailing_id"),
        key.label("key"),
        change.label("change"),
    )


def _of_delivery(moved: FromClause, is_undone: bool) -> list[Select[Any]]:  # noqa: FBT001 - private
    kept = moved.c
    became = kept.old_state if is_undone else kept.state
    was = kept.state if is_undone else kept.old_state
    times = -kept.rows if is_undone else kept.rows
    is_event = (became == State.UNKNOWN.value) & (was != State.UNKNOWN.value)
    return [
        _part(Name.DELIVERY, kept.old_state, -kept.rows, kept.mailing_id),
        _part(Name.DELIVERY, kept.state, kept.rows, kept.mailing_id),
        _part(Name.ENDED, became, times, kept.mailing_id).where(is_event),
    ]


def _of_reader(moved: FromClause, now: datetime) -> list[Select[Any]]:
    kept = moved.c
    return [
        *_readers_of(_reader_key(kept.old_cadence, kept.old_status), -kept.rows, now),
        *_readers_of(_reader_key(kept.cadence, kept.status), kept.rows, now),
    ]


def _readers_of(
    key: ColumnElement[Any], change: ColumnElement[Any], now: datetime
) -> list[Select[Any]]:
    day = literal(of_day_key(now, ""))
    return [_part(Name.READER, key, change), _part(Name.DAY, day + key, change)]


def _reader_key(cadence: ColumnElement[Any], status: ColumnElement[Any]) -> ColumnElement[Any]:
    return cadence + literal(" ") + status


# Compaction


def release(session: Session, workers: Iterable[int]) -> None:
    """Let `fold` replace the rows of workers that have ended."""
    session.execute(
        update_rows(TallyPart)
        .where(col(TallyPart.worker_id).in_(list(workers)))
        .values(worker_id=null())
    )


def fold(session: Session) -> None:
    """Replace rows that were added by their sums, up to 10,000 of them.

    On PostgreSQL, only one transaction at a time does this; others return at once, without waiting.
    No other function changes folded rows.
    """
    if is_sqlite(session.connection()):
        steps = [f"{_FOLD_INTO} FROM ({_ADDED}) AS gone {_SUMS}", _FORGET]
    else:
        is_free = text(f"SELECT pg_try_advisory_xact_lock({_FOLDS})")
        if not session.execute(is_free).scalar_one():
            return
        steps = [f"WITH gone AS ({_FORGET} RETURNING *) {_FOLD_INTO} FROM gone {_SUMS}"]
    *_, last = [session.execute(text(step)) for step in steps]
    if getattr(last, "rowcount", 0):
        session.execute(text(f"DELETE FROM tally WHERE worker_id = {_FOLDED} AND change = 0"))


_ADDED = f"SELECT * FROM tally WHERE worker_id IS NULL ORDER BY id LIMIT {_FOLD}"
_FORGET = f"DELETE FROM tally WHERE id IN (SELECT id FROM ({_ADDED}) AS added)"
_FOLD_INTO = f"""
    INSERT INTO tally (worker_id, name, mailing_id, key, change)
    SELECT {_FOLDED}, gone.name, gone.mailing_id, gone.key, sum(gone.change)
"""
_SUMS = """
    GROUP BY gone.name, gone.mailing_id, gone.key HAVING sum(gone.change) <> 0
    ON CONFLICT (worker_id, name, mailing_id, key)
    DO UPDATE SET change = tally.change + excluded.change
"""


# Correction


class Wrong(NamedTuple):
    """A count that was wrong, because rows were changed manually or by another version."""

    name: str
    mailing_id: int
    key: str
    #: The true number minus the kept count.
    missing: int


def correct(session: Session, *, now: datetime) -> list[Wrong]:
    """Recount deliveries and readers, correct their counts, and return the wrong ones.

    Scans both tables without blocking other transactions, except by SQLite's write lock: one
    statement reads the rows and their counts in the same snapshot, and the difference is added. Of
    readers by day, it is added to the present day, as nobody knows when the rows were changed.
    """
    if not is_sqlite(session.connection()):
        # Only one transaction at a time, or the same difference would be added twice.
        session.execute(text(f"SELECT pg_advisory_xact_lock({_FOLDS})"))
    kept = [of(name).add_columns(literal(name.value)) for name in (Name.DELIVERY, Name.READER)]
    kept_parts = union_all(*kept, _all_days()).subquery()
    mailing_id, key, change, name = kept_parts.c
    both = union_all(*_there(), select(mailing_id, key, -change, name)).subquery()
    mailing_id, key, change, name = both.c
    by, missing = (name, mailing_id, key), func.sum(change)
    found = session.execute(
        select(*by, missing).group_by(*by).having(missing != 0).order_by(*by)
    ).all()
    wrong = [Wrong(name, mailing_id, key, int(more)) for name, mailing_id, key, more in found]
    for one in wrong:
        there = of_day_key(now, one.key) if one.name == Name.DAY else one.key
        add(session, Name(one.name), {there: one.missing}, mailing_id=one.mailing_id)
    return wrong


def _all_days() -> Select[Any]:
    """Select the parts of the counts of readers by day, without the day."""
    parts = of(Name.DAY).subquery()
    mailing_id, key, change = parts.c
    return select(mailing_id, func.substr(key, _DAY + 2), change, literal(Name.DAY.value))


def _there() -> list[Select[Any]]:
    """Select mailing_id, key, number of rows and name."""
    reader_key = _reader_key(_subscribers.c.cadence, _subscribers.c.status)
    readers = select(reader_key.label("key"), func.count().label("rows")).group_by(reader_key)
    counted = readers.cte("readers")
    by = (col(Delivery.mailing_id), col(Delivery.state))
    rows: list[Any] = [*by, func.count(), literal(Name.DELIVERY.value)]
    pruned: list[list[Any]] = [
        [col(Mailing.id), literal(state.value), column, literal(Name.DELIVERY.value)]
        for state, column in PRUNED.items()
    ]
    return [
        *(
            select(literal(0), counted.c.key, counted.c.rows, literal(name.value))
            for name in (Name.READER, Name.DAY)
        ),
        select(*rows).group_by(*by),
        *(select(*each).where(each[2] > 0) for each in pruned),
    ]


# Reading


def of(name: Name) -> Select[Any]:
    """Select mailing_id, key and change: the parts of counts, not summed."""
    columns: list[Any] = [col(TallyPart.mailing_id), col(TallyPart.key), col(TallyPart.change)]
    return select(*columns).where(col(TallyPart.name) == name.value)


def _sums(session: Session, name: Name) -> dict[str, int]:
    """Return counts by key in the order of keys, without zeros."""
    key, change = col(TallyPart.key), func.sum(col(TallyPart.change))
    found = session.execute(
        select(key, change).where(col(TallyPart.name) == name.value).group_by(key).order_by(key)
    )
    return {key: int(count) for key, count in found if count}


def readers(session: Session) -> dict[tuple[Cadence, Status], int]:
    """Return how many subscribers there are, by cadence and status."""
    found = _sums(session, Name.READER).items()
    return {(Cadence(cadence), Status(status)): count for (cadence, status), count in _split(found)}


def replies(session: Session) -> dict[tuple[str, str, str], int]:
    """Return the number of tries by phase, kind of outcome and reaction; never decreases."""
    found = _sums(session, Name.REPLY).items()
    return {(phase, kind, reaction): count for (phase, kind, reaction), count in _split(found)}


def suppressions(session: Session) -> dict[str, int]:
    """Return how often addresses were suppressed, by cause; never decreases."""
    return _sums(session, Name.SUPPRESSION)


def reports(session: Session) -> dict[tuple[str, str], int]:
    """Return the number of reports by source and kind; never decreases."""
    found = _sums(session, Name.REPORT).items()
    return {(source, kind): count for (source, kind), count in _split(found)}


def unplaced_reports(session: Session) -> dict[str, int]:
    """Return the number of reports without a known delivery, by source; never decreases."""
    return _sums(session, Name.UNPLACED)


def _split(sums: Iterable[tuple[str, int]]) -> Iterator[tuple[list[str], int]]:
    return ((key.split(" "), count) for key, count in sums)
