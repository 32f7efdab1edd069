"""Who is at the other end of a connection: a trusted proxy, or a machine of some network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from newsletter.web.network import networks, normalise

#: How proxies name their client: the one header that is read, and two that are not.
_READ = "x-forwarded-for"
_NOT_READ = ("forwarded", "x-real-ip")


def home(host: str) -> str:
    """Return the smallest network whose connections are one peer's: of IPv6, a /64."""
    return networks(normalise(host))[-1].name


class Proxies:
    """The proxies whose word about their clients counts: addresses and networks."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ip_network(one) for one in networks]

    def __contains__(self, host: str) -> bool:
        found = normalise(host)
        return found is not None and any(ip_address(found) in one for one in self._networks)


def notice(peer: str, headers: Headers, proxies: Proxies) -> str | None:
    """Return what the operator has to know of a request that came by a proxy, if anything.

    Without it, one limit and one address in the records of consent would stand for everybody.
    """
    named = [name for name in (_READ, *_NOT_READ) if name in headers]
    if not named or (peer in proxies and _READ in named):
        return None
    all_one = "so limits and records of consent take all who come from there for one"
    if peer in proxies:
        return f"{peer} sends {named[0].title()} and no X-Forwarded-For, {all_one}."
    return (
        f"{peer} sends {named[0].title()} and is not in trusted_proxies, {all_one}. If that is "
        f'your web server, write trusted_proxies = ["{peer}"]; if it is a stranger, do nothing.'
    )


class ProxyNotice:
    """Says once, for the first request that asks for it, what is wrong with a proxy."""

    def __init__(self, app: ASGIApp, proxies: Proxies, *, say: Callable[[str], object]) -> None:
        self._app = app
        self._proxies = proxies
        self._say: Callable[[str], object] | None = say

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look at the peer as it is, before a proxy's word for it is taken."""
        if self._say and scope["type"] == "http" and scope.get("client"):
            sentence = notice(scope["client"][0], Headers(scope=scope), self._proxies)
            if sentence:
                self._say(sentence)
                self._say = None
        await self._app(scope, receive, send)
