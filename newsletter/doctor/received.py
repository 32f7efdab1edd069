"""Parses one received mail as saved by a mail program, with headers added by the receiver. Pure.

Octets and headers are limited, because the mail may come from anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

from newsletter import address
from newsletter.errors import InvalidAddress, InvalidInput
from newsletter.feedback import mime
from newsletter.feedback.mime import HEADER_OCTETS, Headers
from newsletter.settings.values import is_inside

#: Maximum octets of a mail; a digest has about 100,000.
MAXIMUM_OCTETS = 2_000_000
#: Maximum of headers of one name, and of characters of a header, that are read.
_HEADERS, _LONGEST = 30, 2_000
_END = re.compile(rb"\r?\n\r?\n")
_FIELD = re.compile(rb"[!-9;-~]{1,100}[ \t]*:")
_OUTLOOK = b"\xd0\xcf\x11\xe0"
_RESULT = re.compile(r"\bspf\s*=\s*(\w{1,12})", re.I)
_FROM = re.compile(
    r"\b(?:smtp\.mailfrom|envelope-from)\s*=\s*[\"<]*(?:[^\s;@\"<>]*@)?([\w.-]{1,253})"
)
_CLIENT = re.compile(r"\bclient-ip\s*=\s*\"?([0-9a-f.:]{2,45})", re.I)
_ADDRESS = re.compile(r"\[(?:IPv6:)?([0-9a-f.:]{2,45})\]", re.I)
_HINT = 'In the mailbox choose "show original" or "save as", and name the .eml file that it makes.'


@dataclass(frozen=True, kw_only=True)
class Received:
    """The values of a received mail that are checked."""

    #: The address in From, and its domain, in lower case.
    sender: str
    domain: str
    #: The headers of the mail that a signature must cover, in lower case.
    present: frozenset[str]
    #: The values of List-Unsubscribe and List-Unsubscribe-Post.
    unsubscribe: tuple[str, ...]
    one_click: tuple[str, ...]
    #: The envelope sender in Return-Path, its domain, and the client's address; empty if unknown.
    envelope: str
    envelope_domain: str
    client: str
    #: The receiver's own SPF result in lower case; empty if there is none.
    spf: str


#: The headers that a signature has to cover.
COVERED = (
    "From", "Subject", "Date", "To", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post",
)  # fmt: skip


def read(octets: bytes) -> Received:
    """Parse a mail; raises InvalidInput if the octets are not a mail."""
    check(octets)
    headers = Headers(octets)
    sender = _sender(headers)
    spf, domain, client = _by_receiver(headers)
    envelope = _envelope(headers)
    return Received(
        sender=sender,
        domain=sender.rpartition("@")[2],
        present=frozenset(name.lower() for name in COVERED if headers.all(name)),
        unsubscribe=_values(headers, "List-Unsubscribe"),
        one_click=_values(headers, "List-Unsubscribe-Post"),
        envelope=envelope,
        envelope_domain=envelope.rpartition("@")[2] or domain,
        client=client or _client(headers),
        spf=spf,
    )


def check(octets: bytes) -> None:
    """Raise InvalidInput, with a hint, unless the octets can be one mail."""
    start = octets[:HEADER_OCTETS].lstrip()
    if not start:
        raise InvalidInput("The file is empty.", hint=_HINT)
    if len(octets) > MAXIMUM_OCTETS:
        raise InvalidInput(
            f"The file has more than {MAXIMUM_OCTETS // 1_000_000} MB, and no digest has.",
            hint=_HINT,
        )
    if start.startswith(b"From "):
        raise InvalidInput("The file is a whole mailbox (mbox), not one mail.", hint=_HINT)
    if start.startswith(b"<"):
        raise InvalidInput("The file is a web page, not a mail with its headers.", hint=_HINT)
    if start.startswith(_OUTLOOK):
        raise InvalidInput(
            "The file is of Outlook's own format (.msg), which has no signature any more.",
            hint="Send the test mail to a mailbox that can save the original (.eml).",
        )
    if not _FIELD.match(start):
        raise InvalidInput("The file is no mail: it does not begin with a header.", hint=_HINT)
    if not _END.search(octets, 0, HEADER_OCTETS + 4):
        raise InvalidInput(
            f"The file is no mail: its headers do not end within {HEADER_OCTETS:,} octets.",
            hint=_HINT,
        )


def message_id(octets: bytes) -> str:
    """Return the Message-ID of a mail; empty if it has none."""
    return Headers(octets).get("Message-ID").strip()


def _sender(headers: Headers) -> str:
    values = headers.all("From")
    if len(values) != 1:
        raise InvalidInput(
            f"The file is no mail of a newsletter: it has {len(values)} From headers.", hint=_HINT
        )
    with suppress(InvalidAddress):
        return address.normalise(address.bare(mime.decoded(values[0][:_LONGEST])), local=True)
    raise InvalidInput("The From header of the mail has no email address.", hint=_HINT)


def _by_receiver(headers: Headers) -> tuple[str, str, str]:
    """Return result, domain and client of SPF from the topmost header of the receiver."""
    for name in ("Authentication-Results", "Received-SPF"):
        for value in _values(headers, name):
            result = _RESULT.search(value) if name.startswith("A") else re.match(r"(\w+)", value)
            if result:
                domain, client = _FROM.search(value), _CLIENT.search(value)
                return (
                    result[1].lower(),
                    domain[1].lower().rstrip(".") if domain else "",
                    _known(client[1]) if client else "",
                )
    return "", "", ""


def _envelope(headers: Headers) -> str:
    value = next(iter(_values(headers, "Return-Path")), "")
    with suppress(InvalidAddress):
        return address.normalise(value.strip("<> "), local=True)
    return ""


def _client(headers: Headers) -> str:
    """Return the client of the topmost Received with a public address; others may be forged."""
    for value in _values(headers, "Received"):
        for found in _ADDRESS.finditer(value.partition(" by ")[0]):
            if known := _known(found[1]):
                return known
    return ""


def _known(text: str) -> str:
    """Return the address if it is public; otherwise an empty text."""
    with suppress(ValueError):
        found = ip_address(text)
        if not is_inside(found):
            return str(found)
    return ""


def _values(headers: Headers, name: str) -> tuple[str, ...]:
    return tuple(_lines(headers.all(name)))


def _lines(values: list[str]) -> Iterator[str]:
    for value in values[:_HEADERS]:
        yield " ".join(value[:_LONGEST].split())
