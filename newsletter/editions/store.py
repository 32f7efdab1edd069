"""Queries about editions. The functions take a Session and never commit."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, case, delete, func, insert, or_, update
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from newsletter import cadences
from newsletter.cadences import Cadence
from newsletter.db import dialects
from newsletter.editions import mailings
from newsletter.errors import NotFound
from newsletter.ledger import cancellation
from newsletter.models import (
    ArticleOrder,
    Delivery,
    Edition,
    EditionState,
    FreezeLock,
    Mailing,
    Note,
    State,
    Subscriber,
)

_edition_id = col(Edition.id)
_edition_state = col(Edition.state)


# Making an edition


def create(
    session: Session,
    cadence: str,
    period: date,
    *,
    coverage_start: datetime,
    coverage_end: datetime,
    now: datetime,
) -> Edition | None:
    """Insert the edition of a period; None if another process inserted it first."""
    row = {
        "cadence": cadence,
        "period": period,
        "state": EditionState.OPEN,
        "coverage_start": coverage_start,
        "coverage_end": coverage_end,
        "audience": 0,
        "created_at": now,
    }
    first = dialects.insert_into(session, Edition).values(row).on_conflict_do_nothing()
    made = session.execute(first.returning(_edition_id)).scalar()
    return find(session, cadence, period) if made else None


def discard_skipped(session: Session, cadence: Cadence, period: date) -> None:
    """Delete a skipped edition, so that it can be made after all."""
    session.execute(
        delete(Edition).where(
            col(Edition.cadence) == cadence,
            col(Edition.period) == period,
            _edition_state == EditionState.SKIPPED,
        )
    )


def skip(session: Session, edition: Edition, *, reason: str, now: datetime) -> None:
    """Record an edition as skipped, with the reason."""
    _change(session, edition, state=EditionState.SKIPPED, reason=reason, settled_at=now)


def set_audience(session: Session, edition: Edition, audience: int) -> None:
    """Record how many readers an edition has."""
    _change(session, edition, audience=audience)


def last_covered(session: Session, cadence: Cadence) -> datetime | None:
    """Return the instant up to which editions of a cadence have covered articles; None for none.

    This is the end of the last edition that was not skipped, or if all were, the start of the
    first.
    """
    was_made = _edition_state != EditionState.SKIPPED
    found: datetime | None = session.execute(
        select_columns(
            func.coalesce(
                func.max(case((was_made, col(Edition.coverage_end)))),
                func.min(col(Edition.coverage_start)),
            )
        ).where(col(Edition.cadence) == cadence)
    ).scalar()
    return found


def ends_after(session: Session, instant: datetime) -> bool:
    """Return whether the coverage of any digest that was not skipped ends after an instant."""
    found = session.exec(
        select(Edition.id)
        .where(
            is_digest(),
            _edition_state != EditionState.SKIPPED,
            col(Edition.coverage_end) > instant,
        )
        .limit(1)
    )
    return found.first() is not None


# The editor's notes


def waiting_note(session: Session, cadence: Cadence) -> Note | None:
    """Return the note that waits for the next edition of a cadence; None if there is none."""
    return session.exec(
        select(Note).where(Note.cadence == cadence, col(Note.edition_id).is_(None))
    ).one_or_none()


def waiting_notes(session: Session) -> list[Note]:
    """Return the notes that wait for the next edition of their cadence."""
    return list(session.exec(select(Note).where(col(Note.edition_id).is_(None))))


def add_note(session: Session, cadence: Cadence, text: str, *, now: datetime) -> Note:
    """Insert a note for the next edition; no other note must be waiting."""
    made = Note(cadence=cadence, text=text, created_at=now)
    session.add(made)
    session.flush()
    return made


def discard_note(session: Session, cadence: Cadence) -> None:
    """Delete the note that waits for the next edition of a cadence."""
    session.execute(
        delete(Note).where(col(Note.cadence) == cadence, col(Note.edition_id).is_(None))
    )


def take_note(session: Session, edition: Edition) -> str:
    """Assign the waiting note to an edition, and return its text; "" if there is none."""
    found = waiting_note(session, Cadence(edition.cadence))
    if found is None:
        return ""
    found.edition_id = edition.id
    session.flush()
    return found.text


def note_of(session: Session, edition: Edition) -> Note | None:
    """Return the note of an edition; None if it has none."""
    return session.exec(select(Note).where(Note.edition_id == edition.id)).one_or_none()


# The editor's order


def waiting_order(session: Session, cadence: Cadence) -> tuple[int, ...]:
    """Return the ids of the articles that come first in the next edition of a cadence."""
    found = session.exec(
        select(ArticleOrder.article_ids).where(ArticleOrder.cadence == cadence)
    ).one_or_none()
    return tuple(found or ())


def write_order(
    session: Session, cadence: Cadence, article_ids: Sequence[int], *, now: datetime
) -> None:
    """Replace the order that waits for the next edition of a cadence; none deletes it."""
    session.execute(delete(ArticleOrder).where(col(ArticleOrder.cadence) == cadence))
    if article_ids:
        row = {"cadence": cadence, "article_ids": list(article_ids), "changed_at": now}
        session.execute(insert(ArticleOrder), [row])


# Settling


def unsettled(session: Session) -> list[tuple[Edition, bool]]:
    """Return the editions that are not settled, each with whether it has an open row."""
    found = session.execute(
        select_columns(Edition, _has_open_row()).where(col(Edition.settled_at).is_(None))
    )
    return [(edition, is_open) for edition, is_open in found]


def settle(session: Session, edition: Edition) -> None:
    """Move the watermarks of readers who got an edition, or may have got it, to its end.

    Idempotent: watermarks never move back.
    """
    arrived = select_columns(col(Delivery.reference)).where(
        col(Delivery.mailing_id).in_(mailings.of(edition)),
        col(Delivery.state).in_((State.ACCEPTED, State.UNKNOWN)),
    )
    watermark = col(Subscriber.watermark)
    session.execute(
        update(Subscriber)
        .where(
            col(Subscriber.public_id).in_(arrived),
            or_(watermark.is_(None), watermark < edition.coverage_end),
        )
        .values(watermark=edition.coverage_end)
        .execution_options(synchronize_session=False)
    )


def close_books(session: Session, edition: Edition, *, now: datetime) -> None:
    """Record that an edition is settled: no row was open, so its watermarks will not move again."""
    _change(session, edition, settled_at=now)


# Changing the state


def change_state(
    session: Session,
    edition: Edition,
    state: EditionState,
    *,
    among: Collection[EditionState],
    reason: str | None = None,
) -> bool:
    """Change the state of an edition if it is one of `among`; return whether it was."""
    changed = session.execute(
        update(Edition)
        .where(_edition_id == edition.id, _edition_state.in_(among))
        .values(state=state, reason=reason)
        .returning(_edition_id)
        .execution_options(synchronize_session=False)
    )
    return bool(changed.scalars().all())


def finish(session: Session, *, now: datetime) -> list[str]:
    """Finish the editions that have no open row left; return their names."""
    finished = session.execute(
        update(Edition)
        .where(_edition_state.in_((EditionState.OPEN, EditionState.PAUSED)), ~_has_open_row())
        .values(state=EditionState.FINISHED, finished_at=now)
        .returning(col(Edition.cadence), col(Edition.period))
        .execution_options(synchronize_session=False)
    )
    return [cadences.slug(cadence, period) for cadence, period in finished]


def reopen(session: Session) -> list[str]:
    """Reopen finished editions that have an open row again; return their names."""
    reopened = session.execute(
        update(Edition)
        .where(_edition_state == EditionState.FINISHED, _has_open_row())
        .values(
            state=EditionState.OPEN,
            finished_at=None,
            settled_at=case((is_digest(), None), else_=col(Edition.settled_at)),
        )
        .returning(col(Edition.cadence), col(Edition.period))
        .execution_options(synchronize_session=False)
    )
    return [cadences.slug(cadence, period) for cadence, period in reopened]


# Reading


def began_at(session: Session) -> datetime:
    """Return the time at which the publication was set up."""
    return session.exec(select(FreezeLock.created_at)).one()


def find(session: Session, cadence: str, period: date) -> Edition | None:
    """Return the edition of a period; None if it was neither made nor skipped."""
    return session.exec(
        select(Edition).where(Edition.cadence == cadence, Edition.period == period)
    ).one_or_none()


def is_first(session: Session, cadence: Cadence, *, end: datetime) -> bool:
    """Return whether all earlier editions of a cadence, which ended before `end`, were skipped."""
    found = session.exec(
        select(Edition.id)
        .where(
            Edition.cadence == cadence,
            _edition_state != EditionState.SKIPPED,
            col(Edition.coverage_end) < end,
        )
        .limit(1)
    )
    return found.first() is None


def by_slug(session: Session, slug: str) -> Edition:
    """Return the edition of a name such as weekly-2026-11-23; raises NotFound."""
    cadence, period = cadences.parse_name(slug)
    found = find(session, cadence, period)
    if found is None:
        raise NotFound(
            f"There is no edition {slug}.", hint="`newsletter editions list` shows them all."
        )
    return found


def in_states(session: Session, states: Collection[EditionState]) -> list[Edition]:
    """Return the editions in one of `states`, the oldest first."""
    return list(
        session.exec(
            select(Edition).where(_edition_state.in_(states)).order_by(col(Edition.coverage_end))
        )
    )


def is_digest() -> ColumnElement[bool]:
    """Return the condition that an edition is a digest: announcements move no watermark."""
    return col(Edition.cadence).in_(list(Cadence))


def _has_open_row() -> Any:  # noqa: ANN401 - an SQL expression
    theirs = (
        select_columns(col(Mailing.id))
        .where(col(Mailing.edition_id) == _edition_id)
        .correlate(Edition)
    )
    return cancellation.is_open(theirs)


def _change(session: Session, edition: Edition, **values: object) -> None:
    for name, value in values.items():
        setattr(edition, name, value)
    session.flush()
