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
from email.message import Message
from email.parser import BytesHeaderParser
from urllib.parse import unquote_plus

from newsletter import tokens

#: No header that a mailbox writes for us is longer; what comes after is not looked at.
MAXIMUM_OCTETS = 65_536

#: Of one header; to decode what is longer takes time that grows with its square.
_HEADER_LENGTH = 2_000
_ASKED = re.compile(r"\bunsubscribe\b", re.ASCII | re.IGNORECASE)
_SIGNED = tokens.TOKEN_LENGTH - tokens.SIGNATURE_LENGTH - 1
# The subject of `mailto:...?subject=unsubscribe%20TOKEN` (RFC 2369, RFC 6068) and nothing else,
# but for what gateways put before it and hands around it: a reply or a ticket only quotes it.
_OURS = re.compile(
    r"(?:[\[({*]{1,3}\W*(?:external|extern|ext|spam|suspected spam|unsubscribe)\W{1,4}\s*){0,3}"
    r"unsubscribe[:+\s]*[<(\[\"']*"
    rf"([\w-]{{{_SIGNED}}}\.[\w-]{{{tokens.SIGNATURE_LENGTH}}})"
    r"[>)\]\"'.,;!\s]*",
    re.ASCII | re.IGNORECASE,
)
# What answers by itself says so (RFC 3834, Exchange, and what came before them). `Auto-Submitted:
# auto-generated` is no answer, and the List-* headers and `Precedence: list` come from a mailing
# list that our own address may be: mailboxes write to both for a reader.
_AUTOMATIC: dict[str, re.Pattern[str]] = {
    "Auto-Submitted": re.compile(
        r"(?:\s|\([^()]*+\))*+auto-(replied|notified)\b", re.IGNORECASE
    ),
    # What a mail has come to: not delivered, read, taken for spam (RFC 6522).
    "Content-Type": re.compile(r"\s*multipart/report\b", re.IGNORECASE),
    "Precedence": re.compile(r"\s*(auto_?reply|bulk|junk)\b", re.IGNORECASE),
    "X-Auto-Response-Suppress": re.compile(r"\s*(?!none\s*$)\S", re.IGNORECASE),
    **dict.fromkeys(
        (
            "X-Autoreply", "X-Auto-Reply", "X-Autorespond", "X-Autoresponder", "X-Auto-Respond",
            "X-Mail-Autoreply", "X-AutoReply-From", "X-FC-MachineGenerated",
        ),
        re.compile(r"\s*(?!no\s*$)\S", re.IGNORECASE),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Unsubscription:
    """Somebody wants no more mail."""

    #: What our own link says; None if they wrote in words of their own.
    token: str | None
    #: Who wrote, as the mail has it: for the operator's eyes, and proof of nothing.
    sender: str


def read(headers: bytes) -> Unsubscription | None:
    """Return what the mail with these headers asks for; None if it is about something else.

    An automatic answer asks for nothing, whatever its subject quotes.
    """
    message = BytesHeaderParser().parsebytes(headers[:MAXIMUM_OCTETS])
    # Some programs leave the link's own escapes in.
    subject = unquote_plus(_decoded(message.get("Subject"))).strip()
    if not _ASKED.search(subject) or _is_automatic(message):
        return None
    ours = _OURS.fullmatch(subject)
    return Unsubscription(ours[1] if ours else None, _decoded(message.get("From")))


def _is_automatic(message: Message) -> bool:
    # Apple's mailboxes unsubscribe their readers by a mail that is marked as an answer.
    if str(message.get("X-Apple-Unsubscribe", "")).strip().lower() == "true":
        return False
    return any(
        sign.match(str(value)[:_HEADER_LENGTH])
        for name, sign in _AUTOMATIC.items()
        for value in message.get_all(name, [])
    )


def _decoded(value: object) -> str:
    """Return a header's text on one line, without what a terminal would obey."""
    written = str(value or "")[:_HEADER_LENGTH]
    # A damaged encoded-word stays as it came: it hides no token of ours.
    with suppress(MessageError, LookupError, ValueError):
        written = str(make_header(decode_header(written)))
    return " ".join("".join(c if c.isprintable() else " " for c in written).split())
