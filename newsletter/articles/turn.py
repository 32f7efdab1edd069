"""Leader election for fetching: one process at a time fetches the feeds, on behalf of all."""

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
    """Another process is fetching the feeds, or has done it."""

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
    """Fetch the feeds of an occasion and return the results, unless another process is fetching.

    If another process has completed a fetch of all feeds after `now`, the start of this run, they
    are not fetched again. A fetch that was killed or stopped does not count as completed. Raises
    DatabaseUnavailable.
    """
    with LeaderLock(engine, "fetch") as lock:
        if not lock.is_elected():
            return Elsewhere.RUNNING
        with sessions.reading(engine) as session:
            ended_at = store.fetch_ended_at(session)
        # A time in the future was written before the clock was set back.
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
    # Imported late, because it is slow and most runs of cron have no feed to fetch.
    from newsletter.articles import ingest  # noqa: PLC0415

    return ingest.fetch_all(engine, limits, now, occasion=occasion, is_stopped=is_stopped)
