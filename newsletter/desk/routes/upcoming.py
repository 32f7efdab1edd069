"""Next: the edition of each cadence before it is made, and what an editor can change of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, NamedTuple, TypedDict

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import Field

from newsletter import address, audit, cadences
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.desk import dependencies, sending
from newsletter.desk.dependencies import Desk, DeskContext, Signed
from newsletter.desk.pages import counted
from newsletter.doctor import ready
from newsletter.editions import ahead, arranging, editor, mailings, plan, publish
from newsletter.editions import send as editions
from newsletter.editions.plan import EditionPlan
from newsletter.errors import Conflict
from newsletter.publication import Publication
from newsletter.rendering import note as notes
from newsletter.rendering.selection import MOST_SHOWN
from newsletter.sender import forecast, trial
from newsletter.sender.forecast import Capacity

router = APIRouter()

_LARGEST = 2**63 - 1
Ids = Annotated[list[Annotated[int, Field(ge=1, le=_LARGEST)]], Form(max_length=MOST_SHOWN)]


class _Editing(TypedDict):
    """What every change of an editor needs."""

    now: datetime
    actor: str
    publication: Publication


class Places(NamedTuple):
    """Listed articles, and the places that were written beside them."""

    listed: list[int]
    places: list[int]


def _places(listed: Ids, place: Ids, first: Annotated[int, Form(ge=1, le=2)] = 1) -> Places:
    """Return the fields of the list, which begins at place `first`."""
    return Places(listed, [one - first + 1 for one in place])


@router.get("/next")
def index(desk: Desk, request: Request) -> HTMLResponse:
    """Show the next edition of each cadence, the first one that is due on top."""
    now = desk.clock()
    with sessions.reading(desk.engine) as session:
        found = ahead.all_of(session, now=now, publication=desk.publication)
    return dependencies.page(
        request,
        "next",
        editions=found,
        least=desk.settings.min_articles,
    )


@router.get("/next/{cadence}")
def show(desk: Desk, request: Request, cadence: Cadence, plan: bool = False) -> HTMLResponse:  # noqa: FBT001, FBT002 - in the query
    """Show the digest as it would be now; with `plan`, also who gets what."""
    now = desk.clock()
    with sessions.reading(desk.engine) as session:
        found = ahead.of(session, cadence, now=now, publication=desk.publication)
        shown = found.articles[:MOST_SHOWN]
        had_by = mailings.had_by(session, [one.id for one in shown if one.id is not None])
    planned = _planned(desk, cadence) if plan else None
    return dependencies.page(
        request,
        "next_edition",
        ahead=found,
        shown=shown,
        had_by=had_by,
        least=desk.settings.min_articles,
        longest=notes.LONGEST,
        planned=planned,
        duration=forecast.sentence(planned.forecast) if planned and planned.domains else "",
    )


@router.get("/next/{cadence}/mail")
def mail(desk: Desk, cadence: Cadence) -> HTMLResponse:
    """Return the mail that a new reader would get now, for the frame."""
    rendered = publish.preview(desk.engine, cadence, now=desk.clock(), publication=desk.publication)
    return dependencies.mail(rendered.page)


@router.post("/next/{cadence}/test")
def send_test(
    desk: Desk,
    request: Request,
    person: Signed,
    cadence: Cadence,
    to: Annotated[str, Form(max_length=320)],
) -> Response:
    """Send the mail as it would be now to one address."""
    now, settings = desk.clock(), desk.settings
    recipient = address.normalise(to, local=True)
    ready.require_for(recipient, settings)
    rendered = publish.preview(desk.engine, cadence, now=now, publication=desk.publication)
    trial.post(settings, recipient, trial.filled(rendered.message, settings, recipient, now=now))
    with sessions.writing(desk.engine) as session:
        # Without the address, which is nobody's business in a log that is kept.
        subjects = {f"preview:{cadence}": rendered.message.subject}
        audit.record(session, "preview.send", subjects, actor=person.actor, at=now)
    said = f"Sent to {recipient}; its links work for nobody."
    return dependencies.done(request, f"/next/{cadence}", said)


@router.post("/next/{cadence}/order")
def order(
    desk: Desk,
    request: Request,
    person: Signed,
    cadence: Cadence,
    given: Annotated[Places, Depends(_places)],
) -> Response:
    """Order the listed articles by the places beside them."""
    arranging.place(desk.engine, cadence, given.listed, given.places, **_editing(desk, person))
    return dependencies.done(request, f"/next/{cadence}", "The order is kept.")


@router.post("/next/{cadence}/move")
def move(
    desk: Desk,
    request: Request,
    person: Signed,
    cadence: Cadence,
    to: Annotated[str, Form(pattern=r"^[0-9]{1,18} [0-9]{1,3}$")],
) -> Response:
    """Move an article to a place; `to` has the numbers of both."""
    article, at = map(int, to.split())
    arranging.move(desk.engine, cadence, article, to=at, **_editing(desk, person))
    return dependencies.done(request, f"/next/{cadence}", f"It is at place {at} now.")


@router.post("/next/{cadence}/reset")
def reset_order(desk: Desk, request: Request, person: Signed, cadence: Cadence) -> Response:
    """Order all articles by date again."""
    arranging.order(desk.engine, cadence, [], **_editing(desk, person))
    return dependencies.done(request, f"/next/{cadence}", "The newest come first again.")


@router.post("/next/{cadence}/note")
def write_note(
    desk: Desk,
    request: Request,
    person: Signed,
    cadence: Cadence,
    text: Annotated[str, Form()] = "",
) -> Response:
    """Put a note above the articles; an empty one removes it."""
    now = desk.clock()
    if text.strip():
        written = text.replace("\r\n", "\n")
        editor.write_note(desk.engine, cadence, written, now=now, actor=person.actor)
        said = f"The note stands above the articles of the next {cadence} edition."
    else:
        editor.remove_note(desk.engine, cadence, now=now, actor=person.actor)
        said = "No note stands above the articles."
    return dependencies.done(request, f"/next/{cadence}", said)


@router.post("/next/{cadence}/skip")
def skip(desk: Desk, request: Request, person: Signed, cadence: Cadence) -> Response:
    """Skip the next edition."""
    found = editor.skip(desk.engine, cadence, **_editing(desk, person))
    said = f"{found.edition} is skipped; the next one is {found.following}, with its articles."
    return dependencies.done(request, f"/next/{cadence}", said)


@router.post("/next/{cadence}/unskip")
def unskip(desk: Desk, request: Request, person: Signed, cadence: Cadence) -> Response:
    """Undo the skip."""
    found = editor.unskip(desk.engine, cadence, **_editing(desk, person))
    return dependencies.done(request, f"/next/{cadence}", f"{found.edition} will be made.")


@router.get("/next/{cadence}/send")
def ask(desk: Desk, request: Request, cadence: Cadence) -> HTMLResponse:
    """Ask once more before an edition is made and sent."""
    with sessions.reading(desk.engine) as session:
        found = ahead.of(session, cadence, now=desk.clock(), publication=desk.publication)
    return dependencies.page(
        request,
        "next_send",
        ahead=found,
        least=desk.settings.min_articles,
        sends=sending.who_sends(desk),
    )


@router.post("/next/{cadence}/send")
def send(
    desk: Desk,
    request: Request,
    person: Signed,
    cadence: Cadence,
    edition: Annotated[str, Form(max_length=40)],
) -> Response:
    """Make the edition of the current period, which was confirmed; workers send it."""
    sending.require_ready(desk)
    current = cadences.newest_due(cadence, desk.clock(), desk.settings.send_times)
    if edition != cadences.slug(cadence, current):
        raise Conflict(f"{edition} is over: its period has ended.", hint="Look at the next one.")
    made = editions.make(
        desk.engine, cadence, now=desk.clock(), publication=desk.publication, actor=person.actor
    )
    if made.state == "open":
        readers = counted(made.audience, "reader")
        said = f"{made.edition} is made for {readers}. {sending.who_sends(desk)}"
    else:
        said = f"{made.edition} is {made.state}{f': {made.reason}' if made.reason else '.'}"
    return dependencies.done(request, f"/editions/{made.edition}", said)


def _planned(desk: DeskContext, cadence: Cadence) -> EditionPlan:
    (found,) = plan.upcoming(
        desk.engine,
        [cadence],
        now=desk.clock(),
        publication=desk.publication,
        capacity=Capacity.of(desk.settings),
    )
    return found


def _editing(desk: DeskContext, person: Signed) -> _Editing:
    return {"now": desk.clock(), "actor": person.actor, "publication": desk.publication}
