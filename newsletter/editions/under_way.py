"""The progress of editions that are being sent: counts, rate, and causes of waiting.

A query is cheap: it reads kept counts, and one index entry for each waiting domain. Pure functions
calculate rates and times from the results of two queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlmodel import Session, select

from newsletter.editions import mailings, store, summaries
from newsletter.editions.summaries import Summary
from newsletter.ledger import queue, registry
from newsletter.models import Edition, EditionState, Progress
from newsletter.sender import domain_limits
from newsletter.sender import limits as rates
from newsletter.sender.limits import Limits

#: Maximum of domains of an edition that are named.
_DOMAINS = 5
#: Time without a reply after which that is said; workers note replies every half a minute.
_SILENT = timedelta(minutes=2)


@dataclass(frozen=True, kw_only=True)
class UnderWay:
    """One edition that is being sent."""

    summary: Summary
    #: Domains that are blocked at present, and until when, if known.
    domains: Mapping[str, datetime | None]
    #: Whether there are more such domains.
    has_more_domains: bool = False
    #: When the next mail is due; None if all remaining mails wait for a domain.
    next_due: datetime | None = None
    #: When the edition was made.
    made_at: datetime | None = None

    @property
    def name(self) -> str:
        """The name of the edition, such as weekly-2026-11-23."""
        return self.summary.edition

    @property
    def left(self) -> int:
        """The number of mails that are still to be sent."""
        one = self.summary
        return one.queued + one.claimed + one.in_flight + one.deferred

    @property
    def ended(self) -> int:
        """The number of mails that are sent, or never will be."""
        return self.summary.audience - self.left


@dataclass(frozen=True, kw_only=True)
class Look:
    """All editions that are being sent at one instant."""

    at: datetime
    editions: Sequence[UnderWay]
    #: When the limits for all mail allow more; None if they do so now.
    opens_at: datetime | None = None
    #: The number of running workers.
    workers: int = 0
    #: When a mail server last replied about a reader.
    replied_at: datetime | None = None


def look(session: Session, *, limits: Limits, now: datetime) -> Look:
    """Return the progress of the open editions; changes nothing."""
    open_ = store.in_states(session, [EditionState.OPEN])
    found = zip(open_, summaries.of_all(session, open_), strict=True)
    paused = domain_limits.paused(session, now) if open_ else {}
    return Look(
        at=now,
        editions=[
            _under_way(session, edition, summary, paused)
            for edition, summary in found
            if summary.is_open
        ],
        opens_at=rates.opens_at(session, limits, now) if open_ else None,
        workers=registry.count(session, now=now).running if open_ else 0,
        replied_at=session.exec(select(Progress.ended_at)).first() if open_ else None,
    )


def ended(session: Session, name: str) -> Summary:
    """Return the summary of an edition that is no longer being sent."""
    return summaries.of(session, store.by_slug(session, name))


def rate(before: Look, after: Look, name: str) -> float | None:
    """Return the mails of an edition per second that ended between two queries.

    None if the edition is in only one of them, or both are of the same instant.
    """
    seconds = (after.at - before.at).total_seconds()
    first, last = _named(before, name), _named(after, name)
    if first is None or last is None or seconds <= 0:
        return None
    return max(0.0, (last.ended - first.ended) / seconds)


def time_left(left: int, per_second: float | None) -> timedelta | None:
    """Return the time for the rest at this rate; None if the rate is zero or unknown."""
    return timedelta(seconds=left / per_second) if per_second else None


def sentence(one: UnderWay, per_second: float | None, look: Look, zone: ZoneInfo) -> str:
    """Return the progress of an edition, in a line."""
    summary = one.summary
    share = 100 * one.ended // summary.audience if summary.audience else 100
    parts = [f"{one.ended:,} of {summary.audience:,} done ({share} %)"]
    if per_second is not None:
        parts.append(f"{per_second:,.1f}/s" if per_second < 10 else f"{per_second:,.0f}/s")
    if (rest := time_left(one.left, per_second)) is not None:
        parts.append(f"about {spoken(rest)} left")
    counts = {name: getattr(summary, name) for name in ("refused", "unknown", "deferred")}
    parts += [f"{count:,} {name}" for name, count in counts.items() if count]
    held = _waits(one, per_second, look, zone)
    return f"{one.name}: {', '.join(parts)}." + (f" {held}" if held else "")


def _waits(one: UnderWay, per_second: float | None, look: Look, zone: ZoneInfo) -> str:
    """Return why an edition waits; empty if it does not."""
    if look.opens_at is not None:
        return f"A limit of all mail is used up until {_clock(look.opens_at, zone)}."
    said = [_domains(one, zone)] if one.domains else []
    is_held = one.summary.claimed + one.summary.in_flight > 0
    if one.next_due is not None and one.next_due > look.at and not is_held:
        said.append(f"The next is tried at {_clock(one.next_due, zone)}.")
    elif one.next_due is not None:
        said += _silence(one, look, zone)
        if per_second == 0 and not is_held and not look.workers:
            said.append("Nobody sends: `newsletter cron` or a worker goes on.")
    return " ".join(said)


def _silence(one: UnderWay, look: Look, zone: ZoneInfo) -> list[str]:
    """Return that no mail server replies; empty if one did lately."""
    if one.made_at is None or look.at - max(one.made_at, look.replied_at or one.made_at) < _SILENT:
        return []
    since = f"since {_clock(look.replied_at, zone)}" if look.replied_at else "yet"
    why = ": the worker's log says why" if look.workers else ""
    return [f"No mail server has replied {since}{why}."]


def _domains(one: UnderWay, zone: ZoneInfo) -> str:
    named = [
        f"{domain} (until {_clock(until, zone)})" if until else domain
        for domain, until in one.domains.items()
    ]
    return f"Waiting: {', '.join(named)}{' and more' if one.has_more_domains else ''}."


def spoken(rest: timedelta) -> str:
    """Return a waiting time in words, rounded to a suitable unit."""
    seconds = rest.total_seconds()
    if seconds < 90:
        return f"{max(1, round(seconds)):,} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60):,} min"
    return f"{seconds / 3600:,.1f} h"


def _under_way(
    session: Session, edition: Edition, summary: Summary, paused: Mapping[str, datetime]
) -> UnderWay:
    theirs = mailings.of(edition)
    found = queue.blocked_domains(session, limit=_DOMAINS + 1, mailings=theirs)
    # One domain may wait in several variants.
    chosen = list(dict.fromkeys(one.domain for one in found))[:_DOMAINS]
    return UnderWay(
        summary=summary,
        domains={domain: paused.get(domain) for domain in chosen},
        has_more_domains=len(found) > _DOMAINS,
        next_due=queue.next_due(session, theirs),
        made_at=edition.created_at,
    )


def _named(look: Look, name: str) -> UnderWay | None:
    return next((one for one in look.editions if one.name == name), None)


def _clock(instant: datetime, zone: ZoneInfo) -> str:
    return f"{instant.astimezone(zone):%H:%M}"
