"""The preferences page, linked from every mail: cadence and pause.

The token in the URL is the only authorization: without cookies, CSRF is impossible.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse
from sqlmodel import Session

from newsletter import address as addresses
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.errors import InvalidInput, OutdatedToken
from newsletter.models import Status, Subscriber
from newsletter.subscribers import address_change, next_digest, preferences, signup, store
from newsletter.subscribers.consent import Origin
from newsletter.subscribers.locking import find_subscriber
from newsletter.tokens import Purpose
from newsletter.web import dependencies, pages
from newsletter.web.dependencies import Context, WebContext

router = APIRouter(include_in_schema=False)

#: The pauses that are offered, and the longest one possible (days).
_PAUSES = (7, 30, 90)
_LONGEST_PAUSE = 366

Typed = Annotated[str, Form()]
Change = Literal["cadence", "pause", "resume", "nothing"]
Problem = Literal["until", "cadence", "new_address"]


@dataclass(frozen=True)
class _Done:
    """A change, and the form fields that undo it."""

    change: Change
    undo: dict[str, str] | None = None


class _Refused(Exception):
    """Raised for a form field with an invalid value."""

    def __init__(self, problem: Problem | None) -> None:
        super().__init__(problem)
        self.problem = problem


@router.get("/preferences/{token}")
def show(web: Context, token: str) -> HTMLResponse:
    """Show the preferences of a reader."""
    with sessions.reading(web.engine) as session:
        reader = reader_of(web, session, token)
        if reader.status in {Status.UNSUBSCRIBED, Status.SUPPRESSED}:
            return gone(web, session, reader)
        return page_of(web, session, reader)


@router.post("/preferences/{token}")
def change(
    web: Context,
    request: Request,
    token: str,
    *,
    action: Typed = "",
    cadence: Typed = "",
    until: Typed = "",
    until_date: Typed = "",
) -> HTMLResponse:
    """Change cadence, pause or resume, by the field `action`."""
    origin = Origin("preferences page", remote=dependencies.remote(request))
    fields = {"cadence": cadence, "until": until_date if until == "other" else until}
    try:
        with sessions.writing(web.engine) as session:
            reader = reader_of(web, session, token, ends=action in {"cadence", "pause"})
            if reader.status in {Status.UNSUBSCRIBED, Status.SUPPRESSED}:
                return gone(web, session, reader)
            done = _apply(web, session, reader, action, fields, origin=origin)
    except _Refused as refused:
        with sessions.reading(web.engine) as session:
            reader = reader_of(web, session, token)
            return page_of(web, session, reader, problem=refused.problem)
    return saved(web, reader, done.change, undo=done.undo)


def saved(
    web: WebContext,
    reader: Subscriber,
    change: Literal["cadence", "pause", "resume", "back", "nothing"],
    *,
    undo: dict[str, str] | None = None,
) -> HTMLResponse:
    """Return the page after a change: what happens next, and when."""
    page = pages.Saved(
        manage=web.issue(Purpose.MANAGE, reader),
        change=change,
        cadence=reader.cadence,
        next_at=web.next_at(reader),
        pause=web.pause(reader),
        undo=undo,
    )
    return web.page("saved", page)


def reader_of(
    web: WebContext,
    session: Session,
    token: str,
    *,
    purpose: Purpose = Purpose.MANAGE,
    ends: bool | None = None,
) -> Subscriber:
    """Return the reader of a link; raises InvalidToken if it is invalid or void.

    Locks the row unless `ends` is None, see `find_subscriber`.
    """
    bearer = web.keyring.read(purpose, token, now=web.clock())
    reader = find_subscriber(session, store.with_public_id(bearer.public_id), ends=ends)
    found = dependencies.check_generation(reader, bearer)
    if found.status == Status.PENDING:
        raise OutdatedToken
    return found


def _apply(
    web: WebContext,
    session: Session,
    reader: Subscriber,
    action: str,
    fields: dict[str, str],
    *,
    origin: Origin,
) -> _Done:
    now = web.clock()
    if action == "cadence":
        return _change_cadence(session, reader, fields["cadence"], origin=origin, now=now)
    if action == "pause":
        return _pause(web, session, reader, fields["until"], origin=origin)
    if action != "resume":
        raise _Refused(None)
    undo = _undo_of_resuming(web, reader)
    if not preferences.resume(session, reader, origin=origin, now=now):
        return _Done("nothing")
    return _Done("resume", undo)


def _change_cadence(
    session: Session, reader: Subscriber, word: str, *, origin: Origin, now: datetime
) -> _Done:
    if word not in list(Cadence):
        raise _Refused("cadence")
    undo = {"action": "cadence", "cadence": str(reader.cadence)}
    if not preferences.change_cadence(session, reader, Cadence(word), origin=origin, now=now):
        return _Done("nothing")
    return _Done("cadence", undo)


def _pause(
    web: WebContext, session: Session, reader: Subscriber, word: str, *, origin: Origin
) -> _Done:
    now = web.clock()
    undo = (
        _undo_of_resuming(web, reader)
        if next_digest.is_paused(reader, now)
        else {"action": "resume"}
    )
    until = _midnight(web, _parsed(word, first=_first(web), last=_last(web)))
    try:
        if not preferences.pause(session, reader, until=until, origin=origin, now=now):
            return _Done("nothing")
    except InvalidInput as exc:
        raise _Refused("until") from exc
    return _Done("pause", undo)


def _undo_of_resuming(web: WebContext, reader: Subscriber) -> dict[str, str] | None:
    """Return the form fields that restore the present pause, if its last day is not over."""
    if reader.paused_until is None or web.day(reader.paused_until) < _first(web):
        return None
    day = web.day(reader.paused_until).isoformat()
    return {"action": "pause", "until": "other", "until_date": day}


def _parsed(word: str, *, first: date, last: date) -> date:
    try:
        day = date.fromisoformat(word)
    except ValueError:
        raise _Refused("until") from None
    if not first <= day <= last:
        raise _Refused("until")
    return day


def _midnight(web: WebContext, day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=web.settings.zone)


def _today(web: WebContext) -> date:
    return web.day(web.clock())


def _first(web: WebContext) -> date:
    return _today(web) + timedelta(days=1)


def _last(web: WebContext) -> date:
    return _today(web) + timedelta(days=_LONGEST_PAUSE)


def page_of(
    web: WebContext,
    session: Session,
    reader: Subscriber,
    *,
    problem: Problem | None = None,
    typed: str = "",
) -> HTMLResponse:
    """Return the preferences page, with the problem of invalid input."""
    moving = address_change.pending(session, reader, now=web.clock())
    page = pages.Preferences(
        manage=web.issue(Purpose.MANAGE, reader),
        unsubscribe=web.issue(Purpose.UNSUBSCRIBE, reader),
        masked=dependencies.masked(reader),
        cadence=reader.cadence,
        choices=web.choices(after=web.resumes_at(reader), session=session),
        since=web.day(reader.subscribed_at) if reader.subscribed_at else None,
        pause=web.pause(reader),
        moving_to=addresses.masked(moving.address) if moving else None,
        moving_until=web.day(moving.expires_at) if moving else None,
        pauses=[_today(web) + timedelta(days=days) for days in _PAUSES],
        pause_from=_first(web),
        pause_to=_last(web),
        problem=problem,
        typed=typed[: addresses.MAXIMUM_LENGTH],
    )
    return web.page("preferences", page, status=422 if problem else 200)


def gone(web: WebContext, session: Session, reader: Subscriber) -> HTMLResponse:
    """Return the page of an unsubscribed reader, with an undo if that is still possible."""
    page = pages.Goodbye(
        token=web.issue(Purpose.UNSUBSCRIBE, reader),
        was_already=True,
        can_undo=signup.can_come_back(session, reader, now=web.clock()),
    )
    return web.page("goodbye", page)
