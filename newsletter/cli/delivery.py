"""`newsletter delivery`: the rows of the ledger, and trying some of them again."""

from __future__ import annotations

from typing import Annotated

import typer

from newsletter.cli import context, output
from newsletter.models.delivery import State

app = typer.Typer(help="The ledger: what became of every mail.", no_args_is_help=True)

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
    from newsletter.delivery import listing
    from newsletter.editions import store

    found = context.of(ctx)
    with found.database() as engine, sessions.reading(engine) as session:
        mailings = store.mailings(store.by_slug(session, edition)) if edition else None
        rows = list(
            listing.deliveries(
                session,
                state=state,
                mailings=mailings,
                limit=limit,
            )
        )
    if json:
        output.as_json({"deliveries": rows})
        return
    if not rows:
        output.say("There is no such delivery.")
        return
    names = ("id", "address", "state", "attempts", "code", "reply", "due_at")
    output.table(
        [name.replace("_", " ") for name in names], ([row[n] for n in names] for row in rows)
    )


@app.command()
def retry(
    ctx: typer.Context,
    ids: Annotated[
        list[int],
        typer.Argument(max=output.LARGEST, help="Deliveries, by the id that `list` shows."),
    ],
    *,
    json: output.Json = False,
) -> None:
    """Make deferred or unknown deliveries due at once; the next run sends them."""
    from newsletter.clock import utc_now
    from newsletter.db import session as sessions
    from newsletter.delivery import ledger
    from newsletter.editions import store

    with context.of(ctx).database() as engine, sessions.writing(engine) as session:
        retried = ledger.retry_now(
            session, ids=ids, now=utc_now(), excluded=store.cancelled_mailings()
        )
        store.reopen(session)
    if json:
        output.as_json({"asked": len(ids), "retried": retried})
        return
    output.say(f"{retried:,} of {len(ids):,} deliveries are due now.")
    if retried < len(ids):
        output.say(
            "Only deferred, unknown and queued deliveries can be tried again, and only to readers "
            "who have not left or paused since, of editions that are not cancelled."
        )
