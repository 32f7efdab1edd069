"""Judges how the newsletter stands: what needs a look today. Pure: a standing in, findings out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from newsletter.doctor import setup
from newsletter.doctor.findings import Finding, Level
from newsletter.doctor.standing import Standing
from newsletter.sender.waiting import Waiting, Why
from newsletter.settings import Settings

#: Most time between two runs of cron: the slowest runs once a day.
_CRON_LATE = timedelta(hours=26)
#: How long deliveries may be due while nobody takes them.
_LETTERS_LATE = timedelta(minutes=15)
_EDITION_LATE = timedelta(hours=1)
#: What has to be set so that a provider's events name our mails.
_NAMES_OTHERWISE = (
    "`newsletter feedback list --unplaced` shows them; docs/install.md has the steps."
)
_NAMES = {"ses": "Have the SNS topic include the original headers: docs/install.md has the steps."}
#: Feeds that one sentence names.
_NAMED = 3


def findings(standing: Standing, *, settings: Settings, now: datetime) -> list[Finding]:
    """Return what needs a look; nothing where all is well."""
    zone = settings.zone
    return [
        *setup.incomplete(settings),
        *_restored(standing),
        *_scheduler(standing, zone, now),
        *_feeds(standing),
        *_mailbox(standing),
        *_templates(standing),
        *_stuck(standing, zone, now),
        *_alarmed(standing),
        *_lost(standing),
        *_unknown(standing),
    ]


def _restored(standing: Standing) -> Iterator[Finding]:
    if standing.restored is not None:
        yield Finding(
            id="database.restored",
            level=Level.ERROR,
            sentence=standing.restored.message,
            hint=standing.restored.hint or "",
        )


def _scheduler(standing: Standing, zone: ZoneInfo, now: datetime) -> Iterator[Finding]:
    for missed in standing.missed:
        yield Finding(
            id="scheduler.missed",
            level=Level.ERROR,
            subject=missed.name,
            sentence=f"{missed.name} was due {_at(missed.due_at, zone)} and was not made.",
            hint="Look whether `newsletter cron` or `newsletter worker --schedule` runs; "
            f"`newsletter send {missed.name.partition('-')[0]}` sends it now.",
        )
    run = standing.run
    if run is not None and now - run.ended_at > _CRON_LATE:
        yield Finding(
            id="scheduler.late",
            level=Level.WARNING,
            sentence=f"The calendar was last kept {_at(run.ended_at, zone)}, by {run.command} on "
            f"{run.host}.",
            hint="Look whether `newsletter cron` or `newsletter worker --schedule` still runs.",
        )
    if run is not None and run.error:
        yield Finding(
            id="scheduler.failed",
            level=Level.ERROR,
            sentence=f"The last run ({run.command} on {run.host}, {_at(run.ended_at, zone)}) did "
            f"not do all of its work: {run.error}",
            hint="Run `newsletter cron` by hand and read what it says.",
        )


def _feeds(standing: Standing) -> Iterator[Finding]:
    if failing := standing.failing:
        named = "; ".join(f"{feed.title or feed.url}: {feed.error}" for feed in failing[:_NAMED])
        more = f"; and {len(failing) - _NAMED} more" if len(failing) > _NAMED else ""
        fail = "1 feed fails" if len(failing) == 1 else f"{len(failing):,} feeds fail"
        yield Finding(
            id="feeds.failing",
            level=Level.WARNING,
            sentence=f"{fail}: {named.rstrip('.')}{more}.",
            hint="`newsletter feeds list` shows them, `newsletter feeds fetch` tries again.",
        )
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


def _stuck(standing: Standing, zone: ZoneInfo, now: datetime) -> Iterator[Finding]:
    """Find deliveries that nothing holds up and nobody takes."""
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
    if any(one.why is Why.WORKER for one in waiting):
        return None
    due = [one for one in waiting if one.why is Why.DUE and one.at and one.at <= now - patience]
    return due[0] if due else None


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


def _alarmed(standing: Standing) -> Iterator[Finding]:
    for alarm in standing.alarmed:
        yield Finding(
            id="editions.alarm",
            level=Level.ERROR,
            subject=alarm.edition,
            sentence=f"{alarm.edition} is paused: {alarm.reason}.",
            hint="`newsletter feedback list` shows what came back; `newsletter editions resume "
            f"{alarm.edition}` lets it go on.",
        )


def _unknown(standing: Standing) -> Iterator[Finding]:
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
