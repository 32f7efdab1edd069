"""Simulated workers without a process, which claim, mark and record rows as a committer does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter.db import session as sessions
from newsletter.ledger import queue, recovery
from newsletter.ledger.holding import Hold
from newsletter.ledger.queue import Claim, Verdict
from newsletter.ledger.retry import Policy
from newsletter.models import Holding, Worker

#: The holds of the workers that were used so far, by id.
_holds: WeakKeyDictionary[Engine, dict[int, Hold]] = WeakKeyDictionary()


def hold_of(engine: Engine, worker_id: int) -> Hold:
    """Return the hold of a worker, which is registered by the first call."""
    holds = _holds.setdefault(engine, {})
    if worker_id not in holds:
        with sessions.writing(engine) as session:
            if session.get(Worker, worker_id) is None:
                register(session, worker_id)
        holds[worker_id] = Hold(worker_id)
    return holds[worker_id]


def register(session: Session, worker_id: int, *, lease_until: datetime | None = None) -> None:
    """Register a worker with an id, as if on a machine whose processes cannot be checked."""
    long_ago = datetime.fromisoformat("2026-01-01T00:00:00Z")
    session.add(
        Worker(
            id=worker_id,
            name=f"worker {worker_id}",
            host="elsewhere",
            pid=0,
            started_at=long_ago,
            lease_until=lease_until or long_ago + timedelta(days=3650),
        )
    )
    session.flush()
    session.add(Holding(worker_id=worker_id))


@contextmanager
def working(
    engine: Engine,
    worker: int | Hold,
    *,
    ended: Iterable[int] = (),
    marked: Collection[int] = (),
    is_repeated: bool = False,
) -> Iterator[tuple[Session, Hold]]:
    """Yield the session of one of a worker's transactions, and the worker's hold."""
    hold = hold_of(engine, worker) if isinstance(worker, int) else worker
    with sessions.writing(engine) as session:
        hold.begin(session, ended=ended, marked=marked, is_repeated=is_repeated)
        yield session, hold
        hold.store(session)
    hold.keep()


def claim(
    engine: Engine, worker: int | Hold = 1, *, limit: int, now: datetime, **narrowed: Any
) -> list[Claim]:
    """Claim up to `limit` rows."""
    with working(engine, worker) as (session, hold):
        return queue.claim(session, hold, limit=limit, now=now, **narrowed)


def mark(
    engine: Engine, ids: Collection[int], worker: int | Hold = 1, *, now: datetime
) -> set[int]:
    """Mark rows, and return those that may be sent."""
    with working(engine, worker, marked=ids) as (session, hold):
        return queue.mark(session, hold, ids=ids, now=now)


def record(
    engine: Engine, verdicts: Sequence[Verdict], worker: int | Hold = 1, *, now: datetime
) -> None:
    """Write outcomes."""
    ids = [verdict.delivery_id for verdict in verdicts]
    with working(engine, worker, ended=ids) as (session, hold):
        queue.record(session, hold, verdicts=verdicts, now=now)


def put_back(
    engine: Engine, blocked: Mapping[int, str | None], worker: int | Hold = 1, *, now: datetime
) -> None:
    """Give rows back, each with its blocked domain or None."""
    with working(engine, worker, ended=blocked) as (session, hold):
        queue.put_back(session, hold, blocked_domains=blocked, now=now)


def take_over(engine: Engine, *dead: int, policy: Policy = "resend", now: datetime) -> None:
    """Settle the rows of crashed workers."""
    with sessions.writing(engine) as session:
        recovery.take_over(session, dead=dead, policy=policy, now=now)
    for worker_id in dead:
        _holds.get(engine, {}).pop(worker_id, None)
