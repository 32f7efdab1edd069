"""Makes and finishes editions on schedule; workers that keep running send them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from newsletter import logs
from newsletter.editions import lifecycle, periods, publish
from newsletter.editions.summaries import Summary
from newsletter.errors import NewsletterError
from newsletter.logs import events
from newsletter.publication import Publication
from newsletter.subscribers import unconfirmed


@dataclass
class Done:
    """The result of one check of the schedule."""

    made: list[Summary] = field(default_factory=list)
    #: Names of the editions that have no open deliveries any more.
    finished: list[str] = field(default_factory=list)
    #: Errors with single editions; the other editions were made nevertheless.
    failures: list[NewsletterError] = field(default_factory=list)


def keep(engine: Engine, *, now: datetime, publication: Publication) -> Done:
    """Expire stale editions, make those that are due, and finish those that are complete.

    Also deletes expired unconfirmed sign-ups.
    """
    done = Done()
    lifecycle.expire(engine, now=now, times=publication.send_times)
    for due in periods.due_editions(engine, now=now, publication=publication):
        try:
            done.made.append(publish.freeze(engine, due.cadence, now=now, publication=publication))
        except NewsletterError as exc:
            done.failures.append(exc)
            events.EDITION_FAILED(message=logs.in_words(exc.message, exc.hint))
    done.finished = lifecycle.finish(engine, now=now)
    unconfirmed.delete(engine, now=now)
    return done
