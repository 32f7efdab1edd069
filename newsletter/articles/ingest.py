"""Stores articles of feeds: new ones get their `seen_at`, suspicious ones go into quarantine.

`seen_at` is set here (`take_in`, `approve`, `add_article`) or when an editor releases an article
(`editions.editor`), and only under the freeze lock: so no article appears before the end of a
coverage that is already frozen.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import audit, logs
from newsletter.articles import fetch, link, matching, polling, quarantine, sentences, store, text
from newsletter.articles.fetch import Fetched, Validators
from newsletter.articles.item import ParsedArticle, ParsedFeed
from newsletter.articles.limits import Limits
from newsletter.articles.matching import Group, Match
from newsletter.articles.pictures import Picture
from newsletter.articles.polling import Occasion, WaitsFor
from newsletter.articles.quarantine import Background, Reason
from newsletter.articles.sandbox import Sandbox
from newsletter.db import session as sessions
from newsletter.errors import Conflict, FeedError, InvalidInput, NotFound
from newsletter.graphemes import shorten
from newsletter.logs import events
from newsletter.logs.event import DEBUG, INFO
from newsletter.models import Article, ArticleAlias, ArticleState, Feed

#: Feeds that are fetched in parallel, so that unreachable ones do not delay the others.
PARALLEL = 8
#: Seconds between checks of `is_stopped`.
_STOP_SECONDS = 0.2

#: `fetch.fetch`, or a double in tests.
Fetcher = Callable[[str, Limits, Validators], Fetched]


@dataclass(frozen=True)
class Counts:
    """The articles of a document by result."""

    new: int = 0
    updated: int = 0
    known: int = 0
    quarantined: int = 0
    #: Items without a link, or without text.
    dropped: int = 0
    #: Articles that were not stored, because the feed is over its limit of a day.
    left_out: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


@dataclass(frozen=True)
class Result:
    """The result of fetching one feed."""

    feed_id: int
    url: str
    title: str
    counts: Counts
    #: The failure as a sentence, and what to do about it; None after a success.
    error: str | None = None
    hint: str | None = None


def fetch_all(
    engine: Engine,
    limits: Limits,
    now: datetime,
    *,
    occasion: Occasion = polling.BY_HAND,
    fetcher: Fetcher | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> list[Result]:
    """Fetch the feeds of an occasion, store their articles, and return the result of each.

    1. Query the feeds that are to be fetched now, in a transaction of its own.
    2. Fetch documents in parallel without a transaction; one child process parses them in turn.
    3. Store each document in a transaction of its own, or record the failure with its feed.

    When `is_stopped` returns True, unfinished fetches are abandoned: those feeds stay unchanged,
    and the results so far are returned.
    """
    with sessions.reading(engine) as session:
        feeds = [one for one in store.feeds(session) if polling.is_wanted(one, occasion, now=now)]
    with Sandbox(limits) as sandbox:
        documents = _in_parallel(
            feeds, lambda feed: _try(feed, limits, fetcher or fetch.fetch, sandbox)
        )
        return [
            _settle(engine, feed, document, now)
            for feed, document in _until_stopped(feeds, documents, is_stopped)
        ]


def add_feed(
    engine: Engine,
    source: str,
    limits: Limits,
    now: datetime,
    *,
    is_fetched: bool = True,
    fetcher: Fetcher | None = None,
) -> Result:
    """Add a feed by URL or file and store its articles; nothing is stored if it cannot be read.

    Raises InvalidInput, Conflict if it exists already, FeedError.
    """
    url = fetch.normalise(source)
    with sessions.reading(engine) as session:
        _refuse_double(store.find_feed(session, url=url))
    document = None
    if is_fetched:
        with Sandbox(limits) as sandbox:
            document = _read(url, limits, Validators(), fetcher or fetch.fetch, sandbox)
    with sessions.writing(engine) as session:
        instant = sessions.freeze_lock(session, now)
        _refuse_double(store.find_feed(session, url=url))
        feed = store.add_feed(session, url=url, title=_name(url), now=now)
        counts = _take(session, feed, document, instant) if document else Counts()
        assert feed.id is not None
        return Result(feed.id, url, _title(feed, document), counts)


def look(
    source: str, limits: Limits, *, fetcher: Fetcher | None = None
) -> tuple[str, ParsedFeed | None]:
    """Return the normalised source and the document of a feed, and store nothing.

    Raises InvalidInput and FeedError.
    """
    url = fetch.normalise(source)
    with Sandbox(limits) as sandbox:
        document = _read(url, limits, Validators(), fetcher or fetch.fetch, sandbox)
    return url, document.parsed


def take_in(engine: Engine, feed_id: int, parsed: ParsedFeed, now: datetime) -> Counts:
    """Store one document of a feed, in one transaction; raises NotFound if the feed is gone."""
    fetched = Fetched(b"", "", etag=None, last_modified=None, final_url="", not_modified=False)
    with sessions.writing(engine) as session:
        # The lock comes first, so that the reads below include all changes of other processes.
        instant = sessions.freeze_lock(session, now)
        return _take(session, store.feed(session, feed_id), _Document(fetched, parsed), instant)


def approve(engine: Engine, ids: Collection[int] | None, now: datetime, *, actor: str) -> list[int]:
    """Release articles from quarantine, all for None; return the ids of those released.

    They are part of the next editions, like new ones. Raises NotFound for an unknown id, and
    Conflict if an editor has held or rejected the article; released ones stay unchanged.
    """
    with sessions.writing(engine) as session:
        instant = sessions.freeze_lock(session, now)
        for one in store.by_ids(session, ids or ()):
            _refuse_editors(one)
        unknown = store.missing(session, ids) if ids is not None else []
        if unknown:
            raise NotFound(
                f"There is no article {', '.join(map(str, unknown))}.",
                hint="`newsletter articles list --quarantined` shows those that wait.",
            )
        released = store.let_out(session, ids, state=ArticleState.QUARANTINED, seen_at=instant)
        titles = {f"article:{one.id}": one.title for one in store.by_ids(session, released)}
        audit.record(session, "articles.approve", titles, actor=actor, at=instant)
        return released


@dataclass(frozen=True)
class Draft:
    """An article that an operator adds by hand."""

    title: str
    link: str
    standfirst: str = ""
    image: str | None = None
    author: str | None = None
    source: str | None = None
    categories: tuple[str, ...] = ()
    minutes: int = 1
    published_at: datetime | None = None


def instant(written: str, zone: ZoneInfo) -> datetime:
    """Parse a date or time, of `zone` if it has no offset; raises InvalidInput."""
    try:
        found = datetime.fromisoformat(written)
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise InvalidInput(
            f"{written!r} is no date or time.", hint="Write 2026-11-22 or 2026-11-22T07:30."
        ) from exc


def add_article(engine: Engine, draft: Draft, now: datetime, *, actor: str) -> Article:
    """Add an article by hand; raises InvalidInput, or Conflict if it exists already."""
    parsed = _written(draft)
    with sessions.writing(engine) as session:
        instant = sessions.freeze_lock(session, now)
        found = _same(parsed, store.find_articles(session, link=parsed.link))
        if found:
            raise Conflict(f"That link is article {found.id} already: {found.title}")
        store.add_articles(session, [_row(parsed, None, None, instant)])
        made = store.find_articles(session, link=parsed.link)[0]
        subjects = {f"article:{made.id}": made.title}
        audit.record(session, "articles.add", subjects, actor=actor, at=instant)
        return made


def _same(parsed: ParsedArticle, found: Sequence[Article]) -> Article | None:
    """Return the stored article of a link, by title if several share the link."""
    namesake = (one for one in found if one.title == parsed.title)
    return next(namesake, found[0] if len(found) == 1 else None)


@dataclass(frozen=True)
class _Document:
    fetched: Fetched
    #: None if the response is 304 Not Modified.
    parsed: ParsedFeed | None


def _in_parallel(
    feeds: Sequence[Feed], read: Callable[[Feed], _Document | FeedError]
) -> list[Future[_Document | FeedError]]:
    """Read feeds in parallel, in daemon threads.

    An executor is not used: its threads are joined at exit, which would wait for stalled feeds.
    """
    documents: list[Future[_Document | FeedError]] = [Future() for _ in feeds]
    waiting = queue.SimpleQueue[tuple[Feed, Future[_Document | FeedError]]]()
    for pair in zip(feeds, documents, strict=True):
        waiting.put(pair)

    def work() -> None:
        while not waiting.empty():
            try:
                feed, document = waiting.get_nowait()
            except queue.Empty:
                return
            document.set_result(read(feed))

    for _ in range(min(PARALLEL, len(feeds))):
        threading.Thread(target=work, name="feed", daemon=True).start()
    return documents


def _until_stopped(
    feeds: Sequence[Feed],
    documents: Sequence[Future[_Document | FeedError]],
    is_stopped: Callable[[], bool],
) -> Iterator[tuple[Feed, _Document | FeedError]]:
    """Yield each feed with its document, in the order of the feeds, until `is_stopped`."""
    for feed, document in zip(feeds, documents, strict=True):
        while not wait([document], _STOP_SECONDS).done:
            if is_stopped():
                return
        if is_stopped():
            return
        yield feed, document.result()


def _try(feed: Feed, limits: Limits, fetcher: Fetcher, sandbox: Sandbox) -> _Document | FeedError:
    """Fetch and parse one feed; any failure is returned, so that the other feeds go on."""
    try:
        return _read(feed.url, limits, Validators(feed.etag, feed.last_modified), fetcher, sandbox)
    except FeedError as exc:
        return exc
    except Exception as exc:  # noqa: BLE001 - the other feeds go on
        events.FEED_CRASHED(feed=feed.id, trace=logs.trace(exc))
        return FeedError(f"The feed could not be read: {type(exc).__name__}.")


def _read(
    url: str, limits: Limits, validators: Validators, fetcher: Fetcher, sandbox: Sandbox
) -> _Document:
    fetched = fetcher(url, limits, validators)
    if fetched.not_modified:
        return _Document(fetched, None)
    parsed = sandbox.parse(fetched.body, content_type=fetched.content_type, url=fetched.final_url)
    return _Document(fetched, parsed)


def _settle(engine: Engine, feed: Feed, document: _Document | FeedError, now: datetime) -> Result:
    assert feed.id is not None
    if isinstance(document, FeedError):
        with sessions.writing(engine) as session:
            store.record_failure(session, feed.id, now=now, changes=_failure(feed, document, now))
        title = _title(feed, None)
        events.FEED_FAILED(
            feed=feed.id,
            host=link.host(feed.url),
            message=logs.in_words(document.message, document.hint),
        )
        return Result(feed.id, feed.url, title, Counts(), document.message, document.hint)
    try:
        with sessions.writing(engine) as session:
            instant = sessions.freeze_lock(session, now)
            counts = _take(session, store.feed(session, feed.id), document, instant)
    except NotFound:
        # The feed was removed during the fetch.
        counts = Counts()
    _log(feed, counts)
    return Result(feed.id, feed.url, _title(feed, document), counts)


def _log(feed: Feed, counts: Counts) -> None:
    is_news = bool(counts.new or counts.quarantined or counts.left_out or feed.error)
    events.FEED_FETCHED(
        INFO if is_news else DEBUG,
        feed=feed.id,
        host=link.host(feed.url),
        new=counts.new,
        updated=counts.updated,
        quarantined=counts.quarantined,
        left_out=counts.left_out,
    )


def _failure(feed: Feed, error: FeedError, now: datetime) -> dict[str, Any]:
    """Return the columns of a feed that a failure changes."""
    if error.is_gone:
        return {"error": error.message, "next_fetch_at": None, "waits_for": WaitsFor.GONE}
    at, waits_for = polling.after_failure(now, feed.failures + 1, retry_after=error.retry_after)
    return {"error": error.message, "next_fetch_at": at, "waits_for": waits_for}


def _take(session: Session, feed: Feed, document: _Document, instant: datetime) -> Counts:
    """Store a fetched document and record the success with the feed."""
    assert feed.id is not None
    if document.parsed is None:
        changes: dict[str, Any] = {"next_fetch_at": _next(feed, instant, feed.ttl_minutes)}
        store.record_success(session, feed.id, now=instant, changes=changes)
        return Counts(known=feed.items)
    counts, items = _take_articles(session, feed, document.parsed, instant)
    parsed = document.parsed
    changes = {
        "title": _title(feed, document),
        "items": items,
        "ttl_minutes": parsed.ttl_minutes,
        "skip_hours": list(parsed.skip_hours),
        "next_fetch_at": _next(feed, instant, parsed.ttl_minutes),
        # Without validators the next response is a full one, with the articles left out now.
        "etag": None if counts.left_out else document.fetched.etag,
        "last_modified": None if counts.left_out else document.fetched.last_modified,
    }
    store.record_success(session, feed.id, now=instant, changes=changes)
    return counts


def _next(feed: Feed, now: datetime, ttl_minutes: int | None) -> datetime | None:
    """Return when a feed is fetched next after a success; None for a file, read in every run."""
    is_file = not fetch.is_url(feed.url)
    return None if is_file else polling.after_success(now, ttl_minutes=ttl_minutes)


def _take_articles(
    session: Session, feed: Feed, parsed: ParsedFeed, instant: datetime
) -> tuple[Counts, int]:
    """Match a document with stored articles and write the difference.

    Returns the counts, and how many articles the document has.
    """
    assert feed.id is not None
    groups = matching.group(parsed.items)
    pairs = _matched(session, groups, feed_id=feed.id, site_url=parsed.site_url)
    met = [(one.article, found) for one, found in pairs if found]
    unknown = [one.article for one, found in pairs if not found]
    background = _background(session, feed, unknown, knows_any=bool(met), instant=instant)
    why = quarantine.reasons(unknown, background, now=instant)
    admitted = quarantine.admitted(unknown, why, background)
    for article, found in met:
        _change(session, article, found, feed_id=feed.id, instant=instant)
    rows = [_row(unknown[position], feed.id, why[position], instant) for position in admitted]
    store.add_articles(session, rows)
    updated = sum(found.is_edit for _, found in met)
    new = why.count(None)
    counts = Counts(
        new=new,
        updated=updated,
        known=len(met) - updated,
        quarantined=len(rows) - new,
        dropped=parsed.dropped,
        left_out=len(unknown) - len(rows),
    )
    return counts, len(groups)


def _matched(
    session: Session, groups: Sequence[Group], *, feed_id: int, site_url: str | None
) -> list[tuple[Group, Match | None]]:
    guids = [guid for one in groups for guid in one.guids]
    links = {address for one in groups for address in one.links}
    pages = {link.page(address) for address in links}
    stored = store.known(session, feed_id=feed_id, guids=guids, links=sorted(links | pages))
    moved = links - {known.link for known in stored}
    if moved:
        # Variants of the scheme, "www." and trailing slash, for links that are new or have moved.
        others = {one for address in moved for one in link.spellings(address)} - pages
        elsewhere = store.known(session, feed_id=feed_id, guids=(), links=sorted(others))
        stored = list(dict.fromkeys([*stored, *elsewhere]))
    if links - pages:
        # Stored links to the same page with another fragment; most feeds have none.
        stored = list(dict.fromkeys([*stored, *store.anchored(session, feed_id=feed_id)]))
    return matching.match(groups, stored, feed_id=feed_id, common={site_url})


def _background(
    session: Session,
    feed: Feed,
    unknown: list[ParsedArticle],
    *,
    knows_any: bool,
    instant: datetime,
) -> Background:
    assert feed.id is not None
    is_first = feed.succeeded_at is None or not (knows_any or store.has_articles(session, feed.id))
    if not unknown:
        return Background(is_first)
    wanted = {text.title_key(one.title) for one in unknown}
    titles, columns = store.title_keys(session, feed_id=feed.id, wanted=wanted)
    since = instant - timedelta(days=quarantine.QuarantineRules.memory_days)
    arrivals = store.arrivals(session, feed_id=feed.id, since=since)
    return Background(is_first, titles, columns, quarantine.traffic(arrivals, now=instant))


def _change(
    session: Session, article: ParsedArticle, found: Match, *, feed_id: int, instant: datetime
) -> None:
    """Update an article from its item; `seen_at` is never changed."""
    if found.is_alias:
        _keep_alias(session, article, found, feed_id=feed_id)
        return
    changes: dict[str, Any] = {}
    if found.is_renamed:
        changes |= {"guid": found.guid, "link": found.link}
    if found.is_adopted:
        changes["feed_id"] = feed_id
    if found.is_edit:
        changes |= _content(article) | {"updated_at": instant}
    if changes:
        store.change_article(session, found.known.id, changes)


def _keep_alias(session: Session, article: ParsedArticle, found: Match, *, feed_id: int) -> None:
    """Store this feed's GUID, link and title of another feed's article, to recognise it later."""
    known = found.known
    if known.is_alias and not found.is_renamed and known.title == article.title:
        return
    alias = ArticleAlias(
        feed_id=feed_id,
        article_id=known.id,
        guid=found.guid,
        link=found.link,
        title=article.title,
    )
    store.put_alias(session, alias)


def _row(
    article: ParsedArticle, feed_id: int | None, reason: Reason | None, instant: datetime
) -> dict[str, Any]:
    return {
        **_content(article),
        "feed_id": feed_id,
        "guid": article.guid,
        "link": article.link,
        "seen_at": None if reason else instant,
        "quarantined_at": instant if reason else None,
        "quarantine_reason": reason.value if reason else None,
        "created_at": instant,
        "updated_at": instant,
    }


def _content(article: ParsedArticle) -> dict[str, Any]:
    image = article.image
    return {
        "title": article.title,
        "standfirst": article.standfirst,
        "image_url": image.url if image else None,
        "image_width": image.width if image else None,
        "image_height": image.height if image else None,
        "image_alt": image.alt if image else None,
        "author": article.author,
        "source": article.source,
        "categories": list(article.categories),
        "minutes": article.minutes,
        "published_at": article.published_at,
        "content_hash": article.content_hash,
    }


def _written(draft: Draft) -> ParsedArticle:
    address = link.canonical(draft.link)
    address = address if address is None or link.is_route(address) else link.page(address)
    if address is None:
        raise InvalidInput(
            "That link cannot be used.", hint="It must start with https:// or http://."
        )
    title = shorten(text.clean(draft.title), text.MAX_TITLE)
    if not title:
        raise InvalidInput("An article needs a title.")
    image = link.image(draft.image) if draft.image else None
    if draft.image and image is None:
        raise InvalidInput(
            "That image cannot be used.", hint="It must start with https:// or http://."
        )
    return ParsedArticle(
        guid=None,
        link=address,
        title=title,
        standfirst=sentences.standfirst(text.clean(draft.standfirst), is_article=False),
        image=Picture(image) if image else None,
        author=text.clean(draft.author or "") or None,
        source=text.clean(draft.source or "") or None,
        categories=tuple(dict.fromkeys(text.clean(one) for one in draft.categories if one.strip())),
        minutes=max(1, draft.minutes),
        published_at=draft.published_at,
    )


def _refuse_editors(article: Article) -> None:
    """Raise Conflict for articles that an editor has held or rejected."""
    if article.state is ArticleState.HELD:
        raise Conflict(
            f"Article {article.id} is held.",
            hint=f"`newsletter articles release {article.id}` lets it out.",
        )
    if article.state is ArticleState.REJECTED:
        raise Conflict(f"Article {article.id} is rejected, for good.")


def _refuse_double(found: Feed | None) -> None:
    if found:
        raise Conflict(
            f"That is feed {found.id} already: {found.title}",
            hint="`newsletter feeds fetch` brings its news.",
        )


def _title(feed: Feed, document: _Document | None) -> str:
    title = document.parsed.title if document and document.parsed else ""
    return title or feed.title or _name(feed.url)


def _name(url: str) -> str:
    """Return a name for a feed without a title: its host, or the name of its file."""
    return link.host(url) or Path(url).name
