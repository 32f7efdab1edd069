"""Alarms: pauses an edition while it is being sent if its rate of bounces or complaints is high.

Mailbox providers count bounces and complaints, and filter the mail of senders with many. Each rate
pauses an edition only once, so that it stays resumed after the operator has resumed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import NamedTuple

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from newsletter import audit, cadences
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.editions import mailings, store, summaries
from newsletter.ledger import reports
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
    """Return editions finished since `since` with too many returned mails but no alarm.

    The rate is relative to the audience, since counting the accepted rows would take longer.
    """
    finished = select(Edition).where(
        Edition.state == EditionState.FINISHED, col(Edition.finished_at) > since
    )
    found = []
    for edition in session.exec(finished).all():
        name = cadences.slug(Cadence(edition.cadence), edition.period)
        counts = reports.count(session, mailings.of(edition))
        risen = _rate(edition, name, counts, of=edition.audience, publication=publication)
        found += [Alarm(name, risen.reason)] if risen else []
    return found


def standing(session: Session) -> list[Alarm]:
    """Return the editions that an alarm has paused and that were not resumed."""
    return [
        Alarm(cadences.slug(Cadence(edition.cadence), edition.period), edition.reason)
        for edition in store.in_states(session, [EditionState.PAUSED])
        if edition.alarmed and edition.reason
    ]


class _Risen(NamedTuple):
    edition: Edition
    name: str
    rate: str
    reason: str


def check(engine: Engine, *, publication: Publication, now: datetime) -> list[Alarm]:
    """Pause the open editions with too many bounces or complaints; return those paused now."""
    with sessions.reading(engine) as session:
        if not _may_rise(session) or not _risen(session, publication):
            return []
    with sessions.writing(engine) as session:
        risen = _risen(session, publication)
        return [Alarm(one.name, one.reason) for one in risen if _pause(session, one, now)]


def _may_rise(session: Session) -> bool:
    """Return whether open editions have enough reports for an alarm, as exact counts take long."""
    ids = [edition.id for edition in store.in_states(session, [EditionState.OPEN])]
    found = reports.count(session, mailings.of_all(ids)) if ids else {}
    return (
        found.get(reports.BOUNCE, 0) >= _BOUNCES_AT_LEAST
        or found.get(reports.COMPLAINT, 0) >= _COMPLAINTS_AT_LEAST
    )


def _risen(session: Session, publication: Publication) -> list[_Risen]:
    """Return the open editions with a rate above its limit that has not paused them before."""
    editions = store.in_states(session, [EditionState.OPEN])
    found = zip(editions, summaries.of_all(session, editions), strict=True)
    risen = (
        _rate(
            edition,
            summary.edition,
            {reports.BOUNCE: summary.bounced, reports.COMPLAINT: summary.complained},
            of=summary.accepted,
            publication=publication,
            kind="accepted mails",
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
    kind: str = "mails",
) -> _Risen | None:
    """Return a rate of returned mail above its limit, if it has not paused the edition."""
    bounces, complaints = counts.get(reports.BOUNCE, 0), counts.get(reports.COMPLAINT, 0)
    rates = (
        ("bounced", bounces, _BOUNCES_AT_LEAST, publication.bounce_alarm),
        ("complained", complaints, _COMPLAINTS_AT_LEAST, publication.complaint_alarm),
    )
    for rate, count, least, percent in rates:
        is_high = count >= least and count * 100 > percent * of
        if percent and is_high and rate not in (edition.alarmed or ""):
            share = count * 100 / max(1, of)
            about = "bounced" if rate == "bounced" else "were complained about"
            reason = f"{count:,} of {of:,} {kind} {about} ({share:.2g} %)"
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
