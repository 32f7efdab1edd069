"""Decides which unknown articles wait for the operator instead of going out.

Feeds republish everything under new names, back-date, post-date, and import archives; readers
must not get weeks of old posts because of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from newsletter.articles import text
from newsletter.articles.item import ParsedArticle


class Reason(StrEnum):
    """Why an article waits."""

    ANCIENT = "ancient"
    FUTURE = "future"
    REPUBLISHED = "republished"
    FLOOD = "flood"


@dataclass(frozen=True)
class Rules:
    """From where on an article is suspicious."""

    future: timedelta = timedelta(days=1)
    ancient: timedelta = timedelta(days=31)
    #: How many ancient articles a feed brings along on its first fetch.
    ancient_at_first: int = 20
    #: More unknown articles at once, none known, are a flood.
    flood: int = 20


@dataclass(frozen=True)
class Background:
    """What is stored about the feed that unknown articles came from."""

    is_first: bool
    #: Whether anything in the document is known already.
    knows_any: bool
    #: What `text.title_key` makes of the titles of the feed's articles.
    titles: frozenset[str] = frozenset()
    #: Those titles that two or more articles went out with: columns that bear their own name.
    columns: frozenset[str] = frozenset()


def reasons(
    articles: Sequence[ParsedArticle],
    background: Background,
    *,
    now: datetime,
    rules: Rules = Rules(),
) -> list[Reason | None]:
    """Return for each unknown article why it waits, or None if it goes out."""
    welcome = _newest_ancient(articles, now, rules) if background.is_first else frozenset[int]()
    titles = set(background.titles)
    found: list[Reason | None] = []
    for position, article in enumerate(articles):
        reason = None if position in welcome else _by_date(article, now, rules)
        key = text.title_key(article.title)
        # What a reader sees may also be the same to the last letter: then so is the title.
        if reason is None and key in titles and key not in background.columns:
            reason = Reason.REPUBLISHED
        if not background.is_first:
            titles.add(key)
        found.append(reason)
    is_flood = len(articles) > rules.flood and not background.is_first and not background.knows_any
    return [reason or Reason.FLOOD for reason in found] if is_flood else found


def _by_date(article: ParsedArticle, now: datetime, rules: Rules) -> Reason | None:
    if article.published_at is None:
        return None
    if article.published_at > now + rules.future:
        return Reason.FUTURE
    return Reason.ANCIENT if article.published_at < now - rules.ancient else None


def _newest_ancient(
    articles: Sequence[ParsedArticle], now: datetime, rules: Rules
) -> frozenset[int]:
    dated = [
        (article.published_at, -position)
        for position, article in enumerate(articles)
        if article.published_at and _by_date(article, now, rules) is Reason.ANCIENT
    ]
    return frozenset(-position for _, position in sorted(dated)[-rules.ancient_at_first :])
