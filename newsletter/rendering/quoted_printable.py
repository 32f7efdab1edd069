"""Quoted-printable (RFC 2045 §6.7) for bodies that will be filled and sent as they are.

Two choices go beyond the RFC: no line begins with a dot, so the bytes need no dot-stuffing and a
saved .eml equals what goes over the wire; and no line begins with "From ", which mbox relays
rewrite, breaking the signature.
"""

from __future__ import annotations

import re

#: RFC 2045 §6.7 rule 5: lines of at most 76 octets, the soft break's "=" included.
LIMIT = 75
SOFT_BREAK = b"=\r\n"

_LINE_END = re.compile(rb"\r\n|\r|\n")
_OTHER = re.compile(rb"[^\t !-<>-~]")


def encode(data: bytes) -> bytes:
    """Encode `data`, whose line ends become CRLF; the last line gets none of its own."""
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
    """Return where a line ends that begins at `start`: before no part of an encoded octet."""
    # An encoded first octet is three columns wide, so every line keeps room for it.
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
