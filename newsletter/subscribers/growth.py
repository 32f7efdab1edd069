"""How readers come and go: steps of days, weeks or months, from kept counts and without a scan.

Days are those of UTC, as they are counted (`newsletter.tally`). The readers at the end of a day are
those of today without the changes of all later days.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import func, select, union_all
from sqlmodel import Session, col

from newsletter import tally
from newsletter.cadences import Cadence
from newsletter.models import Status, TallyPart
from newsletter.tally import Name

#: The greatest number of steps, before days become weeks, and weeks months: what a chart can show.
_MOST = 120
_DAY = timedelta(1)
#: The events of which a table shows how often each occurred.
_SHOWN = ("asked", "confirmed", "added", "imported", "returned", "unsubscribed", "forgotten")

_name, _key = col(TallyPart.name), col(TallyPart.key)

#: Numbers of readers by `tally.reader`, or changes of them: text is faster than two enumerations.
Readers = Mapping[str, int]
_OF_STATUS = {status: [tally.reader(one, status) for one in Cadence] for status in Status}
_ACTIVE = {cadence.value: tally.reader(cadence, Status.ACTIVE) for cadence in Cadence}


class Unit(StrEnum):
    """The length of a step."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"

    def begin(self, day: date) -> date:
        """Return the first day of the step of a day; weeks begin on Monday."""
        if self is Unit.WEEK:
            return day - timedelta(day.weekday())
        if self is Unit.DAY:
            return day
        return day.replace(day=1) if self is Unit.MONTH else day.replace(month=1, day=1)


class Days(NamedTuple):
    """The changes of each day; a day without any is missing."""

    #: By how much the counts of readers changed, by day.
    readers: dict[date, dict[str, int]]
    #: The number of events by day and event, see `subscribers.consent.event`.
    events: dict[date, dict[str, int]]


def count(readers: Readers, status: Status, cadence: Cadence | None = None) -> int:
    """Return how many readers have a status, of one cadence or all."""
    keys = _OF_STATUS[status] if cadence is None else (tally.reader(cadence, status),)
    return sum(readers.get(key, 0) for key in keys)


@dataclass(frozen=True)
class Step:
    """A day, week, month or year; the first and the last one of a span may be incomplete."""

    begins: date
    ends: date
    #: How many readers there were at its end, by cadence and status, without zeros.
    readers: Readers
    #: How often each event occurred, without zeros.
    events: Mapping[str, int]

    def count(self, status: Status, cadence: Cadence | None = None) -> int:
        """Return how many readers had a status at the end, of one cadence or all."""
        return count(self.readers, status, cadence)

    def figures(self) -> dict[str, int]:
        """Return what a table shows of it: active readers by cadence, others, and events."""
        happened: Counter[str] = Counter()
        for event, times in self.events.items():
            happened[event.partition(" ")[0]] += times
        return {
            **{name: self.readers.get(key, 0) for name, key in _ACTIVE.items()},
            "active": self.count(Status.ACTIVE),
            "paused": self.count(Status.PAUSED),
            "pending": self.count(Status.PENDING),
            **{action: happened[action] for action in _SHOWN},
            "bounced": self.events.get("suppressed bounce", 0),
            "complained": self.events.get("suppressed complaint", 0),
            "suppressed_otherwise": self.events.get("suppressed other", 0),
        }


@dataclass(frozen=True)
class Growth:
    """The steps of a span without gaps, oldest first."""

    unit: Unit
    steps: tuple[Step, ...]
    #: The whole span as one step.
    whole: Step
    #: How many readers there were before the first step.
    before: Readers
    #: The first day that is counted exactly. Earlier ones are counted from the consents of readers
    #: who were not erased until then; None if that is unknown.
    exact_since: date | None


def find(session: Session, *, days: int | None, today: date) -> Growth:
    """Return the last `days` days, or all, but none before the first one that has counts.

    For a session that sees one instant (`db.session.snapshot`).
    """
    first, exact_since = _first(session, Name.DAY, Name.EVENT), _first(session, Name.SINCE)
    begins = min(first or today, today)
    if days is not None:
        begins = max(begins, date.fromordinal(max(today.toordinal() - days + 1, 1)))
    found = _since(session, begins)
    readers = {tally.reader(*key): count for key, count in tally.readers(session).items()}
    return over(found, readers, begins=begins, today=today, exact_since=exact_since)


def over(
    days: Days, readers: Readers, *, begins: date, today: date, exact_since: date | None = None
) -> Growth:
    """Return the steps from `begins` to `today`, at whose end there are `readers`.

    Changes of days after today, by clocks that are ahead, count as those of today.
    """
    unit = next(
        (one for one in Unit if _steps(one, begins, today) <= _MOST),
        Unit.YEAR,
    )
    spans = [
        (group[0], group[-1])
        for _, each in groupby(_every_day(begins, today), unit.begin)
        if (group := list(each))
    ]
    left: Counter[str] = Counter(readers)
    changes, events = _by_step(days, unit, today)
    steps = []
    for first, last in reversed(spans):
        of_step = events.get(unit.begin(first), Counter())
        steps.append(Step(first, last, _without_zeros(left), _without_zeros(of_step)))
        left.subtract(changes.get(unit.begin(first), Counter()))
    all_events: Counter[str] = Counter()
    for step in steps:
        all_events.update(step.events)
    whole = Step(begins, today, _without_zeros(Counter(readers)), all_events)
    return Growth(unit, tuple(reversed(steps)), whole, _without_zeros(left), exact_since)


def _by_step(
    days: Days, unit: Unit, today: date
) -> tuple[dict[date, Counter[str]], dict[date, Counter[str]]]:
    changes: dict[date, Counter[str]] = {}
    events: dict[date, Counter[str]] = {}
    for day, of_day in days.readers.items():
        changes.setdefault(unit.begin(min(day, today)), Counter()).update(of_day)
    for day, each in days.events.items():
        events.setdefault(unit.begin(min(day, today)), Counter()).update(each)
    return changes, events


def _steps(unit: Unit, first: date, last: date) -> int:
    lengths = {Unit.DAY: 1.0, Unit.WEEK: 7.0, Unit.MONTH: 30.5, Unit.YEAR: 365.0}
    return int(((last - first).days + 1) / lengths[unit])


def _every_day(first: date, last: date) -> Iterator[date]:
    return (first + n * _DAY for n in range((last - first).days + 1))


def _without_zeros(counts: Counter[str]) -> dict[str, int]:
    return {key: count for key, count in counts.items() if count}


# Queries


def _first(session: Session, *names: Name) -> date | None:
    """Return the first day of counts by day; None if there are none."""
    firsts = [select(func.min(_key).label("key")).where(_name == one.value) for one in names]
    found = [row.key for row in session.execute(union_all(*firsts)) if row.key is not None]
    return _of_text(min(found)[:10]) if found else None


def _since(session: Session, begins: date) -> Days:
    # On the connection, because a session takes longer for each row.
    found = session.connection().execute(
        select(_name, _key, func.sum(col(TallyPart.change)))
        .where(_name.in_([Name.DAY.value, Name.EVENT.value]), _key >= begins.isoformat())
        .group_by(_name, _key)
    )
    days = Days({}, {})
    of_name = {Name.DAY.value: days.readers, Name.EVENT.value: days.events}
    for name, key, change in found:
        day, _, rest = key.partition(" ")
        of_name[name].setdefault(_of_text(day), {})[rest] = int(change)
    return days


_of_text = lru_cache(maxsize=1_024)(date.fromisoformat)
