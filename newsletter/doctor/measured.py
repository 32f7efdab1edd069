"""Measures the values of this machine and its database that `machine` judges."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, text
from sqlmodel import Session, col, select

from newsletter import cadences, clock
from newsletter.articles import link
from newsletter.articles import store as articles
from newsletter.db.engine import is_sqlite
from newsletter.doctor.machine import Disk, Polled, Returns
from newsletter.doctor.standing import Standing
from newsletter.editions import store as editions
from newsletter.feedback import notices
from newsletter.models import Article, Feed
from newsletter.settings import Settings

#: Maximum age of an edition that counts as recent.
_LATELY = timedelta(days=7)
#: The settings for returned mail; one of them is enough.
_SOURCES = (
    "feedback_url", "ses_topics", "sendgrid_key", "postmark_login", "mailgun_key", "resend_key",
    "generic_hook_key",
)  # fmt: skip


def ahead_of_database(engine: Engine) -> timedelta | None:
    """Return by how much this machine's clock is ahead of the database server's.

    None for SQLite, which has no server.
    """
    if is_sqlite(engine):
        return None
    with engine.connect() as connection:
        before = clock.utc_now()
        theirs: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        after = clock.utc_now()
    # The server read its clock at an unknown instant between `before` and `after`.
    return before + (after - before) / 2 - theirs


def disk(engine: Engine) -> Disk | None:
    """Return the disk space for the database file; None for PostgreSQL or if unknown."""
    if not is_sqlite(engine):
        return None
    folder = Path(engine.url.database or "").resolve().parent
    try:
        return Disk(folder=str(folder), free=shutil.disk_usage(folder).free)
    except OSError:
        return None


def polled(session: Session) -> list[Polled]:
    """Return all feeds, with the time at which each was last read."""
    return [_polled(one) for one in articles.feeds(session)]


def has_articles(session: Session) -> bool:
    """Return whether there is any article."""
    return session.exec(select(col(Article.id)).limit(1)).first() is not None


def returns(session: Session, standing: Standing, settings: Settings, now: datetime) -> Returns:
    """Return the number of recently sent mails, and when mail was last returned."""
    times = settings.send_times
    lately = [
        one.accepted
        for cadence, one in standing.last.items()
        if one is not None
        and now - cadences.due_at(cadences.Cadence(cadence), one.period, times) <= _LATELY
    ]
    return Returns(
        sent=sum(lately),
        heard_at=notices.heard_at(session),
        began_at=editions.began_at(session),
        is_read=any(getattr(settings, name) for name in _SOURCES),
    )


def _polled(feed: Feed) -> Polled:
    return Polled(
        name=feed.title or link.masked(feed.url),
        read_at=feed.succeeded_at or feed.added_at,
        is_failing=bool(feed.error),
    )
