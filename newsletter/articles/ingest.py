"""Takes articles in: what is new gets its `seen_at` under the freeze lock, what is odd waits.

Every instant that an article can be seen from is given here (`take_in`, `approve`, `add_article`),
or when the editor releases one (`editions.editor`), and only under the freeze lock: so no article
ever appears behind a coverage end.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import audit
from newsletter.articles import fetch, link, matching, polling, quarantine, store, text
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
from newsletter.models import Article, ArticleAlias, ArticleState, Feed

logger = logging.getLogger(__name__)

#: Feeds that are fetched at the same time: dead ones must not make the others wait.
PARALLEL = 8
#: How long a run that is to stop may go unnoticed (seconds).
_STOP_SECONDS = 0.2

#: Brings a feed's bytes: `fetch.fetch`, or a double.
Fetcher = Callable[[str, Limits, Validators], Fetched]


@dataclass(frozen=True)
class Counts:
    """What became of a document's articles."""

    new: int = 0
    updated: int = 0
    known: int = 0
    quarantined: int = 0
    #: Items that have no link, or nothing to show.
    dropped: int = 0
    #: Articles that were not taken in, because the feed has brought more than a day's share.
    left_out: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


@dataclass(frozen=True)
class Result:
    """How one feed's fetch went."""

    feed_id: int
    url: str
    title: str
    counts: Counts
    #: A sentence, if it failed; then what to do about it.
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
    """Fetch the feeds of an occasion and take their articles in; return how each of them went.

    1. The feeds are read, and the transaction ends; those that are not to be asked now are left.
    2. Documents come over the network, several at a time, without any transaction, and are parsed
       by one child process, one after another.
    3. Each is taken in within one transaction of its own; a bad one is noted on its feed's row.

    Once `is_stopped` says so, what is under way is given up: its feeds stay as they are, and those
    that were taken in are returned.
    """
    with sessions.reading(engine) as session:
        feeds = [one for one in store.feeds(session) if polling.is_wanted(one, occasion, now=now)]
    with Sandbox(limits) as sandbox:
        documents = _in_parallel(feeds, lambda feed: _try(feed, limits, fetcher or _fetch, sandbox))
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
    """Add a feed by URL or file and take its articles in; nothing is stored if it cannot be read.

    Raises InvalidInput, Conflict if it is there already, FeedError.
    """
    url = fetch.normalise(source)
    with sessions.reading(engine) as session:
        _refuse_double(store.find_feed(session, url=url))
    document = None
    if is_fetched:
        with Sandbox(limits) as sandbox:
            document = _read(url, limits, Validators(), fetcher or _fetch, sandbox)
    with sessions.writing(engine) as session:
        instant = sessions.freeze_lock(session, now)
        _refuse_double(store.find_feed(session, url=url))
        feed = store.add_feed(session, url=url, title=_name(url), now=now)
        counts = _take(session, feed, document, instant) if document else Counts()
        assert feed.id is not None
        return Result(feed.id, url, _title(feed, document), counts)


def take_in(engine: Engine, feed_id: int, parsed: ParsedFeed, now: datetime) -> Counts:
    """Take one document of a feed in, in one transaction; raises NotFound if the feed is gone."""
    fetched = Fetched(b"", "", etag=None, last_modified=None, final_url="", not_modified=False)
    with sessions.writing(engine) as session:
        # The lock comes first: what is decided below must not be seen before another's changes.
        instant = sessions.freeze_lock(session, now)
        return _take(session, store.feed(session, feed_id), _Document(fetched, parsed), instant)


def approve(engine: Engine, ids: Collection[int] | None, now: datetime, *, actor: str) -> list[int]:
    """Let quarantined articles out, all of them for None; return the ids of those that were.

    They go into the next editions like new ones. Raises NotFound if an id is no article's, and
    Conflict if an editor has held or rejected it; those that are out already are left alone.
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
    """An article as an operator writes it."""

    title: str
    link: str
    standfirst: str = ""
    image: str | None = None
    author: str | None = None
    source: str | None = None
    categories: tuple[str, ...] = ()
    minutes: int = 1
    published_at: datetime | None = None


def add_article(engine: Engine, draft: Draft, now: datetime) -> Article:
    """Add an article by hand; raises InvalidInput, or Conflict if it is there already."""
    parsed = _written(draft)
    with sessions.writing(engine) as session:
        instant = sessions.freeze_lock(session, now)
        found = _same(parsed, store.find_articles(session, link=parsed.link))
        if found:
            raise Conflict(f"That link is article {found.id} already: {found.title}")
        store.add_articles(session, [_row(parsed, None, None, instant)])
        return store.find_articles(session, link=parsed.link)[0]


def _same(parsed: ParsedArticle, found: Sequence[Article]) -> Article | None:
    """Return the article that is there already under a link, which several may share."""
    namesake = (one for one in found if one.title == parsed.title)
    return next(namesake, found[0] if len(found) == 1 else None)


@dataclass(frozen=True)
class _Document:
    fetched: Fetched
    #: None if nothing changed since the last fetch.
    parsed: ParsedFeed | None


def _in_parallel(
    feeds: Sequence[Feed], read: Callable[[Feed], _Document | FeedError]
) -> list[Future[_Document | FeedError]]:
    """Read feeds, several at a time, in threads that nobody waits for.

    An executor's threads are joined when the interpreter ends, whatever they wait for.
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
    """Give each feed with its document, in the order of the feeds, until the run is to stop."""
    for feed, document in zip(feeds, documents, strict=True):
        while not wait([document], _STOP_SECONDS).done:
            if is_stopped():
                return
        if is_stopped():
            return
        yield feed, document.result()


def _try(feed: Feed, limits: Limits, fetcher: Fetcher, sandbox: Sandbox) -> _Document | FeedError:
    """Fetch and read one feed: whatever it holds, the others go on."""
    try:
        return _read(feed.url, limits, Validators(feed.etag, feed.last_modified), fetcher, sandbox)
    except FeedError as exc:
        return exc
    except Exception as exc:
        logger.exception("Feed %s could not be read", feed.id)
        return FeedError(f"The feed could not be read: {type(exc).__name__}.")


def _fetch(url: str, limits: Limits, validators: Validators) -> Fetched:
    return fetch.fetch(url, limits, validators=validators)


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
        return Result(feed.id, feed.url, title, Counts(), document.message, document.hint)
    try:
        with sessions.writing(engine) as session:
            instant = sessions.freeze_lock(session, now)
            counts = _take(session, store.feed(session, feed.id), document, instant)
    except NotFound:
        # Removed while its document was on the way: there is nothing to take in or to report.
        counts = Counts()
    return Result(feed.id, feed.url, _title(feed, document), counts)


def _failure(feed: Feed, error: FeedError, now: datetime) -> dict[str, Any]:
    """Return what a failure changes about a feed."""
    if error.is_gone:
        return {"error": error.message, "next_fetch_at": None, "waits_for": WaitsFor.GONE}
    at, waits_for = polling.after_failure(now, feed.failures + 1, retry_after=error.retry_after)
    return {"error": error.message, "next_fetch_at": at, "waits_for": waits_for}


def _take(session: Session, feed: Feed, document: _Document, instant: datetime) -> Counts:
    """Take a fetched document in and note the success on the feed."""
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
        # What was left out is in the next answer only if that is a whole one.
        "etag": None if counts.left_out else document.fetched.etag,
        "last_modified": None if counts.left_out else document.fetched.last_modified,
    }
    store.record_success(session, feed.id, now=instant, changes=changes)
    return counts


def _next(feed: Feed, now: datetime, ttl_minutes: int | None) -> datetime | None:
    """Return when a feed that was read is asked again; a file is looked at in every run."""
    is_file = not fetch.is_url(feed.url)
    return None if is_file else polling.after_success(now, ttl_minutes=ttl_minutes)


def _take_articles(
    session: Session, feed: Feed, parsed: ParsedFeed, instant: datetime
) -> tuple[Counts, int]:
    """Match a document with what is stored and write the difference; say how many it had."""
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
        # By another scheme, with or without "www." or a slash; for what is new, or has moved.
        others = {one for address in moved for one in link.spellings(address)} - pages
        elsewhere = store.known(session, feed_id=feed_id, guids=(), links=sorted(others))
        stored = list(dict.fromkeys([*stored, *elsewhere]))
    if links - pages:
        # The same page by another fragment; most feeds have none.
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
    """Write what an item changes about its article; `seen_at` never."""
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
    """Write what this feed calls another's article, or it would not know a second one apart."""
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
        standfirst=text.standfirst(text.clean(draft.standfirst), is_article=False),
        image=Picture(image) if image else None,
        author=text.clean(draft.author or "") or None,
        source=text.clean(draft.source or "") or None,
        categories=tuple(dict.fromkeys(text.clean(one) for one in draft.categories if one.strip())),
        minutes=max(1, draft.minutes),
        published_at=draft.published_at,
    )


def _refuse_editors(article: Article) -> None:
    """Quarantine is lifted by `approve`; what an editor has done is not undone by it."""
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
    told = document.parsed.title if document and document.parsed else ""
    return told or feed.title or _name(feed.url)


def _name(url: str) -> str:
    """Return what to call a feed that has not told its title."""
    return link.host(url) or Path(url).name
