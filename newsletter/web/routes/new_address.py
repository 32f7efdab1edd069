"""A change of address: asked for on the preferences page, confirmed from the new mailbox.

The answer to an asking is the same whoever has the new address. Opening the link changes nothing.
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
from newsletter.web.dependencies import Front, TheFront
from newsletter.web.routes import preferences

router = APIRouter(include_in_schema=False)

Typed = Annotated[str, Form()]
_SOURCE = "link to a new address"


@router.post("/preferences/{token}/address")
def ask(front: TheFront, token: str, address: Typed = "", call_off: Typed = "") -> HTMLResponse:
    """Write to a new address, or forget that this was asked for."""
    with sessions.writing(front.engine) as session:
        reader = preferences.reader_of(front, session, token, locked=True)
        if reader.status in {Status.UNSUBSCRIBED, Status.SUPPRESSED}:
            return preferences.gone(front, session, reader)
        if call_off:
            address_change.call_off(session, reader, now=front.clock())
            return preferences.page_of(front, session, reader)
        return _asked(front, session, reader, address)


@router.get("/new-address/{token}")
def show(front: TheFront, token: str) -> HTMLResponse:
    """Show one button; opening the link changes nothing."""
    bearer = front.keyring.read(Purpose.NEW_ADDRESS, token, now=front.clock())
    with sessions.reading(front.engine) as session:
        found = address_change.awaited(session, bearer, keyring=front.keyring)
    return _changed(front, found) if found.is_done else _question(front, token, found)


@router.post("/new-address/{token}")
def confirm(front: TheFront, request: Request, token: str) -> HTMLResponse:
    """Send a reader's mail to the new address; pressing again shows the same page."""
    now = front.clock()
    bearer = front.keyring.read(Purpose.NEW_ADDRESS, token, now=now)
    origin = Origin(_SOURCE, remote=dependencies.remote(request))
    with sessions.writing(front.engine) as session:
        found = address_change.confirm(
            session, bearer, origin=origin, stationery=front.stationery, now=now
        )
    return _changed(front, found) if found.is_done else _question(front, token, found)


def _asked(front: Front, session: Session, reader: Subscriber, typed: str) -> HTMLResponse:
    try:
        address = addresses.normalise(typed)
    except InvalidAddress:
        return preferences.page_of(front, session, reader, problem="new_address", typed=typed)
    address_change.ask(session, reader, address, stationery=front.stationery, now=front.clock())
    page = pages.AddressAsked(
        manage=front.issue(Purpose.MANAGE, reader), masked=addresses.masked(address)
    )
    return front.page("address_asked", page)


def _question(front: Front, token: str, found: Awaited) -> HTMLResponse:
    page = pages.NewAddress(
        token=token,
        masked=dependencies.masked(found.subscriber),
        masked_new=addresses.masked(found.change.address),
        obstacle=found.obstacle.value if found.obstacle else None,
    )
    return front.page("new_address", page, status=409 if found.obstacle else 200)


def _changed(front: Front, found: Awaited) -> HTMLResponse:
    reader = found.subscriber
    page = pages.AddressChanged(
        manage=front.issue(Purpose.MANAGE, reader),
        masked=dependencies.masked(reader),
        cadence=reader.cadence,
        next_at=front.next_at(reader),
        pause=front.pause(reader),
    )
    return front.page("address_changed", page)
