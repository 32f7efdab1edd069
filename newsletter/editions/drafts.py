"""Drafts of announcements: written, changed and discarded by an editor until they are sent."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import audit
from newsletter.db import session as sessions
from newsletter.editions import announce, announcements
from newsletter.editions.announce import Text
from newsletter.errors import InvalidInput
from newsletter.models import Announcement
from newsletter.rendering import note as notes
from newsletter.rendering.content import one_line

#: Maximum characters of a subject in a draft, which is checked again before it is sent.
_LONGEST_SUBJECT = 1_000


def save(
    engine: Engine,
    *,
    number: int | None,
    subject: str,
    text: str,
    audience: str,
    now: datetime,
    actor: str,
) -> int:
    """Store a draft, a new one if `number` is None, and return its number.

    A draft may be incomplete: `complete` checks it. Raises InvalidInput for a text that is longer
    than any announcement or for an unknown audience, NotFound, and Conflict if it was sent.
    """
    _check_length(subject, text)
    written = text.replace("\r\n", "\n").replace("\t", "    ")
    notes.refuse_controls(written, name="announcement")
    values = (one_line(subject), written, announce.parse_audience(audience))
    with sessions.writing(engine) as session:
        instant = sessions.freeze_lock(session, now)
        if number is None:
            found = Announcement(
                subject="", text="", audience="", created_at=instant, updated_at=instant
            )
            action = "announce.write"
        else:
            found = announcements.draft(session, number)
            action = "announce.change"
        before = (found.subject, found.text, found.audience)
        if before != values:
            found.subject, found.text, found.audience = values
            found.updated_at = instant
            session.add(found)
            session.flush()
            _record(session, action, found, actor=actor, at=instant, before=before[1])
        assert found.id is not None
        return found.id


def discard(engine: Engine, number: int, *, now: datetime, actor: str) -> None:
    """Delete a draft; raises NotFound, and Conflict if it was sent."""
    with sessions.writing(engine) as session:
        instant = sessions.freeze_lock(session, now)
        found = announcements.draft(session, number)
        _record(session, "announce.discard", found, actor=actor, at=instant, before=found.text)
        session.delete(found)


def complete(found: Announcement) -> Text:
    """Return the text of a draft as it would be sent; raises InvalidInput if it cannot be."""
    return announce.parse(found.text, audience=found.audience, subject=found.subject or None)


def _check_length(subject: str, text: str) -> None:
    if len(subject) > _LONGEST_SUBJECT or len(text) > 2 * announce.LONGEST:
        raise InvalidInput(
            f"The announcement is too long: it may have {announce.LONGEST:,} characters.",
            hint="Say it in fewer words, and link to the rest.",
        )


def _record(
    session: Session,
    action: str,
    found: Announcement,
    *,
    actor: str,
    at: datetime,
    before: str,
) -> None:
    after = "" if action == "announce.discard" else found.text
    subjects = {f"announcement:{found.id}": found.subject}
    audit.record(session, action, subjects, actor=actor, at=at, before=before, after=after)
