"""Decides why feeds are fetched now, and waits while another process is fetching.

An edition is not made during a fetch, as it would miss articles.
"""

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
from newsletter.editions import periods
from newsletter.publication import Publication
from newsletter.sender.shutdown import Shutdown

if TYPE_CHECKING:
    from newsletter.articles.ingest import Result

#: Maximum wait of an edition for the fetch of another process, which may be suspended.
PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 1.0


def occasion(engine: Engine, *, now: datetime, publication: Publication) -> Occasion:
    """Return the occasion of a fetch now: an edition that is due, or single feeds that are due."""
    due = periods.due_editions(engine, now=now, publication=publication)
    return polling.before_edition(max(one.due_at for one in due)) if due else polling.ROUTINE


def complete(
    fetched: list[Result] | Elsewhere,
    engine: Engine,
    limits: Limits,
    *,
    now: datetime,
    occasion: Occasion,
    shutdown: Shutdown,
    meanwhile: Callable[[], object] = lambda: None,
) -> list[Result] | Elsewhere:
    """If an edition is due and another process is fetching, wait for that fetch."""
    if fetched is not Elsewhere.RUNNING or not occasion.is_whole:
        return fetched
    return wait(engine, limits, now=now, occasion=occasion, shutdown=shutdown, meanwhile=meanwhile)


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
    """Wait until another process has fetched the feeds, at most a minute; first call `meanwhile`.

    If that process crashes, this one fetches the feeds and returns the results. Returns RUNNING if
    the other process is still fetching after the minute, or this one is to stop.
    """
    end = clock() + PATIENCE_SECONDS
    meanwhile()
    while not shutdown.is_wanted:
        found = turn.fetch_all(
            engine, limits, now, occasion=occasion, is_stopped=lambda: shutdown.is_wanted
        )
        if found is not Elsewhere.RUNNING or clock() >= end:
            return found
        shutdown.wait(_LOOK_SECONDS)
    return Elsewhere.RUNNING
