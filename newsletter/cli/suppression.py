"""`newsletter suppression`: addresses that must never be mailed."""

from __future__ import annotations

from typing import Annotated

import typer

from newsletter import address as addresses
from newsletter import clock
from newsletter.cli import context, output, suppression_lists
from newsletter.errors import InvalidInput
from newsletter.models import Cause

app = typer.Typer(no_args_is_help=True)

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
    """Never mail an address again, and take back what was on its way."""
    from newsletter import suppression
    from newsletter.db import session as sessions
    from newsletter.subscribers import suppress
    from newsletter.suppression import Grounds

    if cause is Cause.ERASED:
        raise InvalidInput(
            "To suppress erases nobody.", hint=f"`newsletter subscribers forget {address}` does."
        )
    here, spelled = context.of(ctx), addresses.normalise(address, local=True)
    grounds = Grounds(cause, reason, source="command line")
    keyring = here.settings.keyring()
    with here.database() as engine, sessions.writing(engine) as session:
        added = suppress.suppress(
            session, spelled, grounds=grounds, now=clock.utc_now(), keyring=keyring
        )
        found = suppression.find(session, spelled, keyring=keyring)
    assert found is not None
    if json:
        output.as_json({"address": spelled, "added": added, "cause": found.cause})
    else:
        was = "is suppressed" if added else "was suppressed already"
        output.say(f"{spelled} {was} ({found.cause}).")


@app.command()
def remove(ctx: typer.Context, address: Address, *, json: output.Json = False) -> None:
    """Let an address be mailed again. Its reader stays unsubscribed until they ask anew."""
    from newsletter.db import session as sessions
    from newsletter.subscribers import suppress
    from newsletter.subscribers.consent import Origin

    here, spelled = context.of(ctx), addresses.normalise(address, local=True)
    origin, keyring = Origin("command line"), here.settings.keyring()
    with here.database() as engine, sessions.writing(engine) as session:
        removed = suppress.release(
            session, spelled, origin=origin, now=clock.utc_now(), keyring=keyring
        )
    if json:
        output.as_json({"address": spelled, "removed": removed})
    elif removed:
        output.say(f"{spelled} may be mailed again.")
        output.say(f"A new consent: `newsletter subscribers add {spelled} --again`.")
    else:
        output.say(f"{spelled} was not suppressed.")


@app.command("list")
def list_suppressions(
    ctx: typer.Context,
    *,
    cause: suppression_lists.OfCause = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=output.LARGEST, help="Show no more than this.")
    ] = 100,
    json: output.Json = False,
) -> None:
    """List the addresses that must never be mailed; of those forgotten there is no address."""
    from newsletter import suppression
    from newsletter.db import session as sessions

    with context.of(ctx).database() as engine, sessions.reading(engine) as session:
        found = suppression.listing(session, limit=limit, cause=cause)
        total = suppression.count(session, cause=cause)
    columns = ("address", "cause", "reason", "source", "created_at")
    rows = [[getattr(row, name) for name in columns] for row in found]
    if json:
        listed = [dict(zip(columns, row, strict=True)) for row in rows]
        output.as_json({"suppressions": listed, "total": total})
        return
    if not rows:
        output.say("No address is suppressed" + (f" for the cause {cause}." if cause else "."))
        return
    output.table(["address", "cause", "reason", "source", "since"], rows)
    if total > len(rows):
        output.say(f"{len(rows):,} of {total:,} are shown; --limit shows more.")


app.command("import")(suppression_lists.import_list)
app.command()(suppression_lists.export)
