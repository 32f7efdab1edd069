"""Hooks: providers post their events here, each to a path of its own with a secret at its end.

Requests are verified first, and answered with 200 only after their events are committed; until then
the provider retries. Responses to strangers contain no details.
"""

from __future__ import annotations

from functools import partial

from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from newsletter.errors import DatabaseUnavailable, SchemaOutOfDate
from newsletter.feedback.providers.request import Cause, HookRequest, Rejected, is_same
from newsletter.web.dependencies import WebContext
from newsletter.web.hooks import Hook

#: The path, before the provider's name and the secret.
FOLDER = "/hooks/"
#: Maximum octets of a body; batches of events have some hundred thousand.
MAXIMUM_BODY = 1_048_576
#: Statuses by cause, otherwise 403. A provider retries after 503; some retry after any status but
#: 200.
_STATUSES = {Cause.PATH: 404, Cause.TOO_LARGE: 413, Cause.UNREACHABLE: 503}
_REFUSED = 403
_RETRY = {"Retry-After": "30"}


class Hooks:
    """Answers requests of hooks, and passes on all others.

    It is plain ASGI in front of the framework, whose routing would cost half as much as an event.
    """

    def __init__(self, app: ASGIApp, web: WebContext) -> None:
        self._app = app
        self._web = web

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of a hook."""
        if scope["type"] != "http" or not scope["path"].startswith(FOLDER):
            await self._app(scope, receive, send)
            return
        answer = await self._answer(Request(scope, receive))
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        provider, _, secret = request.scope["path"].removeprefix(FOLDER).partition("/")
        hook = self._web.hooks.get(provider)
        if hook is None:
            return Response(status_code=404)
        if request.method != "POST":
            return Response(status_code=405, headers={"Allow": "POST"})
        try:
            await self._take(hook, secret, request)
        except Rejected as exc:
            peer = request.client.host if request.client else ""
            self._web.report_writer.reject(hook.source, exc.cause, peer)
            status = _STATUSES.get(exc.cause, _REFUSED)
            return Response(status_code=status, headers=_RETRY if status == 503 else None)
        except ClientDisconnect:
            return Response(status_code=400)
        except (DatabaseUnavailable, SchemaOutOfDate, PoolTimeout) as exc:
            self._web.outages.note("A provider's event could not be taken", exc)
            return Response(status_code=503, headers=_RETRY)
        return Response()

    async def _take(self, hook: Hook, secret: str, request: Request) -> None:
        """Verify a request, and return after its events are committed."""
        if not is_same(self._web.settings.hook_secret or "", secret):
            raise Rejected(Cause.PATH)
        received = HookRequest(request.headers, await _body(request))
        await hook.verify(received, self._web.clock())
        await self._web.report_writer.write(partial(hook.read, received))


async def _body(request: Request) -> bytes:
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or len(announced) > 7 or int(announced) > MAXIMUM_BODY:
        raise Rejected(Cause.TOO_LARGE)
    body = b""
    async for part in request.stream():
        body = body + part if body else part
        if len(body) > MAXIMUM_BODY:
            raise Rejected(Cause.TOO_LARGE)
    return body
