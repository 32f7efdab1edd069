"""The desk as an ASGI application."""

from __future__ import annotations

import threading

from sqlalchemy import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from newsletter.errors import NewsletterError
from newsletter.metrics import exposition
from newsletter.publication import Publication

_UNCACHED = {"Cache-Control": "no-store"}


def create_app(engine: Engine, publication: Publication) -> Starlette:
    """Return the application; requests use connections of `engine`."""
    return Starlette(
        routes=[
            Route("/metrics", _Scrapes(engine, publication).answer),
            Route("/healthz", _healthz),
        ]
    )


class _Scrapes:
    """Serves /metrics, one scrape at a time; simultaneous ones are refused."""

    def __init__(self, engine: Engine, publication: Publication) -> None:
        self._engine = engine
        self._publication = publication
        self._turn = threading.Lock()

    def answer(self, request: Request) -> Response:
        """Return the metrics; 503 if the database is unavailable or another scrape is running."""
        if not self._turn.acquire(blocking=False):
            return _unavailable("Another scrape goes on.")
        try:
            accept = request.headers.get("Accept", "")
            body, kind = exposition.scrape(self._engine, self._publication, accept=accept)
        except (NewsletterError, PoolTimeout):
            # The reason is omitted, as it may name hosts and files; other processes log it.
            return _unavailable("The database cannot be read.")
        finally:
            self._turn.release()
        return Response(body, headers={**_UNCACHED, "Content-Type": kind})


async def _healthz(_request: Request) -> Response:
    """Answer without any check, and without a thread."""
    return PlainTextResponse("ok\n", headers=_UNCACHED)


def _unavailable(sentence: str) -> Response:
    headers = {**_UNCACHED, "Retry-After": "5"}
    return PlainTextResponse(f"{sentence}\n", status_code=503, headers=headers)
