"""What the desk checks and says where its forms queue mails, which workers send."""

from __future__ import annotations

from newsletter.db import session as sessions
from newsletter.desk.dependencies import DeskContext
from newsletter.desk.pages import counted
from newsletter.doctor import ready
from newsletter.ledger import registry


def require_ready(desk: DeskContext) -> None:
    """Raise ConfigurationError if settings are missing without which no reader may be mailed."""
    ready.require_for_readers(desk.engine, desk.settings)


def who_sends(desk: DeskContext) -> str:
    """Return the sentence that says what sends the queued mails."""
    with sessions.reading(desk.engine) as session:
        workers = registry.count(session, now=desk.clock()).running
    if workers:
        return f"{counted(workers, 'worker')} {'sends' if workers == 1 else 'send'} it."
    return "No worker is running: the next `newsletter cron`, or a `newsletter worker`, sends it."
