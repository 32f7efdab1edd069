"""Alarms: pauses an edition while it is being sent if its rate of bounces or complaints is high.

Mailbox providers count bounces and complaints, and filter the mail of senders with many. Each rate
pauses an edition only once, so that it stays resumed after the operator has resumed it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from newsletter import audit
from newsletter.db import session as sessions
from newsletter.editions import mailings, store, summaries
from newsletter.ledger import books, reports
from newsletter.logs import events
from newsletter.models import Edition, EditionState
from newsletter.publication import Publication

#: Minimum numbers for an alarm, because one complaint among 300 readers is already 0.33 %.
_BOUNCES_AT_LEAST = 20
_COMPLAINTS_AT_LEAST = 5
#: The actor of the pause in the audit log.
_ACTOR = "alarm"


class Alarm(NamedTuple):
    """An edition that an alarm has paused, with the reason."""

    edition: str
    reason: str


def returned(session: Session, *, since: datetime, publication: Publication) -> list[Alarm]:
    """Return editions finished since `since` with too many returned mails but no alarm."""
    finished = select(Edition).where(
        Edition.state == EditionState.FINISHED, col(Edition.finished_at) > since
    )
    found = _that_may_rise(session, session.exec(finished).all(), publication)
    return [Alarm(one.name, one.reason) for one in _risen(session, found, publication)]


def standing(editions: Iterable[Edition]) -> list[Alarm]:
    """Return those of the editions that an alarm has paused and that were not resumed."""
    return [
        Alarm(edition.name, edition.reason)
        for edition in editions
        if edition.state == EditionState.PAUSED and edition.alarmed and edition.reason
    ]


class _Risen(NamedTuple):
    edition: Edition
    name: str
    rate: str
    reason: str


def check(engine: Engine, *, publication: Publication, now: datetime) -> list[Alarm]:
    """Pause the open editions with too many bounces or complaints; return those paused now."""
    with sessions.reading(engine) as session:
        if not _risen(session, _open(session, publication), publication):
            return []
    with sessions.writing(engine) as session:
        risen = _risen(session, _open(session, publication), publication)
        return [Alarm(one.name, one.reason) for one in risen if _pause(session, one, now)]


def _open(session: Session, publication: Publication) -> list[Edition]:
    """Return the open editions with enough reports for an alarm."""
    open_ = store.in_states(session, [EditionState.OPEN])
    return _that_may_rise(session, open_, publication)


def _that_may_rise(
    session: Session, editions: Sequence[Edition], publication: Publication
) -> list[Edition]:
    """Return those that may have a rate above its limit, as exact counts take longer.

    Several reports about one mail are counted, of which an exact count has only one.
    """
    theirs = mailings.of_all([edition.id for edition in editions])
    edition_of = mailings.editions_of(session, theirs)
    at_most: dict[int | None, Counter[str]] = defaultdict(Counter)
    for (mailing, kind), count in reports.count(session, edition_of).items():
        at_most[edition_of[mailing]][kind] += count
    if not at_most:
        # Mostly so: no mail has come back.
        return []
    accepted: Counter[int] = Counter()
    for mailing, count in books.accepted(session, edition_of).items():
        accepted[edition_of[mailing]] += count
    return [
        edition
        for edition in editions
        if _rate(
            edition,
            "",
            at_most[edition.id],
            of=accepted[edition.id or 0],
            publication=publication,
        )
    ]


def _risen(session: Session, editions: Sequence[Edition], publication: Publication) -> list[_Risen]:
    """Return those of the editions with a rate above its limit that has not paused them before."""
    if not editions:
        return []
    found = zip(editions, summaries.of_all(session, editions), strict=True)
    risen = (
        _rate(
            edition,
            summary.edition,
            {reports.BOUNCE: summary.bounced, reports.COMPLAINT: summary.complained},
            of=summary.accepted,
            publication=publication,
        )
        for edition, summary in found
    )
    return [one for one in risen if one is not None]


def _rate(
    edition: Edition,
    name: str,
    counts: Mapping[str, int],
    *,
    of: int,
    publication: Publication,
) -> _Risen | None:
    """Return a rate of returned mail above its limit, if it has not paused the edition.

    The rate is that of accepted mails, `of` so many.
    """
    bounces, complaints = counts.get(reports.BOUNCE, 0), counts.get(reports.COMPLAINT, 0)
    rates = (
        ("bounced", bounces, _BOUNCES_AT_LEAST, publication.bounce_alarm),
        ("complained", complaints, _COMPLAINTS_AT_LEAST, publication.complaint_alarm),
    )
    for rate, count, least, percent in rates:
        is_high = count >= least and count * 100 > percent * of
        if percent and is_high and rate not in (edition.alarmed or ""):
            share = count * 100 / max(1, of)
            spoken = f"{share:.0f}" if share >= 10 else f"{share:.2g}"
            about = "bounced" if rate == "bounced" else "were complained about"
            reason = f"{count:,} of {of:,} accepted mails {about} ({spoken} %)"
            return _Risen(edition, name, rate, reason)
    return None


def _pause(session: Session, risen: _Risen, now: datetime) -> bool:
    edition, paused = risen.edition, EditionState.PAUSED
    among = [EditionState.OPEN]
    if not store.change_state(session, edition, paused, among=among, reason=risen.reason):
        return False
    session.refresh(edition)
    edition.alarmed = " ".join(filter(None, (edition.alarmed, risen.rate)))
    session.add(edition)
    subject = {f"edition:{risen.name}": risen.reason}
    audit.record(session, "editions.pause", subject, actor=_ACTOR, at=now)
    said = f"{risen.name} is paused: {risen.reason}."
    sessions.after_commit(
        session, partial(events.EDITION_PAUSED, edition=risen.name, by=_ACTOR, message=said)
    )
    return True
