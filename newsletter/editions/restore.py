"""Resumes from a restored backup, which does not have what was sent after it was made."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from newsletter import cadences
from newsletter.cadences import Cadence
from newsletter.db import restore_guard
from newsletter.db import session as sessions
from newsletter.editions import periods, store
from newsletter.errors import Conflict
from newsletter.ledger import queue
from newsletter.settings import Settings

_REASON = "The database was restored from a backup: it may have been sent before."


@dataclass
class Done:
    """The result of accepting a restored backup."""

    #: Open deliveries that may have been sent since.
    unknown: int = 0
    #: Editions of the current periods, recorded as skipped.
    skipped: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)


def accept(engine: Engine, *, now: datetime, settings: Settings) -> Done:
    """Accept a restored database as current, without mailing anybody twice.

    1. Open deliveries may have been sent: they become unknown, for the operator to reconcile or to
    retry. 2. Editions of the current periods that are missing are recorded as skipped.

    Raises Conflict for a database that is not behind its restore guard.
    """
    done = Done()
    with sessions.writing(engine) as session:
        if restore_guard.is_known_better(session, engine):
            raise Conflict(
                "This database is no restored backup: it knows of all that was sent from here.",
                hint="Nothing has to be done; `newsletter cron` goes on.",
            )
        done.unknown = queue.mark_open_unknown(session, now=now)
        for cadence in Cadence:
            period = cadences.newest_due(cadence, now, settings.send_times)
            if periods.skip_period(
                session, cadence, period, reason=_REASON, now=now, settings=settings
            ):
                done.skipped.append(cadences.slug(cadence, period))
        done.finished = store.finish(session, now=now)
        serial = restore_guard.accept(session, engine, now)
    restore_guard.remember(engine, serial)
    return done
