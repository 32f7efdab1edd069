"""The state of the newsletter that an operator checks every day, read in one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Select, func, text
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from newsletter import cadences, suppression
from newsletter.articles import store as articles
from newsletter.articles.quarantine import Reason
from newsletter.cadences import Cadence, SendTimes
from newsletter.db import restore_guard
from newsletter.db import session as sessions
from newsletter.editions import alarms, leading, mailings, scheduler, store, summaries
from newsletter.editions.alarms import Alarm
from newsletter.editions.summaries import Summary
from newsletter.errors import Conflict, RenderError
from newsletter.feedback import notices
from newsletter.ledger import registry, reports
from newsletter.models import (
    BULK,
    Article,
    ArticleState,
    Delivery,
    Edition,
    EditionState,
    Feed,
    Mailing,
    Progress,
    SchedulerRun,
    Status,
    Subscriber,
)
from newsletter.models.delivery import UNKNOWN
from newsletter.publication import Publication
from newsletter.sender import waiting
from newsletter.sender.limits import Limits
from newsletter.sender.waiting import Waiting
from newsletter.subscribers import next_digest
from newsletter.subscribers import store as readers

#: Time after which an overdue edition counts as missed, since a run of cron takes some time.
_GRACE = timedelta(hours=1)
#: Time within which the events of a provider show whether its set-up is correct.
_LATELY = timedelta(days=7)
_LOST_AT_LEAST = 5
#: Age after which uncertain deliveries are no longer reported: mail servers keep logs no longer.
_SETTLED_BY_TIME = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class OpenEdition:
    """An edition that is being sent, with the reasons for which deliveries wait."""

    name: str
    waiting: list[Waiting]


@dataclass(frozen=True, kw_only=True)
class Missed:
    """An edition that was due and has not been made."""

    cadence: Cadence
    period: date
    due_at: datetime

    @property
    def name(self) -> str:
        """The name of the edition, such as weekly-2026-11-23."""
        return cadences.slug(self.cadence, self.period)


@dataclass(frozen=True, kw_only=True)
class Upcoming:
    """The next edition of a cadence, by its period."""

    cadence: Cadence
    period: date
    due_at: datetime
    #: Whether an editor has skipped it.
    is_skipped: bool

    @property
    def name(self) -> str:
        """The name of the edition, such as weekly-2026-11-23."""
        return cadences.slug(self.cadence, self.period)


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """A pinned article, and the cadences whose next edition it leads."""

    article: int
    title: str
    leads: list[Cadence]


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Values that show what is overdue; cheap to read, as the watchdog runs every minute."""

    open: list[OpenEdition]
    letters: list[Waiting]
    #: Number of running workers.
    workers: int
    #: When any worker last got a mail server's reply about a reader.
    ended_at: datetime | None
    #: Editions that an alarm has paused.
    alarmed: list[Alarm]
    #: Recently finished editions with too many returned mails.
    returned: list[Alarm]
    missed: list[Missed]
    #: Deliveries of the last 30 days that may or may not have arrived.
    unknown: int
    failing: list[Feed]
    run: SchedulerRun | None
    #: Why the database seems to be a restored backup; None if it does not.
    restored: Conflict | None


@dataclass(frozen=True, kw_only=True)
class Standing(Watched):
    """The state of a publication at one instant."""

    #: Readers by cadence and status.
    readers: dict[str, dict[str, int]]
    #: Addresses that are never mailed, readers or not.
    suppressed: int
    #: The last edition of each cadence, None where there was none.
    last: dict[str, Summary | None]
    #: Providers all of whose events are without a known delivery, with the number of events.
    lost_sources: dict[str, int]
    #: Whether the mailbox of returned mails cannot be read.
    mailbox_fails: bool
    #: Articles that wait for the operator; the archives of new feeds are not counted.
    quarantined: int
    #: Articles that an editor holds.
    held: int
    #: The article that was chosen to lead, and the cadences whose next edition it leads.
    pinned: Pinned | None
    #: The note that waits for the next edition of each cadence that has one.
    notes: dict[str, str]
    #: Future periods that an editor has skipped.
    skipped: next_digest.Skipped
    #: The problem with the publisher's folder of templates as a whole; None if there is none.
    templates: str | None = None


def look(engine: Engine, *, publication: Publication, limits: Limits, now: datetime) -> Standing:
    """Return the state of the newsletter; read-only."""
    with sessions.reading(engine) as session:
        return Standing(
            **vars(watched(session, publication=publication, limits=limits, now=now)),
            readers=_readers(session),
            suppressed=suppression.count(session),
            last=_last(session, publication, now),
            lost_sources=reports.lost_sources(
                session, since=now - _LATELY, at_least=_LOST_AT_LEAST
            ),
            mailbox_fails=notices.is_failing(session, now=now),
            quarantined=quarantined(session),
            held=articles.count_in(session, ArticleState.HELD),
            pinned=_pinned(session, publication, now),
            notes=_notes(session),
            skipped=next_digest.skipped_ahead(session, now=now),
            templates=_templates(publication),
        )


def upcoming(standing: Standing, *, times: SendTimes, now: datetime) -> list[Upcoming]:
    """Return the next edition of each cadence, by the calendar."""
    periods = [(cadence, cadences.next_due(cadence, now, times)) for cadence in Cadence]
    return [
        Upcoming(
            cadence=cadence,
            period=period,
            due_at=cadences.due_at(cadence, period, times),
            is_skipped=period in standing.skipped[cadence],
        )
        for cadence, period in periods
    ]


def watched(
    session: Session, *, publication: Publication, limits: Limits, now: datetime
) -> Watched:
    """Read the values that show what is overdue; changes nothing."""
    live = store.in_states(session, [EditionState.OPEN, EditionState.PAUSED])
    return Watched(
        open=_open(session, live, limits, now),
        letters=waiting.of(session, _letters(), limits=limits, now=now),
        workers=registry.count(session, now=now).running,
        ended_at=session.exec(select(Progress.ended_at)).first(),
        alarmed=alarms.standing(live),
        returned=alarms.returned(session, since=now - _LATELY, publication=publication),
        missed=[one for one in due(session, publication, now) if one.due_at <= now - _GRACE],
        unknown=unknown(session, now),
        failing=[feed for feed in articles.feeds(session) if feed.error],
        run=scheduler.last(session),
        restored=restore_guard.problem(session, session.connection().engine),
    )


def _readers(session: Session) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {str(cadence): {} for cadence in Cadence}
    for (cadence, standing), count in readers.counts(session).items():
        counts[cadence][standing] = count
    return counts


def _open(
    session: Session, editions: Iterable[Edition], limits: Limits, now: datetime
) -> list[OpenEdition]:
    return [
        OpenEdition(
            name=edition.name,
            waiting=waiting.of(session, mailings.of(edition), limits=limits, now=now),
        )
        for edition in editions
        if edition.state == EditionState.OPEN
    ]


def due(session: Session, publication: Publication, now: datetime) -> list[Missed]:
    """Return the newest editions that have readers and are due, neither made nor skipped."""
    times, since = publication.send_times, store.began_at(session)
    found = []
    for cadence in Cadence:
        period = cadences.newest_due(cadence, now, times)
        due_at = cadences.due_at(cadence, period, times)
        is_due = since <= due_at <= now and store.find(session, cadence, period) is None
        if is_due and _is_wanted(session, cadence):
            found.append(Missed(cadence=cadence, period=period, due_at=due_at))
    return found


def _is_wanted(session: Session, cadence: Cadence) -> bool:
    reads = (Subscriber.cadence == cadence, Subscriber.status == Status.ACTIVE)
    return session.exec(select(Subscriber.id).where(*reads).limit(1)).first() is not None


def _last(session: Session, publication: Publication, now: datetime) -> dict[str, Summary | None]:
    """Return the last due edition of each cadence; editions skipped in advance do not count."""
    times = publication.send_times
    newest = {cadence: cadences.newest_due(cadence, now, times) for cadence in Cadence}
    found = {one.cadence: one for one in summaries.last(session, until=newest)}
    return {cadence: found.get(cadence) for cadence in Cadence}


def _pinned(session: Session, publication: Publication, now: datetime) -> Pinned | None:
    found = leading.of(session, now=now, publication=publication)
    if found is None:
        return None
    article, leads = found
    assert article.id is not None
    return Pinned(article=article.id, title=article.title, leads=leads)


def _notes(session: Session) -> dict[str, str]:
    waiting = {one.cadence: one.text for one in store.waiting_notes(session)}
    return {cadence: waiting[cadence] for cadence in Cadence if cadence in waiting}


def _letters() -> Select[Any]:
    return select_columns(col(Mailing.id)).where(col(Mailing.kind).not_in(BULK))


def unknown(session: Session, now: datetime) -> int:
    """Count the deliveries of the last 30 days that may or may not have arrived."""
    found = select_columns(func.count()).where(
        text(UNKNOWN),
        # Deliveries with a reason are settled, as they are not tried again.
        col(Delivery.reason).is_(None),
        col(Delivery.state_at) > now - _SETTLED_BY_TIME,
    )
    count: int = session.execute(found).scalar_one()
    return count


def quarantined(session: Session) -> int:
    """Count the articles awaiting approval, without the archives of new feeds."""
    found = select(func.count()).where(
        col(Article.quarantined_at).is_not(None),
        col(Article.seen_at).is_(None),
        # Archives are not counted: nearly every new feed has one, and they need no attention.
        col(Article.quarantine_reason).is_distinct_from(Reason.ARCHIVE.value),
    )
    return session.exec(found).one()


def _templates(publication: Publication) -> str | None:
    """Return the problem with the publisher's folder of templates, if there is one."""
    if publication.own_templates is None:
        return None
    from newsletter.rendering import environment, overrides  # noqa: PLC0415 - few have a folder

    try:
        templates = environment.build(publication.own_templates, publication.language)
    except RenderError as exc:
        return exc.message
    return overrides.sentence(publication.own_templates, templates)
