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
    from newsletter.feedback.apply import FeedbackTally

app = typer.Typer(no_args_is_help=True)


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
