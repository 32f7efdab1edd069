"""What a provider's event costs by its hook: processor time beside an empty POST route.

As a script it is the server: `newsletter serve` with a route that only reads a body and answers.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import hook_events
import journey
from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy import text
from stage import Stage, Studio, seconds_of

from newsletter.cli.app import main
from newsletter.clock import utc_now
from newsletter.web import app

#: Requests of each kind, and how many a second, over so many connections.
REQUESTS = 2_000
RATE = 400
CONNECTIONS = 60
#: Pairs of the two kinds of requests, in turn; the median of their ratios counts.
TRIES = 3
#: The ratio that an event may have.
LIMIT = 2.0
EMPTY = "/empty"
#: One of those that post each event in a request of its own.
PROVIDER = next(one for one in hook_events.PROVIDERS if one.name == "resend")
_HOOK = f"/hooks/{PROVIDER.name}/{hook_events.SECRET}"


def costs(studio: Studio) -> list[tuple[float, float]]:
    """Return the processor seconds of a request with a bounce, and of an empty one, by turns."""
    readers = REQUESTS * TRIES
    with studio.sqlite(readers) as stage:
        stage.freeze()
        sent = _accepted(stage)
        port = journey.free_port()
        server = subprocess.Popen(
            [
                sys.executable,
                Path(__file__),
                "serve",
                "--port",
                str(port),
                "--no-letters",
                "--force",
            ],
            env={**stage.env, **hook_events.environment(), "PYTHONPATH": ":".join(sys.path)},
            cwd=stage.folder,
        )
        try:
            journey.wait_for(port)
            asyncio.run(_post(port, [_request(EMPTY, {}, b"[]")] * 200))
            return [
                _pair(server.pid, port, sent[n * REQUESTS : (n + 1) * REQUESTS])
                for n in range(TRIES)
            ]
        finally:
            server.terminate()
            server.wait(30)


def ratio(found: Sequence[tuple[float, float]]) -> float:
    """Return the median of what each pair came to."""
    return statistics.median(event / empty for event, empty in found)


def _accepted(stage: Stage) -> list[tuple[str, str]]:
    """Have the edition accepted; return each address and Message-ID."""
    with stage.engine.begin() as connection:
        connection.execute(
            text("UPDATE delivery SET state = 'accepted', state_at = :now"), {"now": utc_now()}
        )
        rows = connection.execute(
            text(
                "SELECT delivery.address, mailing.public_id, delivery.reference FROM delivery "
                "JOIN mailing ON mailing.id = delivery.mailing_id"
            )
        )
        return [(row[0], f"{row[1]}.{row[2]}@miasfeed.example") for row in rows]


def _pair(process: int, port: int, sent: Sequence[tuple[str, str]]) -> tuple[float, float]:
    now = utc_now()
    events = [PROVIDER.bounce(address, message_id, address, now) for address, message_id in sent]
    with_event = [_request(_HOOK, one.headers, one.body) for one in events]
    without = [_request(EMPTY, one.headers, one.body) for one in events]
    empty = _taken(process, port, without)
    return _taken(process, port, with_event) / len(sent), empty / len(sent)


def _taken(process: int, port: int, requests: Sequence[bytes]) -> float:
    before = seconds_of(process)
    asyncio.run(_post(port, requests))
    return seconds_of(process) - before


def _request(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = [
        f"POST {path} HTTP/1.1",
        "Host: news.miasfeed.example",
        "User-Agent: bench",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


async def _post(port: int, requests: Sequence[bytes]) -> None:
    """Post requests at an even rate; each connection has one at a time."""
    began, left = time.monotonic(), iter(enumerate(requests))

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number, request in left:
            await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
        writer.close()

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))


def _serve() -> None:
    router = APIRouter()

    @router.post(EMPTY)
    async def empty(request: Request) -> Response:
        await request.body()
        return Response()

    routers = app._routers
    app._routers = lambda settings: [router, *routers(settings)]
    main()


if __name__ == "__main__":
    _serve()
