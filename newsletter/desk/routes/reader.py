"""A reader: all that is known, why mails came or did not, and what an operator may change."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Annotated

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import ColumnElement

from newsletter import address as addresses
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.desk import dependencies
from newsletter.desk.dependencies import Desk, DeskContext, Signed
from newsletter.desk.pages import counted
from newsletter.desk.routes.readers import Text
from newsletter.errors import InvalidInput
from newsletter.explain import page as explained
from newsletter.explain import store as facts
from newsletter.models import Status
from newsletter.subscribers import forget as erasure
from newsletter.subscribers import operating, store
from newsletter.subscribers.unsubscribe import Goodbye

router = APIRouter()

PublicId = Annotated[str, Path(max_length=16, pattern=r"^[\w-]+$")]


@router.get("/readers/{public_id}")
def show(desk: Desk, request: Request, public_id: PublicId) -> HTMLResponse:
    """Show the page of `newsletter explain` about a reader, and the forms that change them."""
    return _show(desk, request, public_id, "reader")


@router.post("/readers/{public_id}/cadence")
def change_cadence(
    desk: Desk,
    person: Signed,
    request: Request,
    public_id: PublicId,
    cadence: Annotated[Cadence, Form()],
) -> Response:
    """Give the reader another cadence."""
    with sessions.writing(desk.engine) as session:
        is_changed = operating.change_cadence(
            session,
            _chosen(public_id),
            cadence,
            actor=person.actor,
            source=person.actor,
            now=desk.clock(),
        )
    was = "The reader is" if is_changed else "The reader was already"
    return _done(request, public_id, f"{was} {cadence}.")


@router.post("/readers/{public_id}/pause")
def pause(
    desk: Desk, person: Signed, request: Request, public_id: PublicId, until: Text = ""
) -> Response:
    """Pause the reader until a day, or until they resume."""
    ends_at = _start_of(until, desk) if until.strip() else None
    with sessions.writing(desk.engine) as session:
        operating.pause(
            session,
            _chosen(public_id),
            until=ends_at,
            actor=person.actor,
            source=person.actor,
            now=desk.clock(),
        )
    return _done(request, public_id, "The reader is paused, and will have missed nothing.")


@router.post("/readers/{public_id}/resume")
def resume(desk: Desk, person: Signed, request: Request, public_id: PublicId) -> Response:
    """End the reader's pause."""
    with sessions.writing(desk.engine) as session:
        operating.resume(
            session,
            _chosen(public_id),
            actor=person.actor,
            source=person.actor,
            now=desk.clock(),
        )
    return _done(request, public_id, "The pause is over.")


@router.post("/readers/{public_id}/unsubscribe")
def unsubscribe(desk: Desk, person: Signed, request: Request, public_id: PublicId) -> Response:
    """End the reader's consent."""
    with sessions.writing(desk.engine) as session:
        came_to = operating.unsubscribe(
            session,
            _chosen(public_id),
            actor=person.actor,
            source=person.actor,
            now=desk.clock(),
        )
    is_done = came_to is Goodbye.DONE
    return _done(
        request,
        public_id,
        "The reader is unsubscribed." if is_done else "The reader got no mail already.",
    )


@router.post("/readers/{public_id}/address")
def ask_for_address(
    desk: Desk, person: Signed, request: Request, public_id: PublicId, address: Text
) -> Response:
    """Ask the owner of a new address by a letter to confirm it."""
    spelled = addresses.normalise(address)
    with sessions.writing(desk.engine) as session:
        operating.ask_for_address(
            session,
            _chosen(public_id),
            spelled,
            actor=person.actor,
            publication=desk.publication,
            now=desk.clock(),
        )
    said = "A letter asks the owner of the new address to confirm it. Mail goes to the old one yet."
    return _done(request, public_id, said)


@router.get("/readers/{public_id}/forget")
def ask(desk: Desk, request: Request, public_id: PublicId) -> HTMLResponse:
    """Ask once more before an erasure."""
    return _show(desk, request, public_id, "reader_forget")


@router.post("/readers/{public_id}/forget")
def forget(desk: Desk, person: Signed, request: Request, public_id: PublicId) -> Response:
    """Erase the person everywhere, for good."""
    with sessions.writing(desk.engine) as session:
        reader = operating.found(session, _chosen(public_id), ends=None)
        gone = operating.forget(
            session,
            reader.address,
            actor=person.actor,
            now=desk.clock(),
            keyring=desk.publication.keyring,
        )
    said = (
        f"The reader is forgotten: {counted(gone.consents, 'consent')} erased, "
        f"{counted(gone.deliveries, 'delivery', 'deliveries')} without a name now."
    )
    if not erasure.sweep(desk.engine):
        said += " The database is being read: their data leaves its log with the next checkpoint."
    return dependencies.done(request, "/readers", said)


def _show(desk: DeskContext, request: Request, public_id: str, name: str) -> HTMLResponse:
    with sessions.reading(desk.engine) as session:
        reader = operating.found(session, _chosen(public_id), ends=None)
        known = facts.read(
            session,
            reader.address,
            publication=desk.publication,
            limits=desk.limits,
            now=desk.clock(),
        )
    return dependencies.page(
        request,
        name,
        reader=reader,
        page=explained.of(known),
        reads=reader.status in {Status.ACTIVE, Status.PAUSED},
        held=known.suppression,
        cadences=list(Cadence),
    )


def _chosen(public_id: str) -> ColumnElement[bool]:
    return store.with_public_id(public_id)


def _start_of(text: str, desk: DeskContext) -> datetime:
    """Return the start of a day in the publication's time zone; raises InvalidInput."""
    try:
        day = date.fromisoformat(text.strip())
        return datetime.combine(day, time(), tzinfo=desk.settings.zone).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise InvalidInput("That is no day.", hint=f"Write it as: {desk.clock():%Y-%m-%d}") from exc


def _done(request: Request, public_id: str, sentence: str) -> Response:
    return dependencies.done(request, f"/readers/{public_id}", sentence)
