"""Summaries of editions for commands and pages: delivery counts, mailings and corrections.

The functions take a Session and never commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any

from sqlalchemy import Select, Subquery, bindparam, func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from newsletter import cadences
from newsletter.cadences import Cadence
from newsletter.editions import mailings
from newsletter.ledger import books, reports
from newsletter.models import (
    Article,
    Edition,
    Mailing,
    MailingArticle,
    State,
)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """An edition with its deliveries by state (the books), which sum to the audience."""

    cadence: str
    period: date
    #: The name of the edition: weekly-2026-11-23.
    edition: str
    #: The state: open, finished, skipped, paused or cancelled.
    state: str
    reason: str | None
    audience: int
    variants: int
    accepted: int
    refused: int
    deferred: int
    unknown: int
    cancelled: int
    skipped: int
    queued: int
    claimed: int
    in_flight: int
    #: The numbers of accepted deliveries that bounced later, and that caused a complaint.
    bounced: int
    complained: int

    @property
    def is_open(self) -> bool:
        """Whether deliveries of the edition are still to be sent."""
        return bool(self.queued or self.claimed or self.in_flight or self.deferred)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An article in a mailing, with the title and link that it had at the freeze."""

    article_id: int
    position: int
    role: str
    title: str
    link: str
    #: Whether the article was edited after the freeze; the mailing is not changed by that.
    is_edited: bool


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """One correction of an edition, with its own deliveries by state, which sum to its readers."""

    subject: str
    created_at: datetime
    readers: int
    #: The number of deliveries by state; states without deliveries are missing.
    states: dict[str, int]

    @property
    def left(self) -> int:
        """The number of mails that are still to be sent."""
        return books.left(self.states)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """One mailing of an edition: a variant."""

    mailing_id: int
    public_id: str
    subject: str
    readers: int
    articles: list[Placed]


def recent(session: Session, *, cadence: Cadence | None = None, limit: int = 10) -> list[Summary]:
    """Return the latest editions, the newest first."""
    chosen = select(Edition).order_by(col(Edition.coverage_end).desc()).limit(limit)
    if cadence is not None:
        chosen = chosen.where(Edition.cadence == cadence)
    return of_all(session, list(session.exec(chosen)))


def last(session: Session, *, until: Mapping[Cadence, date]) -> list[Summary]:
    """Return the latest edition of each cadence whose period is not later than in `until`."""
    latest = [
        select_columns(col(Edition.id))
        .where(col(Edition.cadence) == cadence, col(Edition.period) <= period)
        .order_by(col(Edition.coverage_end).desc())
        .limit(1)
        .scalar_subquery()
        for cadence, period in until.items()
    ]
    return of_all(session, session.exec(select(Edition).where(col(Edition.id).in_(latest))).all())


def of(session: Session, edition: Edition) -> Summary:
    """Return an edition with its deliveries by state."""
    return of_all(session, [edition])[0]


def of_all(session: Session, editions: Sequence[Edition]) -> list[Summary]:
    """Return editions with their deliveries by state, in three statements."""
    if not editions:
        return []
    ids = [edition.id for edition in editions]
    variants = _variants(session, ids)
    counts = _counts(session, _by_edition_and_state(), ids)
    returned = _counts(session, _by_edition_and_report(), ids)
    return [
        _summary(
            edition,
            variants[edition.id],
            counts.get(edition.id, {}) | returned.get(edition.id, {}),
        )
        for edition in editions
    ]


def contents(session: Session, edition: Edition) -> list[Contents]:
    """Return the mailings of an edition with their articles, the largest first."""
    readers = books.size()
    found = session.execute(
        select_columns(col(Mailing.id), col(Mailing.public_id), col(Mailing.subject), readers)
        .where(col(Mailing.edition_id) == edition.id)
        .order_by(readers.desc(), col(Mailing.id))
    )
    return [
        Contents(
            mailing_id=mailing_id,
            public_id=public_id,
            subject=subject,
            readers=count,
            articles=placed(session, mailing_id),
        )
        for mailing_id, public_id, subject, count in found.all()
    ]


def corrections(session: Session, edition: Edition) -> list[Corrected]:
    """Return the corrections of an edition, oldest first."""
    by_state = books.of(mailings.corrections_of(edition))
    states: dict[int, dict[str, int]] = {}
    for mailing_id, state, rows in session.execute(select_columns(*by_state.c)):
        states.setdefault(mailing_id, {})[state] = rows
    found = session.execute(
        select_columns(col(Mailing.id), col(Mailing.subject), col(Mailing.created_at))
        .where(col(Mailing.corrects_id) == edition.id)
        .order_by(col(Mailing.id))
    )
    return [
        Corrected(
            subject=subject,
            created_at=created_at,
            readers=sum(states[mailing_id].values()),
            states=states[mailing_id],
        )
        for mailing_id, subject, created_at in found
    ]


def placed(session: Session, mailing_id: int) -> list[Placed]:
    """Return the articles of a mailing, as they were at the freeze."""
    found = session.execute(
        select_columns(MailingArticle, Article)
        .join(Article, col(Article.id) == col(MailingArticle.article_id))
        .where(col(MailingArticle.mailing_id) == mailing_id)
        .order_by(col(MailingArticle.position))
    )
    return [
        Placed(
            article_id=entry.article_id,
            position=entry.position,
            role=entry.role,
            title=entry.title,
            link=entry.link,
            is_edited=article.mailed_hash != entry.content_hash,
        )
        for entry, article in found
    ]


def _variants(session: Session, edition_ids: Collection[int | None]) -> Counter[int | None]:
    found = session.execute(_by_edition(), {"editions": edition_ids})
    return Counter({row.edition_id: row.mailings for row in found})


def _counts(
    session: Session, statement: Select[Any], edition_ids: Collection[int | None]
) -> dict[int | None, dict[str, int]]:
    """Return counts by edition and name."""
    found = session.execute(statement, {"editions": edition_ids})
    counts: dict[int | None, dict[str, int]] = {}
    for edition_id, name, count in found:
        counts.setdefault(edition_id, {})[name] = int(count)
    return counts


# Cached, because building these statements takes longer than running them.
@cache
def _by_edition() -> Select[int | None, int]:
    return (
        select_columns(col(Mailing.edition_id), func.count().label("mailings"))
        .where(col(Mailing.edition_id).in_(bindparam("editions", expanding=True)))
        .group_by(col(Mailing.edition_id))
    )


@cache
def _by_edition_and_state() -> Select[Any]:
    return _summed(books.of(_mailings()), "state")


@cache
def _by_edition_and_report() -> Select[Any]:
    return _summed(reports.of(_mailings()), "kind")


def _mailings() -> Select[Any]:
    return mailings.of_all(bindparam("editions", expanding=True))


def _summed(counts: Subquery, name: str) -> Select[Any]:
    """Select the sums of counts over the mailings of each edition, by the column `name`."""
    by = counts.c[name]
    return (
        select_columns(col(Mailing.edition_id), by, func.sum(counts.c.rows))
        .join(counts, counts.c.mailing_id == col(Mailing.id))
        .group_by(col(Mailing.edition_id), by)
    )


def _summary(edition: Edition, variants: int, counts: Mapping[str, int]) -> Summary:
    return summary(
        edition.cadence,
        edition.period,
        state=edition.state,
        reason=edition.reason,
        audience=edition.audience,
        variants=variants,
        counts=counts,
    )


def summary(
    cadence: str,
    period: date,
    *,
    state: str,
    reason: str | None,
    audience: int,
    variants: int,
    counts: Mapping[str, int],
) -> Summary:
    """Return a summary with these counts of deliveries and reports, by state and kind."""
    return Summary(
        cadence=cadence,
        period=period,
        edition=cadences.slug(cadence, period),
        state=state,
        reason=reason,
        audience=audience,
        variants=variants,
        accepted=counts.get(State.ACCEPTED, 0),
        refused=counts.get(State.REFUSED, 0),
        deferred=counts.get(State.DEFERRED, 0),
        unknown=counts.get(State.UNKNOWN, 0),
        cancelled=counts.get(State.CANCELLED, 0),
        skipped=counts.get(State.SKIPPED, 0),
        queued=counts.get(State.QUEUED, 0),
        claimed=counts.get(State.CLAIMED, 0),
        in_flight=counts.get(State.IN_FLIGHT, 0),
        bounced=counts.get(reports.BOUNCE, 0),
        complained=counts.get(reports.COMPLAINT, 0),
    )
