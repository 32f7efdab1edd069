"""Signing in by a one-time link, and signing out."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from newsletter.db import session as sessions
from newsletter.desk import access, dependencies
from newsletter.desk.dependencies import Desk, Signed
from newsletter.desk.doorkeeper import cookie_name

router = APIRouter()


@router.get("/sign-in")
def ask(request: Request) -> HTMLResponse:
    """Say how to get a link."""
    return dependencies.page(request, "sign_in")


@router.get("/login/{token}")
def offer(desk: Desk, request: Request, token: str) -> HTMLResponse:
    """Show a button; opening the link, as scanners of mail and chat do, uses nothing up."""
    with sessions.reading(desk.engine) as session:
        link = access.look_up(session, token, now=desk.clock())
    return dependencies.page(request, "login", who=link.name, token=token)


@router.post("/login/{token}")
def use(desk: Desk, token: str) -> Response:
    """Use the link up and open a session; a session that this browser had is left behind."""
    with sessions.writing(desk.engine) as session:
        opened = access.sign_in(session, token, now=desk.clock())
    response = RedirectResponse("/", status_code=303)
    response.set_cookie(
        cookie_name(desk.settings),
        opened.token,
        max_age=int(access.SESSION_LIFETIME.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=desk.is_https,
    )
    return response


@router.post("/sign-out", dependencies=[Depends(dependencies.checked)])
def leave(desk: Desk, person: Signed) -> Response:
    """End this session."""
    if person.session_id is not None:
        with sessions.writing(desk.engine) as session:
            access.end(session, person.session_id, actor=person.actor, now=desk.clock())
    response = RedirectResponse("/sign-in", status_code=303)
    response.delete_cookie(cookie_name(desk.settings), secure=desk.is_https, httponly=True)
    return response
