"""Who is at work: workers and web processes sign in, keep their lease, and the dead are found.

A worker holds a lock on a file of its own for as long as it lives; the kernel drops that lock when
the process ends, however it ends. So on the same machine a worker is known to be dead, or alive,
at once and for certain; from another machine, or where it has no such file, it is dead once its
lease has run out.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, delete, update
from sqlmodel import Session, col, select

from newsletter.db import lockfile, schema
from newsletter.ledger import queue
from newsletter.ledger.retry import Policy
from newsletter.models import ProcessKind, Worker
from newsletter.version import VERSION

#: Told of trouble: a sentence, and the way out.
Trouble = Callable[[str, str | None], None]

#: How long a worker that does not renew its lease is believed to live.
LEASE = timedelta(minutes=3)
#: How often a living worker renews it.
RENEWAL = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Registration:
    """A signed-in worker."""

    id: int
    name: str


@contextmanager
def liveness_lock(
    engine: Engine, name: str, *, on_trouble: Trouble | None = None
) -> Iterator[None]:
    """Hold the lock that says this worker lives; its file stays until somebody forgets it.

    A worker whose database is away or full when it ends leaves rows behind, and so is known to be
    dead at once. Without a place for the file its lease alone says that it lives, and `on_trouble`
    is told so, once in a process.
    """
    descriptor: int | None = None
    try:
        descriptor = lockfile.take(engine, _lock(name))
    except OSError as exc:
        _tell_once(on_trouble, exc)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def new_name() -> str:
    """Return a name that no other worker has."""
    return secrets.token_hex(16)


def sign_in(
    session: Session, *, name: str, now: datetime, kind: ProcessKind = ProcessKind.WORKER
) -> Registration:
    """Add this process to the roster; raises SchemaOutOfDate if the database was upgraded since.

    In this order: an upgrade looks at the roster while it keeps others from signing in, so either
    it sees this process, or this process sees it.
    """
    worker = Worker(
        # Never an id that was in use before: rows and verdicts go by it.
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
    return Registration(worker.id, name)


def renew(session: Session, registration: Registration, *, now: datetime) -> bool:
    """Extend the lease; answer False if somebody has taken this worker for dead.

    Raises SchemaOutOfDate if the database was upgraded while this process was suspended.
    """
    renewed = session.execute(
        update(Worker).where(col(Worker.id) == registration.id).values(lease_until=now + LEASE)
    )
    schema.require(session)
    return bool(getattr(renewed, "rowcount", 0))


def sign_out(session: Session, registration: Registration) -> None:
    """Take a process off the roster that holds no deliveries."""
    session.execute(delete(Worker).where(col(Worker.id) == registration.id))


def take_over_dead(session: Session, *, policy: Policy, now: datetime) -> list[Registration]:
    """Settle what dead workers held and strike them off; `forget` them after the commit.

    That includes workers that were struck off and claimed once more before they noticed.
    """
    holders = queue.holders(session)
    struck_off = holders - set(session.exec(select(Worker.id)))
    engine = session.connection().engine
    dead = [
        Registration(worker.id, worker.name)
        for worker in session.exec(select(Worker).with_for_update(skip_locked=True))
        if worker.id is not None
        and not is_alive(engine, name=worker.name, lease_until=worker.lease_until, now=now)
    ]
    ids = struck_off | {registration.id for registration in dead}
    queue.take_over(session, dead=ids, policy=policy, now=now)
    return dead


def forget(engine: Engine, names: Iterable[str]) -> None:
    """Remove the lock files of workers that hold no rows: theirs have been taken over.

    Not earlier: until then the file is how the next to look knows that they died.
    """
    for name in names:
        lockfile.remove(engine, _lock(name))


def is_alive(engine: Engine, *, name: str, lease_until: datetime, now: datetime) -> bool:
    """Tell whether a worker lives: by its lock if that is to be seen here, else by its lease."""
    is_held = is_seen(engine, name)
    return lease_until >= now if is_held is None else is_held


def is_seen(engine: Engine, name: str) -> bool | None:
    """Tell whether a process of this machine lives; None if that cannot be seen from here."""
    return lockfile.is_held(engine, _lock(name))


def _lock(name: str) -> str:
    return f"worker-{name}"


#: What this process has told already: a worker that stays begins again and again.
_told: set[str] = set()


def _tell_once(on_trouble: Trouble | None, exc: OSError) -> None:
    if on_trouble is None or str(exc) in _told:
        return
    _told.add(str(exc))
    on_trouble(
        f"No lock file can be kept in {exc.filename} ({exc.strerror}). Sending goes on; if this "
        f"process is killed, what it holds waits for {LEASE // timedelta(minutes=1)} minutes.",
        "Look at the owner and mode of that folder; with PostgreSQL, XDG_STATE_HOME can name "
        "another one.",
    )
