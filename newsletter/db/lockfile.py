"""Lock files: the kernel releases the lock when the process that holds it ends, for any reason.

For SQLite they are beside the database, as its write-ahead log is; for PostgreSQL in this user's
state folder. Unlike XDG_RUNTIME_DIR and TMPDIR, both places are the same for a process started by a
session, by cron or by systemd, and another user cannot create a file there first. A missing file,
or one of another machine, gives no information about its process.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

from sqlalchemy import Engine

from newsletter import paths
from newsletter.db.engine import is_sqlite

#: A random id that Linux generates at each boot.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def take(engine: Engine, name: str) -> int:
    """Lock a file and return its descriptor; closing that releases the lock.

    Raises BlockingIOError if another process holds the lock, and any other OSError, with the folder
    as its filename, if the file cannot be created safely.
    """
    path = _path(engine, name)
    try:
        return _take(engine, path)
    except BlockingIOError:
        raise
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, str(path.parent)) from exc


def is_held(engine: Engine, name: str) -> bool | None:
    """Return whether a process holds the lock; None if this machine cannot determine it.

    This is unknown if the file is missing or unreadable, or if the lock is free and the file was
    written by another machine or before the last boot: machines may share a home folder without
    sharing its locks.
    """
    try:
        descriptor = os.open(_path(engine, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Shared, so that two concurrent checks do not appear as holders to each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    else:
        return False if os.pread(descriptor, 256, 0) == _machine() else None
    finally:
        os.close(descriptor)


def remove(engine: Engine, name: str) -> None:
    """Remove a lock file that is no longer needed; errors are ignored."""
    with suppress(OSError):
        _path(engine, name).unlink()


def _take(engine: Engine, path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _own(engine, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _machine(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _path(engine: Engine, name: str) -> Path:
    if is_sqlite(engine):
        return Path(f"{_database(engine)}-{name}.lock")
    return paths.state_folder() / f"{name}.lock"


def _database(engine: Engine) -> Path:
    """Return the file of a SQLite database, the same for every spelling of its path."""
    return Path(engine.url.database or "").resolve()


def _own(engine: Engine, descriptor: int) -> None:
    """Give the file to the database's owner, as SQLite does with its log; refuse another user's.

    Otherwise a file created by root would keep the owner from locking it later.
    """
    found, user = os.fstat(descriptor), os.geteuid()
    if not is_sqlite(engine):
        # The state folder is private to this user.
        return
    database = _database(engine).stat()
    if found.st_uid not in {user, database.st_uid, 0}:
        raise PermissionError(errno.EPERM, "a lock file there belongs to another user")
    if found.st_uid == user and found.st_mode & 0o777 != database.st_mode & 0o666:
        os.fchmod(descriptor, database.st_mode & 0o666)
    if user == 0 and found.st_uid != database.st_uid:
        os.fchown(descriptor, database.st_uid, database.st_gid)


@cache
def _machine() -> bytes:
    """Return an id of this machine and, where available, of its boot, which ends all locks."""
    with suppress(OSError):
        return _BOOT_ID.read_bytes().strip()
    return socket.gethostname().encode()
