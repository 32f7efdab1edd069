"""`newsletter watchdog`: prints what is overdue; prints nothing if nothing is overdue."""

from __future__ import annotations

from dataclasses import asdict

import typer

from newsletter import clock
from newsletter.cli import context, exits, output


def watchdog(ctx: typer.Context, *, json: output.Json = False) -> None:
    """Say what is overdue, one line each; nothing, and exit code 0, when all is well.

    The exit code is 3 if an edition was not made or is not sent, cron was not seen, a worker makes
    no progress, letters wait for more than 15 minutes, a feed is stale, mails may or may not have
    arrived, or too much of an edition came back. It reads little: a timer may run it every minute.
    """
    from newsletter.db import session as sessions
    from newsletter.doctor import daily, standing
    from newsletter.sender.limits import Limits

    found, now = context.of(ctx), clock.utc_now()
    limits = Limits.of(found.settings)
    with found.database() as engine, sessions.reading(engine) as session:
        watched = standing.watched(session, publication=found.publication, limits=limits, now=now)
    findings = daily.overdue(watched, zone=found.settings.zone, now=now)
    if json:
        output.as_json({"findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            output.say(output.printable(f"{finding.sentence} {finding.hint}"))
    if findings:
        raise typer.Exit(exits.FOUND)
