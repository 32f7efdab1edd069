"""Hooks: providers post their events here, each to a path of its own with a secret at its end.

What comes is verified before anything else, and answered with 200 when it is committed: until then
the provider keeps it, and posts it again. A stranger is told nothing.
"""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from newsletter.feedback.providers.request import Cause, HookRequest, Rejected, is_same
from newsletter.web import dependencies
from newsletter.web.dependencies import WebContext
from newsletter.web.hooks import Hook
from newsletter.web.middleware import HOOKS

router = APIRouter(include_in_schema=False)

#: By 503 a provider is told to try again; some do so whatever is not answered by 200.
_STATUSES = {Cause.PATH: 404, Cause.TOO_LARGE: 413, Cause.UNREACHABLE: 503}
_REFUSED = 403


@router.post(f"{HOOKS}{{provider}}/{{secret}}")
async def take(request: Request) -> Response:
    """Verify a request, and answer when what it reports is committed."""
    web = dependencies.web(request)
    hook = web.hooks.get(request.path_params["provider"])
    if hook is None:
        raise HTTPException(404)
    try:
        return await _take(web, hook, request)
    except Rejected as exc:
        peer = request.client.host if request.client else ""
        web.report_writer.reject(hook.source, exc.cause, peer)
        status = _STATUSES.get(exc.cause, _REFUSED)
        headers = {"Retry-After": "30"} if status == 503 else None
        raise HTTPException(status, headers=headers) from None


async def _take(web: WebContext, hook: Hook, request: Request) -> Response:
    if not is_same(web.settings.hook_secret or "", request.path_params["secret"]):
        raise Rejected(Cause.PATH)
    received = HookRequest(request.headers, await _body(request))
    await hook.verify(received, web.clock())
    await web.report_writer.write(partial(hook.read, received))
    return Response()


async def _body(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect:
        raise HTTPException(400) from None
    except HTTPException as exc:
        raise Rejected(Cause.TOO_LARGE) from exc
