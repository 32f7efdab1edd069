"""The sizes of the bodies that the desk takes: forms, articles of an editor, and sheets."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from newsletter.web.middleware import BodyLimit

#: Maximum octets of a form; an announcement is the largest.
MAXIMUM_FORM = 512_000
#: Maximum octets of an uploaded sheet: about a million rows.
MAXIMUM_SHEET = 64_000_000
#: The path that takes sheets.
_SHEETS = "/readers/import"


class UploadLimit:
    """Limits the size of a body by the path, with 413."""

    def __init__(self, app: ASGIApp) -> None:
        self._forms = BodyLimit(app, maximum=MAXIMUM_FORM)
        self._sheets = BodyLimit(app, maximum=MAXIMUM_SHEET)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its limit."""
        is_sheet = scope["type"] == "http" and scope["path"] == _SHEETS
        await (self._sheets if is_sheet else self._forms)(scope, receive, send)
