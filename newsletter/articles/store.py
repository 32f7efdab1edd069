"""All queries about feeds and articles. They take a Session and never commit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Text, case, cast, delete, func, insert, update
from sqlalchemy import select as select_columns
from sqlmodel import Session, and_, col, or_, select

from newsletter.articles import text
from newsletter.articles.known import Known
from newsletter.articles.quarantine import Arrivals
from newsletter.errors import NotFound
from newsletter.models import Article, ArticleAlias, ArticleState, Feed, FreezeLock

T = TypeVar("T")
# Values per statement: databases limit the number of parameters.
_CHUNK = 500


def add_feed(session: Session, *, url: str, title: str, now: datetime) -> Feed:
    """Add a feed and return it with its id."""
    feed = Feed(url=url, title=title, added_at=now)
    session.add(feed)
    session.flush()
    return feed


def feeds(session: Session) -> list[Feed]:
    """Return all feeds, the oldest first."""
    return list(session.exec(select(Feed).order_by(col(Feed.id))))


def find_feed(session: Session, *, url: str) -> Feed | None:
    """Return the feed with this URL or path, if there is one."""
    return session.exec(select(Feed).where(Feed.url == url)).one_or_none()


def feed(session: Session, feed_id: int) -> Feed:
    """Return a feed; raises NotFound."""
    found = session.get(Feed, feed_id)
    if found is None:
        raise NotFound(f"There is no feed {feed_id}.", hint="`newsletter feeds list` shows all.")
    return found


def remove_feed(session: Session, feed_id: int) -> None:
    """Remove a feed; its articles stay without a feed."""
    session.execute(update(Article).where(col(Article.feed_id) == feed_id).values(feed_id=None))
    session.execute(delete(ArticleAlias).where(col(ArticleAlias.feed_id) == feed_id))
    session.execute(delete(Feed).where(col(Feed.id) == feed_id))


def record_failure(
    session: Session, feed_id: int, *, now: datetime, changes: Mapping[str, Any]
) -> None:
    """Record a failed fetch; `changes` are its error, and when the feed is fetched next."""
    session.execute(
        update(Feed)
        .where(col(Feed.id) == feed_id)
        .values(fetched_at=now, failures=col(Feed.failures) + 1, **changes)
    )


def record_success(
    session: Session, feed_id: int, *, now: datetime, changes: Mapping[str, Any]
) -> None:
    """Record a successful fetch; `changes` are title, items, next fetch and the like."""
    session.execute(
        update(Feed)
        .where(col(Feed.id) == feed_id)
        .values(fetched_at=now, succeeded_at=now, error=None, failures=0, waits_for=None, **changes)
    )


def fetch_ended_at(session: Session) -> datetime | None:
    """Return when a process last completed a fetch of all feeds; None for never."""
    return session.exec(select(FreezeLock.fetched_at)).one()


def end_fetch(session: Session, now: datetime) -> None:
    """Record that all feeds have been fetched, successfully or not."""
    session.execute(update(FreezeLock).values(fetched_at=now))


def article_counts(session: Session) -> dict[int, int]:
    """Return how many articles each feed has."""
    rows = session.execute(
        select(Article.feed_id, func.count())
        .where(col(Article.feed_id).is_not(None))
        .group_by(col(Article.feed_id))
    )
    return {feed_id: count for feed_id, count in rows if feed_id is not None}


def has_articles(session: Session, feed_id: int) -> bool:
    """Return whether a feed has any article."""
    found = session.exec(select(Article.id).where(Article.feed_id == feed_id).limit(1)).first()
    return found is not None


def known(
    session: Session, *, feed_id: int, guids: Collection[str], links: Collection[str]
) -> list[Known]:
    """Return the articles and aliases with one of these GUIDs in a feed, or links in any feed."""
    found: dict[Known, None] = {}
    for chunk in _chunks(guids):
        own = and_(col(Article.feed_id) == feed_id, col(Article.guid).in_(chunk))
        found |= dict.fromkeys(_known(session, own))
        own = and_(col(ArticleAlias.feed_id) == feed_id, col(ArticleAlias.guid).in_(chunk))
        found |= dict.fromkeys(_aliases(session, own))
    for chunk in _chunks(links):
        found |= dict.fromkeys(_known(session, col(Article.link).in_(chunk)))
        found |= dict.fromkeys(_aliases(session, col(ArticleAlias.link).in_(chunk)))
    return list(found)


def anchored(session: Session, *, feed_id: int) -> Iterator[Known]:
    """Return the articles and aliases of a feed whose links have a fragment."""
    yield from _known(
        session, and_(col(Article.feed_id) == feed_id, col(Article.link).contains("#"))
    )
    yield from _aliases(
        session, and_(col(ArticleAlias.feed_id) == feed_id, col(ArticleAlias.link).contains("#"))
    )


def put_alias(session: Session, alias: ArticleAlias) -> None:
    """Insert or replace a feed's names for an article of another feed."""
    session.merge(alias)
    session.flush()


def title_keys(
    session: Session, *, feed_id: int, wanted: Collection[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the `wanted` titles that a feed's articles have, and those that went out twice."""
    keys: set[str] = set()
    sent: Counter[str] = Counter()
    rows = session.execute(
        select(Article.title, col(Article.seen_at).is_not(None)).where(Article.feed_id == feed_id),
        execution_options={"yield_per": 1_000},
    )
    for title, is_out in rows:
        key = text.title_key(title)
        if key in wanted:
            keys.add(key)
            sent[key] += bool(is_out)
    return frozenset(keys), frozenset(key for key, count in sent.items() if count >= 2)


def arrivals(session: Session, *, feed_id: int, since: datetime) -> list[Arrivals]:
    """Return the arrivals of a feed after an instant, and after its first fetch."""
    is_feeds = col(Article.feed_id) == feed_id
    created_at = col(Article.created_at)
    first: datetime | None = session.exec(select(func.min(created_at)).where(is_feeds)).one()
    if first is None:
        return []
    out, all_of_them = func.count(col(Article.seen_at)), func.count()
    rows = session.execute(
        select_columns(created_at, out, all_of_them - out)
        .where(is_feeds, created_at > max(since, first))
        .group_by(created_at)
    )
    return [Arrivals(*row) for row in rows]


def add_articles(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert articles, the newest of a document first."""
    for chunk in _chunks(rows):
        session.execute(insert(Article), [dict(row) for row in chunk])


def change_article(session: Session, article_id: int, changes: Mapping[str, Any]) -> None:
    """Update one article."""
    session.execute(update(Article).where(col(Article.id) == article_id).values(**changes))


def article(session: Session, article_id: int) -> Article:
    """Return an article; raises NotFound."""
    found = session.get(Article, article_id)
    if found is None:
        raise NotFound(
            f"There is no article {article_id}.", hint="`newsletter articles list` shows them."
        )
    return found


def find_articles(session: Session, *, link: str) -> list[Article]:
    """Return the articles of a canonical link, the latest first; several may share it."""
    found = select(Article).where(Article.link == link).order_by(col(Article.id).desc())
    return list(session.exec(found))


def articles(
    session: Session,
    *,
    state: ArticleState | None = None,
    feed_id: int | None = None,
    limit: int = 50,
    offset: int = 0,
) -> tuple[list[Article], int]:
    """Return one page of articles, the latest first, and the total number."""
    conditions: list[ColumnElement[bool]] = []
    if state is not None:
        conditions.append(is_in(state))
    if feed_id is not None:
        conditions.append(col(Article.feed_id) == feed_id)
    came_at = func.coalesce(col(Article.seen_at), col(Article.created_at))
    page = (
        select(Article)
        .where(*conditions)
        .order_by(came_at.desc(), _newest().desc(), col(Article.id))
        .limit(limit)
        .offset(offset)
    )
    total = session.exec(select(func.count()).select_from(Article).where(*conditions)).one()
    return list(session.exec(page)), total


def page(
    session: Session,
    *,
    state: ArticleState | None = None,
    feed_id: int | None = None,
    limit: int,
    before: int | None = None,
) -> list[Article]:
    """Return articles, the last stored first; with `before`, only those with a smaller id."""
    chosen = select(Article).order_by(col(Article.id).desc()).limit(limit)
    if state is not None:
        chosen = chosen.where(is_in(state))
    if feed_id is not None:
        chosen = chosen.where(Article.feed_id == feed_id)
    if before is not None:
        chosen = chosen.where(col(Article.id) < before)
    return list(session.exec(chosen))


def is_in(state: ArticleState) -> ColumnElement[bool]:
    """Return the SQL condition for a value of `Article.state`."""
    is_out, is_rejected, is_held = (
        col(column).is_not(None)
        for column in (Article.seen_at, Article.rejected_at, Article.held_at)
    )
    return {
        ArticleState.OUT: is_out,
        ArticleState.REJECTED: and_(~is_out, is_rejected),
        ArticleState.HELD: and_(~is_out, ~is_rejected, is_held),
        ArticleState.QUARANTINED: and_(~is_out, ~is_rejected, ~is_held),
    }[state]


def let_out(
    session: Session, ids: Collection[int] | None, *, state: ArticleState, seen_at: datetime
) -> list[int]:
    """Release articles that are quarantined or held, by `state`; all of them for None.

    `seen_at` must come from the freeze lock, so that it is after each reader's watermark. Returns
    the ids of those that were in that state; others stay unchanged.
    """
    released: list[int] = []
    for chunk in [None] if ids is None else _chunks(sorted(ids)):
        statement = update(Article).where(is_in(state))
        if chunk is not None:
            statement = statement.where(col(Article.id).in_(chunk))
        rows = session.execute(
            statement.values(
                seen_at=seen_at,
                quarantined_at=None,
                quarantine_reason=None,
                held_at=None,
                updated_at=seen_at,
            ).returning(col(Article.id))
        )
        released += [found for found in rows.scalars() if found is not None]
    return sorted(released)


def missing(session: Session, ids: Collection[int]) -> list[int]:
    """Return the ids to which there is no article."""
    found: set[int | None] = set()
    for chunk in _chunks(sorted(ids)):
        found |= set(session.exec(select(Article.id).where(col(Article.id).in_(chunk))))
    return sorted(set(ids) - found)


def by_ids(session: Session, ids: Collection[int]) -> list[Article]:
    """Return the articles with one of these ids, ordered by id; unknown ids are ignored."""
    found: list[Article] = []
    for chunk in _chunks(sorted(set(ids))):
        found += session.exec(
            select(Article).where(col(Article.id).in_(chunk)).order_by(col(Article.id))
        )
    return found


def pin(session: Session, article_id: int | None, *, at: datetime) -> None:
    """Pin one article and unpin all others; None pins none."""
    session.execute(
        update(Article).where(col(Article.pinned_at).is_not(None)).values(pinned_at=None)
    )
    if article_id is not None:
        change_article(session, article_id, {"pinned_at": at})


def pinned(session: Session) -> Article | None:
    """Return the pinned article, whether or not an edition has it already."""
    return session.exec(select(Article).where(col(Article.pinned_at).is_not(None))).first()


def count_in(session: Session, state: ArticleState) -> int:
    """Return how many articles are in a state."""
    return session.exec(select(func.count()).select_from(Article).where(is_in(state))).one()


def spellings(session: Session, names: Collection[str]) -> frozenset[str]:
    """Return all stored spellings of categories that equal one of `names`, ignoring case."""
    wanted = {text.clean(name).casefold() for name in names}
    if not wanted:
        return frozenset()
    # Cast to text: PostgreSQL cannot compare values of type JSON.
    stored = session.execute(
        select_columns(cast(col(Article.categories), Text))
        .where(col(Article.seen_at).is_not(None))
        .distinct()
    )
    found = {name for written in stored.scalars() for name in json.loads(written)}
    return frozenset(name for name in found if name.casefold() in wanted)


def between(
    session: Session,
    *,
    start: datetime,
    end: datetime,
    limit: int,
    without: Collection[str] = (),
    pinned_after: datetime | None = None,
) -> list[Article]:
    """Return the articles with start < seen_at <= end, the newest first.

    If there are more than `limit`, each feed has a fair share (round-robin): the newest article of
    each feed, then the second of each, and so on. Articles of a category in `without` are excluded;
    one pinned after `pinned_after` is always included.
    """
    by_age = _newest().desc(), col(Article.id)
    rank: ColumnElement[int] = func.row_number().over(
        partition_by=col(Article.feed_id), order_by=by_age
    )
    if pinned_after is not None:
        rank = case((col(Article.pinned_at) > pinned_after, 0), else_=rank)
    found = (
        select_columns(col(Article.id), rank.label("rank"), _newest().label("newest"))
        .where(*_covered(start, end, without))
        .subquery()
    )
    chosen = (
        select_columns(found.c.id)
        .order_by(found.c.rank, found.c.newest.desc(), found.c.id)
        .limit(limit)
    )
    return list(session.exec(select(Article).where(col(Article.id).in_(chosen)).order_by(*by_age)))


def count_between(
    session: Session, *, start: datetime, end: datetime, without: Collection[str] = ()
) -> int:
    """Return how many articles have start < seen_at <= end, and no category in `without`."""
    return session.exec(
        select(func.count()).select_from(Article).where(*_covered(start, end, without))
    ).one()


def earlier_in_categories(
    session: Session,
    *,
    categories: Collection[str],
    before: datetime,
    exclude_ids: Collection[int],
    limit: int,
    without: Collection[str] = (),
) -> list[Article]:
    """Return articles of any of these categories with seen_at up to `before`, the newest first.

    Articles of a category in `without` are excluded.
    """
    if not categories or limit < 1:
        return []
    found = session.exec(
        select(Article)
        .where(
            col(Article.seen_at) <= before,
            or_(*map(_has_category, categories)),
            *(~_has_category(name) for name in without),
        )
        .order_by(_newest().desc(), col(Article.id))
        .limit(limit + len(exclude_ids))
    )
    return [one for one in found if one.id not in set(exclude_ids)][:limit]


def _covered(start: datetime, end: datetime, without: Collection[str]) -> list[ColumnElement[bool]]:
    return [
        col(Article.seen_at) > start,
        col(Article.seen_at) <= end,
        *(~_has_category(name) for name in without),
    ]


def _has_category(name: str) -> ColumnElement[bool]:
    # The column is searched as JSON text, for the name with its quotes, so that it matches exactly.
    stored = cast(col(Article.categories), Text)
    return stored.contains(json.dumps(name), autoescape=True)


def _newest() -> ColumnElement[Any]:
    """Return the sort key of articles: the earlier of `published_at` and `seen_at`."""
    published_at, seen_at = col(Article.published_at), col(Article.seen_at)
    # A date after the arrival is a mistake or a trick to be sorted first; it may also be missing.
    return case((published_at < seen_at, published_at), else_=seen_at)


def _known(session: Session, condition: ColumnElement[bool]) -> Iterator[Known]:
    rows = session.execute(
        select_columns(
            col(Article.id),
            col(Article.feed_id),
            col(Article.guid),
            col(Article.link),
            col(Article.title),
            col(Article.content_hash),
        ).where(condition)
    )
    for row in rows:
        yield Known(*row)


def _aliases(session: Session, condition: ColumnElement[bool]) -> Iterator[Known]:
    rows = session.execute(
        select_columns(
            col(ArticleAlias.article_id),
            col(ArticleAlias.feed_id),
            col(ArticleAlias.guid),
            col(ArticleAlias.link),
            col(ArticleAlias.title),
        ).where(condition)
    )
    for article_id, feed_id, guid, link, title in rows:
        yield Known(article_id, feed_id, guid, link, title, content_hash="", is_alias=True)


def _chunks(values: Iterable[T]) -> Iterator[list[T]]:
    everything = list(values)
    for start in range(0, len(everything), _CHUNK):
        yield everything[start : start + _CHUNK]
