"""Objects that all routes of the desk share, and how a route answers."""

from __future__ import annotations

import hmac
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy import Engine

from newsletter.desk.access import Person
from newsletter.desk.importing import Importing
from newsletter.desk.pages import MAIL_POLICY, POLICY, Pages
from newsletter.desk.progress import Progress
from newsletter.desk.uploads import Uploads
from newsletter.editions import counted_links
from newsletter.publication import Publication
from newsletter.sender.limits import Limits
from newsletter.settings import Settings

#: The field of every form with the session's token.
CSRF_FIELD = "csrf"
#: The cookie that carries a sentence to the page after a form.
_SAID = "newsletter-desk-said"
_SAID_SECONDS = 60
#: Characters of the sentence: browsers drop cookies of more than 4,096 octets (RFC 6265 §6.1).
_SAID_LENGTH = 300
#: Characters that PostgreSQL cannot store.
_NO_TEXT = re.compile("[\\x00\\ud800-\\udfff]")


@dataclass(frozen=True)
class DeskContext:
    """Everything that a route needs besides the request."""

    settings: Settings
    engine: Engine
    clock: Callable[[], datetime]

    @property
    def is_https(self) -> bool:
        """Whether the desk is reached by TLS, through a web server."""
        return (self.settings.desk_url or "").startswith("https://")

    @cached_property
    def publication(self) -> Publication:
        """The publication of the settings."""
        return Publication.of(self.settings)

    @cached_property
    def limits(self) -> Limits:
        """The limits of sending."""
        return Limits.of(self.settings)

    @cached_property
    def progress(self) -> Progress:
        """The looks of the last minute at what is being sent."""
        return Progress()

    @cached_property
    def importing(self) -> Importing:
        """The files that are imported, and the threads that do it."""
        return Importing(Uploads(self.settings), self.engine, self.publication.keyring, self.clock)

    @cached_property
    def pages(self) -> Pages:
        """The templates of the desk."""
        chosen = self.settings
        return Pages(name=chosen.name, accent=chosen.accent, zone=chosen.zone)


def desk(request: Request) -> DeskContext:
    """Return the context of the application."""
    found = request.app.state.desk
    assert isinstance(found, DeskContext)
    return found


def person(request: Request) -> Person:
    """Return who makes the request; the doorkeeper has let nobody else through."""
    found = request.state.person
    assert isinstance(found, Person)
    return found


Desk = Annotated[DeskContext, Depends(desk)]
Signed = Annotated[Person, Depends(person)]


async def checked(request: Request) -> AsyncIterator[None]:
    """Refuse a changing request without the token of its own session."""
    if request.method in {"GET", "HEAD"}:
        yield
        return
    async with request.form() as form:
        given = form.get(CSRF_FIELD)
        # Compared as octets, since strings have to be ASCII.
        said = given.encode("utf-8", "surrogatepass") if isinstance(given, str) else b""
        if not hmac.compare_digest(said, person(request).csrf.encode()):
            raise HTTPException(403, "The form is of another session. Open the page again.")
        if any(isinstance(one, str) and _NO_TEXT.search(one) for _, one in form.multi_items()):
            raise HTTPException(422, "The form has a character in it that no text has.")
        yield


def page(request: Request, name: str, *, status: int = 200, **values: object) -> HTMLResponse:
    """Render a page of the desk for the one who is signed in.

    Templates have `person`, `path` and `said` besides `values`.
    """
    found = desk(request)
    who: Person | None = getattr(request.state, "person", None)
    said = _said(request, who)
    text = found.pages.render(
        name, {"person": who, "path": request.url.path, "said": said, **values}
    )
    response = HTMLResponse(text, status_code=status, headers={"Content-Security-Policy": POLICY})
    if said:
        response.delete_cookie(_SAID)
    return response


def done(request: Request, to: str, sentence: str) -> RedirectResponse:
    """Lead from a form to a page, which says once what was done."""
    response = RedirectResponse(to, status_code=303)
    value = _signer(person(request)).dumps(sentence[:_SAID_LENGTH])
    response.set_cookie(
        _SAID,
        str(value),
        max_age=_SAID_SECONDS,
        httponly=True,
        samesite="strict",
        secure=desk(request).is_https,
    )
    return response


def mail(html: str) -> HTMLResponse:
    """Return a mail to be shown in a frame of a page: its links open elsewhere, nothing runs.

    The links of its articles are direct, so that no look at it counts as a click.
    """
    headers = {"Content-Security-Policy": MAIL_POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return HTMLResponse(counted_links.direct(html), headers=headers)


def _said(request: Request, who: Person | None) -> str:
    value = request.cookies.get(_SAID)
    if not value or who is None:
        return ""
    try:
        return str(_signer(who).loads(value))
    except BadData:
        return ""


def _signer(who: Person) -> URLSafeSerializer:
    # Signed by the session, so that nobody else can put words into the page.
    return URLSafeSerializer(who.csrf, salt="desk said")
