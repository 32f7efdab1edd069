"""Queries about the mailings of editions: frozen messages and articles, and what may be sent.

The functions take a Session and never commit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import BindParameter, ColumnElement, Select, func, insert
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from newsletter import cadences, tokens
from newsletter.models import (
    Article,
    Edition,
    EditionState,
    Kind,
    Mailing,
    MailingArticle,
    Role,
)

if TYPE_CHECKING:
    from newsletter.rendering.compile import Rendered

_edition_id = col(Edition.id)
_edition_state = col(Edition.state)


# Freezing


def add_digest(
    session: Session,
    edition: Edition,
    rendered: Rendered,
    *,
    public_id: str,
    frozen: Mapping[str, Any],
    now: datetime,
) -> int:
    """Store a compiled digest, with the values for its slots; return its id."""
    digest = {"public_id": public_id, "kind": Kind.DIGEST, "edition_id": edition.id}
    return _freeze(session, rendered, created_at=now, **digest, **frozen)


def add_announcement(
    session: Session,
    edition: Edition,
    rendered: Rendered,
    *,
    key: str,
    public_id: str,
    frozen: Mapping[str, Any],
    now: datetime,
) -> int:
    """Store a compiled announcement; return its id."""
    announcement = {
        "public_id": public_id,
        "kind": Kind.ANNOUNCEMENT,
        "edition_id": edition.id,
        "key": key,
    }
    return _freeze(session, rendered, created_at=now, **announcement, **frozen)


def add_correction(
    session: Session,
    edition: Edition,
    rendered: Rendered,
    *,
    key: str,
    frozen: Mapping[str, Any],
    now: datetime,
) -> int:
    """Store a compiled correction, which is not counted with the edition; return its id."""
    correction = {
        "public_id": tokens.new_public_id(),
        "kind": Kind.CORRECTION,
        "corrects_id": edition.id,
        "key": key,
    }
    return _freeze(session, rendered, created_at=now, **correction, **frozen)


def keyed(session: Session, key: str) -> int | None:
    """Return the id of the mailing with a key; None if there is none."""
    return session.exec(select(Mailing.id).where(Mailing.key == key)).one_or_none()


def add_articles(
    session: Session, mailing_id: int, *, articles: Sequence[Article], related: Sequence[Article]
) -> None:
    """Store the articles of a mailing as they are at the freeze; the first one is the lead."""
    roles = [Role.LEAD, *[Role.STORY] * (len(articles) - 1), *[Role.RELATED] * len(related)]
    session.execute(
        insert(MailingArticle),
        [
            {
                "mailing_id": mailing_id,
                "article_id": article.id,
                "position": position,
                "role": role,
                "title": article.shown_title,
                "link": article.link,
                "content_hash": article.mailed_hash,
            }
            for position, (article, role) in enumerate(
                zip([*articles, *related], roles, strict=True), start=1
            )
        ],
    )


def _freeze(session: Session, rendered: Rendered, **columns: Any) -> int:  # noqa: ANN401 - a row
    body, fields = rendered.message.dump()
    mailing = Mailing(
        subject=rendered.message.subject,
        body=body,
        fields=fields,
        html=rendered.page,
        **columns,
    )
    session.add(mailing)
    session.flush()
    assert mailing.id is not None
    return mailing.id


# Selecting


def of(edition: Edition) -> Select[Any]:
    """Select the ids of the mailings of an edition."""
    return of_all([edition.id])


def of_all(edition_ids: Collection[int | None] | BindParameter[Any]) -> Select[Any]:
    """Select the ids of the mailings of some editions."""
    return select_columns(col(Mailing.id)).where(col(Mailing.edition_id).in_(edition_ids))


def corrections_of(edition: Edition) -> Select[Any]:
    """Select the ids of the mailings that correct an edition."""
    return select_columns(col(Mailing.id)).where(col(Mailing.corrects_id) == edition.id)


def among(ids: Collection[int]) -> Select[Any]:
    """Select mailings by id."""
    return select_columns(col(Mailing.id)).where(col(Mailing.id).in_(ids))


def settled(before: datetime) -> Select[Any]:
    """Select the mailings of settled editions whose coverage ended before an instant."""
    return _mailings_where(col(Edition.settled_at).is_not(None), col(Edition.coverage_end) < before)


def withheld() -> Select[Any]:
    """Select the mailings that workers must not claim.

    These are mailings of paused or cancelled editions, and corrections of paused ones.
    """
    corrects = col(Mailing.corrects_id) == _edition_id
    return (
        select_columns(col(Mailing.id))
        .join(Edition, (_edition_id == col(Mailing.edition_id)) | corrects)
        .where(
            (_edition_state == EditionState.PAUSED)
            | ((_edition_state == EditionState.CANCELLED) & ~corrects)
        )
    )


def unless_withheld(chosen: Select[Any]) -> Select[Any]:
    """Restrict a selection of mailings to those that workers may claim when the query runs."""
    return chosen.where(col(Mailing.id).not_in(withheld()))


def cancelled(*, and_of: Collection[int | None] = ()) -> Select[Any]:
    """Select the mailings of cancelled editions, and of the editions `and_of`."""
    is_cancelled = _edition_state == EditionState.CANCELLED
    return _mailings_where(is_cancelled | _edition_id.in_(and_of))


def holding(edition: Edition, article_id: int) -> Select[Any]:
    """Select the mailings of an edition that have an article as the lead or as a story.

    Mailings with the article as a related one do not count: they have only its headline, with a
    link to the present article on the site. Its text was in the edition that had it as a story.
    """
    return (
        select_columns(col(MailingArticle.mailing_id))
        .join(Mailing, col(Mailing.id) == col(MailingArticle.mailing_id))
        .where(
            col(Mailing.edition_id) == edition.id,
            col(MailingArticle.article_id) == article_id,
            col(MailingArticle.role) != Role.RELATED,
        )
    )


def _mailings_where(*conditions: ColumnElement[bool]) -> Select[Any]:
    return (
        select_columns(col(Mailing.id))
        .join(Edition, _edition_id == col(Mailing.edition_id))
        .where(*conditions)
    )


# Reading


def ids(session: Session, editions: Iterable[Edition]) -> list[int]:
    """Return the ids of the mailings of some editions."""
    found = of_all([edition.id for edition in editions])
    return list(session.execute(found).scalars())


def editions_of(session: Session, chosen: Select[Any]) -> dict[int, int]:
    """Return the edition of each of `chosen`."""
    found = session.execute(
        select_columns(col(Mailing.id), col(Mailing.edition_id)).where(col(Mailing.id).in_(chosen))
    )
    return {row.id: row.edition_id for row in found}


def placements(session: Session, edition: Edition) -> list[MailingArticle]:
    """Return the articles of an edition as they are in each of its mailings."""
    return list(
        session.exec(
            select(MailingArticle)
            .join(Mailing, col(Mailing.id) == col(MailingArticle.mailing_id))
            .where(Mailing.edition_id == edition.id)
        )
    )


def edition_with(session: Session, article_id: int, *, but_cancelled: bool = False) -> str | None:
    """Return the name of the latest edition that has an article as its lead or as a story.

    With `but_cancelled`, cancelled editions do not count. None if there is no such edition.
    """
    chosen = (
        select(Edition)
        .join(Mailing, col(Mailing.edition_id) == _edition_id)
        .join(MailingArticle, col(MailingArticle.mailing_id) == col(Mailing.id))
        .where(
            col(MailingArticle.article_id) == article_id,
            col(MailingArticle.role) != Role.RELATED,
        )
        .order_by(col(Edition.coverage_end).desc())
        .limit(1)
    )
    if but_cancelled:
        chosen = chosen.where(_edition_state != EditionState.CANCELLED)
    found = session.exec(chosen).first()
    return found.name if found else None


def had_by(session: Session, article_ids: Collection[int]) -> dict[int, str]:
    """Return the latest edition of each of some articles that has it as its lead or as a story."""
    found = session.execute(
        select_columns(col(MailingArticle.article_id), col(Edition.cadence), col(Edition.period))
        .join(Mailing, col(Mailing.id) == col(MailingArticle.mailing_id))
        .join(Edition, _edition_id == col(Mailing.edition_id))
        .where(
            col(MailingArticle.article_id).in_(article_ids),
            col(MailingArticle.role) != Role.RELATED,
        )
        .order_by(col(Edition.coverage_end))
    )
    return {article_id: cadences.slug(cadence, period) for article_id, cadence, period in found}


def placed_in(session: Session, article_id: int, *, limit: int) -> list[tuple[Edition, str, int]]:
    """Return the latest editions with an article: edition, role, and number of variants with it."""
    role = col(MailingArticle.role)
    found = session.execute(
        select_columns(Edition, func.min(role), func.count())
        .join(Mailing, col(Mailing.edition_id) == _edition_id)
        .join(MailingArticle, col(MailingArticle.mailing_id) == col(Mailing.id))
        .where(col(MailingArticle.article_id) == article_id)
        .group_by(_edition_id)
        .order_by(col(Edition.coverage_end).desc())
        .limit(limit)
    )
    return [(edition, name, count) for edition, name, count in found]


def sent_at(session: Session, ends: Collection[datetime]) -> set[int]:
    """Return the articles in the editions whose coverage ended at one of `ends`.

    These are the articles last sent to the readers with these watermarks.
    """
    found = session.execute(
        select_columns(col(MailingArticle.article_id))
        .join(Mailing, col(Mailing.id) == col(MailingArticle.mailing_id))
        .join(Edition, _edition_id == col(Mailing.edition_id))
        .where(col(Edition.coverage_end).in_(ends))
        .distinct()
    )
    return set(found.scalars())


def pruned_accepted(session: Session, chosen: Select[Any]) -> int:
    """Return how many accepted deliveries of `chosen` were pruned; their readers are not known."""
    found: int | None = session.execute(
        select_columns(func.sum(col(Mailing.pruned_accepted))).where(col(Mailing.id).in_(chosen))
    ).scalar()
    return int(found or 0)
