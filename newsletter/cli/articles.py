"""`newsletter articles`: what came from the feeds, what waits, and articles added by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from newsletter import clock
from newsletter.cli import context, output
from newsletter.errors import InvalidInput

if TYPE_CHECKING:
    from newsletter.models import Article

app = typer.Typer(help="The articles, and those that wait in quarantine.", no_args_is_help=True)


@app.command("list")
def list_articles(
    ctx: typer.Context,
    *,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Only those that wait for approval.")
    ] = False,
    feed: Annotated[
        int | None, typer.Option(max=output.LARGEST, help="Only those of this feed.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many at most.")] = 50,
    offset: Annotated[int, typer.Option(min=0, max=output.LARGEST, help="Leave out so many.")] = 0,
    json: output.Json = False,
) -> None:
    """List articles, those that came last first."""
    from newsletter.articles import store
    from newsletter.db import session as sessions

    with context.of(ctx).database() as engine, sessions.reading(engine) as session:
        found, total = store.articles(
            session,
            quarantined=True if quarantined else None,
            feed_id=feed,
            limit=limit,
            offset=offset,
        )
    if json:
        output.as_json({"articles": [_article(one) for one in found], "total": total})
        return
    if not found:
        output.say("No article waits." if quarantined else "There is no article here.")
        return
    output.table(
        ("article", "title", "published", "came", "state"),
        [_cells(one) for one in found],
    )
    if total > len(found):
        output.say(f"{len(found):,} of {total:,}; --offset {offset + len(found)} shows the next.")
    if quarantined:
        output.say("`newsletter articles approve ID...` (or --all) lets them out.")


@app.command()
def show(
    ctx: typer.Context,
    article: Annotated[
        int, typer.Argument(max=output.LARGEST, help="Its number in `articles list`.")
    ],
    *,
    json: output.Json = False,
) -> None:
    """Show one article."""
    from newsletter.articles import store
    from newsletter.db import session as sessions

    with context.of(ctx).database() as engine, sessions.reading(engine) as session:
        found = _article(store.article(session, article))
    if json:
        output.as_json(found)
        return
    lines = [(name.replace("_", " "), _line(value)) for name, value in found.items()]
    output.table(("", ""), [line for line in lines if line[1] is not None])


@app.command()
def add(
    ctx: typer.Context,
    *,
    title: Annotated[str, typer.Option(help="The headline.")],
    link: Annotated[str, typer.Option(help="Where it is read, https://...")],
    standfirst: Annotated[str, typer.Option(help="One or two sentences.")] = "",
    image: Annotated[str | None, typer.Option(help="A picture's address, https://...")] = None,
    author: Annotated[str | None, typer.Option(help="Who wrote it.")] = None,
    source: Annotated[str | None, typer.Option(help="Where it is from.")] = None,
    category: Annotated[
        list[str] | None, typer.Option(help="Its subject; may be given several times.")
    ] = None,
    minutes: Annotated[int, typer.Option(min=1, max=600, help="Reading time.")] = 1,
    published: Annotated[
        str | None, typer.Option(help="Date or time, 2026-11-22 or 2026-11-22T07:30.")
    ] = None,
    json: output.Json = False,
) -> None:
    """Add an article by hand; it goes into the next editions."""
    from newsletter.articles import ingest
    from newsletter.articles.ingest import Draft

    here = context.of(ctx)
    draft = Draft(
        title=title,
        link=link,
        standfirst=standfirst,
        image=image,
        author=author,
        source=source,
        categories=tuple(category or ()),
        minutes=minutes,
        published_at=_instant(published, here.settings.timezone) if published else None,
    )
    with here.database() as engine:
        made = ingest.add_article(engine, draft, clock.utc_now())
    if json:
        output.as_json(_article(made))
    else:
        output.say(f"Article {made.id} is added: {made.title}")


@app.command()
def approve(
    ctx: typer.Context,
    articles: Annotated[
        list[int] | None,
        typer.Argument(max=output.LARGEST, help="Their numbers in `articles list --quarantined`."),
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All that wait.")] = False,
    json: output.Json = False,
) -> None:
    """Let articles out of quarantine; they go into the next editions."""
    from newsletter.articles import ingest

    if bool(articles) == everything:
        raise InvalidInput("Name the articles to let out, or --all, not both.")
    with context.of(ctx).database() as engine:
        ids = None if everything else set(articles or ())
        released = ingest.approve(engine, ids, clock.utc_now())
    if json:
        output.as_json({"approved": len(released), "articles": released})
    elif released:
        noun = "article is" if len(released) == 1 else "articles are"
        output.say(f"{len(released):,} {noun} let out and will be in the next editions.")
    else:
        output.say("Nothing waited.")


def _instant(value: str, timezone: str) -> datetime:
    """Read a date or time; without an offset it is the publication's own."""
    try:
        found = datetime.fromisoformat(value)
        local = found if found.tzinfo else found.replace(tzinfo=ZoneInfo(timezone))
        return local.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise InvalidInput(
            f"{value!r} is no date or time.", hint="Write 2026-11-22 or 2026-11-22T07:30."
        ) from exc


def _cells(article: Article) -> tuple[object, ...]:
    from newsletter.graphemes import shorten

    published_at, seen_at = article.published_at, article.seen_at
    return (
        article.id,
        shorten(article.title, 90),
        published_at.date() if published_at else None,
        (seen_at or article.created_at).date(),
        f"waits: {article.quarantine_reason}" if seen_at is None else "out",
    )


def _article(article: Article) -> dict[str, Any]:
    image = {
        "url": article.image_url,
        "width": article.image_width,
        "height": article.image_height,
        "alt": article.image_alt,
    }
    return {
        "article": article.id,
        "feed": article.feed_id,
        "guid": article.guid,
        "title": article.title,
        "link": article.link,
        "standfirst": article.standfirst,
        "image": image if article.image_url else None,
        "author": article.author,
        "source": article.source,
        "categories": article.categories,
        "minutes": article.minutes,
        "published_at": article.published_at,
        "seen_at": article.seen_at,
        "quarantined_at": article.quarantined_at,
        "quarantine_reason": article.quarantine_reason,
        "updated_at": article.updated_at,
    }


def _line(value: object) -> object:
    if isinstance(value, list):
        return ", ".join(value) or None
    if isinstance(value, dict):
        return value["url"]
    return value
