"""Liveness and readiness checks for monitoring, robots.txt, and the root page."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse
from sqlalchemy.exc import TimeoutError as PoolTimeout

from newsletter.db import engine as engines
from newsletter.db import schema
from newsletter.errors import (
    DatabaseUnavailable,
    DiskFull,
    NewsletterError,
    SchemaOutOfDate,
)
from newsletter.web.dependencies import Context

router = APIRouter()

#: Reasons in responses by class of error; the first class that matches counts.
_REASONS: list[tuple[type[Exception], str]] = [
    (DiskFull, "disk_full"),
    (DatabaseUnavailable, "database_unavailable"),
    (PoolTimeout, "database_busy"),
    (SchemaOutOfDate, "schema_out_of_date"),
]
_ROBOTS = """User-agent: *
Disallow: /confirm/
Disallow: /new-address/
Disallow: /preferences/
Disallow: /unsubscribe/
Disallow: /view/
"""


@router.get("/healthz", tags=["health"], summary="Is the process there?")
async def healthz() -> dict[str, str]:
    """Answer, without looking at anything, and without a thread: all may be waiting."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    tags=["health"],
    summary="Can it do its work?",
    responses={
        503: {"description": "It cannot; `reason` says what kind of thing is in the way."},
    },
)
def readyz(web: Context) -> JSONResponse:
    """Answer whether the database is there, of this version, and can be written.

    The reason is a word that gives nothing away; the log has the sentence.
    """
    try:
        schema.check(web.engine)
        engines.check_writable(web.engine)
    except (NewsletterError, PoolTimeout) as exc:
        web.outages.note("Not ready", exc)
        words = {"status": "refused", "problem": "unavailable", "reason": _reason(exc)}
        return JSONResponse(words, status_code=503, headers={"Retry-After": "30"})
    return JSONResponse({"status": "ok"})


def _reason(exc: Exception) -> str:
    return next((word for family, word in _REASONS if isinstance(exc, family)), "database_error")


@router.get("/robots.txt", include_in_schema=False)
def robots() -> PlainTextResponse:
    """Return the rules that keep search engines from links of readers."""
    return PlainTextResponse(_ROBOTS, headers={"Cache-Control": "public, max-age=86400"})


@router.get("/", include_in_schema=False)
def root(web: Context) -> RedirectResponse:
    """Redirect to the sign-up page."""
    return RedirectResponse(f"{web.settings.base_url}/subscribe", status_code=302)
