"""Finds requests to unsubscribe in the headers of a mail. Pure functions.

Anybody can write to the unsubscribe address with a forged sender, so only a signed token identifies
a reader; the sender's address never does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_plus

from newsletter import tokens
from newsletter.feedback import mime
from newsletter.feedback.mime import Headers

#: Maximum characters of one header that are searched for marks of an automatic reply.
_HEADER_LENGTH = 2_000
_ASKED = re.compile(r"\bunsubscribe\b", re.ASCII | re.IGNORECASE)
_SIGNED = tokens.TOKEN_LENGTH - tokens.SIGNATURE_LENGTH - 1
# The subject of `mailto:...?subject=unsubscribe%20TOKEN` (RFC 2369, RFC 6068), with the prefixes of
# mail gateways and quotes around the token, but no other text: replies and tickets quote a subject.
_OURS = re.compile(
    r"(?:[\[({*]{1,3}\W*(?:external|extern|ext|spam|suspected spam|unsubscribe)\W{1,4}\s*){0,3}"
    r"unsubscribe[:+\s]*[<(\[\"']*"
    rf"([\w-]{{{_SIGNED}}}\.[\w-]{{{tokens.SIGNATURE_LENGTH}}})"
    r"[>)\]\"'.,;!\s]*",
    re.ASCII | re.IGNORECASE,
)
# Headers of automatic replies (RFC 3834, Exchange and older conventions). `Auto-Submitted:
# auto-generated` is not among them, as it marks no reply, and neither are the List-* headers and
# `Precedence: list`, which are added if our own address is a mailing list.
_AUTOMATIC: dict[str, re.Pattern[str]] = {
    "Auto-Submitted": re.compile(
        r"(?:\s|\([^()]*+\))*+auto-(replied|notified)\b", re.IGNORECASE
    ),
    # Delivery reports, read receipts and spam reports (RFC 6522).
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
    """A request to unsubscribe."""

    #: The token of our link; None for a request without one.
    token: str | None
    #: The From header, to show to the operator; it may be forged.
    sender: str


def read(octets: bytes) -> Unsubscription | None:
    """Return the request in the headers of a mail; None if there is none."""
    return request_of(Headers(octets[: mime.HEADER_OCTETS]))


def request_of(headers: Headers) -> Unsubscription | None:
    """Return the request in these headers; None if there is none.

    An automatic reply has no request, whatever its subject quotes.
    """
    # Some mail clients do not decode the escapes of the link.
    subject = unquote_plus(headers.get("Subject")).strip()
    if not _ASKED.search(subject) or is_automatic(headers):
        return None
    ours = _OURS.fullmatch(subject)
    return Unsubscription(ours[1] if ours else None, headers.get("From"))


def is_automatic(headers: Headers) -> bool:
    """Return whether a mail is marked as an automatic reply or a report."""
    if is_of_apple(headers):
        return False
    return any(
        sign.match(value[:_HEADER_LENGTH])
        for name, sign in _AUTOMATIC.items()
        for value in headers.all(name)
    )


def is_of_apple(headers: Headers) -> bool:
    """Return whether a mail is Apple Mail's request to unsubscribe, marked as automatic reply."""
    return headers.get("X-Apple-Unsubscribe").lower() == "true"
