"""The peer of a connection: a trusted proxy, or a client of some network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from newsletter.web.network import networks, normalise

#: Headers in which proxies send the client's address: the one that we read, and two that we do not.
_READ = "x-forwarded-for"
_NOT_READ = ("forwarded", "x-real-ip")


def home(host: str) -> str:
    """Return the smallest network that counts as one client: the address, or an IPv6 /64."""
    return networks(normalise(host))[-1].name


class Proxies:
    """The trusted proxies, as addresses and networks."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ip_network(one) for one in networks]

    def __contains__(self, host: str) -> bool:
        found = normalise(host)
        return found is not None and any(ip_address(found) in one for one in self._networks)


def notice(peer: str, headers: Headers, proxies: Proxies) -> str | None:
    """Return a notice for the operator if a request came through a misconfigured proxy.

    Otherwise all clients of the proxy would share one rate limit and one address in the records of
    consent, unnoticed.
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
    """Logs the notice about a misconfigured proxy, once per process."""

    def __init__(self, app: ASGIApp, proxies: Proxies, *, say: Callable[[str], object]) -> None:
        self._app = app
        self._proxies = proxies
        self._say: Callable[[str], object] | None = say

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the peer's own address, before it is replaced by the one in X-Forwarded-For."""
        if self._say and scope["type"] == "http" and scope.get("client"):
            sentence = notice(scope["client"][0], Headers(scope=scope), self._proxies)
            if sentence:
                self._say(sentence)
                self._say = None
        await self._app(scope, receive, send)
