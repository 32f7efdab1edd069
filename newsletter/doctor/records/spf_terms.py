"""Parses the terms of an SPF record strictly, by the grammar of RFC 7208 12."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_network

from newsletter.doctor.records import spf_macros
from newsletter.doctor.records.zone import Address, shown

_IS_RECORD = re.compile(r"v=spf1(?: |\Z)", re.IGNORECASE)
_MODIFIER = re.compile(r"([a-z][a-z0-9_.-]*)=(.*)", re.IGNORECASE | re.DOTALL)
_DIRECTIVE = re.compile(r"([+?~-]?)([a-z0-9]+)(.*)", re.IGNORECASE | re.DOTALL)
#: The lengths of two prefixes, at the end of a mechanism.
_LENGTHS = re.compile(r"(?:/(0|[1-9]\d?))?(?://(0|[1-9]\d{0,2}))?\Z", re.ASCII)
_NETWORK = re.compile(r"(.*?)(?:/(0|[1-9]\d{0,2}))?\Z", re.ASCII | re.DOTALL)


class Qualifier(StrEnum):
    """The result of a mechanism that matches, by the character before it."""

    PASS = "+"  # noqa: S105 - a result, no password
    FAIL = "-"
    SOFTFAIL = "~"
    NEUTRAL = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A directive, or one of the modifiers redirect and exp."""

    #: The term as written in the record.
    text: str
    #: One of all, include, a, mx, ptr, ip4, ip6, exists, redirect and exp.
    name: str
    qualifier: Qualifier = Qualifier.PASS
    #: A macro string (RFC 7208 7); empty for the domain of the record.
    domain: str = ""
    #: The address of ip4 or ip6.
    address: Address | None = None
    #: Prefix lengths of IPv4 and IPv6.
    lengths: tuple[int, int] = (32, 128)

    @property
    def costs_a_lookup(self) -> bool:
        """Whether the term counts towards the limit of look-ups (RFC 7208 4.6.4)."""
        return self.name in {"include", "a", "mx", "ptr", "exists", "redirect"}


def is_record(text: str) -> bool:
    """Return whether a TXT record is an SPF record, valid or not (RFC 7208 4.5)."""
    return _IS_RECORD.match(text) is not None


def parse(record: str) -> list[Term]:
    """Return the terms of an SPF record; raises ValueError with the reason if it is invalid."""
    if not record.isascii():
        raise ValueError("it has characters that are not ASCII")
    terms = [_term(text) for text in record.split(" ")[1:] if text]
    found = [term for term in terms if term is not None]
    for name in ("redirect", "exp"):
        if sum(term.name == name for term in found) > 1:
            raise ValueError(f"{name}= stands in it twice")
    return found


def _term(text: str) -> Term | None:
    if modifier := _MODIFIER.fullmatch(text):
        return _modifier(text, modifier[1].lower(), modifier[2])
    directive = _DIRECTIVE.fullmatch(text)
    if directive is None:
        raise _wrong(text)
    sign, name, rest = directive.groups()
    name = name.lower()
    qualifier = Qualifier(sign or "+")
    if name == "all" and not rest:
        return Term(text=text, name=name, qualifier=qualifier)
    if name in {"ip4", "ip6"} and rest.startswith(":"):
        address, lengths = _network(text, name, rest[1:])
        return Term(text=text, name=name, qualifier=qualifier, address=address, lengths=lengths)
    if name in {"include", "exists"} and rest.startswith(":"):
        domain = _domain(text, rest[1:])
        return Term(text=text, name=name, qualifier=qualifier, domain=domain)
    if name == "ptr":
        domain = _domain(text, rest[1:]) if rest.startswith(":") else _nothing(text, rest)
        return Term(text=text, name=name, qualifier=qualifier, domain=domain)
    if name in {"a", "mx"}:
        domain, lengths = _host(text, rest)
        return Term(text=text, name=name, qualifier=qualifier, domain=domain, lengths=lengths)
    raise _wrong(text)


def _modifier(text: str, name: str, value: str) -> Term | None:
    if name in {"redirect", "exp"}:
        return Term(text=text, name=name, domain=_domain(text, value))
    # Only the syntax of unknown modifiers is checked (RFC 7208 6).
    if not spf_macros.is_macro_string(value):
        raise _wrong(text)
    return None


def _domain(text: str, value: str) -> str:
    if not spf_macros.is_domain(value):
        raise _wrong(text)
    return value


def _nothing(text: str, rest: str) -> str:
    if rest:
        raise _wrong(text)
    return ""


def _host(text: str, rest: str) -> tuple[str, tuple[int, int]]:
    found = _LENGTHS.search(rest)
    assert found is not None, "the pattern matches the empty end"
    domain = rest[: found.start()]
    lengths = int(found[1] or 32), int(found[2] or 128)
    if lengths[0] > 32 or lengths[1] > 128:
        raise _wrong(text)
    return _domain(text, domain[1:]) if domain.startswith(":") else _nothing(text, domain), lengths


def _network(text: str, name: str, value: str) -> tuple[Address, tuple[int, int]]:
    found = _NETWORK.fullmatch(value)
    assert found is not None, "the pattern matches everything"
    longest = 32 if name == "ip4" else 128
    length = int(found[2] or longest)
    try:
        # The length is parsed separately, because ip_network also accepts netmasks.
        address = ip_network(found[1]).network_address
    except ValueError:
        raise _wrong(text) from None
    if "/" in found[1] or "%" in found[1] or address.max_prefixlen != longest or length > longest:
        raise _wrong(text)
    return address, (length, 128) if name == "ip4" else (32, length)


def _wrong(text: str) -> ValueError:
    return ValueError(f'"{shown(text)}" in it cannot be read')
