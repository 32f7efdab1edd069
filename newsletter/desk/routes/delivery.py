"""The queue: what waits and why, limits, relays, workers, and deliveries that are uncertain."""

from __future__ import annotations

from io import BufferedReader
from typing import Annotated, Any, cast

from fastapi import APIRouter, Form, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from newsletter.db import session as sessions
from newsletter.desk import dependencies
from newsletter.desk.dependencies import Desk, Signed
from newsletter.desk.limits import MAXIMUM_UNPACKED
from newsletter.desk.pages import counted
from newsletter.editions import lifecycle
from newsletter.ledger import logfile, reconcile
from newsletter.models import State
from newsletter.sender import overview, waiting

router = APIRouter()

_HERE = "/delivery"


@router.get(_HERE)
def show(desk: Desk, request: Request) -> HTMLResponse:
    """Show the state of sending."""
    now, zone = desk.clock(), desk.settings.zone
    with sessions.reading(desk.engine) as session:
        look = overview.look(session, limits=desk.limits, now=now)
    kinds = sorted({kind for kind, _ in look.books})
    return dependencies.page(
        request,
        "delivery",
        look=look,
        kinds=kinds,
        states=[state for state in State if any((kind, state) in look.books for kind in kinds)],
        waits=[
            {"one": one, "sentence": waiting.sentences([one], zone=zone, now=now)}
            for one in look.waiting
        ],
        relays=[str(server) for server in desk.settings.smtp_servers()],
        limits=desk.limits,
        connections=desk.settings.smtp_connections,
    )


@router.post(f"{_HERE}/retry")
def retry(
    desk: Desk,
    request: Request,
    person: Signed,
    id: Annotated[int | None, Form(ge=1, le=2**63 - 1)] = None,  # noqa: A002 - the field's name
) -> RedirectResponse:
    """Make one delivery, or all uncertain ones, due now."""
    asked, retried = lifecycle.retry(
        desk.engine,
        ids=[] if id is None else [id],
        state=State.UNKNOWN if id is None else None,
        edition=None,
        now=desk.clock(),
        times=desk.settings.send_times,
        actor=person.actor,
    )
    rest = (
        " The others are of readers who have left, or of editions that are over."
        if retried < asked
        else ""
    )
    said = f"{retried:,} of {counted(asked, 'delivery', 'deliveries')} will be sent again.{rest}"
    return dependencies.done(request, _HERE, said)


@router.post(f"{_HERE}/reconcile")
def settle(
    desk: Desk,
    request: Request,
    person: Signed,
    log: UploadFile,
    settled: Annotated[bool, Form()] = False,  # noqa: FBT002 - a field
) -> Response:
    """Show what the mail server's log says of uncertain deliveries, or settle them by it."""
    stream = BufferedReader(cast("Any", log.file))
    try:
        with logfile.unpacked(
            stream, name=log.filename or "the file", at_most=MAXIMUM_UNPACKED
        ) as lines:
            tally = reconcile.run(
                desk.engine,
                lines,
                now=desk.clock(),
                actor=person.actor,
                is_rehearsal=not settled,
            )
    finally:
        stream.detach()
    if settled:
        lifecycle.finish(desk.engine, now=desk.clock())
        said = f"{counted(tally.accepted, 'delivery was', 'deliveries were')} accepted by the log."
        return dependencies.done(request, _HERE, said)
    return dependencies.page(request, "reconcile", tally=tally, file=log.filename)
