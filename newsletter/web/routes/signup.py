"""Sign-up: the page, the box on other sites, and the confirmation link (double opt-in).

The response to a sign-up is the same whether the address is known or not. A form token must be
neither too young nor too old; without one, as in the box without scripts, the page with the form
is shown to be submitted again.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from sqlmodel import Session

from newsletter import address as addresses
from newsletter import cadences
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.editions import archive
from newsletter.errors import ExpiredToken, InvalidAddress, InvalidInput, InvalidToken
from newsletter.rendering.letter import Latest
from newsletter.subscribers import signup
from newsletter.subscribers.consent import Origin
from newsletter.tokens import Bearer, Purpose
from newsletter.web import dependencies, pages, proof_of_work, signup_limits
from newsletter.web.dependencies import Context, WebContext
from newsletter.web.signup_limits import Asking

router = APIRouter(include_in_schema=False)

#: The minimum age of a form token: people need longer to fill in a form.
MINIMUM_AGE = timedelta(seconds=2)

Typed = Annotated[str, Form()]
Problem = Literal["address", "cadence", "once_more"]


@router.get("/subscribe")
def subscribe(web: Context) -> HTMLResponse:
    """Show the sign-up page."""
    return _form(web, cadence=web.settings.box_cadence)


@router.post("/subscribe")
def ask_by_page(
    web: Context,
    request: Request,
    *,
    address: Typed = "",
    cadence: Typed = "",
    form: Typed = "",
    altcha: Typed = "",
    homepage: Typed = "",
) -> HTMLResponse:
    """Process a sign-up from our page, or from a form on another site."""
    asking = _understood(web, request, address, cadence)
    chosen = cadence if cadence in list(Cadence) else web.settings.box_cadence
    if homepage:
        return _without_trap(web, cadence=chosen, address=address, form=form)
    if isinstance(asking, str):
        return _form(web, cadence=chosen, address=address, problem=asking)
    if not _is_in_time(web, form) or not proof_of_work.spend(web, form, altcha):
        return _form(web, cadence=chosen, address=address, problem="once_more")
    signup_limits.ask(web, asking)
    return web.page("asked", pages.Asked())


@router.get("/subscriptions/form")
def form_token(web: Context) -> JSONResponse:
    """Return a form token for the sign-up box on another site, with a proof of work challenge."""
    form = web.keyring.form(now=web.clock())
    work = proof_of_work.challenge(web, form)
    return JSONResponse({"form": form, "challenge": work} if work else {"form": form})


@router.post("/subscriptions")
def ask_by_box(
    web: Context,
    request: Request,
    *,
    address: Typed = "",
    cadence: Typed = "",
    form: Typed = "",
    altcha: Typed = "",
    homepage: Typed = "",
) -> JSONResponse:
    """Process a sign-up from the box on another site."""
    asking = "once_more" if homepage else _understood(web, request, address, cadence)
    if not isinstance(asking, str) and not (
        _is_in_time(web, form) and proof_of_work.spend(web, form, altcha)
    ):
        asking = "once_more"
    if isinstance(asking, str):
        words = {"status": "refused", "problem": asking}
        return JSONResponse(words, status_code=422)
    signup_limits.ask(web, asking)
    return JSONResponse({"status": "asked"})


@router.get("/embed.js")
def embed(web: Context) -> Response:
    """Return the script of the box for other sites."""
    script = pages.Script(
        choices=web.choices(after=web.clock()),
        cadence=web.settings.box_cadence,
        has_proof=web.settings.altcha,
    )
    return _javascript(pages.script(web.templates, script))


@router.get("/proof.js")
def proof_script(web: Context) -> Response:
    """Return the script that solves the proof of work."""
    return _javascript(pages.proof_of_work_script(web.templates))


@router.get("/box")
def box(web: Context) -> PlainTextResponse:
    """Return the HTML form for pages without scripts, as text to paste."""
    page = pages.Box(cadence=web.settings.box_cadence)
    return PlainTextResponse(pages.render(web.templates, "box", page))


@router.get("/confirm/{token}")
def show_confirm(web: Context, token: str) -> HTMLResponse:
    """Show one button; opening the link confirms nothing."""
    now = web.clock()
    bearer = web.keyring.read(Purpose.CONFIRM, token, now=now)
    with sessions.reading(web.engine) as session:
        subscriber = signup.awaited(session, bearer, publication=web.publication)
    page = pages.Confirm(
        token=token,
        masked=dependencies.masked(subscriber),
        choice=web.choice(Cadence(subscriber.cadence), after=web.resumes_at(subscriber)),
        pause=web.pause(subscriber),
    )
    return web.page("confirm", page)


@router.post("/confirm/{token}")
def confirm(web: Context, request: Request, token: str) -> HTMLResponse:
    """Begin the subscription; pressing again shows the same page."""
    now = web.clock()
    bearer = web.keyring.read(Purpose.CONFIRM, token, now=now)
    with sessions.writing(web.engine) as session:
        latest = _latest(web, session)
        done = signup.confirm(
            session,
            bearer,
            origin=_origin(request, "confirm page"),
            latest=latest,
            publication=web.publication,
            now=now,
        )
    reader = done.subscriber
    page = pages.Confirmed(
        masked=dependencies.masked(reader),
        choice=web.choice(Cadence(reader.cadence), after=web.resumes_at(reader)),
        pause=web.pause(reader),
        manage=web.issue(Purpose.MANAGE, reader),
        latest=latest,
        was_already=done.was_already,
    )
    return web.page("confirmed", page)


@router.post("/confirm/{token}/again")
def ask_again(web: Context, request: Request, token: str) -> HTMLResponse:
    """Queue a new confirm letter in place of an expired one, to the same address."""
    bearer = _bearer_of_old(web, token)
    with sessions.reading(web.engine) as session:
        subscriber = signup.asked_by(session, bearer)
    if subscriber is not None:
        origin = _origin(request, "expired link")
        signup_limits.ask(web, Asking(subscriber.address, Cadence(subscriber.cadence), origin))
    return web.page("asked", pages.Asked())


def _without_trap(web: WebContext, *, cadence: str, address: str, form: str) -> HTMLResponse:
    """Show the form again without the honeypot, which a browser may have filled automatically.

    A valid form token is kept, so that a person need not wait for a new one; it is no advantage to
    a bot.
    """
    kept = form if _is_in_time(web, form) else None
    return _form(
        web, cadence=cadence, address=address, problem="once_more", form=kept, has_trap=False
    )


def _form(
    web: WebContext,
    *,
    cadence: str,
    address: str = "",
    problem: Problem | None = None,
    form: str | None = None,
    has_trap: bool = True,
) -> HTMLResponse:
    now = web.clock()
    token = form or web.keyring.form(now=now)
    work = proof_of_work.challenge(web, token)
    page = pages.Subscribe(
        form=token,
        challenge=work,
        choices=web.choices(after=now),
        cadence=cadence,
        address=address[: addresses.MAXIMUM_LENGTH],
        problem=problem,
        has_trap=has_trap,
    )
    policy = pages.policy(web.templates, has_proof=work is not None)
    return web.page(
        "subscribe",
        page,
        status=422 if problem in {"address", "cadence"} else 200,
        headers={"Content-Security-Policy": policy},
    )


def _javascript(text: str) -> Response:
    return Response(
        text, media_type="text/javascript", headers={"Cache-Control": "public, max-age=300"}
    )


def _understood(web: WebContext, request: Request, address: str, cadence: str) -> Asking | Problem:
    """Parse the fields of a sign-up, or return the problem with them."""
    try:
        spelled = addresses.normalise(address)
    except InvalidAddress:
        return "address"
    try:
        chosen = cadences.parse_cadence(cadence)
    except InvalidInput:
        return "cadence"
    origin = _origin(request, dependencies.origin_of(request))
    return Asking(spelled, chosen, replace(origin, wording=web.wording(chosen)))


def _origin(request: Request, source: str) -> Origin:
    return Origin(source, remote=dependencies.remote(request))


def _latest(web: WebContext, session: Session) -> Latest | None:
    """Return the newest edition with a link that works even if the archive is closed."""
    found = archive.latest(session)
    if found is None:
        return None
    token = web.keyring.issue(Purpose.VIEW, found.mailing, 0)
    return Latest(title=found.title, url=f"{web.settings.base_url}/view/{token}")


def _is_in_time(web: WebContext, form: str) -> bool:
    """Return whether a form token is valid, neither too young nor expired."""
    now = web.clock()
    try:
        bearer = web.keyring.read(Purpose.FORM, form, now=now)
    except InvalidToken:
        return False
    return bearer.issued_at is not None and now - bearer.issued_at >= MINIMUM_AGE


def _bearer_of_old(web: WebContext, token: str) -> Bearer:
    """Read the token of a confirm link, even if it has expired."""
    now = web.clock()
    try:
        return web.keyring.read(Purpose.CONFIRM, token, now=now)
    except ExpiredToken as exc:
        return web.keyring.read(Purpose.CONFIRM, token, now=exc.issued_at)
