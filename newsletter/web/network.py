"""Network addresses of visitors: normalised, and with the networks that contain them.

Pure functions. With IPv6, a client can use all addresses of its network: a home or a phone has at
least a /64 and often a /56, and a rented server or a company a /48 (RFC 6177).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

#: The network of visitors without a network address.
UNKNOWN = "unknown"
# Addresses as proxies send them: `192.0.2.7:4711`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
_WITH_PORT = re.compile(r"\[([^\[\]]*)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}", re.ASCII)
#: Prefix lengths with the rate limit of each, as a multiple of a home's; None means no own limit.
_IPV6: tuple[tuple[int, int | None], ...] = ((64, 1), (56, 2), (48, 4))
# A carrier's NAT has thousands of readers behind one /24.
_IPV4: tuple[tuple[int, int | None], ...] = ((32, 1), (24, None))


@dataclass(frozen=True)
class Network:
    """A network that contains a visitor's address."""

    name: str
    prefix: int
    #: The rate limit as a multiple of a home's; None if only the share of all sign-ups applies.
    homes: int | None


def normalise(text: str) -> str | None:
    """Return the normalised network address, or None if `text` is not an address.

    The port and the scope, which is local to a machine (RFC 4007), are removed; IPv4-mapped IPv6
    (RFC 4291) becomes IPv4.
    """
    bare = text.strip()
    if (found := _WITH_PORT.fullmatch(bare)) is not None:
        bare = found[1] or found[2] or ""
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def networks(address: str | None) -> list[Network]:
    """Return the networks of a normalised address, from the widest to the narrowest."""
    if address is None:
        return [Network(UNKNOWN, 0, 1)]
    prefixes = _IPV6 if ":" in address else _IPV4
    return [
        Network(str(ip_network(f"{address}/{prefix}", strict=False)), prefix, homes)
        for prefix, homes in reversed(prefixes)
    ]
