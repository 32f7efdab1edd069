"""Parses headers and parts of a mail within bounds. Pure; never raises.

The standard library's parser descends into returned messages and without a limit of depth. Reports
need only the text above the returned message, and the headers of that message.
"""

from __future__ import annotations

import binascii
import html
import quopri
import re
from collections.abc import Iterator
from contextlib import suppress
from email.errors import MessageError
from email.header import decode_header, make_header
from functools import cached_property
from typing import NamedTuple

#: Maximum octets of a mail that are read; the rest is ignored.
MAXIMUM_OCTETS = 1_048_576
#: Maximum octets of the headers of a mail or a part.
HEADER_OCTETS = 65_536
#: Maximum number of leaf parts of a mail, and maximum depth of nested multiparts.
MAXIMUM_PARTS = 50
MAXIMUM_DEPTH = 5
#: Maximum characters of the text of one part.
TEXT_LENGTH = 100_000

#: Maximum characters of one header; decoding is quadratic in the length.
_HEADER_LENGTH = 2_000
_FIELD = re.compile(r"([!-9;-~]{1,100})[ \t]*:(.*)", re.DOTALL)
_TYPE = re.compile(r"\s*([\w.+-]{1,60}/[\w.+-]{1,60})", re.ASCII)
_BOUNDARY = re.compile(r'\bboundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.I)
_CHARSET = re.compile(r'\bcharset\s*=\s*"?([\w-]{1,40})', re.I | re.ASCII)
# Other names are ignored, because Python also has codecs that are no character sets of mail.
_KNOWN_CHARSET = re.compile(
    r"utf-?8|iso-8859-\d{1,2}|windows-125\d|koi8-[ru]|gb(?:2312|k|18030)|big5|euc-(?:jp|kr)"
    r"|shift_jis|iso-2022-(?:jp|kr)",
    re.I,
)
_RETURNED = re.compile(r"message/(?:rfc822|global)(?:-headers)?|text/rfc822-headers")
_BLANKS = re.compile(r"[^\S\n]{2,}|[^\S\n ]")
_BREAK = re.compile(r"<(?:br|/?p|/?div|/?tr|/?td|/?li|/?h\d)(?:\s[^<>]{0,500})?/?>", re.I)
# Does not match <user@example.org>, which some servers write into HTML without escaping it.
_TAG = re.compile(r"</?[a-z][a-z0-9]{0,20}(?:\s[^<>]{0,2000})?/?>|<!--.{0,2000}?-->", re.I | re.S)
_STYLE = re.compile(r"<(style|script|head)\b", re.I)
_STYLE_ENDS = {name: re.compile(f"</{name}>", re.I) for name in ("style", "script", "head")}
#: Maximum characters of one style sheet, script or head; a longer one is kept as text.
_STYLE_LENGTH = 50_000


class Headers:
    """The headers of a mail or a part; names are case-insensitive."""

    def __init__(self, octets: bytes) -> None:
        self._values: dict[str, list[str]] = {}
        self._decoded: dict[str, str] = {}
        for name, value in fields(_text_of(octets[:HEADER_OCTETS])):
            self._values.setdefault(name, []).append(value)

    def all(self, name: str) -> list[str]:
        """Return the values of a header, not decoded."""
        return self._values.get(name.lower(), [])

    def get(self, name: str) -> str:
        """Return the first value of a header on one line, decoded; empty if there is none."""
        if name not in self._decoded:
            self._decoded[name] = decoded(next(iter(self.all(name)), ""))
        return self._decoded[name]

    @cached_property
    def type(self) -> str:
        """The media type, in lower case; text/plain if there is none (RFC 2045 5.2)."""
        found = _TYPE.match(self._type)
        return found[1].lower() if found else "text/plain"

    @property
    def boundary(self) -> bytes | None:
        """The boundary of a multipart."""
        found = _BOUNDARY.search(self._type)
        return (found[1] or found[2]).rstrip().encode("utf-8", "replace") if found else None

    @property
    def charset(self) -> str:
        """The character set of a text; empty if it is unknown."""
        found = _CHARSET.search(self._type)
        return found[1] if found and _KNOWN_CHARSET.fullmatch(found[1]) else ""

    @property
    def _type(self) -> str:
        return next(iter(self.all("Content-Type")), "")[:_HEADER_LENGTH]


class Part(NamedTuple):
    """A leaf part of a mail; an attached message is a leaf, too."""

    headers: Headers
    body: bytes

    @property
    def type(self) -> str:
        return self.headers.type

    @property
    def is_returned(self) -> bool:
        """Whether the part is an attached message, or the headers of one."""
        return _RETURNED.fullmatch(self.type) is not None

    @property
    def text(self) -> str:
        """The text, decoded, and without the tags of HTML."""
        written = _text_of(self._octets(), self.headers.charset)[:TEXT_LENGTH]
        is_html = self.type == "text/html" or "<br>" in written[:4_000].lower()
        text = _without_tags(written) if is_html else written
        # Runs of blanks are collapsed, so that patterns can match them in bounded time.
        return _BLANKS.sub(" ", text)

    def _octets(self) -> bytes:
        """Return the body without its transfer encoding; a damaged body is returned unchanged."""
        encoding = self.headers.get("Content-Transfer-Encoding").lower()
        with suppress(binascii.Error, ValueError):
            if encoding == "base64":
                return binascii.a2b_base64(self.body).replace(b"\r\n", b"\n")
            if encoding == "quoted-printable":
                return quopri.decodestring(self.body).replace(b"\r\n", b"\n")
        return self.body


def read(mail: bytes) -> tuple[Headers, list[Part]]:
    """Return the headers of a mail, and its leaves within the bounds."""
    octets = mail[:MAXIMUM_OCTETS].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    head, _, body = octets.lstrip(b"\n").partition(b"\n\n")
    headers = Headers(head)
    parts: list[Part] = []
    for part in _walk(headers, body, 0):
        parts.append(part)
        if len(parts) == MAXIMUM_PARTS:
            break
    return headers, parts


def fields(text: str) -> Iterator[tuple[str, str]]:
    """Yield name, in lower case, and value of the header fields of a text, unfolded."""
    for line in re.sub(r"\n[ \t]+", " ", text).split("\n"):
        found = _FIELD.match(line)
        if found:
            yield found[1].lower(), found[2].strip()


def decoded(value: str) -> str:
    """Return a header's text on one line, without terminal control characters."""
    written = value[:_HEADER_LENGTH]
    if "=?" in written:
        # A damaged encoded-word stays encoded.
        with suppress(MessageError, LookupError, ValueError):
            written = str(make_header(decode_header(written)))
    return " ".join(printable(written).split())


def printable(text: str) -> str:
    """Replace terminal control characters, and characters that no database can store, by blanks."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _walk(headers: Headers, body: bytes, depth: int) -> Iterator[Part]:
    boundary = headers.boundary if headers.type.startswith("multipart/") else None
    pieces = _split(body, boundary) if boundary and depth < MAXIMUM_DEPTH else []
    if not pieces:
        yield Part(headers, body)
    for piece in pieces:
        # A part without headers begins with an empty line.
        head, _, rest = piece.partition(b"\n\n") if piece[:1] != b"\n" else (b"", b"", piece)
        yield from _walk(Headers(head), rest, depth + 1)


def _split(body: bytes, boundary: bytes) -> list[bytes]:
    """Return the parts between the boundary lines (RFC 2046 5.1.1)."""
    text, line = b"\n" + body, b"\n--" + boundary
    pieces: list[bytes] = []
    begins = None
    at = text.find(line)
    while at >= 0:
        end = text.find(b"\n", at + 1) + 1 or len(text)
        rest = text[at + len(line) : end]
        # Ignores a line in which the boundary is only the beginning of a longer word.
        if not rest.removeprefix(b"--").strip(b" \t\n"):
            if begins is not None:
                pieces.append(text[begins : max(begins, at)])
            begins = end
            if rest.startswith(b"--") or len(pieces) == MAXIMUM_PARTS:
                return pieces
        at = text.find(line, end - 1)
    # Without a closing boundary (the mail may be cut off) the last part ends with the body.
    return pieces if begins is None else [*pieces, text[begins:]]


def _text_of(octets: bytes, charset: str = "") -> str:
    with suppress(UnicodeError, LookupError):
        return octets.decode(charset or "utf-8")
    return octets.decode(charset or "latin-1", "replace")


def _without_styles(written: str) -> str:
    """Return HTML without style sheets, scripts and heads, in linear time."""
    kept: list[str] = []
    at = 0
    #: For each element the next end tag found so far; None if no more follow.
    ends: dict[str, re.Match[str] | None] = {}
    for begin in _STYLE.finditer(written):
        if begin.start() < at:
            continue
        name = begin[1].lower()
        end = ends.get(name)
        if name not in ends or (end is not None and end.start() < begin.end()):
            end = ends[name] = _STYLE_ENDS[name].search(written, begin.end())
        if end is not None and end.start() - begin.end() <= _STYLE_LENGTH:
            kept += [written[at : begin.start()], " "]
            at = end.end()
    return "".join([*kept, written[at:]])


def _without_tags(written: str) -> str:
    text = _TAG.sub("", _BREAK.sub("\n", _without_styles(written)))
    return html.unescape(text).replace("\xa0", " ")
