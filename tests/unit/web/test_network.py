"""Normalised network addresses of visitors, and the networks of rate limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.web import network


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("192.0.2.7", "192.0.2.7"),
        (" 192.0.2.7 ", "192.0.2.7"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%\x1b[31m\x00", "fe80::1"),
        ("[fe80::1%eth0]:80", "fe80::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("[::ffff:1.2.3.4]:80", "1.2.3.4"),
        ("::FFFF:102:304", "1.2.3.4"),
    ],
)
def test_a_network_address_has_one_spelling(text: str, spelled: str) -> None:
    assert network.normalise(text) == spelled


@pytest.mark.parametrize(
    "text",
    [
        "", "unknown", "_hidden", "localhost", "1.2.3", "01.2.3.4", "1.2.3.4:99:1", "[1.2.3.4",
        "1.2.3.4, 5.6.7.8", "2001:db8::/32", "::1\x00", "1.2.3.4\x1b", "1" * 300, "\ud800",
        "١.2.3.4",
        "%eth0",
    ],
)  # fmt: skip
def test_invalid_text_is_no_network_address(text: str) -> None:
    assert network.normalise(text) is None


@given(st.text(max_size=80) | st.from_regex(r"[0-9a-f:.%\[\]]{0,60}"))
def test_whatever_is_given_is_a_bare_address_or_none(text: str) -> None:
    found = network.normalise(text)

    assert found is None or network.normalise(found) == found
    assert found is None or set(found) <= set("0123456789abcdef:.")


def names(address: str | None) -> list[str]:
    return [one.name for one in network.networks(address)]


def test_an_address_is_part_of_networks_from_the_widest_to_the_narrowest() -> None:
    assert names("2001:db8:1:2fff::9") == [
        "2001:db8:1::/48",
        "2001:db8:1:2f00::/56",
        "2001:db8:1:2fff::/64",
    ]
    assert names("192.0.2.7") == ["192.0.2.0/24", "192.0.2.7/32"]
    assert names(None) == [network.UNKNOWN]
