"""For those who watch the machine: is the process there, and can it do its work?"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse

from newsletter.db import schema
from newsletter.web.dependencies import TheFront

router = APIRouter()

_ROBOTS = """User-agent: *
Disallow: /confirm/
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
    responses={503: {"description": "The database cannot be used, or has another schema."}},
)
def readyz(front: TheFront) -> JSONResponse:
    """Answer when the database is there, and of this version."""
    schema.check(front.engine)
    return JSONResponse({"status": "ok"})


@router.get("/robots.txt", include_in_schema=False)
def robots() -> PlainTextResponse:
    """Keep links for readers out of search engines."""
    return PlainTextResponse(_ROBOTS, headers={"Cache-Control": "public, max-age=86400"})


@router.get("/", include_in_schema=False)
def root(front: TheFront) -> RedirectResponse:
    """Lead to the page where one signs up."""
    return RedirectResponse(f"{front.settings.base_url}/subscribe", status_code=302)
