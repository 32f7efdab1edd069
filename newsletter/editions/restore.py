"""Goes on from a backup that was restored: what was sent since it was made is not in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from newsletter import cadences
from newsletter.cadences import Cadence
from newsletter.db import restore_guard
from newsletter.db import session as sessions
from newsletter.db.restore_guard import Restored
from newsletter.editions import periods, store
from newsletter.ledger import cancellation
from newsletter.publication import Publication

_REASON = "The database was restored from a backup: it may have been sent before."


@dataclass
class Done:
    """The result of a restore: open mail that was held, and editions that were skipped."""

    #: Deliveries that were open and may have been sent since.
    unknown: int = 0
    #: Editions of periods that fell due since, which are not made.
    skipped: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)


def accept(engine: Engine, *, now: datetime, publication: Publication) -> Done:
    """Take a restored database for the one to go on with, so that nobody is mailed twice.

    1. What is open may have been sent: it becomes unknown, for the operator to reconcile or to
    retry. 2. The editions of the current periods that are not in it are recorded as skipped.

    Raises Conflict for a database that is surely not a backup.
    """
    done = Done()
    with restore_guard.sending(engine, Restored.EXPECTED, advance_at=now) as session:
        # Lock order: the freeze lock before deliveries, as an unsubscription takes them.
        sessions.freeze_lock(session, now)
        done.unknown = cancellation.mark_open_unknown(session, now=now)
        for cadence in Cadence:
            period = cadences.newest_due(cadence, now, publication.send_times)
            if periods.skip_period(
                session, cadence, period, reason=_REASON, now=now, publication=publication
            ):
                done.skipped.append(cadences.slug(cadence, period))
        done.finished = store.finish(session, now=now)
    return done
