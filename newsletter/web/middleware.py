"""Middleware for all requests: HTTP methods, limit of the body, security headers, even timing.

The middleware is plain ASGI around the framework, so that responses of every kind pass through it.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Collection, Mapping
from urllib.parse import quote

from fastapi import HTTPException
from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Maximum octets of a request's body; forms have some hundred.
MAXIMUM_BODY = 16_384

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), interest-cohort=(), microphone=()",
}
#: Default headers, for responses that do not set them.
_DEFAULTS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
#: Paths that the box on other sites requests; their responses have no personal data.
_FOR_THE_BOX = ("/embed.js", "/proof.js", "/subscriptions")
_ANYWHERE = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
# Characters that no part of a link has: punctuation and white space, also escaped for URLs, HTML or
# quoted-printable. Quantifiers are possessive, so that a path of any length takes linear time.
_ADDED = r"(?:&#?\w{1,8};?|[%=][0-9A-Fa-f]{2}|[^\w-])*+"
_ONLY_ADDED = re.compile(_ADDED, re.ASCII)
_PART = re.compile(rf"{_ADDED}([\w-]++(?:\.[\w-]++)*+){_ADDED}", re.ASCII)


#: Marks the scope of a HEAD request, which a route gets as GET.
_IS_HEAD = "newsletter.is_head"


def is_head(scope: Scope) -> bool:
    """Return whether a request that a route got as GET was HEAD."""
    return _IS_HEAD in scope


class SafeHeaders:
    """Adds security headers against framing, MIME sniffing, caching and leaking of URLs."""

    def __init__(
        self, app: ASGIApp, *, is_https: bool, referrer_policy: str = "no-referrer"
    ) -> None:
        self._app = app
        self._headers = {**_HEADERS, "Referrer-Policy": referrer_policy}
        if is_https:
            self._headers["Strict-Transport-Security"] = "max-age=15552000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to the response."""

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                if scope["path"].startswith(_FOR_THE_BOX):
                    headers.update(_ANYWHERE)
                for name, value in _DEFAULTS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_safely)


class CleanLinks:
    """Removes characters that mail clients or people append to a link: `TOKEN).`, `TOKEN/`.

    Rewrites the path without a redirect, which a one-click POST must not get (RFC 8058).
    """

    def __init__(self, app: ASGIApp, routes: Collection[APIRoute]) -> None:
        self._app = app
        self._folders = {route.path.split("/")[1] for route in routes if "/{token}" in route.path}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with the cleaned path."""
        if scope["type"] == "http" and (path := self._clean(scope["path"])) != scope["path"]:
            scope = {**scope, "path": path, "raw_path": quote(path).encode()}
        await self._app(scope, receive, send)

    def _clean(self, path: str) -> str:
        folder, *parts = path.lstrip("/").split("/")
        if folder not in self._folders or not parts or not _PART.fullmatch(parts[0]):
            return path
        kept = [part for part in parts if not _ONLY_ADDED.fullmatch(part)]
        bare = [found[1] if (found := _PART.fullmatch(part)) else part for part in kept]
        return "/".join(["", folder, *bare])


class Methods:
    """Handles HEAD as GET without the body, and OPTIONS with the methods of the path."""

    def __init__(self, app: ASGIApp, routes: Collection[APIRoute]) -> None:
        self._app = app
        self._routes = [(route.path_regex, frozenset(route.methods or ())) for route in routes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle HEAD and OPTIONS, and pass on the rest."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        allowed = self._allowed(scope["path"])
        if scope["method"] == "OPTIONS" and allowed:
            await _answer_options(send, allowed)
        elif scope["method"] == "HEAD" and "GET" in allowed:
            scope = {**scope, "method": "GET", _IS_HEAD: True}
            await self._app(scope, receive, _without_body(send))
        else:
            await self._app(scope, receive, _with_allow(send, allowed))

    def _allowed(self, path: str) -> list[str]:
        found = {name for regex, names in self._routes if regex.match(path) for name in names}
        if not found:
            return []
        return sorted(found | {"OPTIONS"} | ({"HEAD"} if "GET" in found else set()))


async def _answer_options(send: Send, allowed: list[str]) -> None:
    headers = [(b"allow", ", ".join(allowed).encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 204, "headers": headers[:1]})
    await send({"type": "http.response.body", "body": b""})


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head


def _with_allow(send: Send, allowed: list[str]) -> Send:
    """Send all methods of a path in Allow with 405; the framework sends those of one route."""

    async def send_allow(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 405 and allowed:
            MutableHeaders(scope=message)["Allow"] = ", ".join(allowed)
        await send(message)

    return send_allow


class BodyLimit:
    """Limits the size of a body that a route reads, with 413."""

    def __init__(self, app: ASGIApp, *, maximum: int = MAXIMUM_BODY) -> None:
        self._app = app
        self._maximum = maximum

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the octets that are read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        read = int(announced) if announced.isdecimal() and len(announced) < 16 else 0
        is_too_large, read = read > self._maximum, 0

        async def receive_some() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if message["type"] == "http.request" and (is_too_large or read > self._maximum):
                raise HTTPException(413, "That is more than a form has.")
            return message

        await self._app(scope, receive_some, send)


def rest(spent: float, step: float) -> float:
    """Return the seconds until the next multiple of `step`, which is at least one step."""
    return max(1, math.ceil(spent / step)) * step - spent


class EvenPace:
    """Delays responses to sign-ups to a multiple of a fixed step, against timing side channels.

    The duration of a sign-up depends slightly on whether the address is known; the step is longer.
    """

    def __init__(self, app: ASGIApp, *, step_seconds: float, paths: Mapping[str, str]) -> None:
        self._app = app
        self._step = step_seconds
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Delay the response until the step has ended."""
        if scope["type"] != "http" or not self._is_paced(scope):
            await self._app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def send_later(message: Message) -> None:
            if message["type"] == "http.response.start":
                await asyncio.sleep(rest(loop.time() - began, self._step))
            await send(message)

        await self._app(scope, receive, send_later)

    def _is_paced(self, scope: Scope) -> bool:
        path, method = scope["path"], scope["method"]
        return self._step > 0 and any(
            method == "POST" and path.startswith(start) and path.endswith(end)
            for start, end in self._paths.items()
        )
