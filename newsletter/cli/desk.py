"""`newsletter desk`: the operator's web view, and who may use it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from newsletter.cli import context, output, ports
from newsletter.cli.systemd import Service
from newsletter.logs import events
from newsletter.sender.shutdown import on_signals

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    import uvicorn
    from sqlalchemy import Engine

    from newsletter.settings import Settings

#: The port of the desk.
PORT = 8026
#: Time for the body of a request: a file is uploaded by any line.
_UPLOAD_SECONDS = 600.0

app = typer.Typer(invoke_without_command=True)


@app.callback()
def desk(
    ctx: typer.Context,
    *,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port.")] = PORT,
) -> None:
    """Serve the operator's web view, until SIGTERM; also /metrics for Prometheus, and /healthz.

    Whoever comes in needs a link of `newsletter desk login`. From outside this machine, put a web
    server with TLS in front of it, and name its address in the setting desk_url.
    """
    if ctx.invoked_subcommand is not None:
        return
    from newsletter.ledger.registration import registered
    from newsletter.models import ProcessKind

    found = context.of(ctx)
    found.log(default="info")
    service = Service()
    with found.database() as engine, on_signals() as shutdown:
        server = _server(found.settings, engine)
        sockets = ports.listening(host, port)
        serving = say_where(found.settings, sockets)

        def end() -> None:
            server.should_exit = True

        with (
            shutdown.heeded_by(end),
            shutdown.heeded_by(service.stopping),
            registered(
                engine,
                ProcessKind.WEB,
                on_outdated=shutdown.ask,
                on_renewed=service.progressed,
                on_trouble=output.warn,
            ),
        ):
            service.ready(serving)
            server.run(sockets)


@app.command()
def login(
    ctx: typer.Context,
    *,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Who will sign in, for the audit log; by default you."),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="The desk's port, without desk_url.")
    ] = PORT,
    json: output.Json = False,
) -> None:
    """Print a link with which one person signs in to the desk, once, within ten minutes."""
    from newsletter import clock
    from newsletter.db import session as sessions
    from newsletter.desk import access

    here, now = context.of(ctx), clock.utc_now()
    who = name if name is not None else context.actor().removeprefix("cli:")
    with here.database() as engine, sessions.writing(engine) as session:
        token = access.issue(session, who, actor=context.actor(), now=now)
    link = f"{here.settings.desk_url or f'http://127.0.0.1:{port}'}/login/{token}"
    if json:
        output.as_json({"url": link, "name": who, "expires_at": now + access.LINK_LIFETIME})
    else:
        output.say(link)


@app.command(name="sessions")
def list_sessions(
    ctx: typer.Context,
    *,
    end: Annotated[
        list[int] | None, typer.Option("--end", help="End this session; can be repeated.")
    ] = None,
    end_all: Annotated[bool, typer.Option("--end-all", help="End every session.")] = False,
    json: output.Json = False,
) -> None:
    """Show who is signed in to the desk, or end sessions."""
    from newsletter import clock
    from newsletter.db import session as sessions
    from newsletter.desk import access

    here, now = context.of(ctx), clock.utc_now()
    with here.database() as engine, sessions.writing(engine) as session:
        chosen = {row.id for row in access.open_sessions(session, now=now)} if end_all else end
        for one in sorted(filter(None, chosen or [])):
            access.end(session, one, actor=context.actor(), now=now)
        found = access.open_sessions(session, now=now)
    rows = [
        {
            "id": row.id,
            "name": row.name,
            "since": row.created_at.astimezone(here.settings.zone),
            "until": row.expires_at.astimezone(here.settings.zone),
        }
        for row in found
    ]
    if json:
        output.as_json({"sessions": rows})
    elif rows:
        output.table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        output.say("Nobody is signed in: `newsletter desk login` prints a link.")


def say_where(settings: Settings, sockets: list[socket.socket]) -> str:
    """Say where the desk is and how to sign in; return the first of both sentences."""
    serving, port = f"The desk is on {ports.url(sockets)}", sockets[0].getsockname()[1]
    output.say(serving)
    option = "" if settings.desk_url or port == PORT else f" --port {port}"
    output.say(f"`newsletter desk login{option}` prints a link to sign in.")
    return serving


@contextmanager
def beside(settings: Settings, engine: Engine, sockets: list[socket.socket]) -> Iterator[None]:
    """Serve the desk in a thread, beside other work of this process."""
    server = _server(settings, engine)
    thread = threading.Thread(target=server.run, args=(sockets,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def _server(settings: Settings, engine: Engine) -> uvicorn.Server:
    import uvicorn

    from newsletter.desk.app import create_app
    from newsletter.web.connections import Limits
    from newsletter.web.peers import Proxies
    from newsletter.web.protocol import Guard

    # uvicorn's own limit would answer 503 for as long as silent connections are open.
    guard = Guard(Limits(connections=100, body_seconds=_UPLOAD_SECONDS), say=_log_closed)
    options: dict[str, Any] = {
        "http": guard.protocols(Proxies(settings.trusted_proxies)),
        "ws": "none",
        "lifespan": "off",
        "access_log": False,
        "log_config": None,
        "log_level": "error",
        "proxy_headers": False,
        "server_header": False,
        "timeout_graceful_shutdown": 10,
    }
    return uvicorn.Server(uvicorn.Config(create_app(settings, engine), **options))


def _log_closed(sentence: str) -> None:
    events.CONNECTIONS_CLOSED(message=sentence)
