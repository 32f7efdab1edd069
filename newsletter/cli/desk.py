"""`newsletter desk`: the operator's web view."""

from __future__ import annotations

from typing import Annotated

import typer

from newsletter.cli import context, output, ports
from newsletter.cli.systemd import Service
from newsletter.sender.shutdown import on_signals


def desk(
    ctx: typer.Context,
    *,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port.")] = 8026,
) -> None:
    """Serve the operator's web view, until SIGTERM: /metrics for Prometheus, and /healthz.

    It has no password: keep it on this machine, or behind a server that asks for one.
    """
    import uvicorn

    from newsletter.desk import app
    from newsletter.ledger.registration import registered
    from newsletter.models import ProcessKind

    found = context.of(ctx)
    found.log(default="info")
    service = Service()
    with found.database() as engine, on_signals() as shutdown:
        served = app.create_app(engine, found.publication)
        server = uvicorn.Server(
            uvicorn.Config(
                served,
                ws="none",
                lifespan="off",
                access_log=False,
                log_level="error",
                proxy_headers=False,
                server_header=False,
                limit_concurrency=100,
                timeout_graceful_shutdown=10,
            )
        )
        sockets = ports.listening(host, port)
        name = f"[{host}]" if ":" in host else host
        serving = f"The desk is on http://{name}:{sockets[0].getsockname()[1]}"
        output.say(serving)

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
