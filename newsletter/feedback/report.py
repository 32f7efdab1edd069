"""Decides what a mail that came back asks for. Pure: the octets of its headers in, a report out.

Anyone can write to the address, in anybody's name. So only a signed token speaks for a reader; the
sender's address never does.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser
from urllib.parse import unquote_plus

from newsletter import tokens

#: No header that a mailbox writes for us is longer; what comes after is not looked at.
MAXIMUM_OCTETS = 65_536

#: Of one header; to decode what is longer takes time that grows with its square.
_HEADER_LENGTH = 2_000
_ASKED = re.compile(r"\bunsubscribe\b", re.ASCII | re.IGNORECASE)
# `mailto:...?subject=unsubscribe%20TOKEN` (RFC 2369, RFC 6068), whatever was put around it: what is
# signed can stand anywhere.
_SIGNED = tokens.TOKEN_LENGTH - tokens.SIGNATURE_LENGTH - 1
_TOKEN = re.compile(
    rf"(?<![\w-])[\w-]{{{_SIGNED}}}\.[\w-]{{{tokens.SIGNATURE_LENGTH}}}(?![\w-])", re.ASCII
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
    # Some programs leave the link's own escapes in.
    subject = unquote_plus(_decoded(message.get("Subject")))
    if not _ASKED.search(subject):
        return None
    token = _TOKEN.search(subject)
    return Unsubscription(token[0] if token else None, _decoded(message.get("From")))


def _decoded(value: object) -> str:
    """Return a header's text on one line, without what a terminal would obey."""
    written = str(value or "")[:_HEADER_LENGTH]
    # A damaged encoded-word stays as it came: it hides no token of ours.
    with suppress(MessageError, LookupError, ValueError):
        written = str(make_header(decode_header(written)))
    return " ".join("".join(c if c.isprintable() else " " for c in written).split())
