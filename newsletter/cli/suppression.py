"""`newsletter suppression`: addresses that must never be mailed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from newsletter import address as addresses
from newsletter import clock
from newsletter.cli import context, output, suppression_lists
from newsletter.errors import InvalidInput
from newsletter.models import Cause, Status

app = typer.Typer(no_args_is_help=True)

Since = Annotated[
    datetime | None,
    typer.Option("--since", formats=["%Y-%m-%d"], help="Only those suppressed since that day."),
]
Address = Annotated[str, typer.Argument(help="An email address.")]


@app.command()
def add(
    ctx: typer.Context,
    address: Address,
    *,
    reason: Annotated[
        str, typer.Option("--reason", callback=context.legible, help="Why.")
    ] = "operator",
    cause: Annotated[
        Cause, typer.Option("--cause", help="Which decides who lifts it: docs/operations.md.")
    ] = Cause.OPERATOR,
    json: output.Json = False,
) -> None:
    """Suppress an address for good, and cancel its open deliveries."""
    from newsletter.db import session as sessions
    from newsletter.subscribers import operating

    here, spelled = context.of(ctx), addresses.normalise(address, local=True)
    with here.database() as engine, sessions.writing(engine) as session:
        found, added = operating.suppress_address(
            session,
            spelled,
            cause=cause,
            reason=reason,
            actor=context.actor(),
            source="command line",
            now=clock.utc_now(),
            keyring=here.settings.keyring(),
        )
    if json:
        output.as_json({"address": spelled, "added": added, "cause": found.cause})
    else:
        was = "is suppressed" if added else "was suppressed already"
        output.say(f"{spelled} {was} ({found.cause}).")


@app.command()
def remove(
    ctx: typer.Context,
    address: Annotated[str | None, typer.Argument(help="An email address.")] = None,
    *,
    cause: suppression_lists.OfCause = None,
    since: Since = None,
    json: output.Json = False,
) -> None:
    """Let an address be mailed again, or all addresses that were suppressed for a cause.

    If the mailbox was the only cause (full, dead, bounce), the reader gets their earlier status
    back; any other reader stays unsubscribed until they sign up again. The hashes of erased persons
    stay.
    """
    if (address is None) == (cause is None) or (since is not None and cause is None):
        raise InvalidInput("Name an address, or a cause with --cause, and --since with it.")
    if address is not None:
        _remove_one(context.of(ctx), address, json=json)
    elif cause is not None:
        _remove_all(context.of(ctx), cause, since, json=json)


def _remove_one(here: context.Context, address: str, *, json: bool) -> None:
    from newsletter.db import session as sessions
    from newsletter.subscribers import operating, store

    spelled = addresses.normalise(address, local=True)
    with here.database() as engine, sessions.writing(engine) as session:
        removed = operating.release_address(
            session,
            spelled,
            actor=context.actor(),
            source="command line",
            now=clock.utc_now(),
            keyring=here.settings.keyring(),
        )
        reader = store.find(session, spelled)
    if json:
        output.as_json({"address": spelled, "removed": removed})
    elif removed:
        output.say(f"{spelled} may be mailed again.")
        if reader is None or reader.status == Status.UNSUBSCRIBED:
            output.say(f"A new consent: `newsletter subscribers add {spelled} --again`.")
        else:
            output.say(f"Its reader is {reader.status} again.")
    else:
        output.say(f"{spelled} was not suppressed.")


def _remove_all(here: context.Context, cause: Cause, since: datetime | None, *, json: bool) -> None:
    from newsletter.db import session as sessions
    from newsletter.subscribers import suppress
    from newsletter.subscribers.consent import Origin

    origin, removed = Origin("command line"), 0
    after: int | None = 0
    with here.database() as engine:
        while after is not None:
            with sessions.writing(engine) as session:
                lifted, after = suppress.release_all(
                    session,
                    cause,
                    since=_instant(here, since),
                    after=after,
                    origin=origin,
                    now=clock.utc_now(),
                )
            removed += lifted
    if json:
        output.as_json({"removed": removed})
    else:
        addresses = "1 address" if removed == 1 else f"{removed:,} addresses"
        output.say(f"{addresses} may be mailed again.")


@app.command("list")
def list_suppressions(
    ctx: typer.Context,
    *,
    cause: suppression_lists.OfCause = None,
    since: Since = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=output.LARGEST, help="Show no more than this.")
    ] = 100,
    json: output.Json = False,
) -> None:
    """List the addresses that must never be mailed; erased ones are listed without address."""
    from newsletter import suppression
    from newsletter.db import session as sessions

    here = context.of(ctx)
    chosen = suppression.Chosen(cause, _instant(here, since))
    with here.database() as engine, sessions.reading(engine) as session:
        found = suppression.listing(session, limit=limit, chosen=chosen)
        total = suppression.count(session, chosen=chosen)
    columns = ("address", "cause", "reason", "source", "created_at")
    rows = [[getattr(row, name) for name in columns] for row in found]
    if json:
        listed = [dict(zip(columns, row, strict=True)) for row in rows]
        output.as_json({"suppressions": listed, "total": total})
        return
    if not rows:
        named = f" for the cause {cause}" if cause else ""
        output.say(f"No address is suppressed{named}{f' since {since:%Y-%m-%d}' if since else ''}.")
        return
    output.table(["address", "cause", "reason", "source", "since"], rows)
    if total > len(rows):
        output.say(f"{len(rows):,} of {total:,} are shown; --limit shows more.")


def _instant(here: context.Context, day: datetime | None) -> datetime | None:
    """Return the beginning of a day in the publication's time zone."""
    return day.replace(tzinfo=here.settings.zone) if day else None


app.command("import")(suppression_lists.import_list)
app.command()(suppression_lists.export)
