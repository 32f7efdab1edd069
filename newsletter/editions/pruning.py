"""Keeps the ledger small: takes out the deliveries of editions that are long over.

Their counts stay with their mailing, so the books say what they said before. Where a reader stands
is in the watermark, and what an edition held is beside its mailing: neither needs these rows. Only
readers who come back after a goodbye have no watermark, and for them the rows stay for as long as
an edition may reach back.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.db.engine import is_sqlite
from newsletter.editions import mailings
from newsletter.errors import InvalidInput
from newsletter.ledger import books
from newsletter.models import State
from newsletter.publication import Publication

#: Rows of one transaction: a worker on SQLite waits for no more than these.
BATCH = 10_000

#: Pause between transactions (seconds). A writer that waits for SQLite's lock tries again after a
#: tenth of a second at the latest.
_TURN_SECONDS = 0.11


@dataclass(frozen=True)
class Rows:
    """Deliveries that can be pruned, or were."""

    #: How many of each mailing, by the state in which they have ended.
    by_mailing: Mapping[int, Counter[State]]
    #: The edition of each mailing.
    edition_of: Mapping[int, int]

    @property
    def states(self) -> Counter[State]:
        """How many there are, by state."""
        return sum(self.by_mailing.values(), Counter())

    @property
    def editions(self) -> int:
        """Number of editions that the rows belong to."""
        return len({self.edition_of[mailing_id] for mailing_id in self.by_mailing})


def prunable(engine: Engine, *, older_than: int, now: datetime, publication: Publication) -> Rows:
    """Return the rows to prune: in a final state, of editions that ended `older_than` days ago.

    Uncertain rows stay, and letters and corrections, which must not go out again. Raises
    InvalidInput for days within which an edition may still have to know what a reader had.
    """
    reach = publication.catch_up.days
    least = reach + Cadence.MONTHLY.length.days
    if older_than < least:
        raise InvalidInput(
            f"{older_than} days are too few: deliveries younger than {least} days may be needed.",
            hint=f"That is catch_up_days ({reach}) and a month: a reader who "
            "comes back within it must get nothing twice.",
        )
    with sessions.reading(engine) as session:
        over = mailings.settled(now - timedelta(days=older_than))
        return Rows(books.count_prunable(session, over), mailings.editions_of(session, over))


def prune(
    engine: Engine,
    found: Rows,
    *,
    batch: int = BATCH,
    progress: Callable[[int], None] = lambda _: None,
) -> Rows:
    """Delete what was found and count it in its mailing; return what this call has deleted.

    Each batch is a transaction of its own, so it may be stopped at any time and run again, or
    twice at once. An edition that is opened again meanwhile misses nothing: what was final stays
    so, and its watermarks had been moved.
    """
    pruned: dict[int, Counter[State]] = {}
    done = 0
    for mailing_id in found.by_mailing:
        after: str | None = ""
        while after is not None:
            if done and is_sqlite(engine):
                time.sleep(_TURN_SECONDS)
            with sessions.writing(engine) as session:
                rows, after = books.prune(session, mailing_id=mailing_id, after=after, limit=batch)
            if rows:
                pruned[mailing_id] = pruned.get(mailing_id, Counter()) + rows
                done += rows.total()
                progress(done)
    return Rows(pruned, found.edition_of)
