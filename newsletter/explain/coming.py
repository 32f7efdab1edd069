"""The next edition of a reader, and when it is due; pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from newsletter import cadences
from newsletter.cadences import Cadence, SendTimes
from newsletter.models import Status, Subscriber
from newsletter.subscribers.next_digest import Skipped


@dataclass(frozen=True, kw_only=True)
class Coming:
    """The next edition of a reader, if nothing changes."""

    cadence: str
    period: date
    #: In the publication's time zone.
    due_at: datetime


def edition(
    reader: Subscriber, *, now: datetime, times: SendTimes, skipped: Skipped
) -> Coming | None:
    """Return the next edition that a reader gets; None if there is none."""
    if reader.status == Status.PAUSED and reader.paused_until is not None:
        now = max(now, reader.paused_until)
    elif reader.status != Status.ACTIVE:
        return None
    cadence = Cadence(reader.cadence)
    period = cadences.next_due(cadence, now, times, skipped=skipped[cadence])
    due_at = cadences.due_at(cadence, period, times).astimezone(times.zone)
    return Coming(cadence=str(cadence), period=period, due_at=due_at)


def sentence(reader: Subscriber, *, now: datetime, times: SendTimes, skipped: Skipped) -> str:
    """Return a sentence about the next edition."""
    coming = edition(reader, now=now, times=times, skipped=skipped)
    if coming is not None:
        return f"Next: the {coming.cadence} edition of {coming.due_at:%A %d %B %Y, %H:%M}."
    if reader.status == Status.PAUSED:
        return "Next: nothing, until the pause is ended with `subscribers change --resume`."
    if reader.status == Status.PENDING:
        return "Next: nothing, before they have confirmed."
    if reader.status == Status.SUPPRESSED:
        return "Next: nothing, while the address is suppressed."
    return f"Next: nothing; they are {reader.status}."
