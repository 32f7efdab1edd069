"""Decides what a mail that came back asks for. Pure: the octets of its headers in, a report out.

Anyone can write to the address, in anybody's name. So only a signed token speaks for a reader; the
sender's address never does.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser

from newsletter import tokens

#: No header that a mailbox writes for us is longer; what comes after is not looked at.
MAXIMUM_OCTETS = 65_536

# `mailto:...?subject=unsubscribe%20TOKEN` (RFC 2369, RFC 6068), whatever was put in front of it.
_ASKED = re.compile(
    rf"\bunsubscribe\b(?:[\s:]+(?P<token>[\w.-]{{{tokens.TOKEN_LENGTH}}})(?![\w.-]))?",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True)
class Unsubscription:
    """Somebody wants no more mail."""

    #: What our own link says; None if they wrote in words of their own.
    token: str | None
    #: Who wrote, as the mail has it: for the operator's eyes, and proof of nothing.
    sender: str


def read(headers: bytes) -> Unsubscription | None:
    """Return what the mail with these headers asks for; None if it is about something else."""
    message = BytesHeaderParser().parsebytes(headers[:MAXIMUM_OCTETS])
    asked = _ASKED.search(_decoded(message.get("Subject")))
    if asked is None:
        return None
    return Unsubscription(asked["token"], _decoded(message.get("From")))


def _decoded(value: object) -> str:
    """Return a header's text on one line, without what a terminal would obey."""
    written = str(value or "")
    # A damaged encoded-word stays as it came: it hides no token of ours.
    with suppress(HeaderParseError, LookupError, ValueError):
        written = str(make_header(decode_header(written)))
    return " ".join("".join(c if c.isprintable() else " " for c in written).split())
