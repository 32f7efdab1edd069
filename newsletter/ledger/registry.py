"""Registry of running processes: registration, leases with heartbeats, detection of crashes.

Each process holds a lock on a file of its own (the liveness lock), which the kernel releases when
the process ends, for whatever reason. On the same machine that lock decides at once whether a
process is running. From another machine, or without such a file, a process counts as crashed when
its lease has expired: LEASE after its last heartbeat, which is due every RENEWAL.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Engine, or_, update
from sqlmodel import Session, col, select

from newsletter.db import lockfile, schema
from newsletter.db import session as sessions
from newsletter.ledger import holding, recovery
from newsletter.ledger.retry import Policy
from newsletter.logs import events, in_words
from newsletter.models import Holding, ProcessKind, Progress, Worker
from newsletter.version import VERSION

#: Callback for a problem: what happened, and what to do about it.
Trouble = Callable[[str, str | None], None]

#: Time for which a registration is valid without a heartbeat.
LEASE = timedelta(minutes=3)
#: Interval of the heartbeat, which renews the lease.
RENEWAL = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Registration:
    """A registered process."""

    id: int
    name: str


class Workers(NamedTuple):
    """The numbers of running and crashed workers."""

    running: int
    lost: int


@contextmanager
def liveness_lock(
    engine: Engine, name: str, *, on_trouble: Trouble | None = None
) -> Iterator[None]:
    """Hold the liveness lock of this process; its file stays until `forget` removes it.

    The file outlives the process so that rows which it could not release (the database was
    unavailable or full) are taken over at once. If the file cannot be created, the lease alone
    decides, and `on_trouble` is called once per process.
    """
    descriptor: int | None = None
    try:
        descriptor = lockfile.take(engine, _lock(name))
    except OSError as exc:
        _report_once(on_trouble, exc)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def new_name() -> str:
    """Return a new random name for a registration."""
    return secrets.token_hex(16)


def sign_in(
    session: Session, *, name: str, now: datetime, kind: ProcessKind = ProcessKind.WORKER
) -> Registration:
    """Insert this process, then check the schema; raises SchemaOutOfDate after an upgrade.

    The order matters, because an upgrade reads the table while it blocks registrations: either the
    upgrade finds this row, or this process finds the new schema.
    """
    worker = Worker(
        # A random id is never reused, so a worker that was taken for crashed finds no row of its
        # own.
        id=1 + secrets.randbits(62),
        name=name,
        kind=kind,
        version=VERSION[:32],
        host=socket.gethostname()[:64],
        pid=os.getpid(),
        started_at=now,
        lease_until=now + LEASE,
    )
    session.add(worker)
    session.flush()
    schema.require(session)
    assert worker.id is not None
    sessions.after_commit(
        session, partial(events.WORKER_SIGNED_IN, worker=shown(name), kind=kind, version=VERSION)
    )
    if kind is ProcessKind.WORKER:
        session.add(Holding(worker_id=worker.id))
    return Registration(worker.id, name)


def renew(session: Session, registration: Registration, *, now: datetime) -> bool:
    """Extend the lease (the heartbeat); return False if another worker took over this one's rows.

    Raises SchemaOutOfDate if the database was upgraded while this process was suspended.
    """
    renewed = session.execute(
        update(Worker).where(col(Worker.id) == registration.id).values(lease_until=now + LEASE)
    )
    schema.require(session)
    return bool(getattr(renewed, "rowcount", 0))


def note_end(session: Session, ended_at: datetime | None) -> None:
    """Store when this worker last got a server's reply about a delivery, if it got one.

    Lock order: the progress row is taken first in its transaction (`restore_guard.sending`).
    """
    if ended_at is not None:
        earlier = or_(col(Progress.ended_at).is_(None), col(Progress.ended_at) < ended_at)
        session.execute(update(Progress).where(earlier).values(ended_at=ended_at))


def sign_out(session: Session, registration: Registration) -> None:
    """Delete the registration of a process that holds no deliveries."""
    holding.delete_workers(session, [registration.id])
    name = shown(registration.name)
    sessions.after_commit(
        session, partial(events.WORKER_SIGNED_OUT, worker=name, kind=ProcessKind.WEB)
    )


def shown(name: str) -> str:
    """Return the name of a process as shown in logs."""
    return name[:8]


def count(session: Session, *, now: datetime) -> Workers:
    """Return how many workers are running, and how many have crashed and wait for a take-over."""
    chosen = select(Worker).where(Worker.kind == ProcessKind.WORKER)
    workers = session.exec(chosen).all()
    lost = len([*_crashed(session, workers, now)])
    return Workers(len(workers) - lost, lost)


def listed(session: Session) -> list[Worker]:
    """Return the registered processes, the longest running first."""
    return list(session.exec(select(Worker).order_by(col(Worker.started_at), col(Worker.id))))


def take_over_dead(session: Session, *, policy: Policy, now: datetime) -> list[Registration]:
    """Take over the rows of crashed workers and delete them; `forget` them after the commit.

    Lock order: worker rows before delivery rows. Only rows of workers that seem dead are locked,
    since each living one needs its own for every commit; those that another transaction holds are
    skipped, so two workers never wait for each other here.
    """
    seem_dead = [worker.id for worker in _dead(session, select(Worker), now)]
    chosen = select(Worker).where(col(Worker.id).in_(seem_dead)).with_for_update(skip_locked=True)
    # Checked again after locking, because a worker may have renewed its lease meanwhile.
    fresh = chosen.execution_options(populate_existing=True)
    dead = [
        Registration(worker.id, worker.name)
        for worker in (_dead(session, fresh, now) if seem_dead else ())
        if worker.id is not None
    ]
    recovery.take_over(session, dead={one.id for one in dead}, policy=policy, now=now)
    for one in dead:
        sessions.after_commit(session, partial(events.WORKER_TOOK_OVER, worker=shown(one.name)))
    return dead


def _dead(session: Session, chosen: Any, now: datetime) -> Iterator[Worker]:  # noqa: ANN401 - a query
    return _crashed(session, session.exec(chosen).all(), now)


def _crashed(session: Session, workers: Iterable[Worker], now: datetime) -> Iterator[Worker]:
    engine = session.connection().engine
    for worker in workers:
        if not is_alive(engine, name=worker.name, lease_until=worker.lease_until, now=now):
            yield worker


def forget(engine: Engine, names: Iterable[str]) -> None:
    """Remove the lock files of workers whose rows have been taken over.

    To be called after the commit of the take-over: until then the file shows that they crashed.
    """
    for name in names:
        lockfile.remove(engine, _lock(name))


def is_alive(engine: Engine, *, name: str, lease_until: datetime, now: datetime) -> bool:
    """Return whether a process is running, by its liveness lock if visible, else by its lease."""
    is_held = is_seen(engine, name)
    return lease_until >= now if is_held is None else is_held


def is_seen(engine: Engine, name: str) -> bool | None:
    """Return whether a process holds its liveness lock; None if not visible from this machine."""
    return lockfile.is_held(engine, _lock(name))


def _lock(name: str) -> str:
    return f"worker-{name}"


#: Errors that this process has reported already, as a long-running worker restarts its loop.
_told: set[str] = set()


def _report_once(on_trouble: Trouble | None, exc: OSError) -> None:
    if str(exc) in _told:
        return
    _told.add(str(exc))
    sentence = (
        f"No lock file can be kept in {exc.filename} ({exc.strerror}). Sending goes on; if this "
        f"process is killed, what it holds waits for {LEASE // timedelta(minutes=1)} minutes."
    )
    hint = (
        "Look at the owner and mode of that folder; with PostgreSQL, XDG_STATE_HOME can name "
        "another one."
    )
    events.WORKER_UNLOCKED(message=in_words(sentence, hint))
    if on_trouble is not None:
        on_trouble(sentence, hint)
