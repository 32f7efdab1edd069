"""Macros in SPF records (RFC 7208 7): a text with %{...} becomes a domain name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address
from urllib.parse import quote

from newsletter.doctor.records.zone import Address

#: The macros of a domain; c, r and t are allowed in explanations only.
_EXPAND = r"%\{[slodiphv](?:[1-9]\d*)?r?[-.+,/_=]*\}|%[%_-]"
_LITERAL = r"[\x21-\x24\x26-\x7e]"
_STRING = re.compile(rf"(?:{_EXPAND}|{_LITERAL})*", re.IGNORECASE | re.ASCII)
#: A domain-spec ends in a top-level domain, or in a macro that may expand to one. Each text matches
#: a label in one way only, so that the time is linear.
_END = re.compile(
    rf"(?:.*\.(?:[0-9]*[a-z][a-z0-9]*|[a-z0-9]+-[a-z0-9-]*[a-z0-9])\.?|.*(?:{_EXPAND}))",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_MACRO = re.compile(r"%\{(\w)(\d*)(r?)([-.+,/_=]*)\}|%[%_-]", re.IGNORECASE | re.ASCII)
_PLAIN = {"%%": "%", "%_": " ", "%-": "%20"}
#: Maximum characters of a name; longer names lose labels from the left (RFC 7208 7.3).
_LONGEST = 253


def is_macro_string(text: str) -> bool:
    """Return whether each percent sign in a text begins a macro."""
    return _STRING.fullmatch(text) is not None


def is_domain(text: str) -> bool:
    """Return whether a text is a domain-spec (RFC 7208 7.1)."""
    return is_macro_string(text) and _END.fullmatch(text) is not None


def has_macros(text: str) -> bool:
    """Return whether a name depends on the mail and the client."""
    return "%{" in text


def expand(text: str, values: Mapping[str, str]) -> str:
    """Expand a domain-spec to a name; `values` are by the letters of macros."""
    name = _MACRO.sub(lambda found: _expanded(found, values), text).removesuffix(".")
    if len(name) <= _LONGEST:
        return name
    # Without a dot in this part, one label is left, which is too long for any name.
    dot = name.find(".", len(name) - _LONGEST - 1)
    return name[dot + 1 :] if dot >= 0 else name


def dotted(address: Address) -> str:
    """Return an address in the form of %{i}: IPv6 as nibbles separated by dots."""
    if isinstance(address, IPv4Address):
        return str(address)
    return ".".join(address.exploded.replace(":", ""))


def _expanded(found: re.Match[str], values: Mapping[str, str]) -> str:
    if not found[1]:
        return _PLAIN[found[0]]
    letter, count, reverse, delimiters = found.groups()
    parts = re.split(f"[{re.escape(delimiters or '.')}]", values[letter.lower()])
    if reverse:
        parts.reverse()
    # A count of many digits exceeds all labels, and int() refuses very long ones.
    if count and len(count) < 9:
        parts = parts[-int(count) :]
    value = ".".join(parts)
    return quote(value, safe="", errors="replace") if letter.isupper() else value
