"""What an operator does with feeds: use cases, each with its audit row."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine

from newsletter import audit
from newsletter.articles import ingest, link, polling, store, turn
from newsletter.articles.ingest import Result
from newsletter.articles.limits import Limits
from newsletter.articles.turn import Elsewhere
from newsletter.db import session as sessions


def add(
    engine: Engine,
    source: str,
    limits: Limits,
    now: datetime,
    *,
    actor: str,
    is_fetched: bool = True,
) -> Result:
    """Add a feed; arguments and errors are those of `ingest.add_feed`."""
    result = ingest.add_feed(engine, source, limits, now, is_fetched=is_fetched)
    with sessions.writing(engine) as session:
        subjects = {f"feed:{result.feed_id}": result.title}
        after = link.masked(result.url)
        audit.record(session, "feeds.add", subjects, actor=actor, at=now, after=after)
    return result


def remove(engine: Engine, feed_id: int, now: datetime, *, actor: str) -> tuple[str, int]:
    """Remove a feed; return its title, and how many articles stay. Raises NotFound."""
    with sessions.writing(engine) as session:
        feed = store.feed(session, feed_id)
        title, before = feed.title, link.masked(feed.url)
        kept = store.article_counts(session).get(feed_id, 0)
        store.remove_feed(session, feed_id)
        subjects = {f"feed:{feed_id}": title}
        audit.record(session, "feeds.remove", subjects, actor=actor, at=now, before=before)
    return title, kept


def fetch(
    engine: Engine, feed_id: int, limits: Limits, now: datetime, *, actor: str
) -> Result | Elsewhere:
    """Fetch one feed now, in any state, unless another process is fetching. Raises NotFound."""
    with sessions.writing(engine) as session:
        subjects = {f"feed:{feed_id}": store.feed(session, feed_id).title}
        audit.record(session, "feeds.fetch", subjects, actor=actor, at=now)
    found = turn.fetch_all(engine, limits, now, occasion=polling.Occasion(feed_id=feed_id))
    if isinstance(found, Elsewhere):
        return found
    return found[0] if found else Elsewhere.DONE
