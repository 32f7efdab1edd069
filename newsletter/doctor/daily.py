"""Checks the daily operation: what needs attention, and what is overdue.

Pure functions: they get a standing, and return findings.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from newsletter.doctor import setup
from newsletter.doctor.findings import Finding, Level
from newsletter.doctor.standing import Standing, Watched
from newsletter.models import Feed
from newsletter.sender.waiting import Waiting, Why
from newsletter.settings import Settings

#: Maximum time between two runs of the schedule: a slow cron runs once a day; a worker checks every
#: 20 s, except during a long fetch.
_RUN_LATE = {"cron": timedelta(hours=26), "worker": timedelta(hours=2)}
#: How long a feed may have failed before it is stale.
_FEED_STALE = timedelta(hours=26)
#: How long deliveries may be due without being claimed by a worker.
_LETTERS_LATE = timedelta(minutes=15)
_EDITION_LATE = timedelta(hours=1)
#: A hint for events of a provider that cannot be matched with our mails.
_NAMES_OTHERWISE = (
    "`newsletter feedback list --unplaced` shows them; docs/install.md has the steps."
)
_NAMES = {"ses": "Have the SNS topic include the original headers: docs/install.md has the steps."}
#: Maximum number of feeds that one sentence names.
_NAMED = 3


def findings(standing: Standing, *, settings: Settings, now: datetime) -> list[Finding]:
    """Return what needs a look; nothing where all is well."""
    zone = settings.zone
    return [
        *setup.incomplete(settings),
        *_restored(standing),
        *_missed(standing, zone),
        *_unseen(standing, zone, now),
        *_failed(standing, zone),
        *_stale(standing, zone, now),
        *_failing(standing, now),
        *_quarantined(standing),
        *_mailbox(standing),
        *_templates(standing),
        *_stuck(standing, zone, now),
        *_alarmed(standing),
        *_returned(standing),
        *_lost(standing),
        *_unknown(standing),
    ]


def overdue(watched: Watched, *, zone: ZoneInfo, now: datetime) -> list[Finding]:
    """Return the findings on what is overdue, or needs an action of the operator."""
    return [
        *_restored(watched),
        *_missed(watched, zone),
        *_unseen(watched, zone, now),
        *_stale(watched, zone, now),
        *_stuck(watched, zone, now),
        *_alarmed(watched),
        *_returned(watched),
        *_unknown(watched),
    ]


def _restored(standing: Watched) -> Iterator[Finding]:
    if standing.restored is not None:
        yield Finding(
            id="database.restored",
            level=Level.ERROR,
            sentence=standing.restored.message,
            hint=standing.restored.hint or "",
        )


def _missed(standing: Watched, zone: ZoneInfo) -> Iterator[Finding]:
    for missed in standing.missed:
        yield Finding(
            id="scheduler.missed",
            level=Level.ERROR,
            subject=missed.name,
            sentence=f"{missed.name} was due {_at(missed.due_at, zone)} and was not made.",
            hint="Look whether `newsletter cron` or `newsletter worker --schedule` runs; "
            f"`newsletter send {missed.cadence}` sends it now.",
        )


def _unseen(standing: Watched, zone: ZoneInfo, now: datetime) -> Iterator[Finding]:
    run = standing.run
    if run is not None and now - run.ended_at > _RUN_LATE[run.command]:
        yield Finding(
            id="scheduler.late",
            level=Level.WARNING,
            sentence=f"The calendar was last kept {_at(run.ended_at, zone)}, by {run.command} on "
            f"{run.host}.",
            hint="Look whether `newsletter cron` or `newsletter worker --schedule` still runs.",
        )


def _failed(standing: Watched, zone: ZoneInfo) -> Iterator[Finding]:
    run = standing.run
    if run is not None and run.error:
        yield Finding(
            id="scheduler.failed",
            level=Level.ERROR,
            sentence=f"The last run ({run.command} on {run.host}, {_at(run.ended_at, zone)}) did "
            f"not do all of its work: {run.error}",
            hint="Run `newsletter cron` by hand and read what it says.",
        )


def _stale(standing: Watched, zone: ZoneInfo, now: datetime) -> Iterator[Finding]:
    stale = [feed for feed in standing.failing if _is_stale(feed, now)]
    if stale:
        since = min(feed.succeeded_at or feed.added_at for feed in stale)
        feeds = "1 feed has" if len(stale) == 1 else f"{len(stale):,} feeds have"
        yield Finding(
            id="feeds.stale",
            level=Level.ERROR,
            sentence=f"{feeds} not been read since {_at(since, zone)}: {_named(stale)}.",
            hint="`newsletter feeds list` shows when each was read; mend its URL, or remove it.",
        )


def _failing(standing: Watched, now: datetime) -> Iterator[Finding]:
    if failing := [feed for feed in standing.failing if not _is_stale(feed, now)]:
        fail = "1 feed fails" if len(failing) == 1 else f"{len(failing):,} feeds fail"
        yield Finding(
            id="feeds.failing",
            level=Level.WARNING,
            sentence=f"{fail}: {_named(failing)}.",
            hint="`newsletter feeds list` shows them, `newsletter feeds fetch` tries again.",
        )


def _is_stale(feed: Feed, now: datetime) -> bool:
    return now - (feed.succeeded_at or feed.added_at) > _FEED_STALE


def _named(feeds: list[Feed]) -> str:
    from newsletter.articles import link  # noqa: PLC0415 - it imports what reads domains

    named = "; ".join(
        f"{feed.title or link.masked(feed.url)}: {feed.error}" for feed in feeds[:_NAMED]
    )
    more = f"; and {len(feeds) - _NAMED} more" if len(feeds) > _NAMED else ""
    return f"{named.rstrip('.')}{more}"


def _quarantined(standing: Standing) -> Iterator[Finding]:
    if count := standing.quarantined:
        articles = "1 article waits" if count == 1 else f"{count:,} articles wait"
        yield Finding(
            id="articles.quarantined",
            level=Level.WARNING,
            sentence=f"{articles} for your approval.",
            hint="`newsletter articles list --quarantined` shows them.",
        )


def _mailbox(standing: Standing) -> Iterator[Finding]:
    if standing.mailbox_fails:
        yield Finding(
            id="feedback.failing",
            level=Level.WARNING,
            sentence="The mailbox of returned mails cannot be read.",
            hint="`newsletter feedback read` tries again, and says why.",
        )


def _templates(standing: Standing) -> Iterator[Finding]:
    if standing.templates is not None:
        yield Finding(
            id="templates.unused",
            level=Level.WARNING,
            sentence=standing.templates,
            hint="`newsletter templates check` says more.",
        )


def _stuck(standing: Watched, zone: ZoneInfo, now: datetime) -> Iterator[Finding]:
    """Yield findings on due deliveries that no worker claims or that do not make progress."""
    queues = [(standing.letters, _LETTERS_LATE)]
    queues += [(edition.waiting, _EDITION_LATE) for edition in standing.open]
    if not any(_late(waiting, now, patience) for waiting, patience in queues):
        return
    is_held = any(one.why is Why.WORKER for waiting, _ in queues for one in waiting)
    if not (standing.workers or is_held):
        yield from _untouched(standing, zone, now)
    elif standing.ended_at is None or standing.ended_at <= now - _LETTERS_LATE:
        since = f"since {_at(standing.ended_at, zone)}" if standing.ended_at else "yet"
        yield Finding(
            id="workers.stalled",
            level=Level.ERROR,
            sentence=f"Mails are due and a worker is there, but no server has taken or refused "
            f"one {since}.",
            hint="Read what `newsletter worker`, `serve` or `cron` prints: the mail server may be "
            "away, or not answer.",
        )


def _untouched(standing: Watched, zone: ZoneInfo, now: datetime) -> Iterator[Finding]:
    late = _late(standing.letters, now, _LETTERS_LATE)
    if late is not None and late.at is not None:
        letters = "1 letter is" if late.rows == 1 else f"{late.rows:,} letters are"
        yield Finding(
            id="letters.waiting",
            level=Level.ERROR,
            sentence=f"{letters} due since {_at(late.at, zone)}, and nobody sends.",
            hint="`newsletter serve`, `newsletter worker` or `newsletter cron` sends them.",
        )
    for edition in standing.open:
        late = _late(edition.waiting, now, _EDITION_LATE)
        if late is not None and late.at is not None:
            yield Finding(
                id="editions.stuck",
                level=Level.ERROR,
                subject=edition.name,
                sentence=f"{edition.name} has {late.rows:,} to send since {_at(late.at, zone)}, "
                "and nobody sends.",
                hint="`newsletter cron`, or `newsletter send` with its cadence, goes on.",
            )


def _late(waiting: list[Waiting], now: datetime, patience: timedelta) -> Waiting | None:
    """Return rows that are due or held for too long; None while a rate limit is exhausted."""
    if any(one.why is Why.LIMIT for one in waiting):
        return None
    due = [one for one in waiting if one.why in {Why.DUE, Why.WORKER}]
    late = [one for one in due if one.at and one.at <= now - patience]
    return late[-1] if late else None


def _lost(standing: Standing) -> Iterator[Finding]:
    for source, count in standing.lost_sources.items():
        # Anybody can write a mail.
        if source != "mail":
            yield Finding(
                id="feedback.unplaced",
                level=Level.WARNING,
                subject=source,
                sentence=f"Not one of the {count:,} reports of {source} in the last 7 days names "
                "a mail of ours, so none has an effect.",
                hint=_NAMES.get(source, _NAMES_OTHERWISE),
            )


def _alarmed(standing: Watched) -> Iterator[Finding]:
    for alarm in standing.alarmed:
        yield Finding(
            id="editions.alarm",
            level=Level.ERROR,
            subject=alarm.edition,
            sentence=f"{alarm.edition} is paused: {alarm.reason}.",
            hint="`newsletter feedback list` shows what came back; `newsletter editions resume "
            f"{alarm.edition}` lets it go on.",
        )


def _returned(standing: Watched) -> Iterator[Finding]:
    for alarm in standing.returned:
        yield Finding(
            id="editions.returned",
            level=Level.ERROR,
            subject=alarm.edition,
            sentence=f"Of {alarm.edition} too much came back: {alarm.reason}.",
            hint="`newsletter feedback list` shows what came back; look where these readers "
            "came from before the next edition.",
        )


def _unknown(standing: Watched) -> Iterator[Finding]:
    if count := standing.unknown:
        mails = "1 mail" if count == 1 else f"{count:,} mails"
        yield Finding(
            id="delivery.unknown",
            level=Level.WARNING,
            sentence=f"{mails} of the last 30 days may or may not have arrived.",
            hint="`newsletter delivery list --state unknown` shows them, `newsletter delivery "
            "reconcile` settles them by the relay's log.",
        )


def _at(instant: datetime, zone: ZoneInfo) -> str:
    return f"{instant.astimezone(zone):%Y-%m-%d %H:%M %Z}"
