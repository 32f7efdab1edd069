"""Counted links in mails: each leads to its article alone, and counts that, not who, opened it.

With the setting count_clicks, this is the one GET that leads to a write; see `web.clicks` for what
is counted. The redirect itself needs no database: it works while that is away, and after the
setting was turned off.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from newsletter.editions import counted_links
from newsletter.web import crawlers, middleware, network, peers
from newsletter.web.clicks import Click, is_speculative
from newsletter.web.dependencies import Context

router = APIRouter(include_in_schema=False)


@router.get(f"/{counted_links.FOLDER}/{{token}}")
async def read(web: Context, request: Request, token: str) -> Response:
    """Redirect to an article, and count the click; raises InvalidToken."""
    link = web.keyring.read_link(token)
    agent = request.headers.get("user-agent", "")
    is_person = not (
        middleware.is_head(request.scope)
        or is_speculative(request.headers)
        or crawlers.is_crawler(agent)
    )
    if web.settings.count_clicks and is_person:
        place = peers.home(request.client.host) if request.client else network.UNKNOWN
        web.click_writer.count(Click(link.edition, link.article_id, place, agent))
    return Response(
        status_code=302, headers={"Location": link.url, "X-Robots-Tag": "noindex, nofollow"}
    )
