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
_OCTETS = tuple(
    bytes([octet])
    if (0x21 <= octet <= 0x7E and octet != 0x3D) or octet in b" \t"
    else b"=%02X" % octet
    for octet in range(256)
)


def encode(data: bytes) -> bytes:
    """Encode `data`, whose line ends become CRLF; the last line gets none of its own."""
    return b"\r\n".join(_encode_line(line) for line in _LINE_END.split(data))


def _encode_line(line: bytes) -> bytes:
    tokens = [_OCTETS[octet] for octet in line]
    if line[-1:] in {b" ", b"\t"}:
        tokens[-1] = b"=%02X" % line[-1]
    lines: list[bytes] = []
    current: list[bytes] = []
    width = 0
    for token in tokens:
        if width + len(token) > LIMIT:
            lines.append(_shield(b"".join(current)))
            current, width = [], 0
        current.append(token)
        # An encoded first octet is three columns wide, so every line keeps room for it.
        width += len(token) if len(current) > 1 else 3
    lines.append(_shield(b"".join(current)))
    return SOFT_BREAK.join(lines)


def _shield(line: bytes) -> bytes:
    if line.startswith((b".", b"From ")):
        return b"=%02X" % line[0] + line[1:]
    return line
