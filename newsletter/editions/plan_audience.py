"""Selects the readers of a cadence as a freeze would see them, without any write.

Before a freeze selects the audience, it resumes finished pauses, settles the watermarks of earlier
editions, and restores those of readers who came back. Here an SQL expression replaces each of these
writes, so that the conditions of `audience` apply to the values that a freeze would have written.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    String,
    and_,
    case,
    func,
    inspect,
    null,
    or_,
    select,
    type_coerce,
)
from sqlmodel import Session, col

from newsletter.cadences import Cadence, SendTimes
from newsletter.db import dialects
from newsletter.editions import audience, lifecycle, mailings, store
from newsletter.editions.audience import Addressees, Audience
from newsletter.ledger import books, cancellation, holding
from newsletter.ledger.reasons import Reason
from newsletter.models import (
    Delivery,
    Edition,
    EditionState,
    Mailing,
    State,
    Status,
    Subscriber,
    Suppression,
)
from newsletter.models.columns import Instant
from newsletter.models.delivery import OPEN
from newsletter.subscribers import store as subscribers

#: Number of rows that are fetched at once.
_CHUNK = 2_000
#: Internal reason of readers with an earlier open mail that the edition does not supersede.
_BESIDE = "beside"


class Group(NamedTuple):
    """Readers with the same values, and their number."""

    #: Why they get nothing, whatever the articles; None if they are in the audience.
    reason: str | None
    #: Why their addresses are suppressed.
    cause: str | None
    #: The start of their coverage.
    start: datetime
    domain: str | None
    readers: int
    #: The earliest end of their pauses.
    paused_until: datetime | None


@dataclass(frozen=True)
class Unsettled:
    """The mailings of editions whose watermarks are not settled yet, by their future."""

    #: All of these mailings; their arrived mails count.
    mailings: Sequence[int]
    #: Mailings with open rows that the edition supersedes.
    earlier: Sequence[int]
    #: Mailings with stale open rows, which `send` gives up before it makes an edition.
    given_up: Sequence[int]
    #: Mailings with open rows that are sent before the planned instant and count as arrived.
    sent_before: Sequence[int]


@dataclass(kw_only=True)
class Counted:
    """The numbers of readers of a cadence by what they would get, independent of articles."""

    #: By coverage start: the readers whom the freeze counts to choose the variants.
    starts: Counter[datetime] = field(default_factory=Counter)
    #: By coverage start and domain: the readers who get an edition.
    domains: defaultdict[datetime, Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    #: By reason and cause of a suppression: the readers who get nothing.
    without: Counter[tuple[Reason, str | None]] = field(default_factory=Counter)
    #: The earliest end of a pause.
    resumes_at: datetime | None = None

    def add(self, group: Group) -> None:
        """Count the readers of a group."""
        if group.reason in {None, _BESIDE}:
            self.starts[group.start] += group.readers
        if group.reason is None:
            self.domains[group.start][group.domain or ""] += group.readers
            return
        reason = Reason.UNDER_WAY if group.reason == _BESIDE else Reason(group.reason)
        self.without[reason, group.cause] += group.readers
        if reason is Reason.PAUSED and group.paused_until is not None:
            earlier = self.resumes_at or group.paused_until
            self.resumes_at = min(earlier, group.paused_until)

    @property
    def active(self) -> int:
        """The number of readers who can be mailed."""
        under_way = sum(n for (reason, _), n in self.without.items() if reason is Reason.UNDER_WAY)
        return under_way + sum(domains.total() for domains in self.domains.values())


def unsettled(
    session: Session, *, now: datetime, at: datetime, times: SendTimes, gives_up: bool
) -> Unsettled:
    """Return the mailings that are not settled, for an edition that is made at `at`.

    If `at` is later than `now`, open rows of other editions are assumed to be sent by then. Unless
    `gives_up`, those of stale editions stay open.
    """
    kept: list[Edition] = []
    given_up: list[Edition] = []
    sent: list[Edition] = []
    found = store.unsettled(session)
    for edition, is_open in found:
        if not is_open:
            continue
        if gives_up and lifecycle.is_stale(edition, now=now, times=times):
            given_up.append(edition)
        elif at > now and edition.state == EditionState.OPEN:
            sent.append(edition)
        elif gives_up and lifecycle.is_stale(edition, now=at, times=times):
            given_up.append(edition)
        else:
            kept.append(edition)
    return Unsettled(
        mailings=mailings.ids(session, [edition for edition, _ in found]),
        earlier=mailings.ids(session, [*kept, *given_up]),
        given_up=mailings.ids(session, given_up),
        sent_before=mailings.ids(session, sent),
    )


def count_open(session: Session, ids: Sequence[int]) -> int:
    """Return how many deliveries of some mailings are open, by the kept counts."""
    counts = books.count_states(session, mailings.among(ids))
    return books.left(counts)


def foreseen(
    session: Session,
    cadence: Cadence,
    *,
    coverage_start: datetime,
    window_start: datetime,
    theirs: Unsettled,
    at: datetime,
) -> Audience:
    """Return the audience that a freeze at `at` would have."""
    return Audience(
        cadence=cadence,
        coverage_start=coverage_start,
        window_start=window_start,
        earlier=theirs.earlier,
        given_up=theirs.given_up,
        readers=_readers(session, theirs, coverage_start=coverage_start, at=at),
    )


def count(session: Session, chosen: Audience) -> Counted:
    """Count the readers of a cadence, by one statement."""
    readers = chosen.readers.c
    domain = dialects.domain_of(session, readers.address)
    one = with_reasons(
        chosen,
        case((readers.status == Status.ACTIVE, domain), else_=null()).label("domain"),
        readers.paused_until,
    ).subquery()
    grouped = (
        select(
            one.c.reason,
            one.c.cause,
            one.c.start,
            one.c.domain,
            func.count().label("readers"),
            func.min(one.c.paused_until),
        )
        # The domain comes first, because comparisons in the sort then mostly end with this column.
        .group_by(one.c.domain, one.c.start, one.c.reason, one.c.cause)
        .execution_options(yield_per=_CHUNK)
    )
    counted = Counted()
    for row in session.execute(grouped):
        counted.add(Group(*row))
    return counted


def count_addressed(session: Session, addressees: Addressees, *, at: datetime) -> Counted:
    """Count the readers of an announcement that is made at `at`, all with this coverage start."""
    table = inspect(Subscriber).local_table
    cause: ColumnElement[str] = type_coerce(col(Suppression.cause), String())
    status = _status_at(table, at)
    one = (
        select(
            case(*_unmailable(status, cause), else_=null()).label("reason"),
            cause.label("cause"),
            dialects.domain_of(session, table.c.address).label("domain"),
            table.c.paused_until,
        )
        .select_from(table.outerjoin(Suppression, col(Suppression.address) == table.c.address))
        .where(*addressees.conditions())
        .subquery()
    )
    domain = case((one.c.reason.is_(None), one.c.domain), else_=null())
    grouped = (
        select(
            one.c.reason,
            one.c.cause,
            domain.label("domain"),
            func.count().label("readers"),
            func.min(one.c.paused_until).label("paused_until"),
        )
        .group_by(domain, one.c.reason, one.c.cause)
        .execution_options(yield_per=_CHUNK)
    )
    counted = Counted()
    for row in session.execute(grouped):
        counted.add(Group(row.reason, row.cause, at, row.domain, row.readers, row.paused_until))
    return counted


def with_reasons(chosen: Audience, *columns: ColumnElement[Any]) -> Select[Any]:
    """Select the readers of a cadence: the first columns of a Group, and `columns`."""
    readers = chosen.readers
    cause: ColumnElement[str] = type_coerce(col(Suppression.cause), String())
    found: Select[Any] = (
        select(
            _reason(chosen, cause).label("reason"),
            cause.label("cause"),
            audience.start(chosen).label("start"),
            *columns,
        )
        .select_from(readers.outerjoin(Suppression, col(Suppression.address) == readers.c.address))
        .where(readers.c.cadence == chosen.cadence)
    )
    return found


def _reason(chosen: Audience, cause: ColumnElement[str]) -> ColumnElement[str | None]:
    status = chosen.readers.c.status
    return case(
        *_unmailable(status, cause),
        (audience.is_under_way(chosen), Reason.UNDER_WAY.value),
        (audience.goes_on_beside(chosen), _BESIDE),
        else_=null(),
    )


def _unmailable(
    status: ColumnElement[str], cause: ColumnElement[str]
) -> tuple[tuple[ColumnElement[bool], str], ...]:
    """Return the conditions under which nothing can be sent to a reader, each with its reason."""
    return (
        (status == Status.UNSUBSCRIBED, Reason.UNSUBSCRIBED.value),
        (or_(status == Status.SUPPRESSED, cause.is_not(None)), Reason.SUPPRESSED.value),
        (status == Status.PENDING, Reason.PENDING.value),
        (status == Status.PAUSED, Reason.PAUSED.value),
    )


def _status_at(table: FromClause, at: datetime) -> ColumnElement[str]:
    """Return the status of a reader at an instant: finished pauses are resumed by then."""
    is_over = subscribers.is_overdue(Status.PAUSED, at)
    return case((is_over, Status.ACTIVE.value), else_=table.c.status)


def _readers(
    session: Session, theirs: Unsettled, *, coverage_start: datetime, at: datetime
) -> FromClause:
    """Return the rows of `subscriber` as they would be after a freeze resumed and settled them."""
    table = inspect(Subscriber).local_table
    joined, watermark = _settled(table, theirs)
    if store.ends_after(session, coverage_start):
        watermark = func.coalesce(watermark, _remembered(table, coverage_start))
    return (
        select(
            table.c.public_id,
            table.c.address,
            table.c.cadence,
            table.c.paused_until,
            _status_at(table, at).label("status"),
            type_coerce(watermark, Instant()).label("watermark"),
        )
        .select_from(joined)
        .subquery("readers")
    )


def _settled(table: FromClause, theirs: Unsettled) -> tuple[FromClause, ColumnElement[Any]]:
    """Join the coverage ends of arrived editions; return the join and the resulting watermark.

    One join for all readers is faster than a look-up for each: see docs/performance.md.
    """
    watermark = table.c.watermark
    if not theirs.mailings:
        return table, watermark
    arrived = (
        select(
            col(Delivery.reference).label("reference"),
            func.max(col(Edition.coverage_end)).label("until"),
        )
        .join(Mailing, col(Mailing.id) == col(Delivery.mailing_id))
        .join(Edition, col(Edition.id) == col(Mailing.edition_id))
        .where(col(Delivery.mailing_id).in_(theirs.mailings), _arrives(theirs))
        .group_by(col(Delivery.reference))
        .subquery("arrived")
    )
    moves = or_(watermark.is_(None), watermark < arrived.c.until)
    is_moved = and_(arrived.c.until.is_not(None), moves)
    joined = table.outerjoin(arrived, arrived.c.reference == table.c.public_id)
    return joined, case((is_moved, arrived.c.until), else_=watermark)


def _arrives(theirs: Unsettled) -> ColumnElement[bool]:
    """Return the condition that a delivery has arrived, may have, or will have by `at`."""
    mailing, is_open = col(Delivery.mailing_id), col(Delivery.state).in_(OPEN)
    arrives: list[ColumnElement[bool]] = [col(Delivery.state).in_((State.ACCEPTED, State.UNKNOWN))]
    if theirs.sent_before:
        arrives.append(and_(mailing.in_(theirs.sent_before), is_open))
    if theirs.given_up:
        is_unknown = and_(cancellation.may_have_arrived(), ~holding.is_in_flight())
        arrives.append(and_(mailing.in_(theirs.given_up), is_open, is_unknown))
    return or_(*arrives)


def _remembered(table: FromClause, coverage_start: datetime) -> ColumnElement[Any]:
    """Return the end of the newest edition before a reader left; see `audience.remember`."""
    arrived = audience.arrived_after(coverage_start, table)
    newest = select(func.max(col(Edition.coverage_end))).where(*arrived).correlate(table)
    return newest.scalar_subquery()
