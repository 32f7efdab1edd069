from __future__ import annotations

import asyncio

import pytest
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from newsletter.web import peers
from newsletter.web.peers import Proxies, ProxyNotice

PROXIES = Proxies(["127.0.0.1/32", "10.0.0.0/8", "2001:db8:1::/48"])


def test_a_home_network_is_one_peer_and_its_neighbour_another() -> None:
    assert peers.home("2001:db8:1:2::3") == peers.home("2001:db8:1:2:ffff::4%eth0")
    assert peers.home("2001:db8:1:2::3") != peers.home("2001:db8:1:3::3")
    assert peers.home("192.0.2.7") == peers.home("::ffff:192.0.2.7")
    assert peers.home("192.0.2.7") != peers.home("192.0.2.8")


@pytest.mark.parametrize("host", ["127.0.0.1", "::ffff:127.0.0.1", "10.9.8.7", "2001:db8:1:2::3"])
def test_a_proxy_is_known_in_every_form_of_its_address(host: str) -> None:
    assert host in PROXIES


@pytest.mark.parametrize("host", ["127.0.0.2", "::1", "2001:db8:2::1", "", "localhost"])
def test_nobody_else_is_a_proxy(host: str) -> None:
    assert host not in PROXIES


@pytest.mark.parametrize(
    ("peer", "headers", "sentence"),
    [
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.7"}, None),
        ("127.0.0.1", {}, None),
        ("192.0.2.9", {"Via": "1.1 nginx"}, None),
        ("192.0.2.9", {"X-Forwarded-For": "192.0.2.7"}, 'trusted_proxies = ["192.0.2.9"]'),
        ("192.0.2.9", {"Forwarded": "for=192.0.2.7"}, "192.0.2.9 sends Forwarded and is not in"),
        ("192.0.2.9", {"X-Real-IP": "192.0.2.7"}, 'trusted_proxies = ["192.0.2.9"]'),
        ("127.0.0.1", {"Forwarded": "for=192.0.2.7"}, "127.0.0.1 sends Forwarded and no X-Forw"),
        ("127.0.0.1", {"X-Real-Ip": "1.2.3.4", "X-Forwarded-For": "1.2.3.4"}, None),
    ],
)
def test_an_untrusted_proxy_is_reported_with_the_setting(
    peer: str, headers: dict[str, str], sentence: str | None
) -> None:
    found = peers.notice(peer, Headers(headers), PROXIES)

    assert (sentence or "") in (found or "")
    assert (found is None) == (sentence is None)


def test_the_notice_is_logged_once_per_process() -> None:
    said: list[str] = []
    asked: list[str] = []

    async def application(scope: Scope, _receive: Receive, _send: Send) -> None:
        asked.append(scope["type"])

    async def nothing(*_: Message) -> Message:
        return {}

    async def ask() -> None:
        app = ProxyNotice(application, PROXIES, say=said.append)
        for host in ("127.0.0.1", "192.0.2.9", "192.0.2.9", "192.0.2.10"):
            headers = [(b"x-forwarded-for", b"192.0.2.7")]
            scope = {"type": "http", "client": (host, 4711), "headers": headers}
            await app(scope, nothing, nothing)
        await app({"type": "lifespan"}, nothing, nothing)
        await app({"type": "http", "client": None, "headers": []}, nothing, nothing)

    asyncio.run(ask())

    assert asked == ["http"] * 4 + ["lifespan", "http"]
    assert [line.partition(" ")[0] for line in said] == ["192.0.2.9"]
