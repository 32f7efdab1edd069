"""`newsletter database`: the schema's version, upgrades and backups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter.cli import context, output
from newsletter.db import schema
from newsletter.errors import SchemaOutOfDate

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(help="The schema's version, upgrades and backups.", no_args_is_help=True)


@app.command()
def upgrade(ctx: typer.Context) -> None:
    """Make or upgrade the tables. Safe to run at any time, and twice."""
    here = context.of(ctx)
    with here.database(checked=False) as engine:
        before, after = schema.upgrade(engine, timezone=here.settings.timezone)
    if before == after:
        output.say(f"The database is up to date (schema {after}).")
    else:
        output.say(f"The database went from schema {before or 'none'} to {after}.")


@app.command()
def status(ctx: typer.Context, *, json: output.Json = False) -> None:
    """Say which schema the database has, and which one this program works with."""
    with context.of(ctx).database(checked=False) as engine:
        found, wanted = schema.current(engine), schema.newest()
        way_out = _way_out(engine)
        url = engine.url.render_as_string(hide_password=True)
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
