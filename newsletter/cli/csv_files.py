"""`newsletter subscribers import` and `export`: CSV files of readers."""

from __future__ import annotations

import sys
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from newsletter import clock
from newsletter.cadences import Cadence
from newsletter.cli import context, files, garbage, output
from newsletter.cli import rejected as rejected_lines
from newsletter.errors import InvalidInput
from newsletter.models import Status

if TYPE_CHECKING:
    from newsletter.subscribers.csv_rows import Choice, Rejection, Survey
    from newsletter.subscribers.imports import Import, ImportTally
    from newsletter.subscribers.rejections import Rejections

#: Maximum number of rejected lines that a dry run shows.
_SHOWN = 10

Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="FIELD=NAME",
        help="Read the column NAME as FIELD: status, unsubscribed, bounced, address ...",
    ),
]
Ignored = Annotated[
    list[str] | None,
    typer.Option("--ignore-column", metavar="NAME", help="Do not read the column NAME."),
]


def import_readers(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A CSV file, or - for standard input.")],
    *,
    confirmed: Annotated[
        bool,
        typer.Option(
            "--confirmed", help="You vouch that readers without a state in the file have agreed."
        ),
    ] = False,
    cadence: Annotated[
        Cadence, typer.Option("--cadence", help="For readers of whom the file says none.")
    ] = Cadence.WEEKLY,
    column: Columns = None,
    ignore_column: Ignored = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what each column and reader would become.")
    ] = False,
    rejected: Annotated[
        Path | None,
        typer.Option(
            "--rejected", "--rejects", help="Where rejected lines go; beside FILE by default."
        ),
    ] = None,
    json: output.Json = False,
) -> None:
    """Import readers from CSV: an export of another system, our own, or an address a line.

    Only readers with the state active in the file are mailed. Readers without a state are pending,
    unless you vouch for them with --confirmed. Readers who are pending in the file stay pending,
    and those who left, bounced or complained are never mailed. If a column or a word looks like a
    state and is not known, nothing is imported. Safe to run twice: readers who have left here do
    not come back, and no cadence changes. docs/moving.md lists the states of each system.
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
        choice=choice_of(column, ignore_column),
    )
    if dry_run:
        _preview(file, name, how, json=json)
        return
    found: list[Survey] = []
    target = rejected_lines.file_beside(file, rejected)
    with (
        files.seekable(file) as stream,
        here.database() as engine,
        Rejections(lambda: files.replaced(target)) as rejections,
        output.progress() as bar,
    ):
        size = None if str(file) == "-" else file.stat().st_size
        task = bar.add_task("Importing (octets)", total=size)
        garbage.defer()

        def advance(_: ImportTally) -> None:
            garbage.collect()
            bar.update(task, completed=stream.tell() if size else None)

        def surveyed(survey: Survey) -> None:
            found.append(survey)
            rejections.begin(survey)

        tally = imports.run(
            engine, stream, how, reject=rejections.add, progress=advance, surveyed=surveyed
        )
    _report_import(name, tally, found[0], rejections, target, json=json)


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

    is_stream = is_standard_output(file, json=json)
    with context.of(ctx).database() as engine, sessions.reading(engine) as session:
        if file is None or is_stream:
            exports.write(session, utf8(sys.stdout), status=status, cadence=cadence)
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


def is_standard_output(file: Path | None, *, json: bool) -> bool:
    """Return whether an export is written to standard output; raise InvalidInput with `--json`."""
    is_stream = file is None or str(file) == "-"
    if is_stream and json:
        raise InvalidInput(
            "--json reports on a file, and there is none.", hint="Name one: `export FILE --json`."
        )
    return is_stream


def utf8(stream: TextIO) -> TextIO:
    """Make a stream write UTF-8, which an import reads, whatever the terminal's encoding is."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="strict")
    return stream


def choice_of(columns: list[str] | None, ignored: list[str] | None) -> Choice:
    """Return the choice of columns from the options `--column` and `--ignore-column`."""
    from newsletter.subscribers.csv_rows import Choice

    read = {}
    for said in columns or []:
        wanted, equals, name = said.partition("=")
        if not (wanted and equals and name):
            raise InvalidInput(
                f"--column {said[:100]!r} names no column.",
                hint="Write --column status=NAME, with the name of the column in the file.",
            )
        read[wanted] = name
    return Choice(read, tuple(ignored or ()))


def _preview(file: Path, name: str, how: Import, *, json: bool) -> None:
    """Print the result that an import would have, without a database."""
    from newsletter.subscribers import import_preview, imports

    found: list[Survey] = []
    rejected: list[Rejection] = []
    with files.seekable(file) as stream:
        counts = imports.preview(
            stream,
            how,
            reject=lambda one: rejected.append(one) if len(rejected) < _SHOWN else None,
            surveyed=found.append,
        )
    columns = import_preview.described(found[0])
    if json:
        output.as_json(
            {
                "tool": _tool(found[0]),
                "assumed": found[0].encoding.assumed,
                "columns": columns,
                "counts": dict(sorted(counts.items())),
                "first_rejected": rejected_lines.as_json(rejected),
            }
        )
        return
    _say_survey(name, found[0])
    rows = [[row["name"], row["read_as"]] for row in columns]
    output.table(("column", "is read as"), rows)
    counted = ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items()))
    output.say(f"{name} would give: {counted or 'nobody'}. Nothing was written.")
    rejected_lines.say(rejected)


def _tool(survey: Survey) -> str | None:
    return survey.columns.tool.name if survey.columns and survey.columns.tool else None


def _say_survey(name: str, survey: Survey) -> None:
    tool = _tool(survey)
    if tool is not None:
        output.say(f"{name} has the columns of an export of {tool}.")
    if survey.encoding.assumed:
        output.warn(f"{name}: {survey.encoding.assumed}")


def _report_import(
    name: str,
    tally: ImportTally,
    survey: Survey,
    rejections: Rejections,
    target: Path,
    *,
    json: bool,
) -> None:
    file = target if rejections.count else None
    if json:
        output.as_json(
            {
                **asdict(tally),
                "tool": _tool(survey),
                "assumed": survey.encoding.assumed,
                "rejected_file": file,
                "first_rejected": rejected_lines.as_json(rejections.first),
            }
        )
        return
    _say_survey(name, survey)
    counts = {k: v for k, v in asdict(tally).items() if k not in {"read", "unstated"}}
    output.say(
        f"{name}: {', '.join(f'{value:,} {key}' for key, value in counts.items())} "
        f"of {tally.read:,}."
    )
    if tally.unstated:
        output.say(
            f"{output.counted(tally.unstated, 'reader')} of whom the file says no state "
            f"{'is' if tally.unstated == 1 else 'are'} pending and not mailed. If all of them have "
            "agreed, run it again with --confirmed."
        )
    rejected_lines.say(rejections.first, file)
