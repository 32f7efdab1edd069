"""`newsletter suppression import` and `export`: lists of addresses that must not be mailed."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from newsletter import clock
from newsletter.cli import context, csv_files, files, output
from newsletter.cli import rejected as rejected_lines
from newsletter.errors import InvalidInput
from newsletter.models import Cause

if TYPE_CHECKING:
    from newsletter.subscribers.rejections import Rejections
    from newsletter.subscribers.suppression_lists import ListTally

OfCause = Annotated[
    Cause | None, typer.Option("--cause", help="Only those suppressed for this cause.")
]


def import_list(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A CSV file, or - for standard input.")],
    *,
    cause: Annotated[
        Cause, typer.Option("--cause", help="For addresses of which the file says none.")
    ] = Cause.IMPORTED,
    column: csv_files.Columns = None,
    ignore_column: csv_files.Ignored = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count only, and write nothing.")
    ] = False,
    rejected: Annotated[
        Path | None,
        typer.Option("--rejected", help="Where rejected lines go; beside FILE by default."),
    ] = None,
    json: output.Json = False,
) -> None:
    """Suppress the addresses of a list: our own export, SES's, SendGrid's, or an address a line.

    Their readers become suppressed, and open deliveries are cancelled. An address that is
    suppressed already keeps the graver cause, so it is safe to run twice.
    """
    from newsletter.subscribers import suppression_lists
    from newsletter.subscribers.rejections import Rejections
    from newsletter.subscribers.suppression_lists import Import

    if cause is Cause.ERASED:
        raise InvalidInput(
            "A list erases nobody.", hint="`newsletter subscribers forget ADDRESS` does."
        )
    here = context.of(ctx)
    name = "standard input" if str(file) == "-" else file.name
    how = Import(
        source=f"import {name}",
        now=clock.utc_now(),
        keyring=here.settings.keyring(),
        cause=cause,
        choice=csv_files.choice_of(column, ignore_column),
        is_dry=dry_run,
    )
    target = rejected_lines.file_beside(file, rejected)
    with (
        files.seekable(file) as stream,
        here.database() as engine,
        Rejections(lambda: _opened(target, dry_run=dry_run)) as rejections,
    ):
        tally = suppression_lists.run(
            engine, stream, how, reject=rejections.add, surveyed=rejections.begin
        )
    _report(name, tally, rejections, None if dry_run else target, json=json)


def export(
    ctx: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="A CSV file; standard output by default.")
    ] = None,
    *,
    cause: OfCause = None,
    json: output.Json = False,
) -> None:
    """Export suppressions as CSV that `suppression import` reads back, erased persons as a hash."""
    from newsletter.db import session as sessions
    from newsletter.subscribers import suppression_lists

    is_stream = csv_files.is_standard_output(file, json=json)
    with context.of(ctx).database() as engine, sessions.reading(engine) as session:
        if file is None or is_stream:
            suppression_lists.write(session, csv_files.utf8(sys.stdout), cause=cause)
            return
        with files.replaced(file) as stream:
            written = suppression_lists.write(session, stream, cause=cause)
    if json:
        output.as_json({"file": file, "exported": written})
    else:
        output.say(f"{output.counted(written, 'suppression')} in {file}.")


def _opened(file: Path, *, dry_run: bool) -> AbstractContextManager[TextIO]:
    return nullcontext(StringIO()) if dry_run else files.replaced(file)


def _report(
    name: str, tally: ListTally, rejections: Rejections, target: Path | None, *, json: bool
) -> None:
    file = target if rejections.count else None
    if json:
        output.as_json(
            {
                **asdict(tally),
                "dry_run": target is None,
                "rejected_file": file,
                "first_rejected": rejected_lines.as_json(rejections.first),
            }
        )
        return
    verb = "would be suppressed" if target is None else "suppressed"
    output.say(
        f"{name}: {tally.added:,} {verb}, {tally.known:,} suppressed before, "
        f"{tally.rejected:,} rejected of {tally.read:,}."
    )
    if tally.mailable:
        output.say(f"{tally.mailable:,} lines are of readers whom the file calls mailable: left.")
    rejected_lines.say(rejections.first, file)
