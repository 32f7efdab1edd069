"""Prunes the ledger: deletes the deliveries of old, settled editions.

Their counts by state are kept in the mailing, so the books stay balanced. Readers' watermarks and
the articles of a mailing are stored elsewhere. Only readers who come back after unsubscribing have
no watermark; for them the rows are kept for as long as an edition may reach back.
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
from newsletter.editions import store
from newsletter.errors import InvalidInput
from newsletter.ledger import queue
from newsletter.models import State
from newsletter.settings import Settings

#: Rows per transaction, which bounds how long a worker on SQLite waits for the write lock.
BATCH = 10_000

# Pause between batches: a writer that waits for SQLite's lock polls every 0.1 s at the latest.
_PAUSE_SECONDS = 0.11


@dataclass(frozen=True)
class Rows:
    """Deliveries that can be pruned, or were pruned."""

    #: Counts by mailing and final state.
    by_mailing: Mapping[int, Counter[State]]
    #: The edition of each mailing.
    edition_of: Mapping[int, int]

    @property
    def states(self) -> Counter[State]:
        """Counts by state."""
        return sum(self.by_mailing.values(), Counter())

    @property
    def editions(self) -> int:
        """Number of editions."""
        return len({self.edition_of[mailing_id] for mailing_id in self.by_mailing})


def prunable(engine: Engine, *, older_than: int, now: datetime, settings: Settings) -> Rows:
    """Return the rows to prune: in a final state, of editions settled and older than so many days.

    Unknown rows are kept, as are letters and corrections, whose rows prevent a second sending.
    Raises InvalidInput if an edition may still need rows of that age to choose its articles.
    """
    least = settings.catch_up_days + Cadence.MONTHLY.length.days
    if older_than < least:
        raise InvalidInput(
            f"{older_than} days are too few: deliveries younger than {least} days may be needed.",
            hint=f"That is catch_up_days ({settings.catch_up_days}) and a month: a reader who "
            "comes back within it must get nothing twice.",
        )
    with sessions.reading(engine) as session:
        mailings = store.settled_mailings(now - timedelta(days=older_than))
        return Rows(queue.count_prunable(session, mailings), store.editions_of(session, mailings))


def prune(
    engine: Engine,
    found: Rows,
    *,
    batch: int = BATCH,
    progress: Callable[[int], None] = lambda _: None,
) -> Rows:
    """Delete rows and count them in their mailing; return what this call has deleted.

    Idempotent, and safe to interrupt or to run concurrently: each batch is one transaction. An
    edition may be reopened meanwhile: final rows stay final, and its watermarks have been moved.
    """
    pruned: dict[int, Counter[State]] = {}
    done = 0
    for mailing_id in found.by_mailing:
        after: str | None = ""
        while after is not None:
            if done and is_sqlite(engine):
                time.sleep(_PAUSE_SECONDS)
            with sessions.writing(engine) as session:
                rows, after = queue.prune(session, mailing_id=mailing_id, after=after, limit=batch)
            if rows:
                pruned[mailing_id] = pruned.get(mailing_id, Counter()) + rows
                done += rows.total()
                progress(done)
    return Rows(pruned, found.edition_of)
