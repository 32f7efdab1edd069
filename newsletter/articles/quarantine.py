"""Decides which new articles go into quarantine until the operator approves them. Pure functions.

Feeds republish everything with new GUIDs, back-date, post-date, and import archives; readers must
not get weeks of old posts because of that.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from newsletter.articles import text

if TYPE_CHECKING:
    from newsletter.articles.item import ParsedArticle


class Reason(StrEnum):
    """Why an article is in quarantine."""

    ANCIENT = "ancient"
    FUTURE = "future"
    REPUBLISHED = "republished"
    ARCHIVE = "archive"
    FLOOD = "flood"


@dataclass(frozen=True)
class QuarantineRules:
    """The limits above which new articles are suspicious."""

    future: timedelta = timedelta(days=1)
    ancient: timedelta = timedelta(days=31)
    #: The number of articles, the newest ones, that go out from a feed's first fetch.
    at_first: int = 20
    #: More new articles in one fetch are a flood.
    flood: int = 20
    #: More new articles in a day are a flood.
    flood_per_day: int = 50
    #: More articles in quarantine in a day are not stored.
    waiting_per_day: int = 200
    day: timedelta = timedelta(days=1)
    #: How far back the busiest day of a feed counts.
    memory_days: int = 31


@dataclass(frozen=True)
class Arrivals:
    """The articles of one feed that were stored at one instant, after its first fetch."""

    at: datetime
    #: How many have gone out, also by approval, and how many are in quarantine.
    out: int
    waiting: int


@dataclass(frozen=True)
class Traffic:
    """The recent number of new articles of a feed."""

    out_today: int = 0
    waiting_today: int = 0
    #: The maximum that went out on one of the last days.
    busiest: int = 0


@dataclass(frozen=True)
class Background:
    """The stored state of a feed that decides about its new articles."""

    is_first: bool
    #: The `text.title_key` of the feed's stored articles.
    titles: frozenset[str] = frozenset()
    #: The `titles` under which two or more articles went out, such as a column's name.
    columns: frozenset[str] = frozenset()
    traffic: Traffic = Traffic()


def traffic(
    arrivals: Iterable[Arrivals], *, now: datetime, rules: QuarantineRules = QuarantineRules()
) -> Traffic:
    """Sum up a feed's arrivals by periods of 24 hours before now."""
    out: Counter[int] = Counter()
    waiting: Counter[int] = Counter()
    for one in arrivals:
        days_ago = max(0, (now - one.at) // rules.day)
        out[days_ago] += one.out
        waiting[days_ago] += one.waiting
    return Traffic(out[0], waiting[0], max(out.values(), default=0))


def reasons(
    articles: Sequence[ParsedArticle],
    background: Background,
    *,
    now: datetime,
    rules: QuarantineRules = QuarantineRules(),
) -> list[Reason | None]:
    """Return for each new article the reason for quarantine, or None if it goes out."""
    titles = set(background.titles)
    found: list[Reason | None] = []
    for article in articles:
        reason = _by_date(article, now, rules)
        key = text.title_key(article.title)
        # Only titles are compared: an article with the same content has the same title.
        if reason is None and key in titles and key not in background.columns:
            reason = Reason.REPUBLISHED
        if not background.is_first:
            titles.add(key)
        found.append(reason)
    if background.is_first:
        return _newest_only(articles, found, rules)
    # Not a flood: no more articles than went out on one earlier day, also by approval.
    busiest = background.traffic.busiest
    room = max(rules.flood_per_day, busiest) - background.traffic.out_today
    if len(articles) > max(rules.flood, busiest):
        room = 0
    out = _newest_first(articles, [at for at, reason in enumerate(found) if reason is None])
    for position in out[max(0, room) :]:
        found[position] = Reason.FLOOD
    return found


def admitted(
    articles: Sequence[ParsedArticle],
    why: Sequence[Reason | None],
    background: Background,
    *,
    rules: QuarantineRules = QuarantineRules(),
) -> list[int]:
    """Return the positions of the articles to store.

    These are all articles that go out, and the newest ones of those in quarantine, up to
    `waiting_per_day`. A first fetch is stored whole: a known archive cannot be mistaken for new
    articles later.
    """
    waiting = [position for position, reason in enumerate(why) if reason]
    room = max(0, rules.waiting_per_day - background.traffic.waiting_today)
    if background.is_first or len(waiting) <= room:
        return list(range(len(articles)))
    kept = set(_newest_first(articles, waiting)[:room])
    return [position for position, reason in enumerate(why) if not reason or position in kept]


def _newest_only(
    articles: Sequence[ParsedArticle], found: Sequence[Reason | None], rules: QuarantineRules
) -> list[Reason | None]:
    """Let only the newest articles of a first fetch go out, whatever their age."""
    could_go = [at for at, reason in enumerate(found) if reason in {None, Reason.ANCIENT}]
    why = list(found)
    for place, position in enumerate(_newest_first(articles, could_go)):
        why[position] = None if place < rules.at_first else Reason.ARCHIVE
    return why


def _by_date(article: ParsedArticle, now: datetime, rules: QuarantineRules) -> Reason | None:
    if article.published_at is None:
        return None
    if article.published_at > now + rules.future:
        return Reason.FUTURE
    return Reason.ANCIENT if article.published_at < now - rules.ancient else None


def _newest_first(articles: Sequence[ParsedArticle], positions: Iterable[int]) -> list[int]:
    """Sort positions by date, the newest first and those without one last; the sort is stable."""

    def age(position: int) -> float:
        published_at = articles[position].published_at
        return -published_at.timestamp() if published_at else math.inf

    return sorted(positions, key=age)
