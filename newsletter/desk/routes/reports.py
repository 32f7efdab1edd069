"""What has come back: bounces, complaints and other reports."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from newsletter import tally
from newsletter.db import session as sessions
from newsletter.desk import dependencies, paging
from newsletter.desk.dependencies import Desk
from newsletter.ledger import reports

router = APIRouter()


@router.get("/reports")
def show(
    desk: Desk,
    request: Request,
    before: paging.Before = None,
    unplaced: bool = False,  # noqa: FBT001, FBT002 - a parameter of the URL
) -> HTMLResponse:
    """Show the latest reports, or those before one; with `unplaced`, only those of no mail."""
    with sessions.reading(desk.engine) as session:
        found = list(
            reports.listing(session, unplaced=unplaced, limit=paging.SIZE + 1, before=before)
        )
        counts = tally.reports(session)
        lost = tally.unplaced_reports(session)
        rejected = reports.rejections(session)
    rows = paging.cut(found, key=lambda row: row["id"], is_first=before is None)
    kinds = sorted({kind for _, kind in counts})
    return dependencies.page(
        request,
        "reports",
        rows=rows,
        unplaced=unplaced,
        by_kind={kind: sum(n for (_, k), n in counts.items() if k == kind) for kind in kinds},
        unplaced_count=sum(lost.values()),
        rejected=rejected,
    )
