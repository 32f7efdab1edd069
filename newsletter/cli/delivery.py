"""`newsletter delivery`: lists, reconciles and retries deliveries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from newsletter.cli import context, files, output
from newsletter.errors import InvalidInput
from newsletter.models.delivery import State

if TYPE_CHECKING:
    from newsletter.ledger.reconcile import ReconcileTally

app = typer.Typer(no_args_is_help=True)

# Columns of unknown deliveries; their outcome can be looked up in the relay's log by Message-ID.
_UNKNOWN = ("id", "address", "attempts", "reply", "reason", "state_at", "message_id")
_USUAL = ("id", "address", "state", "returned", "attempts", "code", "reply", "due_at")


class Waiting(StrEnum):
    """States from which the operator can retry deliveries."""

    UNKNOWN = State.UNKNOWN
    DEFERRED = State.DEFERRED


Edition = Annotated[
    str | None, typer.Option("--edition", help="Only this edition, such as weekly-2026-11-23.")
]


@app.command("list")
def listed(
    ctx: typer.Context,
    *,
    state: Annotated[State | None, typer.Option(help="Only deliveries in this state.")] = None,
    edition: Edition = None,
    limit: Annotated[int, typer.Option(min=1, max=output.LARGEST, help="At most so many.")] = 100,
    json: output.Json = False,
) -> None:
    """List deliveries with their state, the server's reply and their Message-ID."""
    from newsletter.db import session as sessions
    from newsletter.editions import mailings, store
    from newsletter.ledger import listing

    found = context.of(ctx)
    with found.database() as engine, sessions.reading(engine) as session:
        theirs = mailings.of(store.by_slug(session, edition)) if edition else None
        rows = list(
            listing.deliveries(
                session,
                state=state,
                mailings=theirs,
                limit=min(limit + 1, output.LARGEST),
            )
        )
    is_all, rows = len(rows) <= limit, rows[:limit]
    if json:
        output.as_json({"deliveries": rows})
        return
    if not rows:
        output.say("There is no such delivery.")
        return
    names = _UNKNOWN if state is State.UNKNOWN else _USUAL
    output.table(
        [name.replace("_", " ") for name in names], ([row[n] for n in names] for row in rows)
    )
    if not is_all:
        output.say(f"The first {limit:,} are shown; --limit shows more.")
    if state is State.UNKNOWN:
        output.say(
            "Next: `newsletter delivery reconcile --accepted FILE` settles those that the mail "
            "server's log names; `newsletter delivery retry --state unknown` sends the others "
            "again."
        )


@app.command()
def reconcile(
    ctx: typer.Context,
    *,
    accepted: Annotated[
        Path,
        typer.Option(
            help="A Postfix log, or a list of Message-IDs or queue ids; - for standard input, "
            ".gz too."
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be settled, and settle nothing.")
    ] = False,
    json: output.Json = False,
) -> None:
    """Settle unknown deliveries that the mail server has accepted, by its log.

    A log shows that a message was accepted if its queue id became active, or was delivered or
    tried. A queue id alone finds a delivery only if the reply contained the id. Deliveries that are
    not unknown do not change; running it again changes nothing.
    """
    from newsletter.clock import utc_now
    from newsletter.editions import lifecycle
    from newsletter.ledger import reconcile as reconciling

    now = utc_now()
    with (
        _unpacked(accepted) as stream,
        context.of(ctx).database() as engine,
        output.progress() as bar,
    ):
        task = bar.add_task("Reading (lines)", total=None)
        tally = reconciling.run(
            engine,
            stream,
            now=now,
            actor=context.actor(),
            is_rehearsal=dry_run,
            progress=lambda so_far: bar.update(task, completed=so_far.lines),
        )
        if not dry_run:
            lifecycle.finish(engine, now=now)
    if json:
        still = {"still_unknown": tally.still_unknown, "dry_run": dry_run}
        output.as_json({**asdict(tally), **still})
    else:
        _report(tally, dry_run=dry_run)


@app.command()
def retry(
    ctx: typer.Context,
    ids: Annotated[
        list[int] | None,
        typer.Argument(max=output.LARGEST, help="Deliveries, by the id that `list` shows."),
    ] = None,
    *,
    state: Annotated[
        Waiting | None, typer.Option(help="All deliveries in this state, instead of ids.")
    ] = None,
    edition: Edition = None,
    json: output.Json = False,
) -> None:
    """Make deferred or unknown deliveries due now; the next run sends them."""
    from newsletter.clock import utc_now
    from newsletter.editions import lifecycle

    if bool(ids) == bool(state) or (edition and not state):
        raise InvalidInput(
            "Name deliveries either by their ids or by their state; an edition goes with a state.",
            hint="`newsletter delivery retry 17 18`, or `newsletter delivery retry --state "
            "unknown --edition weekly-2026-11-23`.",
        )
    here = context.of(ctx)
    with here.database() as engine:
        asked, retried = lifecycle.retry(
            engine,
            ids=ids or (),
            state=State(state) if state else None,
            edition=edition,
            now=utc_now(),
            times=here.settings.send_times,
            actor=context.actor(),
        )
    if json:
        output.as_json({"asked": asked, "retried": retried})
        return
    output.say(f"{retried:,} of {asked:,} deliveries are due now.")
    if retried < asked:
        output.say(
            "Only deferred, unknown and queued deliveries can be tried again, and only to readers "
            "who have not left or paused since, of editions that are neither cancelled nor stale."
        )


@contextmanager
def _unpacked(file: Path) -> Iterator[BinaryIO]:
    """Open a file, decompress it if it is a rotated log, and yield it in UTF-8."""
    from newsletter.ledger import logfile

    with files.opened(file) as stream, logfile.unpacked(stream, name=str(file)) as inside:
        yield inside


def _report(tally: ReconcileTally, *, dry_run: bool) -> None:
    verb = "would be" if dry_run else "are"
    output.say(
        f"Of {tally.unknown_before:,} unknown deliveries {tally.accepted:,} {verb} settled as "
        f"accepted, {tally.still_unknown:,} stay unknown."
    )
    output.say(
        f"In {output.counted(tally.lines, 'line')}: {tally.already_settled:,} about deliveries "
        f"that were not unknown, {tally.not_ours:,} about none of ours."
    )
    if not tally.entries:
        output.warn(
            "It speaks of no message.",
            "It should be a Postfix log with its cleanup lines, or a list with one Message-ID or "
            "queue id a line.",
        )
    elif not tally.accepted + tally.already_settled:
        output.warn(
            "It names none of our messages.",
            "It should be the log of the mail server that takes our mail, from the time of the "
            "sending on.",
        )
    elif tally.still_unknown and not dry_run:
        output.say(
            "If nothing is missing in it, the mail server has not taken those: `newsletter "
            "delivery retry --state unknown` sends them again."
        )
