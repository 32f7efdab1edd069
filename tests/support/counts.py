"""Compares the kept counts with the rows in the database."""

from __future__ import annotations

import importlib.util
from collections import Counter
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, case, delete, func, insert, literal, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col

from newsletter import paths
from newsletter.db import session as sessions
from newsletter.errors import NewsletterError
from newsletter.models import (
    Consent,
    Delivery,
    Mailing,
    Report,
    State,
    Subscriber,
    Suppression,
    TallyPart,
)
from newsletter.tally import Name

#: SQL by dialect and name: to compile it for each test takes longer than the test's own queries.
_compiled: dict[tuple[str, Name], str] = {}
#: Counts by name, mailing and key.
Counts = Counter[tuple[str, int, str]]

_PRUNED = {
    State.ACCEPTED: col(Mailing.pruned_accepted),
    State.REFUSED: col(Mailing.pruned_refused),
    State.SKIPPED: col(Mailing.pruned_skipped),
    State.CANCELLED: col(Mailing.pruned_cancelled),
}


def assert_counts_are_true(engine: Engine) -> None:
    """Compare each count in a single statement, since transactions may commit between two."""
    with sessions.reading(engine) as session:
        for name in (Name.DELIVERY, Name.READER, Name.DAY):
            found = _side_by_side(session, name)
            wrong = {key: counts for key, counts in found.items() if counts[0] != counts[1]}
            assert not wrong, f"{name}: kept and counted differ: {wrong}"
        for name in (Name.ENDED, Name.SUPPRESSION, Name.REPORT, Name.UNPLACED, Name.EVENT):
            found = _side_by_side(session, name)
            fewer = {key: counts for key, counts in found.items() if counts[0] < counts[1]}
            assert not fewer, f"{name}: fewer are kept than there are: {fewer}"


def recount(session: Session | Connection) -> None:
    """Correct the kept counts after a test changed rows directly."""
    if isinstance(session, Session):
        session.flush()
    for name in Name:
        if name in {Name.REPLY, Name.SINCE}:
            continue
        session.execute(delete(TallyPart).where(col(TallyPart.name) == name.value))
        if name in {Name.DAY, Name.EVENT}:
            continue
        rows = [
            {"name": name.value, "mailing_id": mailing_id, "key": key, "change": change}
            for mailing_id, key, change in session.execute(_counted(name, ""))
        ]
        if rows:
            session.execute(insert(TallyPart), rows)
    connection = session.connection() if isinstance(session, Session) else session
    for statement in _days().filling(connection.dialect.name):
        session.execute(text(statement))


@cache
def _days() -> Any:
    """Return the migration that counts the days of the rows that are there."""
    path = paths.MIGRATIONS / "versions" / "0028_days.py"
    spec = importlib.util.spec_from_file_location("days", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_kept(engine: Engine) -> bool:
    """Return whether the database has the tables of this version."""
    with engine.connect() as connection:
        try:
            connection.exec_driver_sql("SELECT 1 FROM subscriber LIMIT 1")
            found = connection.exec_driver_sql("SELECT 1 FROM tally WHERE name = 'since'")
        except (SQLAlchemyError, NewsletterError):
            return False
        return found.first() is not None


def _side_by_side(session: Session, name: Name) -> dict[tuple[int, str], tuple[int, int]]:
    """Return kept and actual counts, by mailing and key."""
    connection = session.connection()
    sql = _compiled.get((connection.dialect.name, name))
    if sql is None:
        compiled = _both(name, connection.dialect.name).compile(
            dialect=connection.dialect, compile_kwargs={"literal_binds": True}
        )
        sql = _compiled[connection.dialect.name, name] = str(compiled)
    found = connection.exec_driver_sql(sql)
    return {(one, word): (int(kept), int(there)) for one, word, kept, there in found}


def _both(name: Name, dialect: str) -> Any:
    change = col(TallyPart.change)
    columns: list[Any] = [col(TallyPart.mailing_id), _kept_key(name), change, change * 0]
    kept = select(*columns).where(col(TallyPart.name) == name.value)
    counted = _counted(name, dialect).subquery()
    of_id, key, number = counted.c
    both = kept.union_all(select(of_id, key, number * 0, number)).subquery()
    of_id, key, first, second = both.c
    return select(of_id, key, func.sum(first), func.sum(second)).group_by(of_id, key)


def _kept_key(name: Name) -> Any:
    """Return the key, without the day of readers, and without the way of an event."""
    key = col(TallyPart.key)
    if name is Name.DAY:
        return func.substr(key, len("2026-12-01 ") + 1)
    if name is Name.EVENT:
        words = ("unsubscribed", "suppressed")
        short = [
            (key.contains(one), func.substr(key, 1, len(f"2026-12-01 {one}"))) for one in words
        ]
        return case(*short, else_=key)
    return key


def _counted(name: Name, dialect: str) -> Any:
    nothing = literal(0)
    if name is Name.EVENT:
        at: Any = Consent.at
        utc = func.timezone("UTC", at)
        day = func.substr(at, 1, 10) if dialect == "sqlite" else func.to_char(utc, "YYYY-MM-DD")
        event = day + " " + col(Consent.action)
        return select(nothing, event, func.count()).group_by(event)
    if name is Name.DELIVERY:
        by = (col(Delivery.mailing_id), col(Delivery.state))
        standing = select(*by, func.count()).group_by(*by)
        gone = [
            select(col(Mailing.id), literal(state.value), pruned).where(pruned > 0)
            for state, pruned in _PRUNED.items()
        ]
        return standing.union_all(*gone)
    if name is Name.ENDED:
        by = (col(Delivery.mailing_id), col(Delivery.state))
        return select(*by, func.count()).where(by[1] == State.UNKNOWN).group_by(*by)
    columns: Any = {
        Name.READER: (Subscriber.cadence, Subscriber.status),
        Name.DAY: (Subscriber.cadence, Subscriber.status),
        Name.SUPPRESSION: (Suppression.cause,),
        Name.REPORT: (Report.source, Report.kind),
        Name.UNPLACED: (Report.source,),
    }[name]
    key = columns[0] if len(columns) == 1 else columns[0] + " " + columns[1]
    found = select(nothing, key, func.count()).group_by(*columns)
    return found.where(col(Report.delivery_id).is_(None)) if name is Name.UNPLACED else found
