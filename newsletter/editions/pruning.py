"""Keeps the ledger small: deletes the deliveries of editions that ended long ago.

The counts stay with the mailing, so the totals do not change. The state of readers is in their
watermarks, and the articles of an edition are stored with its mailings, so neither needs the rows.
Only readers who return after an unsubscribe have no watermark; for them, rows are kept for as long
as an edition can reach back.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from newsletter import tally
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.db.engine import is_sqlite
from newsletter.editions import mailings
from newsletter.errors import InvalidInput
from newsletter.ledger import books
from newsletter.models import State
from newsletter.publication import Publication

#: Rows per transaction, which limits how long a worker on SQLite waits.
BATCH = 10_000

#: Pause between transactions in seconds, so that a writer that waits for SQLite's lock can get it:
#: it retries after at most a tenth of a second.
_TURN_SECONDS = 0.11


@dataclass(frozen=True)
class Rows:
    """The deliveries that can be pruned, or have been."""

    #: The number of deliveries of each mailing, by their final state.
    by_mailing: Mapping[int, Counter[State]]
    #: The edition of each mailing.
    edition_of: Mapping[int, int]

    @property
    def states(self) -> Counter[State]:
        """The number of deliveries by state."""
        return sum(self.by_mailing.values(), Counter())

    @property
    def editions(self) -> int:
        """Number of editions that the rows belong to."""
        return len({self.edition_of[mailing_id] for mailing_id in self.by_mailing})


def prunable(engine: Engine, *, older_than: int, now: datetime, publication: Publication) -> Rows:
    """Return the rows to prune: in a final state, of editions that ended `older_than` days ago.

    Uncertain rows stay, and so do letters and corrections, which must not be sent again. Raises
    InvalidInput for so few days that a new edition may still need the rows.
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
    """Delete the rows found and count them in their mailings; return the rows deleted by this call.

    Each batch is a transaction of its own, so the call may be stopped at any time and repeated,
    also concurrently. An edition that is reopened meanwhile is not affected, as final rows stay
    final and the watermarks were moved before.
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
    with sessions.writing(engine) as session:
        tally.fold(session)
    return Rows(pruned, found.edition_of)
