"""`newsletter feeds`: adds, lists, fetches and removes feeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from newsletter import clock
from newsletter.cli import context, output
from newsletter.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Engine
    from sqlmodel import Session

    from newsletter.articles.ingest import Counts, Result
    from newsletter.articles.turn import Elsewhere
    from newsletter.models import Feed
    from newsletter.settings import Settings

app = typer.Typer(no_args_is_help=True)


@app.command()
def add(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="URL_OR_FILE", help="A feed's URL or file.")],
    *,
    no_fetch: Annotated[
        bool, typer.Option("--no-fetch", help="Only note it; `feeds fetch` will read it.")
    ] = False,
    json: output.Json = False,
) -> None:
    """Add a feed, fetch it once, and store its articles."""
    from newsletter.articles import feeds, wording
    from newsletter.articles.limits import Limits

    here = context.of(ctx)
    with here.database() as engine:
        result = feeds.add(
            engine,
            source,
            Limits.of(here.settings),
            clock.utc_now(),
            actor=context.actor(),
            is_fetched=not no_fetch,
        )
    if json:
        output.as_json(_result(result))
    elif no_fetch:
        output.say(f"Feed {result.feed_id} is noted: {result.title}")
    else:
        output.say(
            f"Feed {result.feed_id} is added: {result.title} ({wording.counts(result.counts)})."
        )
        _point_to_quarantine(result.counts)


@app.command("list")
def list_feeds(ctx: typer.Context, *, json: output.Json = False) -> None:
    """List the feeds, with the number of articles and the result of the last fetch."""
    from newsletter.articles import store
    from newsletter.db import session as sessions

    with context.of(ctx).database() as engine, sessions.reading(engine) as session:
        found, counts = store.feeds(session), store.article_counts(session)
    rows = [_feed(feed, counts.get(feed.id or 0, 0)) for feed in found]
    if json:
        output.as_json({"feeds": rows})
    elif not rows:
        output.say("There is no feed yet: `newsletter feeds add URL_OR_FILE` adds one.")
    else:
        columns = ("feed", "title", "url", "articles", "fetched_at", "next_fetch_at", "error")
        output.table(
            [name.removesuffix("_at").replace("_", " ") for name in columns],
            [[row[name] for name in columns] for row in rows],
        )


@app.command()
def fetch(
    ctx: typer.Context,
    feed: Annotated[
        str | None,
        typer.Argument(help="Only this one: its number in `feeds list`, its URL or its file."),
    ] = None,
    *,
    json: output.Json = False,
) -> None:
    """Fetch every feed and store new articles; exit code 1 if one of them failed.

    A feed is skipped, unless it is named, if its server has asked for a pause (Retry-After) or has
    responded that the feed is gone permanently (410).

    If another process is fetching, the command waits for it up to a minute, and its fetch counts.
    """
    from newsletter.articles import wording
    from newsletter.articles.ingest import Counts
    from newsletter.articles.turn import Elsewhere

    here = context.of(ctx)
    with here.database() as engine:
        found = _fetched(engine, here.settings, feed)
        asked = {one.feed_id for one in found} if isinstance(found, list) else set()
        waiting = [] if feed else _left_alone(engine, asked, clock.utc_now())
    if found is Elsewhere.RUNNING:
        output.warn("Another process still fetches the feeds.", "Its articles will be there.")
        raise typer.Exit(75)
    results = found if isinstance(found, list) else []
    counts = sum((one.counts for one in results), Counts())
    failed = [one for one in results if one.error]
    if json:
        output.as_json(
            {"feeds": len(results), **_counts(counts), "failed": len(failed)}
            | {"results": [_result(one) for one in results], "elsewhere": found is Elsewhere.DONE}
        )
    elif found is Elsewhere.DONE:
        output.say("Another process has just fetched the feeds: `newsletter feeds list`.")
    else:
        feeds = "1 feed" if len(results) == 1 else f"{len(results):,} feeds"
        output.say(
            f"{feeds}: {wording.counts(counts)}" + (f", {len(failed)} failed." if failed else ".")
        )
        _point_to_quarantine(counts)
    for one in results:
        if one.counts.left_out:
            output.warn(
                wording.left_out(one), "`newsletter articles list --quarantined` shows them."
            )
    for paused in waiting:
        output.warn(_why_left_alone(paused), f"`newsletter feeds fetch {paused.id}` asks it now.")
    for one in failed:
        output.warn(f"Feed {one.feed_id} ({one.title}): {one.error}", one.hint)
    if failed:
        raise typer.Exit(1)


@app.command()
def remove(
    ctx: typer.Context,
    feed: Annotated[str, typer.Argument(help="Its number in `feeds list`, its URL or its file.")],
    *,
    json: output.Json = False,
) -> None:
    """Remove a feed; its articles stay."""
    from newsletter.articles import feeds
    from newsletter.db import session as sessions

    with context.of(ctx).database() as engine:
        with sessions.reading(engine) as session:
            found = _find(session, feed)
        assert found.id is not None
        title, kept = feeds.remove(engine, found.id, clock.utc_now(), actor=context.actor())
    if json:
        output.as_json({"removed": found.id, "title": title, "articles_kept": kept})
    else:
        output.say(f"Feed {found.id} is removed: {title}. Its {kept:,} articles stay.")


def _fetched(engine: Engine, settings: Settings, named: str | None) -> list[Result] | Elsewhere:
    from newsletter.articles import polling, turn
    from newsletter.articles.limits import Limits
    from newsletter.articles.turn import Elsewhere
    from newsletter.db import session as sessions
    from newsletter.editions import fetching
    from newsletter.sender.shutdown import on_signals

    now = clock.utc_now()
    occasion = polling.BY_HAND
    if named:
        with sessions.reading(engine) as session:
            occasion = polling.Occasion(feed_id=_find(session, named).id)
    limits = Limits.of(settings)
    found = turn.fetch_all(engine, limits, now, occasion=occasion)
    if found is not Elsewhere.RUNNING:
        return found
    with on_signals() as shutdown:
        return fetching.wait(engine, limits, now=now, occasion=occasion, shutdown=shutdown)


def _left_alone(engine: Engine, asked: Collection[int], now: datetime) -> list[Feed]:
    """Return the feeds that were not fetched, because a fetch of all feeds skips them now."""
    from newsletter.articles import polling, store
    from newsletter.db import session as sessions

    with sessions.reading(engine) as session:
        feeds = store.feeds(session)
    return [
        one
        for one in feeds
        if one.id not in asked and not polling.is_wanted(one, polling.BY_HAND, now=now)
    ]


def _why_left_alone(feed: Feed) -> str:
    name = f"Feed {feed.id} ({feed.title})"
    if feed.next_fetch_at is None:
        return f"{name} is gone for good (HTTP 410) and is not asked any more."
    return f"{name} is not asked before {feed.next_fetch_at:%Y-%m-%d %H:%M UTC}: {feed.error}"


def _find(session: Session, named: str) -> Feed:
    from newsletter.articles import fetch as fetching
    from newsletter.articles import store

    if named.isascii() and named.isdigit() and len(named) < len(str(output.LARGEST)):
        return store.feed(session, int(named))
    # The name as given, and as normalised, also for a file that does not exist any more.
    spelled = [named, fetching.spell(named)]
    found = next(
        (one for one in (store.find_feed(session, url=url) for url in spelled) if one), None
    )
    if found is None:
        raise NotFound("There is no such feed.", hint="`newsletter feeds list` shows all.")
    return found


def _feed(feed: Feed, articles: int) -> dict[str, Any]:
    from newsletter.articles import link

    return {
        "feed": feed.id,
        "title": feed.title,
        "url": link.masked(feed.url),
        "articles": articles,
        "added_at": feed.added_at,
        "fetched_at": feed.fetched_at,
        "succeeded_at": feed.succeeded_at,
        "next_fetch_at": feed.next_fetch_at,
        "waits_for": feed.waits_for,
        "failures": feed.failures,
        "error": feed.error,
    }


def _result(result: Result) -> dict[str, Any]:
    from newsletter.articles import link

    return {
        "feed": result.feed_id,
        "title": result.title,
        "url": link.masked(result.url),
        **_counts(result.counts),
        "error": result.error,
        "hint": result.hint,
    }


def _counts(counts: Counts) -> dict[str, int]:
    return {
        "new": counts.new,
        "updated": counts.updated,
        "known": counts.known,
        "quarantined": counts.quarantined,
        "dropped": counts.dropped,
        "left_out": counts.left_out,
    }


def _point_to_quarantine(counts: Counts) -> None:
    if counts.quarantined:
        output.say("`newsletter articles list --quarantined` shows what waits for your approval.")
