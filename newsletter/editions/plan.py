"""Plans the next editions: who gets which mail, who gets none and why, how long sending takes.

A plan only reads, in one snapshot of the database; nothing is locked or written. The freeze uses
the same functions (`composition`, `audience`); its preceding writes are replaced by expressions
(`plan_audience`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import cadences, tokens
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.editions import (
    assemble,
    composition,
    lifecycle,
    measured,
    periods,
    plan_audience,
    store,
    summaries,
)
from newsletter.editions.assemble import Variant
from newsletter.editions.audience import Audience
from newsletter.editions.compose import MailRenderer
from newsletter.editions.composition import Composition, Mail
from newsletter.editions.measured import Past
from newsletter.editions.plan_audience import Counted
from newsletter.editions.summaries import Placed, Summary
from newsletter.errors import InvalidInput
from newsletter.ledger.reasons import Reason
from newsletter.models import Edition, EditionState, Role, State
from newsletter.publication import Publication
from newsletter.rendering.compile import Rendered
from newsletter.sender import domain_limits
from newsletter.sender import limits as rate_limits
from newsletter.sender.forecast import Capacity, Forecast, forecast
from newsletter.subscribers import next_digest

#: Maximum distance of a planned instant, as a later one is probably a typing error.
FURTHEST = timedelta(days=366)
#: Maximum of domains whose limits are considered: those with the most readers.
_DOMAINS = 500


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One mail of an edition, and how many readers get it."""

    subject: str
    readers: int
    #: The earliest and the latest coverage start of its readers.
    covers_from: datetime
    covers_from_latest: datetime
    articles: list[Placed]
    #: Number of new articles that exceed the limit (catch_up_articles).
    left_out: int
    #: Size of the whole message, and of its HTML part, as transmitted.
    octets: int
    html_octets: int
    #: Further values, for comparison with an edition.
    starts: tuple[datetime, ...] = field(repr=False)
    rendered: Rendered = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Left:
    """Readers of the cadence who get nothing, for the same reason."""

    reason: Reason
    readers: int
    #: The cause of a suppression.
    cause: str | None = None
    #: The earliest end of a pause in the group.
    resumes_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class EditionPlan:
    """One edition as it would be made at an instant."""

    #: The result that the freeze would return; for an existing edition, its present summary.
    summary: Summary
    is_made: bool
    due_at: datetime
    #: When the edition would be made.
    at: datetime
    #: The coverage start of a new reader, and the end of the coverage.
    covers_from: datetime | None = None
    covers_to: datetime | None = None
    note: str | None = None
    mailings: list[Planned] = field(default_factory=list)
    without: list[Left] = field(default_factory=list)
    domains: Counter[str] = field(default_factory=Counter)
    forecast: Forecast | None = None
    #: The last edition of the same cadence.
    last: Past | None = None
    #: Number of earlier deliveries that are assumed to be sent by then.
    sent_before: int = 0
    #: Periods of the cadence that are due earlier and whose editions are not known yet.
    due_before: list[str] = field(default_factory=list)
    #: Earlier periods of the cadence that are skipped.
    skipped: list[str] = field(default_factory=list)
    audience: Audience | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """The values that all plans of one snapshot share."""

    session: Session
    publication: Publication
    capacity: Capacity
    now: datetime
    #: Whether the rest of stale editions is not given up before, as with `send --force`.
    is_forced: bool = False


def upcoming(
    engine: Engine,
    wanted: Sequence[Cadence],
    *,
    now: datetime,
    at: datetime | None = None,
    publication: Publication,
    capacity: Capacity,
    on_step: Callable[[str], None] = lambda _: None,
) -> list[EditionPlan]:
    """Return the next edition of each cadence: a due one, or else the next one.

    With `at`, the newest edition that is due by that instant, or the next one if none is. Each is
    planned for the time at which it is made, which is when it is due, with the present articles.
    Raises InvalidInput for an instant that has passed or is too far away. `on_step` is called with
    the name of each edition before it is planned.
    """
    with sessions.snapshot(engine) as session:
        reader = _Reader(session=session, publication=publication, capacity=capacity, now=now)
        found = []
        for cadence in wanted:
            period, made_at = _next(reader, cadence, at)
            on_step(cadences.slug(cadence, period))
            found.append(_plan(reader, cadence, period, at=made_at))
        return found


def current(
    engine: Engine,
    cadence: Cadence,
    *,
    now: datetime,
    publication: Publication,
    capacity: Capacity,
    force: bool = False,
) -> EditionPlan:
    """Return the edition that `send` would make or continue now, with or without `force`."""
    with sessions.snapshot(engine) as session:
        reader = _Reader(
            session=session,
            publication=publication,
            capacity=capacity,
            now=now,
            is_forced=force,
        )
        period = cadences.newest_due(cadence, now, publication.send_times)
        return _plan(reader, cadence, period, at=now)


def due(
    engine: Engine, *, now: datetime, publication: Publication, capacity: Capacity
) -> list[EditionPlan]:
    """Return the editions that `cron` would make now, and then the open ones that it continues."""
    with sessions.snapshot(engine) as session:
        reader = _Reader(session=session, publication=publication, capacity=capacity, now=now)
        made = [
            _made(reader, one)
            for one in store.in_states(session, [EditionState.OPEN])
            if not lifecycle.is_stale(one, now=now, times=publication.send_times)
        ]
        due = [
            _plan(reader, one.cadence, one.period, at=now)
            for one in periods.due(session, now=now, publication=publication)
        ]
        return [*due, *(one for one in made if one.summary.is_open)]


def _next(reader: _Reader, cadence: Cadence, at: datetime | None) -> tuple[date, datetime]:
    """Return the period that is planned, and when its edition is made."""
    session, now, publication = reader.session, reader.now, reader.publication
    times = publication.send_times
    at = now if at is None else at
    if at < now:
        raise InvalidInput(
            f"{at.astimezone(times.zone):%Y-%m-%d %H:%M %Z} has passed: a plan is for what comes.",
            hint="`newsletter editions list` shows what was sent.",
        )
    if at > now + FURTHEST:
        raise InvalidInput("A plan looks a year ahead at most.", hint="Name an earlier instant.")
    period = cadences.newest_due(cadence, at, times)
    if cadences.due_at(cadence, period, times) <= now:
        # Nothing is due between now and then. A period that was missed is not made any more.
        period = periods.upcoming(session, cadence, now=now, publication=publication)
    if store.find(session, cadence, period) is not None:
        skipped = next_digest.skipped_ahead(session, now=now)[cadence]
        period = cadences.next_due(cadence, at, times, skipped=skipped)
    return period, max(now, cadences.due_at(cadence, period, times))


def _made(reader: _Reader, edition: Edition) -> EditionPlan:
    """Return the plan of an edition that was made; an announcement was due when it was made."""
    due_at, times = edition.created_at, reader.publication.send_times
    if not edition.is_announcement:
        due_at = cadences.due_at(Cadence(edition.cadence), edition.period, times)
    made = summaries.of(reader.session, edition)
    return EditionPlan(summary=made, is_made=True, due_at=due_at, at=edition.created_at)


def _plan(reader: _Reader, cadence: Cadence, period: date, *, at: datetime) -> EditionPlan:
    session, times = reader.session, reader.publication.send_times
    due_at = cadences.due_at(cadence, period, times)
    edition = store.find(session, cadence, period)
    if edition is not None and edition.state != EditionState.SKIPPED:
        return _made(reader, edition)
    end = sessions.freeze_instant(session, at)
    start = periods.coverage_start(session, cadence, end=end, publication=reader.publication)
    window = assemble.window_start(cadence, end=end, catch_up=reader.publication.catch_up)
    theirs = plan_audience.unsettled(
        session, now=reader.now, at=at, times=times, gives_up=not reader.is_forced
    )
    chosen = plan_audience.foreseen(
        session, cadence, coverage_start=start, window_start=window, theirs=theirs, at=at
    )
    counted = plan_audience.count(session, chosen)
    shared = Composition.of(
        session, cadence, period, reader.publication, pinned_after=start, end=end
    )
    found = composition.contents(
        session, shared, counted.starts, count_active=lambda: counted.active
    )
    waiting = store.waiting_note(session, cadence)
    note = waiting.text if waiting and found.variants else ""
    domains = _domains(counted, found.variants)
    return EditionPlan(
        summary=_summary(shared, domains.total(), found.variants, found.why_skipped),
        is_made=False,
        due_at=due_at,
        at=at,
        covers_from=start,
        covers_to=end,
        note=note or None,
        mailings=_mailings(reader, shared, counted, found.variants, note=note),
        without=without(counted, domains.total()),
        domains=domains,
        forecast=foresee(reader.session, domains, reader.capacity, at=at),
        last=measured.last(session, cadence),
        sent_before=plan_audience.count_open(session, theirs.sent_before),
        due_before=_due_before(reader, cadence, period, is_skipped=False),
        skipped=_due_before(reader, cadence, period, is_skipped=True),
        audience=chosen,
    )


def _domains(counted: Counted, variants: Sequence[Variant]) -> Counter[str]:
    """Count the readers of the variants by domain."""
    found: Counter[str] = Counter()
    for variant in variants:
        for start in variant.starts:
            found.update(counted.domains[start])
    return found


def _summary(
    shared: Composition, readers: int, variants: Sequence[Variant], why_skipped: str | None
) -> Summary:
    """Return the summary that the freeze would return."""
    return summaries.summary(
        shared.cadence,
        shared.period,
        state=EditionState.OPEN if why_skipped is None else EditionState.SKIPPED,
        reason=why_skipped,
        audience=readers,
        variants=len(variants),
        counts={State.QUEUED: readers},
    )


def _mailings(
    reader: _Reader,
    shared: Composition,
    counted: Counted,
    variants: Sequence[Variant],
    *,
    note: str,
) -> list[Planned]:
    renderer = MailRenderer(reader.publication)
    return [
        _planned(
            variant,
            composition.compiled(
                reader.session,
                variant,
                shared,
                renderer,
                note=note,
                public_id=tokens.new_public_id(),
            ),
            readers=sum(counted.domains[start].total() for start in variant.starts),
        )
        for variant in variants
    ]


def _planned(variant: Variant, mail: Mail, *, readers: int) -> Planned:
    roles = [
        (Role.LEAD, variant.articles[:1]),
        (Role.STORY, variant.articles[1:]),
        (Role.RELATED, tuple(mail.related)),
    ]
    placed = [(role, article) for role, articles in roles for article in articles]
    body, _ = mail.rendered.message.dump()
    return Planned(
        subject=mail.rendered.message.subject,
        readers=readers,
        covers_from=variant.starts[0],
        covers_from_latest=variant.starts[-1],
        articles=[
            Placed(
                article_id=article.id or 0,
                position=position,
                role=role,
                title=article.shown_title,
                link=article.link,
                is_edited=False,
            )
            for position, (role, article) in enumerate(placed, start=1)
        ],
        left_out=variant.total - len(variant.articles),
        octets=len(body),
        html_octets=mail.rendered.html_octets,
        starts=variant.starts,
        rendered=mail.rendered,
    )


def without(counted: Counted, readers: int) -> list[Left]:
    """Return the groups of readers who get nothing, the most common reason first.

    `readers` is the number of those who get something.
    """
    groups = Counter(counted.without)
    groups[Reason.NOTHING_NEW, None] = (
        sum(domains.total() for domains in counted.domains.values()) - readers
    )
    return [
        Left(
            reason=reason,
            cause=cause,
            readers=count,
            resumes_at=counted.resumes_at if reason is Reason.PAUSED else None,
        )
        for (reason, cause), count in groups.most_common()
        if count
    ]


def foresee(
    session: Session, domains: Counter[str], capacity: Capacity, *, at: datetime
) -> Forecast | None:
    """Return how long it takes to send mails to these domains; None if nothing is known."""
    if not domains:
        return None
    limits = capacity.limits
    largest = {domain for domain, _ in domains.most_common(_DOMAINS)}
    names = largest | (limits.domains.keys() & domains.keys())
    return forecast(
        domains,
        capacity,
        free=rate_limits.free(session, limits, at),
        rates=domain_limits.rates(session, names, limits, now=at),
        per_second=measured.per_second(session),
        at=at,
    )


def _due_before(reader: _Reader, cadence: Cadence, period: date, *, is_skipped: bool) -> list[str]:
    """Return the names of the periods that are due between now and `period`."""
    times, found = reader.publication.send_times, []
    skipped = next_digest.skipped_ahead(reader.session, now=reader.now)[cadence]
    earlier = cadences.next_due(cadence, reader.now, times)
    while earlier < period:
        if (earlier in skipped) == is_skipped:
            found.append(cadences.slug(cadence, earlier))
        earlier = cadences.next_due(cadence, cadences.due_at(cadence, earlier, times), times)
    return found
