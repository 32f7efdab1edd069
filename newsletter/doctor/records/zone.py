"""Formats records for a zone file (RFC 1035 5.1), and makes foreign text safe to print."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

#: Maximum octets of one string of a TXT record (RFC 1035 3.3).
_STRING = 255
_UNSAFE = re.compile(r'[^\x20-\x7e]|["\\]')
#: Maximum characters of a foreign text in a sentence.
_SHOWN = 120

Address = IPv4Address | IPv6Address


def txt(name: str, text: str) -> str:
    """Return a TXT record, with the text split into strings of at most 255 octets.

    Each character of the text is one octet; all but printable ASCII is escaped.
    """
    strings = [text[at : at + _STRING] for at in range(0, len(text), _STRING)] or [""]
    return record(name, "TXT", " ".join(f'"{_escaped(string)}"' for string in strings))


def record(name: str, kind: str, value: str) -> str:
    """Return a record of a fully qualified name."""
    return f"{_escaped(name)}. IN {kind} {value}"


def shown(text: str) -> str:
    """Make foreign text safe for a sentence: one line, printable, limited in length."""
    cut = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
    return re.sub(r"[^\x20-\x7e]", _escape, cut)


def _escaped(text: str) -> str:
    return _UNSAFE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in '"\\':
        return f"\\{character}"
    return "".join(f"\\{octet:03d}" for octet in _octets(character))


def _octets(character: str) -> bytes:
    try:
        return character.encode("latin-1")
    except UnicodeEncodeError:
        return character.encode(errors="replace")
