"""What needs a look: today's findings, and those of the doctor's last examination."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from newsletter.db import session as sessions
from newsletter.desk import dependencies
from newsletter.desk.dependencies import Desk
from newsletter.doctor import daily, kept, standing
from newsletter.doctor import findings as judged
from newsletter.doctor.findings import Checks

router = APIRouter()

#: The groups that are looked at anew for this page.
_FRESH = (Checks.SETTINGS, Checks.TODAY)


@router.get("/findings")
def show(desk: Desk, request: Request) -> HTMLResponse:
    """Show today's findings, and the kept ones by the group of their checks."""
    now = desk.clock()
    stands = standing.look(desk.engine, publication=desk.publication, limits=desk.limits, now=now)
    today = sorted(daily.findings(stands, settings=desk.settings, now=now), key=judged.gravity)
    with sessions.reading(desk.engine) as session:
        known = [one for one in kept.all(session) if one.checks not in _FRESH]
    groups = {
        checks: sorted(
            (one for one in known if one.checks is checks),
            key=lambda one: judged.gravity(one.finding),
        )
        for checks in dict.fromkeys(one.checks for one in known)
    }
    return dependencies.page(
        request,
        "findings",
        today=today,
        groups=groups,
        examined_at=max((one.last_at for one in known), default=None),
    )
