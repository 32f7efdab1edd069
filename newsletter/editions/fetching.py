"""Waits for a process that fetches the feeds, so that no edition is made during a fetch."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from newsletter.articles import polling, turn
from newsletter.articles.limits import Limits
from newsletter.articles.polling import Occasion
from newsletter.articles.turn import Elsewhere
from newsletter.sender.shutdown import Shutdown

if TYPE_CHECKING:
    from newsletter.articles.ingest import Result

#: How long an edition waits for the fetch of another process, which may be suspended.
PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 1.0


def wait(
    engine: Engine,
    limits: Limits,
    *,
    now: datetime,
    occasion: Occasion = polling.BY_HAND,
    shutdown: Shutdown,
    meanwhile: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Result] | Elsewhere:
    """Call `meanwhile`, then wait until another process has fetched the feeds, at most a minute.

    If that process crashes, fetches them here and returns the results. Returns RUNNING if the other
    process is still fetching after the minute, or if this process is shutting down.
    """
    end = clock() + PATIENCE_SECONDS
    meanwhile()
    while not shutdown.is_wanted:
        found = turn.fetch_all(
            engine, limits, now, occasion=occasion, is_stopped=lambda: shutdown.is_wanted
        )
        if found is not Elsewhere.RUNNING or clock() >= end:
            return found
        shutdown.wait(_POLL_SECONDS)
    return Elsewhere.RUNNING
