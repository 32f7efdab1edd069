"""`newsletter demo`: runs everything, from an empty folder to delivered digests.

Only the dates are simulated: the sample articles arrive on three days of the past two weeks. The
code for feed, database, readers, editions and SMTP is the real one; a mail catcher on loopback
replaces the mail server.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from sqlalchemy import URL

from newsletter import clock
from newsletter.cadences import Cadence
from newsletter.cli import context, demo_feed, output, sample
from newsletter.cli import send as sending
from newsletter.cli.desk import PORT
from newsletter.errors import Conflict

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from newsletter.cli.catcher import Catcher
    from newsletter.settings import Settings
    from newsletter.subscribers.csv_rows import Rejection

_SENDER = "Mia's Feed <digest@miasfeed.example>"
_READERS = {
    Cadence.DAILY: ("ada", "grace", "rosalind", "barbara"),
    Cadence.WEEKLY: ("marie", "lise", "tu-youyou"),
    Cadence.MONTHLY: ("florence", "virginia"),
}
#: Times before now at which the feed is fetched.
_READINGS = (timedelta(hours=270), timedelta(hours=66), timedelta())


def demo(
    folder: Annotated[
        Path,
        typer.Option("--folder", help="A folder for everything; an older demo in it is replaced."),
    ] = Path("demo"),
    *,
    desk: Annotated[
        bool,
        typer.Option("--desk", help="Live through three weeks instead, and open the desk on them."),
    ] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port of the desk.")
    ] = PORT,
    json: output.Json = False,
) -> None:
    """Show everything at work: a feed, nine readers, three digests, real SMTP, mails on disk.

    With --desk, the operator's web view stays open on a publication with some history until Ctrl-C;
    what is sent from there is caught in the folder, too.
    """
    from newsletter.cli import catcher

    if desk and json:
        raise typer.BadParameter("--desk is to be looked at: --json prints one object.")
    if desk:
        _open_desk(folder, port)
        return
    with _fresh(folder), catcher.running(folder / "mails") as running:
        found = _set_up(folder, running.port)
        with found.database(checked=False) as engine:
            articles = _take_in(engine, found.settings, folder)
            readers = _subscribe(engine, found.settings, folder)
            now = clock.utc_now()
            summaries = [sending.deliver(engine, cadence, found, now=now) for cadence in Cadence]
        mails = [
            {"to": one.recipient, "subject": one.subject, "octets": one.size, "file": one.html.name}
            for one in running.mails
        ]
    if json:
        sent = [{"edition": one.edition, "accepted": one.accepted} for one in summaries]
        output.as_json({"articles": articles, "readers": readers, "editions": sent, "mails": mails})
        return
    output.say(f"{articles} articles came in from a feed, {readers} readers from a CSV file.\n")
    for summary in summaries:
        output.say(sending.sentence(summary))
    output.say("")
    output.table(["to", "subject", "octets", "file"], (list(mail.values()) for mail in mails))
    _what_next(folder, running)


@contextmanager
def _fresh(folder: Path) -> Iterator[None]:
    """Create the folder; that of an older demo is replaced, but no other one."""
    if folder.exists() and not _is_older_demo(folder) and any(folder.iterdir()):
        raise Conflict(
            f"{folder} has something else in it.", hint="Name another one: --folder DIRECTORY."
        )
    _empty(folder)
    folder.mkdir(parents=True, exist_ok=True)
    yield


def _is_older_demo(folder: Path) -> bool:
    settings = folder / "newsletter.toml"
    is_ours = not settings.exists() or _SENDER in settings.read_text(encoding="utf-8")
    return (folder / "mails").is_dir() and is_ours


def _empty(folder: Path) -> None:
    made = ("newsletter.toml", "newsletter.db", "feed.xml", "readers.csv", "mails/*")
    for pattern in (*made, "newsletter.db-*"):
        for path in folder.glob(pattern):
            path.unlink()


def _set_up(folder: Path, port: int) -> context.Context:
    """Write the settings and create the database, as `newsletter init` does.

    Settings in the environment, such as a real newsletter's database, are ignored.
    """
    from newsletter.cli import init
    from newsletter.db import schema

    file = folder / "newsletter.toml"
    init.write(
        file,
        name="Mia's Feed",
        tagline="Medical news and research",
        sender=_SENDER,
        postal_address="Mia's Feed, 12 Harbour Street, Portsmouth PO1 2AB, United Kingdom",
        base_url="https://news.miasfeed.example",
        site_url="https://miasfeed.example",
        timezone="Europe/London",
        database_url=str(URL.create("sqlite", database=str(folder / "newsletter.db"))),
        smtp_url=f"smtp://127.0.0.1:{port}",
    )
    found = context.Context(config=file, environment=False)
    with found.database(checked=False) as engine:
        schema.upgrade(engine)
    return found


def _take_in(engine: Engine, settings: Settings, folder: Path) -> int:
    """Fetch the growing feed as if on three days, the last of which is today."""
    from newsletter.articles import ingest
    from newsletter.articles.limits import Limits

    file, today = folder / "feed.xml", clock.utc_now()
    limits = Limits.of(settings)
    samples = sample.articles()
    new = 0
    for reading in _READINGS:
        now = today - reading
        published = [one for one in samples if timedelta(hours=one["hours_ago"]) >= reading]
        dates = [today - timedelta(hours=one["hours_ago"]) for one in published]
        file.write_text(
            demo_feed.rss(zip(published, dates, strict=True), settings), encoding="utf-8"
        )
        if reading == _READINGS[0]:
            new += ingest.add_feed(engine, str(file), limits, now).counts.new
        else:
            results = ingest.fetch_all(engine, limits, now)
            new += sum(one.counts.new for one in results)
    return new


def _open_desk(folder: Path, port: int) -> None:
    from newsletter.cli import catcher, demo_history, ports
    from newsletter.cli.desk import beside
    from newsletter.cli.systemd import Service
    from newsletter.cli.worker import keep_sending
    from newsletter.db import session as sessions
    from newsletter.desk import access
    from newsletter.sender.shutdown import on_signals

    # Before the history, so that a port that is taken is said at once.
    sockets = ports.listening("127.0.0.1", port)
    with _fresh(folder), catcher.running(folder / "mails", refusal=demo_history.refusal) as running:
        found = _set_up(folder, running.port)
        with found.database(checked=False) as engine, on_signals() as shutdown:
            demo_history.live_through(engine, found, folder / "feed.xml", shutdown)
            if shutdown.is_wanted:
                output.say("Stopped before the three weeks were over: run it again for the desk.")
                return
            output.say(f"{len(running.mails):,} mails left in three weeks; see {folder / 'mails'}.")
            with sessions.writing(engine) as session:
                token = access.issue(session, "demo", actor="cli:demo", now=clock.utc_now())
            with beside(found.settings, engine, sockets):
                output.say(f"Open {ports.url(sockets)}/login/{token} in a browser.")
                output.say("The link works once, for ten minutes. Ctrl-C ends it.")
                keep_sending(engine, found, shutdown, Service())


def _subscribe(engine: Engine, settings: Settings, folder: Path) -> int:
    """Import the readers from a CSV file."""
    from newsletter.subscribers import imports
    from newsletter.subscribers.imports import Import

    file = folder / "readers.csv"
    rows = [f"{name}@readers.example,{c}" for c, names in _READERS.items() for name in names]
    file.write_text("\n".join(["email,cadence", *rows]) + "\n", encoding="utf-8")
    how = Import(
        source="import readers.csv",
        now=clock.utc_now(),
        keyring=settings.keyring(),
        confirmed=True,
    )
    with file.open("rb") as stream:
        return imports.run(engine, stream, how, reject=_reject).added


def _reject(rejection: Rejection) -> None:
    output.warn(f"Line {rejection.line}: {rejection.reason}")


def _what_next(folder: Path, running: Catcher) -> None:
    page, config = running.mails[0].html, folder / "newsletter.toml"
    output.say(f"\nThe mails are in {folder / 'mails'}: open {page} in a browser.")
    command = "newsletter" if shutil.which("newsletter") else _invoked()
    output.say(f"Look around: {command} --config {config} status, or {command} demo --desk")
    output.say(f"Start your own: {command} init")


def _invoked() -> Path:
    """Return the path of the called command, relative to the current folder if it is below it."""
    path = Path(sys.argv[0]).resolve()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
