"""Who is sending: workers sign in, keep their lease, and the dead are found.

A worker holds a lock on a file of its own for as long as it lives; the kernel drops that lock when
the process ends, however it ends. So on the same machine a worker is known to be dead, or alive,
at once and for certain; from another machine it is dead once its lease has run out.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import update
from sqlmodel import Session, col, select

from newsletter import paths
from newsletter.delivery import ledger
from newsletter.delivery.retry import Policy
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
    """Hold the lock that says this worker lives; its file stays until somebody forgets it.

    A worker whose database is away or full when it ends leaves rows behind, and so is known to be
    dead at once.
    """
    path = _lock_file(name)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def new_name() -> str:
    """Return a name that no other worker has."""
    return secrets.token_hex(16)


def sign_in(session: Session, *, name: str, now: datetime) -> Presence:
    """Add this process to the roster."""
    worker = Worker(
        # Never an id that was in use before: rows and verdicts go by it.
        id=1 + secrets.randbits(62),
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


def take_over_dead(session: Session, *, policy: Policy, now: datetime) -> list[Presence]:
    """Settle what dead workers held and strike them off; `forget` them after the commit.

    That includes workers that were struck off and claimed once more before they noticed.
    """
    holders = ledger.holders(session)
    struck_off = holders - set(session.exec(select(Worker.id)))
    dead = [
        Presence(worker.id, worker.name)
        for worker in session.exec(select(Worker).with_for_update(skip_locked=True))
        if worker.id is not None and _is_dead(worker, now)
    ]
    ids = struck_off | {presence.id for presence in dead}
    ledger.take_over(session, dead=ids, policy=policy, now=now)
    return dead


def forget(names: Iterable[str]) -> None:
    """Remove the lock files of workers that hold no rows: theirs have been taken over.

    Not earlier: until then the file is how the next to look knows that they died.
    """
    for name in names:
        with contextlib.suppress(OSError):
            _lock_file(name).unlink()


def _is_dead(worker: Worker, now: datetime) -> bool:
    is_locked = _is_locked(_lock_file(worker.name))
    if is_locked is None:
        return worker.lease_until < now
    return not is_locked


def _is_locked(path: Path) -> bool | None:
    """Tell whether somebody holds the lock; None if this machine has no such file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Shared: two that look at the same time must not take each other for the worker.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock_file(name: str) -> Path:
    return paths.run_folder() / f"worker-{name}.lock"
