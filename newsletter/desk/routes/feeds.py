"""Feeds: where articles come from, how each is doing, and adding one after a look at it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import HTMLResponse, Response

from newsletter.articles import feeds as operating
from newsletter.articles import fetch as fetching
from newsletter.articles import ingest, link, store, wording
from newsletter.articles.limits import Limits
from newsletter.articles.turn import Elsewhere
from newsletter.db import session as sessions
from newsletter.desk import dependencies, paging
from newsletter.desk.dependencies import Desk, DeskContext, Signed
from newsletter.errors import Conflict, FeedError, InvalidInput, NewsletterError
from newsletter.models import Feed

router = APIRouter()

#: Articles of a feed that are shown before it is added.
_SHOWN = 10
Url = Annotated[str, Form(max_length=fetching.MAX_URL)]
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]


@router.get("/feeds")
def show(desk: Desk, request: Request, before: paging.Before = None) -> HTMLResponse:
    """List feeds, the newest first."""
    return _list(desk, request, before=before)


@router.post("/feeds/look")
def look(desk: Desk, request: Request, url: Url) -> HTMLResponse:
    """Show what a feed would bring, and store nothing."""
    try:
        source, parsed = ingest.look(_of_the_web(url), Limits.of(desk.settings))
    except (InvalidInput, FeedError) as exc:
        code = 502 if isinstance(exc, FeedError) else 422
        return _list(desk, request, sought=url, problem=exc, code=code)
    items = parsed.items if parsed else ()
    return dependencies.page(
        request,
        "feed_look",
        url=source,
        shown_url=link.masked(source),
        title=(parsed.title if parsed else "") or link.masked(source),
        items=items[:_SHOWN],
        count=len(items),
        dropped=parsed.dropped if parsed else 0,
    )


@router.post("/feeds/add")
def add(desk: Desk, person: Signed, request: Request, url: Url) -> Response:
    """Add a feed, and store its articles."""
    try:
        result = operating.add(
            desk.engine,
            _of_the_web(url),
            Limits.of(desk.settings),
            desk.clock(),
            actor=person.actor,
        )
    except (InvalidInput, FeedError, Conflict) as exc:
        code = next(
            code
            for kind, code in ((InvalidInput, 422), (Conflict, 409), (FeedError, 502))
            if isinstance(exc, kind)
        )
        return _list(desk, request, sought=url, problem=exc, code=code)
    said = f"The feed is added: {wording.counts(result.counts)}."
    return dependencies.done(request, f"/feeds/{result.feed_id}", said)


@router.get("/feeds/{feed_id}")
def one(desk: Desk, request: Request, feed_id: Id) -> HTMLResponse:
    """Show one feed."""
    with sessions.reading(desk.engine) as session:
        feed = store.feed(session, feed_id)
        articles = store.article_counts(session).get(feed_id, 0)
    return dependencies.page(
        request,
        "feed",
        feed=feed,
        url=link.masked(feed.url),
        articles=articles,
        health=_health(feed),
    )


@router.post("/feeds/{feed_id}/fetch")
def fetch(desk: Desk, person: Signed, request: Request, feed_id: Id) -> Response:
    """Fetch the feed now, within the time that the settings allow for it."""
    limits = Limits.of(desk.settings)
    found = operating.fetch(desk.engine, feed_id, limits, desk.clock(), actor=person.actor)
    if isinstance(found, Elsewhere):
        said = "Another process is fetching the feeds; this page shows what it brings."
    elif found.error:
        said = "The feed could not be read."
    else:
        said = f"The feed is fetched: {wording.counts(found.counts)}."
    return dependencies.done(request, f"/feeds/{feed_id}", said)


@router.post("/feeds/{feed_id}/remove")
def remove(desk: Desk, person: Signed, request: Request, feed_id: Id) -> Response:
    """Remove the feed; its articles stay."""
    _, kept = operating.remove(desk.engine, feed_id, desk.clock(), actor=person.actor)
    return dependencies.done(
        request, "/feeds", f"The feed is removed. Its articles stay: {kept:,}."
    )


def _of_the_web(url: str) -> str:
    """Return a URL; raise InvalidInput for a file of this machine, which only commands may read."""
    if not fetching.is_url(url.strip()):
        raise InvalidInput(
            "A feed's address begins with https:// or http://.",
            hint="`newsletter feeds add` also takes a file of the machine.",
        )
    return url


def _health(feed: Feed) -> str:
    if feed.error:
        return feed.waits_for if feed.waits_for == "gone" else "failing"
    return "well" if feed.succeeded_at else "new"


def _list(
    desk: DeskContext,
    request: Request,
    *,
    before: int | None = None,
    sought: str = "",
    problem: NewsletterError | None = None,
    code: int = 200,
) -> HTMLResponse:
    with sessions.reading(desk.engine) as session:
        # Each run of cron reads all of them, too.
        feeds = sorted(store.feeds(session), key=lambda feed: feed.id or 0, reverse=True)
        counts = store.article_counts(session)
    shown = [feed for feed in feeds if before is None or (feed.id or 0) < before]
    rows = [
        {
            "id": feed.id,
            "feed": feed,
            "title": feed.title or link.masked(feed.url),
            "url": link.masked(feed.url),
            "health": _health(feed),
            "articles": counts.get(feed.id or 0, 0),
        }
        for feed in shown[: paging.SIZE + 1]
    ]
    return dependencies.page(
        request,
        "feeds",
        status=code,
        rows=paging.cut(rows, key=lambda row: row["id"], is_first=before is None),
        failing=sum(bool(feed.error) for feed in feeds),
        count=len(feeds),
        sought=sought,
        problem=problem,
    )
