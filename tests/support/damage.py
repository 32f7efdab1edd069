"""Damages mails at random, and checks invariants of parsing them that hold for any octets."""

from __future__ import annotations

import quopri
import random
import re
import sys
from collections.abc import Iterator, Sequence
from types import FrameType

from newsletter.feedback import bounce, mime, prose
from newsletter.feedback.reports import Kind

#: Typical pieces of bounces, to be inserted in wrong places.
FRAGMENTS = (
    b"\n", b"\n\n", b"\r", b"\0", b" ", b"--", b"<", b">", b"@", b".", b":", b"550 5.1.1 ",
    b"550-", b"\n550 ", b"User unknown", b"<a@b.example>",
    b"Final-Recipient: rfc822; a@b.example\n",
    b"Action: failed\n", b"Status: 5.1.1\n", b"Content-Type: message/delivery-status\n\n",
    b"Content-Type: multipart/report; boundary=b\n", b"--b\n", b"--b--\n", b"=?utf-8?q?", b"?=",
    b"=3D", b"&lt;", b"<br>", b"\xff", "é不在".encode(), b"Received: from x\n", b"does not exist",
)  # fmt: skip
_ESCAPES = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_XTEXT = re.compile(r"\+([2-7][0-9A-F])")


def damaged(mails: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Yield mails with pieces changed, removed, repeated or moved."""
    dice = random.Random(seed)
    for number in range(count):
        mail = bytearray(mails[number % len(mails)])
        for _ in range(dice.randrange(1, 12)):
            at = dice.randrange(len(mail) + 1)
            to = min(len(mail), at + dice.randrange(60))
            match dice.randrange(6):
                case 0:
                    mail[at : at + 1] = bytes([dice.randrange(256)])
                case 1:
                    del mail[at:to]
                case 2:
                    mail[at:at] = mail[at:to] * dice.randrange(1, 5)
                case 3:
                    mail[at:at] = dice.choice(FRAGMENTS) * dice.randrange(1, 4)
                case 4:
                    other = dice.choice(mails)
                    cut = dice.randrange(len(other))
                    mail[at:at] = other[cut : cut + dice.randrange(400)]
                case 5:
                    mail[at:] = mail[at:].swapcase()
        yield bytes(mail)


def check(mail: bytes) -> None:
    """Fail unless a mail is parsed in bounded work, to values that occur in the mail."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        found = bounce.read(mail)
    finally:
        sys.setprofile(None)

    # The limit of calls and returns is a constant plus one per octet of the mail.
    assert calls <= 6_000 + len(mail), (calls, len(mail))
    assert found.kind in Kind
    assert len(found.reports) <= 2 * prose.MAXIMUM_RECIPIENTS
    names = [one.recipient.lower() for one in found.reports]
    assert len({*names}) == len(names)
    own = _written_in(mail)
    for name in names:
        # A recipient without a domain in the mail gets the domain of the mail system.
        local, _, domain = name.rpartition("@")
        assert local in own, name
        assert domain in own, name


def _written_in(mail: bytes) -> str:
    """Return all texts that may be decoded from a mail, in lower case."""
    texts = [mail.decode("utf-8", "replace"), mail.decode("latin-1")]
    texts.append(quopri.decodestring(mail).decode("utf-8", "replace"))
    headers, parts = mime.read(mail)
    for part in parts:
        texts.append(part.text)
        if part.type == "message/rfc822":
            texts += [one.text for one in mime.read(part.body)[1]]
    texts += [headers.get(name) for name in ("From", "Subject", "To")]
    written = "\n".join(texts)
    decoded = _ESCAPES.sub(lambda found: chr(min(int(found[1], 16), 0x10FFFF)), written)
    return f"{written}\n{_XTEXT.sub(lambda found: chr(int(found[1], 16)), decoded)}".lower()
