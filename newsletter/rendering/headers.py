"""Header fields of a message: validation, folding, and encoded-words for other scripts.

The standard library is not used: it emits encoded-words of 76 and 77 octets, drops the white space
between them in some versions, and writes long List-* values as encoded-words.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass

from newsletter.errors import RenderError

#: RFC 2047 §2: an encoded-word has at most 75 octets, and a line with one at most 76.
WORD_LIMIT = 75
#: RFC 5322 §2.1.1: lines should have at most 78 octets and must have at most 998.
LINE_LIMIT = 78
HARD_LIMIT = 998

_FORBIDDEN = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
_ENCODED_WORD = re.compile(r"=\?[^?]*\?[bBqQ]\?[^?]*\?=")
_ADDRESS = r"[!#-;=?A-~]+@[A-Za-z0-9.-]+"
_MAILBOX = re.compile(rf"(?P<name>[^<>]*?)\s*<(?P<bracketed>{_ADDRESS})>|(?P<bare>{_ADDRESS})")
_PLAIN_TEXT = re.compile(r"[!-~]+(?: [!-~]+)*")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
#: RFC 2047 §5 (3): the octets that need no encoding inside a phrase, which is the strictest
#: context.
_Q_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")


@dataclass(frozen=True)
class Mailbox:
    """A display name and an address, for From and Reply-To."""

    name: str
    address: str

    @classmethod
    def parse(cls, text: str) -> Mailbox:
        """Read "Name <address>" or a bare address; raise RenderError for anything else."""
        found = _MAILBOX.fullmatch(refuse_controls(text, where="A mailbox").strip())
        if not found or _ENCODED_WORD.search(text):
            raise RenderError(
                f"{text!r} is not a sender.",
                hint='Write "Name <name@example.org>", with the domain in its xn-- form.',
            )
        name = found["name"] or ""
        if len(name) > 1 and name[0] == name[-1] == '"':
            name = re.sub(r"\\(.)", r"\1", name[1:-1])
        return cls(name, found["bracketed"] or found["bare"])


def refuse_controls(value: str, *, where: str) -> str:
    """Return `value`; RenderError if it has control characters or is not valid Unicode."""
    found = _FORBIDDEN.search(value)
    if found:
        raise RenderError(f"{where} must not contain the character U+{ord(found.group()):04X}.")
    return value


def refuse_encoded_words(value: str, *, where: str) -> str:
    """Return `value`; RenderError if it has an encoded-word, which mail clients would decode."""
    if _ENCODED_WORD.search(value):
        raise RenderError(f"{where} must not contain an encoded-word.")
    return value


def unstructured(name: str, value: str) -> bytes:
    """Write a text header such as Subject, folded at 78, in encoded-words where necessary."""
    refuse_controls(value, where=name)
    if is_plain(value):
        return _fold(name, value)
    return _encoded(name, value) + b"\r\n"


def mailbox(name: str, value: Mailbox) -> bytes:
    """Write an address header such as From, with the display name as atoms, quoted or encoded."""
    refuse_controls(value.name + value.address, where=name)
    address = f"<{value.address}>".encode("ascii")
    if not value.name:
        return f"{name}: ".encode("ascii") + address[1:-1] + b"\r\n"
    phrase = _phrase(name, value.name)
    room = LINE_LIMIT - len(phrase.rpartition(b"\n")[2])
    return phrase + (b" " if len(address) < room else b"\r\n ") + address + b"\r\n"


def verbatim(name: str, value: str) -> bytes:
    """Write a header that must be neither folded nor encoded: List-*, Message-ID, To."""
    refuse_controls(value, where=name)
    if not value.isascii():
        raise RenderError(f"{name} must be written in ASCII.")
    line = f"{name}: {value}\r\n".encode("ascii")
    if max(map(len, line.split(b"\r\n"))) > HARD_LIMIT:
        raise RenderError(f"{name} is longer than a line of mail may be.")
    return line


def quoted_phrase(value: str) -> str | None:
    """Return `value` as an ASCII phrase, or None if it needs encoded-words."""
    if not value.isascii() or "=?" in value or value != " ".join(value.split()) or not value:
        return None
    if _ATOMS.fullmatch(value):
        return value
    escaped = re.sub(r'(["\\])', r"\\\1", value)
    return f'"{escaped}"'


def is_plain(value: str) -> bool:
    """Return whether a text header can contain `value` without encoding."""
    if not value:
        return True
    longest = max(map(len, value.split(" ")))
    return bool(_PLAIN_TEXT.fullmatch(value)) and "=?" not in value and longest < 60


def _fold(name: str, value: str) -> bytes:
    lines = [f"{name}:"]
    for word in value.split(" "):
        if len(lines[-1]) + 1 + len(word) > LINE_LIMIT:
            lines.append("")
        lines[-1] += f" {word}"
    return "\r\n".join(lines).encode("ascii") + b"\r\n"


def _phrase(name: str, value: str) -> bytes:
    plain = quoted_phrase(value)
    line = f"{name}: {plain}"
    if plain is not None and len(line) <= LINE_LIMIT:
        return line.encode("ascii")
    return _encoded(name, value)


def _encoded(name: str, value: str) -> bytes:
    """Write a header in encoded-words (RFC 2047 §2), one per line, with no character divided."""
    words = encoded_words(value, first_limit=WORD_LIMIT - len(name) - 1)
    return f"{name}: ".encode("ascii") + b"\r\n ".join(words)


def encoded_words(value: str, *, first_limit: int = WORD_LIMIT) -> Iterator[bytes]:
    """Yield `value` as encoded-words of at most 75 octets, the first of at most `first_limit`."""
    raw = value.encode("utf-8")
    literal = sum(octet in _Q_SAFE or octet == 0x20 for octet in raw)
    use_q = literal + 3 * (len(raw) - literal) <= -(-len(raw) // 3) * 4
    opening = b"=?utf-8?q?" if use_q else b"=?utf-8?b?"
    width = _q_width if use_q else len
    limit, chunk, used = first_limit, b"", 0
    for octets in (character.encode("utf-8") for character in value):
        cost = used + width(octets)
        room = limit - len(opening) - 2
        if (cost if use_q else -(-cost // 3) * 4) > room:
            yield opening + (_q(chunk) if use_q else base64.b64encode(chunk)) + b"?="
            limit, chunk, cost = WORD_LIMIT, b"", width(octets)
        chunk, used = chunk + octets, cost
    yield opening + (_q(chunk) if use_q else base64.b64encode(chunk)) + b"?="


def _q_width(octets: bytes) -> int:
    return len(_q(octets))


def _q(octets: bytes) -> bytes:
    return b"".join(
        b"_" if octet == 0x20 else bytes([octet]) if octet in _Q_SAFE else b"=%02X" % octet
        for octet in octets
    )
