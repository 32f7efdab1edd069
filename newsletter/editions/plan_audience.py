"""The readers of a cadence as a freeze would find them, in one SELECT: nothing is written.

Before a freeze asks who gets an edition, it resumes pauses that are over, settles the watermarks
of earlier editions, and remembers what readers who came back had. Here each of these writes is an
expression instead, so that `audience` asks the same questions of what they would come to.
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
from newsletter.editions.audience import Audience
from newsletter.ledger import cancellation, holding
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

#: Rows that are fetched at a time.
_CHUNK = 2_000
#: Why a reader whose earlier mail goes on beside the edition has no part in it.
_BESIDE = "beside"


class Group(NamedTuple):
    """Readers of whom a freeze would think alike."""

    #: Why they get nothing, whatever there is to send; None if nothing keeps them from it.
    reason: str | None
    #: Why their addresses are suppressed.
    cause: str | None
    #: Where their coverage begins.
    start: datetime
    domain: str | None
    readers: int
    #: When the first of their pauses ends.
    paused_until: datetime | None


@dataclass(frozen=True)
class Unsettled:
    """The mailings of editions whose watermarks may still move, by what becomes of them."""

    #: All of them: what has arrived of them counts.
    mailings: Sequence[int]
    #: Those with open rows that the edition supersedes.
    earlier: Sequence[int]
    #: Those with open rows that are stale: `send` gives them up before it makes an edition.
    given_up: Sequence[int]
    #: Those with open rows that are sent before a later instant: these count as arrived.
    sent_before: Sequence[int]


@dataclass(kw_only=True)
class Counted:
    """The readers of a cadence by what they would get, as far as that is no matter of articles."""

    #: By where they begin: those whom the freeze counts to choose its variants.
    starts: Counter[datetime] = field(default_factory=Counter)
    #: By where they begin, and domain: those who get what there is.
    domains: defaultdict[datetime, Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    #: By reason, and by the cause of a suppression: those who get nothing.
    without: Counter[tuple[Reason, str | None]] = field(default_factory=Counter)
    #: When the first of the pauses that have an end ends.
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
        """How many readers could be mailed."""
        under_way = sum(n for (reason, _), n in self.without.items() if reason is Reason.UNDER_WAY)
        return under_way + sum(domains.total() for domains in self.domains.values())


def unsettled(session: Session, *, now: datetime, at: datetime, times: SendTimes) -> Unsettled:
    """Return the mailings that are not settled, for an edition that is made at `at`.

    For one that is made later than `now`, what is open of editions that go on is sent by then.
    """
    kept: list[Edition] = []
    given_up: list[Edition] = []
    sent: list[Edition] = []
    found = store.unsettled(session)
    for edition, is_open in found:
        if not is_open:
            continue
        if lifecycle.is_stale(edition, now=now, times=times):
            given_up.append(edition)
        elif at > now and edition.state == EditionState.OPEN:
            sent.append(edition)
        elif lifecycle.is_stale(edition, now=at, times=times):
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
    """Return how many deliveries of some mailings are open."""
    found: int = session.execute(
        select(func.count()).where(col(Delivery.mailing_id).in_(ids), col(Delivery.state).in_(OPEN))
    ).scalar_one()
    return found


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
    """Count the readers of a cadence, in one statement over all of them."""
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
        # The domain first: of sorted keys, which differ in it, no more is compared.
        .group_by(one.c.domain, one.c.start, one.c.reason, one.c.cause)
        .execution_options(yield_per=_CHUNK)
    )
    counted = Counted()
    for row in session.execute(grouped):
        counted.add(Group(*row))
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
        (status == Status.UNSUBSCRIBED, Reason.UNSUBSCRIBED.value),
        (or_(status == Status.SUPPRESSED, cause.is_not(None)), Reason.SUPPRESSED.value),
        (status == Status.PENDING, Reason.PENDING.value),
        (status == Status.PAUSED, Reason.PAUSED.value),
        (audience.is_under_way(chosen), Reason.UNDER_WAY.value),
        (audience.goes_on_beside(chosen), _BESIDE),
        else_=null(),
    )


def _readers(
    session: Session, theirs: Unsettled, *, coverage_start: datetime, at: datetime
) -> FromClause:
    """Return the rows of `subscriber` as they are once a freeze has resumed and settled them."""
    table = inspect(Subscriber).local_table
    joined, watermark = _settled(table, theirs)
    if store.ends_after(session, coverage_start):
        watermark = func.coalesce(watermark, _remembered(table, coverage_start))
    is_over = subscribers.is_overdue(Status.PAUSED, at)
    status = case((is_over, Status.ACTIVE.value), else_=table.c.status)
    return (
        select(
            table.c.public_id,
            table.c.address,
            table.c.cadence,
            table.c.paused_until,
            status.label("status"),
            type_coerce(watermark, Instant()).label("watermark"),
        )
        .select_from(joined)
        .subquery("readers")
    )


def _settled(table: FromClause, theirs: Unsettled) -> tuple[FromClause, ColumnElement[Any]]:
    """Join the ends of editions that have arrived; return the watermark that they leave.

    A join of all of them at once, not a look-up for each reader: see docs/performance.md.
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
    """The delivery has arrived, or may have, or has by then."""
    mailing, is_open = col(Delivery.mailing_id), col(Delivery.state).in_(OPEN)
    arrives: list[ColumnElement[bool]] = [col(Delivery.state).in_((State.ACCEPTED, State.UNKNOWN))]
    if theirs.sent_before:
        arrives.append(and_(mailing.in_(theirs.sent_before), is_open))
    if theirs.given_up:
        is_unknown = and_(cancellation.may_have_arrived(), ~holding.is_in_flight())
        arrives.append(and_(mailing.in_(theirs.given_up), is_open, is_unknown))
    return or_(*arrives)


def _remembered(table: FromClause, coverage_start: datetime) -> ColumnElement[Any]:
    """The end of the newest edition that a reader had before a goodbye: see `audience.remember`."""
    arrived = audience.arrived_after(coverage_start, table)
    newest = select(func.max(col(Edition.coverage_end))).where(*arrived).correlate(table)
    return newest.scalar_subquery()
