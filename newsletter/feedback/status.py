"""Reads the parts of a report that are made for machines. Pure.

Delivery status (RFC 3464, RFC 6533) has a block of fields for each recipient, a feedback report
(RFC 5965) has one block in all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from newsletter.feedback import mime

#: Blocks of one report that are read.
MAXIMUM_BLOCKS = 200
ADDRESS = re.compile(r"[^\s<>()\[\]:;,\"@\\]{1,64}@(?:[\w-]{1,63}\.){1,10}[\w-]{2,63}")
_STATUS = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
#: RFC 6533 3: characters outside of ASCII in utf-8-addr-xtext; RFC 3461 4: those of xtext.
_UNITEXT = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_XTEXT = re.compile(r"\+([2-7][0-9A-F])")


class Block(NamedTuple):
    """What a delivery status says of one recipient; empty where it says nothing."""

    recipient: str
    #: Whom the mail was sent to; another address if it was forwarded.
    original: str
    action: str
    status: str
    #: Without its type, such as "smtp;".
    diagnostic: str

    @property
    def is_forwarded(self) -> bool:
        return bool(self.original) and self.original.lower() != self.recipient.lower()


def blocks(text: str) -> Iterator[Block]:
    """Yield what a delivery status says of each recipient."""
    for paragraph in re.split(r"\n[ \t]*\n", text)[:MAXIMUM_BLOCKS]:
        found = dict(reversed([*mime.fields(paragraph)]))
        if "final-recipient" in found or ("original-recipient" in found and "action" in found):
            yield _block(found)


def _block(found: dict[str, str]) -> Block:
    original = address_of(found.get("original-recipient", ""))
    status = _STATUS.search(found.get("status", ""))
    action = re.match(r"[a-z]+", found.get("action", "").lower())
    return Block(
        address_of(found.get("final-recipient", "")) or original,
        _unescaped(original),
        action[0] if action else "",
        status[1] if status else "",
        _typeless(found.get("diagnostic-code", "")),
    )


def address_of(typed: str) -> str:
    """Return the address of a field such as `rfc822; user@example.org`; empty if it has none."""
    decoded = _UNITEXT.sub(lambda found: _character(int(found[1], 16)), typed)
    found = ADDRESS.search(decoded)
    return re.sub(r"(?i)^smtp=", "", found[0]).strip("'.") if found else ""


def _character(number: int) -> str:
    return chr(number) if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else "\ufffd"


def _unescaped(address: str) -> str:
    return _XTEXT.sub(lambda found: chr(int(found[1], 16)), address)


def _typeless(diagnostic: str) -> str:
    return re.sub(r"^\s*[\w-]{1,40}\s*;\s*", "", diagnostic).strip()
