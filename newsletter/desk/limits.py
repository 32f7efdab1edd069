"""The sizes of the bodies that the desk takes: forms, articles of an editor, and sheets."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from newsletter.web.middleware import BodyLimit

#: Maximum octets of a form; an announcement is the largest.
MAXIMUM_FORM = 512_000
#: Maximum octets of an uploaded file: a sheet of about a million rows, or a mail server's log.
MAXIMUM_FILE = 64_000_000
#: Maximum octets of a log that is uploaded compressed; real ones shrink to a tenth or twentieth.
MAXIMUM_UNPACKED = 20 * MAXIMUM_FILE
#: The paths that take files.
_FILES = ("/readers/import", "/delivery/reconcile")


class UploadLimit:
    """Limits the size of a body by the path, with 413."""

    def __init__(self, app: ASGIApp) -> None:
        self._forms = BodyLimit(app, maximum=MAXIMUM_FORM)
        self._files = BodyLimit(app, maximum=MAXIMUM_FILE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its limit."""
        is_file = scope["type"] == "http" and scope["path"] in _FILES
        await (self._files if is_file else self._forms)(scope, receive, send)
