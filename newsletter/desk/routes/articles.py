"""Articles: what came, what waits for a decision, and what editors do with it."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, Form, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import Field

from newsletter import audit
from newsletter.articles import ingest, store
from newsletter.articles.ingest import Draft
from newsletter.db import session as sessions
from newsletter.desk import dependencies, paging
from newsletter.desk.dependencies import Desk, Signed
from newsletter.desk.pages import counted
from newsletter.editions import arranging, assemble, editor, leading, mailings
from newsletter.models import ArticleState

router = APIRouter()

#: Maximum of editions that the page of an article lists.
_EDITIONS = 20
_LARGEST = 2**63 - 1

Number = Annotated[int, Query(ge=1, le=_LARGEST)]
Id = Annotated[int, Path(ge=1, le=_LARGEST)]
#: The articles that are marked in a list.
Marked = Annotated[
    list[Annotated[int, Field(ge=1, le=_LARGEST)]], Form(min_length=1, max_length=paging.SIZE)
]
#: The page to which a form leads, within the desk.
_BACK = r"^(/(articles|next)([/?][\w/?=&-]*)?)?$"
Back = Annotated[str, Form(pattern=_BACK, max_length=200)]


@router.get("/articles")
def index(
    desk: Desk,
    request: Request,
    state: ArticleState | None = None,
    feed: Number | None = None,
    before: paging.Before = None,
) -> HTMLResponse:
    """List articles, the last stored first."""
    with sessions.reading(desk.engine) as session:
        found = store.page(session, state=state, feed_id=feed, limit=paging.SIZE + 1, before=before)
    rows = paging.cut(found, key=lambda row: row.id, is_first=before is None)
    chosen = {"state": state, "feed": feed}
    query = "&".join(f"{name}={value}" for name, value in chosen.items() if value is not None)
    return dependencies.page(
        request,
        "articles",
        rows=rows,
        state=state,
        states=list(ArticleState),
        left_out={
            one.id: name
            for one in rows.rows
            if (name := assemble.left_out(one.categories, desk.settings.skip_categories))
        },
        here=f"/articles?{query}" if query else "/articles",
        url=f"/articles?{query}&" if query else "/articles?",
    )


class Words(NamedTuple):
    """The form with an article's words."""

    title: str
    standfirst: str
    is_reset: bool
    back: str


def _words(
    title: Annotated[str, Form(max_length=4_000)] = "",
    standfirst: Annotated[str, Form(max_length=4_000)] = "",
    reset: Annotated[str, Form(max_length=8)] = "",
    back: Annotated[str, Form(pattern=_BACK, max_length=200)] = "",
) -> Words:
    """Return the fields of the form."""
    return Words(title, standfirst, bool(reset), back)


@router.get("/articles/add")
def ask(request: Request) -> HTMLResponse:
    """Show the form of an article that is added by hand."""
    return dependencies.page(request, "article_add")


def _draft(
    desk: Desk,
    title: Annotated[str, Form(max_length=1_000)] = "",
    link: Annotated[str, Form(max_length=4_000)] = "",
    standfirst: Annotated[str, Form(max_length=4_000)] = "",
    *,
    image: Annotated[str, Form(max_length=4_000)] = "",
    author: Annotated[str, Form(max_length=300)] = "",
    source: Annotated[str, Form(max_length=300)] = "",
    categories: Annotated[str, Form(max_length=1_000)] = "",
    minutes: Annotated[int, Form(ge=1, le=600)] = 1,
    published: Annotated[str, Form(max_length=40)] = "",
) -> Draft:
    """Return the article in the form."""
    return Draft(
        title=title,
        link=link.strip(),
        standfirst=standfirst,
        image=image.strip() or None,
        author=author or None,
        source=source or None,
        categories=tuple(filter(None, (one.strip() for one in categories.split(",")))),
        minutes=minutes,
        published_at=ingest.instant(published, desk.settings.zone) if published else None,
    )


@router.post("/articles/add")
def add(
    desk: Desk, request: Request, person: Signed, draft: Annotated[Draft, Depends(_draft)]
) -> Response:
    """Add an article by hand."""
    made = ingest.add_article(desk.engine, draft, desk.clock(), actor=person.actor)
    said = "It is added, and goes into the next editions."
    return dependencies.done(request, f"/articles/{made.id}", said)


@router.post("/articles/approve")
def approve(
    desk: Desk, request: Request, person: Signed, article: Marked, back: Back = "/articles"
) -> Response:
    """Let articles out of quarantine."""
    done = ingest.approve(desk.engine, set(article), desk.clock(), actor=person.actor)
    return _done(request, back, done, "let out and will be in the next editions")


@router.post("/articles/hold")
def hold(
    desk: Desk, request: Request, person: Signed, article: Marked, back: Back = "/articles"
) -> Response:
    """Hold articles back."""
    done = editor.hold(desk.engine, set(article), now=desk.clock(), actor=person.actor)
    return _done(request, back, done, "held: no edition has them before they are released")


@router.post("/articles/release")
def release(
    desk: Desk, request: Request, person: Signed, article: Marked, back: Back = "/articles"
) -> Response:
    """Release articles that are held."""
    done = editor.release(desk.engine, set(article), now=desk.clock(), actor=person.actor)
    return _done(request, back, done, "released and will be in the next editions")


@router.post("/articles/reject")
def reject(
    desk: Desk, request: Request, person: Signed, article: Marked, back: Back = "/articles"
) -> Response:
    """Keep articles out of every edition for good."""
    done = editor.reject(desk.engine, set(article), now=desk.clock(), actor=person.actor)
    return _done(request, back, done, "rejected: no edition will have them")


@router.post("/articles/pin")
def pin(
    desk: Desk,
    request: Request,
    person: Signed,
    article: Annotated[int, Form(ge=1, le=_LARGEST)],
    back: Back = "/articles",
) -> Response:
    """Make an article the lead of the next edition of each cadence."""
    found, leads = editor.pin(
        desk.engine,
        article,
        now=desk.clock(),
        actor=person.actor,
        publication=desk.publication,
    )
    said = f"It leads the next {' and '.join(leads)} edition: {found.title}"
    return dependencies.done(request, back or "/articles", said)


@router.post("/articles/unpin")
def unpin(desk: Desk, request: Request, person: Signed, back: Back = "/articles") -> Response:
    """Unpin the pinned article."""
    found = editor.unpin(desk.engine, now=desk.clock(), actor=person.actor)
    said = f"Pinned no more: {found.title}" if found else "No article was pinned."
    return dependencies.done(request, back or "/articles", said)


@router.get("/articles/{article}")
def show(
    desk: Desk, request: Request, article: Id, back: Annotated[str, Query(pattern=_BACK)] = ""
) -> HTMLResponse:
    """Show one article, the editions with it, and what editors did with it."""
    now = desk.clock()
    with sessions.reading(desk.engine) as session:
        found = store.article(session, article)
        feed = store.feed(session, found.feed_id) if found.feed_id else None
        editions = mailings.placed_in(session, article, limit=_EDITIONS)
        had_by = mailings.edition_with(session, article, but_cancelled=True)
        acts = audit.of(session, [f"article:{article}"])
        coming = leading.to_come(
            session, found, pinned_at=now, now=now, publication=desk.publication
        )
    return dependencies.page(
        request,
        "article",
        article=found,
        feed=feed,
        editions=editions,
        had_by=had_by,
        acts=acts,
        coming=coming,
        back=back,
        longest=(arranging.LONGEST_TITLE, arranging.LONGEST_STANDFIRST),
        left_out=assemble.left_out(found.categories, desk.settings.skip_categories),
    )


@router.post("/articles/{article}/words")
def edit(
    desk: Desk,
    request: Request,
    person: Signed,
    article: Id,
    given: Annotated[Words, Depends(_words)],
) -> Response:
    """Write the title and standfirst of the next mails, or use the feed's again."""
    now, actor = desk.clock(), person.actor
    if given.is_reset:
        arranging.reset(desk.engine, article, now=now, actor=actor)
        said = "The next mails have the words of its feed."
    else:
        arranging.edit(
            desk.engine,
            article,
            title=given.title,
            standfirst=given.standfirst,
            now=now,
            actor=actor,
        )
        said = "The next mails have these words, whatever the feed brings."
    return dependencies.done(request, given.back or f"/articles/{article}", said)


def _done(request: Request, back: str, ids: list[int], words: str) -> Response:
    if not ids:
        return dependencies.done(request, back or "/articles", "Nothing was to be changed.")
    words = words.replace("them", "it").replace("they are", "it is") if len(ids) == 1 else words
    said = f"{counted(len(ids), 'article')} {'is' if len(ids) == 1 else 'are'} {words}."
    return dependencies.done(request, back or "/articles", said)
