"""`newsletter serve`: serves the readers' pages, with a worker that sends letters immediately."""

from __future__ import annotations

import threading
from contextlib import contextmanager, nullcontext, suppress
from resource import RLIMIT_NOFILE, getrlimit
from typing import TYPE_CHECKING, Annotated, Any

import typer

from newsletter.cli import context, output, ports, setup
from newsletter.cli import worker as working
from newsletter.cli.desk import PORT
from newsletter.cli.systemd import Service
from newsletter.errors import SchemaOutOfDate
from newsletter.logs import events
from newsletter.sender.shutdown import Shutdown, on_signals

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from newsletter.web.peers import Proxies
    from newsletter.web.protocol import Guard

#: Interval of deleting the rows of ended throttle windows.
_PRUNE_SECONDS = 3_600.0


def serve(
    ctx: typer.Context,
    *,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port.")] = 8000,
    letters: Annotated[
        bool, typer.Option("--letters/--no-letters", help="Send what is due from here, too.")
    ] = True,
    desk: Annotated[
        bool, typer.Option("--desk", help="Serve the operator's desk from here, too.")
    ] = False,
    desk_port: Annotated[
        int, typer.Option("--desk-port", min=0, max=65535, help="The desk's port.")
    ] = PORT,
    force: setup.Force = False,
) -> None:
    """Serve the readers' pages and send their letters; SIGTERM ends both after current work.

    Put a web server with TLS in front of it, and name that in the setting trusted_proxies.
    """
    import uvicorn

    from newsletter.ledger.registration import registered
    from newsletter.models import ProcessKind
    from newsletter.web import app
    from newsletter.web.connections import Limits
    from newsletter.web.peers import Proxies, ProxyNotice
    from newsletter.web.protocol import Guard

    found = context.of(ctx)
    found.log(default="info")
    setup.require(found.settings, force=force)
    found.settings.keyring()
    with found.database() as engine, on_signals() as shutdown:
        proxies = Proxies(found.settings.trusted_proxies)
        served = ProxyNotice(app.create_app(found.settings, engine), proxies, say=_log_proxy)
        guard = Guard(Limits.of(getrlimit(RLIMIT_NOFILE)[0]), say=_log_closed)
        options = _options(guard, proxies)
        server = uvicorn.Server(uvicorn.Config(served, **options))
        sockets = ports.listening(host, port)
        beside = ports.listening("127.0.0.1", desk_port, option="--desk-port") if desk else []
        at = sockets[0].getsockname()
        name = f"[{host}]" if ":" in host else host
        serving = f"Serving {found.settings.base_url} on http://{name}:{at[1]}"
        output.say(serving)

        def end() -> None:
            server.should_exit = True

        service = Service()
        # uvicorn handles signals itself while it runs, and raises them again at its end.
        with (
            shutdown.heeded_by(end),
            shutdown.heeded_by(service.stopping),
            registered(
                engine,
                ProcessKind.WEB,
                on_outdated=shutdown.ask,
                on_renewed=None if letters else service.progressed,
                on_trouble=output.trouble,
            ),
            _working(engine, found, shutdown, service if letters else None),
            _desk(engine, found, beside) if desk else nullcontext(),
        ):
            service.ready(serving)
            try:
                server.run(sockets)
            finally:
                guard.log_rest()


@contextmanager
def _desk(engine: Engine, here: context.Context, sockets: list[socket.socket]) -> Iterator[None]:
    from newsletter.cli import desk

    desk.say_where(here.settings, sockets)
    with desk.beside(here.settings, engine, sockets):
        yield


def _log_proxy(sentence: str) -> None:
    events.PROXY_UNTRUSTED(message=sentence)


def _log_closed(sentence: str) -> None:
    events.CONNECTIONS_CLOSED(message=sentence)


def _options(guard: Guard, proxies: Proxies) -> dict[str, Any]:
    """Return the options for uvicorn."""
    return {
        "http": guard.protocols(proxies),
        "ws": "none",
        # A burst is accepted in parts, because a connection has a descriptor before it is counted.
        "backlog": 128,
        # The application reads the headers of trusted proxies itself.
        "proxy_headers": False,
        "server_header": False,
        # Not logged, because URLs contain tokens.
        "access_log": False,
        # uvicorn's default configuration would write to standard error by its own handlers.
        "log_config": None,
        # uvicorn would warn of each invalid request; the protocol counts them instead.
        "log_level": "error",
        "timeout_graceful_shutdown": 30,
    }


@contextmanager
def _working(
    engine: Engine, here: context.Context, shutdown: Shutdown, service: Service | None
) -> Iterator[None]:
    """Run a worker in a thread, if there is a service; at the end, wait for its messages."""
    threads = [threading.Thread(target=_prune, args=(engine, shutdown), daemon=True)]
    if service:
        sending = (engine, here, shutdown, service)
        threads.append(threading.Thread(target=_send, args=sending, daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        shutdown.ask()
        for thread in threads:
            thread.join()


def _send(engine: Engine, here: context.Context, shutdown: Shutdown, service: Service) -> None:
    """Send until the shutdown; `registered` reports an upgraded database."""
    with suppress(SchemaOutOfDate):
        working.keep_sending(engine, here, shutdown, service)


def _prune(engine: Engine, shutdown: Shutdown) -> None:
    """Delete the rows of ended throttle windows, once an hour."""
    from newsletter import clock, throttle
    from newsletter.db import session as sessions
    from newsletter.errors import DatabaseUnavailable

    while not shutdown.is_wanted:
        try:
            with sessions.writing(engine) as session:
                throttle.prune(session, now=clock.utc_now())
        except DatabaseUnavailable as exc:
            events.FAILURE(message=exc.message)
        shutdown.wait(_PRUNE_SECONDS)
