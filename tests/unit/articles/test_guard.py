"""Which network addresses are public, and the deadline of a fetch."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.articles import guard
from newsletter.articles.guard import Deadline
from newsletter.errors import FeedError


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.32.0.1", "100.128.0.1", "192.169.0.1",
     "2606:4700::1111", "2a00:1450:4001::8a", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)  # fmt: skip
def test_public_addresses_are_open(address: str) -> None:
    assert guard.is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3",
        "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "100.127.255.255",
        "192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
        "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::127.0.0.1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd12::1",
        "ff02::1", "2001:db8::1", "2001::1", "2002:7f00:1::", "3fff::1", "5f00::1", "100::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
        "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "4000::1",
        "localhost", "", "1.1.1", "01.1.1.1",
    ],
)  # fmt: skip
def test_all_other_addresses_are_closed(address: str) -> None:
    assert not guard.is_public(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_embedded_in_ipv6_is_checked_as_ipv4(address: object) -> None:
    is_open = guard.is_public(str(address))

    assert guard.is_public(f"::ffff:{address}") is is_open
    assert guard.is_public(f"64:ff9b::{address}") is is_open


@given(st.ip_addresses())
def test_what_is_open_is_global_for_the_standard_library_too(
    address: IPv4Address | IPv6Address,
) -> None:
    if guard.is_public(str(address)) and not str(address).startswith(("64:ff9b::", "::ffff:")):
        assert address.is_global


def test_a_deadline_shortens_every_wait_and_then_ends_the_fetch() -> None:
    seconds = iter([100.0, 103.0, 109.5, 110.0])
    deadline = Deadline(10, lambda: next(seconds))

    assert deadline.within(30) == 7
    assert deadline.within(0.25) == 0.25
    with pytest.raises(FeedError, match="longer than 10 seconds"):
        deadline.within(None)
