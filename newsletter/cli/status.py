"""`newsletter status`: findings, readers, the last editions, and the next due dates."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from newsletter import cadences, clock
from newsletter.cadences import Cadence
from newsletter.cli import context, exits, output

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

    from newsletter.doctor.findings import Finding
    from newsletter.doctor.kept import Kept
    from newsletter.doctor.standing import Standing
    from newsletter.editions.summaries import Summary
    from newsletter.sender.limits import Limits
    from newsletter.settings import Settings

_COLUMNS = ("edition", "state", "audience", "accepted", "waiting", "refused", "unknown", "not sent")
#: Columns with numbers of accepted deliveries that bounced or caused complaints, if there are any.
_RETURNED = ("bounced", "complained")


def status(
    ctx: typer.Context,
    *,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Show how far editions are until they are sent, or Ctrl-C."),
    ] = False,
    json: output.Json = False,
) -> None:
    """Show what needs a look, readers, the last editions, what waits, and what is due next.

    The first line says whether all is well, or what is not: errors first, then warnings. The exit
    code is 3 if something needs a look, such as a failing feed, articles in quarantine, an edition
    that was not made, deliveries that no worker sends, a restored backup, or a missing setting.
    """
    from newsletter.doctor import daily, standing
    from newsletter.doctor import findings as judged
    from newsletter.sender.limits import Limits

    if watch and json:
        raise typer.BadParameter("--watch is to be looked at: --json prints one object.")
    found, now = context.of(ctx), clock.utc_now()
    with found.database() as engine:
        limits = Limits.of(found.settings)
        stands = standing.look(engine, publication=found.publication, limits=limits, now=now)
        kept = _kept(engine)
    findings = sorted(daily.findings(stands, settings=found.settings, now=now), key=judged.gravity)
    upcoming = _upcoming(found.settings, now, stands)
    if json:
        output.as_json(_as_json(stands, findings, upcoming, kept))
    else:
        _print_findings(findings)
        _print_kept(kept, found.settings)
        output.say("")
    if watch:
        _watch(found, limits)
    elif not json:
        _print(stands, upcoming, found.settings, now)
    if _looks(findings):
        raise typer.Exit(exits.FOUND)


def _upcoming(settings: Settings, now: datetime, stands: Standing) -> list[dict[str, Any]]:
    from newsletter.doctor import standing

    times = settings.send_times
    return [
        {
            "cadence": str(one.cadence),
            "period": one.period,
            "due_at": one.due_at.astimezone(times.zone),
            "skipped": one.is_skipped,
        }
        for one in standing.upcoming(stands, times=times, now=now)
    ]


def _as_json(
    stands: Standing,
    findings: list[Finding],
    upcoming: list[dict[str, Any]],
    kept: list[Kept],
) -> dict[str, Any]:
    from newsletter.articles import link

    return {
        "is_well": not _looks(findings),
        "findings": [asdict(finding) for finding in findings],
        "doctor": [{**asdict(one.finding), "last_at": one.last_at} for one in kept],
        "readers": stands.readers,
        "suppressed": stands.suppressed,
        "editions": {c: asdict(one) if one else None for c, one in stands.last.items()},
        "open": [asdict(edition) for edition in stands.open],
        "letters": [asdict(one) for one in stands.letters],
        "unknown": stands.unknown,
        "feeds_failing": [
            {"url": link.masked(one.url), "error": one.error} for one in stands.failing
        ],
        "quarantined": stands.quarantined,
        "held": stands.held,
        "pinned": asdict(stands.pinned) if stands.pinned else None,
        "notes": stands.notes,
        "last_run": stands.run.model_dump(exclude={"id"}) if stands.run else None,
        "restored": stands.restored is not None,
        "next": upcoming,
    }


def _looks(findings: list[Finding]) -> list[Finding]:
    """Return the findings that need attention, without information and unknown ones."""
    return [finding for finding in findings if finding.level.needs_a_look]


def _print_findings(findings: list[Finding]) -> None:
    """Print a summary in one line, then each finding, the worst first."""
    if found := _looks(findings):
        things = "1 thing needs" if len(found) == 1 else f"{len(found)} things need"
        named = dict.fromkeys(finding.id for finding in found)
        output.say(f"{things} a look: {', '.join(named)}.")
    else:
        output.say("All is well.")
    for finding in findings:
        output.say(
            output.printable(f"- {finding.level}: {finding.sentence} {finding.hint}".rstrip())
        )


def _kept(engine: Engine) -> list[Kept]:
    """Return the stored findings of checks that `status` does not run itself, such as DNS."""
    from newsletter.db import session as sessions
    from newsletter.doctor import kept
    from newsletter.doctor.findings import Checks

    own = {Checks.SETTINGS, Checks.TODAY}
    with sessions.reading(engine) as session:
        found = [one for one in kept.all(session) if one.checks not in own]
    return [one for one in found if one.finding.level.needs_a_look]


def _print_kept(kept: list[Kept], settings: Settings) -> None:
    if not kept:
        return
    at = max(one.last_at for one in kept).astimezone(settings.zone)
    named = ", ".join(dict.fromkeys(one.finding.id for one in kept))
    output.say(
        f"The doctor found, up to {at:%Y-%m-%d %H:%M %Z}: {named}. "
        "`newsletter doctor --dns` looks again."
    )


def _watch(here: context.Context, limits: Limits) -> None:
    from newsletter.cli import watch

    with here.database() as engine:
        watch.watch(engine, limits=limits, settings=here.settings)


def _print(
    stands: Standing, upcoming: list[dict[str, Any]], settings: Settings, now: datetime
) -> None:
    statuses = sorted({status for found in stands.readers.values() for status in found})
    if statuses:
        output.table(
            ["readers", *statuses],
            ([cadence, *(n.get(s, 0) for s in statuses)] for cadence, n in stands.readers.items()),
        )
    else:
        output.say("There are no readers yet: `newsletter subscribers add ADDRESS`.")
    if stands.suppressed:
        addresses = (
            "1 address is" if stands.suppressed == 1 else f"{stands.suppressed:,} addresses are"
        )
        output.say(f"{addresses} suppressed and never mailed.")
    output.say("")
    if last := [one for one in stands.last.values() if one]:
        returned = [name for name in _RETURNED if any(getattr(one, name) for one in last)]
        output.table(
            [*_COLUMNS, *returned],
            ([*_books(one), *(getattr(one, name) for name in returned)] for one in last),
        )
        output.say("")
    _print_waiting(stands, settings, now)
    output.table(
        ["next", "due", ""] if any(one["skipped"] for one in upcoming) else ["next", "due"],
        (
            [
                cadences.slug(Cadence(one["cadence"]), one["period"]),
                one["due_at"],
                *(["skipped"] if one["skipped"] else []),
            ]
            for one in upcoming
        ),
    )
    _print_choices(stands)
    output.say(_last_run(stands, settings))


def _print_waiting(stands: Standing, settings: Settings, now: datetime) -> None:
    from newsletter.sender import waiting

    waits = [(edition.name, edition.waiting) for edition in stands.open]
    waits.append(("letters", stands.letters))
    said = [
        output.printable(f"{name}: {waiting.sentences(of, zone=settings.zone, now=now)}")
        for name, of in waits
        if of
    ]
    for sentence in said:
        output.say(sentence)
    if said:
        output.say("")


def _print_choices(stands: Standing) -> None:
    """Print an editor's choices for future editions."""
    if stands.held:
        held = output.counted(stands.held, "article")
        is_held = "is" if stands.held == 1 else "are"
        output.say(f"{held} {is_held} held: `newsletter articles list --held`.")
    if stands.pinned:
        leads = output.listed(stands.pinned.leads)
        output.say(
            f"Article {stands.pinned.article} leads the next {leads} edition: {stands.pinned.title}"
        )
    if stands.notes:
        cadences = output.listed(list(stands.notes))
        output.say(f"A note waits for the next {cadences} edition: `newsletter note` shows it.")


def _last_run(stands: Standing, settings: Settings) -> str:
    run = stands.run
    if run is None:
        return "Neither `newsletter cron` nor `newsletter worker --schedule` has run yet."
    ended = run.ended_at.astimezone(settings.zone)
    came_to = "failed" if run.error else "went well"
    return f"Last run: {run.command} on {run.host}, {ended:%Y-%m-%d %H:%M %Z}; it {came_to}."


def _books(one: Summary) -> tuple[object, ...]:
    """Return the cells of an edition: its audience, and the counts that sum to it."""
    waiting = one.queued + one.claimed + one.in_flight + one.deferred
    not_sent = one.cancelled + one.skipped
    sums = (one.audience, one.accepted, waiting, one.refused, one.unknown, not_sent)
    return (one.edition, one.state, *sums)
