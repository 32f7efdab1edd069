"""Signing up: the page, the box on other pages, and the link that confirms.

A sign-up is answered by the same bytes whoever it is for. Only a form of ours that is neither too
young nor too old counts: who has none, as the box without scripts, is asked to press once more.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from sqlmodel import Session

from newsletter import address as addresses
from newsletter import cadence as calendar
from newsletter.cadence import Cadence
from newsletter.db import session as sessions
from newsletter.editions import archive
from newsletter.errors import ExpiredToken, InvalidAddress, InvalidInput, InvalidToken
from newsletter.rendering.letter import Latest
from newsletter.subscribers import signup
from newsletter.subscribers.consent import Origin
from newsletter.tokens import Bearer, Purpose
from newsletter.web import dependencies, gate, pages, proof
from newsletter.web.dependencies import Front, TheFront
from newsletter.web.gate import Asking

router = APIRouter(include_in_schema=False)

#: Nobody reads, writes an address and presses a button in less.
MINIMUM_AGE = timedelta(seconds=2)

Typed = Annotated[str, Form()]
Problem = Literal["address", "cadence", "once_more"]


@router.get("/subscribe")
def subscribe(front: TheFront) -> HTMLResponse:
    """Show the page where one signs up."""
    return _form(front, cadence=front.settings.box_cadence)


@router.post("/subscribe")
def ask_by_page(
    front: TheFront,
    request: Request,
    *,
    address: Typed = "",
    cadence: Typed = "",
    form: Typed = "",
    altcha: Typed = "",
    homepage: Typed = "",
) -> HTMLResponse:
    """Take a sign-up from our page, or from a form on another one."""
    asking = _understood(front, request, address, cadence)
    chosen = cadence if cadence in list(Cadence) else front.settings.box_cadence
    if homepage:
        return _without_trap(front, cadence=chosen, address=address, form=form)
    if isinstance(asking, str):
        return _form(front, cadence=chosen, address=address, problem=asking)
    if not _is_in_time(front, form) or not proof.spend(front, form, altcha):
        return _form(front, cadence=chosen, address=address, problem="once_more")
    gate.ask(front, asking)
    return front.page("asked", pages.Asked())


@router.get("/subscriptions/form")
def form_token(front: TheFront) -> JSONResponse:
    """Give the box on another page a form token, and the work that goes with it."""
    form = front.keyring.form(now=front.clock())
    work = proof.challenge(front, form)
    return JSONResponse({"form": form, "challenge": work} if work else {"form": form})


@router.post("/subscriptions")
def ask_by_box(
    front: TheFront,
    request: Request,
    *,
    address: Typed = "",
    cadence: Typed = "",
    form: Typed = "",
    altcha: Typed = "",
    homepage: Typed = "",
) -> JSONResponse:
    """Take a sign-up from the box on another page."""
    asking = "once_more" if homepage else _understood(front, request, address, cadence)
    if not isinstance(asking, str) and not (
        _is_in_time(front, form) and proof.spend(front, form, altcha)
    ):
        asking = "once_more"
    if isinstance(asking, str):
        words = {"status": "refused", "problem": asking}
        return JSONResponse(words, status_code=422)
    gate.ask(front, asking)
    return JSONResponse({"status": "asked"})


@router.get("/embed.js")
def embed(front: TheFront) -> Response:
    """Give out the box for other pages."""
    script = pages.Script(
        choices=front.choices(after=front.clock()),
        cadence=front.settings.box_cadence,
        has_proof=front.settings.altcha,
    )
    return _javascript(pages.script(front.templates, script))


@router.get("/proof.js")
def proof_script(front: TheFront) -> Response:
    """Give out what does the work that a form asks for."""
    return _javascript(pages.proof(front.templates))


@router.get("/box")
def box(front: TheFront) -> PlainTextResponse:
    """Give out the form for pages without scripts, as text to paste."""
    page = pages.Box(cadence=front.settings.box_cadence)
    return PlainTextResponse(pages.render(front.templates, "box", page))


@router.get("/confirm/{token}")
def show_confirm(front: TheFront, token: str) -> HTMLResponse:
    """Show one button; opening the link confirms nothing."""
    now = front.clock()
    bearer = front.keyring.read(Purpose.CONFIRM, token, now=now)
    with sessions.reading(front.engine) as session:
        subscriber = signup.awaited(session, bearer, stationery=front.stationery)
    page = pages.Confirm(
        token=token,
        masked=dependencies.masked(subscriber),
        choice=front.choice(Cadence(subscriber.cadence), after=front.resumes_at(subscriber)),
        pause=front.pause(subscriber),
    )
    return front.page("confirm", page)


@router.post("/confirm/{token}")
def confirm(front: TheFront, request: Request, token: str) -> HTMLResponse:
    """Begin the subscription; pressing again shows the same page."""
    now = front.clock()
    bearer = front.keyring.read(Purpose.CONFIRM, token, now=now)
    with sessions.writing(front.engine) as session:
        latest = _latest(front, session)
        done = signup.confirm(
            session,
            bearer,
            origin=_origin(request, "confirm page"),
            latest=latest,
            stationery=front.stationery,
            now=now,
        )
    reader = done.subscriber
    page = pages.Confirmed(
        masked=dependencies.masked(reader),
        choice=front.choice(Cadence(reader.cadence), after=front.resumes_at(reader)),
        pause=front.pause(reader),
        manage=front.issue(Purpose.MANAGE, reader),
        latest=latest,
        was_already=done.was_already,
    )
    return front.page("confirmed", page)


@router.post("/confirm/{token}/again")
def ask_again(front: TheFront, request: Request, token: str) -> HTMLResponse:
    """Send a new link in place of an old one, to the same address."""
    bearer = _bearer_of_old(front, token)
    with sessions.reading(front.engine) as session:
        subscriber = signup.asked_by(session, bearer)
    if subscriber is not None:
        origin = _origin(request, "expired link")
        gate.ask(front, Asking(subscriber.address, Cadence(subscriber.cadence), origin))
    return front.page("asked", pages.Asked())


def _without_trap(front: Front, *, cadence: str, address: str, form: str) -> HTMLResponse:
    """Ask once more, by a form that a browser cannot fill for its reader where nobody sees it.

    A form token that counts is given back: a machine gains nothing by it, and a person need not
    wait for a new one to count.
    """
    kept = form if _is_in_time(front, form) else None
    return _form(
        front, cadence=cadence, address=address, problem="once_more", form=kept, has_trap=False
    )


def _form(
    front: Front,
    *,
    cadence: str,
    address: str = "",
    problem: Problem | None = None,
    form: str | None = None,
    has_trap: bool = True,
) -> HTMLResponse:
    now = front.clock()
    token = form or front.keyring.form(now=now)
    work = proof.challenge(front, token)
    page = pages.Subscribe(
        form=token,
        challenge=work,
        choices=front.choices(after=now),
        cadence=cadence,
        address=address[: addresses.MAXIMUM_LENGTH],
        problem=problem,
        has_trap=has_trap,
    )
    policy = pages.policy(front.templates, has_proof=work is not None)
    return front.page(
        "subscribe",
        page,
        status=422 if problem in {"address", "cadence"} else 200,
        headers={"Content-Security-Policy": policy},
    )


def _javascript(text: str) -> Response:
    return Response(
        text, media_type="text/javascript", headers={"Cache-Control": "public, max-age=300"}
    )


def _understood(front: Front, request: Request, address: str, cadence: str) -> Asking | Problem:
    """Return what somebody asks for, or what is wrong with it."""
    try:
        spelled = addresses.normalise(address)
    except InvalidAddress:
        return "address"
    try:
        chosen = calendar.parse_cadence(cadence)
    except InvalidInput:
        return "cadence"
    origin = _origin(request, dependencies.origin_of(request))
    return Asking(spelled, chosen, replace(origin, wording=front.wording(chosen)))


def _origin(request: Request, source: str) -> Origin:
    return Origin(source, remote=dependencies.remote(request))


def _latest(front: Front, session: Session) -> Latest | None:
    """Return the newest edition, as a link that works with the archive open or closed."""
    found = archive.latest(session)
    if found is None:
        return None
    token = front.keyring.issue(Purpose.VIEW, found.mailing, 0)
    return Latest(title=found.title, url=f"{front.settings.base_url}/view/{token}")


def _is_in_time(front: Front, form: str) -> bool:
    """Tell whether a form of ours was given out neither just now nor long ago."""
    now = front.clock()
    try:
        bearer = front.keyring.read(Purpose.FORM, form, now=now)
    except InvalidToken:
        return False
    return bearer.issued_at is not None and now - bearer.issued_at >= MINIMUM_AGE


def _bearer_of_old(front: Front, token: str) -> Bearer:
    """Read a confirm link of any age."""
    now = front.clock()
    try:
        return front.keyring.read(Purpose.CONFIRM, token, now=now)
    except ExpiredToken as exc:
        return front.keyring.read(Purpose.CONFIRM, token, now=exc.issued_at)
