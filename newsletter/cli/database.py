"""`newsletter database`: the schema's version, upgrades, backups, and pruning of deliveries."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter.cli import context, output
from newsletter.db import schema
from newsletter.db.engine import shown
from newsletter.errors import SchemaOutOfDate

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from newsletter.editions.pruning import Rows

#: Interval of retries with --wait.
_LOOK_SECONDS = 1.0
#: A century, so that subtracting it from the current date cannot overflow.
_LARGEST_DAYS = 36_525

app = typer.Typer(no_args_is_help=True)


@app.command()
def upgrade(
    ctx: typer.Context,
    *,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until no process works with the database.")
    ] = False,
) -> None:
    """Make or upgrade the tables. Safe to run twice.

    Refuses while workers or web processes of the earlier version are running, and names them.
    Without anything to upgrade it counts deliveries and readers, and corrects kept counts that rows
    changed by hand have made wrong.
    """
    from newsletter import clock, tally
    from newsletter.db import session as sessions
    from newsletter.ledger import upgrading

    here = context.of(ctx)
    with here.database(checked=False) as engine:
        attempt = partial(upgrading.upgrade, engine, timezone=here.settings.timezone)
        before, after = _once_unused(attempt) if wait else attempt()
        wrong = []
        if before == after:
            with sessions.writing(engine) as session:
                wrong = tally.correct(session, now=clock.utc_now())
    if before == after:
        output.say(f"The database is up to date (schema {after}).")
    else:
        output.say(f"The database went from schema {before or 'none'} to {after}.")
    for one in wrong:
        if one.name == tally.Name.DAY:
            # The same readers as in the count of all, which is named.
            continue
        mailing = f" of mailing {one.mailing_id}" if one.mailing_id else ""
        output.say(
            f"The count of {one.name} rows {one.key!r}{mailing} was wrong by {-one.missing:+,}; it "
            "is corrected."
        )


def _once_unused(attempt: Callable[[], tuple[str | None, str]]) -> tuple[str | None, str]:
    """Retry until no process uses the database; on a terminal, show the processes."""
    from newsletter.ledger.upgrading import StillInUse
    from newsletter.sender.shutdown import on_signals

    with on_signals() as shutdown, output.waiting() as show:
        while not shutdown.is_wanted:
            try:
                return attempt()
            except StillInUse as exc:
                show("Waiting for " + ", ".join(map(str, exc.processes)))
            shutdown.wait(_LOOK_SECONDS)
    output.warn("Told to stop: nothing was upgraded.")
    raise typer.Exit(75)


@app.command()
def status(ctx: typer.Context, *, json: output.Json = False) -> None:
    """Show the schema version of the database, and the one that this program needs."""
    with context.of(ctx).database(checked=False) as engine:
        found, wanted = schema.current(engine), schema.newest()
        way_out = _way_out(engine)
        url = shown(engine)
    if json:
        output.as_json(
            {"url": url, "current": found, "newest": wanted, "up_to_date": found == wanted}
        )
    elif found == wanted:
        output.say(f"{url} is up to date (schema {found}).")
    else:
        output.say(f"{url} has schema {found or 'none'}, this program works with {wanted}.")
        output.say(way_out)
    if found != wanted:
        raise typer.Exit(3)


def _way_out(engine: Engine) -> str:
    try:
        schema.check(engine)
    except SchemaOutOfDate as exc:
        return exc.hint or ""
    return ""


@app.command()
def backup(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that does not exist yet.")],
) -> None:
    """Copy a SQLite database to a file, even while mails are being sent."""
    with context.of(ctx).database(checked=False) as engine:
        schema.backup(engine, file)
    output.say(f"The database is saved in {file} ({file.stat().st_size:,} octets).")


@app.command()
def restored(ctx: typer.Context, *, json: output.Json = False) -> None:
    """Continue with a restored backup, without mailing anybody twice.

    Its open deliveries may have been sent after the backup: they become unknown, for you to
    reconcile with the relay's log or to retry. Editions that were due since then are skipped.
    """
    from newsletter.clock import utc_now
    from newsletter.editions import restore

    here = context.of(ctx)
    with here.database() as engine:
        done = restore.accept(engine, now=utc_now(), publication=here.publication)
    if json:
        output.as_json(asdict(done))
        return
    deliveries = "1 delivery" if done.unknown == 1 else f"{done.unknown:,} deliveries"
    output.say(f"{deliveries} may have been sent since the backup.")
    for name in done.skipped:
        cadence = name.partition("-")[0]
        output.say(f"{name} is skipped; if it was not sent: `newsletter send {cadence}`.")


@app.command()
def prune(
    ctx: typer.Context,
    *,
    older_than: Annotated[
        int,
        typer.Option(
            metavar="DAYS",
            max=_LARGEST_DAYS,
            help="At least catch_up_days and 31 days more.",
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
    json: output.Json = False,
) -> None:
    """Delete the deliveries of editions that ended long ago; their numbers by state are kept.

    Uncertain deliveries are kept, and so are letters, corrections, articles, readers and the
    archive. Safe to run at any time, and twice.
    """
    from newsletter.clock import utc_now
    from newsletter.editions import pruning

    here = context.of(ctx)
    with here.database() as engine:
        rows = pruning.prunable(
            engine, older_than=older_than, now=utc_now(), publication=here.publication
        )
        if not dry_run:
            with output.progress() as bar:
                task = bar.add_task("Pruning", total=rows.states.total())
                rows = pruning.prune(
                    engine, rows, progress=lambda done: bar.update(task, completed=done)
                )
    if json:
        output.as_json(_as_counts(rows, older_than=older_than, dry_run=dry_run))
    else:
        output.say(_sentence(rows, older_than=older_than, dry_run=dry_run))


def _as_counts(rows: Rows, *, older_than: int, dry_run: bool) -> dict[str, object]:
    from newsletter.ledger import books

    return {
        "older_than_days": older_than,
        "dry_run": dry_run,
        "deliveries": rows.states.total(),
        "editions": rows.editions,
        **{state.value: rows.states[state] for state in books.FINAL},
    }


def _sentence(rows: Rows, *, older_than: int, dry_run: bool) -> str:
    count = rows.states.total()
    if not count:
        return f"There is nothing to prune that is older than {older_than} days."
    deliveries = "1 delivery" if count == 1 else f"{count:,} deliveries"
    editions = output.counted(rows.editions, "edition")
    done = "Would prune" if dry_run else "Pruned"
    return f"{done} {deliveries} of {editions} older than {older_than} days."
