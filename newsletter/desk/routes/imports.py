"""Importing readers from a file, with a look at what it does first; and exporting them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Path, Request, UploadFile
from fastapi.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from starlette.datastructures import FormData

from newsletter import audit
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.desk import dependencies, paging
from newsletter.desk.dependencies import Desk, Signed
from newsletter.desk.uploads import Upload
from newsletter.errors import Conflict, InvalidInput, NotFound
from newsletter.models import Status
from newsletter.subscribers import exports

router = APIRouter()

UploadId = Annotated[str, Path(pattern=r"^[\w-]{16}$", max_length=16)]
#: What a column can be read as, besides what its name says.
_FIELDS = (
    *("address", "cadence", "status", "subscribed", "confirmed", "active"),
    *("unsubscribed", "bounced", "complained", "blocked"),
)
_MOST_COLUMNS = 100
_CSV = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


async def _given(request: Request) -> FormData:
    """Return all fields of the form: a file's columns have a field each."""
    return await request.form()


Given = Annotated[FormData, Depends(_given)]


@router.get("/readers/import")
def show(desk: Desk, request: Request) -> HTMLResponse:
    """Show the form that uploads a file, and the files of the last day."""
    uploads = desk.importing.uploads
    uploads.prune(desk.clock())
    return dependencies.page(request, "imports", uploads=uploads.all())


@router.post("/readers/import")
def receive(desk: Desk, person: Signed, request: Request, file: UploadFile) -> Response:
    """Keep a file for a day, and look at what it would do."""
    one = desk.importing.uploads.add(
        file.file, name=file.filename or "", by=person.actor, now=desk.clock()
    )
    desk.importing.remove_later(one)
    desk.importing.look(one)
    return dependencies.done(request, f"/readers/imports/{one.id}", "Nothing is imported yet.")


@router.get("/readers/imports/{upload_id}")
def look(desk: Desk, request: Request, upload_id: UploadId) -> HTMLResponse:
    """Show what a file would do, does or has done."""
    importing = desk.importing
    upload = importing.uploads.get(upload_id)
    return dependencies.page(
        request,
        "import",
        upload=upload,
        is_running=importing.is_running(upload),
        is_interrupted=importing.is_interrupted(upload),
        columns=_columns(upload),
        fields=_FIELDS,
        cadences=list(Cadence),
        has_refused=importing.uploads.refused(upload).exists(),
    )


@router.post("/readers/imports/{upload_id}")
def decide(
    desk: Desk, person: Signed, request: Request, upload_id: UploadId, form: Given
) -> Response:
    """Look again with other choices, or import the file with them."""
    importing, here = desk.importing, f"/readers/imports/{upload_id}"
    upload = importing.uploads.get(upload_id)
    if importing.is_running(upload):
        return dependencies.done(request, here, "The file is being read.")
    is_same = _choose(upload, form)
    if form.get("do") != "import":
        importing.look(upload)
        return dependencies.done(request, here, "Nothing is imported yet.")
    if "added" not in (upload.preview or {}):
        raise Conflict("Nobody has looked at what this import would do.", hint="Look first.")
    if not is_same:
        importing.look(upload)
        return dependencies.done(request, here, "The choices are new: look at what they do first.")
    importing.start(upload, actor=person.actor)
    return dependencies.done(request, here, "The import has begun.")


@router.post("/readers/imports/{upload_id}/discard")
def discard(desk: Desk, request: Request, upload_id: UploadId) -> Response:
    """Delete a file, and all that is known about it."""
    upload = desk.importing.uploads.get(upload_id)
    if desk.importing.is_running(upload):
        raise Conflict("This file is being read.", hint="Wait until that is over.")
    desk.importing.uploads.remove(upload.id)
    return dependencies.done(request, "/readers/import", "The file is deleted.")


@router.get("/readers/imports/{upload_id}/refused.csv")
def refused(desk: Desk, upload_id: UploadId) -> Response:
    """Return the lines that were refused, to be mended and imported."""
    uploads = desk.importing.uploads
    path = uploads.refused(uploads.get(upload_id))
    if not path.exists():
        raise NotFound("No line was refused.")
    return FileResponse(path, media_type="text/csv", filename="refused.csv", headers=_CSV)


@router.get("/readers/export")
def ask(request: Request) -> HTMLResponse:
    """Show the form that exports readers."""
    return dependencies.page(request, "export", cadences=list(Cadence), statuses=list(Status))


@router.post("/readers/export")
def export(
    desk: Desk,
    person: Signed,
    status: Annotated[Status | None, Form(), paging.EMPTY] = None,
    cadence: Annotated[Cadence | None, Form(), paging.EMPTY] = None,
) -> Response:
    """Return readers as CSV, as `newsletter subscribers export` writes them."""
    now = desk.clock()
    with sessions.writing(desk.engine) as session:
        chosen = ", ".join(filter(None, [cadence, status])) or "all readers"
        subjects = {"readers": chosen}
        audit.record(session, "subscribers.export", subjects, actor=person.actor, at=now)

    def pieces() -> Iterator[str]:
        with sessions.reading(desk.engine) as session:
            for text, _ in exports.pieces(session, status=status, cadence=cadence):
                yield text

    name = f"readers-{now.astimezone(desk.settings.zone):%Y-%m-%d}.csv"
    headers = {**_CSV, "Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces(), media_type="text/csv; charset=utf-8", headers=headers)


def _choose(upload: Upload, form: FormData) -> bool:
    """Take the choices of the form; return whether they are those of the preview.

    Raises InvalidInput for two columns that are to be read as the same field.
    """
    before = (upload.cadence, upload.confirmed, dict(upload.read), list(upload.ignored))
    read: dict[str, str] = {}
    ignored = []
    for number, column in enumerate((upload.preview or {}).get("columns", [])[:_MOST_COLUMNS]):
        wanted = form.get(f"as-{number}")
        if wanted == "-":
            ignored.append(column["name"])
        elif wanted in _FIELDS:
            if str(wanted) in read:
                raise InvalidInput(f"Two columns cannot both be read as {wanted}.")
            read[str(wanted)] = column["name"]
    if form.get("cadence") in set(Cadence):
        upload.cadence = str(form["cadence"])
    upload.confirmed = form.get("confirmed") == "true"
    upload.read, upload.ignored = read, ignored
    return before == (upload.cadence, upload.confirmed, read, ignored)


def _columns(upload: Upload) -> list[dict[str, str]]:
    """Return the columns of a file, with what the operator has chosen for each."""
    chosen = {name: wanted for wanted, name in upload.read.items()}
    chosen |= dict.fromkeys(upload.ignored, "-")
    listed = (upload.preview or {}).get("columns", [])[:_MOST_COLUMNS]
    return [{**one, "chosen": chosen.get(one["name"], "")} for one in listed]
