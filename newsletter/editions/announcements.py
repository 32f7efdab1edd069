"""Stored announcements: drafts, and the texts of those that were made.

The functions take a Session and never commit.
"""

from __future__ import annotations

from datetime import date

from sqlmodel import Session, col, func, select

from newsletter import cadences
from newsletter.errors import Conflict, NotFound
from newsletter.models import Announcement, Edition, Kind, Mailing

#: Maximum of announcements of one date, whose names have two digits.
_MOST = 99


def made(session: Session, key: str) -> Edition | None:
    """Return the edition of an announcement, by the key of its text; None if it was not made."""
    return session.exec(
        select(Edition)
        .join(Mailing, col(Mailing.edition_id) == col(Edition.id))
        .where(Mailing.key == key, Mailing.kind == Kind.ANNOUNCEMENT)
    ).one_or_none()


def next_extra(session: Session, period: date) -> str:
    """Return what the next announcement of a date has in place of a cadence; raises Conflict."""
    made_before = session.exec(
        select(func.count()).where(
            Edition.period == period, col(Edition.cadence).startswith(cadences.EXTRA)
        )
    ).one()
    if made_before >= _MOST:
        raise Conflict(
            f"{_MOST} announcements were made today.", hint="Send the next one tomorrow."
        )
    return cadences.extra_named(made_before + 1)


def of(session: Session, edition: Edition) -> Announcement | None:
    """Return the announcement of an edition; None for a digest."""
    return session.exec(
        select(Announcement).where(Announcement.edition_id == edition.id)
    ).one_or_none()


def draft(session: Session, number: int) -> Announcement:
    """Return an announcement that is not sent yet; raises NotFound, and Conflict if it was sent."""
    found = by_id(session, number)
    if found.edition_id is not None:
        raise Conflict(
            "The announcement was sent, and cannot be changed any more.",
            hint="Write another one: to the same readers, or to those who got this one.",
        )
    return found


def by_id(session: Session, number: int) -> Announcement:
    """Return an announcement, a draft or not; raises NotFound."""
    found = session.exec(select(Announcement).where(Announcement.id == number)).one_or_none()
    if found is None:
        raise NotFound(f"There is no announcement {number}.")
    return found


def drafts(session: Session, *, limit: int) -> list[Announcement]:
    """Return the announcements that are not sent, the last changed first."""
    chosen = select(Announcement).where(col(Announcement.edition_id).is_(None))
    return list(session.exec(chosen.order_by(col(Announcement.updated_at).desc()).limit(limit)))


def sent(session: Session, *, limit: int) -> list[tuple[Announcement, Edition]]:
    """Return the announcements that were sent, with their editions, the newest first."""
    chosen = (
        select(Announcement, Edition)
        .join(Edition, col(Edition.id) == col(Announcement.edition_id))
        .order_by(col(Edition.coverage_end).desc())
        .limit(limit)
    )
    return [(announcement, edition) for announcement, edition in session.exec(chosen)]
