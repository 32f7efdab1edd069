"""`newsletter subscribers import` and `export`: readers in sheets, in and out."""

from __future__ import annotations

import sys
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from newsletter import clock
from newsletter.cadence import Cadence
from newsletter.cli import context, files, output
from newsletter.errors import InvalidInput
from newsletter.models import Status

if TYPE_CHECKING:
    from newsletter.subscribers.imports import Tally
    from newsletter.subscribers.rejections import Rejections


def import_sheet(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A CSV file, or - for standard input.")],
    *,
    confirmed: Annotated[
        bool,
        typer.Option("--confirmed", help="You vouch that they have all agreed: mail them."),
    ] = False,
    cadence: Annotated[
        Cadence, typer.Option("--cadence", help="For readers of whom the file says none.")
    ] = Cadence.WEEKLY,
    rejected: Annotated[
        Path | None,
        typer.Option(
            "--rejected", "--rejects", help="Where rejected lines go; beside FILE by default."
        ),
    ] = None,
    json: output.Json = False,
) -> None:
    """Import readers from CSV: our own, listmonk's, Ghost's, Mailchimp's, or an address a line.

    Import only those who have asked for it: they are active at once, unless the file says that
    they left. Safe to run twice. Nobody who has left here is brought back, and no reader's cadence
    is changed.
    """
    from newsletter.subscribers import imports
    from newsletter.subscribers.imports import Import
    from newsletter.subscribers.rejections import Rejections

    here = context.of(ctx)
    name = "standard input" if str(file) == "-" else file.name
    how = Import(
        source=f"import {name}",
        now=clock.utc_now(),
        keyring=here.settings.keyring(),
        cadence=cadence,
        confirmed=confirmed,
    )
    with (
        files.opened(file) as stream,
        here.database() as engine,
        Rejections(_rejected_file(file, rejected)) as rejections,
        output.progress() as bar,
    ):
        size = None if str(file) == "-" else file.stat().st_size
        task = bar.add_task("Importing (octets)", total=size)

        def advance(_: Tally) -> None:
            bar.update(task, completed=stream.tell() if size else None)

        tally = imports.run(engine, stream, how, reject=rejections.add, progress=advance)
    _report_import(name, tally, rejections, confirmed=confirmed, json=json)


def export(
    ctx: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="A CSV file; standard output by default.")
    ] = None,
    *,
    status: Annotated[
        Status | None, typer.Option("--status", help="Only readers who are this.")
    ] = None,
    cadence: Annotated[
        Cadence | None, typer.Option("--cadence", help="Only readers of this cadence.")
    ] = None,
    json: output.Json = False,
) -> None:
    """Export readers as CSV that a spreadsheet can open and `subscribers import` reads back."""
    from newsletter.db import session as sessions
    from newsletter.subscribers import exports, store

    is_stream = file is None or str(file) == "-"
    if is_stream and json:
        raise InvalidInput(
            "--json reports on a file, and there is none.", hint="Name one: `export FILE --json`."
        )
    with context.of(ctx).database() as engine, sessions.reading(engine) as session:
        if file is None or is_stream:
            exports.write(session, _utf8(sys.stdout), status=status, cadence=cadence)
            return
        total = store.count(session, status=status, cadence=cadence)
        with files.replaced(file) as stream, output.progress() as bar:
            task = bar.add_task("Exporting", total=total)
            written = exports.write(
                session,
                stream,
                status=status,
                cadence=cadence,
                progress=lambda done: bar.update(task, completed=done),
            )
    if json:
        output.as_json({"file": file, "exported": written})
    else:
        output.say(f"{written:,} readers are in {file}.")


def _utf8(stream: TextIO) -> TextIO:
    """Write what the import reads, whatever the terminal's own encoding is."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="strict")
    return stream


def _rejected_file(file: Path, chosen: Path | None) -> Path:
    if chosen is None:
        return Path("stdin.rejected.csv") if str(file) == "-" else Path(f"{file}.rejected.csv")
    if chosen.exists() and file.exists() and chosen.samefile(file):
        raise InvalidInput("The rejected lines would overwrite the file that is imported.")
    return chosen


def _report_import(
    name: str, tally: Tally, rejections: Rejections, *, confirmed: bool, json: bool
) -> None:
    if json:
        first = [{"line": one.line, "reason": one.reason} for one in rejections.first]
        file = rejections.file if rejections.count else None
        output.as_json({**asdict(tally), "rejected_file": file, "first_rejected": first})
        return
    counts = {key: value for key, value in asdict(tally).items() if key != "read"}
    output.say(
        f"{name}: {', '.join(f'{value:,} {key}' for key, value in counts.items())} "
        f"of {tally.read:,}."
    )
    if tally.added and not confirmed:
        output.say(
            "Nobody is mailed whom the file does not call active: they are pending. If they have "
            "all agreed, run it again with --confirmed."
        )
    for one in rejections.first:
        output.warn(f"Line {one.line}: {one.reason}")
    if rejections.count:
        output.warn(f"All rejected lines are in {rejections.file}.")
