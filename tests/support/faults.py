"""Faults around a worker, injected into its process; see killable.py.

The product has no code for this. Each fault is derived from the seed in its order.
"""

from __future__ import annotations

import math
import random
import resource
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, event

from newsletter.clock import utc_now
from newsletter.db import engine as engines
from newsletter.sender import committer
from newsletter.sender.run_state import RunState
from newsletter.smtp import pool, session

#: SQLite's default for max_page_count, which is no limit.
_MOST_PAGES = 4_294_967_294
#: Divisor of a worker's waits for a mail server or a database to recover.
_HASTE = 100


def inflict(order: dict[str, Any], engine: Engine) -> Callable[[], datetime]:
    """Inject the faults of an order into this process; return the clock for its worker."""
    if order.get("patience"):
        _shorten(order["patience"])
    if order.get("disk"):
        Disk(**order["disk"]).begin(engine)
    return JumpingClock(**order["clock"]) if order.get("clock") else utc_now


def _shorten(patience: dict[str, float]) -> None:
    """Shorten the product's time-outs of minutes to seconds."""
    for name in ("MAIL", "RCPT", "DATA", "BODY", "QUIT", "STEP"):
        setattr(session, f"{name}_SECONDS", patience["smtp"])
    pool.CONNECT_SECONDS = patience["smtp"]
    engines.BUSY_SECONDS = patience["busy"]
    committer.PATIENCE_SECONDS = patience["database"]
    committer._PAUSE_SECONDS /= _HASTE
    wait = RunState.wait

    async def waited(self: RunState, seconds: float) -> None:
        await wait(self, seconds / _HASTE)

    RunState.wait = waited  # type: ignore[method-assign]


class JumpingClock:
    """A wall clock that is set forward and back, by minutes, hours or days."""

    def __init__(self, *, seed: int, jumps_per_second: float, ahead_days: float) -> None:
        self._rng = random.Random(seed)
        self._rate = jumps_per_second
        self._offset = timedelta(days=ahead_days)
        self._jumps_at = self._next_jump()
        # A thread of the committer also reads the clock.
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        with self._lock:
            if time.monotonic() >= self._jumps_at:
                unit = self._rng.choice(("minutes", "hours", "days"))
                self._offset += timedelta(**{unit: self._rng.uniform(-10, 10)})
                self._jumps_at = self._next_jump()
            return datetime.now(UTC) + self._offset

    def _next_jump(self) -> float:
        return time.monotonic() + self._rng.expovariate(self._rate) if self._rate else math.inf


class Disk:
    """A simulated full disk, from some transaction on, for a while.

    With `pages`, SQLite reports a full database during a statement that needs one more page. With
    `files`, the kernel does not let any file grow, which fails during a commit.
    """

    def __init__(self, *, by: str, transactions: int, seconds: float) -> None:
        self._by = by
        self._left = transactions
        self._seconds = seconds
        self._is_full = False

    def begin(self, engine: Engine) -> None:
        """Make the disk full while the worker writes."""
        event.listen(engine, "begin", self._pass)

    def _pass(self, connection: Connection) -> None:
        self._left -= 1
        if self._left == 0:
            self._fill(is_full=True)
            threading.Timer(self._seconds, self._fill, kwargs={"is_full": False}).start()
        if self._by == "pages":
            self._limit(connection)

    def _fill(self, *, is_full: bool) -> None:
        self._is_full = is_full
        if self._by == "files":
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0 if is_full else most, most))

    def _limit(self, connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        # SQLite replaces a number that is too small by the present number of pages.
        driver.execute(f"PRAGMA max_page_count = {1 if self._is_full else _MOST_PAGES}")
