"""Queries Spamhaus' blocklists of addresses (zen) and domains (dbl), and reads their codes."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address, ip_network

from newsletter.doctor.records.answers import Answer, Lookup
from newsletter.doctor.records.zone import Address

ZEN, DBL = "zen.spamhaus.org", "dbl.spamhaus.org"
#: Test entries that are always listed; a resolver that does not find them finds no others either
#: (RFC 5782 5).
_TESTS = {ZEN: "2.0.0.127", DBL: "dbltest.com"}
_REFUSALS = {
    "127.255.255.252": "the blocklist's name was not understood",
    "127.255.255.254": "Spamhaus does not answer public or unnamed resolvers",
    "127.255.255.255": "Spamhaus has had too many queries from this resolver",
    # The query in the domain list was for an IP address.
    "127.0.1.255": "Spamhaus took the domain for an address",
}
_LISTS = {
    "127.0.0.2": "SBL: spam was seen from it",
    "127.0.0.3": "CSS: it sends like a source of spam",
    "127.0.0.9": "DROP: its network is hijacked or leased by criminals",
    "127.0.0.10": "PBL: its owner says that it sends no mail itself",
    "127.0.0.11": "PBL: its network is one of end users",
    "127.0.1.2": "DBL: its reputation is low",
    "127.0.1.4": "DBL: phishing",
    "127.0.1.5": "DBL: malware",
    "127.0.1.6": "DBL: a botnet is controlled from it",
}
_ABUSED = [ip_address(f"127.0.1.{last}") for last in range(102, 107)]
_XBL = [ip_address(f"127.0.0.{last}") for last in range(4, 8)]
#: Addresses that blocklists return; others come from a resolver that answers every query.
_CODES = ip_network("127.0.0.0/8")


@dataclass(frozen=True, slots=True)
class Listing:
    """Whether a domain or address is listed: on which lists, or why that is unknown."""

    lists: tuple[str, ...] = ()
    failure: str = ""


def address(asked: Address, lookup: Lookup) -> Listing:
    """Return whether an address is in zen."""
    labels = asked.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
    return _listing(labels, ZEN, lookup)


def domain(asked: str, lookup: Lookup) -> Listing:
    """Return whether a domain is in dbl."""
    return _listing(asked, DBL, lookup)


def _listing(labels: str, zone: str, lookup: Lookup) -> Listing:
    found = _read(lookup(f"{labels}.{zone}", "A"))
    if found.lists or found.failure:
        return found
    test = _read(lookup(f"{_TESTS[zone]}.{zone}", "A"))
    if test.lists:
        return found
    return Listing(failure=test.failure or "the resolver sees no entries of the blocklist")


def _read(answer: Answer) -> Listing:
    if answer.failure:
        return Listing(failure=answer.failure)
    lists = []
    for record in answer.records:
        code = ip_address(record)
        if record in _REFUSALS:
            return Listing(failure=_REFUSALS[record])
        if not isinstance(code, IPv4Address) or code not in _CODES:
            return Listing(failure=f"the resolver answers {record}, which no blocklist does")
        if code in ip_network("127.255.255.0/24"):
            return Listing(failure=f"Spamhaus answered {record}")
        lists.append(_name(code))
    return Listing(tuple(dict.fromkeys(lists)))


def _name(code: IPv4Address) -> str:
    if code in _XBL:
        return "XBL: its machine seems to be taken over"
    if code in _ABUSED:
        return "DBL: pages of it were taken over by others"
    return _LISTS.get(str(code), str(code))
