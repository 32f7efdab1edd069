"""`newsletter articles`: lists articles, changes them as an editor, and adds them by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from newsletter import clock
from newsletter.cli import context, history, output
from newsletter.cli.send import CadenceArgument
from newsletter.errors import InvalidInput
from newsletter.models import ArticleState

if TYPE_CHECKING:
    from newsletter.models import Article
    from newsletter.settings import Settings

app = typer.Typer(no_args_is_help=True)

Number = Annotated[int, typer.Argument(max=output.LARGEST, help="Its number in `articles list`.")]
Numbers = Annotated[
    list[int], typer.Argument(max=output.LARGEST, help="Their numbers in `articles list`.")
]
#: Messages if no article is in a state.
_NONE = {
    ArticleState.QUARANTINED: "No article waits.",
    ArticleState.HELD: "No article is held.",
    ArticleState.REJECTED: "No article is rejected.",
}


@app.command("list")
def list_articles(
    ctx: typer.Context,
    *,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Only those that wait for approval.")
    ] = False,
    held: Annotated[bool, typer.Option("--held", help="Only those that an editor holds.")] = False,
    rejected: Annotated[
        bool, typer.Option("--rejected", help="Only those that an editor has rejected.")
    ] = False,
    feed: Annotated[
        int | None, typer.Option(max=output.LARGEST, help="Only those of this feed.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many at most.")] = 50,
    offset: Annotated[int, typer.Option(min=0, max=output.LARGEST, help="Leave out so many.")] = 0,
    json: output.Json = False,
) -> None:
    """List articles, the latest first."""
    from newsletter.articles import store
    from newsletter.db import session as sessions

    here = context.of(ctx)
    state = _chosen(quarantined=quarantined, held=held, rejected=rejected)
    with here.database() as engine, sessions.reading(engine) as session:
        found, total = store.articles(
            session, state=state, feed_id=feed, limit=limit, offset=offset
        )
    if json:
        shown = [_article(one, here.settings) for one in found]
        output.as_json({"articles": shown, "total": total})
        return
    if not found:
        output.say(_NONE[state] if state else "There is no article here.")
        return
    output.table(
        ("article", "title", "published", "came", "state"),
        [_cells(one, here.settings) for one in found],
    )
    if total > len(found):
        output.say(f"{len(found):,} of {total:,}; --offset {offset + len(found)} shows the next.")
    if quarantined:
        output.say("`newsletter articles approve ID...` (or --all) lets them out.")
    if held:
        output.say("`newsletter articles release ID...` lets them out.")


@app.command()
def show(
    ctx: typer.Context,
    article: Number,
    *,
    json: output.Json = False,
) -> None:
    """Show one article, the latest edition that has it, and what editors did with it."""
    from newsletter import audit
    from newsletter.articles import store
    from newsletter.db import session as sessions
    from newsletter.editions import mailings

    here = context.of(ctx)
    with here.database() as engine, sessions.reading(engine) as session:
        found = _article(store.article(session, article), here.settings)
        found["edition"] = mailings.edition_with(session, article)
        acts = audit.of(session, [f"article:{article}"])
    if json:
        output.as_json({**found, "history": history.as_json(acts)})
        return
    lines = [(name.replace("_", " "), _line(value)) for name, value in found.items()]
    output.table(("", ""), [line for line in lines if line[1] is not None])
    history.say(acts, here.settings.zone)


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
        published_at=ingest.instant(published, here.settings.zone) if published else None,
    )
    with here.database() as engine:
        made = ingest.add_article(engine, draft, clock.utc_now(), actor=context.actor())
    if json:
        output.as_json(_article(made, here.settings))
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
        released = ingest.approve(engine, ids, clock.utc_now(), actor=context.actor())
    if json:
        output.as_json({"approved": len(released), "articles": released})
    elif released:
        noun = "article is" if len(released) == 1 else "articles are"
        output.say(f"{len(released):,} {noun} let out and will be in the next editions.")
    else:
        output.say("Nothing waited.")


@app.command()
def hold(ctx: typer.Context, articles: Numbers, *, json: output.Json = False) -> None:
    """Hold articles back until they are released, while no edition of any cadence has them."""
    from newsletter.editions import editor

    with context.of(ctx).database() as engine:
        held = editor.hold(engine, set(articles), now=clock.utc_now(), actor=context.actor())
    _report("held", held, "held: no edition has them before `newsletter articles release`", json)


@app.command()
def release(ctx: typer.Context, articles: Numbers, *, json: output.Json = False) -> None:
    """Let held articles out; they go into the next editions like new ones."""
    from newsletter.editions import editor

    with context.of(ctx).database() as engine:
        ids = editor.release(engine, set(articles), now=clock.utc_now(), actor=context.actor())
    _report("released", ids, "released and will be in the next editions", json)


@app.command()
def reject(ctx: typer.Context, articles: Numbers, *, json: output.Json = False) -> None:
    """Keep articles out of every edition for good, even if their feed brings them again.

    Possible until an edition has them, whether they are out, held or in quarantine. It cannot be
    undone.
    """
    from newsletter.editions import editor

    with context.of(ctx).database() as engine:
        ids = editor.reject(engine, set(articles), now=clock.utc_now(), actor=context.actor())
    _report("rejected", ids, "rejected: no edition will have them", json)


@app.command()
def pin(ctx: typer.Context, article: Number, *, json: output.Json = False) -> None:
    """Make an article the lead of the next edition of each cadence; only one can be pinned."""
    from newsletter.editions import editor

    here = context.of(ctx)
    with here.database() as engine:
        found, leads = editor.pin(
            engine,
            article,
            now=clock.utc_now(),
            actor=context.actor(),
            publication=here.publication,
        )
    if json:
        output.as_json({"pinned": found.id, "leads": leads})
    else:
        output.say(
            f"Article {found.id} leads the next {output.listed(leads)} edition: {found.title}"
        )
        if found.state is ArticleState.HELD:
            output.say(f"It is held: release it first, `newsletter articles release {found.id}`.")


@app.command()
def unpin(ctx: typer.Context, *, json: output.Json = False) -> None:
    """Unpin the pinned article, so that the newest article leads again."""
    from newsletter.editions import editor

    with context.of(ctx).database() as engine:
        found = editor.unpin(engine, now=clock.utc_now(), actor=context.actor())
    if json:
        output.as_json({"unpinned": found.id if found else None})
    elif found:
        output.say(f"Article {found.id} is pinned no more: {found.title}")
    else:
        output.say("No article was pinned.")


@app.command()
def edit(
    ctx: typer.Context,
    article: Number,
    *,
    title: Annotated[
        str | None, typer.Option(callback=context.legible, help="The title in the next mails.")
    ] = None,
    standfirst: Annotated[
        str | None,
        typer.Option(
            callback=context.legible, help='The standfirst in the next mails; "" for none.'
        ),
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Use the feed's own words again.")] = False,
    json: output.Json = False,
) -> None:
    """Write the title and standfirst that the next mails have for an article.

    They stay until --reset, whatever the feed brings. Mails that are made already do not change.
    """
    from newsletter.editions import arranging

    if reset == (title is not None or standfirst is not None):
        raise InvalidInput("Give --title, --standfirst or both, or else --reset.")
    here, now, actor = context.of(ctx), clock.utc_now(), context.actor()
    with here.database() as engine:
        if reset:
            found = arranging.reset(engine, article, now=now, actor=actor)
        else:
            found = arranging.edit(
                engine, article, title=title, standfirst=standfirst, now=now, actor=actor
            )
    if json:
        output.as_json(_article(found, here.settings))
    else:
        output.say(f"The next mails have article {found.id} as: {found.shown_title}")
        output.say(found.shown_standfirst or "It has no standfirst.")


@app.command()
def order(
    ctx: typer.Context,
    cadence: CadenceArgument,
    articles: Annotated[
        list[int] | None,
        typer.Argument(max=output.LARGEST, help="Their numbers, in their order."),
    ] = None,
    *,
    reset: Annotated[bool, typer.Option("--reset", help="Order all by date again.")] = False,
    json: output.Json = False,
) -> None:
    """Let articles come first in the next edition of a cadence; without any, show the order.

    The others follow by date, and a pinned article leads all the same. The order is for that
    edition alone, and changes nothing of which articles it has.
    """
    from newsletter.db import session as sessions
    from newsletter.editions import arranging

    if reset and articles:
        raise InvalidInput("Name articles or --reset, not both.")
    here, now = context.of(ctx), clock.utc_now()
    with here.database() as engine:
        if articles or reset:
            found = arranging.order(
                engine,
                cadence,
                articles or [],
                now=now,
                actor=context.actor(),
                publication=here.publication,
            )
        else:
            with sessions.reading(engine) as session:
                found, _ = arranging.coming(session, cadence, now=now, publication=here.publication)
    if json:
        listed = [{"article": one.id, "title": one.shown_title} for one in found]
        output.as_json({"cadence": cadence, "articles": listed})
    elif found:
        output.table(
            ("place", "article", "title"),
            [(place, one.id, one.shown_title) for place, one in enumerate(found, start=1)],
        )
    else:
        output.say(f"The next {cadence} edition has no article yet.")


def _report(name: str, ids: list[int], done: str, json: bool) -> None:
    if json:
        output.as_json({name: len(ids), "articles": ids})
    elif not ids:
        output.say(f"Nothing was to be {name}.")
    else:
        said = done.replace("them", "it") if len(ids) == 1 else done
        output.say(
            f"{output.counted(len(ids), 'article')} {'is' if len(ids) == 1 else 'are'} {said}."
        )


def _chosen(*, quarantined: bool, held: bool, rejected: bool) -> ArticleState | None:
    chosen = [
        state
        for state, is_chosen in (
            (ArticleState.QUARANTINED, quarantined),
            (ArticleState.HELD, held),
            (ArticleState.REJECTED, rejected),
        )
        if is_chosen
    ]
    if len(chosen) > 1:
        raise InvalidInput("Choose one of --quarantined, --held and --rejected.")
    return next(iter(chosen), None)


def _cells(article: Article, settings: Settings) -> tuple[object, ...]:
    from newsletter.graphemes import shorten

    published_at, seen_at = article.published_at, article.seen_at
    return (
        article.id,
        shorten(article.title, 90),
        published_at.date() if published_at else None,
        (seen_at or article.created_at).date(),
        _state(article, settings),
    )


def _state(article: Article, settings: Settings) -> str:
    from newsletter.editions import assemble

    if article.state is ArticleState.QUARANTINED:
        return f"waits: {article.quarantine_reason}"
    left_out = assemble.left_out(article.categories, settings.skip_categories)
    words = [article.state.value]
    if article.state is not ArticleState.REJECTED and left_out is not None:
        words = [f"left out: {left_out}"]
    is_edited = article.mail_title is not None or article.mail_standfirst is not None
    words += [
        word for word, holds in (("pinned", article.pinned_at), ("edited", is_edited)) if holds
    ]
    return ", ".join(words)


def _article(article: Article, settings: Settings) -> dict[str, Any]:
    from newsletter.editions import assemble

    image = {
        "url": article.image_url,
        "width": article.image_width,
        "height": article.image_height,
        "alt": article.image_alt,
    }
    return {
        "article": article.id,
        "state": article.state,
        "feed": article.feed_id,
        "guid": article.guid,
        "title": article.title,
        "link": article.link,
        "standfirst": article.standfirst,
        "mail_title": article.mail_title,
        "mail_standfirst": article.mail_standfirst,
        "image": image if article.image_url else None,
        "author": article.author,
        "source": article.source,
        "categories": article.categories,
        "minutes": article.minutes,
        "published_at": article.published_at,
        "seen_at": article.seen_at,
        "quarantined_at": article.quarantined_at,
        "quarantine_reason": article.quarantine_reason,
        "held_at": article.held_at,
        "rejected_at": article.rejected_at,
        "pinned_at": article.pinned_at,
        "left_out": assemble.left_out(article.categories, settings.skip_categories),
        "updated_at": article.updated_at,
    }


def _line(value: object) -> object:
    if isinstance(value, list):
        return ", ".join(value) or None
    if isinstance(value, dict):
        return value["url"]
    return value
