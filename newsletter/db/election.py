"""Leader election among processes, by a lock that is released when its holder ends."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Self

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from newsletter.db import lockfile
from newsletter.db.engine import explained, is_sqlite


class LeaderLock:
    """The lock of one election; the process that holds it is the leader.

    On PostgreSQL an advisory lock, which the server releases when the connection ends; on SQLite,
    which has one machine, a file lock. `name` identifies the election, in at most eight ASCII
    characters.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        # PostgreSQL identifies an advisory lock by a 64-bit number, within one database.
        self._key = int.from_bytes(name.encode("ascii"))
        self._connection: Connection | None = None
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._resign()

    def is_elected(self) -> bool:
        """Return whether this process is the leader; takes the lock if it is free.

        Raises DatabaseUnavailable.
        """
        return self._holds_file() if is_sqlite(self._engine) else self._holds_advisory()

    def _holds_advisory(self) -> bool:
        try:
            with explained():
                if self._connection is not None:
                    # The lock is held for as long as the connection is open.
                    self._connection.execute(text("SELECT 1"))
                    return True
                connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                lock = text("SELECT pg_try_advisory_lock(:key)").bindparams(key=self._key)
                if connection.execute(lock).scalar():
                    self._connection = connection
                    return True
                connection.close()
        except Exception:
            self._resign()
            raise
        return False

    def _holds_file(self) -> bool:
        if self._descriptor is None:
            try:
                self._descriptor = lockfile.take(self._engine, self._name)
            except BlockingIOError:
                return False
            except OSError:
                # Without a lock file each process is a leader: work is then done twice, safely.
                return True
        return True

    def _resign(self) -> None:
        if self._connection is not None:
            # Explicitly: the server may notice the closed connection later.
            with suppress(SQLAlchemyError):
                self._connection.execute(text("SELECT pg_advisory_unlock_all()"))
            # Not returned to the pool: a lock left on the connection would stay held.
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
