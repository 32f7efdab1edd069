"""The editor's words and order for the next mails: title and standfirst of an article, and places.

Each action is one transaction under the freeze lock, like those of `editor`. The words stay with
the article until they are reset, and a feed cannot change them. An order is for the next edition of
one cadence: it decides the places of the articles that the edition has, and never which it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import audit, cadences
from newsletter.articles import store as articles
from newsletter.articles import text
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.editions import composition, editor, leading, periods, store
from newsletter.editions.assemble import Batch
from newsletter.editions.composition import Composition
from newsletter.errors import Conflict, InvalidInput
from newsletter.models import Article
from newsletter.publication import Publication

#: Maximum characters of a title and of a standfirst: a mail shortens longer ones.
LONGEST_TITLE, LONGEST_STANDFIRST = 300, 420
#: Maximum of articles that an order names.
MOST = 100


def edit(
    engine: Engine,
    article_id: int,
    *,
    title: str | None = None,
    standfirst: str | None = None,
    now: datetime,
    actor: str,
) -> Article:
    """Write title and standfirst for the next mails with an article; None leaves one as it is.

    Words that equal the feed's own are not kept, so that later updates of the feed apply again. An
    empty standfirst leaves it out. Frozen editions do not change. Raises NotFound, Conflict if the
    article is rejected, and InvalidInput for an empty title or too many characters.
    """
    given = {
        "title": None if title is None else _title(title),
        "standfirst": None if standfirst is None else _standfirst(standfirst),
    }
    with editor.editing(engine, [article_id], now) as (session, instant, (found,)):
        editor.refuse_rejected(found)
        words = {name: words for name, words in given.items() if words is not None}
        kept = {
            name: None if words == getattr(found, name) else words for name, words in words.items()
        }
        return _reword(session, found, kept, actor=actor, at=instant)


def reset(engine: Engine, article_id: int, *, now: datetime, actor: str) -> Article:
    """Give an article the words of its feed again; raises NotFound."""
    with editor.editing(engine, [article_id], now) as (session, instant, (found,)):
        kept = dict.fromkeys(("title", "standfirst"))
        return _reword(session, found, kept, actor=actor, at=instant)


def order(
    engine: Engine,
    cadence: Cadence,
    ids: Sequence[int],
    *,
    now: datetime,
    actor: str,
    publication: Publication,
) -> list[Article]:
    """Let articles come first in the next edition of a cadence, in this order; none resets it.

    A pinned article leads all the same, and the others follow by date. Returns the articles of the
    edition in their order, as a new reader would get them now. Raises InvalidInput for repeated
    articles or too many, NotFound, and Conflict if the edition will not have one of them.
    """
    if len(set(ids)) != len(ids):
        raise InvalidInput("An article is named twice.", hint="Name each once, in its order.")
    if len(ids) > MOST:
        raise InvalidInput(f"An order names {MOST} articles at most.")
    with editor.editing(engine, ids, now) as (session, instant, found):
        for one in found:
            editor.refuse_rejected(one)
            coming = leading.to_come(
                session, one, pinned_at=instant, now=instant, publication=publication
            )
            if cadence not in coming:
                raise Conflict(
                    f"The next {cadence} edition will not have article {one.id}.",
                    hint=f"`newsletter articles order {cadence}` shows those that it will have.",
                )
        _keep(session, cadence, ids, actor=actor, at=instant)
        return _coming(session, cadence, now=now, at=instant, publication=publication)


def move(
    engine: Engine,
    cadence: Cadence,
    article_id: int,
    *,
    to: int,
    now: datetime,
    actor: str,
    publication: Publication,
) -> list[Article]:
    """Move an article of the next edition of a cadence to a place, counted from 1.

    Only the places down to the last one that was changed are kept, so that articles that come later
    follow after these by date. Raises Conflict if the edition has no such article, or a pinned
    article leads; returns the same as `order`.
    """
    with editor.editing(engine, [article_id], now) as (session, instant, _):
        listed = _coming(session, cadence, now=now, at=instant, publication=publication)
        ids = [one.id for one in listed if one.id is not None]
        if article_id not in ids:
            raise Conflict(f"The next {cadence} edition will not have article {article_id}.")
        pinned = next((one for one in listed[:1] if one.pinned_at is not None), None)
        if pinned is not None and (to <= 1 or article_id == pinned.id):
            raise Conflict(
                f"Article {pinned.id} is pinned, and leads.",
                hint="Unpin it, or pin another article.",
            )
        ids.remove(article_id)
        ids.insert(max(0, to - 1), article_id)
        before = [one.id for one in listed if one.id is not None]
        length = _changed(before, ids, store.waiting_order(session, cadence))
        chosen = [one for one in ids[:length] if pinned is None or one != pinned.id]
        _keep(session, cadence, chosen, actor=actor, at=instant)
        return _coming(session, cadence, now=now, at=instant, publication=publication)


def place(
    engine: Engine,
    cadence: Cadence,
    listed: Sequence[int],
    places: Sequence[int],
    *,
    now: datetime,
    actor: str,
    publication: Publication,
) -> list[Article]:
    """Order listed articles by the places that an editor has written beside them.

    `listed` are the ids in their present order without a pinned lead, and `places` theirs, from 1.
    Raises InvalidInput if these do not match, and otherwise what `order` does; returns the same.
    """
    if len(listed) != len(places):
        raise InvalidInput("Each article needs a place.")
    wanted = by_place(listed, places)
    with sessions.reading(engine) as session:
        before = store.waiting_order(session, cadence)
    kept = wanted[: _changed(listed, wanted, before)]
    return order(engine, cadence, kept, now=now, actor=actor, publication=publication)


def by_place(listed: Sequence[int], places: Sequence[int]) -> list[int]:
    """Return listed ids by their new places, from 1.

    A place that was changed is meant: the article takes it, and the one that was there gives way.
    """

    def key(one: tuple[int, tuple[int, int]]) -> float:
        was, (_, place) = one
        return place + (0.5 if place > was else -0.5 if place < was else 0.0)

    found = enumerate(zip(listed, places, strict=True), start=1)
    return [article_id for _, (article_id, _) in sorted(found, key=key)]


def coming(
    session: Session, cadence: Cadence, *, now: datetime, publication: Publication
) -> tuple[list[Article], int]:
    """Return the articles of the next edition, as a new reader would get them now, and their total.

    The total is larger if there are more than an edition has (catch_up_articles).
    """
    found = _batch(session, cadence, now=now, at=now, publication=publication)
    return list(found.articles), found.total


def _coming(
    session: Session, cadence: Cadence, *, now: datetime, at: datetime, publication: Publication
) -> list[Article]:
    return list(_batch(session, cadence, now=now, at=at, publication=publication).articles)


def _batch(
    session: Session, cadence: Cadence, *, now: datetime, at: datetime, publication: Publication
) -> Batch:
    start = periods.coverage_start(session, cadence, end=at, publication=publication)
    period = cadences.newest_due(cadence, now, publication.send_times)
    shared = Composition.of(session, cadence, period, publication, pinned_after=start, end=at)
    return composition.batch(session, start, readers=1, composition=shared)


def _reword(
    session: Session, article: Article, kept: dict[str, str | None], *, actor: str, at: datetime
) -> Article:
    """Store the words of an article; record each field that has changed."""
    assert article.id is not None
    for name, words in kept.items():
        before, column = getattr(article, f"shown_{name}"), f"mail_{name}"
        if words == getattr(article, column):
            continue
        articles.change_article(session, article.id, {column: words, "updated_at": at})
        session.refresh(article)
        audit.record(
            session,
            "articles.edit",
            {f"article:{article.id}": name},
            actor=actor,
            at=at,
            before=before,
            after=getattr(article, f"shown_{name}"),
        )
    return article


def _changed(before: Sequence[int], after: Sequence[int], ordered: Sequence[int]) -> int:
    """Return how many places from the first have to be kept: to the last changed or ordered one."""
    pairs = enumerate(zip(before, after, strict=True), start=1)
    return max((at for at, (was, is_now) in pairs if was != is_now or is_now in ordered), default=0)


def _keep(
    session: Session, cadence: Cadence, ids: Sequence[int], *, actor: str, at: datetime
) -> None:
    before = store.waiting_order(session, cadence)
    if tuple(ids) == before:
        return
    store.write_order(session, cadence, ids, now=at)
    audit.record(
        session,
        "articles.order",
        {f"order:{cadence}": ""},
        actor=actor,
        at=at,
        before=", ".join(map(str, before)),
        after=", ".join(map(str, ids)),
    )


def _title(words: str) -> str:
    cleaned = text.clean(words)
    if not cleaned:
        raise InvalidInput("An article needs a title.")
    return _short(cleaned, LONGEST_TITLE, "A title")


def _standfirst(words: str) -> str:
    return _short(text.clean(words), LONGEST_STANDFIRST, "A standfirst")


def _short(words: str, longest: int, name: str) -> str:
    if len(words) > longest:
        raise InvalidInput(f"{name} has {longest} characters at most.", hint="Write fewer.")
    return words
