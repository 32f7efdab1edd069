"""`newsletter subscribers`: adds, lists, shows, changes, unsubscribes and erases readers."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from newsletter import address as addresses
from newsletter import clock
from newsletter.cadences import Cadence
from newsletter.cli import context, csv_files, growth, new_address, output
from newsletter.errors import InvalidInput, NotFound
from newsletter.explain import coming
from newsletter.explain import suppressed as suppressions
from newsletter.ledger import reasons
from newsletter.models import Status
from newsletter.settings import Settings
from newsletter.subscribers import evidence, next_digest

if TYPE_CHECKING:
    from sqlmodel import Session

    from newsletter.models import AddressChange, Subscriber, Suppression

app = typer.Typer(no_args_is_help=True)

_SOURCE = "command line"
_DELIVERIES_SHOWN = 20

Address = Annotated[str, typer.Argument(help="The reader's email address.")]
WithCadence = Annotated[Cadence | None, typer.Option("--cadence", help="How often they read.")]
WithStatus = Annotated[Status | None, typer.Option("--status", help="Only readers who are this.")]


@app.command()
def add(
    ctx: typer.Context,
    address: Address,
    *,
    cadence: WithCadence = None,
    again: Annotated[
        bool, typer.Option("--again", help="They had left and have asked for it anew.")
    ] = False,
    json: output.Json = False,
) -> None:
    """Add a reader on your word: they are active at once, weekly unless you say otherwise.

    An existing reader gets the cadence that you name.
    """
    from newsletter.db import session as sessions
    from newsletter.subscribers import operating, signup

    here, now, spelled = context.of(ctx), clock.utc_now(), addresses.normalise(address, local=True)
    keyring = here.settings.keyring()
    with here.database() as engine, sessions.writing(engine) as session:
        reader, came_to = operating.add(
            session,
            spelled,
            cadence=cadence,
            again=again,
            actor=context.actor(),
            source=_SOURCE,
            now=now,
            keyring=keyring,
        )
        skipped = next_digest.skipped_ahead(session, now=now)
    if json:
        output.as_json(
            {"result": came_to, **_reader(reader), "next": _next(reader, here.settings, skipped)}
        )
        return
    sentences = {
        signup.Signup.ADDED: f"{spelled} is added: {reader.cadence}.",
        signup.Signup.CONFIRMED: f"{spelled} was pending and is active now: {reader.cadence}.",
        signup.Signup.AGAIN: f"{spelled} is back: {reader.cadence}.",
        signup.Signup.CHANGED: f"{spelled} was there and is {reader.cadence} now.",
        signup.Signup.UNCHANGED: f"{spelled} is there already: {reader.cadence}, {reader.status}.",
    }
    output.say(sentences[came_to])
    output.say(_next_line(reader, here.settings, skipped))


@app.command("list")
def list_subscribers(
    ctx: typer.Context,
    *,
    status: WithStatus = None,
    cadence: WithCadence = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=output.LARGEST, help="Show no more than this.")
    ] = 100,
    json: output.Json = False,
) -> None:
    """List readers; `subscribers export` writes all of them as CSV."""
    from newsletter.db import session as sessions
    from newsletter.subscribers import store

    with context.of(ctx).database() as engine, sessions.reading(engine) as session:
        readers = store.listing(session, status=status, cadence=cadence, limit=limit)
        total = store.count(session, status=status, cadence=cadence)
    if json:
        output.as_json({"subscribers": [_reader(reader) for reader in readers], "total": total})
        return
    if not readers:
        output.say("There is no such reader. `newsletter subscribers add ADDRESS` adds one.")
        return
    columns = ("address", "cadence", "status", "subscribed_at", "paused_until")
    rows = [[_reader(reader)[name] for name in columns] for reader in readers]
    output.table(["address", "cadence", "status", "since", "paused until"], rows)
    if total > len(readers):
        output.say(f"{len(readers):,} of {total:,} are shown; --limit shows more.")


@app.command()
def show(ctx: typer.Context, address: Address, *, json: output.Json = False) -> None:
    """Show all that is kept about one reader, and what comes next for them."""
    from newsletter import suppression
    from newsletter.db import session as sessions
    from newsletter.subscribers import address_change, store

    here, spelled = context.of(ctx), addresses.normalise(address, local=True)
    with here.database() as engine, sessions.reading(engine) as session:
        reader = store.find(session, spelled)
        suppressed = suppression.named(session, spelled)
        if reader is None and suppressed is None:
            raise _not_found(spelled)
        moving = address_change.pending(session, reader, now=clock.utc_now()) if reader else None
        consents = [_consent(row) for row in store.consents(session, reader)] if reader else []
        found = (
            store.deliveries(session, reader, limit=None if json else _DELIVERIES_SHOWN)
            if reader
            else []
        )
        deliveries = [dict(row._mapping) for row in found]  # noqa: SLF001 - its public name
        skipped = next_digest.skipped_ahead(session, now=clock.utc_now())
    if json:
        output.as_json(
            {
                **(_reader(reader) if reader else {"address": spelled, "status": "suppressed"}),
                "suppression": _suppression(suppressed),
                "consents": consents,
                "deliveries": deliveries,
                "address_change": _moving(moving),
                "next": _next(reader, here.settings, skipped) if reader else None,
            }
        )
        return
    _show(reader, spelled, suppressed)
    if reader:
        if moving is not None:
            output.say(
                f"A change of address to {moving.address} waits to be confirmed there, until "
                f"{moving.expires_at:%Y-%m-%d %H:%M} UTC."
            )
        _show_history(consents, deliveries)
        output.say(_next_line(reader, here.settings, skipped))


@app.command()
def change(
    ctx: typer.Context,
    address: Address,
    *,
    cadence: WithCadence = None,
    pause: Annotated[bool, typer.Option("--pause", help="Send nothing until --resume.")] = False,
    pause_until: Annotated[
        datetime | None,
        typer.Option("--pause-until", formats=["%Y-%m-%d"], help="Send nothing before this day."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="End a pause.")] = False,
    address_to: Annotated[
        str | None,
        typer.Option("--address", help="Ask them by a letter to confirm this new address."),
    ] = None,
    json: output.Json = False,
) -> None:
    """Change a reader's cadence or address, pause them, or end a pause. They miss no article.

    A new address takes effect when its owner has confirmed it: a letter with a link is sent there,
    and a notice to the present address.
    """
    from newsletter.db import session as sessions
    from newsletter.subscribers import operating, store

    if sum([pause, pause_until is not None, resume]) > 1:
        raise InvalidInput("--pause, --pause-until and --resume exclude one another.")
    is_kept = cadence is None and not (pause or pause_until or resume)
    if address_to is not None:
        if not is_kept:
            raise InvalidInput("--address is changed alone.", hint="Run the command twice.")
        _ask_for_address(context.of(ctx), address, address_to, json=json)
        return
    if is_kept:
        raise InvalidInput(
            "There is nothing to change.", hint="Name a cadence, a pause or an address."
        )
    here, now = context.of(ctx), clock.utc_now()
    by: dict[str, Any] = {"actor": context.actor(), "source": _SOURCE, "now": now}
    until = _start_of(pause_until.date(), here.settings) if pause_until else None
    with here.database() as engine, sessions.writing(engine) as session:
        reader = _found(session, address, ends=not resume or cadence is not None)
        chosen, changed = store.with_address(reader.address), False
        if cadence is not None:
            changed |= operating.change_cadence(session, chosen, cadence, **by)
        if pause or until:
            changed |= operating.pause(session, chosen, until=until, **by)
        if resume:
            changed |= operating.resume(session, chosen, **by)
        skipped = next_digest.skipped_ahead(session, now=now)
    if json:
        output.as_json(
            {"changed": changed, **_reader(reader), "next": _next(reader, here.settings, skipped)}
        )
        return
    was = "is now" if changed else "was already"
    output.say(f"{reader.address} {was} {reader.cadence}, {reader.status}.")
    output.say(_next_line(reader, here.settings, skipped))


def _ask_for_address(here: context.Context, address: str, new: str, *, json: bool) -> None:
    from newsletter.db import session as sessions
    from newsletter.subscribers import operating, store

    spelled = addresses.normalise(new)
    with here.database() as engine, sessions.writing(engine) as session:
        reader = _found(session, address)
        change = operating.ask_for_address(
            session,
            store.with_address(reader.address),
            spelled,
            actor=context.actor(),
            publication=here.publication,
            now=clock.utc_now(),
        )
    new_address.say(change, old=reader.address, json=json)


@app.command()
def unsubscribe(ctx: typer.Context, address: Address, *, json: output.Json = False) -> None:
    """End a reader's consent: no more mail is sent to them, not even what is queued already."""
    from newsletter.db import session as sessions
    from newsletter.subscribers import operating, store
    from newsletter.subscribers import unsubscribe as goodbye

    with context.of(ctx).database() as engine, sessions.writing(engine) as session:
        reader = _found(session, address)
        came_to = operating.unsubscribe(
            session,
            store.with_address(reader.address),
            actor=context.actor(),
            source=_SOURCE,
            now=clock.utc_now(),
        )
        session.refresh(reader)
    if json:
        output.as_json({"result": came_to, **_reader(reader)})
    elif came_to is goodbye.Goodbye.DONE:
        output.say(f"{reader.address} is unsubscribed.")
    else:
        output.say(f"{reader.address} was {reader.status} already.")


app.command("import")(csv_files.import_readers)
app.command()(csv_files.export)
app.command("growth")(growth.show)


@app.command()
def forget(
    ctx: typer.Context,
    address: Address,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: output.Json = False,
) -> None:
    """Erase a person everywhere, for good; a keyed hash keeps them from being mailed again."""
    from newsletter.db import session as sessions
    from newsletter.subscribers import forget as erasure
    from newsletter.subscribers import operating

    here, spelled = context.of(ctx), addresses.normalise(address, local=True)
    keyring = here.settings.keyring()
    with here.database() as engine:
        if not yes:
            _ask(f"Erase all that is kept about {spelled}? This cannot be undone.")
        with sessions.writing(engine) as session:
            gone = operating.forget(
                session, spelled, actor=context.actor(), now=clock.utc_now(), keyring=keyring
            )
        is_swept = erasure.sweep(engine)
    if json:
        output.as_json({"address": spelled, **asdict(gone)})
    else:
        known = "is forgotten" if gone.subscriber else "was no reader"
        output.say(
            f"{spelled} {known}: {output.counted(gone.consents, 'consent')} erased, "
            f"{gone.deliveries:,} {'delivery' if gone.deliveries == 1 else 'deliveries'} without a "
            "name now. A keyed hash keeps imports from bringing them back."
        )
    if not is_swept:
        output.warn(
            "The database is being read: the words leave its log with the next checkpoint. "
            "Run the command again to be sure."
        )


def _found(session: Session, address: str, *, ends: bool | None = None) -> Subscriber:
    from newsletter.subscribers import locking, store

    spelled = addresses.normalise(address, local=True)
    reader = locking.find_subscriber(session, store.with_address(spelled), ends=ends)
    if reader is None:
        raise _not_found(spelled)
    return reader


def _not_found(address: str) -> NotFound:
    return NotFound(
        f"There is no reader {address}.", hint=f"`newsletter subscribers add {address}` adds them."
    )


def _reader(reader: Subscriber) -> dict[str, Any]:
    return {
        "address": reader.address,
        "cadence": str(reader.cadence),
        "status": str(reader.status),
        "generation": reader.generation,
        "subscribed_at": reader.subscribed_at,
        "paused_until": reader.paused_until,
        "language": reader.language,
        "timezone": reader.timezone,
        "watermark": reader.watermark,
        "created_at": reader.created_at,
        "updated_at": reader.updated_at,
    }


def _consent(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of the consent table
    names = ("at", "action", "cadence", "status", "generation", "wording", "source", "remote")
    kept = evidence.from_json(row.evidence)
    known = {name: value for name, value in kept._asdict().items() if value}
    return {**{name: getattr(row, name) for name in names}, "evidence": known or None}


def _moving(row: AddressChange | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {"address": row.address, "asked_at": row.asked_at, "expires_at": row.expires_at}


def _suppression(row: Suppression | None) -> dict[str, Any] | None:
    if row is None:
        return None
    names = ("cause", "reason", "source", "created_at")
    return {name: getattr(row, name) for name in names}


def _next(
    reader: Subscriber, settings: Settings, skipped: next_digest.Skipped
) -> dict[str, Any] | None:
    """Return the next edition that a reader will get without further changes; None for none."""
    found = coming.edition(reader, now=clock.utc_now(), times=settings.send_times, skipped=skipped)
    return asdict(found) if found else None


def _next_line(reader: Subscriber, settings: Settings, skipped: next_digest.Skipped) -> str:
    return coming.sentence(reader, now=clock.utc_now(), times=settings.send_times, skipped=skipped)


def _show(reader: Subscriber | None, address: str, suppressed: Suppression | None) -> None:
    if reader is not None:
        output.say(f"{address}: {reader.cadence}, {reader.status}")
    if suppressed is not None:
        output.say(output.printable(suppressions.sentence(suppressed, address)))


def _show_history(consents: list[dict[str, Any]], deliveries: list[dict[str, Any]]) -> None:
    names = ("at", "action", "cadence", "status", "source", "remote", "wording")
    rows = [[*(row[name] for name in names[:-1]), _words(row)] for row in consents]
    output.table(names, rows, title="Consent")
    if deliveries:
        rows = [
            [
                row["at"],
                f"{row['cadence']} {row['period']}" if row["period"] else row["kind"],
                f"{row['state']}, {row['returned']}" if row["returned"] else row["state"],
                row["returned_reply"] or _why(row["reason"]) or row["reply"],
                row["subject"],
            ]
            for row in deliveries
        ]
        output.table(("at", "mail", "state", "why", "subject"), rows, title="Deliveries")


def _why(reason: str | None) -> str | None:
    return reasons.meaning(reason) if reason else None


def _words(consent: dict[str, Any]) -> str:
    """Return the wording of a consent, and the evidence of another system."""
    said = consent["evidence"]
    stated = evidence.sentence(evidence.NONE._replace(**said)) if said else ""
    return f"{consent['wording']} The file says: {stated}." if stated else consent["wording"]


def _start_of(day: date, settings: Settings) -> datetime:
    return datetime.combine(day, time(), tzinfo=settings.zone).astimezone(UTC)


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise InvalidInput("Nobody is there to be asked.", hint="Say --yes to erase.")
    typer.confirm(question, abort=True)
