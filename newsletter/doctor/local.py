"""The checks of the settings, of this machine and of its database, which need no network."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Engine

from newsletter.db import session as sessions
from newsletter.doctor import daily, machine, measured, relays, setup, standing
from newsletter.doctor.findings import Checks, Examined, Finding, Level
from newsletter.errors import NewsletterError, SchemaOutOfDate
from newsletter.models import Status
from newsletter.publication import Publication
from newsletter.sender.limits import Limits
from newsletter.settings import Settings

#: The checks of `daily` without those of the settings, as prefixes of ids.
_TODAY = (
    "database.restored", "scheduler", "feeds.failing", "feeds.stale", "articles.quarantined",
    "feedback.failing", "templates", "workers", "letters", "editions", "feedback.unplaced",
    "delivery",
)  # fmt: skip
_STORED = ("schema", "disk", "cron", "feeds.none", "feeds.unread", "readers")
_POINTERS = Finding(
    id="postmaster",
    level=Level.INFO,
    sentence="Gmail, Outlook and Yahoo show senders how their mail fares, and report complaints.",
    hint="Register your domain and your relay's addresses: https://postmaster.google.com, "
    "https://sendersupport.olc.protection.outlook.com/snds/ (SNDS and JMRP), "
    "https://senders.yahooinc.com/complaint-feedback-loop/.",
)


def examine(
    settings: Settings, database: Engine | NewsletterError, *, now: datetime, with_relays: bool
) -> list[Examined]:
    """Return the results of all checks; `database` is the reason if it cannot be opened.

    With `with_relays`, relays on this machine are contacted; a check of all relays makes this
    unnecessary.
    """
    found = [*machine.keys(settings.secret_keys)]
    looked_at = ["keys"]
    if with_relays:
        looked_at.append("relay.local")
        found += relays.local(settings.smtp_servers())
    groups = [_of(Checks.SETTINGS, ("setup",), setup.incomplete(settings))]
    if isinstance(database, Engine):
        at_rest, today, has_sent = _stored(database, settings, now)
        found += at_rest
        looked_at += [*_STORED, *(["feedback.fresh"] if has_sent else [])]
        if (ahead := measured.ahead_of_database(database)) is not None:
            looked_at.append("clock")
            found += machine.clock(ahead, other="the database")
        groups.append(_of(Checks.TODAY, _TODAY, today))
    else:
        found += _unopened(database)
        looked_at.append("schema")
    groups.append(_of(Checks.MACHINE, tuple(looked_at), found))
    return [*groups, _of(Checks.POINTERS, ("postmaster",), [_POINTERS])]


def _stored(
    engine: Engine, settings: Settings, now: datetime
) -> tuple[list[Finding], list[Finding], bool]:
    """Return the findings on the database and the daily operation, and whether mail was sent."""
    publication = Publication.of(settings)
    limits = Limits.of(settings)
    stands = standing.look(engine, publication=publication, limits=limits, now=now)
    with sessions.reading(engine) as session:
        polled = measured.polled(session)
        has_articles = measured.has_articles(session)
        returns = measured.returns(session, stands, settings, now)
    active = sum(counts.get(Status.ACTIVE, 0) for counts in stands.readers.values())
    at_rest = [
        *machine.disk(measured.disk(engine), readers=active),
        *machine.cron(has_run=stands.run is not None),
        *machine.feeds(polled, has_articles=has_articles, now=now),
        *machine.readers(active),
        *machine.fresh(returns, now=now),
    ]
    all_today = daily.findings(stands, settings=settings, now=now)
    today = [one for one in all_today if not one.id.startswith("setup.")]
    return at_rest, today, returns.sent > 0


def _unopened(problem: NewsletterError) -> Iterator[Finding]:
    is_schema = isinstance(problem, SchemaOutOfDate)
    yield Finding(
        id="schema" if is_schema else "database.unavailable",
        level=Level.ERROR,
        sentence=problem.message,
        hint=problem.hint or "Look at database_url, and whether its server runs.",
    )
    yield Finding(
        id="database.unread",
        level=Level.NOT_CHECKED,
        sentence="What stands in the database could not be looked at: feeds, readers, editions.",
        hint="Mend the finding above first.",
    )


def _of(checks: Checks, looked_at: tuple[str, ...], findings: list[Finding]) -> Examined:
    return Examined(checks=checks, looked_at=looked_at, findings=tuple(findings))
