"""Past editions: what went out, what became of it, and what can still be done about it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, Response
from sqlmodel import Session

from newsletter import audit
from newsletter.db import session as sessions
from newsletter.desk import dependencies, paging, sending
from newsletter.desk.dependencies import Desk, DeskContext, Signed
from newsletter.desk.pages import counted
from newsletter.editions import (
    announcements,
    clicks,
    correct,
    lifecycle,
    mailings,
    review,
    store,
    summaries,
    under_way,
)
from newsletter.editions.correct import Correction, Notice
from newsletter.editions.review import Refusal
from newsletter.editions.summaries import Summary
from newsletter.explain import meanings
from newsletter.explain.facts import Reply
from newsletter.models import Edition, Role, State
from newsletter.sender import trial

router = APIRouter()

#: The states of the books, in the order in which they are shown.
_STATES = (
    "accepted", "refused", "unknown", "skipped", "cancelled", "queued", "claimed", "in_flight",
    "deferred",
)  # fmt: skip
_UNFINISHED = ("open", "paused")
_REASON = "Cancelled by the operator."


def _given(
    article: Annotated[str, Form()],
    text: Annotated[str, Form()] = "",
    subject: Annotated[str, Form()] = "",
) -> dict[str, str]:
    """Return the fields of the form of a correction."""
    return {"article": article, "text": text, "subject": subject}


Given = Annotated[dict[str, str], Depends(_given)]


@router.get("/editions")
def index(desk: Desk, request: Request, before: paging.Before = None) -> HTMLResponse:
    """List editions, the newest first."""
    with sessions.reading(desk.engine) as session:
        found = review.page(session, limit=paging.SIZE + 1, before=before)
    rows = paging.cut(found, key=lambda row: row.id, is_first=before is None)
    return dependencies.page(request, "editions", rows=rows)


@router.get("/editions/{slug}")
def show(desk: Desk, request: Request, slug: str, variant: str = "") -> HTMLResponse:
    """Show one edition, with the articles and the mail of its largest variant or of another."""
    with sessions.reading(desk.engine) as session:
        edition = store.by_slug(session, slug)
        summary = summaries.of(session, edition)
        variants = review.variants(session, edition)
        chosen = next((one for one in variants if one.public_id == variant), None)
        chosen = chosen or next(iter(variants), None)
        note = store.note_of(session, edition)
        values: dict[str, Any] = {
            "variants": variants,
            "chosen": chosen,
            "articles": summaries.placed(session, chosen.mailing_id) if chosen else [],
            "refusals": _refusals(session, edition),
            "refusals_at_most": review.AT_MOST,
            "clicks": clicks.of(session, edition),
            "goodbyes": review.goodbyes(session, edition),
            "corrections": summaries.corrections(session, edition),
            "acts": audit.of(session, [f"edition:{slug}"]),
            "note": note.text if note else "",
            "announcement": announcements.of(session, edition),
        }
    return dependencies.page(
        request,
        "edition",
        edition=edition,
        summary=summary,
        states=[(name, getattr(summary, name)) for name in _STATES],
        progress=_progress(desk, slug) if summary.is_open else "",
        is_unfinished=summary.state in _UNFINISHED,
        **values,
    )


@router.get("/editions/{slug}/mail")
def mail(desk: Desk, slug: str, variant: str) -> HTMLResponse:
    """Return the mail of a variant, for the frame."""
    with sessions.reading(desk.engine) as session:
        html = review.mail(session, store.by_slug(session, slug), variant)
    return dependencies.mail(html)


@router.post("/editions/{slug}/pause")
def pause(desk: Desk, request: Request, person: Signed, slug: str) -> Response:
    """Pause an edition."""
    lifecycle.pause(desk.engine, slug, now=desk.clock(), actor=person.actor)
    said = f"{slug} is paused: workers stop within seconds, after the mails that they send now."
    return dependencies.done(request, f"/editions/{slug}", said)


@router.post("/editions/{slug}/resume")
def resume(desk: Desk, request: Request, person: Signed, slug: str) -> Response:
    """Resume a paused edition."""
    summary = lifecycle.resume(desk.engine, slug, now=desk.clock(), actor=person.actor)
    left = counted(_left(summary), "reader")
    said = f"{slug} goes on; {left} to go. {sending.who_sends(desk)}"
    return dependencies.done(request, f"/editions/{slug}", said)


@router.get("/editions/{slug}/cancel")
def ask_cancel(desk: Desk, request: Request, slug: str) -> HTMLResponse:
    """Ask once more before an edition is cancelled."""
    with sessions.reading(desk.engine) as session:
        edition = store.by_slug(session, slug)
        summary = summaries.of(session, edition)
        corrections = summaries.corrections(session, edition)
    return dependencies.page(
        request,
        "edition_cancel",
        slug=slug,
        summary=summary,
        left=_left(summary),
        is_unfinished=summary.state in _UNFINISHED,
        is_announcement=edition.is_announcement,
        correction=sum(one.left for one in corrections),
        reason=_REASON,
    )


@router.post("/editions/{slug}/cancel")
def cancel(
    desk: Desk,
    request: Request,
    person: Signed,
    slug: str,
    reason: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Cancel an edition for good, or only its corrections if it has ended."""
    why = " ".join(reason.split()) or _REASON
    summary, stopped = lifecycle.cancel(
        desk.engine, slug, now=desk.clock(), reason=why, actor=person.actor
    )
    said = f"{slug} is {summary.state}."
    if summary.state == "cancelled":
        had = counted(summary.accepted, "reader")
        said = f"{slug} is cancelled: {had} had it, {summary.cancelled:,} will not get it."
    if stopped:
        said += f" Its correction is cancelled for {counted(stopped, 'reader')}."
    return dependencies.done(request, f"/editions/{slug}", said)


@router.get("/editions/{slug}/correct")
def ask_correct(desk: Desk, request: Request, slug: str, article: str = "") -> HTMLResponse:
    """Show the form of a correction."""
    with sessions.reading(desk.engine) as session:
        placed = mailings.placements(session, store.by_slug(session, slug))
    shown = {
        one.article_id: one.title
        for one in sorted(placed, key=lambda one: (one.mailing_id, one.position))
        if one.role != Role.RELATED
    }
    return dependencies.page(
        request, "correct", slug=slug, articles=shown, article=article, longest=correct.LONGEST
    )


@router.post("/editions/{slug}/correct")
def look_at_correction(
    desk: Desk,
    request: Request,
    slug: str,
    given: Given,
) -> HTMLResponse:
    """Show the mail of a correction and say who gets it; nothing is queued."""
    notice = _notice(slug, given)
    now, settings = desk.clock(), desk.settings
    found = correct.rehearse(desk.engine, notice, now=now, publication=desk.publication)
    sample = trial.filled(found.message, settings, f"reader@{settings.sender_domain}", now=now)
    return dependencies.page(
        request,
        "correct_look",
        slug=slug,
        found=found,
        already=found.readers - found.books.get(State.QUEUED, 0),
        body=trial.part(sample, "plain"),
        fields=given,
    )


@router.post("/editions/{slug}/correct/send")
def send_correction(
    desk: Desk,
    request: Request,
    person: Signed,
    slug: str,
    given: Given,
) -> Response:
    """Queue a correction; workers send it."""
    notice = _notice(slug, given)
    sending.require_ready(desk)
    queued: Correction = correct.enqueue(
        desk.engine, notice, now=desk.clock(), actor=person.actor, publication=desk.publication
    )
    waits = counted(queued.waiting, "reader")
    said = f"The correction is queued for {waits}. {sending.who_sends(desk)}"
    return dependencies.done(request, f"/editions/{slug}", said)


def _notice(slug: str, given: dict[str, str]) -> Notice:
    title = " ".join(given["subject"].split()) or None
    text = given["text"].replace("\r\n", "\n")
    return correct.notice(slug, given["article"], text, subject=title)


def _refusals(session: Session, edition: Edition) -> list[dict[str, Any]]:
    """Return the replies of servers that have refused, each with its meaning."""
    return [
        {
            "readers": one.readers,
            "said": said,
            "meaning": meanings.of_reply(said),
            "words": meanings.words(said),
        }
        for one in review.refusals(session, edition)
        for said in [_reply(one, edition)]
    ]


def _reply(one: Refusal, edition: Edition) -> Reply:
    return Reply(
        at=edition.created_at,
        result=State.REFUSED,
        code=one.code,
        enhanced=one.enhanced,
        text=one.reply,
    )


def _progress(desk: DeskContext, slug: str) -> str:
    """Return how far an edition is, as Today says it; empty if it is not being sent."""
    with sessions.reading(desk.engine) as session:
        way = under_way.look(session, limits=desk.limits, now=desk.clock())
    before = desk.progress.before(way)
    for one in way.editions:
        if one.name == slug:
            rate = under_way.rate(before, way, slug) if before else None
            return under_way.sentence(one, rate, way, desk.settings.zone)
    return ""


def _left(summary: Summary) -> int:
    return summary.queued + summary.claimed + summary.in_flight + summary.deferred
