"""The next edition of a cadence for pages, by what is cheap to read: no reader is looked at.

`plan` says who gets what, which takes as long as counting the readers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlmodel import Session

from newsletter import cadences, tally
from newsletter.cadences import Cadence
from newsletter.editions import arranging, periods, store
from newsletter.models import Article, EditionState, Status
from newsletter.publication import Publication


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """The next edition of a cadence, as far as its articles tell."""

    cadence: Cadence
    #: The edition: one that is due already, or the next one.
    edition: str
    due_at: datetime
    #: The edition is due, and cron makes it in its next run.
    is_due: bool
    #: The period was skipped before it was due.
    is_skipped: bool
    #: Active readers of the cadence; those who pause, or wait for an earlier mail, get none.
    readers: int
    #: The articles as a new reader would get them now, in their order.
    articles: Sequence[Article]
    #: The number of new articles; larger if there are more than an edition has.
    total: int
    #: The ids that an editor has ordered.
    order: Sequence[int]
    note: str
    #: The edition that `send` would make now; None if it is made already.
    current: str | None
    #: The edition of the newest due period, if it was made.
    made: str | None

    @property
    def pinned(self) -> Article | None:
        """The article that an editor has pinned, if it leads."""
        return next((one for one in self.articles[:1] if one.pinned_at is not None), None)


def all_of(session: Session, *, now: datetime, publication: Publication) -> list[Ahead]:
    """Return the next edition of each cadence, the first one that is due on top."""
    readers = tally.readers(session)
    found = [
        _of(session, cadence, now=now, publication=publication, readers=readers)
        for cadence in Cadence
    ]
    return sorted(found, key=lambda one: one.due_at)


def of(session: Session, cadence: Cadence, *, now: datetime, publication: Publication) -> Ahead:
    """Return the next edition of a cadence; changes nothing."""
    readers = tally.readers(session)
    return _of(session, cadence, now=now, publication=publication, readers=readers)


def _of(
    session: Session,
    cadence: Cadence,
    *,
    now: datetime,
    publication: Publication,
    readers: Mapping[tuple[Cadence, Status], int],
) -> Ahead:
    times = publication.send_times
    newest = cadences.newest_due(cadence, now, times)
    period = periods.upcoming(session, cadence, now=now, publication=publication)
    articles, total = arranging.coming(session, cadence, now=now, publication=publication)
    note = store.waiting_note(session, cadence)
    made = store.find(session, cadence, newest)
    is_made = made is not None and made.state != EditionState.SKIPPED
    return Ahead(
        cadence=cadence,
        edition=cadences.slug(cadence, period),
        due_at=cadences.due_at(cadence, period, times),
        is_due=period == newest,
        is_skipped=_is_skipped(session, cadence, period),
        readers=readers.get((cadence, Status.ACTIVE), 0),
        articles=articles,
        total=total,
        order=store.waiting_order(session, cadence),
        note=note.text if note else "",
        current=None if is_made else cadences.slug(cadence, newest),
        made=cadences.slug(cadence, newest) if is_made else None,
    )


def _is_skipped(session: Session, cadence: Cadence, period: date) -> bool:
    found = store.find(session, cadence, period)
    return found is not None and found.state == EditionState.SKIPPED
