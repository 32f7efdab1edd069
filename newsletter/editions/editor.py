"""The editor's actions: hold, reject and pin articles, skip an edition, and write a note.

Each action is one transaction that takes the freeze lock first, so that it is either part of a
freeze, or can read what was frozen. Each action that changes anything is recorded in the audit log.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import audit, cadences
from newsletter.articles import store as articles
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.editions import assemble, leading, mailings, periods, store
from newsletter.errors import Conflict, NotFound
from newsletter.models import Article, ArticleState, EditionState, Note
from newsletter.publication import Publication
from newsletter.rendering import note as notes
from newsletter.subscribers import next_digest

#: The reason stored with an edition that the editor skipped in advance.
WEEK_OFF = "Skipped by the editor."


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A period that was skipped or unskipped, and the next one that will be made."""

    cadence: str
    period: date
    edition: str
    due_at: datetime
    following: str
    #: Whether this call has changed anything.
    is_new: bool


def hold(engine: Engine, ids: Collection[int], *, now: datetime, actor: str) -> list[int]:
    """Hold articles back before any edition has them; return the ids of those held now.

    They have no `seen_at` until `release` gives them a new one. Articles that are held already do
    not change. Raises NotFound, and Conflict if an article is not out, or is in an edition, even a
    cancelled one; nothing is changed then.
    """
    with editing(engine, ids, now) as (session, instant, found):
        chosen = [one for one in found if one.state is not ArticleState.HELD]
        for one in chosen:
            _refuse_quarantined(one)
            refuse_rejected(one)
            _refuse_frozen(session, one, "held")
            articles.change_article(
                session, _id(one), {"seen_at": None, "held_at": instant, "updated_at": instant}
            )
        return _noted(session, "articles.hold", chosen, actor=actor, at=instant)


def release(engine: Engine, ids: Collection[int], *, now: datetime, actor: str) -> list[int]:
    """Release held articles; return the ids of those that were held.

    Their `seen_at` becomes the instant of the freeze lock, as for approved articles: it is later
    than every watermark, so the next editions include them like new ones. Raises NotFound, and
    Conflict if an article is rejected or in quarantine.
    """
    with editing(engine, ids, now) as (session, instant, found):
        for one in found:
            _refuse_quarantined(one)
            refuse_rejected(one)
        released = set(
            articles.let_out(
                session, [_id(one) for one in found], state=ArticleState.HELD, seen_at=instant
            )
        )
        chosen = [one for one in found if one.id in released]
        return _noted(session, "articles.release", chosen, actor=actor, at=instant)


def reject(engine: Engine, ids: Collection[int], *, now: datetime, actor: str) -> list[int]:
    """Exclude articles from all editions permanently; return the ids of those rejected now.

    The rows stay, so that the same items of a feed are recognised later. Raises NotFound, and
    Conflict if an article is in an edition that was not cancelled.
    """
    with editing(engine, ids, now) as (session, instant, found):
        chosen = [one for one in found if one.state is not ArticleState.REJECTED]
        changes = dict.fromkeys(("seen_at", "quarantined_at", "quarantine_reason", "pinned_at"))
        for one in chosen:
            _refuse_frozen(session, one, "rejected", but_cancelled=True)
            articles.change_article(
                session, _id(one), {**changes, "rejected_at": instant, "updated_at": instant}
            )
        return _noted(session, "articles.reject", chosen, actor=actor, at=instant)


def pin(
    engine: Engine, article_id: int, *, now: datetime, actor: str, publication: Publication
) -> tuple[Article, list[Cadence]]:
    """Make an article the lead of the next edition of each cadence, in place of any pinned before.

    Returns the article, and the cadences whose next edition it will lead. Raises NotFound, and
    Conflict if no edition will have the article.
    """
    with editing(engine, [article_id], now) as (session, instant, (found,)):
        _refuse_quarantined(found)
        refuse_rejected(found)
        _refuse_left_out(found, publication)
        leads = leading.to_come(session, found, pinned_at=instant, now=now, publication=publication)
        if not leads:
            raise Conflict(
                f"No edition is to come that has article {article_id}.",
                hint="Pin one that came since; `newsletter articles list` shows the latest first.",
            )
        articles.pin(session, article_id, at=instant)
        _noted(session, "articles.pin", [found], actor=actor, at=instant)
        return found, leads


def unpin(engine: Engine, *, now: datetime, actor: str) -> Article | None:
    """Unpin the pinned article and return it, so that the newest leads again; None without one."""
    with editing(engine, [], now) as (session, instant, _):
        found = articles.pinned(session)
        if found is not None:
            articles.pin(session, None, at=instant)
            _noted(session, "articles.unpin", [found], actor=actor, at=instant)
        return found


def skip(
    engine: Engine, cadence: Cadence, *, now: datetime, actor: str, publication: Publication
) -> Skipped:
    """Skip the next edition of a cadence, by recording it as skipped before it is made.

    Watermarks do not change, so the edition after it has the articles. A second call before the
    time of the skipped edition changes nothing.
    """
    with sessions.writing(engine) as session:
        instant = sessions.freeze_lock(session, now)
        period = periods.upcoming(session, cadence, now=now, publication=publication)
        made = periods.skip_period(
            session, cadence, period, reason=WEEK_OFF, now=now, publication=publication
        )
        if made:
            _edition_noted(session, "editions.skip", cadence, period, actor=actor, at=instant)
        elif not _is_skipped(session, cadence, period):
            raise Conflict(f"{cadences.slug(cadence, period)} is made already.")
        return _skipped(session, cadence, period, publication, is_new=made)


def unskip(
    engine: Engine, cadence: Cadence, *, now: datetime, actor: str, publication: Publication
) -> Skipped:
    """Undo `skip`, so that the edition is made; raises Conflict if none is skipped."""
    with sessions.writing(engine) as session:
        instant = sessions.freeze_lock(session, now)
        period = cadences.next_due(cadence, now, publication.send_times)
        if not _is_skipped(session, cadence, period):
            raise Conflict(
                f"The next {cadence} edition, {cadences.slug(cadence, period)}, is not skipped.",
                hint=f"`newsletter send {cadence} --force` makes a skipped one that has been due.",
            )
        store.discard_skipped(session, cadence, period)
        _edition_noted(session, "editions.unskip", cadence, period, actor=actor, at=instant)
        return _skipped(session, cadence, period, publication, is_new=True)


def next_skipped(
    engine: Engine, cadence: Cadence, *, now: datetime, publication: Publication
) -> Skipped | None:
    """Return the next period of a cadence if it is skipped; None otherwise."""
    with sessions.reading(engine) as session:
        period = cadences.next_due(cadence, now, publication.send_times)
        if not _is_skipped(session, cadence, period):
            return None
        return _skipped(session, cadence, period, publication, is_new=False)


def write_note(engine: Engine, cadence: Cadence, text: str, *, now: datetime, actor: str) -> Note:
    """Put a note above the articles of the next edition, in place of one that waits.

    `text` is Markdown. Raises InvalidInput if it is empty, too long or has control characters.
    """
    written = notes.check(text)
    with sessions.writing(engine) as session:
        instant = sessions.freeze_lock(session, now)
        store.discard_note(session, cadence)
        made = store.add_note(session, cadence, written, now=instant)
        _note_noted(session, "note.write", made, actor=actor, at=instant)
        return made


def waiting_note(engine: Engine, cadence: Cadence) -> Note | None:
    """Return the note that waits for the next edition of a cadence, if there is one."""
    with sessions.reading(engine) as session:
        return store.waiting_note(session, cadence)


def remove_note(engine: Engine, cadence: Cadence, *, now: datetime, actor: str) -> Note | None:
    """Remove the note that waits for the next edition, and return it; None without one."""
    with sessions.writing(engine) as session:
        instant = sessions.freeze_lock(session, now)
        found = store.waiting_note(session, cadence)
        if found is not None:
            store.discard_note(session, cadence)
            _note_noted(session, "note.remove", found, actor=actor, at=instant)
        return found


@contextmanager
def editing(
    engine: Engine, ids: Collection[int], now: datetime
) -> Iterator[tuple[Session, datetime, list[Article]]]:
    """Yield a transaction under the freeze lock, its instant, and the articles with some ids."""
    with sessions.writing(engine) as session:
        instant = sessions.freeze_lock(session, now)
        missing = articles.missing(session, ids)
        if missing:
            raise NotFound(
                f"There is no article {', '.join(map(str, missing))}.",
                hint="`newsletter articles list` shows them.",
            )
        yield session, instant, articles.by_ids(session, ids)


def _refuse_quarantined(article: Article) -> None:
    if article.state is ArticleState.QUARANTINED:
        raise Conflict(
            f"Article {article.id} waits in quarantine ({article.quarantine_reason}).",
            hint=f"No edition has it before `newsletter articles approve {article.id}`.",
        )


def refuse_rejected(article: Article) -> None:
    """Raise Conflict for an article that an editor has rejected."""
    if article.state is ArticleState.REJECTED:
        raise Conflict(f"Article {article.id} is rejected, for good.")


def _refuse_frozen(
    session: Session, article: Article, done: str, *, but_cancelled: bool = False
) -> None:
    edition = mailings.edition_with(session, _id(article), but_cancelled=but_cancelled)
    if edition is not None:
        raise Conflict(
            f"Article {article.id} is in {edition} and cannot be {done}.",
            hint=f"`newsletter editions cancel {edition}` stops what has not left; "
            f"`newsletter editions correct {edition}` writes to those who had it.",
        )


def _refuse_left_out(article: Article, publication: Publication) -> None:
    left_out = assemble.left_out(article.categories, publication.skip_categories)
    if left_out is not None:
        raise Conflict(
            f"Article {article.id} is in no edition: its category {left_out} is left out.",
            hint="Look at the setting skip_categories.",
        )


def _is_skipped(session: Session, cadence: Cadence, period: date) -> bool:
    found = store.find(session, cadence, period)
    return found is not None and found.state == EditionState.SKIPPED


def _skipped(
    session: Session, cadence: Cadence, period: date, publication: Publication, *, is_new: bool
) -> Skipped:
    times = publication.send_times
    due_at = cadences.due_at(cadence, period, times)
    ahead = next_digest.skipped_ahead(session, now=due_at)[cadence]
    following = cadences.next_due(cadence, due_at - datetime.resolution, times, skipped=ahead)
    return Skipped(
        cadence=cadence,
        period=period,
        edition=cadences.slug(cadence, period),
        due_at=due_at,
        following=cadences.slug(cadence, following),
        is_new=is_new,
    )


def _noted(
    session: Session, action: str, chosen: Sequence[Article], *, actor: str, at: datetime
) -> list[int]:
    subjects = {f"article:{one.id}": one.title for one in chosen}
    audit.record(session, action, subjects, actor=actor, at=at)
    return [_id(one) for one in chosen]


def _edition_noted(
    session: Session, action: str, cadence: Cadence, period: date, *, actor: str, at: datetime
) -> None:
    subject = f"edition:{cadences.slug(cadence, period)}"
    audit.record(session, action, {subject: ""}, actor=actor, at=at)


def _note_noted(session: Session, action: str, note: Note, *, actor: str, at: datetime) -> None:
    audit.record(session, action, {f"note:{note.cadence}": note.text}, actor=actor, at=at)


def _id(article: Article) -> int:
    assert article.id is not None
    return article.id
