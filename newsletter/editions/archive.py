"""The public archive of past digests: the mail that most readers got, without links of readers.

An announcement is no part of it, as it may be for some readers only; its mail links to its page.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Select, func
from sqlalchemy import select as select_columns
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from newsletter import cadences
from newsletter.cadences import Cadence
from newsletter.editions import counted_links, store
from newsletter.errors import InvalidInput, NotFound
from newsletter.models import Edition, EditionState, Kind, Mailing, MailingArticle, Role

#: States of editions in the archive; those that the operator has stopped are not shown.
_SHOWN = (EditionState.OPEN, EditionState.FINISHED)


@dataclass(frozen=True, kw_only=True)
class Issue:
    """One edition in the archive."""

    cadence: Cadence
    period: date
    title: str
    stories: int
    #: The time at which the edition was made.
    at: datetime
    #: The public id of the mailing that is shown: the largest variant.
    mailing: str

    @property
    def slug(self) -> str:
        """The name of the edition in URLs: weekly-2026-11-23."""
        return cadences.slug(self.cadence, self.period)


def listing(session: Session, *, limit: int, offset: int = 0) -> list[Issue]:
    """Return editions that have been sent, the newest first."""
    query = _issues().order_by(col(Edition.coverage_end).desc()).limit(limit).offset(offset)
    return [_issue(row) for row in session.execute(query)]


def latest(session: Session) -> Issue | None:
    """Return the newest edition."""
    return next(iter(listing(session, limit=1)), None)


def by_slug(session: Session, slug: str) -> Issue:
    """Return the edition of a name such as weekly-2026-11-23; raises NotFound."""
    try:
        cadence, period = cadences.parse_slug(slug)
    except InvalidInput as exc:
        raise NotFound from exc
    query = _issues().where(col(Edition.cadence) == cadence, col(Edition.period) == period)
    for row in session.execute(query):
        return _issue(row)
    raise NotFound


def page(session: Session, public_id: str, *, are_links_direct: bool = True) -> str:
    """Return a digest or an announcement as a public page, by its mailing's public id.

    With `are_links_direct`, its links are not counted. Raises NotFound.
    """
    found = session.exec(
        select(Mailing.html).where(
            Mailing.public_id == public_id,
            col(Mailing.kind).in_((Kind.DIGEST, Kind.ANNOUNCEMENT)),
        )
    ).one_or_none()
    if not found:
        raise NotFound
    return counted_links.direct(found) if are_links_direct else found


def _issues() -> Select[Any]:
    other = aliased(Mailing)
    # Variants are inserted in the order of their size, so the largest has the lowest id.
    largest = (
        select_columns(func.min(col(other.id)))
        .where(col(other.edition_id) == col(Edition.id))
        .correlate(Edition)
        .scalar_subquery()
    )
    stories = (
        select_columns(func.count())
        .select_from(MailingArticle)
        .where(
            col(MailingArticle.mailing_id) == col(Mailing.id),
            col(MailingArticle.role) != Role.RELATED,
        )
        .correlate(Mailing)
        .scalar_subquery()
    )
    chosen: list[Any] = [
        col(Edition.cadence).label("cadence"),
        col(Edition.period).label("period"),
        col(Edition.coverage_end).label("at"),
        col(Mailing.subject).label("title"),
        col(Mailing.public_id).label("mailing"),
        stories.label("stories"),
    ]
    return (
        select_columns(*chosen)
        .join(Mailing, col(Mailing.id) == largest)
        .where(col(Edition.state).in_(_SHOWN), store.is_digest())
    )


def _issue(row: Any) -> Issue:  # noqa: ANN401 - a row of the query above
    return Issue(
        cadence=Cadence(row.cadence),
        period=row.period,
        title=row.title,
        stories=row.stories,
        at=row.at,
        mailing=row.mailing,
    )
