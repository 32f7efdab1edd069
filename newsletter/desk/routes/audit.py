"""What was done, by whom and when."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from newsletter import audit
from newsletter.db import session as sessions
from newsletter.desk import dependencies, paging
from newsletter.desk.dependencies import Desk

router = APIRouter()


@router.get("/audit")
def show(desk: Desk, request: Request, before: paging.Before = None) -> HTMLResponse:
    """Show the newest actions, or those before one."""
    with sessions.reading(desk.engine) as session:
        found = audit.latest(session, limit=paging.SIZE + 1, before=before)
    rows = paging.cut(found, key=lambda row: row.id, is_first=before is None)
    return dependencies.page(request, "audit", rows=rows)
