"""Importing readers from a sheet, with a look at what it does first; and exporting them."""

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
from newsletter.desk.sheets import Sheet
from newsletter.errors import Conflict, InvalidInput, NotFound
from newsletter.models import Status
from newsletter.subscribers import exports

router = APIRouter()

SheetId = Annotated[str, Path(pattern=r"^[\w-]{16}$", max_length=16)]
#: What a column can be read as, besides what its name says.
_FIELDS = (
    *("address", "cadence", "status", "subscribed", "confirmed", "active"),
    *("unsubscribed", "bounced", "complained", "blocked"),
)
_MOST_COLUMNS = 100
_CSV = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


async def _given(request: Request) -> FormData:
    """Return all fields of the form: a sheet's columns have a field each."""
    return await request.form()


Given = Annotated[FormData, Depends(_given)]


@router.get("/readers/import")
def show(desk: Desk, request: Request) -> HTMLResponse:
    """Show the form that uploads a sheet, and the sheets of the last day."""
    return dependencies.page(request, "imports", sheets=desk.importing.sheets.all())


@router.post("/readers/import")
def upload(desk: Desk, person: Signed, request: Request, sheet: UploadFile) -> Response:
    """Keep a sheet for a day, and look at what it would do."""
    one = desk.importing.sheets.add(
        sheet.file, name=sheet.filename or "", by=person.actor, now=desk.clock()
    )
    desk.importing.look(one)
    return dependencies.done(request, f"/readers/imports/{one.id}", "Nothing is imported yet.")


@router.get("/readers/imports/{sheet_id}")
def look(desk: Desk, request: Request, sheet_id: SheetId) -> HTMLResponse:
    """Show what a sheet would do, does or has done."""
    importing = desk.importing
    sheet = importing.sheets.get(sheet_id)
    return dependencies.page(
        request,
        "import",
        sheet=sheet,
        is_running=importing.is_running(sheet),
        is_interrupted=importing.is_interrupted(sheet),
        columns=_columns(sheet),
        fields=_FIELDS,
        cadences=list(Cadence),
        has_refused=importing.sheets.refused(sheet).exists(),
    )


@router.post("/readers/imports/{sheet_id}")
def decide(
    desk: Desk, person: Signed, request: Request, sheet_id: SheetId, form: Given
) -> Response:
    """Look again with other choices, or import the sheet with them."""
    importing, here = desk.importing, f"/readers/imports/{sheet_id}"
    sheet = importing.sheets.get(sheet_id)
    if importing.is_running(sheet):
        return dependencies.done(request, here, "The sheet is being read.")
    is_same = _choose(sheet, form)
    if form.get("do") != "import":
        importing.look(sheet)
        return dependencies.done(request, here, "Nothing is imported yet.")
    if "added" not in (sheet.preview or {}):
        raise Conflict("Nobody has looked at what this import would do.", hint="Look first.")
    if not is_same:
        importing.look(sheet)
        return dependencies.done(request, here, "The choices are new: look at what they do first.")
    importing.start(sheet, actor=person.actor)
    return dependencies.done(request, here, "The import has begun.")


@router.post("/readers/imports/{sheet_id}/discard")
def discard(desk: Desk, request: Request, sheet_id: SheetId) -> Response:
    """Delete a sheet, and all that is known about it."""
    sheet = desk.importing.sheets.get(sheet_id)
    desk.importing.sheets.remove(sheet.id)
    return dependencies.done(request, "/readers/import", "The sheet is deleted.")


@router.get("/readers/imports/{sheet_id}/refused.csv")
def refused(desk: Desk, sheet_id: SheetId) -> Response:
    """Return the lines that were refused, to be mended and imported."""
    sheets = desk.importing.sheets
    path = sheets.refused(sheets.get(sheet_id))
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


def _choose(sheet: Sheet, form: FormData) -> bool:
    """Take the choices of the form; return whether they are those of the preview.

    Raises InvalidInput for two columns that are to be read as the same field.
    """
    before = (sheet.cadence, sheet.confirmed, dict(sheet.read), list(sheet.ignored))
    read: dict[str, str] = {}
    ignored = []
    for number, column in enumerate((sheet.preview or {}).get("columns", [])[:_MOST_COLUMNS]):
        wanted = form.get(f"as-{number}")
        if wanted == "-":
            ignored.append(column["name"])
        elif wanted in _FIELDS:
            if str(wanted) in read:
                raise InvalidInput(f"Two columns cannot both be read as {wanted}.")
            read[str(wanted)] = column["name"]
    if form.get("cadence") in set(Cadence):
        sheet.cadence = str(form["cadence"])
    sheet.confirmed = form.get("confirmed") == "true"
    sheet.read, sheet.ignored = read, ignored
    return before == (sheet.cadence, sheet.confirmed, read, ignored)


def _columns(sheet: Sheet) -> list[dict[str, str]]:
    """Return the columns of a sheet, with what the operator has chosen for each."""
    chosen = {name: wanted for wanted, name in sheet.read.items()}
    chosen |= dict.fromkeys(sheet.ignored, "-")
    listed = (sheet.preview or {}).get("columns", [])[:_MOST_COLUMNS]
    return [{**one, "chosen": chosen.get(one["name"], "")} for one in listed]
