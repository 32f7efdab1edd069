"""Determines the future editions that a pinned article will lead."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session

from newsletter.articles import store as articles
from newsletter.cadences import Cadence
from newsletter.editions import periods
from newsletter.models import Article, ArticleState
from newsletter.publication import Publication


def of(
    session: Session, *, now: datetime, publication: Publication
) -> tuple[Article, list[Cadence]] | None:
    """Return the pinned article and the cadences whose next edition it leads; None for none."""
    found = articles.pinned(session)
    if found is None or found.pinned_at is None:
        return None
    leads = to_come(session, found, pinned_at=found.pinned_at, now=now, publication=publication)
    return (found, leads) if leads else None


def to_come(
    session: Session,
    article: Article,
    *,
    pinned_at: datetime,
    now: datetime,
    publication: Publication,
) -> list[Cadence]:
    """Return the cadences whose next edition an article leads that was pinned at an instant."""
    found = []
    for cadence in Cadence:
        start = periods.coverage_start(session, cadence, end=now, publication=publication)
        is_new = article.state is ArticleState.HELD or (
            article.seen_at is not None and article.seen_at > start
        )
        if is_new and pinned_at > start:
            found.append(cadence)
    return found
