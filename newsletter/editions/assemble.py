"""Decides which articles an edition has for which readers, and when it is made. Pure functions.

Readers with the same watermark get the same articles, and readers with the same articles get the
same bytes. Such a group of readers is a variant; nearly all readers are in one variant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from newsletter import cadences
from newsletter.articles import text
from newsletter.cadences import Cadence, SendTimes
from newsletter.models import Article
from newsletter.rendering.content import DigestContent, Image, Related, Story
from newsletter.rendering.selection import MOST_SHOWN

#: Maximum number of related articles below the lead.
RELATED = 3


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The readers of an edition who get the same articles."""

    #: Starts of the readers' coverage, oldest first; several if the same articles follow them.
    starts: tuple[datetime, ...]
    #: The articles, the lead first.
    articles: tuple[Article, ...]
    #: Number of articles found; the oldest are left out if `articles` has fewer.
    total: int
    readers: int

    @property
    def lead(self) -> Article:
        """The lead: the story at the top."""
        return self.articles[0]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The readers whose coverage has the same start, and the articles since then."""

    start: datetime
    readers: int
    articles: tuple[Article, ...]
    total: int


def window_start(cadence: Cadence, *, end: datetime, catch_up: timedelta) -> datetime:
    """Return the earliest start of coverage, which is at least one period before the end."""
    return end - max(catch_up, cadence.length)


def coverage_start(
    cadence: Cadence, *, end: datetime, covered: datetime | None, catch_up: timedelta
) -> datetime:
    """Return the start of coverage for readers without a watermark: the end of earlier editions."""
    if covered is None:
        return end - cadence.length
    return max(covered, window_start(cadence, end=end, catch_up=catch_up))


def in_turns(articles: Sequence[Article]) -> list[Article]:
    """Order articles so that a mail that cannot show all of them shows some of every feed.

    If it can show all, they are ordered by date, the newest first. Otherwise they are ordered
    round-robin: the newest article of each feed, then the second of each, and so on; the newest of
    all is the lead.
    """
    if len(articles) <= MOST_SHOWN:
        return list(articles)
    turns: Counter[int | None] = Counter()
    placed = []
    for article in articles:
        placed.append((turns[article.feed_id], article))
        turns[article.feed_id] += 1
    return [article for _, article in sorted(placed, key=lambda one: one[0])]


def in_order(
    articles: Sequence[Article], *, pinned_after: datetime, order: Sequence[int] = ()
) -> list[Article]:
    """Order articles for a mail.

    One pinned after `pinned_after` is the lead; then come the ids of `order`, an editor's, in that
    order, and then the others, the newest first. Ids that are not among the articles do not count.
    """
    places = {article_id: place for place, article_id in enumerate(order)}

    def key(one: Article) -> tuple[bool, int]:
        is_pinned = one.pinned_at is not None and one.pinned_at > pinned_after
        return not is_pinned, places.get(one.id or 0, len(places))

    return sorted(in_turns(articles), key=key)


def left_out(categories: Sequence[str], skipped: Sequence[str]) -> str | None:
    """Return an article's first category that editions leave out, ignoring case; None for none."""
    wanted = {text.clean(name).casefold() for name in skipped}
    return next((name for name in categories if name.casefold() in wanted), None)


def variants(batches: Sequence[Batch], *, min_articles: int) -> list[Variant]:
    """Join batches with equal articles, the largest first; drop those with too few articles."""
    found: dict[tuple[int | None, ...], list[Batch]] = {}
    for batch in batches:
        if batch.total >= min_articles:
            found.setdefault(tuple(one.id for one in batch.articles), []).append(batch)
    joined = [
        Variant(
            starts=tuple(sorted(batch.start for batch in group)),
            articles=group[0].articles,
            total=group[0].total,
            readers=sum(batch.readers for batch in group),
        )
        for group in found.values()
    ]
    return sorted(joined, key=lambda variant: (-variant.readers, variant.starts))


def why_skipped(
    cadence: Cadence, batches: Sequence[Batch], *, readers: int, min_articles: int
) -> str:
    """Return the reason, as a sentence, why an edition without a variant is not sent."""
    if not readers:
        return f"No active reader has chosen {cadence}."
    if not batches:
        return f"An earlier edition is still on its way to every {cadence} reader."
    most = max(batch.total for batch in batches)
    if not most:
        return "There are no new articles."
    return f"New articles: {most}. An edition needs at least {min_articles} (min_articles)."


def is_due(
    cadence: Cadence, *, now: datetime, times: SendTimes, tolerance: timedelta, since: datetime
) -> bool:
    """Return whether the newest period's edition is to be made by schedule.

    It is not if it is later than the tolerance, or was due before the publication was set up: a new
    installation must not send an old period.
    """
    due_at = cadences.due_at(cadence, cadences.newest_due(cadence, now, times), times)
    return due_at >= since and now - due_at <= tolerance


def content(
    variant: Variant,
    *,
    cadence: Cadence,
    period: date,
    end: datetime,
    related: Sequence[Article],
    times: SendTimes,
    skipped: Collection[date] = (),
    is_first: bool = False,
    note: str = "",
) -> DigestContent:
    """Return the content of the mail of one variant, with dates in the publication's time zone.

    The first edition of a cadence has the articles that its feeds had when they were added, however
    old, so its dateline names the days of its articles. `skipped` are future periods without an
    edition.
    """
    covers_from, covers_to = cadences.covered_dates(variant.starts[-1], end, times)
    stories = tuple(story(article, times) for article in variant.articles)
    days = [one.published_on for one in stories if is_first and one.published_on]
    return DigestContent(
        cadence=cadence,
        period_on=period,
        covers_from=min([covers_from, *days]),
        covers_to=max([covers_to, *days]),
        reaches_back=any(day < covers_from for day in days),
        stories=stories,
        related=tuple(
            Related(title=one.shown_title, url=one.link, minutes=one.minutes) for one in related
        ),
        total_stories=variant.total,
        next_on=cadences.next_due(cadence, end, times, skipped=skipped),
        note=note,
    )


def story(article: Article, times: SendTimes) -> Story:
    """Return an article in the form that mails show."""
    return Story(
        title=article.shown_title,
        url=article.link,
        minutes=article.minutes,
        standfirst=article.shown_standfirst,
        source=article.source,
        category=next(iter(article.categories), None),
        image=_image(article),
        published_on=_published_on(article, times),
    )


def _published_on(article: Article, times: SendTimes) -> date | None:
    """Return the local date of an article's publication, or of its arrival if that is earlier.

    If one of the two is unknown, the other one is returned; None if both are.
    """
    known = [at for at in (article.published_at, article.seen_at) if at is not None]
    return min(known).astimezone(times.zone).date() if known else None


def _image(article: Article) -> Image | None:
    if not article.image_url:
        return None
    return Image(
        url=article.image_url,
        alt=article.image_alt or "",
        width=article.image_width,
        height=article.image_height,
    )
