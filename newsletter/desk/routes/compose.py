"""Compose: announcements, written as drafts, looked at, tried on oneself, and sent."""

from __future__ import annotations

import hmac
from datetime import timedelta
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, Form, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlmodel import Session

from newsletter import address as addresses
from newsletter import audit
from newsletter.db import session as sessions
from newsletter.desk import dependencies, sending
from newsletter.desk.dependencies import Desk, DeskContext, Signed
from newsletter.desk.routes.readers import Text
from newsletter.doctor import ready
from newsletter.editions import announce, announcements, drafts, review, summaries, under_way
from newsletter.editions.summaries import Summary
from newsletter.errors import Conflict, InvalidInput, NewsletterError
from newsletter.models import Announcement, Edition, State
from newsletter.sender import trial
from newsletter.sender.forecast import Capacity

router = APIRouter()

#: Maximum of announcements of each list, the newest ones; Editions lists all that were sent.
_LISTED = 50
#: Maximum of editions whose readers a form offers.
_EDITIONS = 12
_AUDIENCES = {
    "all": "All readers",
    "daily": "Daily readers",
    "weekly": "Weekly readers",
    "monthly": "Monthly readers",
}
Number = Annotated[int, Path(ge=1, le=2**63 - 1)]


class Written(NamedTuple):
    """The fields of the form of a draft."""

    subject: str
    text: str
    audience: str


def _written(
    audience: Annotated[str, Form(max_length=40)],
    subject: Annotated[str, Form()] = "",
    text: Annotated[str, Form()] = "",
) -> Written:
    return Written(subject, text.replace("\r\n", "\n"), audience)


Fields = Annotated[Written, Depends(_written)]


@router.get("/compose")
def index(desk: Desk, request: Request) -> HTMLResponse:
    """List the drafts, and the announcements that were sent."""
    with sessions.reading(desk.engine) as session:
        sent = announcements.sent(session, limit=_LISTED)
        books = summaries.of_all(session, [edition for _, edition in sent])
        written = announcements.drafts(session, limit=_LISTED)
    rows = [
        {"announcement": one, "at": edition.created_at, "summary": summary}
        for (one, edition), summary in zip(sent, books, strict=True)
    ]
    return dependencies.page(
        request, "compose", drafts=written, sent=rows, most=_LISTED, names=_AUDIENCES
    )


@router.get("/compose/new")
def begin(desk: Desk, request: Request, to: str = "all") -> HTMLResponse:
    """Show the form of a new draft."""
    return _form(desk, request, Written("", "", announce.parse_audience(to)))


@router.post("/compose/new")
def write(desk: Desk, person: Signed, request: Request, written: Fields) -> Response:
    """Store a new draft."""
    return _save(desk, person, request, None, written)


@router.get("/compose/{number}")
def show(desk: Desk, request: Request, number: Number) -> Response:
    """Show a draft with its mail; of an announcement that was sent, its edition."""
    with sessions.reading(desk.engine) as session:
        found = announcements.by_id(session, number)
        edition = session.get(Edition, found.edition_id) if found.edition_id else None
    if edition is not None:
        return RedirectResponse(f"/editions/{edition.name}", status_code=303)
    return _form(desk, request, Written(found.subject, found.text, found.audience), draft=found)


@router.post("/compose/{number}")
def change(
    desk: Desk, person: Signed, request: Request, number: Number, written: Fields
) -> Response:
    """Store what was changed of a draft."""
    return _save(desk, person, request, number, written)


@router.get("/compose/{number}/mail")
def mail(desk: Desk, number: Number) -> HTMLResponse:
    """Return the mail of a draft as a reader would get it, for the frame."""
    recipient = f"reader@{desk.settings.sender_domain}"
    return dependencies.mail(trial.part(_filled(desk, _draft(desk, number), recipient), "html"))


@router.post("/compose/{number}/test")
def test(desk: Desk, person: Signed, request: Request, number: Number, address: Text) -> Response:
    """Send the mail of a draft to one address, outside of the books."""
    found = _draft(desk, number)
    recipient = addresses.normalise(address, local=True)
    ready.require_for(recipient, desk.settings)
    trial.post(desk.settings, recipient, _filled(desk, found, recipient))
    with sessions.writing(desk.engine) as session:
        # Without the address, which is nobody's business in a log that is kept.
        subjects = {f"announcement:{number}": found.subject}
        audit.record(session, "announce.test", subjects, actor=person.actor, at=desk.clock())
    said = f"Sent to {recipient} alone; its links work for nobody."
    return dependencies.done(request, f"/compose/{number}", said)


@router.get("/compose/{number}/send")
def ask(desk: Desk, request: Request, number: Number) -> HTMLResponse:
    """Say who would get it, who would not and why, before it is sent."""
    text = drafts.complete(_draft(desk, number))
    found = announce.plan(
        desk.engine,
        text,
        now=desk.clock(),
        publication=desk.publication,
        capacity=Capacity(desk.limits, connections=desk.settings.smtp_connections),
    )
    seconds = found.forecast.seconds if found.forecast else None
    return dependencies.page(
        request,
        "compose_send",
        number=number,
        found=found,
        key=text.key,
        duration=None if seconds is None else under_way.spoken(timedelta(seconds=seconds)),
        names=_AUDIENCES,
    )


@router.post("/compose/{number}/send")
def send(desk: Desk, person: Signed, request: Request, number: Number, key: Text) -> Response:
    """Make the announcement that was looked at, for good; workers send it.

    A second press of the button leads to the same edition.
    """
    sending.require_ready(desk)
    with sessions.reading(desk.engine) as session:
        text = drafts.complete(announcements.by_id(session, number))
    if not hmac.compare_digest(key.encode(), text.key.encode()):
        raise Conflict(
            "The draft was changed since you looked at it.", hint="Look at it again, then send it."
        )
    made: Summary = announce.freeze(
        desk.engine,
        text,
        now=desk.clock(),
        publication=desk.publication,
        actor=person.actor,
        draft=number,
    )
    readers = f"{made.audience:,} reader{'' if made.audience == 1 else 's'}"
    said = f"It is made for {readers}. {sending.who_sends(desk)}"
    return dependencies.done(request, f"/editions/{made.edition}", said)


@router.get("/compose/{number}/discard")
def ask_discard(desk: Desk, request: Request, number: Number) -> HTMLResponse:
    """Ask once more before a draft is deleted."""
    return dependencies.page(request, "compose_discard", draft=_draft(desk, number))


@router.post("/compose/{number}/discard")
def discard(desk: Desk, person: Signed, request: Request, number: Number) -> Response:
    """Delete a draft; its text stays in the audit log."""
    drafts.discard(desk.engine, number, now=desk.clock(), actor=person.actor)
    return dependencies.done(request, "/compose", "The draft is discarded.")


def _save(
    desk: DeskContext, person: Signed, request: Request, number: int | None, written: Written
) -> Response:
    try:
        saved = drafts.save(
            desk.engine,
            number=number,
            subject=written.subject,
            text=written.text,
            audience=written.audience,
            now=desk.clock(),
            actor=person.actor,
        )
    except InvalidInput as exc:
        draft = None if number is None else _draft(desk, number)
        return _form(desk, request, written, draft=draft, problem=exc)
    return dependencies.done(request, f"/compose/{saved}", "Saved. The mail is below.")


def _form(
    desk: DeskContext,
    request: Request,
    written: Written,
    *,
    draft: Announcement | None = None,
    problem: NewsletterError | None = None,
) -> HTMLResponse:
    """Show the form of a draft, and its mail if it can be made."""
    missing = _missing(desk, draft) if draft and not problem else None
    with sessions.reading(desk.engine) as session:
        audiences = _audiences(session, written.audience)
    return dependencies.page(
        request,
        "compose_draft",
        status=422 if problem else 200,
        written=written,
        draft=draft,
        problem=problem,
        missing=missing,
        audiences=audiences,
        longest=announce.LONGEST,
    )


def _missing(desk: DeskContext, draft: Announcement) -> NewsletterError | None:
    """Return why the mail of a draft cannot be made yet; None if it can."""
    try:
        announce.render(drafts.complete(draft), now=desk.clock(), publication=desk.publication)
    except NewsletterError as exc:
        return exc
    return None


def _audiences(session: Session, chosen: str) -> dict[str, str]:
    """Return the audiences that a form offers, by name: cadences, and readers of editions."""
    recent = review.page(session, limit=_EDITIONS)
    names = [one.edition for one in recent if one.states.get(State.ACCEPTED)]
    if chosen not in {*_AUDIENCES, *names}:
        names.append(chosen)
    return _AUDIENCES | {name: f"Those who got {name}" for name in names if name not in _AUDIENCES}


def _draft(desk: DeskContext, number: int) -> Announcement:
    with sessions.reading(desk.engine) as session:
        return announcements.draft(session, number)


def _filled(desk: DeskContext, draft: Announcement, recipient: str) -> bytes:
    now = desk.clock()
    rendered = announce.render(drafts.complete(draft), now=now, publication=desk.publication)
    return trial.filled(rendered.message, desk.settings, recipient, now=now)
