"""`newsletter explain`: explains to the operator why a reader did or did not get a mail."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter import address as addresses
from newsletter import clock
from newsletter.cli import context, output

if TYPE_CHECKING:
    from newsletter.explain.page import Entry, Page
    from newsletter.settings import Settings

#: Indentation of the lines below an entry.
_INDENT = " " * 4


def explain(
    ctx: typer.Context,
    address: Annotated[str, typer.Argument(help="The reader's email address, in any spelling.")],
    *,
    edition: Annotated[
        str | None,
        typer.Option("--edition", help="Answer for this one alone: weekly-2026-11-23."),
    ] = None,
    json: output.Json = False,
) -> None:
    """Say why a reader did or did not get a mail, newest first, and what comes next.

    The answer comes first: the reader's status, the outcome of the last edition, and the time of
    the next one. Then follow the reader's consents, and the editions that they got or did not get,
    with each reply of a mail server, each returned mail, and their meaning.
    """
    from newsletter.db import session as sessions
    from newsletter.editions import store as editions
    from newsletter.explain import page, store
    from newsletter.sender.limits import Limits

    here, now, spelled = context.of(ctx), clock.utc_now(), addresses.normalise(address, local=True)
    with here.database() as engine, sessions.reading(engine) as session:
        chosen = editions.by_slug(session, edition) if edition else None
        facts = store.read(
            session,
            spelled,
            publication=here.publication,
            limits=Limits.of(here.settings),
            now=now,
            edition=chosen,
        )
    found = page.about(facts) if chosen else page.of(facts)
    if json:
        output.as_json(asdict(found))
    else:
        _print(found, here.settings)


def _print(found: Page, settings: Settings) -> None:
    for sentence in found.answer:
        output.say(output.printable(sentence))
    if found.entries:
        output.say(f"\nNewest first; times are of {settings.timezone}.\n")
    for entry in found.entries:
        _print_entry(entry, settings)
    for sentence in found.left_out:
        output.say(output.printable(sentence))


def _print_entry(entry: Entry, settings: Settings) -> None:
    at = f"{entry.at.astimezone(settings.zone):%Y-%m-%d %H:%M}"
    named = f"{entry.name}: {entry.sentence}" if entry.name else entry.sentence
    output.say(output.printable(f"{at}  {named}."))
    for line in entry.details:
        output.say(_INDENT + output.printable(line))
    if entry.message_id and entry.state == "accepted":
        output.say(f"{_INDENT}Message-ID: {output.printable(entry.message_id)}")
