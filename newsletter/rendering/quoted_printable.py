"""Quoted-printable (RFC 2045 §6.7) for bodies with slots, which are sent without further encoding.

Two rules go beyond the RFC. No line begins with a dot, so the bytes need no dot-stuffing, and a
saved .eml equals the octets that are sent. No line begins with "From ", which relays with mbox
files would rewrite, and so break the DKIM signature.
"""

from __future__ import annotations

import re

#: RFC 2045 §6.7 rule 5: lines of at most 76 octets, including the "=" of the soft break.
LIMIT = 75
SOFT_BREAK = b"=\r\n"

_LINE_END = re.compile(rb"\r\n|\r|\n")
_OTHER = re.compile(rb"[^\t !-<>-~]")


def encode(data: bytes) -> bytes:
    """Encode `data`, with line ends as CRLF; none is added after the last line."""
    return b"\r\n".join(_encode_line(line) for line in _LINE_END.split(data))


def _encode_line(line: bytes) -> bytes:
    encoded = _OTHER.sub(_escaped, line)
    if line[-1:] in {b" ", b"\t"}:
        encoded = b"%s=%02X" % (encoded[:-1], line[-1])
    lines: list[bytes] = []
    start = 0
    while (end := _end(encoded, start)) < len(encoded):
        lines.append(_shield(encoded[start:end]))
        start = end
    lines.append(_shield(encoded[start:]))
    return SOFT_BREAK.join(lines)


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"=%02X" % found[0][0]


def _end(encoded: bytes, start: int) -> int:
    """Return the end of the line that begins at `start`, so that no encoded octet is divided."""
    # The first octet of a line may have to be encoded, in three columns instead of one, so every
    # line has room for that.
    end = start + LIMIT - (0 if encoded[start : start + 1] == b"=" else 2)
    if end < len(encoded):
        # At most the last two columns can be the beginning of an encoded octet.
        escape = encoded.rfind(b"=", end - 2, end)
        if escape > start:
            return escape
    return end


def _shield(line: bytes) -> bytes:
    if line.startswith((b".", b"From ")):
        return b"=%02X" % line[0] + line[1:]
    return line
