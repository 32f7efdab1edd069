"""The way out: a page that asks once, a goodbye that acts at once, and an undo.

RFC 8058: a mailbox posts to the same address on its own, with a body and headers of its choice. The
token says all; the body is not read, nobody is sent on, and nothing is remembered in a browser.
"""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlmodel import Session

from newsletter.cadence import Cadence
from newsletter.db import session as sessions
from newsletter.errors import OutdatedToken
from newsletter.models import Status, Subscriber
from newsletter.subscribers import signup, store, unsubscribe
from newsletter.subscribers.consent import Origin
from newsletter.subscribers.unsubscribe import Goodbye
from newsletter.tokens import Purpose
from newsletter.web import dependencies, pages
from newsletter.web.dependencies import Front, TheFront
from newsletter.web.routes import preferences

router = APIRouter(include_in_schema=False)

#: The pause that is offered to somebody on their way out.
_PAUSE = timedelta(days=30)


@router.get("/unsubscribe/{token}")
def show(front: TheFront, token: str) -> HTMLResponse:
    """Offer less, a pause, or goodbye; opening the link ends nothing."""
    bearer = front.keyring.read(Purpose.UNSUBSCRIBE, token, now=front.clock())
    with sessions.reading(front.engine) as session:
        reader = store.find_public(session, bearer.public_id)
        if reader is None:
            return _goodbye(front, token, was_already=True, can_undo=False)
        if dependencies.check_generation(reader, bearer).status == Status.PENDING:
            raise OutdatedToken
        if reader.status in {Status.UNSUBSCRIBED, Status.SUPPRESSED}:
            return _goodbye(
                front, token, was_already=True, can_undo=_can_undo(front, session, reader)
            )
    return _offer(front, token, reader)


@router.post("/unsubscribe/{token}")
def leave(front: TheFront, request: Request, token: str) -> HTMLResponse:
    """End the subscription now. Posted again, nothing more happens, and the answer is as good."""
    now = front.clock()
    bearer = front.keyring.read(Purpose.UNSUBSCRIBE, token, now=now)
    with sessions.writing(front.engine) as session:
        origin = Origin("unsubscribe link", remote=dependencies.remote(request))
        came_to = unsubscribe.leave(
            session, bearer, origin=origin, stationery=front.stationery, now=now
        )
        reader = store.find_public(session, bearer.public_id)
        can_undo = reader is not None and _can_undo(front, session, reader)
    if came_to is Goodbye.OUTDATED:
        # 200: whoever retries on anything else has nothing to gain.
        has_returned = dependencies.has_returned(reader, bearer)
        return front.page("invalid", pages.Invalid(is_outdated=True, has_returned=has_returned))
    return _goodbye(front, token, was_already=came_to is Goodbye.ALREADY, can_undo=can_undo)


@router.post("/unsubscribe/{token}/undo")
def undo(front: TheFront, request: Request, token: str) -> HTMLResponse:
    """Take a goodbye back."""
    now = front.clock()
    bearer = front.keyring.read(Purpose.UNSUBSCRIBE, token, now=now)
    origin = Origin("undo of a goodbye", remote=dependencies.remote(request))
    with sessions.writing(front.engine) as session:
        reader = signup.come_back(session, bearer, origin=origin, now=now)
    return preferences.saved(front, reader, "back")


def _offer(front: Front, token: str, reader: Subscriber) -> HTMLResponse:
    now, pause = front.clock(), front.pause(reader)
    slower = Cadence(reader.cadence).slower
    page = pages.Unsubscribe(
        token=token,
        manage=front.issue(Purpose.MANAGE, reader),
        masked=dependencies.masked(reader),
        cadence=reader.cadence,
        slower=front.choice(slower, after=front.resumes_at(reader)) if slower else None,
        pause_until=None if pause else front.day(now + _PAUSE),
        pause=pause,
    )
    return front.page("unsubscribe", page)


def _can_undo(front: Front, session: Session, reader: Subscriber) -> bool:
    return signup.can_come_back(session, reader, now=front.clock())


def _goodbye(front: Front, token: str, *, was_already: bool, can_undo: bool) -> HTMLResponse:
    page = pages.Goodbye(token=token, was_already=was_already, can_undo=can_undo)
    return front.page("goodbye", page)
