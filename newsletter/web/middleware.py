"""What holds for every request: which methods a path has, how large a body may be, safe headers.

Plain ASGI, around the framework, so that answers of every kind pass through it.
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

#: The octets of a request's body that are read; forms have some hundred.
MAXIMUM_BODY = 16_384

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), interest-cohort=(), microphone=()",
}
#: What an answer has that says nothing else.
_DEFAULTS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
#: What the box on any other page asks for; nothing here knows who its reader is.
_FOR_THE_BOX = ("/embed.js", "/proof.js", "/subscriptions")
_ANYWHERE = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
# What no part of a link has: punctuation, white space, and either of them escaped for a URL, for
# HTML or by quoted-printable. Possessive, so that a path of any length takes linear time.
_ADDED = r"(?:&#?\w{1,8};?|[%=][0-9A-Fa-f]{2}|[^\w-])*+"
_ONLY_ADDED = re.compile(_ADDED, re.ASCII)
_PART = re.compile(rf"{_ADDED}([\w-]++(?:\.[\w-]++)*+){_ADDED}", re.ASCII)


class SafeHeaders:
    """Sends the headers that keep pages from being framed, sniffed, cached or leaked."""

    def __init__(self, app: ASGIApp, *, is_https: bool) -> None:
        self._app = app
        self._headers = dict(_HEADERS)
        if is_https:
            self._headers["Strict-Transport-Security"] = "max-age=15552000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add them to the answer."""

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
    """Takes from a reader's link what a mail program or a hand has added: `TOKEN).`, `TOKEN/`.

    The request goes on as if the link had come whole, whatever its method: a one-click POST must
    not be answered with a redirect (RFC 8058).
    """

    def __init__(self, app: ASGIApp, routes: Collection[APIRoute]) -> None:
        self._app = app
        self._folders = {route.path.split("/")[1] for route in routes if "/{token}" in route.path}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its clean path."""
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
    """Answers HEAD as GET without its body, and OPTIONS by the methods that a path has."""

    def __init__(self, app: ASGIApp, routes: Collection[APIRoute]) -> None:
        self._app = app
        self._routes = [(route.path_regex, frozenset(route.methods or ())) for route in routes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what needs no route, and pass on the rest."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        allowed = self._allowed(scope["path"])
        if scope["method"] == "OPTIONS" and allowed:
            await _answer_options(send, allowed)
        elif scope["method"] == "HEAD" and "GET" in allowed:
            await self._app({**scope, "method": "GET"}, receive, _without_body(send))
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
    """Name all methods of a path where one is refused; the framework names those of one route."""

    async def send_allow(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 405 and allowed:
            MutableHeaders(scope=message)["Allow"] = ", ".join(allowed)
        await send(message)

    return send_allow


class BodyLimit:
    """Refuses to read a body that is too large; a route that reads none takes any."""

    def __init__(self, app: ASGIApp, *, maximum: int = MAXIMUM_BODY) -> None:
        self._app = app
        self._maximum = maximum

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what is read."""
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
    """Return how long it is until the next whole step, one step at least after the beginning."""
    return max(1, math.ceil(spent / step)) * step - spent


class EvenPace:
    """Lets answers to sign-ups leave at whole steps of time, so that their time tells nothing.

    What a sign-up takes depends a little on whose address it is: the step is longer than that.
    """

    def __init__(self, app: ASGIApp, *, step_seconds: float, paths: Mapping[str, str]) -> None:
        self._app = app
        self._step = step_seconds
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hold the answer back until the step is full."""
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
