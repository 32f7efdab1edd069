"""Readers: the list, the search for an address, and adding a reader.

An address is never part of a URL, which logs and browsers keep: it is searched for by a form.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from newsletter import address as addresses
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.desk import dependencies, paging
from newsletter.desk.dependencies import Desk, DeskContext, Signed
from newsletter.errors import Conflict, InvalidInput, NewsletterError
from newsletter.explain import page as explained
from newsletter.explain import store as facts
from newsletter.models import Status
from newsletter.subscribers import listing, operating, store
from newsletter.subscribers.signup import Signup

router = APIRouter()

#: The longest text that a field of a form takes; an address has at most 254 octets.
Text = Annotated[str, Form(max_length=1000)]
_CAME_TO = {
    Signup.ADDED: "The reader is added: {}.",
    Signup.CONFIRMED: "The reader was pending, and is active now: {}.",
    Signup.AGAIN: "The reader is back: {}.",
    Signup.CHANGED: "The reader was there, and is {} now.",
    Signup.UNCHANGED: "The reader is there already: {}.",
}


@router.get("/readers")
def show(
    desk: Desk,
    request: Request,
    status: Annotated[Status | None, paging.EMPTY] = None,
    cadence: Annotated[Cadence | None, paging.EMPTY] = None,
    before: paging.Before = None,
) -> HTMLResponse:
    """List readers, the newest first."""
    return _list(desk, request, status=status, cadence=cadence, before=before)


@router.post("/readers/find")
def find(desk: Desk, request: Request, address: Text) -> Response:
    """Lead to the reader of an address, or show what else is known about it."""
    try:
        spelled = addresses.normalise(address, local=True)
    except InvalidInput as exc:
        return _list(desk, request, sought=address, problem=exc, code=422)
    with sessions.reading(desk.engine) as session:
        reader = store.find(session, spelled)
        if reader is not None:
            return RedirectResponse(f"/readers/{reader.public_id}", status_code=303)
        known = facts.read(
            session,
            spelled,
            publication=desk.publication,
            limits=desk.limits,
            now=desk.clock(),
        )
    return dependencies.page(request, "reader_unknown", page=explained.of(known))


@router.get("/readers/add")
def ask(request: Request) -> HTMLResponse:
    """Show the form that adds a reader."""
    return _form(request)


@router.post("/readers/add")
def add(
    desk: Desk,
    person: Signed,
    request: Request,
    address: Text,
    cadence: Annotated[Cadence, Form()],
    *,
    agreed: Annotated[bool, Form()] = False,
    again: Annotated[bool, Form()] = False,
) -> Response:
    """Add a reader who has asked for it, on the operator's word."""
    given = {"address": address, "cadence": cadence, "agreed": agreed, "again": again}
    if not agreed:
        refusal = InvalidInput("Without their consent, nobody may be added.")
        return _form(request, given=given, problem=refusal, code=422)
    try:
        spelled = addresses.normalise(address, local=True)
        with sessions.writing(desk.engine) as session:
            reader, came_to = operating.add(
                session,
                spelled,
                cadence=cadence,
                again=again,
                actor=person.actor,
                source=person.actor,
                now=desk.clock(),
                keyring=desk.publication.keyring,
            )
            said = _CAME_TO[came_to].format(operating.state(reader))
            public_id = reader.public_id
    except (InvalidInput, Conflict) as exc:
        code = 409 if isinstance(exc, Conflict) else 422
        return _form(request, given=given, problem=exc, code=code)
    return dependencies.done(request, f"/readers/{public_id}", said)


def _form(
    request: Request,
    *,
    given: object = None,
    problem: NewsletterError | None = None,
    code: int = 200,
) -> HTMLResponse:
    return dependencies.page(
        request,
        "reader_add",
        status=code,
        given=given or {"address": "", "cadence": Cadence.WEEKLY, "agreed": False, "again": False},
        problem=problem,
        cadences=list(Cadence),
    )


def _list(
    desk: DeskContext,
    request: Request,
    *,
    status: Status | None = None,
    cadence: Cadence | None = None,
    before: int | None = None,
    sought: str = "",
    problem: NewsletterError | None = None,
    code: int = 200,
) -> HTMLResponse:
    with sessions.reading(desk.engine) as session:
        found = listing.newest(
            session, status=status, cadence=cadence, before=before, limit=paging.SIZE + 1
        )
        counts = store.counts(session)
    chosen = {"status": status, "cadence": cadence}
    return dependencies.page(
        request,
        "readers",
        status=code,
        rows=paging.cut(found, key=lambda row: row.id, is_first=before is None),
        url="".join(f"{name}={value}&" for name, value in chosen.items() if value),
        counts=counts,
        cadences=list(Cadence),
        statuses=list(Status),
        chosen=chosen,
        sought=sought,
        problem=problem,
    )
