"""What became of past editions, for pages: lists, replies, goodbyes.

Every query is by an index or by kept counts, and none reads all deliveries of an edition. The
functions take a Session and never commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import func, text
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from newsletter.editions import mailings
from newsletter.errors import NotFound
from newsletter.ledger import books
from newsletter.models import Consent, Delivery, Edition, Mailing, State, Subscriber
from newsletter.models.delivery import REFUSED
from newsletter.subscribers.consent import Action

#: How long after an edition the goodbyes of its readers are counted.
GOODBYES = timedelta(days=7)
#: Maximum of refused deliveries whose replies are grouped.
AT_MOST = 10_000


@dataclass(frozen=True, kw_only=True)
class Listed:
    """An edition in a list."""

    id: int
    edition: str
    period: date
    state: str
    reason: str | None
    #: When it was made or skipped.
    at: datetime
    audience: int
    #: The number of deliveries by state; states without deliveries are missing.
    states: Mapping[str, int]

    @property
    def left(self) -> int:
        """The number of mails that are still to be sent."""
        return books.left(self.states)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One mailing of an edition."""

    mailing_id: int
    public_id: str
    subject: str
    readers: int


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Deliveries that were refused with the same codes, and the last reply of these."""

    code: int | None
    enhanced: str | None
    reply: str | None
    readers: int


def page(session: Session, *, limit: int, before: int | None = None) -> list[Listed]:
    """Return editions, the last made first; with `before`, only those with a smaller id."""
    chosen = select(Edition).order_by(col(Edition.id).desc()).limit(limit)
    if before is not None:
        chosen = chosen.where(col(Edition.id) < before)
    found = list(session.exec(chosen))
    states = _states(session, [one.id for one in found])
    return [
        Listed(
            id=one.id or 0,
            edition=one.name,
            period=one.period,
            state=one.state,
            reason=one.reason,
            at=one.created_at,
            audience=one.audience,
            states=states.get(one.id, {}),
        )
        for one in found
    ]


def variants(session: Session, edition: Edition) -> list[Variant]:
    """Return the mailings of an edition, the largest first."""
    readers = books.size()
    found = session.execute(
        select_columns(col(Mailing.id), col(Mailing.public_id), col(Mailing.subject), readers)
        .where(col(Mailing.edition_id) == edition.id)
        .order_by(readers.desc(), col(Mailing.id))
    )
    return [
        Variant(mailing_id=mailing_id, public_id=public_id, subject=subject, readers=count)
        for mailing_id, public_id, subject, count in found
    ]


def mail(session: Session, edition: Edition, public_id: str) -> str:
    """Return the HTML of a variant, without links of readers; raises NotFound."""
    found = session.exec(
        select(Mailing.html).where(Mailing.public_id == public_id, Mailing.edition_id == edition.id)
    ).one_or_none()
    if found is None:
        raise NotFound(f"{edition.name} has no such mail.")
    return found


def refusals(session: Session, edition: Edition) -> list[Refusal]:
    """Return the refused deliveries by their codes, the most frequent first.

    Of more than `AT_MOST`, only so many are considered; pruned ones are not known any more.
    """
    last = (
        select_columns(col(Delivery.id), col(Delivery.code), col(Delivery.enhanced))
        .where(col(Delivery.mailing_id).in_(mailings.of(edition)), text(REFUSED))
        .limit(AT_MOST)
        .subquery()
    )
    by = (last.c.code, last.c.enhanced)
    rows = func.count().label("rows")
    grouped = select_columns(*by, func.max(last.c.id).label("last"), rows).group_by(*by).subquery()
    found = session.execute(
        select_columns(grouped.c.code, grouped.c.enhanced, col(Delivery.reply), grouped.c.rows)
        .join(Delivery, col(Delivery.id) == grouped.c.last)
        .order_by(grouped.c.rows.desc(), grouped.c.code)
    )
    return [
        Refusal(code=code, enhanced=enhanced, reply=reply, readers=count)
        for code, enhanced, reply, count in found
    ]


def goodbyes(session: Session, edition: Edition) -> int:
    """Return how many readers have unsubscribed within seven days of an edition that they got."""
    arrived = (
        select_columns(col(Delivery.id))
        .where(
            col(Delivery.mailing_id).in_(mailings.of(edition)),
            col(Delivery.reference) == col(Subscriber.public_id),
            col(Delivery.state) == State.ACCEPTED,
        )
        .correlate(Subscriber)
    )
    found = session.execute(
        select_columns(func.count(col(Subscriber.id).distinct()))
        .join(Consent, col(Consent.subscriber_id) == col(Subscriber.id))
        .where(
            col(Consent.action) == Action.UNSUBSCRIBED,
            col(Consent.at) > edition.created_at,
            col(Consent.at) <= edition.created_at + GOODBYES,
            arrived.exists(),
        )
    )
    return int(found.scalar_one())


def _states(session: Session, edition_ids: list[int | None]) -> dict[int | None, dict[str, int]]:
    """Return the counts of deliveries by edition and state."""
    counts = books.of(mailings.of_all(edition_ids))
    found = session.execute(
        select_columns(col(Mailing.edition_id), counts.c.state, func.sum(counts.c.rows))
        .join(counts, counts.c.mailing_id == col(Mailing.id))
        .group_by(col(Mailing.edition_id), counts.c.state)
    )
    states: dict[int | None, dict[str, int]] = {}
    for edition_id, state, rows in found:
        states.setdefault(edition_id, {})[state] = int(rows)
    return states
