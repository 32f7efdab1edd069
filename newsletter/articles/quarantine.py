"""Decides which unknown articles wait for the operator instead of going out.

Feeds republish everything under new names, back-date, post-date, and import archives; readers
must not get weeks of old posts because of that.
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
    """Why an article waits."""

    ANCIENT = "ancient"
    FUTURE = "future"
    REPUBLISHED = "republished"
    ARCHIVE = "archive"
    FLOOD = "flood"


@dataclass(frozen=True)
class QuarantineRules:
    """From where on an article is suspicious."""

    future: timedelta = timedelta(days=1)
    ancient: timedelta = timedelta(days=31)
    #: How many articles a feed brings along on its first fetch, the newest.
    at_first: int = 20
    #: More unknown articles at once are a flood, whatever else is known.
    flood: int = 20
    #: More that go out in a day are one, too.
    flood_per_day: int = 50
    #: No more wait in a day; what comes beyond that is not taken in.
    waiting_per_day: int = 200
    day: timedelta = timedelta(days=1)
    #: How far back a feed's busiest day is looked for.
    memory_days: int = 31


@dataclass(frozen=True)
class Arrivals:
    """The articles of one feed that were taken in at one instant, after its first fetch."""

    at: datetime
    #: How many of them have gone out, also by approval, and how many still wait.
    out: int
    waiting: int


@dataclass(frozen=True)
class Traffic:
    """How much a feed has brought lately."""

    out_today: int = 0
    waiting_today: int = 0
    #: The most that went out on one of the last days.
    busiest: int = 0


@dataclass(frozen=True)
class Background:
    """What is stored about the feed that unknown articles came from."""

    is_first: bool
    #: What `text.title_key` makes of the titles of the feed's articles.
    titles: frozenset[str] = frozenset()
    #: Those titles that two or more articles went out with: columns that bear their own name.
    columns: frozenset[str] = frozenset()
    traffic: Traffic = Traffic()


def traffic(
    arrivals: Iterable[Arrivals], *, now: datetime, rules: QuarantineRules = QuarantineRules()
) -> Traffic:
    """Sum up a feed's arrivals; a day is any 24 hours, counted back from now."""
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
    """Return for each unknown article why it waits, or None if it goes out."""
    titles = set(background.titles)
    found: list[Reason | None] = []
    for article in articles:
        reason = _by_date(article, now, rules)
        key = text.title_key(article.title)
        # What a reader sees may also be the same to the last letter: then so is the title.
        if reason is None and key in titles and key not in background.columns:
            reason = Reason.REPUBLISHED
        if not background.is_first:
            titles.add(key)
        found.append(reason)
    if background.is_first:
        return _newest_only(articles, found, rules)
    # As many as the operator has let out on one day before are no flood.
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
    """Return the positions of those articles that are taken in.

    All that go out, and of those that wait the newest, until a day's share is full. A first fetch
    is taken in whole: what is known of the archive cannot be mistaken for news later.
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
    """Let the newest articles of a first fetch out, however old, and no others."""
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
    """Order positions by date, those without one last; where dates do not tell, as they stand."""

    def age(position: int) -> float:
        published_at = articles[position].published_at
        return -published_at.timestamp() if published_at else math.inf

    return sorted(positions, key=age)
