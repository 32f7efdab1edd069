"""Suppressions: addresses that must never be mailed, why, and who may lift it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from newsletter import address as addresses
from newsletter import suppression
from newsletter.db import session as sessions
from newsletter.desk import dependencies, paging
from newsletter.desk.dependencies import Desk, DeskContext, Signed
from newsletter.desk.routes.readers import Text
from newsletter.errors import Conflict, InvalidInput, NewsletterError, NotFound
from newsletter.models import Status, Suppression
from newsletter.subscribers import operating, store
from newsletter.suppression import Cause

router = APIRouter()

#: Causes are counted up to here: a larger count costs more than it tells.
_COUNTED = 10_000
#: What an operator may say; an erasure is a matter of its own.
_CAUSES = [cause for cause in reversed(Cause) if cause is not Cause.ERASED]
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]


@router.get("/suppressions")
def show(
    desk: Desk,
    request: Request,
    cause: Annotated[Cause | None, paging.EMPTY] = None,
    before: paging.Before = None,
) -> HTMLResponse:
    """List suppressions, the newest first."""
    return _list(desk, request, cause=cause, before=before)


@router.post("/suppressions/find")
def find(desk: Desk, request: Request, address: Text) -> Response:
    """Lead to the suppression of an address; one of an erased person is found by its hash."""
    try:
        spelled = addresses.normalise(address, local=True)
    except InvalidInput as exc:
        return _list(desk, request, sought=address, problem=exc, code=422)
    with sessions.reading(desk.engine) as session:
        found = suppression.find(session, spelled, keyring=desk.publication.keyring)
    if found is None:
        missing = NotFound(f"{spelled} is not suppressed.")
        return _list(desk, request, sought=address, problem=missing, code=404)
    return RedirectResponse(f"/suppressions/{found.id}", status_code=303)


@router.get("/suppressions/add")
def ask(request: Request) -> HTMLResponse:
    """Show the form that suppresses an address."""
    return _form(request)


@router.post("/suppressions/add")
def add(
    desk: Desk,
    person: Signed,
    request: Request,
    address: Text,
    cause: Annotated[Cause, Form()],
    *,
    reason: Annotated[str, Form(max_length=500)] = "",
) -> Response:
    """Suppress an address, and cancel its open deliveries."""
    try:
        spelled, why = addresses.normalise(address, local=True), _legible(reason)
        with sessions.writing(desk.engine) as session:
            row, is_new = operating.suppress_address(
                session,
                spelled,
                cause=cause,
                reason=why or "operator",
                actor=person.actor,
                source=person.actor,
                now=desk.clock(),
                keyring=desk.publication.keyring,
            )
            said = "is suppressed" if is_new else "was suppressed already"
            row_id, known = row.id, row.cause
    except InvalidInput as exc:
        given = {"address": address, "cause": cause, "reason": reason}
        return _form(request, given=given, problem=exc, code=422)
    return dependencies.done(request, f"/suppressions/{row_id}", f"The address {said} ({known}).")


@router.get("/suppressions/{row_id}")
def look(desk: Desk, request: Request, row_id: Id) -> HTMLResponse:
    """Show one suppression, and how it ends."""
    with sessions.reading(desk.engine) as session:
        row = session.get(Suppression, row_id)
        if row is None:
            raise NotFound("There is no such suppression.", hint="It may have been lifted.")
        reader = store.find(session, row.address) if row.address else None
    return dependencies.page(
        request,
        "suppression",
        row=row,
        rule=suppression.RULES[Cause(row.cause)],
        reader=reader,
        is_of_server=Cause(row.cause) in suppression.OF_SERVERS,
    )


@router.post("/suppressions/{row_id}/lift")
def lift(desk: Desk, person: Signed, request: Request, row_id: Id, address: Text) -> Response:
    """Let the address be mailed again; that of an erased person has to be typed."""
    spelled, keyring = addresses.normalise(address, local=True), desk.publication.keyring
    with sessions.writing(desk.engine) as session:
        row = suppression.find(session, spelled, keyring=keyring)
        if row is None or row.id != row_id:
            raise Conflict("That is not the address of this suppression.", hint="Type it again.")
        operating.release_address(
            session,
            spelled,
            actor=person.actor,
            source=person.actor,
            now=desk.clock(),
            keyring=keyring,
        )
        reader = store.find(session, spelled)
        status = reader.status if reader else Status.UNSUBSCRIBED
        to = f"/readers/{reader.public_id}" if reader else "/suppressions"
    said = "The address may be mailed again. "
    if status == Status.UNSUBSCRIBED:
        said += "Nobody reads there until they sign up anew, or you add them again."
    else:
        said += f"Its reader is {status} again."
    return dependencies.done(request, to, said)


def _legible(text: str) -> str:
    said = text.strip()
    if not said.isprintable():
        raise InvalidInput("The reason has a character in it that cannot be shown.")
    return said


def _form(
    request: Request,
    *,
    given: object = None,
    problem: NewsletterError | None = None,
    code: int = 200,
) -> HTMLResponse:
    return dependencies.page(
        request,
        "suppression_add",
        status=code,
        given=given or {"address": "", "cause": Cause.OPERATOR, "reason": ""},
        problem=problem,
        causes=[(cause, suppression.RULES[cause]) for cause in _CAUSES],
    )


def _list(
    desk: DeskContext,
    request: Request,
    *,
    cause: Cause | None = None,
    before: int | None = None,
    sought: str = "",
    problem: NewsletterError | None = None,
    code: int = 200,
) -> HTMLResponse:
    with sessions.reading(desk.engine) as session:
        found = suppression.newest(session, limit=paging.SIZE + 1, before=before, cause=cause)
        counts = {
            one: suppression.count(session, at_most=_COUNTED, chosen=suppression.Chosen(one))
            for one in reversed(Cause)
        }
    return dependencies.page(
        request,
        "suppressions",
        status=code,
        rows=paging.cut(found, key=lambda row: row.id, is_first=before is None),
        counts={one: count for one, count in counts.items() if count},
        most=_COUNTED,
        rules=suppression.RULES,
        cause=cause,
        sought=sought,
        problem=problem,
    )
