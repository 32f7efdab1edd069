"""Parses delivery status (RFC 3464, RFC 6533): a block of fields for each recipient. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from newsletter.feedback import mime
from newsletter.feedback.mime import Headers

#: Maximum number of blocks of one report that are read.
MAXIMUM_BLOCKS = 200
ADDRESS = re.compile(r"[^\s<>()\[\]:;,\"@\\]{1,64}@(?:[\w-]{1,63}\.){1,10}[\w-]{1,63}")
# Addresses of other forms in a field: quoted, on a host without a domain, or damaged.
_ODD_ADDRESS = re.compile(r"(?:\"[^\"\n]{1,62}\"|[^\s<>:;,@\"]{1,64})@[^\s<>;,@\"]{1,255}")
#: The envelope recipient in a Received header (RFC 5321 4.4).
_FOR = re.compile(rf"\bfor\s+<({ADDRESS.pattern})>", re.I)
_TRACE_LENGTH = 2_000
_DIAGNOSTIC_LENGTH = 2_000
_STATUS = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
#: Escapes of characters outside ASCII in utf-8-addr-xtext (RFC 6533 3), and of xtext (RFC 3461 4).
_UNITEXT = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_XTEXT = re.compile(r"\+([2-7][0-9A-F])")


class Block(NamedTuple):
    """The fields of a delivery status for one recipient; missing ones are empty."""

    recipient: str
    #: The address to which the mail was sent; it differs from the recipient if it was forwarded.
    original: str
    action: str
    status: str
    #: The diagnostic code without its type, such as "smtp;".
    diagnostic: str

    @property
    def is_forwarded(self) -> bool:
        return bool(self.original) and self.original.lower() != self.recipient.lower()


def blocks(text: str) -> Iterator[Block]:
    """Yield the block of each recipient in a delivery status."""
    for paragraph in re.split(r"\n[ \t]*\n", text)[:MAXIMUM_BLOCKS]:
        found = dict(reversed([*mime.fields(paragraph)]))
        if "final-recipient" in found or ("original-recipient" in found and "action" in found):
            yield _block(found)


def _block(found: dict[str, str]) -> Block:
    original = address_of(found.get("original-recipient", ""))
    status = _STATUS.search(found.get("status", ""))
    # Some systems write the reason as a comment on the status.
    comment = found.get("status", "").partition("(")[2].removesuffix(")")
    action = re.match(r"[a-z]+", found.get("action", "").lower())
    return Block(
        address_of(found.get("final-recipient", "")) or original,
        _unescaped(original),
        action[0] if action else "",
        status[1] if status else "",
        _typeless(found.get("diagnostic-code", ""))[:_DIAGNOSTIC_LENGTH] or comment,
    )


def address_of(typed: str) -> str:
    """Return the address of a field such as `rfc822; user@example.org`; empty if it has none."""
    decoded = _UNITEXT.sub(lambda found: _character(int(found[1], 16)), typed)
    found = ADDRESS.search(decoded) or _ODD_ADDRESS.search(decoded)
    return re.sub(r"(?i)^smtp=", "", found[0]).lstrip("'").rstrip("'.") if found else ""


def reader_of(sent: Headers) -> str:
    """Return the address that a mail was sent to, by To or Received; empty if they have none."""
    found: dict[str, str] = {one.lower(): one for one in ADDRESS.findall(sent.get("To"))}
    if len(found) == 1:
        return next(iter(found.values()))
    traces = (_FOR.search(one[:_TRACE_LENGTH]) for one in sent.all("Received"))
    return next((str(trace[1]) for trace in traces if trace), "")


def _character(number: int) -> str:
    return chr(number) if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else "\ufffd"


def _unescaped(address: str) -> str:
    return _XTEXT.sub(lambda found: chr(int(found[1], 16)), address)


def _typeless(diagnostic: str) -> str:
    return re.sub(r"^\s*[\w-]{1,40}\s*;\s*", "", diagnostic).strip()
