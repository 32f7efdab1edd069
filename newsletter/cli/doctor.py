"""`newsletter doctor`: checks the whole set-up, and prints findings with hints."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter import address, clock
from newsletter.cadences import Cadence
from newsletter.cli import context, findings, output, sample, setup
from newsletter.errors import InvalidInput, NewsletterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Engine

    from newsletter.doctor.findings import Examined
    from newsletter.doctor.resolver import Resolver

#: The exit code of a command with findings that need action.
FOUND = 3
_UNSEEN_NETWORK = "DNS, mail servers, base_url and the mailbox of returned mails (--dns)"
_UNSEEN_MAIL = "a mail as it arrives (--mail or --file)"


def doctor(
    ctx: typer.Context,
    *,
    dns: Annotated[
        bool,
        typer.Option(
            "--dns",
            help="Look at DNS, the relays, base_url, the mailbox of returned mails and the clock, "
            "too.",
        ),
    ] = False,
    mail: Annotated[
        str | None,
        typer.Option("--mail", help="Send one test mail to this address, to judge what arrives."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Judge a received mail, saved as .eml.")
    ] = None,
    nameserver: Annotated[
        str | None,
        typer.Option("--nameserver", help="Ask this name server, HOST or HOST:PORT."),
    ] = None,
    json: output.Json = False,
) -> None:
    """Say whether everything is right: settings, this machine, its database; with --dns also DNS.

    Each finding says what is there, what should be, and the way out; what could not be checked says
    so. The exit code is 3 if something needs a look. With --mail or --file, only the mail is
    judged, unless --dns is there as well; mail to the mailbox of feedback_url is waited for.
    Findings are kept until the next run that checks the same.
    """
    if mail and file:
        raise typer.BadParameter("--mail and --file do not go together: a mail is one of them.")
    found, now = context.of(ctx), clock.utc_now()
    found.log()
    resolver = _resolver(nameserver)
    with ExitStack() as stack:
        database = _opened(stack, found)
        engine = None if isinstance(database, NewsletterError) else database
        examined: list[Examined] = []
        if dns or not (mail or file):
            examined += _machine(found, database, now, with_network=dns)
        if dns:
            examined += _network(found, engine, resolver, now)
        if file:
            examined.append(_judged(_read(file), found, resolver))
        then = ""
        if mail:
            arrived, then = _sent(mail, found, engine, resolver, now)
            examined += arrived
        from newsletter.doctor import network

        examined = network.merged(examined)
        since = _kept(engine, examined, now) if engine is not None else {}
    if found.settings.log_level:
        _log(examined)
    unseen = _unseen(dns=dns, mail=bool(mail or file))
    if json:
        output.as_json(findings.as_json(examined, since, unseen=unseen, then=then))
    else:
        _print(examined, since, unseen, then)
    if any(one.level.needs_a_look for group in examined for one in group.findings):
        raise typer.Exit(FOUND)


def _opened(stack: ExitStack, found: context.Context) -> Engine | NewsletterError:
    try:
        return stack.enter_context(found.database())
    except NewsletterError as exc:
        return exc


def _resolver(nameserver: str | None) -> Resolver:
    from newsletter.doctor import resolver

    return resolver.Resolver([resolver.parse_nameserver(nameserver)] if nameserver else [])


def _machine(
    found: context.Context,
    database: Engine | NewsletterError,
    now: datetime,
    *,
    with_network: bool,
) -> list[Examined]:
    from newsletter.doctor import local

    return local.examine(found.settings, database, now=now, with_relays=not with_network)


def _network(
    found: context.Context, engine: Engine | None, resolver: Resolver, now: datetime
) -> list[Examined]:
    from newsletter.articles import store
    from newsletter.db import session as sessions
    from newsletter.doctor import network

    feeds: list[str] = []
    if engine is not None:
        with sessions.reading(engine) as session:
            feeds = [feed.url for feed in store.feeds(session)]
    with output.waiting() as show:
        return network.examine(
            found.settings,
            engine,
            resolver,
            feeds=feeds,
            now=now,
            on_waiting=lambda names: show(f"Waiting for {output.listed(names)}"),
        )


def _read(file: Path) -> bytes:
    """Return the content of a file, or its beginning if it is too long for a mail."""
    from newsletter.doctor import received

    try:
        with file.open("rb") as opened:
            return opened.read(received.MAXIMUM_OCTETS + 1)
    except OSError as exc:
        raise InvalidInput(
            f"{file} cannot be read: {exc.strerror or exc}.", hint="Name a mail, saved as .eml."
        ) from exc


def _judged(octets: bytes, found: context.Context, resolver: Resolver) -> Examined:
    from newsletter.doctor import mail, received, signatures

    read = received.read(octets)
    with output.waiting() as show:
        show("Looking at the signatures")
        return mail.examine(read, signatures.verify(octets, resolver), found.settings, resolver)


def _sent(
    to: str, found: context.Context, engine: Engine | None, resolver: Resolver, now: datetime
) -> tuple[list[Examined], str]:
    """Send a test mail; return its findings if we can read the mailbox, or else what to do."""
    from newsletter.doctor import received, returns
    from newsletter.editions.compose import MailRenderer
    from newsletter.sender import trial

    settings = found.settings
    recipient = address.normalise(to, local=True)
    setup.require_for(recipient, settings)
    rendered = sample.rendered(MailRenderer(found.publication), Cadence.WEEKLY, settings, now)
    message = trial.filled(rendered.message, settings, recipient, now=now)
    trial.post(settings, recipient, message)
    if engine is None or not returns.is_read_at(settings, recipient):
        return [], (
            f'Sent a test mail to {recipient}. Save what arrives there as a file ("show '
            'original" or "save as"), then: newsletter doctor --file FILE'
        )
    message_id = received.message_id(message)
    with output.waiting() as show:
        show(f"Waiting for the mail to {recipient}")
        octets = returns.wait_for(engine, settings, message_id, now=now)
    arrival = returns.arrival(octets, message_id, recipient)
    judged = [_judged(octets, found, resolver)] if octets and not arrival.findings else []
    return [arrival, *judged], ""


def _kept(
    engine: Engine, examined: Sequence[Examined], now: datetime
) -> dict[tuple[str, str], datetime]:
    """Store the findings; return since when each has existed, by its id and subject."""
    from newsletter.db import session as sessions
    from newsletter.doctor import kept

    try:
        with sessions.writing(engine) as session:
            kept.keep(session, {one.checks: one.findings for one in examined}, now=now)
        with sessions.reading(engine) as session:
            return {
                (one.finding.id, one.finding.subject): one.first_at for one in kept.all(session)
            }
    except NewsletterError as exc:
        output.warn(f"The findings could not be kept: {exc.message}", exc.hint)
        return {}


def _log(examined: Sequence[Examined]) -> None:
    from newsletter.doctor.findings import Level
    from newsletter.logs import events
    from newsletter.logs.event import ERROR, INFO, WARNING

    levels = {Level.ERROR: ERROR, Level.WARNING: WARNING}
    for group in examined:
        for one in group.findings:
            said = f"{one.sentence} {one.hint}".rstrip()
            events.FINDING(
                levels.get(one.level, INFO), id=one.id, subject=one.subject or None, message=said
            )


def _unseen(*, dns: bool, mail: bool) -> str:
    unseen = [] if dns or mail else [_UNSEEN_NETWORK]
    unseen += [] if mail else [_UNSEEN_MAIL]
    return f"Not looked at: {'; '.join(unseen)}." if unseen else ""


def _print(
    examined: Sequence[Examined],
    since: Mapping[tuple[str, str], datetime],
    unseen: str,
    then: str,
) -> None:
    if examined:
        findings.show(examined, since, unseen=unseen)
    if then:
        output.say(then)
