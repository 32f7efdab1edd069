"""Notices of `newsletter cron` about feeds: on the first failure, then daily, and on recovery.

`Feed.reported_at` has the time of the last notice, so that runs on all machines share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from newsletter.articles import link, store
from newsletter.articles.polling import WaitsFor
from newsletter.db import session as sessions
from newsletter.models import Feed

#: Two minutes less than a day, because a cron job starts some seconds early or late.
_DAILY = timedelta(days=1, minutes=-2)


@dataclass(frozen=True)
class Notice:
    """One sentence about one feed."""

    feed_id: int
    #: Without user and password.
    url: str
    sentence: str
    is_failing: bool


def take(engine: Engine, now: datetime) -> list[Notice]:
    """Return the notices that are due, and record in the same transaction that they were given."""
    with sessions.reading(engine) as session:
        if not any(_is_news(one, now) for one in store.feeds(session)):
            return []
    with sessions.writing(engine) as session:
        news = [one for one in store.feeds(session) if _is_news(one, now)]
        notices = [_notice(feed) for feed in news]
        for feed in news:
            feed.reported_at = now if feed.error else None
    return notices


def _is_news(feed: Feed, now: datetime) -> bool:
    if feed.error is None or feed.reported_at is None:
        return (feed.error is None) != (feed.reported_at is None)
    # A time in the future was written before the clock was set back.
    is_recent = now - _DAILY < feed.reported_at <= now
    return feed.waits_for != WaitsFor.GONE and not is_recent


def _notice(feed: Feed) -> Notice:
    assert feed.id is not None
    if feed.error is None:
        sentence = f"{feed.title}: the feed is well again."
    elif feed.reported_at is None:
        sentence = f"{feed.title}: {feed.error}"
    else:
        sentence = f"{feed.title}: still fails, {feed.failures:,} times in a row: {feed.error}"
    return Notice(feed.id, link.masked(feed.url), sentence, is_failing=feed.error is not None)
