"""A change of address: requested on the preferences page, confirmed from the new mailbox.

The response to a request is the same whether the new address is known or not. Opening the link
changes nothing.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse
from sqlmodel import Session

from newsletter import address as addresses
from newsletter.db import session as sessions
from newsletter.errors import InvalidAddress
from newsletter.models import Status, Subscriber
from newsletter.subscribers import address_change
from newsletter.subscribers.address_change import Awaited
from newsletter.subscribers.consent import Origin
from newsletter.tokens import Purpose
from newsletter.web import dependencies, pages
from newsletter.web.dependencies import Context, WebContext
from newsletter.web.routes import preferences

router = APIRouter(include_in_schema=False)

Typed = Annotated[str, Form()]
_SOURCE = "link to a new address"


@router.post("/preferences/{token}/address")
def ask(web: Context, token: str, address: Typed = "", call_off: Typed = "") -> HTMLResponse:
    """Request a change to a new address, or cancel a request."""
    with sessions.writing(web.engine) as session:
        reader = preferences.reader_of(web, session, token, ends=False if call_off else None)
        if reader.status in {Status.UNSUBSCRIBED, Status.SUPPRESSED}:
            return preferences.gone(web, session, reader)
        if call_off:
            address_change.call_off(session, reader, now=web.clock())
            return preferences.page_of(web, session, reader)
        return _asked(web, session, reader, address)


@router.get("/new-address/{token}")
def show(web: Context, token: str) -> HTMLResponse:
    """Show one button; opening the link changes nothing."""
    bearer = web.keyring.read(Purpose.NEW_ADDRESS, token, now=web.clock())
    with sessions.reading(web.engine) as session:
        found = address_change.awaited(session, bearer, keyring=web.keyring)
    return _changed(web, found) if found.is_done else _question(web, token, found)


@router.post("/new-address/{token}")
def confirm(web: Context, request: Request, token: str) -> HTMLResponse:
    """Change the address; idempotent, with the same page."""
    now = web.clock()
    bearer = web.keyring.read(Purpose.NEW_ADDRESS, token, now=now)
    origin = Origin(_SOURCE, remote=dependencies.remote(request))
    with sessions.writing(web.engine) as session:
        found = address_change.confirm(
            session, bearer, origin=origin, publication=web.publication, now=now
        )
    return _changed(web, found) if found.is_done else _question(web, token, found)


def _asked(web: WebContext, session: Session, reader: Subscriber, typed: str) -> HTMLResponse:
    try:
        address = addresses.normalise(typed)
    except InvalidAddress:
        return preferences.page_of(web, session, reader, problem="new_address", typed=typed)
    address_change.ask(session, reader, address, publication=web.publication, now=web.clock())
    page = pages.AddressAsked(
        manage=web.issue(Purpose.MANAGE, reader), masked=addresses.masked(address)
    )
    return web.page("address_asked", page)


def _question(web: WebContext, token: str, found: Awaited) -> HTMLResponse:
    page = pages.NewAddress(
        token=token,
        masked=dependencies.masked(found.subscriber),
        masked_new=addresses.masked(found.change.address),
        obstacle=found.obstacle.value if found.obstacle else None,
    )
    return web.page("new_address", page, status=409 if found.obstacle else 200)


def _changed(web: WebContext, found: Awaited) -> HTMLResponse:
    reader = found.subscriber
    page = pages.AddressChanged(
        manage=web.issue(Purpose.MANAGE, reader),
        masked=dependencies.masked(reader),
        cadence=reader.cadence,
        next_at=web.next_at(reader),
        pause=web.pause(reader),
    )
    return web.page("address_changed", page)
