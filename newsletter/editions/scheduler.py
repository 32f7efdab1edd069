"""Records the last run of the scheduler, which shows whether cron is still running."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session, select

from newsletter.clock import utc_now
from newsletter.db import dialects
from newsletter.db import session as sessions
from newsletter.errors import NewsletterError
from newsletter.models import SchedulerRun

#: Maximum characters of an error that are kept.
_LONGEST = 500


@contextmanager
def noted(engine: Engine, command: str) -> Iterator[list[str]]:
    """Record a run when it has ended, in place of the one before.

    Yields a list for the errors of the run; an error that is raised is added to it.
    """
    began_at, errors = utc_now(), list[str]()
    try:
        yield errors
    except NewsletterError as exc:
        errors.append(exc.message)
        raise
    except BaseException as exc:
        errors.append(f"It was ended by {type(exc).__name__}.")
        raise
    finally:
        # The run's own error is raised, not one of this record.
        with suppress(NewsletterError):
            _write(engine, command, began_at=began_at, error=next(iter(errors), None))


def last(session: Session) -> SchedulerRun | None:
    """Return the last run that has ended; None if there was none."""
    return session.exec(select(SchedulerRun)).one_or_none()


def _write(engine: Engine, command: str, *, began_at: datetime, error: str | None) -> None:
    ended_at = utc_now()
    values = {
        "command": command,
        "host": socket.gethostname()[:64],
        "pid": os.getpid(),
        "began_at": began_at,
        "ended_at": ended_at,
        "error": error[:_LONGEST] if error else None,
    }
    if error is None:
        values["succeeded_at"] = ended_at
    with sessions.writing(engine) as session:
        # Two runs may end at the same instant.
        noted = dialects.insert_into(session, SchedulerRun).values(id=1, **values)
        session.execute(noted.on_conflict_do_update(index_elements=["id"], set_=values))
