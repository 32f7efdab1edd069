"""Counted clicks: how often each article of an edition was opened from its mails, never by whom.

A count is the sum of the rows that web processes write (`web.click_writer`), each its own. The
functions take a Session and never commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, literal
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from newsletter.db import dialects
from newsletter.editions import mailings
from newsletter.ledger import books
from newsletter.models import ClickCount, Edition, Mailing, MailingArticle, State

#: Smaller counts are not shown, nor those of articles that fewer readers were sent: they could say
#: something about a single reader.
FEWEST = 5
#: The process id of the rows that are added with an edition.
_OF_EDITION = 0


@dataclass(frozen=True, kw_only=True)
class ArticleClicks:
    """How often one article of an edition was opened from its mails."""

    article_id: int
    title: str
    link: str
    #: Accepted deliveries of mails with the article.
    accepted: int
    #: None for less than five, or if less than five were accepted.
    clicks: int | None
    #: Clicks per accepted delivery; None without a count.
    rate: float | None


def begin(session: Session, edition: Edition) -> None:
    """Add a count of zero for each article of an edition whose links are counted."""
    zeros = (
        select_columns(
            literal(edition.name),
            col(MailingArticle.article_id),
            literal(_OF_EDITION),
            literal(0),
        )
        .join(Mailing, col(Mailing.id) == col(MailingArticle.mailing_id))
        .where(col(Mailing.edition_id) == edition.id)
        .distinct()
    )
    columns = ["edition", "article_id", "process_id", "clicks"]
    session.execute(insert(ClickCount).from_select(columns, zeros))


def write(session: Session, process_id: int, totals: Mapping[tuple[str, int], int]) -> None:
    """Replace the totals of one process, by edition and article; idempotent."""
    added = dialects.insert_into(session, ClickCount)
    replaced = added.on_conflict_do_update(
        index_elements=["edition", "article_id", "process_id"],
        set_={"clicks": added.excluded.clicks},
    )
    session.execute(
        replaced,
        [
            {
                "edition": edition,
                "article_id": article_id,
                "process_id": process_id,
                "clicks": clicks,
            }
            for (edition, article_id), clicks in sorted(totals.items())
        ],
    )


def of(session: Session, edition: Edition) -> list[ArticleClicks] | None:
    """Return the clicks on the articles of an edition, in the order of its largest mail.

    None for an edition whose links are not counted. Three queries, each by an index.
    """
    counts = _counts(session, edition)
    if not counts:
        return None
    accepted = _accepted(session, edition)
    return [
        _article_clicks(row, accepted.get(row.article_id, 0), counts.get(row.article_id, 0))
        for row in _articles(session, edition)
    ]


def _counts(session: Session, edition: Edition) -> dict[int, int]:
    article_id = col(ClickCount.article_id)
    found = session.execute(
        select_columns(article_id, func.sum(col(ClickCount.clicks)))
        .where(col(ClickCount.edition) == edition.name)
        .group_by(article_id)
    )
    return {article: int(clicks) for article, clicks in found}


def _articles(session: Session, edition: Edition) -> list[Any]:
    """Return article_id, title and link of each article, as in the largest mail that has it."""
    found = session.execute(
        select_columns(
            col(MailingArticle.article_id), col(MailingArticle.title), col(MailingArticle.link)
        )
        .join(Mailing, col(Mailing.id) == col(MailingArticle.mailing_id))
        .where(col(Mailing.edition_id) == edition.id)
        # Variants are inserted in the order of their size.
        .order_by(col(Mailing.id), col(MailingArticle.position))
    )
    first: dict[int, Any] = {}
    for row in found:
        first.setdefault(row.article_id, row)
    return list(first.values())


def _accepted(session: Session, edition: Edition) -> dict[int, int]:
    counted = books.of(mailings.of(edition))
    article_id = col(MailingArticle.article_id)
    found = session.execute(
        select_columns(article_id, func.sum(counted.c.rows))
        .join(counted, counted.c.mailing_id == col(MailingArticle.mailing_id))
        .where(counted.c.state == State.ACCEPTED)
        .group_by(article_id)
    )
    return {article: int(rows) for article, rows in found}


def _article_clicks(row: Any, accepted: int, clicks: int) -> ArticleClicks:  # noqa: ANN401 - a row
    is_shown = min(clicks, accepted) >= FEWEST
    return ArticleClicks(
        article_id=row.article_id,
        title=row.title,
        link=row.link,
        accepted=accepted,
        clicks=clicks if is_shown else None,
        rate=clicks / accepted if is_shown else None,
    )
