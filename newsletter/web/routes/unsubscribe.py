"""Unsubscribing: a page with alternatives, the unsubscribe itself, and an undo.

RFC 8058 (one-click): a mail client sends the POST itself, with a body and headers of its choice.
The token is sufficient; the body is not read, and there are no redirects and no cookies.
"""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlmodel import Session

from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.errors import OutdatedToken
from newsletter.models import Status, Subscriber
from newsletter.subscribers import signup, store, unsubscribe
from newsletter.subscribers.consent import ONE_CLICK, Origin
from newsletter.subscribers.unsubscribe import Goodbye
from newsletter.tokens import Purpose
from newsletter.web import dependencies, pages
from newsletter.web.dependencies import Context, WebContext
from newsletter.web.routes import preferences

router = APIRouter(include_in_schema=False)

#: The pause that is offered instead of unsubscribing.
_PAUSE = timedelta(days=30)


@router.get("/unsubscribe/{token}")
def show(web: Context, token: str) -> HTMLResponse:
    """Offer a slower cadence, a pause, or to unsubscribe; opening the link changes nothing."""
    bearer = web.keyring.read(Purpose.UNSUBSCRIBE, token, now=web.clock())
    with sessions.reading(web.engine) as session:
        reader = store.find_public(session, bearer.public_id)
        if reader is None:
            return _goodbye(web, token, was_already=True, can_undo=False)
        if dependencies.check_generation(reader, bearer).status == Status.PENDING:
            raise OutdatedToken
        if reader.status in {Status.UNSUBSCRIBED, Status.SUPPRESSED}:
            return _goodbye(web, token, was_already=True, can_undo=_can_undo(web, session, reader))
    return _offer(web, token, reader)


@router.post("/unsubscribe/{token}")
def end(web: Context, request: Request, token: str) -> HTMLResponse:
    """Unsubscribe immediately; idempotent."""
    now = web.clock()
    bearer = web.keyring.read(Purpose.UNSUBSCRIBE, token, now=now)
    with sessions.writing(web.engine) as session:
        # A browser names the page that a form was on; the button of a mailbox provider has none.
        source = "unsubscribe link" if "origin" in request.headers else ONE_CLICK
        origin = Origin(source, remote=dependencies.remote(request))
        result = unsubscribe.by_link(
            session, bearer, origin=origin, publication=web.publication, now=now
        )
        reader = store.find_public(session, bearer.public_id)
        can_undo = reader is not None and _can_undo(web, session, reader)
    if result is Goodbye.OUTDATED:
        # Status 200, because mail clients retry on others, which is useless here.
        has_returned = dependencies.has_returned(reader, bearer)
        return web.page("invalid", pages.Invalid(is_outdated=True, has_returned=has_returned))
    return _goodbye(web, token, was_already=result is Goodbye.ALREADY, can_undo=can_undo)


@router.post("/unsubscribe/{token}/undo")
def undo(web: Context, request: Request, token: str) -> HTMLResponse:
    """Undo an unsubscribe."""
    now = web.clock()
    bearer = web.keyring.read(Purpose.UNSUBSCRIBE, token, now=now)
    origin = Origin("undo of a goodbye", remote=dependencies.remote(request))
    with sessions.writing(web.engine) as session:
        reader = signup.come_back(session, bearer, origin=origin, now=now)
    return preferences.saved(web, reader, "back")


def _offer(web: WebContext, token: str, reader: Subscriber) -> HTMLResponse:
    now, pause = web.clock(), web.pause(reader)
    slower = Cadence(reader.cadence).slower
    page = pages.Unsubscribe(
        token=token,
        manage=web.issue(Purpose.MANAGE, reader),
        masked=dependencies.masked(reader),
        cadence=reader.cadence,
        slower=web.choice(slower, after=web.resumes_at(reader)) if slower else None,
        pause_until=None if pause else web.day(now + _PAUSE),
        pause=pause,
    )
    return web.page("unsubscribe", page)


def _can_undo(web: WebContext, session: Session, reader: Subscriber) -> bool:
    return signup.can_come_back(session, reader, now=web.clock())


def _goodbye(web: WebContext, token: str, *, was_already: bool, can_undo: bool) -> HTMLResponse:
    page = pages.Goodbye(token=token, was_already=was_already, can_undo=can_undo)
    return web.page("goodbye", page)
