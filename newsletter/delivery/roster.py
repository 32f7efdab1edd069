"""Who is sending: workers sign in, keep their lease, and the dead are found.

A worker holds a lock on a file of its own for as long as it lives; the kernel drops that lock when
the process ends, however it ends. So on the same machine a dead worker is known at once and for
certain; from another machine, once its lease has run out.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import update
from sqlmodel import Session, col, select

from newsletter import paths
from newsletter.models import Worker

#: How long a worker that does not renew its lease is believed to live.
LEASE = timedelta(minutes=3)
#: How often a living worker renews it.
RENEWAL = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Presence:
    """A signed-in worker."""

    id: int
    name: str


@contextmanager
def alive(name: str) -> Iterator[None]:
    """Hold the lock that says this worker lives."""
    path = _lock_file(name)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def new_name() -> str:
    """Return a name that no other worker has."""
    return secrets.token_hex(16)


def sign_in(session: Session, *, name: str, now: datetime) -> Presence:
    """Add this process to the roster."""
    worker = Worker(
        name=name,
        host=socket.gethostname()[:64],
        pid=os.getpid(),
        started_at=now,
        lease_until=now + LEASE,
    )
    session.add(worker)
    session.flush()
    assert worker.id is not None
    return Presence(worker.id, name)


def renew(session: Session, presence: Presence, *, now: datetime) -> bool:
    """Extend the lease; answer False if somebody has taken this worker for dead."""
    renewed = session.execute(
        update(Worker).where(col(Worker.id) == presence.id).values(lease_until=now + LEASE)
    )
    return bool(getattr(renewed, "rowcount", 0))


def sign_out(session: Session, presence: Presence) -> None:
    """Leave the roster."""
    session.execute(Worker.__table__.delete().where(col(Worker.id) == presence.id))  # type: ignore[attr-defined]  # SQLModel adds __table__


def dead(session: Session, *, now: datetime) -> list[int]:
    """Return the ids of workers that have died: here for certain, elsewhere by their lease."""
    return [
        worker.id
        for worker in session.exec(select(Worker).with_for_update(skip_locked=True))
        if worker.id is not None and (worker.lease_until < now or _has_died(worker.name))
    ]


def _has_died(name: str) -> bool:
    """Tell whether this machine has the worker's lock file and nobody holds the lock."""
    path = _lock_file(name)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        with contextlib.suppress(OSError):
            path.unlink()
        return True
    finally:
        os.close(descriptor)


def _lock_file(name: str) -> Path:
    return paths.run_folder() / f"worker-{name}.lock"
