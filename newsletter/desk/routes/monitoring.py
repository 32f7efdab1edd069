"""`/metrics` for Prometheus, `/healthz`, and the files that the pages load."""

from __future__ import annotations

import threading

from fastapi import APIRouter, HTTPException, Request
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.responses import PlainTextResponse, Response

from newsletter.desk.dependencies import Desk
from newsletter.errors import NewsletterError
from newsletter.metrics import exposition

router = APIRouter()

_UNCACHED = {"Cache-Control": "no-store"}
_KEPT = {"Cache-Control": "public, max-age=31536000, immutable"}
#: One scrape at a time in this process; simultaneous ones are refused.
_turn = threading.Lock()


@router.get("/metrics")
def metrics(desk: Desk, request: Request) -> Response:
    """Return the metrics; 503 if the database is unavailable or another scrape is running."""
    if not _turn.acquire(blocking=False):
        return _unavailable("Another scrape goes on.")
    try:
        accept = request.headers.get("Accept", "")
        body, kind = exposition.scrape(desk.engine, desk.publication, desk.limits, accept=accept)
    except (NewsletterError, PoolTimeout):
        # The reason is omitted, as it may name hosts and files; other processes log it.
        return _unavailable("The database cannot be read.")
    finally:
        _turn.release()
    return Response(body, headers={**_UNCACHED, "Content-Type": kind})


@router.get("/healthz")
async def healthz() -> Response:
    """Answer without any check, and without a thread."""
    return PlainTextResponse("ok\n", headers=_UNCACHED)


@router.get("/desk-{version}.{ending}")
async def file(desk: Desk, version: str, ending: str) -> Response:
    """Return the style or the script, which a browser may keep."""
    found = desk.pages.files.get(f"desk-{version}.{ending}")
    if found is None:
        raise HTTPException(404)
    return Response(found.content, media_type=found.media_type, headers=_KEPT)


def _unavailable(sentence: str) -> Response:
    headers = {**_UNCACHED, "Retry-After": "5"}
    return PlainTextResponse(f"{sentence}\n", status_code=503, headers=headers)
