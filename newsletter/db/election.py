"""Elects one of many processes for what is to be done once, by a lock that its end gives back."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Self

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from newsletter.db import lockfile
from newsletter.db.engine import explained, is_sqlite


class LeaderLock:
    """One process's candidacy; its votes are counted each time that somebody asks.

    On PostgreSQL by an advisory lock, which the server takes back when the connection ends, however
    it ends; on SQLite, which has one machine, by a lock on a file. `name` is what the election is
    about, in at most eight ASCII characters: each has its own.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        # PostgreSQL's advisory locks are numbers, and count in one database.
        self._key = int.from_bytes(name.encode("ascii"))
        self._connection: Connection | None = None
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._resign()

    def is_elected(self) -> bool:
        """Tell whether this process holds the lock, and take it if nobody does.

        Raises DatabaseUnavailable.
        """
        return self._holds_file() if is_sqlite(self._engine) else self._holds_advisory()

    def _holds_advisory(self) -> bool:
        try:
            with explained():
                if self._connection is not None:
                    # The lock is lost with the connection, and with nothing else.
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
                # No election without a lock file. What is done twice then costs time, no more.
                return True
        return True

    def _resign(self) -> None:
        if self._connection is not None:
            # At once, and not when the server sees that the connection has ended.
            with suppress(SQLAlchemyError):
                self._connection.execute(text("SELECT pg_advisory_unlock_all()"))
            # Not given back to the pool: with it, a lock would stay.
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
