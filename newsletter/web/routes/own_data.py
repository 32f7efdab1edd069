"""A reader's own data: a copy of it, and its erasure, each confirmed by a mail to their address.

Every mail has a link to the preferences and the address in its footer, and may be forwarded. So
neither that link nor the address proves that a visitor is the reader: only access to the mailbox
does. A letter to the mailbox has a link for this purpose alone, which leads to a page with one
button; opening the page changes nothing.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, JSONResponse
from sqlmodel import Session

from newsletter.db import session as sessions
from newsletter.errors import OutdatedToken
from newsletter.models import Status, Subscriber
from newsletter.subscribers import address_change, forget, letters, store
from newsletter.subscribers.consent import Action
from newsletter.tokens import Purpose
from newsletter.web import dependencies, pages
from newsletter.web.dependencies import Context, WebContext
from newsletter.web.routes.preferences import gone, reader_of

router = APIRouter(include_in_schema=False)

#: Maximum number of deliveries in a copy of a reader's data, the newest ones.
_DELIVERIES = 1_000


@router.post("/preferences/{token}/data")
def ask_for_copy(web: Context, token: str) -> HTMLResponse:
    """Queue the letter with the link to a copy of a reader's data."""
    return _ask(web, token, "data")


@router.post("/preferences/{token}/erase")
def ask_to_erase(web: Context, token: str) -> HTMLResponse:
    """Queue the letter with the link to erase a reader."""
    return _ask(web, token, "erase")


@router.get("/data/{token}")
def show_copy(web: Context, token: str) -> HTMLResponse:
    """Show one button; opening the link shows no data."""
    return _page(web, token, "data")


@router.post("/data/{token}")
def copy(web: Context, token: str) -> JSONResponse:
    """Return a copy of a reader's data as JSON."""
    with sessions.reading(web.engine) as session:
        data = _data(session, _reader_of(web, session, token, "data"), now=web.clock())
    headers = {"Content-Disposition": 'attachment; filename="newsletter-data.json"'}
    return JSONResponse(data, headers=headers)


@router.get("/erase/{token}")
def show_erase(web: Context, token: str) -> HTMLResponse:
    """Show one button; opening the link erases nobody."""
    return _page(web, token, "erase")


@router.post("/erase/{token}")
def erase(web: Context, token: str) -> HTMLResponse:
    """Erase a reader permanently from all tables."""
    with sessions.writing(web.engine) as session:
        reader = _reader_of(web, session, token, "erase", ends=True)
        forget.forget(session, reader.address, now=web.clock(), keyring=web.keyring)
    forget.sweep(web.engine, patience_seconds=0)
    return web.page("forgotten", pages.Forgotten())


def _ask(web: WebContext, token: str, act: pages.OwnDataRequest) -> HTMLResponse:
    write = letters.erase if act == "erase" else letters.data
    with sessions.writing(web.engine) as session:
        reader = reader_of(web, session, token, ends=False)
        if reader.status == Status.SUPPRESSED:
            return gone(web, session, reader)
        write(session, reader, publication=web.publication, now=web.clock())
    return web.page("mailed", pages.Mailed(act=act, masked=dependencies.masked(reader)))


def _page(web: WebContext, token: str, act: pages.OwnDataRequest) -> HTMLResponse:
    with sessions.reading(web.engine) as session:
        reader = _reader_of(web, session, token, act)
    page = pages.OwnData(act=act, token=token, masked=dependencies.masked(reader))
    return web.page("own_data", page)


def _reader_of(
    web: WebContext,
    session: Session,
    token: str,
    act: pages.OwnDataRequest,
    *,
    ends: bool | None = None,
) -> Subscriber:
    """Return the reader to whose mailbox the link was sent.

    Raises OutdatedToken if the address has changed since, because the letter went to the old one.
    """
    bearer = web.keyring.read(Purpose(act), token, now=web.clock())
    reader = reader_of(web, session, token, purpose=Purpose(act), ends=ends)
    assert bearer.issued_at is not None
    if address_change.has_moved_since(session, reader, bearer.issued_at):
        raise OutdatedToken(has_moved=True)
    return reader


def _data(session: Session, reader: Subscriber, *, now: datetime) -> dict[str, Any]:
    consents = store.consents(session, reader)
    moved_at = max((row.at for row in consents if row.action == Action.ADDRESS), default=None)
    moving = address_change.pending(session, reader, now=now)

    def is_proven(at: datetime) -> bool:
        """Return whether the present mailbox was the reader's at that time.

        Somebody may have changed the address with a forwarded mail; network addresses of the
        original reader must not be disclosed to them.
        """
        return moved_at is None or at >= moved_at

    deliveries = store.deliveries(session, reader, limit=_DELIVERIES)
    return {
        "address": reader.address,
        "cadence": reader.cadence,
        "status": reader.status,
        "subscribed_at": _written(reader.subscribed_at),
        "paused_until": _written(reader.paused_until),
        "language": reader.language,
        "timezone": reader.timezone,
        "created_at": _written(reader.created_at),
        "updated_at": _written(reader.updated_at),
        "address_change": moving
        and {
            "address": moving.address,
            "asked_at": _written(moving.asked_at),
            "expires_at": _written(moving.expires_at),
        },
        "consents": [
            {
                "at": _written(row.at),
                "action": row.action,
                "cadence": row.cadence,
                "status": row.status,
                "wording": row.wording,
                "source": row.source,
                "remote": row.remote if is_proven(row.at) else None,
                "evidence": json.loads(row.evidence)
                if row.evidence and is_proven(row.at)
                else None,
            }
            for row in consents
        ],
        "mails": [
            {
                "at": _written(row.at),
                "subject": row.subject,
                "state": row.state,
                "returned": row.returned,
            }
            for row in deliveries
        ],
    }


def _written(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None
