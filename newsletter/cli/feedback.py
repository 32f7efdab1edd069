"""`newsletter feedback`: what comes back by mail."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter import clock
from newsletter.cli import context, output, streams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from newsletter.feedback.apply import FeedbackTally
    from newsletter.feedback.reports import Returned

app = typer.Typer(no_args_is_help=True)

JsonLines = Annotated[
    bool, typer.Option("--json", help="Print one JSON object for each mail, one a line.")
]
#: Characters of a server's words in a table.
_SHOWN = 100


@app.command()
def read(
    ctx: typer.Context,
    mailbox: Annotated[
        Path, typer.Argument(help="A Maildir, an mbox file, or - for a mail on standard input.")
    ] = Path("-"),
    *,
    json: output.Json = False,
) -> None:
    """Unsubscribe the readers whose mailboxes wrote to the address in List-Unsubscribe.

    Only the signed token in the subject counts, never who the sender says they are. The mailbox is
    not changed, and reading it again is harmless. Says nothing unless a mail asks for something.
    """
    from newsletter.feedback import mailbox as mails
    from newsletter.feedback.apply import apply

    here = context.of(ctx)
    is_stream = str(mailbox) == "-"
    found = mails.of_stream(sys.stdin.buffer) if is_stream else mails.headers(mailbox)
    with here.database() as engine:
        publication = here.publication
        tally = apply(engine, found, publication=publication, now=clock.utc_now())
    if json:
        output.as_json(asdict(tally))
    else:
        _report(tally)


@app.command()
def classify(
    files: Annotated[
        list[Path],
        typer.Argument(help="Mails, mbox files or Maildirs; - for standard input."),
    ],
    *,
    json: JsonLines = False,
) -> None:
    """Say what mails that came back would come to: bounces, complaints and the like.

    Changes nothing, and needs neither settings nor a database. A file that cannot be read is named,
    and the others are shown; the exit code is 1 then.
    """
    from newsletter.errors import InvalidInput
    from newsletter.feedback import bounce

    rows: list[list[object]] = []
    unread = 0
    for path in files:
        try:
            for where, mail in _mails(path):
                found = bounce.read(mail)
                if json:
                    output.as_json({"file": where, **asdict(found)}, is_line=True)
                else:
                    rows += _rows(where, found)
        except InvalidInput as exc:
            unread += 1
            output.error(str(exc), exc.hint)
    if rows:
        output.table(("file", "kind", "recipient", "verdict", "code", "status", "text"), rows)
    if unread:
        raise typer.Exit(1)


def _mails(path: Path) -> Iterator[tuple[Path, bytes]]:
    from newsletter.feedback import mailbox as mails

    if str(path) != "-":
        yield from mails.mails(path)
        return
    for mail in mails.of_stream(sys.stdin.buffer, is_whole=True):
        yield path, mail


def _rows(where: Path, found: Returned) -> Iterator[list[object]]:
    if not found.reports:
        yield [where, found.kind, None, None, None, None, None]
    for one in found.reports:
        said = one.text[:_SHOWN]
        # A code is no quantity: 550, not 1,550.
        code = str(one.code) if one.code else None
        yield [where, found.kind, one.recipient, one.verdict, code, one.status, said]


def _report(tally: FeedbackTally) -> None:
    if tally.read == tally.other and not streams.is_terminal(streams.stdout()):
        return
    names = ("unsubscribed", "already", "outdated", "invalid", "unsigned", "other")
    counts = ", ".join(f"{getattr(tally, name):,} {name}" for name in names)
    output.say(f"{output.counted(tally.read, 'mail')}: {counts}.")
    if not tally.unsigned:
        return
    output.warn(
        "Who asks without a token may be anybody. Write back, or run `newsletter subscribers "
        "unsubscribe ADDRESS`:"
    )
    for sender in tally.senders:
        output.warn(f"  {sender or '(no sender)'}")
