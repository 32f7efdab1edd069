"""Continues with a restored backup, which does not contain what was sent after it was made."""

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
    """The result of accepting a backup: deliveries made unknown, and editions skipped."""

    #: The number of open deliveries that may have been sent after the backup.
    unknown: int = 0
    #: Names of the editions that were due after the backup, which are skipped.
    skipped: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)


def accept(engine: Engine, *, now: datetime, publication: Publication) -> Done:
    """Accept a restored database as the current one, without mailing anybody twice.

    1. Open deliveries may have been sent, so they become unknown, for the operator to reconcile or
       retry.
    2. Missing editions of the current periods are recorded as skipped.

    Raises Conflict if the database is certainly not a restored backup.
    """
    done = Done()
    with restore_guard.sending(engine, Restored.EXPECTED, advance_at=now) as session:
        # Lock order: the freeze lock before deliveries, as in an unsubscription.
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
