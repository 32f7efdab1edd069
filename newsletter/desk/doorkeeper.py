"""Lets requests to the desk in: the host that was asked for, who is signed in, and the origin.

Plain ASGI around the framework, so that no route can be reached without it. A request that is not
let in costs no parsing of its body.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from newsletter.db import session as sessions
from newsletter.desk import access
from newsletter.desk.access import Person
from newsletter.errors import DatabaseUnavailable, SchemaOutOfDate
from newsletter.settings import Settings
from newsletter.web.network import normalise
from newsletter.web.peers import Proxies

#: Paths that anybody may request; a link to sign in proves itself.
_OPEN = re.compile(r"/(healthz|sign-in|login/[\w-]{1,100}|desk-[0-9a-f]{12}\.(css|js))", re.ASCII)
#: Open to monitoring, which asks by a network address; by a name only after signing in, since names
#: can be made to lead here from any site (DNS rebinding).
_MONITORED = ("/metrics", "/healthz")
_SAFE = ("GET", "HEAD")
_LOOPBACK = re.compile(r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?", re.ASCII)
_UNCACHED = {"Cache-Control": "no-store"}


class Doorkeeper:
    """Refuses foreign hosts and origins, and finds who is signed in."""

    def __init__(
        self, app: ASGIApp, *, engine: Engine, settings: Settings, clock: Callable[[], datetime]
    ) -> None:
        self._app = app
        self._engine = engine
        self._clock = clock
        public = urlsplit(settings.desk_url or "")
        self._public_host = public.netloc.lower()
        self._is_https = public.scheme == "https"
        self.cookie_name = cookie_name(settings)
        self._header = settings.desk_trusted_header
        self._peers = Proxies(settings.desk_trusted_peers)
        self._names = frozenset(settings.desk_trusted_names)
        self._key = settings.keyring().derive("desk csrf")[0] if self._header else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its person in the state, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        response = await self._judge(scope)
        await (response or self._app)(scope, receive, send)

    async def _judge(self, scope: Scope) -> Response | None:
        """Return the refusal of a request; None if it may pass, with its person in the state."""
        headers, path = Headers(scope=scope), scope["path"]
        is_safe = scope["method"] in _SAFE
        hosts = headers.getlist("host")
        host = hosts[0].lower() if len(hosts) == 1 else ""
        is_local = _LOOPBACK.fullmatch(host) is not None
        if path in _MONITORED and is_safe and (is_local or _is_address(host)):
            return None
        if not host or (not is_local and host != self._public_host):
            return _refused(421, "The desk does not answer for this host: set desk_url to it.")
        if not is_safe and not self._is_own_origin(headers, host):
            return _refused(403, "A form of another site cannot change anything here.")
        return None if _OPEN.fullmatch(path) else await self._sign(scope, headers, is_safe=is_safe)

    async def _sign(self, scope: Scope, headers: Headers, *, is_safe: bool) -> Response | None:
        """Put the person into the state; return a refusal if nobody is signed in."""
        try:
            person = await self._person(scope, headers)
        except (DatabaseUnavailable, SchemaOutOfDate, PoolTimeout):
            return _refused(503, "The database cannot be read.")
        if person is not None:
            scope.setdefault("state", {})["person"] = person
            return None
        if is_safe:
            return RedirectResponse("/sign-in", status_code=303, headers=_UNCACHED)
        return _refused(403, "You are not signed in.")

    def _is_own_origin(self, headers: Headers, host: str) -> bool:
        """Return whether a change comes from a page of this desk.

        Browsers send Origin with every POST (Fetch standard §3.2); without it, nothing is changed.
        """
        origins = headers.getlist("origin")
        scheme = "https" if host == self._public_host and self._is_https else "http"
        if origins != [f"{scheme}://{host}"]:
            return False
        return headers.get("sec-fetch-site", "same-origin") == "same-origin"

    async def _person(self, scope: Scope, headers: Headers) -> Person | None:
        if (named := self._trusted(scope, headers)) is not None:
            return named
        cookie = _cookie(headers, self.cookie_name)
        return await run_in_threadpool(self._find, cookie) if cookie else None

    def _find(self, cookie: str) -> Person | None:
        with sessions.reading(self._engine) as session:
            return access.find(session, cookie, now=self._clock())

    def _trusted(self, scope: Scope, headers: Headers) -> Person | None:
        """Return the person whom a trusted proxy names, exactly once, and who is on the list."""
        given = headers.getlist(self._header) if self._header else []
        peer = (scope.get("client") or ("",))[0]
        if len(given) != 1 or peer not in self._peers or given[0] not in self._names:
            return None
        return Person(name=given[0], csrf=access.csrf(self._key, given[0]))


def cookie_name(settings: Settings) -> str:
    """Return the name of the cookie; browsers take the prefix `__Host-` by TLS only (RFC 6265bis).

    On loopback, whose ports share their cookies, publications differ by their addresses.
    """
    if (settings.desk_url or "").startswith("https://"):
        return "__Host-newsletter-desk"
    return f"newsletter-desk-{access.csrf(settings.base_url, 'cookie')[:8]}"


def _cookie(headers: Headers, name: str) -> str | None:
    """Return the value of a cookie that was sent once; None otherwise.

    Other programs of this host may have set cookies of any spelling, on which SimpleCookie stops.
    """
    pairs = [pair.partition("=") for one in headers.getlist("cookie") for pair in one.split(";")]
    values = [value.strip() for key, _, value in pairs if key.strip() == name]
    return values[0] if len(values) == 1 else None


def _is_address(host: str) -> bool:
    """Return whether a Host header names a network address."""
    return normalise(host) is not None or normalise(host.strip("[]")) is not None


def _refused(status: int, sentence: str) -> Response:
    return PlainTextResponse(f"{sentence}\n", status_code=status, headers=_UNCACHED)
