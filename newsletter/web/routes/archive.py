"""Editions on the web: a single mail ("view in browser"), and the optional archive of all.

No page here has personal data: the mail is shown as it was frozen, with its slots empty.
"""

from __future__ import annotations

import re
from typing import Annotated
from xml.etree import ElementTree as ET

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response

from newsletter.db import session as sessions
from newsletter.editions import archive, counted_links
from newsletter.editions.archive import Issue
from newsletter.tokens import Purpose
from newsletter.web import pages
from newsletter.web.dependencies import Context, WebContext
from newsletter.web.pages import Entry

#: Routes that are always included: "view in browser".
router = APIRouter(include_in_schema=False)
#: Routes that are included only if the archive is open.
public = APIRouter(include_in_schema=False)

_ON_A_PAGE = 30
_IN_THE_FEED = 20
_ATOM = "http://www.w3.org/2005/Atom"
# Characters that XML 1.0 does not allow.
_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@router.get("/view/{token}")
def view(web: Context, token: str) -> HTMLResponse:
    """Show a mail in the browser."""
    bearer = web.keyring.read(Purpose.VIEW, token, now=web.clock())
    with sessions.reading(web.engine) as session:
        mail = archive.page(session, bearer.public_id, are_links_direct=False)
    return _shown(web, mail, {"X-Robots-Tag": "noindex"})


@public.get("/editions")
def listing(web: Context, page: Annotated[int, Query(ge=1, le=100_000)] = 1) -> HTMLResponse:
    """List past editions, the newest first."""
    offset = (page - 1) * _ON_A_PAGE
    with sessions.reading(web.engine) as session:
        found = archive.listing(session, limit=_ON_A_PAGE + 1, offset=offset)
    base = f"{web.settings.base_url}/editions"
    newer = base if page == 2 else f"{base}?page={page - 1}"
    shown = pages.Archive(
        entries=[_entry(issue) for issue in found[:_ON_A_PAGE]],
        newer=newer if page > 1 else None,
        older=f"{base}?page={page + 1}" if len(found) > _ON_A_PAGE else None,
    )
    return web.page("archive", shown, headers={"Cache-Control": "public, max-age=300"})


@public.get("/editions/feed.xml")
def feed(web: Context) -> Response:
    """Return the newest editions as an Atom feed (RFC 4287)."""
    with sessions.reading(web.engine) as session:
        found = archive.listing(session, limit=_IN_THE_FEED)
    return Response(
        _atom(web, found),
        media_type="application/atom+xml",
        headers={"Cache-Control": "public, max-age=300"},
    )


@public.get("/editions/{slug}")
def edition(web: Context, slug: str) -> HTMLResponse:
    """Show one edition."""
    with sessions.reading(web.engine) as session:
        mail = archive.page(session, archive.by_slug(session, slug).mailing)
    return _shown(web, mail, {"Cache-Control": "public, max-age=300"})


def _shown(web: WebContext, mail: str, headers: dict[str, str]) -> HTMLResponse:
    are_counted = web.settings.count_clicks and counted_links.direct(mail) != mail
    bar = pages.Edition(is_public=web.settings.archive, are_counted=are_counted)
    text = pages.edition(web.templates, mail, bar)
    policy = {"Content-Security-Policy": pages.MAIL_POLICY}
    return HTMLResponse(text, headers={**policy, **headers})


def _entry(issue: Issue) -> Entry:
    return Entry(
        slug=issue.slug,
        cadence=issue.cadence,
        period_on=issue.period,
        title=issue.title,
        stories=issue.stories,
    )


def _atom(web: WebContext, found: list[Issue]) -> bytes:
    base, brand = f"{web.settings.base_url}/editions", web.settings.brand()
    root = ET.Element("feed", {"xmlns": _ATOM, "xml:lang": brand.language})
    _add(root, "title", brand.name)
    _add(root, "id", base)
    _add(root, "updated", found[0].at.isoformat() if found else "1970-01-01T00:00:00+00:00")
    ET.SubElement(_add(root, "author"), "name").text = brand.name
    ET.SubElement(root, "link", rel="self", href=f"{base}/feed.xml")
    ET.SubElement(root, "link", href=base)
    for issue in found:
        entry, address = _add(root, "entry"), f"{base}/{issue.slug}"
        _add(entry, "title", issue.title)
        _add(entry, "id", address)
        _add(entry, "updated", issue.at.isoformat())
        ET.SubElement(entry, "link", href=address)
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _add(parent: ET.Element, name: str, text: str = "") -> ET.Element:
    child = ET.SubElement(parent, name)
    child.text = _NO_XML.sub("", text)
    return child
