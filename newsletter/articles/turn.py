"""Fetches the feeds in turn: one process at a time does, and what it brings counts for all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import Enum, auto
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from newsletter.articles import polling, store
from newsletter.articles.limits import Limits
from newsletter.articles.polling import Occasion
from newsletter.clock import utc_now
from newsletter.db import session as sessions
from newsletter.db.election import LeaderLock

if TYPE_CHECKING:
    from newsletter.articles.ingest import Result


class Elsewhere(Enum):
    """Why this process has not fetched the feeds: another one does."""

    RUNNING = auto()
    DONE = auto()


def fetch_all(
    engine: Engine,
    limits: Limits,
    now: datetime,
    *,
    occasion: Occasion = polling.BY_HAND,
    is_stopped: Callable[[], bool] = lambda: False,
) -> list[Result] | Elsewhere:
    """Fetch the feeds of an occasion and return how each went, unless another process is at it.

    A fetch of every feed that has ended since `now`, when this run began, counts as its own. One
    whose process was killed or stopped has not ended, and the feeds are fetched again. Raises
    DatabaseUnavailable.
    """
    with LeaderLock(engine, "fetch") as candidate:
        if not candidate.is_elected():
            return Elsewhere.RUNNING
        with sessions.reading(engine) as session:
            ended_at = store.fetch_ended_at(session)
        # Not in the future: the clock may have been set back since.
        if ended_at is not None and now < ended_at <= utc_now():
            return Elsewhere.DONE
        results = _fetch(engine, limits, now, occasion, is_stopped)
        if occasion.is_whole and not is_stopped():
            with sessions.writing(engine) as session:
                store.end_fetch(session, utc_now())
        return results


def _fetch(
    engine: Engine,
    limits: Limits,
    now: datetime,
    occasion: Occasion,
    is_stopped: Callable[[], bool],
) -> list[Result]:
    with sessions.reading(engine) as session:
        if not any(polling.is_wanted(one, occasion, now=now) for one in store.feeds(session)):
            return []
    # Most runs of cron find no feed to ask: they do not take the time to import what reads one.
    from newsletter.articles import ingest  # noqa: PLC0415

    return ingest.fetch_all(engine, limits, now, occasion=occasion, is_stopped=is_stopped)
