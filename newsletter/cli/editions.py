"""`newsletter editions`: what was published, what is in it, and the brakes."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from newsletter import clock
from newsletter.cadence import Cadence
from newsletter.cli import context, output

if TYPE_CHECKING:
    from newsletter.editions.store import Contents, Summary
    from newsletter.models import Edition

app = typer.Typer(
    help="Editions: what was published, what is in it, and the brakes.", no_args_is_help=True
)

Name = Annotated[
    str, typer.Argument(metavar="EDITION", help="Its name, such as weekly-2026-11-23.")
]
_COLUMNS = (
    "edition", "state", "audience", "variants",
    "accepted", "refused", "deferred", "unknown", "cancelled", "skipped", "queued", "claimed",
    "in_flight",
)  # fmt: skip


@app.command("list")
def list_editions(
    ctx: typer.Context,
    *,
    cadence: Annotated[Cadence | None, typer.Option(help="Only those of one cadence.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=output.LARGEST, help="How many.")] = 10,
    json: output.Json = False,
) -> None:
    """List the latest editions with their books."""
    from newsletter.db import session as sessions
    from newsletter.editions import store

    with context.of(ctx).database() as engine, sessions.reading(engine) as session:
        found = store.recent(session, cadence=cadence, limit=limit)
    if json:
        output.as_json({"editions": [asdict(summary) for summary in found]})
    elif found:
        _table(found)
    else:
        output.say("There is no edition yet: `newsletter send CADENCE` makes one.")


@app.command()
def show(ctx: typer.Context, edition: Name, *, json: output.Json = False) -> None:
    """Show one edition: its books, its coverage, and the articles of each variant."""
    from newsletter.db import session as sessions
    from newsletter.editions import store

    here = context.of(ctx)
    with here.database() as engine, sessions.reading(engine) as session:
        row = store.by_slug(session, edition)
        summary, mailings = store.summary(session, row), store.contents(session, row)
    if json:
        output.as_json(
            {**asdict(summary), **_instants(row), "mailings": [asdict(one) for one in mailings]}
        )
        return
    zone = here.settings.zone
    _table([summary])
    output.say(
        f"Covers {row.coverage_start.astimezone(zone):%Y-%m-%d %H:%M} "
        f"to {row.coverage_end.astimezone(zone):%Y-%m-%d %H:%M %Z}."
    )
    for mailing in mailings:
        _print_mailing(mailing)


@app.command()
def pause(ctx: typer.Context, edition: Name, *, json: output.Json = False) -> None:
    """Let no worker take any more of an edition. What is leaving right now still leaves."""
    from newsletter.editions import publish

    with context.of(ctx).database() as engine:
        summary = publish.pause(engine, edition)
    _report(
        summary,
        f"{edition} is paused; `newsletter editions resume {edition}` lets it go on.",
        json=json,
    )


@app.command()
def resume(ctx: typer.Context, edition: Name, *, json: output.Json = False) -> None:
    """Let a paused edition go on with the next `newsletter cron` or a running worker."""
    from newsletter.editions import publish

    with context.of(ctx).database() as engine:
        summary = publish.resume(engine, edition)
    left = output.counted(_waiting(summary), "reader")
    _report(summary, f"{edition} goes on; {left} to go.", json=json)


@app.command()
def cancel(
    ctx: typer.Context,
    edition: Name,
    *,
    reason: Annotated[
        str, typer.Option(callback=context.legible, help="Why; it stands in the list.")
    ] = "Cancelled by the operator.",
    json: output.Json = False,
) -> None:
    """Send no more of an edition, for ever. Who did not get it catches up with the next one."""
    from newsletter.editions import publish

    with context.of(ctx).database() as engine:
        summary = publish.cancel(engine, edition, now=clock.utc_now(), reason=reason)
    uncertain = summary.unknown + summary.in_flight
    _report(
        summary,
        f"{edition} is cancelled: {output.counted(summary.accepted, 'reader')} had it, "
        + (f"{uncertain:,} may have had it, " if uncertain else "")
        + f"{summary.cancelled:,} will not get it.",
        json=json,
    )


def _report(summary: Summary, sentence: str, *, json: bool) -> None:
    if json:
        output.as_json(asdict(summary))
    else:
        output.say(sentence)


def _waiting(summary: Summary) -> int:
    return summary.queued + summary.claimed + summary.in_flight + summary.deferred


def _table(found: list[Summary]) -> None:
    shown = [name for name in _COLUMNS if name in _COLUMNS[:5] or _any(found, name)]
    output.table(shown, ([getattr(summary, name) for name in shown] for summary in found))
    for summary in found:
        if summary.reason:
            output.say(f"{summary.edition}: {summary.reason}")


def _any(found: list[Summary], name: str) -> bool:
    return any(getattr(summary, name) for summary in found)


def _print_mailing(mailing: Contents) -> None:
    output.say("")
    output.say(f"{mailing.subject} ({output.counted(mailing.readers, 'reader')})")
    output.table(
        ["", "role", "title", "link"],
        (
            [one.position, one.role, one.title + (" (edited since)" if one.is_edited else ""),
             one.link]
            for one in mailing.articles
        ),
    )  # fmt: skip


def _instants(row: Edition) -> dict[str, Any]:
    return {
        "coverage_start": row.coverage_start,
        "coverage_end": row.coverage_end,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
    }
