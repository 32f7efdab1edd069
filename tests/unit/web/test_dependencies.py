from __future__ import annotations

import pytest
from fastapi import Request

from newsletter.web import dependencies


def request(origin: str = "", host: str = "192.0.2.7") -> Request:
    headers = [(b"origin", origin.encode("latin-1"))] if origin else []
    return Request({"type": "http", "headers": headers, "client": (host, 1)})


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        ("https://miasfeed.example", "box on miasfeed.example"),
        ("HTTPS://MiasFeed.example:8443", "box on miasfeed.example:8443"),
        ("", "page"),
        ("null", "page"),
        ("https://<script>", "page"),
        ("https://a b", "page"),
        ("https://" + "a" * 200, "page"),
        ("https://[", "page"),
        ("\xff\xfe", "page"),
    ],
)
def test_where_a_form_stood_is_a_host_or_nothing(origin: str, source: str) -> None:
    assert dependencies.origin_of(request(origin)) == source


@pytest.mark.parametrize(
    ("host", "remote"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:DB8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unknown", None),
        ("", None),
    ],
)
def test_a_network_address_is_one_or_none(host: str, remote: str | None) -> None:
    assert dependencies.remote(request(host=host)) == remote


def test_without_a_peer_there_is_no_address() -> None:
    assert dependencies.remote(Request({"type": "http", "headers": [], "client": None})) is None
