"""Reasons why open deliveries are not being sent at the moment, and until when they wait."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Select, func, null, text
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from newsletter import tally
from newsletter.ledger import holding
from newsletter.models import Delivery, Mailing, TallyPart
from newsletter.models.columns import Instant
from newsletter.models.delivery import BLOCKED, CLAIMABLE, OPEN
from newsletter.sender import domain_limits, limits
from newsletter.sender.limits import Limits
from newsletter.tally import Name

_mailing = col(Delivery.mailing_id)
_blocked_domain = col(Delivery.blocked_domain)
_due_at = col(Delivery.due_at)


class Why(StrEnum):
    """The reason for which a delivery waits."""

    #: Waits for the next try, after a server deferred it or the connection was lost.
    RETRY = "retry"
    #: Waits because its domain is at its limit, or paused.
    DOMAIN = "domain"
    #: Waits because a limit for all mail is exhausted.
    LIMIT = "limit"
    #: Is claimed by a worker.
    WORKER = "worker"
    #: Waits for nothing; the next worker sends it.
    DUE = "due"


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Deliveries that wait for the same reason."""

    why: Why
    rows: int
    #: The time at which the first of them may be sent; for DUE, since when it is due.
    at: datetime | None = None
    domain: str | None = None
    #: A server's reply to the delivery that is tried first.
    reply: str | None = None


def of(session: Session, mailings: Select[Any], *, limits: Limits, now: datetime) -> list[Waiting]:
    """Return the reasons for which open rows of `mailings` wait, in the order of Why."""
    open_ = _open(session, mailings)
    if not open_:
        # Rows that a worker holds keep an open state until their result is stored.
        return []
    is_held = holding.is_held()
    claimable = (text(CLAIMABLE), _mailing.in_(mailings), ~is_held)
    waiting = [
        *_counted(session, Why.WORKER, is_held, (_mailing + 0).in_(mailings)),
        *_counted(session, Why.DOMAIN, text(BLOCKED), _mailing.in_(mailings), ~is_held),
        *_counted(session, Why.RETRY, *claimable, _due_at > now),
    ]
    # The others are due: counted by subtraction, since they may be a million.
    due = open_ - sum(one.rows for one in waiting)
    if due > 0 and (since := _due_since(session, mailings, now)):
        waiting.append(Waiting(why=Why.DUE, rows=due, at=since))
    return sorted(
        (_explained(session, one, mailings, limits, now) for one in waiting),
        key=lambda one: (list(Why).index(one.why), one.domain or ""),
    )


def sentences(waiting: Iterable[Waiting], *, zone: ZoneInfo, now: datetime) -> str:
    """Return one sentence per reason, with times in `zone`; empty if nothing waits."""
    return " ".join(_sentence(one, zone, now) for one in waiting)


def _counted(session: Session, why: Why, *chosen: Any) -> list[Waiting]:  # noqa: ANN401 - SQL expressions
    """Count rows by one partial index, so that the cost does not grow with the mailing."""
    domain = _blocked_domain if why is Why.DOMAIN else null()
    counted = select_columns(domain, func.count(), func.min(_due_at)).where(*chosen)
    if why is Why.DOMAIN:
        counted = counted.group_by(domain)
    found = session.execute(counted)
    return [Waiting(why=why, rows=rows, at=at, domain=of) for of, rows, at in found if rows]


def _open(session: Session, mailings: Select[Any]) -> int:
    """Return how many rows are open, by the kept counts."""
    key, of_mailing = col(TallyPart.key), col(TallyPart.mailing_id)
    kept = tally.of(Name.DELIVERY).where(key.in_(OPEN), of_mailing.in_(mailings)).subquery()
    return int(session.execute(select_columns(func.sum(kept.c.change))).scalar() or 0)


def _due_since(session: Session, mailings: Select[Any], now: datetime) -> datetime | None:
    """Return since when the first row is due, by a look into the index for each mailing."""
    first = (
        select_columns(_due_at)
        .where(_mailing == col(Mailing.id), text(CLAIMABLE), ~holding.is_held(), _due_at <= now)
        .order_by(_due_at)
        .limit(1)
        .scalar_subquery()
    )
    found: datetime | None = session.execute(
        select_columns(func.min(first, type_=Instant())).where(col(Mailing.id).in_(mailings))
    ).scalar()
    return found


def _explained(
    session: Session, one: Waiting, mailings: Select[Any], rules: Limits, now: datetime
) -> Waiting:
    if one.why is Why.RETRY:
        return Waiting(why=one.why, rows=one.rows, at=one.at, reply=_reply(session, mailings, now))
    if one.why is Why.DOMAIN:
        until = domain_limits.paused(session, now).get(one.domain or "")
        return Waiting(why=one.why, rows=one.rows, at=until, domain=one.domain)
    if one.why is Why.DUE and (opens_at := limits.opens_at(session, rules, now)):
        return Waiting(why=Why.LIMIT, rows=one.rows, at=opens_at)
    return one


def _reply(session: Session, mailings: Select[Any], now: datetime) -> str | None:
    """Return the last reply about the row that is tried next."""
    found = session.execute(
        select_columns(col(Delivery.code), col(Delivery.reply))
        .where(
            text(CLAIMABLE),
            _mailing.in_(mailings),
            _due_at > now,
        )
        .order_by(_due_at, col(Delivery.id))
        .limit(1)
    ).first()
    said = f"{found.code or ''} {found.reply or ''}".strip() if found else ""
    return said or None


def _sentence(one: Waiting, zone: ZoneInfo, now: datetime) -> str:
    be, wait = ("is", "waits") if one.rows == 1 else ("are", "wait")
    at = f"{_clock(one.at, zone, now)}" if one.at else ""
    match one.why:
        case Why.RETRY:
            said = f" (the server said: {one.reply})" if one.reply else ""
            return f"{one.rows:,} {be} tried again from {at} on{said}."
        case Why.DOMAIN:
            until = f"nothing until {at}" if at else "only so many at a time"
            return f"{one.rows:,} {wait} for {one.domain}, which takes {until}."
        case Why.LIMIT:
            return f"{one.rows:,} {wait} for a limit: more may go at {at}."
        case Why.WORKER:
            return f"{one.rows:,} {be} being sent by a worker."
        case Why.DUE:
            return f"{one.rows:,} {be} due: `newsletter cron` or a worker goes on."


def _clock(instant: datetime, zone: ZoneInfo, now: datetime) -> str:
    local = instant.astimezone(zone)
    form = "%H:%M %Z" if local.date() == now.astimezone(zone).date() else "%Y-%m-%d %H:%M %Z"
    return local.strftime(form)
