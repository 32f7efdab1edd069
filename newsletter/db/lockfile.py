"""Lock files: the kernel releases the lock when the process that holds it ends, however it ends.

Those of a SQLite database lie beside it, as its write-ahead log does; those of a PostgreSQL
database in this user's state folder. Neither place depends on whether a process was started by a
session, by cron or by systemd, as XDG_RUNTIME_DIR and TMPDIR do, and in neither can another user
make a file first. A file that is missing, or of another machine, says nothing about its process.
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

#: A number that Linux draws at each boot.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def take(engine: Engine, name: str) -> int:
    """Lock a file and return its descriptor; closing that releases the lock.

    Raises BlockingIOError if another process holds it, and any other OSError, which names the
    folder, if there is no place for a lock file that another user cannot lock first.
    """
    path = _path(engine, name)
    try:
        return _take(engine, path)
    except BlockingIOError:
        raise
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, str(path.parent)) from exc


def is_held(engine: Engine, name: str) -> bool | None:
    """Tell whether a process holds the lock; None if that cannot be told from here.

    It cannot where the file is missing or unreadable. A lock that is free says nothing if another
    machine, or this one before its last boot, made the file: home folders are shared by machines
    that do not see each other's locks.
    """
    try:
        descriptor = os.open(_path(engine, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Shared: two that look at the same time must not take each other for the holder.
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
    """Remove the file of a process that nobody asks about any more, if it can be removed."""
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
    """Give the file to the database's owner, as SQLite does with its log, and refuse a stranger's.

    So what root has locked once is no obstacle to the user that sends every day.
    """
    found, user = os.fstat(descriptor), os.geteuid()
    if not is_sqlite(engine):
        # The folder is this user's alone.
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
    """Name this machine, and its boot where that has a name: its locks ended with the last one."""
    with suppress(OSError):
        return _BOOT_ID.read_bytes().strip()
    return socket.gethostname().encode()
