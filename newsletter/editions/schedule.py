"""One run of the scheduler in a long-running worker: creates and finishes editions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from newsletter.editions import lifecycle, periods, publish
from newsletter.editions.store import Summary
from newsletter.errors import NewsletterError
from newsletter.settings import Settings
from newsletter.subscribers import unconfirmed


@dataclass
class Done:
    """The result of one run of the scheduler."""

    made: list[Summary] = field(default_factory=list)
    #: Names of editions that were finished.
    finished: list[str] = field(default_factory=list)
    #: Errors of single editions; the others were made.
    failures: list[NewsletterError] = field(default_factory=list)


def keep(engine: Engine, *, now: datetime, settings: Settings) -> Done:
    """Expire stale editions, make those that are due, finish those that are complete.

    Also deletes sign-ups that were not confirmed in time.
    """
    done = Done()
    lifecycle.expire(engine, now=now, times=settings.send_times)
    for due in periods.due_editions(engine, now=now, settings=settings):
        try:
            done.made.append(publish.freeze(engine, due.cadence, now=now, settings=settings))
        except NewsletterError as exc:
            done.failures.append(exc)
    done.finished = lifecycle.finish(engine, now=now)
    unconfirmed.delete(engine, now=now)
    return done
