"""Settings: what is set, from where and what it means; and what to paste into the site."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from newsletter.desk import dependencies
from newsletter.desk.dependencies import Desk
from newsletter.settings.spelling import Source, spelled

router = APIRouter()

#: The pages of readers that anybody may open.
_PAGES = {"/subscribe": "Signing up", "/box": "The box to paste where no script may run"}
_ARCHIVE = {"/editions": "The archive", "/editions/feed.xml": "Its feed"}


@router.get("/settings")
def show(desk: Desk, request: Request) -> HTMLResponse:
    """Show every setting; the values of secrets are never shown."""
    found = list(spelled(desk.settings))
    base = desk.settings.base_url.rstrip("/")
    shown = _PAGES | (_ARCHIVE if desk.settings.archive else {})
    return dependencies.page(
        request,
        "settings",
        chosen=[one for one in found if one.source is not Source.DEFAULT],
        others=[one for one in found if one.source is Source.DEFAULT],
        box=f'<script src="{base}/embed.js" async></script>',
        pages={f"{base}{path}": name for path, name in shown.items()},
    )
